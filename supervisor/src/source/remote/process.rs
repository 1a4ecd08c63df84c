//! A reader process, as the supervisor sees it.

use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, poll};
use shared::{clock, framed};

use super::message::{Malformed, Messages, Reply, Request};
use super::{MEMORY_BYTES_MAX, READER};

/// Time after which a caller that waits for a message may look up.
const LOOK_UP: Duration = Duration::from_millis(500);

/// Time for a reader to exit once it has closed its pipe.
const EXIT_GRACE: Duration = Duration::from_secs(1);

/// Time between two looks whether it has.
const EXIT_POLL: Duration = Duration::from_millis(2);

/// Bytes read from the pipe at a time, which holds as many.
const PIPE_BYTES: usize = 64 * 1024;

/// A reader at work. It ends when this is dropped.
pub(super) struct Reader {
    child: Child,
    pipe: ChildStdout,
    part: Vec<u8>,
    messages: Messages,
    /// How long nothing has come while it was waited for.
    silent: Duration,
}

impl Reader {
    /// Starts a reader with this request.
    pub(super) fn start(request: &Request) -> io::Result<Self> {
        let mut child = start()?;
        let (stdin, pipe) = (child.stdin.take(), child.stdout.take());
        let pipe = pipe.ok_or(io::ErrorKind::BrokenPipe)?;
        let mut message = Vec::new();
        framed::push(request, &mut message);
        // The end of its standard input is the end of the request. If it is gone already, its status tells more.
        let _ = stdin.map(|mut stdin| stdin.write_all(&message));
        let part = vec![0; PIPE_BYTES];
        Ok(Self { child, pipe, part, messages: Messages::default(), silent: Duration::ZERO })
    }

    /// Returns the next message, or `None` if none comes for a moment, or not until `until`.
    ///
    /// # Errors
    /// What has happened to the reader, in words that follow on "the process that reads it". So does a silence of
    /// `silence_max`.
    pub(super) fn hear(
        &mut self,
        silence_max: Duration,
        until: Option<Instant>,
    ) -> Result<Option<Reply>, String> {
        loop {
            match self.messages.next() {
                Ok(None) => {}
                Ok(Some(reply)) => return Ok(Some(reply)),
                Err(Malformed) => return Err(MALFORMED.to_owned()),
            }
            // A message may come byte by byte.
            if until.is_some_and(|until| until <= clock::now()) {
                return Ok(None);
            }
            let timeout = u16::try_from(LOOK_UP.as_millis()).unwrap_or(u16::MAX);
            match poll(&mut [PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(0) => {
                    self.silent += LOOK_UP;
                    let is_too_long = self.silent >= silence_max;
                    let why = || format!("found nothing more within {} s", silence_max.as_secs());
                    return if is_too_long { Err(why()) } else { Ok(None) };
                }
                Ok(_) => self.silent = Duration::ZERO,
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(format!("cannot be heard: {errno}")),
            }
            match self.pipe.read(&mut self.part) {
                Ok(0) => return Err(self.exit().map_or_else(|| "has closed its pipe".to_owned(), died)),
                Ok(count) => self.messages.push(self.part.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("cannot be heard: {error}")),
            }
        }
    }

    /// Waits a moment for the reader's exit.
    fn exit(&mut self) -> Option<ExitStatus> {
        let until = clock::now() + EXIT_GRACE;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if clock::now() < until => thread::park_timeout(EXIT_POLL),
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

/// Says of a reader that it has sent what it cannot mean.
pub(super) const MALFORMED: &str = "sends what no reader of this build sends";

impl Drop for Reader {
    fn drop(&mut self) {
        // Fails if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start() -> io::Result<Child> {
    // This executable, even if an upgrade has replaced the file. Nothing of the environment is of use to it, and some
    // of it may be secret.
    Command::new("/proc/self/exe")
        .arg(READER)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

/// How a reader ended that should not have.
fn died(status: ExitStatus) -> String {
    let Some(signal) = status.signal() else {
        return format!("has ended with {status}");
    };
    let name = supervisor_core::pool::signal_name(signal).unwrap_or("a signal");
    match signal {
        // The allocator aborts; the kernel kills.
        libc::SIGABRT | libc::SIGKILL => {
            let most = MEMORY_BYTES_MAX >> 20;
            format!("was ended by {name}, most likely because it needed more than {most} MiB of memory")
        }
        _ => format!("was ended by {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_sends_byte_by_byte_holds_nobody_for_ever() {
        let script = "printf '\\377\\0\\0\\0\\0\\0\\0\\0'; while printf x; do sleep 0.01; done";
        let mut child = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let pipe = child.stdout.take().unwrap();
        let messages = Messages::default();
        let mut reader = Reader { child, pipe, part: vec![0; 16], messages, silent: Duration::ZERO };
        let until = clock::now() + Duration::from_millis(200);
        assert_eq!(reader.hear(Duration::MAX, Some(until)), Ok(None));
        assert!(clock::now() >= until);
    }
}
