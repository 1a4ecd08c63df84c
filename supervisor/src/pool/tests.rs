//! Tests of the pool through its public interface, in virtual time.

use nix::libc;
use shared::black_box::Phase;
use shared::protocol::Outcome;

use super::*;
use crate::frontier::FrontierConfig;
use crate::plan::{PerHost, Politeness};

const SECOND: Duration = Duration::from_secs(1);

fn limits() -> PoolConfig {
    PoolConfig {
        slots: 1,
        concurrency: 1,
        retries: 2,
        crashes_max: 3,
        handshake_timeout: 5 * SECOND,
        stall_timeout: 20 * SECOND,
        stage_timeout: 10 * SECOND,
        target_timeout: 30 * SECOND,
        drain_grace: 15 * SECOND,
        terminate_grace: 2 * SECOND,
    }
}

/// A pool, its clock, and what it has asked for since one last looked.
struct Rig {
    pool: Pool,
    now: Instant,
    asked: Vec<Command>,
}

impl Rig {
    fn new(limits: PoolConfig) -> Self {
        let now = shared::clock::now();
        let politeness = Politeness { per_host: PerHost::Unlimited, rate_per_s: None, retries: 2 };
        let frontier = Frontier::new(FrontierConfig::from(&politeness), 1);
        Self { pool: Pool::new(limits, frontier, now, 1), now, asked: Vec::new() }
    }

    /// All workers up, and this many targets submitted.
    fn serving(limits: PoolConfig, targets: u64) -> Self {
        let mut rig = Self::new(limits);
        rig.submit(0..targets);
        for slot in 0..rig.pool.config.slots {
            rig.up(seat(slot, 1));
        }
        rig
    }

    fn submit(&mut self, ids: std::ops::Range<u64>) {
        for id in ids {
            assert!(self.pool.submit(self.now, id, format!("input {id}").into_bytes(), None));
        }
        self.pool.handle_timeout(self.now);
        self.listen();
    }

    fn up(&mut self, seat: Seat) {
        for event in [Event::Spawned(seat), Event::Hello(seat), Event::Ready(seat)] {
            self.tell(event);
        }
    }

    fn tell(&mut self, event: Event) {
        self.pool.handle_event(self.now, event);
        self.listen();
    }

    fn listen(&mut self) {
        self.asked.extend(std::iter::from_fn(|| self.pool.poll_command()));
    }

    /// Time passes, and the worker's black box, when asked for, says `read`.
    fn pass(&mut self, time: Duration, mut read: impl FnMut(u64) -> Reading) {
        let until = self.now + time;
        while let Some(due) = self.pool.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.pool.handle_timeout(self.now);
            let before = self.asked.len();
            self.listen();
            for command in self.asked.split_off(before) {
                if let Command::Sample(seat) = command {
                    let now_us = self.now_us(until, time);
                    self.pool.handle_event(self.now, Event::Sampled(seat, read(now_us), now_us));
                    self.listen();
                } else {
                    self.asked.push(command);
                }
            }
        }
        self.now = until;
    }

    /// Microseconds since this pass began, on a clock that began an hour ago.
    fn now_us(&self, until: Instant, time: Duration) -> u64 {
        3_600_000_000 + (time - (until - self.now)).as_micros() as u64
    }

    fn returns(&mut self, seat: Seat, ids: &[u64], verdict: &Verdict) -> Vec<Disposition> {
        let outcome = |id: &u64| Outcome {
            id: *id,
            verdict: verdict.clone(),
            bytes: 0,
            started_us: 0,
            elapsed_us: 0,
            cpu_us: 0,
            line_bytes: 0,
        };
        let batch = Batch { slices_read: 0, outcomes: ids.iter().map(outcome).collect(), lines: Vec::new() };
        let mut dispositions = Vec::new();
        self.pool.handle_batch(self.now, seat, &batch, &mut dispositions);
        self.listen();
        dispositions
    }

    fn dies(&mut self, seat: Seat, exit: Exit, target: Option<u64>, stderr: &str) {
        let death = Death { exit, reading: reading(9, target), stderr: stderr.to_owned() };
        self.tell(Event::Eof(seat));
        self.tell(Event::Reaped(seat, death));
    }

    /// What was asked for since the last look.
    fn asked(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.asked)
    }

    /// Ids (and attempts) that each slot was given since the last look.
    fn given(&mut self) -> Vec<(u32, Vec<(u64, u32)>)> {
        let slice = |command| match command {
            Command::SendSlice(seat, slice) => {
                Some((seat.slot, slice.targets.iter().map(|t| (t.id, t.attempt)).collect()))
            }
            _ => None,
        };
        self.asked().into_iter().filter_map(slice).collect()
    }

    fn notices(&mut self) -> Vec<String> {
        let notice = |command| if let Command::Notice(text) = command { Some(text) } else { None };
        self.asked().into_iter().filter_map(notice).collect()
    }
}

