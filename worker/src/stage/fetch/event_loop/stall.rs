//! Timeouts that measure the network. On one thread, a page being parsed keeps every
//! response that has arrived from being noticed; that time is given back.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shared::clock;
use tokio::task::yield_now;
use tokio::time::sleep_until;

/// Passes of the event loop between the end of the time and giving up: one for the socket's
/// readiness, one for the connection to read it, one for the body to reach us.
const LAST_LOOKS: u32 = 3;

/// How long the event loop was kept busy so far. Clones share the count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stall {
    // Atomic only because a connector has to be `Send`; one thread uses it.
    nanoseconds: Arc<AtomicU64>,
}

impl Stall {
    /// The event loop could not run for this long.
    pub(crate) fn add(&self, busy: Duration) {
        let busy = u64::try_from(busy.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(busy, Ordering::Relaxed);
    }

    /// All of it since the start.
    #[must_use]
    pub(crate) fn total(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    /// Runs `work` for at most `timeout`, stalls not counted; `None` when it was not done.
    pub(super) async fn within<F: Future>(&self, timeout: Duration, work: F) -> Option<F::Output> {
        self.within_excusing(timeout, || Duration::ZERO, work).await
    }

    /// The same, where what `excused` says is not counted either.
    pub(super) async fn within_excusing<F: Future>(
        &self,
        timeout: Duration,
        excused: impl Fn() -> Duration,
        work: F,
    ) -> Option<F::Output> {
        let mut work = pin!(work);
        let stalled = self.total();
        let end = clock::now() + timeout;
        let mut sleep = pin!(sleep_until(end.into()));
        loop {
            tokio::select! {
                biased;
                output = &mut work => return Some(output),
                () = &mut sleep => {}
            }
            let end = end + self.total().saturating_sub(stalled) + excused();
            if end <= clock::now() {
                break;
            }
            sleep.as_mut().reset(end.into());
        }
        for _ in 0..LAST_LOOKS {
            tokio::select! {
                biased;
                output = &mut work => return Some(output),
                () = yield_now() => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::sync::oneshot;

    use super::*;

    const MOMENT: Duration = Duration::from_millis(20);

    fn run<F: Future>(work: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
    }

    #[test]
    fn what_is_done_is_never_late_and_what_is_not_ends() {
        let stall = Stall::default();
        assert_eq!(run(stall.within(Duration::ZERO, ready(7))), Some(7));
        let begun = clock::now();
        assert_eq!(run(stall.within(MOMENT, pending::<()>())), None);
        assert!(begun.elapsed() >= MOMENT);
    }

    #[test]
    fn the_time_of_a_stall_is_given_back() {
        let stall = Stall::default();
        let begun = clock::now();
        let stalled = stall.clone();
        let work = async move {
            stalled.add(4 * MOMENT);
            pending::<()>().await;
        };
        assert_eq!(run(stall.within(MOMENT, work)), None);
        assert!(begun.elapsed() >= 5 * MOMENT);
    }

    #[test]
    fn an_answer_that_came_while_the_loop_was_busy_counts() {
        let stall = Stall::default();
        let (sender, receiver) = oneshot::channel();
        let answer = run(async {
            // Another task holds the loop until the time is over, then the answer is delivered.
            tokio::spawn(async move {
                let end = clock::now() + 2 * MOMENT;
                while clock::now() < end {}
                yield_now().await;
                let _ = sender.send(7);
            });
            stall.within(MOMENT, receiver).await
        });
        assert_eq!(answer, Some(Ok(7)));
    }
}
