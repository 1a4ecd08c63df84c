//! How much one worker may hold.
//!
//! A worker runs as many targets at once as the job's concurrency. It is sent a few more in
//! advance, so that it does not wait a round trip for its next target. These are at most what it
//! finishes in [`AHEAD`], so that slow targets do not queue behind other slow targets while another
//! worker is idle.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How much work a worker is sent in advance, as time. A batch travels for about 2 ms; the rest
/// allows for a supervisor that is busy elsewhere.
const AHEAD: Duration = Duration::from_millis(40);

/// Maximum bytes of inputs a worker may hold. A single target may be larger.
const HELD_BYTES_MAX: usize = 8 << 20;

/// Maximum lines in one target, and the time they should take together. Results of one target come
/// back together, so a slow program gets its lines one by one, and a fast one costs little per
/// line.
const PIECE_MAX: usize = 64;
const PIECE_LASTS: Duration = Duration::from_millis(5);

/// How many inputs a worker is sent in advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ahead {
    /// While its speed is unknown.
    pub first: usize,
    /// Lower limit, for slow workers.
    pub least: usize,
    /// Upper limit, for fast workers.
    pub most: usize,
    /// Bytes of slices it may have been sent but not yet read.
    pub unread_bytes: usize,
}

impl Default for Ahead {
    /// Only what the worker's speed calls for: doing an input costs a thousand times as much as
    /// handing it out.
    fn default() -> Self {
        Self { first: 0, least: 0, most: 512, unread_bytes: UNREAD_BYTES_MAX }
    }
}

impl Ahead {
    /// For workers that pass their inputs to a program.
    ///
    /// At first it is enough to fill the buffer in which many programs hold back their answers.
    /// Later it is enough that no line waits. `batch` is the number of lines that the program wants
    /// at once.
    #[must_use]
    pub fn of_program(batch: usize) -> Self {
        let twice = batch.saturating_mul(2);
        Self {
            first: twice.max(256),
            least: twice.max(16),
            most: twice.max(16 * 1024),
            unread_bytes: UNREAD_BYTES_MAX_OF_PROGRAM,
        }
    }
}

/// Work that was handed out or came back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) targets: usize,
    /// Targets, or the lines in them.
    pub(crate) inputs: usize,
    pub(crate) bytes: usize,
}

impl std::ops::AddAssign for Load {
    fn add_assign(&mut self, other: Self) {
        self.targets += other.targets;
        self.inputs += other.inputs;
        self.bytes += other.bytes;
    }
}

/// Largest slice in bytes. It fits one message, with its tag and framing.
pub(crate) const SLICE_BYTES_MAX: usize = 28 * 1024;

/// Maximum bytes of slices a worker may have been sent but not yet read. The socket buffer is about
/// three times as large, so a send never blocks for long.
const UNREAD_BYTES_MAX: usize = 64 * 1024;

/// The same for targets that are lines for a program. Such a worker reports what it has read only
/// now and then. It has a thread that only reads, so a send never blocks.
const UNREAD_BYTES_MAX_OF_PROGRAM: usize = 512 * 1024;

/// Overhead of a target in a slice: an upper bound of its varint headers.
pub(crate) const TARGET_OVERHEAD_BYTES: usize = 24;

/// The account of one worker.
#[derive(Debug)]
pub(crate) struct Credit {
    concurrency: usize,
    ahead: Ahead,
    held: Load,
    rate_per_s: f64,
    counted_from: Option<Instant>,
    slices_sent: u64,
    unread: VecDeque<usize>,
    unread_bytes: usize,
}

impl Credit {
    pub(crate) fn new(concurrency: usize, ahead: Ahead) -> Self {
        Self {
            concurrency,
            ahead,
            held: Load::default(),
            rate_per_s: 0.0,
            counted_from: None,
            slices_sent: 0,
            unread: VecDeque::new(),
            unread_bytes: 0,
        }
    }

    /// Targets held by this worker.
    pub(crate) fn held(&self) -> usize {
        self.held.targets
    }

    /// Everything held by this worker.
    pub(crate) fn load(&self) -> Load {
        self.held
    }

    /// Whether it holds fewer inputs than `window`.
    pub(crate) fn has_room(&self, window: usize) -> bool {
        self.held.inputs < window && (self.held.bytes < HELD_BYTES_MAX || self.held.targets == 0)
    }

    /// How many lines the next target should have.
    pub(crate) fn piece(&self) -> u64 {
        (self.in_time(PIECE_LASTS).clamp(1, PIECE_MAX)) as u64
    }

