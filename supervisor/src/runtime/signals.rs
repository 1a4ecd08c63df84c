//! Signals become events of the loop; handlers do nothing else.

use std::io;
use std::thread;

use crossbeam_channel::{Receiver, Sender, unbounded};
use nix::libc::{SI_KERNEL, siginfo_t};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGTTIN, SIGTTOU};
use signal_hook::iterator::exfiltrator::WithRawSiginfo;
use signal_hook::iterator::{Handle, SignalsInfo};
use signal_hook::low_level::emulate_default_handler;

/// What a user asks of a run that is to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Steering {
    /// SIGHUP: replace all workers, one at a time.
    Roll,
    /// SIGTTIN: one worker more.
    Grow,
    /// SIGTTOU: one worker less.
    Shrink,
}

/// Forwards signals until dropped.
#[derive(Debug)]
pub struct Signals {
    children: Receiver<()>,
    stopping: Receiver<i32>,
    steering: Receiver<Steering>,
    handle: Handle,
}

impl Signals {
    /// Installs the handlers (with `SA_RESTART`, or ipc-channel would lose sends) and the thread behind them.
    ///
    /// # Errors
    /// When the handlers or the thread cannot be set up.
    pub fn start() -> io::Result<Self> {
        let handled = [SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGTTIN, SIGTTOU];
        let mut incoming = SignalsInfo::<WithRawSiginfo>::new(handled)?;
        let handle = incoming.handle();
        let (child, children) = unbounded();
        let (stop, stopping) = unbounded();
        let (steer, steering) = unbounded();
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for info in incoming.forever() {
                let heard = match info.si_signo {
                    SIGCHLD => child.send(()).is_ok(),
                    SIGHUP => steer.send(Steering::Roll).is_ok(),
                    SIGTTIN => resize(&info, Steering::Grow, &steer),
                    SIGTTOU => resize(&info, Steering::Shrink, &steer),
                    signal => stop.send(signal).is_ok(),
                };
                if !heard {
                    return;
                }
            }
        })?;
        Ok(Self { children, stopping, steering, handle })
    }

    /// Some child has changed its state.
    pub(super) fn children(&self) -> &Receiver<()> {
        &self.children
    }

    /// The user, or the system, wants the run to stop.
    pub(super) fn stopping(&self) -> &Receiver<i32> {
        &self.stopping
    }

    /// The user wants other workers.
    pub(super) fn steering(&self) -> &Receiver<Steering> {
        &self.steering
    }
}

/// The terminal's driver sends the same two signals, again and again, to a process in the background
/// that uses the terminal: then they mean what they always did, that it is to stop.
fn resize(info: &siginfo_t, asked: Steering, steer: &Sender<Steering>) -> bool {
    if info.si_code == SI_KERNEL {
        return emulate_default_handler(info.si_signo).is_ok();
    }
    steer.send(asked).is_ok()
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.handle.close();
    }
}
