//! Spare workers: started, connected, and without a job. A job that begins takes them, so that it does
//! not wait for workers to start.
//!
//! One thread starts every worker of the service and lasts as long as the service: a worker
//! dies with the *thread* that started it, and the threads of jobs come and go.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use shared::clock;
use supervisor_core::pool::{HEALTHY_AFTER, restart_delay};

use super::cgroup::Leaves;
use super::process::Process;

/// Time for which a spare too many is kept, because a job may be about to take it.
const SURPLUS_KEPT: Duration = Duration::from_millis(500);

/// The way to the spares.
#[derive(Debug, Clone)]
pub struct Spares {
    requests: Sender<Request>,
    /// The ids of the processes. Reading them must not wait for the thread, which waits for the system.
    pids: Arc<Mutex<Vec<u32>>>,
}

#[derive(Debug)]
enum Request {
    /// Hand out a process: a spare one, if there is one.
    Take(Sender<io::Result<Process>>),
    /// Keep this many spares.
    Keep(usize),
    /// A child process has changed its state.
    Child,
    /// Replace all spares.
    Renew,
}

impl Spares {
    /// Starts the thread, with nothing to keep.
    pub(super) fn start(executable: PathBuf, leaves: Option<Leaves>) -> io::Result<Self> {
        let (requests, incoming) = unbounded();
        let seed = clock::monotonic_us();
        let spare_pool = SparePool {
            executable,
            leaves,
            spares: Vec::new(),
            wanted: 0,
            failures: 0,
            not_before: clock::now(),
            surplus_since: None,
            rng: fastrand::Rng::with_seed(seed),
            pids: Arc::default(),
        };
        let pids = Arc::clone(&spare_pool.pids);
        thread::Builder::new().name("spares".to_owned()).spawn(move || spare_pool.run(&incoming))?;
        Ok(Self { requests, pids })
    }

    /// Takes a process that has never worked.
    pub(super) fn take(&self) -> io::Result<Process> {
        let gone = || io::Error::other("the thread that starts workers has ended");
        let (reply, answer) = bounded(1);
        self.requests.send(Request::Take(reply)).map_err(|_| gone())?;
        answer.recv().unwrap_or_else(|_| Err(gone()))
    }

    /// Keeps this many from now on.
    pub fn keep(&self, count: u32) {
        let _ = self.requests.send(Request::Keep(count as usize));
    }

    /// A child of this process has changed its state.
    pub fn child(&self) {
        let _ = self.requests.send(Request::Child);
    }

    /// Replaces all of them: another executable may have been installed.
    pub fn renew(&self) {
        let _ = self.requests.send(Request::Renew);
    }

    /// Returns the ids of their processes.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.pids.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct SparePool {
    executable: PathBuf,
    leaves: Option<Leaves>,
    spares: Vec<(Process, Instant)>,
    wanted: usize,
    /// Spares in a row that could not be started, or died before a job took them.
    failures: u32,
    not_before: Instant,
    surplus_since: Option<Instant>,
    rng: fastrand::Rng,
    pids: Arc<Mutex<Vec<u32>>>,
}

impl SparePool {
    fn start(&self) -> io::Result<Process> {
        let mut process = Process::start(&self.executable, None)?;
        if let Some(leaves) = &self.leaves {
            process.contain(leaves);
        }
        Ok(process)
    }

    fn run(mut self, incoming: &Receiver<Request>) {
        loop {
            let next = match self.due() {
                Some(due) => incoming.recv_deadline(due),
                None => incoming.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match next {
                Ok(request) => self.answer(request),
                Err(RecvTimeoutError::Timeout) => {}
                // Nobody is left to take one.
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.tend(clock::now());
            self.show();
        }
    }

    fn answer(&mut self, request: Request) {
        match request {
            Request::Take(reply) => {
                // The oldest, which said hello long ago.
                let spare = if self.spares.is_empty() { None } else { Some(self.spares.remove(0).0) };
                let process = match spare {
                    Some(process) => Ok(process),
                    None => self.start(),
                };
                // Before it is shown as a worker of a job.
                self.show();
                // If the job is gone, the process ends too.
                let _ = reply.send(process);
            }
            Request::Keep(count) => self.wanted = count,
            Request::Child => self.reap(clock::now()),
            Request::Renew => self.spares.clear(),
        }
    }

    fn due(&self) -> Option<Instant> {
        if self.spares.len() < self.wanted {
            return Some(self.not_before);
        }
        self.surplus_since.map(|since| since + SURPLUS_KEPT)
    }

    /// Starts a missing spare, or ends one too many.
    fn tend(&mut self, now: Instant) {
        if self.spares.len() <= self.wanted {
            self.surplus_since = None;
        } else if *self.surplus_since.get_or_insert(now) + SURPLUS_KEPT <= now {
            self.spares.truncate(self.wanted);
            self.surplus_since = None;
        }
        if self.spares.len() < self.wanted && self.not_before <= now {
            match self.start() {
                Ok(process) => self.spares.push((process, now)),
                Err(error) => {
                    tracing::warn!(%error, "cannot start a spare worker");
                    self.failed(now);
                }
            }
        }
    }

    fn show(&self) {
        let mut pids = self.pids.lock().unwrap_or_else(PoisonError::into_inner);
        pids.clear();
        pids.extend(self.spares.iter().map(|(process, _)| process.pid()));
    }

    fn reap(&mut self, now: Instant) {
        let before = self.spares.len();
        let mut young = false;
        self.spares.retain_mut(|(process, since)| {
            let death = process.try_reap();
            if let Some(death) = &death {
                young |= now.duration_since(*since) < HEALTHY_AFTER;
                let (exit, stderr) = (death.exit, death.stderr.trim_end());
                tracing::warn!(worker_pid = process.pid(), %exit, stderr, "a spare worker died");
            }
            death.is_none()
        });
        if self.spares.len() < before {
            if !young {
                self.failures = 0;
            }
            self.failed(now);
        }
    }

    fn failed(&mut self, now: Instant) {
        self.not_before = now + restart_delay(self.failures, &mut self.rng);
        self.failures = self.failures.saturating_add(1);
    }
}
