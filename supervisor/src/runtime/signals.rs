//! Turns signals into messages; handlers do nothing else.

use std::io;
use std::thread;

use nix::libc::{SI_KERNEL, siginfo_t};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGTTIN, SIGTTOU};
use signal_hook::iterator::exfiltrator::WithRawSiginfo;
use signal_hook::iterator::{Handle, SignalsInfo};
use signal_hook::low_level::emulate_default_handler;

use super::control::{Controller, Steering};
use crate::inherited;

/// A signal to this process, by what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGCHLD: a child process has changed its state.
    Child,
    /// SIGINT or SIGTERM: stop.
    Stop(i32),
    /// SIGHUP: go on with the executable and the settings that are there now.
    Renew,
    /// SIGTTIN: add a worker.
    Grow,
    /// SIGTTOU: remove a worker.
    Shrink,
}

/// Forwards signals until dropped.
#[derive(Debug)]
pub struct Signals {
    handle: Handle,
}

impl Signals {
    /// Installs the handlers (with `SA_RESTART`, or ipc-channel would lose messages) and starts the thread
    /// that calls `tell` until it returns false.
    ///
    /// # Errors
    /// If the handlers or the thread cannot be set up.
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

    /// Forwards all signals to one run, if this process does nothing else.
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

/// Whether the terminal sent it. Its driver sends the same two signals to a background process that uses
/// the terminal, again and again. Then they have their usual meaning: the process must stop.
fn is_terminals(info: &siginfo_t) -> bool {
    info.si_code == SI_KERNEL
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.handle.close();
    }
}
