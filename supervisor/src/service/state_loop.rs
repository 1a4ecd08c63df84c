//! The state loop: one thread owns all mutable state of the service, the jobs and their workers. It handles
//! requests, events from the engines and signals, updates the state, stores it, and publishes it on the
//! board.
//!
//! One file per task: `intake` accepts jobs, `act` handles actions on jobs, `share` starts jobs and gives
//! them workers, `finish` ends them, `hosts` keeps what was learned about hosts, `signals` handles signals, `expire` deletes old jobs, `show` writes the
//! board.
//!
//! Invariants, checked after every turn: no more jobs run than allowed; no more workers are allotted than
//! exist; a job runs if and only if its state says so. The watchdog is notified only while they hold.

mod act;
mod expire;
mod finish;
mod hosts;
mod intake;
mod job;
mod share;
mod show;
mod signals;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select, Sender};
use shared::clock;
use supervisor_core::frontier::HostShares;

use self::job::Job;
use super::board::Service;
use super::disk_thread::DiskThread;
use super::event::Event;
use super::notify::Notify;
use super::request::Request;
use super::store::Store;
use super::{ApiServer, ReloadSettings};
use crate::config::ServiceConfig;
use crate::robots::RobotsCache;
use crate::runtime::{Controller, Spares, Workers};
use crate::view::JobId;

/// Most events handled per turn, so that requests do not wait too long.
const EVENTS_PER_TURN: usize = 256;

/// Time between two refreshes of the board while anyone listens or a job runs.
const BUSY_TICK: Duration = Duration::from_millis(500);

/// Time between two refreshes otherwise.
const IDLE_TICK: Duration = Duration::from_secs(2);

/// Time between two writes of what was learned about hosts.
const LEARNED_EVERY: Duration = Duration::from_secs(60);

/// Runs that are notified of SIGCHLD.
pub(super) type Listeners = Arc<Mutex<Vec<Controller>>>;

/// The loop's inputs.
pub(super) struct Parts {
    pub(super) config: ServiceConfig,
    /// Reloads the settings.
    pub(super) reload_settings: ReloadSettings,
    pub(super) service: Service,
    pub(super) store: Store,
    pub(super) requests: Receiver<Request>,
    pub(super) events: Receiver<Event>,
    /// The sender of events, for the loop's threads.
    pub(super) event_sender: Sender<Event>,
    pub(super) listeners: Listeners,
    pub(super) workers: Workers,
    pub(super) spares: Spares,
    pub(super) disk: DiskThread,
}

/// The state loop.
pub(super) struct StateLoop {
    parts: Parts,
    jobs: BTreeMap<JobId, Job>,
    /// The number of workers to run.
    workers: u32,
    /// The host budgets, shared by all jobs.
    hosts: HostShares,
    /// How long a job must run before it is not to blame for a death of the service.
    trial: Duration,
    /// What is known of robots.txt files, for all jobs.
    robots: RobotsCache,
    /// Set once the service stops.
    stopping: bool,
    /// Whether a job has made a record since the service was started, and this is on disk.
    got_on: bool,
    notify: Notify,
    started: Instant,
    /// Restarts of workers in ended runs.
    restarts: u64,
    /// The API server, if there is one.
    endpoint: Option<Box<dyn ApiServer>>,
    /// The last status sent to systemd.
    last_status: String,
    /// The number of spares last requested.
    spares_requested: Option<u32>,
    tick_due: Instant,
    alive_due: Option<Instant>,
    /// When to ask systemd for more time to stop.
    extend_due: Option<Instant>,
    expiry_due: Instant,
    /// When what was learned about hosts is written next.
    learned_due: Instant,
    /// The first invariant that was found violated.
    broken: Option<&'static str>,
}

impl StateLoop {
    /// Creates the loop and loads the jobs from the store.
    pub(super) fn new(parts: Parts) -> Result<Self, super::StoreError> {
        let now = clock::now();
        let workers = share::count(parts.config.workers);
        let mut state = Self {
            jobs: BTreeMap::new(),
            workers,
            hosts: HostShares::default(),
            trial: Duration::ZERO,
            robots: RobotsCache::kept_at(&parts.store.robots()),
            stopping: false,
            got_on: false,
            notify: Notify::new(),
            started: now,
            restarts: 0,
            endpoint: None,
            last_status: String::new(),
            spares_requested: None,
            tick_due: now,
            alive_due: None,
            extend_due: None,
            expiry_due: now,
            learned_due: now + LEARNED_EVERY,
            broken: None,
            parts,
        };
        state.remember_hosts(now);
        state.take_over()?;
        // A client that waits at the socket may read the board before the first turn.
        state.show_all();
        Ok(state)
    }

