//! How much one worker may hold.
//!
//! What runs at once is the job's concurrency. On top of that a worker gets a
//! little ahead, so that it need not wait a round trip for its next target; but
//! no more than it finishes in [`AHEAD`], so that slow targets are not parked
//! behind other slow targets while another worker idles.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How far ahead of itself a worker is fed. A batch travels in about 2 ms; this
/// leaves room for a supervisor that is busy elsewhere.
const AHEAD: Duration = Duration::from_millis(40);

/// Most targets a worker is fed ahead, however fast it is.
const AHEAD_MAX: usize = 512;

/// Largest slice in bytes: fits one message with its tag and framing.
pub(crate) const SLICE_BYTES_MAX: usize = 28 * 1024;

/// Most bytes of slices a worker may have been sent and not yet read. Its
/// socket buffer is about three times that, so a send never blocks for long.
const UNREAD_BYTES_MAX: usize = 64 * 1024;

/// What one slice costs beyond its inputs: an upper bound of the varint headers of a target.
pub(crate) const TARGET_OVERHEAD_BYTES: usize = 24;

/// One worker's account.
#[derive(Debug)]
pub(crate) struct Credit {
    concurrency: usize,
    held: usize,
    rate_per_s: f64,
    counted_from: Option<Instant>,
    slices_sent: u64,
    unread: VecDeque<usize>,
    unread_bytes: usize,
}

impl Credit {
    pub(crate) fn new(concurrency: usize) -> Self {
        Self {
            concurrency,
            held: 0,
            rate_per_s: 0.0,
            counted_from: None,
            slices_sent: 0,
            unread: VecDeque::new(),
            unread_bytes: 0,
        }
    }

    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// How many targets this worker may hold now.
    pub(crate) fn window(&self) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate is positive and the result is capped"
        )]
        let ahead = (self.rate_per_s * AHEAD.as_secs_f64()) as usize;
        self.concurrency + ahead.min(AHEAD_MAX)
    }

    /// Whether there is room for one more target, whatever its size up to a full slice, when
    /// `unsent_bytes` are already in the slice that is being put together.
    pub(crate) fn may_send(&self, unsent_bytes: usize) -> bool {
        let ahead = self.unread_bytes + unsent_bytes;
        ahead == 0 || ahead + SLICE_BYTES_MAX <= UNREAD_BYTES_MAX
    }

    /// Targets were assigned.
    pub(crate) fn take(&mut self, now: Instant, targets: usize) {
        if self.held == 0 {
            self.counted_from = Some(now);
        }
        self.held += targets;
    }

    /// A slice was put on the channel.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.slices_sent += 1;
        self.unread.push_back(bytes);
        self.unread_bytes += bytes;
    }

    /// The worker says how many slices it has read so far; false when it claims more than were sent.
    pub(crate) fn read(&mut self, slices_read: u64) -> bool {
        if slices_read > self.slices_sent {
            return false;
        }
        let still_unread = usize::try_from(self.slices_sent - slices_read).unwrap_or(usize::MAX);
        while self.unread.len() > still_unread {
            self.unread_bytes -= self.unread.pop_front().unwrap_or(0);
        }
        true
    }

    /// Targets came back finished: learn how fast this worker is.
    pub(crate) fn give_back(&mut self, now: Instant, targets: usize) {
        self.held = self.held.saturating_sub(targets);
        if self.held == 0 {
            // All came back, so all was read, whatever the worker says; or a worker that does
            // not count would sit there, without credit and without anything it could hang on.
            self.unread.clear();
            self.unread_bytes = 0;
        }
        let Some(from) = self.counted_from.filter(|_| targets > 0) else { return };
        #[expect(clippy::cast_precision_loss, reason = "a batch has at most a few thousand targets")]
        let rate = targets as f64 / now.duration_since(from).as_secs_f64().max(1e-4);
        // Half old, half new: three batches to ramp up, three to calm down.
        self.rate_per_s = if self.rate_per_s == 0.0 { rate } else { (self.rate_per_s + rate) / 2.0 };
        self.counted_from = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_workers_get_nothing_ahead_and_fast_ones_a_little() {
        for (per_batch, batch_ms, window) in [(1, 1000, 1), (1, 20, 3), (10, 2, 201), (1000, 1, 513)] {
            let mut now = shared::clock::now();
            let mut credit = Credit::new(1);
            for _ in 0..20 {
                credit.take(now, per_batch);
                now += Duration::from_millis(batch_ms);
                credit.give_back(now, per_batch);
            }
            assert_eq!(credit.window(), window, "{per_batch} in {batch_ms} ms");
        }
    }

    #[test]
    fn unread_slices_stop_the_next_one() {
        let mut credit = Credit::new(1);
        credit.take(shared::clock::now(), 3);
        assert!(credit.may_send(0));
        assert!(credit.may_send(SLICE_BYTES_MAX));
        assert!(
            !credit.may_send(SLICE_BYTES_MAX + SLICE_BYTES_MAX / 2),
            "the next may be as large as a slice"
        );
        credit.sent(SLICE_BYTES_MAX);
        assert!(credit.may_send(0));
        credit.sent(SLICE_BYTES_MAX);
        assert!(!credit.may_send(0));
        assert!(credit.read(1));
        assert!(credit.may_send(0));
        assert!(!credit.read(3), "a worker cannot have read what was not sent");
    }

    #[test]
    fn what_came_back_was_read() {
        let now = shared::clock::now();
        let mut credit = Credit::new(1);
        credit.take(now, 2);
        credit.sent(UNREAD_BYTES_MAX);
        credit.give_back(now, 1);
        assert!(!credit.may_send(0), "the rest may be unread");
        credit.give_back(now, 1);
        assert!(credit.may_send(0));
    }
}