fn seat(slot: u32, generation: u32) -> Seat {
    Seat { slot, generation }
}

fn reading(progress: u64, target: Option<u64>) -> Reading {
    let phase = if target.is_some() { Phase::Extract } else { Phase::Idle };
    Reading { progress, target, since_us: u64::MAX, phase, rss_bytes_max: 4096, cpu_us: 0, in_flight: 0 }
}

/// A black box that is seen moving each time, with no stage running.
fn alive() -> impl FnMut(u64) -> Reading {
    let mut progress = 0;
    move |_| {
        progress += 1;
        reading(progress, None)
    }
}

#[test]
fn the_first_targets_are_spread_evenly() {
    for (slots, concurrency, targets, expected) in [
        (4, 8, 100, [8, 8, 8, 8]),
        (4, 8, 8, [2, 2, 2, 2]),
        (4, 8, 10, [3, 3, 3, 1]),
        (4, 1, 3, [1, 1, 1, 0]),
    ] {
        let mut rig = Rig::serving(PoolConfig { slots, concurrency, ..limits() }, targets);
        let mut got = [0; 4];
        for (slot, given) in rig.given() {
            got[slot as usize] += given.len();
        }
        assert_eq!(got, expected, "{targets} targets over {slots} workers of {concurrency}");
    }
}

#[test]
fn a_fast_worker_is_not_fed_ahead_of_an_idle_one_at_the_end() {
    let mut rig = Rig::serving(PoolConfig { slots: 2, concurrency: 1, ..limits() }, 30);
    // Worker 0 answers every millisecond and so gets some ahead; worker 1 takes its time.
    for id in 0..10 {
        rig.now += Duration::from_millis(1);
        let holds: Vec<_> = (0..30).filter(|id| rig.pool.ledger.held_by(*id, seat(0, 1)).is_some()).collect();
        assert_eq!(rig.returns(seat(0, 1), &holds[..1], &Verdict::Ok), [Disposition::Final], "{id}");
    }
    let held = |rig: &Rig, slot| {
        (0..30).filter(|id| rig.pool.ledger.held_by(*id, seat(slot, 1)).is_some()).count() as u64
    };
    let counts = rig.pool.counts();
    assert!(held(&rig, 0) > 1, "it is fed ahead");
    assert!(held(&rig, 0) <= (counts.pending + counts.assigned).div_ceil(2), "and no more than its share");
    assert_eq!(held(&rig, 1), 1);
}

#[test]
fn what_a_lost_worker_held_goes_first_and_in_order() {
    let mut rig = Rig::serving(PoolConfig { concurrency: 4, ..limits() }, 9);
    assert_eq!(rig.given(), [(0, (0..4).map(|id| (id, 1)).collect())]);
    rig.dies(seat(0, 1), Exit::Signal(libc::SIGKILL), None, "");
    assert_eq!(rig.given(), [], "there is nobody to give it to");
    rig.pass(SECOND, alive());
    rig.up(seat(0, 2));
    assert_eq!(rig.given(), [(0, (0..4).map(|id| (id, 1)).collect())]);
}

