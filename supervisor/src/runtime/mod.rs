//! The part that touches the operating system during a run: starts and reaps
//! processes, moves messages, listens to signals, reads the clock. It tells the
//! pool what happened and carries out the pool's commands.
//!
//! It decides nothing about a worker or about blame. Where kinds of jobs differ (how
//! far to read ahead of the output, what a signal or a quarantined target means), it
//! follows their rules in `kinds`.

pub mod cgroup;
mod channel;
mod commands;
mod control;
mod cookies;
pub mod cpus;
pub mod descriptors;
mod door;
mod feed;
mod handing;
pub mod locate;
pub(crate) mod login;
mod observer;
mod pages;
mod process;
mod records;
mod robots;
mod signals;
pub mod sockets;
mod spares;
mod targets;
mod workers;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select, Sender, TryRecvError, bounded};
use rustc_hash::FxHashMap;
use shared::clock;
use shared::encoder::Encoder;
use shared::job::JobSpec;
use shared::protocol::{FromWorker, PROTOCOL};
use supervisor_core::gather::{Gather, LoadSample, Ordered};
use supervisor_core::load::total::{Report as LoadReport, Room};
use supervisor_core::pages::ListCounts;
use supervisor_core::pool::{Disposition, Event, Notice, Pool, Seat};
use supervisor_core::proxies::ProxySnapshot;
use supervisor_core::sessions::LoginCounts;

pub use self::control::{Control, Controller, Steering};
pub use self::feed::Feed;
pub use self::observer::{Look, Observer, WorkerSnapshot};
pub use self::pages::Paging;
pub use self::signals::{Signal, Signals};
pub use self::spares::Spares;
pub use self::workers::{NoWorkers, Workers};
pub use self::writer::{Finished, Queue, Writer};

use self::channel::Heard;
use self::cookies::Copies;
use self::handing::Handing;
use self::process::Process;
use self::records::Unjudged;
use self::robots::RobotsGate;
use self::writer::Chunk;
use crate::cookies::Cookies;
use crate::journal::{self, Final, HeldRecord};
use crate::kinds::{self, FirstSignal, ProgressUnit, Rules};
use crate::plan::HostKey;
use crate::progress::{Snapshot, Total};
use crate::robots::RobotsCache;
use crate::session::Session;
use crate::since::Earlier;
use crate::units;

/// Messages of workers taken in one turn of the loop before signals are looked at again.
const HEARD_PER_TURN: usize = 64;

/// Messages that may wait for the loop; when it does not keep up, its workers' sends block.
const HEARD_WAITING: usize = 16;

/// Lines after which a turn of the loop goes to the writer first.
const CHUNK_BYTES_MAX: usize = 256 * 1024;

/// Hosts that a run shows: more than a person looks at.
const HOSTS_SHOWN: usize = 200;

/// Proxies of a job that are shown while it runs; its summary has all.
const PROXIES_SHOWN: usize = 32;

/// The parts that a run shares with the runs before and after it, such as the pages of a job with
/// the sitemaps that list them.
pub struct RunParts<'a> {
    /// The source of targets.
    pub feed: &'a mut Feed,
    /// The way to the thread that takes in results.
    pub queue: &'a Queue,
    /// Counts.
    pub gather: &'a mut Gather,
    /// Puts results in order, if they are needed in order.
    pub ordered: Option<&'a mut Ordered>,
    /// Records of an earlier run that wait for an earlier one.
    pub held: Vec<HeldRecord>,
    /// Targets that an earlier run may have sent, and that must not be sent twice.
    pub uncertain: journal::Finished,
    /// Requests to stop, resize or go on with other workers.
    pub control: &'a Control,
    /// Watches the run.
    pub observer: &'a mut dyn Observer,
    /// The source of worker processes.
    pub workers: &'a Workers,
}

