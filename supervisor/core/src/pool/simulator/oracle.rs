//! What must hold, counted independently of the pool. The oracle sees each command and each event,
//! keeps its own account, and panics at the first contradiction.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use wire::protocol::{Outcome, Slice, Verdict};

use super::scenario::{Behaviour, Scenario, ms};
use super::seats::Seats;
use super::worker::Worker;
use crate::pool::{Abandoned, Counts, Death, Disposition, Quarantined, Seat};

/// Maximum bytes of one slice, unless it is a single large target.
const SLICE_BYTES_MAX: usize = 28 * 1024;

/// Maximum bytes a worker may have unread. A large target counts as one full slice.
const UNREAD_BYTES_MAX: usize = 64 * 1024;

/// The account of one target.
#[derive(Debug, Default)]
pub(super) struct TargetAccount {
    submitted: bool,
    pub(super) holder: Option<Seat>,
    retries: u32,
    pub(super) blamed: u32,
    /// Deaths for which it may or may not have been blamed.
    pub(super) maybe_blamed: u32,
    finals: u32,
    quarantined: bool,
    not_before: Option<Instant>,
    /// How often the world made a worker die on it.
    hits: u32,
}

/// The account of one process.
#[derive(Debug, Default)]
pub(super) struct ProcessAccount {
    pub(super) spawned_at: Option<Instant>,
    pub(super) job_sent: bool,
    greeted: bool,
    pub(super) ready: bool,
    /// When it was last given a slice.
    pub(super) given_at: Option<Instant>,
    /// Bytes of each slice that the worker has not read yet.
    unread: VecDeque<usize>,
    pub(super) drained_at: Option<Instant>,
    pub(super) drained: bool,
    pub(super) terminated: bool,
    pub(super) eof: bool,
    pub(super) death: Option<(Instant, Death)>,
    /// The targets that the pool's first order to end it may blame, and whether it may blame none.
    pub(super) ended: Option<(Vec<u64>, bool)>,
    pub(super) settled: bool,
    pub(super) forgotten_at: Option<Instant>,
    /// Outcomes that came from it and counted.
    pub(super) returned: u64,
    /// Its size when first sampled, and whether it has grown too much since.
    pub(super) rss_first: Option<u64>,
    pub(super) grown: bool,
    /// Whether the user asked for its replacement.
    pub(super) rolled: bool,
    /// Whether its successor was ready.
    pub(super) replaced: bool,
    /// Whether its slot was removed.
    pub(super) unseated: bool,
}

/// The whole account.
#[derive(Debug)]
pub(super) struct Oracle {
    pub(super) entries: Vec<TargetAccount>,
    pub(super) processes: BTreeMap<Seat, ProcessAccount>,
    /// No more targets may be given out: drained, killed, given up or all done.
    pub(super) ending: bool,
    pub(super) refused: bool,
    gave_up: bool,
    pub(super) deaf_for: Duration,
    /// When the clock last jumped, for the supervisor or for every process.
    pub(super) jumped_at: Option<Instant>,
    spawns: u64,
    pub(super) seats: Seats,
    /// Deaths with no target to blame, since a target was last finished.
    pub(super) unexplained: u32,
    pub(super) unready_deaths: Vec<Instant>,
    source_ended: bool,
}