    /// Runs until the service was told to stop and no job runs. `endpoint` is the API server, if there is
    /// one.
    pub(super) fn run(mut self, endpoint: Option<Box<dyn ApiServer>>) {
        self.endpoint = endpoint;
        self.share();
        self.show_all();
        self.last_status = self.status();
        self.notify.ready(&self.last_status);
        while !(self.stopping && self.jobs.values().all(|job| job.running.is_none())) {
            self.wait();
            self.turn();
        }
        self.show_all();
        self.keep_hosts(clock::now());
        // Dropping the channels fails pending requests at once.
        drop((self.parts.requests, self.parts.events));
        drop(self.endpoint);
    }

    fn wait(&self) {
        let mut select = Select::new();
        select.recv(&self.parts.requests);
        select.recv(&self.parts.events);
        let waits = self.jobs.values().filter_map(|job| job.shortage.until).min();
        let dues = [
            waits,
            Some(self.tick_due),
            Some(self.expiry_due),
            Some(self.learned_due),
            self.alive_due,
            self.extend_due,
        ];
        let due = dues.into_iter().flatten().min();
        match due {
            Some(due) => drop(select.ready_deadline(due)),
            None => drop(select.ready()),
        }
    }

    fn turn(&mut self) {
        for _ in 0..EVENTS_PER_TURN {
            let Ok(event) = self.parts.events.try_recv() else { break };
            self.handle_event(event);
        }
        while let Ok(request) = self.parts.requests.try_recv() {
            self.handle_request(request);
        }
        let now = clock::now();
        if self.expiry_due <= now {
            self.expire(now);
        }
        if self.learned_due <= now {
            self.keep_hosts(now);
        }
        self.end_waits(now);
        self.share();
        self.check();
        if self.tick_due <= now {
            self.show_all();
            let status = self.status();
            if self.last_status != status {
                self.notify.status(&status);
                self.last_status = status;
            }
            let busy =
                self.parts.service.has_listeners() || self.jobs.values().any(|job| job.running.is_some());
            self.tick_due = now + if busy { BUSY_TICK } else { IDLE_TICK };
        }
        self.notify_watchdog(now);
        self.extend(now);
    }

    /// Lets jobs start that have waited for descriptors long enough.
    fn end_waits(&mut self, now: Instant) {
        for job in self.jobs.values_mut() {
            job.shortage.until = job.shortage.until.filter(|until| *until > now);
        }
    }

    fn handle_request(&mut self, request: Request) {
        match request {
            Request::Submit(submission, reply) => self.submit(submission, reply),
            Request::Act(id, verb, reply) => self.act(id, verb, reply),
            // The requester may be gone.
            Request::Scale(workers, reply) => drop(reply.send(self.scale(workers))),
        }
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Started(id, mode, wants) => self.handle_start(id, mode, wants),
            Event::Processes(id, alive) => self.handle_processes(id, alive),
            Event::Progress(id, progress) => self.handle_progress(id, *progress),
            Event::Notice(id, notice) => self.handle_notice(id, notice),
            Event::Ended(id, end, bytes) => self.handle_end(id, *end, bytes),
            Event::Released(id, released) => self.handle_release(id, released),
            Event::Prepared(prepared, reply) => self.handle_prepared(prepared, reply),
            Event::Signal(signal) => self.handle_signal(signal),
        }
    }

    /// Checks the invariants.
    fn check(&mut self) {
        let at_work = self.jobs.values().filter(|job| job.running.is_some()).count();
        let leaving = self.jobs.values().filter(|job| job.is_leaving()).count();
        let allotted: u32 =
            self.jobs.values().filter_map(|job| job.running.as_ref()).map(job::RunningJob::allotted).sum();
        let room = self.workers.min(self.parts.config.jobs_max.get()) as usize;
        let stray = self.jobs.values().any(|job| job.running.is_none() && job.row.state.is_at_work());
        let broken = if at_work - leaving > room {
            Some("more jobs run than allowed")
        } else if leaving == 0 && allotted > self.workers {
            Some("more workers are allotted than exist")
        } else if stray {
            Some("a job's state says that it runs, but it does not")
        } else {
            None
        };
        if let Some(broken) = broken.filter(|_| self.broken != broken) {
            tracing::error!(broken, "internal error, please report it");
        }
        self.broken = broken;
    }

    /// Notifies the watchdog, unless an invariant is violated.
    fn notify_watchdog(&mut self, now: Instant) {
        let Some(every) = self.notify.every() else { return };
        if self.alive_due.is_none_or(|due| due <= now) && self.broken.is_none() {
            self.notify.alive();
        }
        if self.alive_due.is_none_or(|due| due <= now) {
            self.alive_due = Some(now + every);
        }
    }

    fn listen(&self, controller: Controller) {
        self.parts.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(controller);
    }
}
