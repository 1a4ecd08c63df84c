//! A run on a terminal of its own.

use std::fs::File;
use std::io::Write as _;
use std::process::Stdio;
use std::sync::{PoisonError, mpsc};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{Winsize, openpty};
use shared::clock;

use super::command::TestCommand;
use super::running::{Collected, Output, Running, STARTING, spawn};

/// A process whose standard input and standard error are a terminal, which is the one that controls it.
#[derive(Debug)]
pub(crate) struct Terminal {
    keyboard: File,
    pub(crate) running: Running,
}

impl Terminal {
    /// Starts `command` on a terminal 100 columns wide; its standard output goes to a pipe.
    pub(crate) fn start(command: TestCommand) -> Self {
        let size = Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        let (master, slave) = {
            // It makes descriptors that children inherit, and a terminal held open by another test's
            // process would never end.
            let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
            let pty = openpty(&size, None).unwrap();
            for end in [&pty.master, &pty.slave] {
                fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
            }
            (File::from(pty.master), File::from(pty.slave))
        };
        // `setsid -c` makes the terminal on its standard input the one whose Ctrl-C it gets.
        let mut command = command.under(&["setsid", "-c"]).env("TERM", "xterm-256color").prepared();
        command.stdin(slave.try_clone().unwrap()).stderr(slave).stdout(Stdio::piped());
        let started = clock::now();
        let mut child = spawn(&mut command);
        // The command holds the terminal's other end, and would keep it open after the process.
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let (ended, streams) = mpsc::channel();
        let stdout = Collected::read(child.stdout.take().unwrap(), ended.clone());
        let stderr = Collected::read(master.try_clone().unwrap(), ended);
        let running = Running::watch(&command, started, child, (stdout, stderr, streams));
        Self { keyboard: master, running }
    }

    /// Types `keys`.
    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for its end; what appeared on the terminal is the output's `stderr`.
    pub(crate) fn wait(self) -> Output {
        self.running.wait()
    }
}