#[test]
fn only_the_one_at_fault_gets_the_attempt() {
    let crash = Exit::Signal(libc::SIGSEGV);
    let table = [
        ("a crash in a stage", crash, Some(1), Some(1)),
        ("a crash outside any", crash, None, None),
        ("a stage of another's target", crash, Some(77), None),
        ("an exit in a stage", Exit::Code(0), Some(1), Some(1)),
        ("killed for want of memory", Exit::Signal(libc::SIGKILL), Some(2), Some(2)),
        ("asked to end from outside", Exit::Signal(libc::SIGTERM), Some(1), None),
        ("Ctrl-C from outside", Exit::Signal(libc::SIGINT), Some(1), None),
    ];
    for (name, exit, target, blamed) in table {
        let mut rig = Rig::serving(PoolConfig { concurrency: 3, ..limits() }, 3);
        rig.dies(seat(0, 1), exit, target, "");
        rig.pass(SECOND, alive());
        rig.asked();
        rig.up(seat(0, 2));
        let expected: Vec<_> = (0..3).map(|id| (id, 1 + u32::from(Some(id) == blamed))).collect();
        assert_eq!(rig.given(), [(0, expected)], "{name}");
    }
}

#[test]
fn three_deaths_set_a_target_aside_with_the_evidence() {
    let table = [
        (
            Exit::Signal(libc::SIGSEGV),
            "",
            ErrorKind::WorkerCrash,
            "a worker died on it (SIGSEGV) on 3 attempts, last in phase extract",
        ),
        (
            Exit::Signal(libc::SIGABRT),
            "memory allocation of 99 bytes failed",
            ErrorKind::WorkerOom,
            "a worker ran out of memory on it on 3 attempts, last in phase extract",
        ),
        (
            Exit::Signal(libc::SIGKILL),
            "",
            ErrorKind::WorkerOom,
            "a worker was killed on it, most likely for want of memory, on 3 attempts, last in phase extract",
        ),
    ];
    for (exit, stderr, kind, message) in table {
        let mut rig = Rig::serving(limits(), 2);
        for generation in 1..=3 {
            assert_eq!(rig.given(), [(0, vec![(0, generation)])]);
            rig.dies(seat(0, generation), exit, Some(0), stderr);
            let before = rig.now;
            while rig.pool.slots[0].seat.generation == generation {
                rig.pass(Duration::from_millis(10), alive());
            }
            assert!(rig.now - before < SECOND / 5, "an input at fault is no reason to wait longer each time");
            if generation < 3 {
                rig.asked();
            }
            rig.up(seat(0, generation + 1));
        }
        let asked = rig.asked();
        let set_aside: Vec<_> = asked
            .iter()
            .filter_map(|c| if let Command::Quarantine(q) = c { Some(q) } else { None })
            .collect();
        let [quarantined] = set_aside[..] else { panic!("{asked:?}") };
        assert_eq!((quarantined.id, quarantined.attempts, quarantined.kind), (0, 3, kind));
        assert_eq!(quarantined.message, message);
        assert_eq!(quarantined.evidence.stderr, stderr);
        assert_eq!(rig.pool.counts().quarantined, 1);
    }
}

#[test]
fn many_bad_inputs_in_a_row_are_no_reason_to_give_up() {
    let mut rig = Rig::serving(limits(), 40);
    for death in 0..120 {
        rig.dies(seat(0, death + 1), Exit::Signal(libc::SIGSEGV), Some(u64::from(death / 3)), "");
        rig.pass(SECOND, alive());
        rig.up(seat(0, death + 2));
    }
    assert_eq!((rig.pool.counts().quarantined, rig.pool.failure()), (40, None));
}

#[test]
fn a_stage_without_end_is_blamed_on_its_target() {
    let mut rig = Rig::serving(PoolConfig { concurrency: 2, ..limits() }, 2);
    rig.asked();
    let since_us = 3_600_000_000;
    rig.pass(12 * SECOND, |_| Reading { since_us, ..reading(5, Some(1)) });
    let asked = rig.asked();
    assert!(asked.contains(&Command::Terminate(seat(0, 1))), "{asked:?}");
    assert!(
        asked.contains(&Command::Notice("worker 0 is 11 s into one stage (extract) and is ended".to_owned()))
    );
    rig.pass(2 * SECOND, alive());
    assert_eq!(rig.asked(), [Command::Kill(seat(0, 1))], "it ignores SIGTERM");
    assert_eq!(rig.returns(seat(0, 1), &[0], &Verdict::Ok), [Disposition::Final], "said before it was ended");
    rig.dies(seat(0, 1), Exit::Signal(libc::SIGKILL), Some(1), "");
    let notice = rig.notices().remove(0);
    assert!(notice.starts_with("worker 0: died with SIGKILL; starting again in "), "{notice}");
    rig.pass(SECOND, alive());
    rig.up(seat(0, 2));
    assert_eq!(rig.given(), [(0, vec![(1, 2)])]);
}

