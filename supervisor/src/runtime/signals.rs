//! Signals become events of the loop; handlers do nothing else.

use std::io;
use std::thread;

use crossbeam_channel::Sender;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

/// Forwards signals until dropped.
#[derive(Debug)]
pub(super) struct SignalThread {
    handle: Handle,
}

impl SignalThread {
    /// Installs the handlers (with `SA_RESTART`, or ipc-channel would lose sends) and the thread behind them.
    pub(super) fn start(signals: Sender<i32>) -> io::Result<Self> {
        let mut incoming = Signals::new([SIGCHLD, SIGINT, SIGTERM, SIGHUP])?;
        let handle = incoming.handle();
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in incoming.forever() {
                if signals.send(signal).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { handle })
    }
}

impl Drop for SignalThread {
    fn drop(&mut self) {
        self.handle.close();
    }
}
