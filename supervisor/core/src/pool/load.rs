//! What the pool tells the load controllers, and what it does with their answers.

use std::time::{Duration, Instant};

use wire::black_box::Reading;
use wire::protocol::{Outcome, Verdict};
use wire::record::ErrorKind;

use super::Pool;
use super::exchange::{Abandoned, Command};
use super::seat::Seat;
use super::slot::State;
use crate::frontier::{Answer, Attempt};
use crate::load::total::{Bound, Report, Room, Tick, Total};

/// How often the number of workers is compared with their load: so often that a job which keeps all cores busy for a
/// second loses little of it, and seldom enough to cost nothing.
pub(super) const WEIGH_EVERY: Duration = Duration::from_millis(25);

/// Workers that are sampled at once, in turn. To sample one costs some 20 µs: with a hundred workers, all of them at each
/// tick would take a tenth of a core.
const SAMPLED_AT_ONCE: usize = 8;

/// One moment on two clocks: that of this process, and `CLOCK_MONOTONIC` in microseconds, which all processes share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Anchor {
    now: Instant,
    now_us: u64,
    /// When the job began, on the other clock: workers count from there.
    began_us: Option<u64>,
}

impl Anchor {
    /// Returns the first whole microsecond that is not before `at`.
    pub(super) fn us(self, at: Instant) -> Option<u64> {
        let later = at.checked_duration_since(self.now)?;
        Some(self.now_us + u64::try_from(later.as_nanos().div_ceil(1000)).ok()?)
    }

    /// Returns the instant of a worker's `started_us`, unless it is not in the past.
    fn instant(self, started_us: u64, now: Instant) -> Option<Instant> {
        let at_us = self.began_us?.checked_add(started_us)?;
        let at = match at_us.checked_sub(self.now_us) {
            Some(later_us) => self.now.checked_add(Duration::from_micros(later_us))?,
            None => self.now.checked_sub(Duration::from_micros(self.now_us - at_us))?,
        };
        (at <= now).then_some(at)
    }
}

impl Pool {
    /// Lets targets carry their earliest start. `now_us` is `CLOCK_MONOTONIC` at `now`. Without it, targets of a paced
    /// host start when they reach their worker, up to [`LEAD`](crate::frontier::LEAD) early.
    #[must_use]
    pub fn anchored(self, now: Instant, now_us: u64) -> Self {
        Self { anchor: Some(Anchor { now, now_us, began_us: None }), ..self }
    }

    /// Dates the reports of workers, who count from `began_us` of the same clock. Call it after [`Self::anchored`].
    /// Without it, a request counts as sent when its answer arrived, less its duration.
    #[must_use]
    pub fn dated(mut self, began_us: u64) -> Self {
        if let Some(anchor) = &mut self.anchor {
            anchor.began_us = Some(began_us);
        }
        self
    }

    /// Lets `total` decide how much is in flight and how many workers there are. The concurrency of the configuration
    /// is then what one worker can hold.
    #[must_use]
    pub fn growing(self, total: Total) -> Self {
        Self { total: Some(total), ..self }
    }

    /// What the load came to, if it was not fixed.
    #[must_use]
    pub fn load_report(&self) -> Option<Report> {
        self.total.as_ref().map(Total::report)
    }

    /// What the machine and the user allow, if the load is not fixed.
    #[must_use]
    pub fn room(&self) -> Option<Room> {
        self.total.as_ref().map(Total::room)
    }

    /// The limit of the busiest host, and the longest time between two starts at a host.
    #[must_use]
    pub fn strictest(&self, now: Instant) -> (Option<u32>, Option<Duration>) {
        self.frontier.strictest(now)
    }

    /// Maximum targets in flight now, if it is not fixed.
    #[must_use]
    pub fn in_flight_max(&self) -> Option<u32> {
        self.total.as_ref().map(Total::in_flight_max)
    }

    pub(super) fn set_room(&mut self, now: Instant, room: Room) {
        let Some(total) = &mut self.total else { return };
        total.on_room(room);
        // At once: the number of workers is not adjusted while they have nothing to do.
        for _ in room.workers_max.max(1) as usize..self.slots.len() {
            self.shrink(now);
        }
    }

    /// Places that are taken: by targets in flight, and by those that keep theirs until their record is committed.
    fn in_flight(&self) -> u32 {
        u32::try_from(self.ledger.counts().assigned + self.unsettled.len() as u64).unwrap_or(u32::MAX)
    }

    /// The same, without those that are with slow hosts. More of the latter need nothing but memory and
    /// descriptors, and take no place away from others.
    fn awake(&self) -> u32 {
        self.in_flight().saturating_sub(u32::try_from(self.asleep).unwrap_or(u32::MAX))
    }

    /// Whether one more target may be in flight.
    pub(super) fn has_room(&self) -> bool {
        match &self.total {
            Some(total) => {
                self.awake() < total.in_flight_max() && self.in_flight() < total.room().in_flight_max.max(1)
            }
            None => {
                let places = self.slots.len().saturating_mul(self.config.concurrency as usize);
                !self.config.settles || (self.in_flight() as usize) < places
            }
        }
    }

    /// Records that a target was assigned.
    pub(super) fn count_start(&mut self, now: Instant) {
        let others = self.awake().saturating_sub(1);
        if let Some(total) = &mut self.total {
            total.on_start(now, others);
        }
    }

