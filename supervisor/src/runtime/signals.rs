//! Signals become events of the loop; handlers do nothing else.

use std::io;
use std::thread;

use crossbeam_channel::{Receiver, unbounded};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals as SignalIterator};

/// Forwards signals until dropped.
#[derive(Debug)]
pub struct Signals {
    children: Receiver<()>,
    stopping: Receiver<i32>,
    handle: Handle,
}

impl Signals {
    /// Installs the handlers (with `SA_RESTART`, or ipc-channel would lose sends) and the thread behind them.
    ///
    /// # Errors
    /// When the handlers or the thread cannot be set up.
    pub fn start() -> io::Result<Self> {
        let mut incoming = SignalIterator::new([SIGCHLD, SIGINT, SIGTERM, SIGHUP])?;
        let handle = incoming.handle();
        let (child, children) = unbounded();
        let (stop, stopping) = unbounded();
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in incoming.forever() {
                let heard =
                    if signal == SIGCHLD { child.send(()).is_ok() } else { stop.send(signal).is_ok() };
                if !heard {
                    return;
                }
            }
        })?;
        Ok(Self { children, stopping, handle })
    }

    /// Some child has changed its state.
    pub(super) fn children(&self) -> &Receiver<()> {
        &self.children
    }

    /// The user, or the system, wants the run to stop.
    pub(super) fn stopping(&self) -> &Receiver<i32> {
        &self.stopping
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.handle.close();
    }
}
