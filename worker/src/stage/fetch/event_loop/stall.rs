//! Timeouts that measure the network only. While the one thread parses a page, no arrived response is noticed, so
//! that time does not count.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shared::clock;
use tokio::task::yield_now;
use tokio::time::sleep_until;

/// Passes of the event loop between the timeout and giving up: one for the socket's readiness, one for the
/// connection to read it, one for the body to arrive here.
const LAST_LOOKS: u32 = 3;

/// Total time in which the event loop could not run. Clones share the total.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stall {
    // Atomic only because a connector must be `Send`; one thread uses it.
    nanoseconds: Arc<AtomicU64>,
}

impl Stall {
    /// Adds time in which the event loop could not run.
    pub(crate) fn add(&self, busy: Duration) {
        let busy = u64::try_from(busy.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(busy, Ordering::Relaxed);
    }

    /// Returns the total since the start.
    #[must_use]
    pub(crate) fn total(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    /// Runs `work` for at most `timeout`, not counting stalls. Returns `None` if it did not finish.
    pub(super) async fn within<F: Future>(&self, timeout: Duration, work: F) -> Option<F::Output> {
        self.within_excusing(timeout, || Duration::ZERO, work).await
    }

    /// The same, but time that `excused` reports does not count either.
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
    fn finished_work_is_never_late_and_unfinished_work_ends() {
        let stall = Stall::default();
        assert_eq!(run(stall.within(Duration::ZERO, ready(7))), Some(7));
        let begun = clock::now();
        assert_eq!(run(stall.within(MOMENT, pending::<()>())), None);
        assert!(begun.elapsed() >= MOMENT);
    }

    #[test]
    fn the_time_of_a_stall_does_not_count() {
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
            // Another task blocks the loop until the time is over. Then the answer is delivered.
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
