//! One process of the user's program, with its three pipes: how it is started, so that
//! it inherits no descriptors and does not outlive the worker, and how it ends.
//!
//! It stays in the worker's process group, which is how the supervisor's kill
//! reaches it; and the kernel kills it when the worker dies in any other way.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::signal::Signal;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use shared::job::MapSpec;

/// Requested size of its two busy pipes: with the usual 64 KiB both sides would be woken
/// four times as often. Where that is refused, they keep their size.
const PIPE_BYTES: libc::c_int = 256 * 1024;

/// The variable with the slot of its worker, for a program that needs a graphics card or a port for each process.
const SLOT_VARIABLE: &str = "MUSTER_WORKER_SLOT";

/// A running program.
#[derive(Debug)]
pub(super) struct Child {
    process: std::process::Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
    /// Readable once it is dead. Its output alone does not tell, since its own child may hold that open.
    exit: Option<OwnedFd>,
}

impl Child {
    /// Starts it; the caller reads its standard error.
    pub(super) fn start(
        spec: &MapSpec,
        environment: &[(OsString, OsString)],
        slot: u32,
    ) -> io::Result<(Self, ChildStderr)> {
        let (name, arguments) =
            spec.command.split_first().ok_or_else(|| io::Error::other("the command is empty"))?;
        let mut command = Command::new(name);
        command
            .args(arguments)
            .env_clear()
            .envs(environment.iter().cloned())
            .env(SLOT_VARIABLE, slot.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        set_up(&mut command);
        let mut process = command.spawn()?;
        let parts = (process.stdin.take(), process.stdout.take(), process.stderr.take());
        let (Some(input), Some(output), Some(stderr)) = parts else {
            return Err(io::Error::other("it was started without its pipes"));
        };
        for pipe in [input.as_fd(), output.as_fd()] {
            fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
            let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
        }
        // Without it, on an old kernel, the end of the output tells.
        let exit = pidfd_open(Pid::from_child(&process), PidfdFlags::empty()).ok();
        Ok((Self { process, input: Some(input), output, exit }, stderr))
    }

    /// Its standard input, unless that has been ended.
    pub(super) fn input(&self) -> Option<BorrowedFd<'_>> {
        self.input.as_ref().map(AsFd::as_fd)
    }

    /// Its standard output.
    pub(super) fn output(&self) -> BorrowedFd<'_> {
        self.output.as_fd()
    }

    /// Readable once it is dead.
    pub(super) fn exit(&self) -> Option<BorrowedFd<'_>> {
        self.exit.as_ref().map(AsFd::as_fd)
    }

    /// Writes what fits into its pipe; `WouldBlock` when nothing does.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.input.as_mut().map_or(Ok(0), |input| input.write(bytes))
    }

    /// Reads what is there; `WouldBlock` when nothing is, 0 at the end.
    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.output.read(into)
    }

    /// Bytes written to it that it has not taken.
    pub(super) fn untaken(&self) -> u64 {
        self.input.as_ref().and_then(|input| rustix::io::ioctl_fionread(input).ok()).unwrap_or(0)
    }

    /// Tells it that nothing more will come.
    pub(super) fn end_input(&mut self) {
        self.input = None;
    }

    /// Ends it.
    pub(super) fn kill(&mut self) {
        // It may have died this instant.
        let _ = self.process.kill();
    }

    /// How it ended, if it has.
    pub(super) fn try_reap(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().ok().flatten()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        // It was killed, so it ends; nothing else reaps it.
        let _ = self.process.wait();
    }
}

#[expect(unsafe_code, reason = "between fork and exec there is no other way to run anything")]
fn set_up(command: &mut Command) {
    let worker = std::process::id();
    let prepare = move || {
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        // The worker may have died before the signal was armed.
        if nix::unistd::getppid().as_raw().unsigned_abs() != worker {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        // Everything that the worker opens is marked already; a library's descriptor may not be.
        // SAFETY: the call takes three numbers and touches no memory of ours. An old kernel refuses it.
        unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
        Ok(())
    };
    // SAFETY: the closure makes system calls only, allocates nothing and takes no lock.
    unsafe { command.pre_exec(prepare) };
}

/// How it ended, as words that follow "it".
pub(super) fn in_words(status: ExitStatus) -> String {
    match (status.code(), signal(status)) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(name)) => format!("was ended by {name}"),
        (None, None) => "ended".to_owned(),
    }
}

/// The signal that ended it, by name.
pub(super) fn signal(status: ExitStatus) -> Option<String> {
    let number = status.signal()?;
    Some(
        Signal::try_from(number)
            .map_or_else(|_| format!("signal {number}"), |known| known.as_str().to_owned()),
    )
}

/// The command, as a person would type it.
pub(super) fn shown(command: &[OsString]) -> String {
    let words: Vec<_> = command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    words.join(" ")
}