/// How a run ended.
#[derive(Debug, Default)]
pub struct Ended {
    /// The signal that stopped it, if one did.
    pub signal: Option<i32>,
    /// Why the run failed, if it did.
    pub failure: Option<String>,
    /// Whether it failed because descriptors were short, which others will close.
    pub lacks_descriptors: bool,
    /// Whether it failed because no proxy works, which may pass.
    pub lacks_proxies: bool,
    /// Whether it failed because logins fail, which may pass.
    pub lacks_login: bool,
    /// What was done to log in, if the job does.
    pub logins: Option<LoginCounts>,
    /// Whether results were given up because the user would not wait for a slow reader of the output.
    pub abandoned: bool,
    /// Whether the output failed; [`Writer::finish`] returns the reason.
    pub output_failed: bool,
    /// Targets taken from the source that have no record.
    pub left: u64,
    /// Records that were not written, because one that comes before them was not there at the end. The
    /// journal keeps them.
    pub held_back: u64,
    /// Whether the source has more that was never taken.
    pub unread: bool,
    /// The parts of the sandbox that were in force in the workers.
    pub sandbox: String,
    /// What the load came to, if it was not fixed.
    pub load: Option<LoadReport>,
    /// What became of the proxies.
    pub proxies: Vec<ProxySnapshot>,
    /// Pages that were to be asked for besides the inputs.
    pub followed: u64,
    /// How lists of pages ended, in all runs, if pages are followed.
    pub lists: Option<ListCounts>,
}

impl Ended {
    /// Whether everything that was to be done is done.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.signal.is_none() && self.failure.is_none() && !self.output_failed && !self.abandoned
    }
}

/// One run of one pool.
pub struct Runtime<'a> {
    parts: RunParts<'a>,
    job: JobSpec,
    rules: Rules,
    /// Encodes the records that no worker can write.
    encoder: Encoder,
    pool: Pool,
    /// Workers the run has a use for, if it shares them with others.
    workers_max: u32,
    /// A slot may have several: one at work, one getting ready, and some that finish what they have begun.
    processes: FxHashMap<Seat, Process>,
    heard_sender: Sender<Heard>,
    heard: Receiver<Heard>,
    dispositions: Vec<Disposition>,
    /// Lines gathered in this turn, on their way to the writer.
    out: Chunk,
    /// Results whose pages are not judged yet.
    unjudged: FxHashMap<u64, Unjudged>,
    /// How the lines that `ordered` keeps back ended.
    held: BTreeMap<u64, Final>,
    /// Since when the output has been behind, if it is: workers are not listened to meanwhile.
    blocked_since: Option<Instant>,
    /// Whether all workers were told to end at once: what they said before may still be read.
    killed: bool,
    /// Targets still to be taken from the feed in this run.
    budget: u64,
    source_told: bool,
    /// Decides what may be fetched, if robots.txt is obeyed.
    robots: Option<RobotsGate>,
    /// The cookies, if the job keeps them.
    cookies: Option<Cookies>,
    /// What an earlier run knows of pages, if they are compared with it.
    earlier: Option<Arc<Earlier>>,
    /// The lists of pages, if pages are followed to the next ones.
    paging: Option<Paging>,
    /// What the workers' copies of the cookies lack.
    copies: Copies,
    /// The session, if it is more than a jar.
    session: Option<Session>,
    /// What counts as one host in the limits per host.
    host_key: HostKey,
    /// When the journal gets what was learned about hosts.
    learned_due: Instant,
    /// Slices that wait until the journal has a note of them.
    handing: Handing,
    ended: Ended,
}

impl<'a> Runtime<'a> {
    /// Prepares a run of `pool` that takes at most `budget` targets; `job` is what each worker is told,
    /// its slot filled in.
    #[must_use]
    pub fn new(parts: RunParts<'a>, job: JobSpec, pool: Pool, workers_max: u32, budget: u64) -> Self {
        let (heard_sender, heard) = bounded(HEARD_WAITING);
        let rules = kinds::of(&job.work).rules();
        let encoder = Encoder::new(&job.encoding);
        let pool = if rules.watches_repeats { pool.watching_repeats() } else { pool };
        Self {
            parts,
            job,
            rules,
            encoder,
            pool,
            workers_max,
            processes: FxHashMap::default(),
            heard_sender,
            heard,
            dispositions: Vec::new(),
            out: Chunk::default(),
            unjudged: FxHashMap::default(),
            held: BTreeMap::new(),
            blocked_since: None,
            killed: false,
            budget,
            source_told: false,
            robots: None,
            cookies: None,
            earlier: None,
            paging: None,
            copies: Copies::default(),
            session: None,
            host_key: HostKey::default(),
            learned_due: clock::now(),
            handing: Handing::default(),
            ended: Ended::default(),
        }
    }

