//! Signals become messages; handlers do nothing else.

use std::io;
use std::thread;

use nix::libc::{SI_KERNEL, siginfo_t};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGTTIN, SIGTTOU};
use signal_hook::iterator::exfiltrator::WithRawSiginfo;
use signal_hook::iterator::{Handle, SignalsInfo};
use signal_hook::low_level::emulate_default_handler;

use super::control::{Controller, Steering};
use crate::inherited;

/// What the system or the user told this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGCHLD: some child has changed its state.
    Child,
    /// SIGINT or SIGTERM: stop.
    Stop(i32),
    /// SIGHUP: go on with what is installed and configured now.
    Renew,
    /// SIGTTIN: one worker more.
    Grow,
    /// SIGTTOU: one worker less.
    Shrink,
}

/// Forwards signals until dropped.
#[derive(Debug)]
pub struct Signals {
    handle: Handle,
}

impl Signals {
    /// Installs the handlers (with `SA_RESTART`, or ipc-channel would lose sends) and the thread
    /// behind them, on which `tell` is called, until it returns false.
    ///
    /// # Errors
    /// When the handlers or the thread cannot be set up.
    pub fn start(mut tell: impl FnMut(Signal) -> bool + Send + 'static) -> io::Result<Self> {
        let hangup = (!inherited::ignores_hangup()).then_some(SIGHUP);
        let handled = [SIGCHLD, SIGINT, SIGTERM, SIGTTIN, SIGTTOU].into_iter().chain(hangup);
        let mut incoming = SignalsInfo::<WithRawSiginfo>::new(handled)?;
        let handle = incoming.handle();
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for info in incoming.forever() {
                let signal = match info.si_signo {
                    SIGCHLD => Signal::Child,
                    SIGHUP => Signal::Renew,
                    SIGTTIN | SIGTTOU if is_terminals(&info) => {
                        if emulate_default_handler(info.si_signo).is_err() {
                            return;
                        }
                        continue;
                    }
                    SIGTTIN => Signal::Grow,
                    SIGTTOU => Signal::Shrink,
                    signal => Signal::Stop(signal),
                };
                if !tell(signal) {
                    return;
                }
            }
        })?;
        Ok(Self { handle })
    }

    /// Hands everything to one run, which is all this process does.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn to_run(controller: Controller) -> io::Result<Self> {
        Self::start(move |signal| match signal {
            Signal::Child => controller.child(),
            Signal::Stop(signal) => controller.stop(signal),
            Signal::Renew => controller.steer(Steering::Roll),
            Signal::Grow => controller.steer(Steering::Grow),
            Signal::Shrink => controller.steer(Steering::Shrink),
        })
    }
}

/// The terminal's driver sends the same two signals, again and again, to a process in the background
/// that uses the terminal: then they mean what they always did, that it is to stop.
fn is_terminals(info: &siginfo_t) -> bool {
    info.si_code == SI_KERNEL
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.handle.close();
    }
}