    /// Records that an assigned target ended.
    pub(super) fn count_end(&mut self, now: Instant, answer: Answer) {
        let in_flight = self.awake();
        if let Some(total) = &mut self.total {
            total.on_end(now, in_flight, answer == Answer::Lost);
        }
    }

    /// Records how busy a worker is, and whether the machine has no more of something that it needs.
    pub(super) fn weigh(&mut self, now: Instant, seat: Seat, reading: &Reading, now_us: u64) {
        if self.total.is_none() {
            return;
        }
        if let Some(slot) = self.current(seat) {
            slot.cpu_use.sample(reading.cpu_us, now_us);
        }
        let in_flight = self.in_flight();
        if reading.waiting > 0
            && let Some(total) = &mut self.total
        {
            total.on_short(now, Bound::Shortage, in_flight);
        }
    }

    /// Makes the number of workers, which the user has just changed, the most that there are.
    pub(super) fn keep_workers(&mut self, now: Instant) {
        let workers_max = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        if let Some(room) = self.room() {
            self.set_room(now, Room { workers_max, ..room });
        }
    }

    /// Samples the workers and adjusts their number, if that is due.
    pub(super) fn weigh_all(&mut self, now: Instant) {
        if self.load_due.is_none_or(|at| at > now) {
            return;
        }
        self.load_due = Some(now + WEIGH_EVERY);
        if now >= self.watch_due {
            self.watch_targets(now);
        }
        self.adjust_workers(now);
        let (first, count) = (self.sample_next, self.slots.len());
        let turn = self.slots.iter().cycle().skip(first).take(count.min(SAMPLED_AT_ONCE));
        let serving = turn.filter(|slot| slot.state == State::Serving);
        self.commands.extend(serving.map(|slot| Command::Sample(slot.seat)));
        self.sample_next = (first + SAMPLED_AT_ONCE) % count.max(1);
    }

    /// Ends all targets that wait for a host that was given up.
    pub(super) fn give_up_hosts(&mut self, now: Instant) {
        while let Some((host, why, targets)) = self.frontier.pop_hopeless(now) {
            let message = why.message(&host);
            for id in targets {
                let Some(live) = self.ledger.abandon(id) else { continue };
                self.forget_way(id);
                let attempts = live.attempt() - 1;
                self.commands.push_back(Command::Abandon(Box::new(Abandoned {
                    id,
                    input: live.input.into_vec(),
                    kept: live.kept.into_vec(),
                    attempts,
                    kind: why.kind,
                    message: message.clone(),
                })));
            }
        }
    }

    /// Adds or removes workers, as the load asks for.
    fn adjust_workers(&mut self, now: Instant) {
        let serving = self.slots.iter().filter(|slot| slot.state == State::Serving);
        let shares: Vec<f64> = serving.filter_map(|slot| slot.cpu_use.share()).collect();
        let waiting = self.backlog();
        let (in_flight, awake) = (self.in_flight(), self.awake());
        let slots = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let Some(total) = &mut self.total else { return };
        let busy = shares.iter().sum::<f64>() / shares.len().max(1) as f64;
        let wanted = total.on_tick(now, Tick { workers: slots, busy, waiting, in_flight, awake }).max(1);
        for _ in slots..wanted {
            self.grow(now);
        }
        for _ in wanted..slots {
            self.shrink(now);
        }
    }
}

/// What an outcome says about its host.
pub(super) fn attempt(now: Instant, anchor: Option<Anchor>, outcome: &Outcome) -> Attempt {
    let started = anchor.and_then(|anchor| anchor.instant(outcome.started_us, now));
    let sent_at =
        started.or_else(|| now.checked_sub(Duration::from_micros(outcome.elapsed_us))).unwrap_or(now);
    let answer = answer(sent_at, outcome);
    let failure = match &outcome.verdict {
        Verdict::Failed(kind) | Verdict::Retry { kind, .. } => {
            Some(*kind).filter(|kind| failed_to_answer(answer, *kind))
        }
        Verdict::Ok => None,
    };
    // A 503 that says no more may be the page's own fault.
    let status = outcome.reply.map(|reply| reply.status);
    let is_sure =
        status != Some(503) || failure == Some(ErrorKind::Blocked) || outcome.retry_after_ms.is_some();
    Attempt { sent_at, answer, failure, is_sure }
}

/// Whether such an error says that the host is gone, or refuses requests.
fn failed_to_answer(answer: Answer, kind: ErrorKind) -> bool {
    match answer {
        Answer::Refused { .. } | Answer::Lost => true,
        // Hosts whose names or certificates are wrong are not overloaded, but they do not answer either.
        Answer::Unknown => matches!(kind, ErrorKind::Dns | ErrorKind::Tls),
        Answer::Served { .. } => false,
    }
}

/// What an outcome says about the load of its host.
fn answer(sent_at: Instant, outcome: &Outcome) -> Answer {
    if let Some(reply) = outcome.reply {
        if reply.refused {
            return Answer::Refused { sent_at };
        }
        return Answer::Served { first_byte: Some(Duration::from_micros(u64::from(reply.first_byte_us))) };
    }
    match &outcome.verdict {
        Verdict::Ok => Answer::Served { first_byte: None },
        Verdict::Failed(kind) | Verdict::Retry { kind, .. }
            if matches!(kind, ErrorKind::Connect | ErrorKind::Timeout | ErrorKind::Protocol) =>
        {
            Answer::Lost
        }
        Verdict::Failed(_) | Verdict::Retry { .. } => Answer::Unknown,
    }
}