    /// Obeys robots.txt. `cache` keeps what is known of them.
    #[must_use]
    pub(crate) fn obeying(self, cache: Option<RobotsCache>) -> Self {
        let askers = cache.and_then(|cache| {
            let kind = kinds::of(&self.job.work);
            let askers = cache.askers(kind.robots_token()?, kind.secrets().as_deref());
            Some((cache, askers))
        });
        let robots = askers.map(|(cache, askers)| RobotsGate::new(cache, askers));
        Self { robots, ..self }
    }

    /// Keeps cookies in this jar.
    #[must_use]
    pub(crate) fn keeping(self, cookies: Option<Cookies>) -> Self {
        Self { cookies, ..self }
    }

    /// Keeps the session, whose requests go to hosts with this key.
    #[must_use]
    pub(crate) fn in_session(self, session: Option<Session>, host_key: HostKey) -> Self {
        Self { session, host_key, ..self }
    }

    /// Compares pages with those of an earlier run.
    #[must_use]
    pub(crate) fn since(self, earlier: Option<Arc<Earlier>>) -> Self {
        Self { earlier, ..self }
    }

    /// Follows pages to the next ones.
    #[must_use]
    pub(crate) fn following(self, paging: Option<Paging>) -> Self {
        Self { paging, ..self }
    }

    /// Runs to the end.
    #[must_use]
    pub fn run(mut self) -> Ended {
        for HeldRecord { first, ending, lines } in std::mem::take(&mut self.parts.held) {
            self.emit(first, ending, &lines);
        }
        self.reopen_lists(clock::now());
        loop {
            self.take_targets();
            self.write_out();
            self.carry_out_all();
            self.note_slices();
            if self.pool.is_over() {
                break;
            }
            self.wait();
            self.turn();
        }
        self.parts.gather.restarted(self.pool.restarts());
        self.parts.gather.retried(self.pool.charged());
        self.ended.left = self.inputs_left();
        self.ended.load = self.pool.load_report();
        self.ended.followed = self.paging.as_ref().map_or(0, Paging::followed);
        self.ended.lists = self.paging.as_ref().map(Paging::counts);
        self.ended.proxies = self.pool.proxies();
        self.ended.lacks_proxies = self.pool.lacks_proxies();
        self.ended.logins = self.pool.login_counts();
        self.keep_held();
        self.write_cookies();
        if self.ended.failure.is_none() {
            self.ended.failure = self.pool.failure().map(str::to_owned);
        }
        self.flush();
        self.ended
    }

    /// Sleeps until something happens or is due.
    fn wait(&self) {
        let mut select = Select::new();
        select.recv(self.parts.control.stopping());
        select.recv(self.parts.control.children());
        select.recv(self.parts.control.steering());
        if !self.ended.output_failed {
            select.recv(self.parts.queue.ended());
            select.recv(self.parts.queue.unwanted());
        }
        match self.parts.queue.chunks() {
            // The output is behind: no new records until it has caught up.
            Some(chunks) if !self.out.is_empty() => {
                select.send(chunks);
                if self.killed {
                    select.recv(&self.heard);
                }
            }
            Some(_) | None => {
                select.recv(&self.heard);
            }
        }
        if self.wants_targets() {
            select.recv(self.parts.feed.incoming());
        }
        if !self.ended.output_failed {
            select.recv(self.parts.queue.settled());
            self.parts.queue.notes().map(|notes| select.recv(notes.noted()));
        }
        let tick = self.parts.observer.due(clock::now());
        let dues = [self.pool.poll_timeout(), tick, self.robots_due(), self.cookies_due()];
        let deadline = dues.into_iter().flatten().min();
        match deadline {
            Some(deadline) => drop(select.ready_deadline(deadline)),
            None => drop(select.ready()),
        }
    }

    /// Takes in whatever is there, without waiting.
    fn turn(&mut self) {
        let now = clock::now();
        while let Ok(signal) = self.parts.control.stopping().try_recv() {
            self.on_signal(now, signal);
        }
        while let Ok(signal) = self.parts.control.steering().try_recv() {
            self.steer(now, signal);
        }
        if self.parts.control.children().try_iter().count() > 0 {
            self.reap(now);
        }
        if !self.ended.output_failed && self.writer_is_gone() {
            self.ended.output_failed = true;
            self.killed = true;
            self.pool.handle_event(now, Event::Kill);
        }
        self.take_note(now);
        self.take_settled(now);
        self.parts.queue.unwanted().try_iter().for_each(|file| self.parts.feed.leave_out(file));
        if self.out.is_empty() || self.killed {
            for _ in 0..HEARD_PER_TURN {
                if self.out.bytes() >= CHUNK_BYTES_MAX && !self.killed {
                    break;
                }
                let Ok(heard) = self.heard.try_recv() else { break };
                self.on_heard(now, heard);
            }
        }
        self.excuse_silence(now);
        if self.pool.poll_timeout().is_some_and(|at| at <= now) {
            self.pool.handle_timeout(now);
        }
        if self.parts.observer.due(now).is_some_and(|due| due <= now) {
            self.show(now);
        }
        self.write_cookies_if_due(now);
        self.keep_exit();
        self.note_load(now);
    }