#[test]
fn a_late_target_is_blamed_and_not_the_stage_that_runs_meanwhile() {
    let mut rig = Rig::serving(PoolConfig { concurrency: 2, ..limits() }, 2);
    let mut progress = 0;
    let mut busy_with_1 = |now_us| {
        progress += 1;
        Reading { since_us: now_us, ..reading(progress, Some(1)) }
    };
    rig.pass(29 * SECOND, &mut busy_with_1);
    rig.asked();
    rig.pass(3 * SECOND, &mut busy_with_1);
    assert_eq!(rig.notices(), ["worker 0 holds input 0 past its deadline and is ended"]);
    rig.dies(seat(0, 1), Exit::Signal(libc::SIGTERM), Some(1), "");
    rig.pass(SECOND, alive());
    rig.up(seat(0, 2));
    assert_eq!(rig.given(), [(0, vec![(0, 2), (1, 1)])]);
}

#[test]
fn a_worker_that_stands_still_outside_any_stage_costs_nobody_an_attempt() {
    // Past the target's deadline, too: but it is the worker that stands still.
    let mut rig = Rig::serving(PoolConfig { stall_timeout: 40 * SECOND, ..limits() }, 1);
    rig.pass(39 * SECOND, |_| reading(5, None));
    assert!(!rig.asked().contains(&Command::Terminate(seat(0, 1))));
    rig.pass(3 * SECOND, |_| reading(5, None));
    assert_eq!(rig.notices(), ["worker 0 made no progress for 41 s and is ended"]);
    rig.dies(seat(0, 1), Exit::Signal(libc::SIGKILL), None, "");
    rig.pass(SECOND, alive());
    rig.up(seat(0, 2));
    assert_eq!(rig.given(), [(0, vec![(0, 1)])]);
}

#[test]
fn a_target_that_comes_to_the_same_worker_again_has_a_new_deadline() {
    let mut rig = Rig::serving(PoolConfig { concurrency: 2, ..limits() }, 2);
    rig.pass(20 * SECOND, alive());
    let retry = Verdict::Retry { kind: ErrorKind::Timeout, after_ms: None };
    assert_eq!(rig.returns(seat(0, 1), &[1], &retry), [Disposition::Retried]);
    // Its backoff is at most half a second; the other one, older, stays and is done in time.
    rig.pass(9 * SECOND, alive());
    rig.returns(seat(0, 1), &[0], &Verdict::Ok);
    rig.asked();
    rig.pass(15 * SECOND, alive());
    assert_eq!(rig.notices(), [] as [String; 0], "24 s into its second attempt");
    rig.pass(10 * SECOND, alive());
    assert_eq!(rig.notices(), ["worker 0 holds input 1 past its deadline and is ended"]);
}

#[test]
fn waiting_inside_the_worker_for_a_turn_is_not_counted() {
    let mut rig = Rig::serving(limits(), 0);
    // Fast at first, so that it is fed ahead; then each takes 20 of the 30 seconds.
    for id in 0..20 {
        rig.submit(id..id + 1);
        rig.now += Duration::from_millis(10);
        rig.returns(seat(0, 1), &[id], &Verdict::Ok);
    }
    rig.submit(20..24);
    assert!(rig.pool.counts().assigned > 2, "it is fed ahead");
    let mut read = alive();
    for id in 20..24 {
        rig.pass(20 * SECOND, &mut read);
        rig.returns(seat(0, 1), &[id], &Verdict::Ok);
    }
    assert_eq!(rig.notices(), [] as [String; 0]);
    assert_eq!(rig.pool.counts().done, 24);
}

#[test]
fn watching_costs_no_more_memory_than_is_in_flight() {
    let mut rig = Rig::serving(PoolConfig { concurrency: 2, ..limits() }, 1);
    // One old target stays, thousands pass it by.
    let mut read = alive();
    for id in 1..5000 {
        rig.submit(id..id + 1);
        rig.returns(seat(0, 1), &[id], &Verdict::Ok);
        rig.pass(Duration::from_millis(2), &mut read);
        assert!(rig.pool.slots[0].watches.len() < 600, "one second's worth, and what is held");
    }
}

