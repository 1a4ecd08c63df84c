//! Requests to a run: to stop, or to go on with other workers; and the news that a child process has
//! changed its state. On a command line they come from the signals of the system; the service sends
//! them to one job.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crossbeam_channel::{Receiver, Sender, never, unbounded};

/// A request to a run that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steering {
    /// Replace all workers, one at a time.
    Roll,
    /// Add a worker.
    Grow,
    /// Remove a worker.
    Shrink,
    /// Use as many workers as the run may have now ([`Control::allotted`]).
    Allotted,
}

/// The receiving end, for the run.
#[derive(Debug)]
pub struct Control {
    children: Receiver<()>,
    stopping: Receiver<i32>,
    steering: Receiver<Steering>,
    allotted: Option<Arc<AtomicU32>>,
}

/// The sending end.
#[derive(Debug, Clone)]
pub struct Controller {
    child: Sender<()>,
    stop: Sender<i32>,
    steer: Sender<Steering>,
}

impl Control {
    /// Creates both ends. A run that shares workers with other runs may have as many as `allotted` says,
    /// which changes; any other run has as many as its plan says.
    #[must_use]
    pub fn new(allotted: Option<Arc<AtomicU32>>) -> (Controller, Self) {
        let (child, children) = unbounded();
        let (stop, stopping) = unbounded();
        let (steer, steering) = unbounded();
        (Controller { child, stop, steer }, Self { children, stopping, steering, allotted })
    }

    /// Says that a child process has changed its state.
    pub(super) fn children(&self) -> &Receiver<()> {
        &self.children
    }

    /// Signals to stop. At the second one, the run stops at once.
    pub(super) fn stopping(&self) -> &Receiver<i32> {
        &self.stopping
    }

    /// Signals of a user who does not want to wait for a slow reader of the output. In the service there is
    /// no reader, only a file, and a request to stop at the end of a run changes nothing.
    pub(super) fn impatience(&self) -> Receiver<i32> {
        if self.allotted.is_some() { never() } else { self.stopping.clone() }
    }

    /// Requests for other workers.
    pub(super) fn steering(&self) -> &Receiver<Steering> {
        &self.steering
    }

    /// Returns how many workers the run may have, if it shares them with other runs.
    #[must_use]
    pub fn allotted(&self) -> Option<u32> {
        self.allotted.as_ref().map(|allotted| allotted.load(Ordering::Acquire).max(1))
    }
}

impl Controller {
    /// Says that a child process has changed its state. Returns false if the run is over.
    #[must_use]
    pub fn child(&self) -> bool {
        self.child.send(()).is_ok()
    }

    /// Stops the run because of this signal. Returns false if it is over.
    #[must_use]
    pub fn stop(&self, signal: i32) -> bool {
        self.stop.send(signal).is_ok()
    }

    /// Has the run go on with other workers. Returns false if it is over.
    #[must_use]
    pub fn steer(&self, steering: Steering) -> bool {
        self.steer.send(steering).is_ok()
    }
}