    /// Notes what the load is limited to, for the report. While nothing happens, nothing changes.
    fn note_load(&mut self, now: Instant) {
        let at_us = clock::monotonic_us().saturating_sub(self.job.started_us);
        if self.rules.wait_max.is_zero() || !self.parts.gather.load().is_due(at_us) {
            return;
        }
        let (host_in_flight_max, interval) = self.pool.strictest(now);
        self.parts.gather.load_is(LoadSample {
            at_us,
            in_flight_max: self.pool.in_flight_max(),
            host_in_flight_max,
            pace_per_s: interval.map(|interval| 1.0 / interval.as_secs_f64()),
        });
    }

    /// While the output is behind, workers are not listened to: their clocks stand still.
    fn excuse_silence(&mut self, now: Instant) {
        if let Some(since) = self.blocked_since.as_mut() {
            let silence = now.duration_since(std::mem::replace(since, now));
            self.pool.handle_event(now, Event::Suspended(silence));
        }
    }

    fn snapshot(&self) -> Snapshot {
        let counts = self.parts.gather.counts();
        let position = self.parts.feed.position();
        let in_bytes = position.bytes_total.filter(|_| self.rules.progress == ProgressUnit::Bytes);
        let under_way = self.processes.values().map(|process| process.reading().bytes).sum();
        let total = match (in_bytes, position.items_total) {
            // How many pages follow is not known.
            _ if self.paging.is_some() => Total::Unknown,
            (Some(total), _) => Total::Bytes(total),
            (None, _) if self.rules.progress == ProgressUnit::Found => Total::Found(position.items),
            (None, Some(total)) => Total::Exact(total),
            (None, None) => Total::estimate(position.items, position.bytes_read, position.bytes_total),
        };
        Snapshot {
            done: counts.items(),
            failed: counts.failed,
            refused: self.parts.gather.refused(),
            load: self.parts.gather.load().samples().last().copied(),
            proxies_failing: self.pool.proxies_failing(),
            bytes: counts.bytes.saturating_add(under_way),
            in_flight: self.in_flight(),
            total,
        }
    }

    /// What has begun, and not what is only with a worker already.
    fn in_flight(&self) -> u64 {
        self.processes.values().map(|process| process.reading().in_flight).sum()
    }

    fn writer_is_gone(&self) -> bool {
        matches!(self.parts.queue.ended().try_recv(), Err(TryRecvError::Disconnected))
    }

    fn on_signal(&mut self, now: Instant, signal: i32) {
        let name = supervisor_core::pool::signal_name(signal).unwrap_or("a signal");
        let finishes = self.rules.first_signal == FirstSignal::Finish;
        if self.ended.signal.replace(signal).is_none() && finishes {
            let in_flight = units::counted(self.in_flight(), "target");
            self.parts
                .observer
                .message(&format!("{name}: finishing {in_flight} in flight; once more to stop at once"));
            self.pool.handle_event(now, Event::Drain);
        } else {
            self.parts.observer.message(&format!("{name}: stopping at once"));
            self.killed = true;
            self.pool.handle_event(now, Event::Kill);
        }
    }

    /// The user wants the run to go on with other workers.
    fn steer(&mut self, now: Instant, signal: Steering) {
        let event = match signal {
            Steering::Roll => Event::Roll,
            Steering::Shrink => Event::Shrink,
            Steering::Grow => {
                let (fits, _) = descriptors::fit(descriptors::raise_limit(), u32::MAX, 1);
                if self.pool.workers() >= fits as usize {
                    let limit = "the limit on open files leaves no room for another worker";
                    return self.parts.observer.message(limit);
                }
                Event::Grow
            }
            Steering::Allotted => return self.resize(now),
        };
        self.pool.handle_event(now, event);
    }

