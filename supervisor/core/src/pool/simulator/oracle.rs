//! What must hold, counted apart from the pool: the oracle sees each command
//! and each event, keeps its own books, and panics at the first contradiction.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use wire::protocol::{Slice, Verdict};

use super::scenario::{Scenario, Temper, ms};
use super::seats::Seats;
use super::worker::Worker;
use crate::pool::{Counts, Death, Disposition, Quarantined, Seat};

/// Most bytes of one slice, unless it is one large target alone.
const SLICE_BYTES_MAX: usize = 28 * 1024;

/// Most bytes a worker may have unread, a large target counted as one full slice.
const UNREAD_BYTES_MAX: usize = 64 * 1024;

/// One target's page in the books.
#[derive(Debug, Default)]
pub(super) struct Entry {
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

/// One process's page.
#[derive(Debug, Default)]
pub(super) struct Chair {
    pub(super) spawned_at: Option<Instant>,
    pub(super) job_sent: bool,
    greeted: bool,
    pub(super) ready: bool,
    /// When it was last given a slice.
    pub(super) given_at: Option<Instant>,
    /// Bytes of each slice that is on the channel or not yet taken off it.
    unread: VecDeque<usize>,
    pub(super) drained_at: Option<Instant>,
    pub(super) drained: bool,
    pub(super) terminated: bool,
    pub(super) eof: bool,
    pub(super) death: Option<(Instant, Death)>,
    /// Whom the pool's first order to end it may blame, and whether it may blame nobody.
    pub(super) ended: Option<(Vec<u64>, bool)>,
    pub(super) settled: bool,
    pub(super) forgotten_at: Option<Instant>,
    /// Outcomes that came from it and counted.
    pub(super) returned: u64,
    /// Its size when it was first looked at, and whether it has grown too much since.
    pub(super) rss_first: Option<u64>,
    pub(super) grown: bool,
    /// Whether the user wanted it replaced.
    pub(super) rolled: bool,
    /// Whether its successor was ready.
    pub(super) replaced: bool,
    /// Whether its slot was taken away.
    pub(super) unseated: bool,
}

/// All that is known.
#[derive(Debug)]
pub(super) struct Oracle {
    pub(super) entries: Vec<Entry>,
    pub(super) chairs: BTreeMap<Seat, Chair>,
    /// No more targets may be given out: drained, killed, given up or all done.
    pub(super) ending: bool,
    pub(super) refused: bool,
    gave_up: bool,
    pub(super) deaf_for: Duration,
    /// When the clock last jumped, for the supervisor or for all.
    pub(super) jumped_at: Option<Instant>,
    spawns: u64,
    pub(super) seats: Seats,
    /// Deaths that nobody was blamed for since something was last finished.
    pub(super) vain: u32,
    pub(super) unready_deaths: Vec<Instant>,
    source_ended: bool,
}

impl Oracle {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self {
            entries: scenario.targets.iter().map(|_| Entry::default()).collect(),
            chairs: BTreeMap::new(),
            ending: false,
            refused: false,
            gave_up: false,
            deaf_for: Duration::ZERO,
            jumped_at: None,
            spawns: 0,
            seats: Seats::new(scenario),
            vain: 0,
            unready_deaths: Vec::new(),
            source_ended: false,
        }
    }

    pub(super) fn chair(&mut self, seat: Seat) -> &mut Chair {
        let chair = self.chairs.get_mut(&seat).unwrap_or_else(|| panic!("{seat} was never spawned"));
        assert!(chair.forgotten_at.is_none(), "a command for {seat}, which is forgotten");
        chair
    }

    pub(super) fn is_forgotten(&self, seat: Seat) -> bool {
        self.chairs[&seat].forgotten_at.is_some()
    }

    pub(super) fn submitted(&mut self, id: usize) {
        self.entries[id].submitted = true;
    }