impl Oracle {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self {
            entries: scenario.targets.iter().map(|_| TargetAccount::default()).collect(),
            processes: BTreeMap::new(),
            ending: false,
            refused: false,
            gave_up: false,
            deaf_for: Duration::ZERO,
            jumped_at: None,
            spawns: 0,
            seats: Seats::new(scenario),
            unexplained: 0,
            unready_deaths: Vec::new(),
            source_ended: false,
        }
    }

    pub(super) fn process(&mut self, seat: Seat) -> &mut ProcessAccount {
        let process = self.processes.get_mut(&seat).unwrap_or_else(|| panic!("{seat} was never spawned"));
        assert!(process.forgotten_at.is_none(), "a command for {seat}, which is forgotten");
        process
    }

    pub(super) fn is_forgotten(&self, seat: Seat) -> bool {
        self.processes[&seat].forgotten_at.is_some()
    }

    pub(super) fn submitted(&mut self, id: usize) {
        self.entries[id].submitted = true;
    }

    /// A program was told that no more targets follow. Then none may follow, and there must be
    /// something to flush.
    pub(super) fn flush(&mut self, seat: Seat) {
        let waiting = self.entries.iter().any(|entry| {
            entry.submitted && entry.finals == 0 && !entry.quarantined && entry.holder.is_none()
        });
        assert!(
            self.source_ended && !waiting,
            "{seat} is told that nothing follows, but targets are waiting"
        );
        assert!(self.entries.iter().any(|entry| entry.holder == Some(seat)), "{seat} holds nothing");
    }

    pub(super) fn source_ended(&mut self) {
        self.source_ended = true;
        self.end_if_all_done();
    }

    /// Whether the world may make a worker die on this target. Good targets must never be
    /// quarantined.
    pub(super) fn may_hit(&mut self, id: u64, scenario: &Scenario) -> bool {
        let entry = &mut self.entries[id as usize];
        if scenario.targets[id as usize].behaviour != Behaviour::Good {
            return true;
        }
        let allowed = entry.hits + 1 < scenario.config.crashes_max;
        entry.hits += u32::from(allowed);
        allowed
    }

    pub(super) fn spawn(&mut self, now: Instant, seat: Seat, scenario: &Scenario) {
        assert!(!self.ending, "{seat} is spawned although the run is ending");
        self.seat(now, seat, scenario);
        let fresh = self
            .processes
            .insert(seat, ProcessAccount { spawned_at: Some(now), ..ProcessAccount::default() });
        assert!(fresh.is_none(), "{seat} was spawned twice");
        self.spawns += 1;
    }

    pub(super) fn spawn_failed(&mut self, now: Instant, seat: Seat) {
        let process = self.process(seat);
        process.settled = true;
        if self.seats.sits(seat) {
            self.unexplained += 1;
            self.unready_deaths.push(now);
        }
    }

    pub(super) fn greeted(&mut self, seat: Seat) {
        self.processes.get_mut(&seat).unwrap().greeted = true;
    }

    pub(super) fn job(&mut self, seat: Seat) {
        let process = self.process(seat);
        assert!(process.greeted && !process.job_sent, "{seat} was told its job unasked or twice");
        process.job_sent = true;
    }

    pub(super) fn slice(
        &mut self,
        now: Instant,
        seat: Seat,
        slice: &Slice,
        worker: &Worker,
        scenario: &Scenario,
    ) {
        assert!(!self.ending, "{seat} was given targets although the run is ending");
        assert!(self.seats.sits(seat), "{seat} was given targets but has no seat");
        let process = self.process(seat);
        assert!(process.ready && process.job_sent, "{seat} was given targets before it was ready");
        assert!(
            process.ended.is_none() && !process.drained && !process.eof,
            "{seat} was given targets while it was leaving"
        );
        assert!(process.death.is_none(), "{seat} was given targets after it was reaped");
        process.given_at = Some(now);
        let bytes = slice_bytes(slice);
        assert!(!slice.targets.is_empty());
        assert!(bytes <= SLICE_BYTES_MAX || slice.targets.len() == 1, "a slice of {bytes} bytes");
        process.unread.push_back(bytes.min(SLICE_BYTES_MAX));
        let unread: usize = process.unread.iter().sum();
        assert!(worker.broke_off || unread <= UNREAD_BYTES_MAX, "{seat} has {unread} bytes unread");
        for target in &slice.targets {
            let plan = &scenario.targets[target.id as usize];
            let entry = &mut self.entries[target.id as usize];
            let id = target.id;
            assert!(
                entry.submitted && entry.finals == 0 && !entry.quarantined,
                "{id} must not be handed out"
            );
            assert_eq!(entry.holder, None, "{id} was given to {seat} while another holds it");
            assert!(entry.not_before.is_none_or(|at| at <= now), "{id} starts before its Retry-After");
            let innocent = entry.retries + entry.blamed + 1;
            assert!(
                (innocent..=innocent + entry.maybe_blamed).contains(&target.attempt),
                "{id} is on attempt {}, after {} retries and {} deaths",
                target.attempt,
                entry.retries,
                entry.blamed
            );
            entry.blamed = target.attempt - 1 - entry.retries;
            entry.maybe_blamed = 0;
            assert!(entry.blamed < scenario.config.crashes_max, "{id} should have been quarantined");
            // The retry budget of the host may forbid it.
            assert!(!target.may_retry || entry.retries < scenario.config.retries, "{id}");
            assert_eq!(target.input, plan.input, "{id}");
            entry.holder = Some(seat);
        }
        self.hosts_are_spared(slice, scenario);
        if let Some(room) = scenario.room {
            let in_flight = self.entries.iter().filter(|entry| entry.holder.is_some()).count();
            assert!(in_flight <= room.in_flight_max as usize, "{in_flight} targets in flight");
        }
    }

    pub(super) fn slice_read(&mut self, seat: Seat) {
        self.processes.get_mut(&seat).unwrap().unread.pop_front();
    }

    fn hosts_are_spared(&self, slice: &Slice, scenario: &Scenario) {
        let hosts: BTreeSet<_> =
            slice.targets.iter().filter_map(|target| scenario.targets[target.id as usize].host).collect();
        for host in hosts {
            let held = self.entries.iter().zip(&scenario.targets);
            let in_flight =
                held.filter(|(entry, plan)| entry.holder.is_some() && plan.host == Some(host)).count();
            assert!(in_flight <= scenario.in_flight_max(), "{in_flight} in flight to host {host}");
        }
    }

    pub(super) fn drain(&mut self, now: Instant, seat: Seat) {
        let ending = self.ending;
        let process = self.process(seat);
        assert!(ending || process.leaves(), "{seat} is told to finish although no replacement is ready");
        process.drained_at = Some(now);
        assert!(!process.drained, "{seat} was drained twice");
        process.drained = true;
    }

    pub(super) fn forgotten(&mut self, now: Instant, seat: Seat, scenario: &Scenario) {
        self.settle_without_eof(now, seat, scenario);
        self.process(seat).forgotten_at = Some(now);
        self.unseat(now, seat);
    }

    pub(super) fn quarantined(&mut self, now: Instant, quarantined: &Quarantined, scenario: &Scenario) {
        let id = quarantined.id;
        if let Some(holder) = self.entries[id as usize].holder {
            self.settle_without_eof(now, holder, scenario);
        }
        let entry = &mut self.entries[id as usize];
        let most = entry.blamed + entry.maybe_blamed;
        let crashes_max = scenario.config.crashes_max;
        assert!(entry.finals == 0 && !entry.quarantined, "{id} was quarantined after it was finished");
        assert_ne!(
            scenario.targets[id as usize].behaviour,
            Behaviour::Good,
            "{id} was quarantined although it is good"
        );
        assert!(
            entry.blamed <= crashes_max && crashes_max <= most,
            "{id} was quarantined after {most} deaths"
        );
        assert_eq!(quarantined.attempts, entry.retries + crashes_max, "{id}");
        assert_eq!(quarantined.input, scenario.targets[id as usize].input);
        entry.quarantined = true;
        self.unexplained = 0;
        self.end_if_all_done();
    }

    /// Checks what the pool must do with one outcome. Call this before the pool is told.
    pub(super) fn outcome(
        &mut self,
        now: Instant,
        seat: Seat,
        outcome: &Outcome,
        cap: Duration,
    ) -> Disposition {
        let id = outcome.id;
        let settled = self.processes[&seat].settled;
        let entry = &mut self.entries[id as usize];
        if settled || entry.holder != Some(seat) {
            return Disposition::Stale;
        }
        self.unexplained = 0;
        self.processes.get_mut(&seat).unwrap().returned += 1;
        entry.holder = None;
        if let Verdict::Retry { .. } = outcome.verdict {
            entry.retries += 1;
            entry.not_before = outcome.retry_after_ms.map(|after| now + ms(after).min(cap));
            return Disposition::Retried;
        }
        entry.finals += 1;
        assert_eq!(entry.finals, 1, "{id} has two records");
        self.end_if_all_done();
        Disposition::Final
    }

    /// Checks a target whose host was given up.
    pub(super) fn abandoned(&mut self, abandoned: &Abandoned, scenario: &Scenario) {
        let entry = &mut self.entries[abandoned.id as usize];
        assert_eq!(entry.holder, None, "{} was abandoned while a worker had it", abandoned.id);
        assert_eq!(abandoned.input, scenario.targets[abandoned.id as usize].input);
        entry.finals += 1;
        assert_eq!(entry.finals, 1, "{} has two records", abandoned.id);
        self.end_if_all_done();
    }

    fn end_if_all_done(&mut self) {
        let all_done = self.entries.iter().all(|entry| entry.finals + u32::from(entry.quarantined) == 1);
        self.ending |= self.source_ended && all_done;
    }

    /// The pool gave up.
    pub(super) fn gave_up(&mut self, now: Instant, why: &str) {
        assert!(!why.contains("internal error"), "{why}");
        if std::mem::replace(&mut self.gave_up, true) {
            return;
        }
        self.ending = true;
        let recent = |at: &&Instant| now.duration_since(**at) <= Duration::from_secs(60);
        let unready = self.unready_deaths.iter().filter(recent).count();
        // The last death may not be counted yet.
        assert!(
            self.refused || self.unexplained >= 5 || unready >= 5,
            "the pool gave up for no reason: {why}"
        );
    }

    /// The run is over.
    pub(super) fn over(&self, counts: Counts, restarts: u64, complete: bool, scenario: &Scenario) {
        for (seat, process) in &self.processes {
            assert!(process.forgotten_at.is_some(), "{seat} was not forgotten");
        }
        let count =
            |has: fn(&TargetAccount) -> bool| self.entries.iter().filter(|entry| has(entry)).count() as u64;
        let (done, quarantined) = (count(|entry| entry.finals == 1), count(|entry| entry.quarantined));
        let submitted = count(|entry| entry.submitted);
        assert_eq!((counts.submitted, counts.done, counts.quarantined), (submitted, done, quarantined));
        assert_eq!(counts.left(), submitted - done - quarantined);
        self.seats.check_restarts(restarts);
        if complete {
            assert_eq!(counts.left(), 0, "targets are left although nobody stopped the run");
        }
        let limit = u64::from(self.seats.count_max) * 4 + 16;
        assert!(!scenario.broken || self.spawns <= limit, "{} starts of a broken worker", self.spawns);
    }
}

/// The size of a slice on its channel, using the protocol's upper bound for a target's headers.
fn slice_bytes(slice: &Slice) -> usize {
    slice.targets.iter().map(|target| target.input.len() + 24).sum()
}