    /// As many workers as the run is allowed, and has a use for.
    fn resize(&mut self, now: Instant) {
        let Some(allotted) = self.parts.control.allotted() else { return };
        let workers_max = allotted.min(self.workers_max);
        if let Some(room) = self.pool.room() {
            return self.pool.handle_event(now, Event::Room(Room { workers_max, ..room }));
        }
        let wanted = workers_max as usize;
        let there = self.pool.workers();
        for _ in there..wanted {
            self.pool.handle_event(now, Event::Grow);
        }
        for _ in wanted..there {
            self.pool.handle_event(now, Event::Shrink);
        }
    }

    fn reap(&mut self, now: Instant) {
        let mut any = false;
        for (seat, process) in &mut self.processes {
            if let Some(death) = process.try_reap() {
                let reading = death.reading;
                self.parts.gather.reaped(seat.slot, Duration::from_micros(reading.cpu_us));
                self.parts.gather.resident(seat.slot, reading.rss_bytes_max);
                self.pool.handle_event(now, Event::Reaped(*seat, death));
                any = true;
            }
        }
        if any {
            self.count_processes();
        }
    }

    fn count_processes(&mut self) {
        let count = self.processes.values().filter(|process| process.is_there()).count();
        self.parts.observer.processes(count);
    }

    fn show(&mut self, now: Instant) {
        let workers: Vec<_> = self
            .processes
            .iter()
            .filter(|(_, process)| process.is_there())
            .map(|(&seat, process)| WorkerSnapshot {
                seat,
                pid: process.pid(),
                standing: self.pool.standing(seat),
                reading: process.reading(),
            })
            .collect();
        let snapshot = self.snapshot();
        let gather = &*self.parts.gather;
        let restarts = gather.restarts() + self.pool.restarts();
        let shares = self.parts.control.allotted().is_some();
        let hosts = if shares { self.pool.busiest(now, HOSTS_SHOWN) } else { Vec::new() };
        let proxies = if shares { self.pool.proxies_to_show(PROXIES_SHOWN) } else { Vec::new() };
        let look = Look { snapshot, gather, restarts, hosts: &hosts, proxies: &proxies, workers: &workers };
        self.parts.observer.look(now, &look);
    }

    fn on_heard(&mut self, now: Instant, heard: Heard) {
        let event = match heard {
            Heard::Message(seat, FromWorker::Batch(batch)) => return self.on_batch(now, seat, &batch),
            Heard::Message(seat, FromWorker::Cookies { session, set }) => {
                return self.take_cookies(now, seat, session, set);
            }
            Heard::Message(seat, FromWorker::Hello(hello)) => {
                if hello.protocol == PROTOCOL && hello.build == shared::BUILD_ID {
                    Event::Hello(seat)
                } else {
                    let ours = shared::BUILD_ID;
                    let path = self.parts.workers.executable().display();
                    Event::Refused(
                        seat,
                        format!(
                            "{path} is build {}, this supervisor is build {ours}: install both from one build",
                            hello.build
                        ),
                    )
                }
            }
            Heard::Message(seat, FromWorker::Ready { sandbox }) => {
                self.ended.sandbox = sandbox;
                if self.ended.failure.is_none() {
                    self.ended.lacks_descriptors = false;
                }
                Event::Ready(seat)
            }
            Heard::Message(seat, FromWorker::Refused(why)) => Event::Refused(seat, why),
            Heard::Message(seat, FromWorker::GaveUp(why)) => Event::GaveUp(seat, why),
            Heard::Message(seat, FromWorker::Said(_)) if self.job.program().is_none() => {
                Event::Malformed(seat, "it passed on a line of a program, and there is none".to_owned())
            }
            Heard::Message(seat, FromWorker::Said(line)) => {
                let notice = Notice { slot: Some(seat.slot), ..Notice::new(line) };
                return self.parts.observer.notice(&notice);
            }
            Heard::Malformed(seat, why) => Event::Malformed(seat, why),
            Heard::Unreachable { seat, why, lacks_descriptors } => {
                if self.ended.failure.is_none() && lacks_descriptors {
                    // If the pool gives up, it does after this.
                    self.ended.lacks_descriptors = true;
                }
                Event::Unreachable(seat, why)
            }
            Heard::Eof(seat) => Event::Eof(seat),
        };
        self.pool.handle_event(now, event);
    }
}
