//! What a run hears from outside, besides its workers: that it is to stop, that it is to go on with
//! other workers, that some child has changed its state. In a one-shot run all of that comes from the
//! system's signals; the service sends it to one job.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crossbeam_channel::{Receiver, Sender, never, unbounded};

/// What is asked of a run that is to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steering {
    /// Replace all workers, one at a time.
    Roll,
    /// One worker more.
    Grow,
    /// One worker less.
    Shrink,
    /// As many workers as the run is allowed now ([`Control::allotted`]).
    Allotted,
}

/// The run's end.
#[derive(Debug)]
pub struct Control {
    children: Receiver<()>,
    stopping: Receiver<i32>,
    steering: Receiver<Steering>,
    allotted: Option<Arc<AtomicU32>>,
}

/// The other end.
#[derive(Debug, Clone)]
pub struct Controller {
    child: Sender<()>,
    stop: Sender<i32>,
    steer: Sender<Steering>,
}

impl Control {
    /// Both ends. A run that shares its workers with others may have so many as `allotted` says, which
    /// changes; any other has as many as its plan says.
    #[must_use]
    pub fn new(allotted: Option<Arc<AtomicU32>>) -> (Controller, Self) {
        let (child, children) = unbounded();
        let (stop, stopping) = unbounded();
        let (steer, steering) = unbounded();
        (Controller { child, stop, steer }, Self { children, stopping, steering, allotted })
    }

    /// Some child has changed its state.
    pub(super) fn children(&self) -> &Receiver<()> {
        &self.children
    }

    /// The user, or the system, wants the run to stop; once more, and it is to stop at once.
    pub(super) fn stopping(&self) -> &Receiver<i32> {
        &self.stopping
    }

    /// The user will not wait any longer for whoever reads the output. A run of the service has no reader,
    /// only a file: that it is told to stop when it has come to its end already changes nothing.
    pub(super) fn impatience(&self) -> Receiver<i32> {
        if self.allotted.is_some() { never() } else { self.stopping.clone() }
    }

    /// The user wants other workers.
    pub(super) fn steering(&self) -> &Receiver<Steering> {
        &self.steering
    }

    /// How many workers the run may have, if it shares them with other runs.
    #[must_use]
    pub fn allotted(&self) -> Option<u32> {
        self.allotted.as_ref().map(|allotted| allotted.load(Ordering::Acquire).max(1))
    }
}

impl Controller {
    /// Some child has changed its state; false when the run is over.
    #[must_use]
    pub fn child(&self) -> bool {
        self.child.send(()).is_ok()
    }

    /// The run is to stop, for the reason of this signal; false when it is over.
    #[must_use]
    pub fn stop(&self, signal: i32) -> bool {
        self.stop.send(signal).is_ok()
    }

    /// The run is to go on with other workers; false when it is over.
    #[must_use]
    pub fn steer(&self, steering: Steering) -> bool {
        self.steer.send(steering).is_ok()
    }
}