    /// A program is told that nothing follows: then nothing does, and there is something to wait for.
    pub(super) fn flush(&mut self, seat: Seat) {
        let waiting = self.entries.iter().any(|entry| {
            entry.submitted && entry.finals == 0 && !entry.quarantined && entry.holder.is_none()
        });
        assert!(self.source_ended && !waiting, "{seat} is told that nothing follows, and something does");
        assert!(self.entries.iter().any(|entry| entry.holder == Some(seat)), "{seat} holds nothing");
    }

    pub(super) fn source_ended(&mut self) {
        self.source_ended = true;
        self.end_if_all_done();
    }

    /// Whether the world may make a worker die on this target: the good ones must never be set aside.
    pub(super) fn may_hit(&mut self, id: u64, scenario: &Scenario) -> bool {
        let entry = &mut self.entries[id as usize];
        if scenario.targets[id as usize].temper != Temper::Good {
            return true;
        }
        let allowed = entry.hits + 1 < scenario.config.crashes_max;
        entry.hits += u32::from(allowed);
        allowed
    }

    pub(super) fn spawn(&mut self, now: Instant, seat: Seat, scenario: &Scenario) {
        assert!(!self.ending, "{seat} is spawned although the run is ending");
        self.seat(now, seat, scenario);
        let fresh = self.chairs.insert(seat, Chair { spawned_at: Some(now), ..Chair::default() });
        assert!(fresh.is_none(), "{seat} was spawned twice");
        self.spawns += 1;
    }

    pub(super) fn spawn_failed(&mut self, now: Instant, seat: Seat) {
        let chair = self.chair(seat);
        chair.settled = true;
        if self.seats.sits(seat) {
            self.vain += 1;
            self.unready_deaths.push(now);
        }
    }

    pub(super) fn greeted(&mut self, seat: Seat) {
        self.chairs.get_mut(&seat).unwrap().greeted = true;
    }

    pub(super) fn job(&mut self, seat: Seat) {
        let chair = self.chair(seat);
        assert!(chair.greeted && !chair.job_sent, "{seat} was told its job unasked or twice");
        chair.job_sent = true;
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
        assert!(self.seats.sits(seat), "{seat} was given targets, and has no seat");
        let chair = self.chair(seat);
        assert!(chair.ready && chair.job_sent, "{seat} was given targets before it was ready");
        assert!(
            chair.ended.is_none() && !chair.drained && !chair.eof,
            "{seat} was given targets on its way out"
        );
        assert!(chair.death.is_none(), "{seat} was given targets after it was reaped");
        chair.given_at = Some(now);
        let bytes = slice_bytes(slice);
        assert!(!slice.targets.is_empty());
        assert!(bytes <= SLICE_BYTES_MAX || slice.targets.len() == 1, "a slice of {bytes} bytes");
        chair.unread.push_back(bytes.min(SLICE_BYTES_MAX));
        let unread: usize = chair.unread.iter().sum();
        assert!(worker.broke_off || unread <= UNREAD_BYTES_MAX, "{seat} has {unread} bytes unread");
        for target in &slice.targets {
            let plan = &scenario.targets[target.id as usize];
            let entry = &mut self.entries[target.id as usize];
            let id = target.id;
            assert!(entry.submitted && entry.finals == 0 && !entry.quarantined, "{id} is not to be done");
            assert_eq!(entry.holder, None, "{id} was given to {seat} while another holds it");
            assert!(entry.not_before.is_none_or(|at| at <= now), "{id} goes before its Retry-After");
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
            assert!(entry.blamed < scenario.config.crashes_max, "{id} should have been set aside");
            assert_eq!(target.may_retry, entry.retries < scenario.config.retries, "{id}");
            assert_eq!(target.input, plan.input, "{id}");
            entry.holder = Some(seat);
        }
        self.hosts_are_spared(slice, scenario);
    }

    pub(super) fn slice_read(&mut self, seat: Seat) {
        self.chairs.get_mut(&seat).unwrap().unread.pop_front();
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
        let chair = self.chair(seat);
        assert!(ending || chair.leaves(), "{seat} is told to finish, and nobody is ready in its place");
        chair.drained_at = Some(now);
        assert!(!chair.drained, "{seat} was drained twice");
        chair.drained = true;
    }