#[test]
fn nobody_is_called_hung_because_we_did_not_listen() {
    let half_a_minute = 31 * SECOND;
    let table: [(&str, fn(&mut Rig)); 2] = [
        ("we are told", |rig| {
            for _ in 0..31 {
                rig.now += SECOND;
                rig.tell(Event::Suspended(SECOND));
                rig.pool.handle_timeout(rig.now);
                rig.listen();
            }
        }),
        ("we find out ourselves", |rig| rig.now += Duration::from_secs(31)),
    ];
    for (name, wait) in table {
        let mut rig = Rig::serving(PoolConfig { slots: 2, ..limits() }, 2);
        // Worker 1 dies and its next start is under way when we stop listening.
        rig.dies(seat(1, 1), Exit::Code(1), None, "");
        rig.pass(SECOND, alive());
        rig.tell(Event::Spawned(seat(1, 2)));
        rig.asked();
        let began = rig.now;
        wait(&mut rig);
        assert_eq!(rig.now - began, half_a_minute);
        rig.pass(SECOND / 2, |_| reading(0, None));
        let ended = |c: &Command| matches!(c, Command::Terminate(_) | Command::Kill(_));
        let asked = rig.asked();
        assert!(!asked.iter().any(ended), "{name}: {asked:?}");
    }
}

#[test]
fn a_drain_finishes_what_is_in_flight_and_leaves_the_rest() {
    let mut rig = Rig::serving(PoolConfig { slots: 2, ..limits() }, 5);
    rig.asked();
    rig.tell(Event::Drain);
    assert_eq!(rig.asked(), [Command::SendDrain(seat(0, 1)), Command::SendDrain(seat(1, 1))]);
    assert_eq!(rig.returns(seat(0, 1), &[0], &Verdict::Ok), [Disposition::Final]);
    assert_eq!(rig.asked(), [], "nothing new is handed out");
    rig.dies(seat(0, 1), Exit::Code(0), None, "");
    assert_eq!(rig.asked(), [Command::Forget(seat(0, 1))]);
    assert!(!rig.pool.is_over());
    // Not listening does not lengthen the grace: it was promised to the user.
    rig.tell(Event::Suspended(10 * SECOND));
    rig.pass(15 * SECOND, alive());
    assert_eq!(rig.asked(), [Command::Terminate(seat(1, 1))]);
    rig.pass(2 * SECOND, alive());
    assert_eq!(rig.asked(), [Command::Kill(seat(1, 1))]);
    rig.dies(seat(1, 1), Exit::Signal(libc::SIGKILL), Some(1), "");
    assert!(rig.pool.is_over());
    let counts = rig.pool.counts();
    assert_eq!((counts.done, counts.quarantined, counts.left()), (1, 0, 4));
    assert_eq!((rig.pool.failure(), rig.pool.poll_timeout()), (None, None));
}

#[test]
fn a_kill_spares_nobody_and_blames_nobody() {
    let mut rig = Rig::serving(PoolConfig { slots: 3, crashes_max: 1, ..limits() }, 3);
    rig.dies(seat(2, 1), Exit::Code(1), None, "");
    rig.asked();
    rig.tell(Event::Kill);
    rig.tell(Event::Kill);
    assert_eq!(
        rig.asked(),
        [Command::Kill(seat(0, 1)), Command::Kill(seat(1, 1))],
        "once each, and no new start"
    );
    rig.dies(seat(0, 1), Exit::Signal(libc::SIGKILL), Some(0), "");
    rig.dies(seat(1, 1), Exit::Signal(libc::SIGKILL), Some(1), "");
    assert!(rig.pool.is_over());
    assert_eq!((rig.pool.counts().left(), rig.pool.counts().quarantined), (3, 0));
}

#[test]
fn a_channel_that_somebody_else_holds_open_is_not_waited_for_long() {
    let mut rig = Rig::serving(limits(), 1);
    rig.tell(Event::Reaped(
        seat(0, 1),
        Death { exit: Exit::Code(1), reading: reading(1, None), stderr: String::new() },
    ));
    rig.asked();
    rig.pass(2 * SECOND - Duration::from_millis(1), alive());
    assert_eq!(rig.asked(), []);
    rig.pass(SECOND, alive());
    assert_eq!(
        rig.notices()[0],
        "worker 0 is gone, but something holds its channel open; going on without it"
    );
    assert_eq!(rig.returns(seat(0, 1), &[0], &Verdict::Ok), [Disposition::Stale]);
    rig.up(seat(0, 2));
    assert_eq!(rig.given(), [(0, vec![(0, 1)])]);
}

