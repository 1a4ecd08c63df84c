//! One worker process: starts, signals and reaps it, and keeps the end of its standard error.

use std::collections::VecDeque;
use std::io::{self, Read as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use shared::black_box::{BlackBox, Reading};
use shared::protocol::ToWorker;
use supervisor_core::pool::{Death, Exit, Seat};

use super::cgroup::{Leaf, Leaves};
use super::channel::{Channel, Listener};

/// Bytes of a worker's standard error that are kept: room for a panic with its backtrace.
const STDERR_BYTES_MAX: usize = 8 * 1024;

/// Time for a reaped worker's standard error to end. It ends with the process unless a
/// grandchild holds it open.
const STDERR_GRACE: Duration = Duration::from_millis(100);

/// The variables that a worker is given, of those that the supervisor has: where certificates are, how names are
/// resolved, and how the executable is loaded and debugged. No others, because a worker that was taken over reads them
/// all, and they hold the keys of stores. The user's program gets the whole environment, with its job.
const VARIABLES: [&str; 12] = [
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "RES_OPTIONS",
    "LOCALDOMAIN",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "GLIBC_TUNABLES",
    "MALLOC_ARENA_MAX",
    "RUST_BACKTRACE",
    "RUST_LIB_BACKTRACE",
    "RUST_MIN_STACK",
    "LLVM_PROFILE_FILE",
];

/// One worker process and everything that belongs to it.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    channel: Channel,
    black_box: BlackBox,
    stderr: StderrTail,
    /// Its cgroup, if it has one of its own.
    leaf: Option<Leaf>,
    reaped: bool,
}

impl Process {
    /// Starts a worker, which has no seat before [`Self::adopt`]. `slot` is for people who read `ps`.
    pub(super) fn start(worker: &Path, slot: Option<u32>) -> io::Result<Self> {
        let channel = Channel::open()?;
        let child_and_box = spawn(worker, slot, &channel);
        let (mut child, black_box) = match child_and_box {
            Ok(both) => both,
            Err(error) => {
                channel.release();
                return Err(error);
            }
        };
        channel.expect(child.id());
        let stderr = match StderrTail::of(child.stderr.take()) {
            Ok(stderr) => stderr,
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                channel.release();
                return Err(error);
            }
        };
        Ok(Self { child, channel, black_box, stderr, leaf: None, reaped: false })
    }

    /// Gives it a seat: from here on its messages go to `listener`.
    pub(super) fn adopt(&mut self, seat: Seat, listener: Listener) {
        self.channel.adopt(seat, listener);
    }

    /// Puts it into a cgroup of its own. Without one it works too, with weaker limits.
    pub(super) fn contain(&mut self, leaves: &Leaves) {
        let contained = leaves.leaf().and_then(|leaf| leaf.adopt(self.pid()).map(|()| leaf));
        match contained {
            Ok(leaf) => self.leaf = Some(leaf),
            Err(why) => tracing::warn!(worker_pid = self.pid(), %why, "a worker has no cgroup of its own"),
        }
    }

    /// Returns its process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not been reaped.
    pub(super) fn is_there(&self) -> bool {
        !self.reaped
    }

    /// Queues a message for it.
    pub(super) fn send(&self, message: ToWorker) {
        self.channel.send(message);
    }

    /// Signals its whole process group, unless it has already ended.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(group) = i32::try_from(self.child.id()).ok().filter(|_| !self.reaped) {
            // If it has died meanwhile, there is nobody to signal.
            let _ = killpg(Pid::from_raw(group), signal);
        }
    }

    /// Reads its black box.
    pub(super) fn reading(&self) -> Reading {
        self.black_box.read()
    }

    /// Reaps it if it has ended. Returns its death once; `None` while it lives, and afterwards.
    pub(super) fn try_reap(&mut self) -> Option<Death> {
        if self.reaped {
            return None;
        }
        let status = self.child.try_wait().ok().flatten()?;
        self.reaped = true;
        self.leaf = None;
        self.channel.release();
        let exit = match (status.code(), status.signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, Some(signal)) => Exit::Signal(signal),
            (None, None) => Exit::Code(-1),
        };
        Some(Death {
            exit,
            reading: self.black_box.read(),
            begun: self.black_box.begun(),
            stderr: self.stderr.take(),
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped {
            self.signal(Signal::SIGKILL);
            let _ = self.child.wait();
            self.channel.release();
        }
    }
}

fn spawn(worker: &Path, slot: Option<u32>, channel: &Channel) -> io::Result<(Child, BlackBox)> {
    let (black_box, page) = BlackBox::create()?;
    let mut command = Command::new(worker);
    command.arg("--connect").arg(channel.server_name());
    command.arg("--supervisor").arg(std::process::id().to_string());
    if let Some(slot) = slot {
        command.arg("--slot").arg(slot.to_string());
    }
    let variables = VARIABLES.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let child = command
        .env_clear()
        .envs(variables)
        // The page travels as standard input: only this child inherits it, and no descriptor
        // number has to be agreed on.
        .stdin(Stdio::from(page))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // Ctrl-C in the terminal must reach only the supervisor.
        .process_group(0)
        .spawn()
        .map_err(|source| io::Error::new(source.kind(), NotStarted { worker: worker.to_owned(), source }))?;
    Ok((child, black_box))
}

/// The executable of a worker cannot be run.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", worker.display())]
struct NotStarted {
    worker: PathBuf,
    source: io::Error,
}

/// The end of what a worker writes to its standard error.
#[derive(Debug)]
struct StderrTail {
    tail: Arc<Mutex<VecDeque<u8>>>,
    ended: Receiver<()>,
}

impl StderrTail {
    fn of(pipe: Option<ChildStderr>) -> io::Result<Self> {
        let tail = Arc::new(Mutex::new(VecDeque::new()));
        let (ending, ended) = bounded(1);
        if let Some(mut pipe) = pipe {
            let tail = Arc::clone(&tail);
            thread::Builder::new().name("stderr".to_owned()).spawn(move || {
                let mut bytes = [0; 1024];
                while let Ok(count @ 1..) = pipe.read(&mut bytes) {
                    let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
                    tail.extend(bytes.iter().take(count));
                    let surplus = tail.len().saturating_sub(STDERR_BYTES_MAX);
                    tail.drain(..surplus);
                }
                drop(ending);
            })?;
        }
        Ok(Self { tail, ended })
    }

    fn take(&self) -> String {
        // Either way the tail is read: `Err` is the end, or the grace running out.
        let _ = self.ended.recv_timeout(STDERR_GRACE);
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(tail.make_contiguous()).into_owned()
    }
}