    /// Estimates how many inputs it does in `time`.
    fn in_time(&self, time: Duration) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate is positive, and what is too large is capped"
        )]
        let inputs = (self.rate_per_s * time.as_secs_f64()) as usize;
        inputs
    }

    /// How many inputs this worker may hold now.
    pub(crate) fn window(&self) -> usize {
        let Ahead { first, least, most, .. } = self.ahead;
        let known = self.rate_per_s > 0.0;
        let ahead = if known { self.in_time(AHEAD).clamp(least, most) } else { first };
        self.concurrency + ahead
    }

    /// Whether one more target of any size up to a full slice may be sent, when the slice being
    /// built already has `unsent_bytes`.
    pub(crate) fn may_send(&self, unsent_bytes: usize) -> bool {
        let ahead = self.unread_bytes + unsent_bytes;
        ahead == 0 || ahead + SLICE_BYTES_MAX <= self.ahead.unread_bytes
    }

    /// Records assigned targets.
    pub(crate) fn take(&mut self, now: Instant, load: Load) {
        if self.held.targets == 0 {
            self.counted_from = Some(now);
        }
        self.held += load;
    }

    /// Records a slice that was sent.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.slices_sent += 1;
        self.unread.push_back(bytes);
        self.unread_bytes += bytes;
    }

    /// Records how many slices the worker has read so far. Returns false if it claims more than
    /// were sent.
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

    /// Records finished targets, and updates the worker's speed.
    pub(crate) fn give_back(&mut self, now: Instant, load: Load) {
        self.held = Load {
            targets: self.held.targets.saturating_sub(load.targets),
            inputs: self.held.inputs.saturating_sub(load.inputs),
            bytes: self.held.bytes.saturating_sub(load.bytes),
        };
        if self.held.targets == 0 {
            // All targets came back, so every slice was read, whatever the worker reports.
            // Otherwise a worker that does not count would wait for ever: without credit, and
            // without work to be found hanging on.
            self.unread.clear();
            self.unread_bytes = 0;
        }
        let Some(from) = self.counted_from.filter(|_| load.targets > 0) else { return };
        #[expect(clippy::cast_precision_loss, reason = "a batch has at most some thousand inputs")]
        let rate = load.inputs as f64 / now.duration_since(from).as_secs_f64().max(1e-4);
        // Half old, half new: about three batches to adapt to a new speed.
        self.rate_per_s = if self.rate_per_s == 0.0 { rate } else { (self.rate_per_s + rate) / 2.0 };
        self.counted_from = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(targets: usize) -> Load {
        Load { targets, inputs: targets, bytes: 0 }
    }

    #[test]
    fn only_fast_workers_get_targets_in_advance() {
        for (per_batch, batch_ms, window) in [(1, 1000, 1), (1, 20, 3), (10, 2, 201), (1000, 1, 513)] {
            let mut now = wire::clock::now();
            let mut credit = Credit::new(1, Ahead::default());
            for _ in 0..20 {
                credit.take(now, of(per_batch));
                now += Duration::from_millis(batch_ms);
                credit.give_back(now, of(per_batch));
            }
            assert_eq!(credit.window(), window, "{per_batch} in {batch_ms} ms");
        }
    }

    #[test]
    fn a_programs_window_adapts_from_one_buffer_to_its_speed() {
        let mut now = wire::clock::now();
        let mut credit = Credit::new(1, Ahead::of_program(1));
        assert_eq!((credit.window(), credit.piece()), (257, 1));
        for (lines, batch_ms, window, piece) in [(1, 1000, 17, 1), (64, 1, 2560, 64), (4000, 1, 16_385, 64)] {
            for _ in 0..30 {
                let load = Load { targets: 1, inputs: lines, bytes: 0 };
                credit.take(now, load);
                now += Duration::from_millis(batch_ms);
                credit.give_back(now, load);
            }
            assert_eq!((credit.window(), credit.piece()), (window, piece), "{lines} in {batch_ms} ms");
        }
    }

    #[test]
    fn large_inputs_are_bounded_by_their_bytes() {
        let mut credit = Credit::new(1, Ahead::of_program(1));
        let large = Load { targets: 1, inputs: 1, bytes: HELD_BYTES_MAX };
        assert!(credit.has_room(9));
        credit.take(wire::clock::now(), large);
        assert!(!credit.has_room(9));
        credit.give_back(wire::clock::now(), large);
        assert!(credit.has_room(9) && !credit.has_room(0));
    }

    #[test]
    fn unread_slices_stop_the_next_one() {
        let mut credit = Credit::new(1, Ahead::default());
        credit.take(wire::clock::now(), of(3));
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
    fn returned_targets_count_as_read() {
        let now = wire::clock::now();
        let mut credit = Credit::new(1, Ahead::default());
        credit.take(now, of(2));
        credit.sent(UNREAD_BYTES_MAX);
        credit.give_back(now, of(1));
        assert!(!credit.may_send(0), "the rest may be unread");
        credit.give_back(now, of(1));
        assert!(credit.may_send(0));
    }
}