#[test]
fn a_broken_worker_ends_the_run_with_its_last_words() {
    let mut rig = Rig::new(limits());
    rig.submit(0..1);
    for generation in 1..=6 {
        assert_eq!(rig.pool.failure(), None);
        rig.tell(Event::Spawned(seat(0, generation)));
        rig.dies(seat(0, generation), Exit::Code(127), None, "libfoo.so: not found\n\n");
        rig.pass(4 * SECOND, alive());
    }
    let why = rig.pool.failure().unwrap();
    assert_eq!(
        why,
        "workers die before they are ready; the last one: died with exit status 127, its last words: libfoo.so: not found"
    );
    assert!(rig.pool.is_over());
    assert_eq!(rig.pool.counts().left(), 1);
}

#[test]
fn a_refusal_ends_the_run_unless_it_is_ending_anyway() {
    let refused = |rig: &mut Rig| {
        rig.tell(Event::Spawned(seat(1, 1)));
        rig.tell(Event::Refused(seat(1, 1), "install both from one build".to_owned()));
    };
    let mut rig = Rig::new(PoolConfig { slots: 2, ..limits() });
    refused(&mut rig);
    assert_eq!(rig.pool.failure(), Some("install both from one build"));

    let mut rig = Rig::new(PoolConfig { slots: 2, ..limits() });
    rig.submit(0..1);
    rig.up(seat(0, 1));
    rig.returns(seat(0, 1), &[0], &Verdict::Ok);
    rig.tell(Event::SourceEnded);
    refused(&mut rig);
    assert_eq!((rig.pool.failure(), rig.pool.counts().done), (None, 1));
}

#[test]
fn a_worker_that_breaks_the_protocol_is_killed_once() {
    let table: [(&str, fn(&mut Rig)); 4] = [
        ("it sends what nobody can read", |rig| rig.tell(Event::Garbled(seat(0, 1), "?".to_owned()))),
        ("it is ready without having said hello", |rig| {
            rig.tell(Event::Spawned(seat(0, 1)));
            rig.tell(Event::Ready(seat(0, 1)));
        }),
        ("it refuses what it has taken", |rig| {
            rig.up(seat(0, 1));
            rig.tell(Event::Refused(seat(0, 1), "?".to_owned()));
        }),
        ("it has read what was not sent", |rig| {
            rig.up(seat(0, 1));
            let batch = Batch { slices_read: 7, ..Batch::default() };
            rig.pool.handle_batch(rig.now, seat(0, 1), &batch, &mut Vec::new());
        }),
    ];
    for (name, act) in table {
        let mut rig = Rig::new(limits());
        act(&mut rig);
        rig.tell(Event::Garbled(seat(0, 1), "more of it".to_owned()));
        let kills = rig.asked().iter().filter(|c| **c == Command::Kill(seat(0, 1))).count();
        assert_eq!((kills, rig.pool.failure()), (1, None), "{name}");
    }
}

#[test]
fn what_the_frontier_waits_for_wakes_only_a_pool_with_room() {
    let mut rig = Rig::serving(limits(), 1);
    // Slow enough to be fed nothing ahead.
    rig.now += SECOND;
    rig.returns(seat(0, 1), &[0], &Verdict::Retry { kind: ErrorKind::Timeout, after_ms: None });
    let retry_at = rig.pool.poll_timeout().expect("the retry is waited for");
    rig.submit(1..2);
    rig.pass(retry_at - rig.now + Duration::from_millis(1), alive());
    assert!(rig.pool.poll_timeout().unwrap() > rig.now, "due, but the only worker is busy");
    rig.asked();
    rig.returns(seat(0, 1), &[1], &Verdict::Ok);
    assert_eq!(rig.given(), [(0, vec![(0, 2)])]);
}

#[test]
fn a_pool_of_nothing_is_a_pool_of_one() {
    let mut rig = Rig::serving(PoolConfig { slots: 0, concurrency: 0, ..limits() }, 1);
    rig.up(seat(0, 1));
    assert_eq!(rig.given(), [(0, vec![(0, 1)])]);
}