    pub(super) fn forgotten(&mut self, now: Instant, seat: Seat, scenario: &Scenario) {
        self.settle_without_eof(now, seat, scenario);
        self.chair(seat).forgotten_at = Some(now);
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
        assert!(entry.finals == 0 && !entry.quarantined, "{id} was set aside, and it was finished");
        assert_ne!(scenario.targets[id as usize].temper, Temper::Good, "{id} was set aside, and is good");
        assert!(entry.blamed <= crashes_max && crashes_max <= most, "{id} was set aside after {most} deaths");
        assert_eq!(quarantined.attempts, entry.retries + crashes_max, "{id}");
        assert_eq!(quarantined.input, scenario.targets[id as usize].input);
        entry.quarantined = true;
        self.vain = 0;
        self.end_if_all_done();
    }

    /// What the pool must make of one outcome; to be called before it is told.
    pub(super) fn outcome(
        &mut self,
        now: Instant,
        seat: Seat,
        id: u64,
        verdict: &Verdict,
        cap: Duration,
    ) -> Disposition {
        let settled = self.chairs[&seat].settled;
        let entry = &mut self.entries[id as usize];
        if settled || entry.holder != Some(seat) {
            return Disposition::Stale;
        }
        self.vain = 0;
        self.chairs.get_mut(&seat).unwrap().returned += 1;
        entry.holder = None;
        if let Verdict::Retry { after_ms, .. } = verdict {
            entry.retries += 1;
            entry.not_before = after_ms.map(|after| now + ms(after).min(cap));
            return Disposition::Retried;
        }
        entry.finals += 1;
        assert_eq!(entry.finals, 1, "{id} has two records");
        self.end_if_all_done();
        Disposition::Final
    }

    fn end_if_all_done(&mut self) {
        let all_done = self.entries.iter().all(|entry| entry.finals + u32::from(entry.quarantined) == 1);
        self.ending |= self.source_ended && all_done;
    }

    /// The pool says it cannot go on.
    pub(super) fn gave_up(&mut self, now: Instant, why: &str) {
        assert!(!why.contains("internal error"), "{why}");
        if std::mem::replace(&mut self.gave_up, true) {
            return;
        }
        self.ending = true;
        let recent = |at: &&Instant| now.duration_since(**at) <= Duration::from_secs(60);
        let unready = self.unready_deaths.iter().filter(recent).count();
        // The last death may not be in the books yet.
        assert!(self.refused || self.vain >= 5 || unready >= 5, "the pool gave up for no reason: {why}");
    }

    /// The run is over.
    pub(super) fn over(&self, counts: Counts, restarts: u64, complete: bool, scenario: &Scenario) {
        for (seat, chair) in &self.chairs {
            assert!(chair.forgotten_at.is_some(), "{seat} was not forgotten");
        }
        let count = |has: fn(&Entry) -> bool| self.entries.iter().filter(|entry| has(entry)).count() as u64;
        let (done, quarantined) = (count(|entry| entry.finals == 1), count(|entry| entry.quarantined));
        let submitted = count(|entry| entry.submitted);
        assert_eq!((counts.submitted, counts.done, counts.quarantined), (submitted, done, quarantined));
        assert_eq!(counts.left(), submitted - done - quarantined);
        self.seats.check_restarts(restarts);
        if complete {
            assert_eq!(counts.left(), 0, "nobody stopped the run, and targets are left");
        }
        let limit = u64::from(self.seats.count_max) * 4 + 16;
        assert!(!scenario.broken || self.spawns <= limit, "{} starts of a broken worker", self.spawns);
    }
}

/// What a slice weighs on its channel, by the protocol's upper bound for a target's headers.
fn slice_bytes(slice: &Slice) -> usize {
    slice.targets.iter().map(|target| target.input.len() + 24).sum()
}
