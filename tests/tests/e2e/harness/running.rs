//! A process under way, and what came of it.

use std::fmt;
use std::io::{Read, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use shared::clock;

use super::command::deadline;
use super::process::{Process, children, zombies};
use super::records::parse_lines;
use super::wait_for;

/// How long the streams may stay open after the process is gone; longer means that somebody still holds them.
const STREAMS_GRACE: Duration = Duration::from_secs(5);

/// What was read of a stream so far, by a thread of its own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Collected(Arc<Mutex<Vec<u8>>>);

impl Collected {
    /// Reads `stream` to its end; the sender is dropped when it is reached.
    pub(crate) fn read(mut stream: impl Read + Send + 'static, ended: mpsc::Sender<()>) -> Self {
        let collected = Self::default();
        let into = collected.clone();
        thread::spawn(move || {
            let mut chunk = [0; 16 << 10];
            // A pseudo-terminal whose other end is closed gives an error, not an end.
            while let Ok(count @ 1..) = stream.read(&mut chunk) {
                into.0.lock().unwrap().extend_from_slice(&chunk[..count]);
            }
            drop(ended);
        });
        collected
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}

/// A started process; killed with its children when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    line: String,
    pid: Pid,
    started: Instant,
    exited: Receiver<ExitStatus>,
    stdout: Collected,
    stderr: Collected,
    streams: Receiver<()>,
    over: bool,
}

impl Running {
    /// Starts `command` in a process group of its own; `stdin` is written by a thread.
    pub(crate) fn start(mut command: Command, stdin: Option<Vec<u8>>) -> Self {
        let started = clock::now();
        command.process_group(0);
        let mut child = spawn(&mut command);
        if let (Some(mut pipe), Some(bytes)) = (child.stdin.take(), stdin) {
            // A process that ends without reading its input is no fault of the test's.
            thread::spawn(move || pipe.write_all(&bytes));
        }
        let (ended, streams) = mpsc::channel();
        let collect = |stream: Option<Box<dyn Read + Send>>| {
            stream.map(|stream| Collected::read(stream, ended.clone())).unwrap_or_default()
        };
        let stdout = collect(child.stdout.take().map(|stream| Box::new(stream) as _));
        let stderr = collect(child.stderr.take().map(|stream| Box::new(stream) as _));
        Self::watch(&command, started, child, (stdout, stderr, streams))
    }

    /// Watches a child whose streams are being read already.
    pub(crate) fn watch(
        command: &Command,
        started: Instant,
        mut child: Child,
        (stdout, stderr, streams): (Collected, Collected, Receiver<()>),
    ) -> Self {
        let pid = Pid::from_raw(child.id().try_into().unwrap());
        let (sender, exited) = mpsc::channel();
        thread::spawn(move || sender.send(child.wait().unwrap()));
        let line = format!("{command:?}");
        Self { line, pid, started, exited, stdout, stderr, streams, over: false }
    }

    /// The running `worker` processes.
    pub(crate) fn workers(&self) -> Vec<Process> {
        children(self.pid.as_raw()).into_iter().filter(|child| child.name == "worker").collect()
    }

    /// The same, once there are `count` of them.
    pub(crate) fn wait_for_workers(&self, count: usize) -> Vec<Process> {
        self.until(&format!("{count} workers"), || Some(self.workers()).filter(|found| found.len() == count))
    }

    pub(crate) fn id(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Children that are dead and not reaped.
    pub(crate) fn zombies(&self) -> usize {
        zombies(self.pid.as_raw())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid, signal).unwrap();
    }

    /// Whether it is gone; [`Self::wait`] says how.
    pub(crate) fn has_ended(&self) -> bool {
        kill(self.pid, None).is_err()
    }

    pub(crate) fn stderr_so_far(&self) -> String {
        self.stderr.text()
    }

    /// Waits, within the deadline of the run, until `condition` has a value.
    pub(crate) fn until<T>(&self, what: &str, condition: impl FnMut() -> Option<T>) -> T {
        let left = (self.started + deadline()).saturating_duration_since(clock::now());
        let what = format!("{what} of {}", self.line);
        wait_for(&what, left, condition)
    }

    /// Waits until `count` whole lines are on standard output.
    pub(crate) fn wait_for_lines(&self, count: usize) {
        self.until(&format!("{count} lines"), || (self.lines_so_far() >= count).then_some(()));
    }

    /// Whole lines on standard output.
    pub(crate) fn lines_so_far(&self) -> usize {
        self.stdout.bytes().iter().filter(|byte| **byte == b'\n').count()
    }

    /// Waits for its end; kills it and fails when the deadline passes first.
    pub(crate) fn wait(self) -> Output {
        self.wait_within(deadline())
    }

    /// The same with this time since its start.
    pub(crate) fn wait_within(mut self, limit: Duration) -> Output {
        let left = (self.started + limit).saturating_duration_since(clock::now());
        let status = match self.exited.recv_timeout(left) {
            Ok(status) => status,
            Err(error) => {
                let workers = self.workers();
                self.kill();
                panic!(
                    "{error}: still running after {limit:?}, with {workers:?}: {}\n--- stdout\n{}\n--- stderr\n{}",
                    self.line,
                    shortened(&self.stdout.text()),
                    self.stderr.text()
                );
            }
        };
        let elapsed = clock::now() - self.started;
        self.over = true;
        let streams = self.streams.recv_timeout(STREAMS_GRACE);
        let output = Output {
            line: self.line.clone(),
            code: status.code(),
            signal: status.signal(),
            stdout: self.stdout.bytes(),
            stderr: self.stderr.text(),
            elapsed,
        };
        assert_ne!(
            streams,
            Err(RecvTimeoutError::Timeout),
            "ended, but its streams are still open: {output}"
        );
        assert!(!output.stderr.contains("panicked at"), "{output}");
        output
    }

    fn kill(&mut self) {
        let workers = self.workers();
        // Any of them may be gone already.
        let _ = killpg(self.pid, Signal::SIGKILL);
        for worker in workers {
            let _ = kill(worker.pid(), Signal::SIGKILL);
        }
        self.over = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.over {
            self.kill();
        }
    }
}

/// Held while a process is started, and while there are descriptors that it must not inherit.
pub(crate) static STARTING: Mutex<()> = Mutex::new(());

/// Starts `command`, with a message that names it if it cannot be.
pub(crate) fn spawn(command: &mut Command) -> Child {
    let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Output {
    line: String,
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    pub(crate) elapsed: Duration,
}

impl Output {
    /// Checks the exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Checks that standard error says `what`, in any case.
    #[track_caller]
    pub(crate) fn says(self, what: &str) -> Self {
        assert!(self.stderr.to_lowercase().contains(&what.to_lowercase()), "should say {what:?}: {self}");
        self
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }

    /// Standard output as records.
    pub(crate) fn records(&self) -> Vec<Value> {
        parse_lines(&self.stdout)
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stdout = shortened(&String::from_utf8_lossy(&self.stdout));
        write!(
            f,
            "{}\n--- code {:?}, signal {:?}, after {:?}\n--- stdout\n{stdout}\n--- stderr\n{}",
            self.line, self.code, self.signal, self.elapsed, self.stderr
        )
    }
}

fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 4000;
    text.chars().take(CHARS_MAX).collect()
}
