//! Which target is blamed for a death, and what happens to the targets it affects.

use super::*;

#[test]
fn only_the_target_at_fault_is_charged() {
    let crash = Exit::Signal(libc::SIGSEGV);
    let table = [
        ("a crash in a stage", crash, Some(1), Some(1)),
        ("a crash outside any", crash, None, None),
        ("a stage of another's target", crash, Some(77), None),
        ("an exit in a stage", Exit::Code(0), Some(1), Some(1)),
        ("killed by the OOM killer", Exit::Signal(libc::SIGKILL), Some(2), Some(2)),
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
fn three_deaths_quarantine_a_target_with_evidence() {
    let table = [
        (
            Exit::Signal(libc::SIGSEGV),
            "",
            ErrorKind::WorkerCrash,
            "a worker died while processing it (SIGSEGV) on 3 attempts, most recently in phase extract",
        ),
        (
            Exit::Signal(libc::SIGABRT),
            "memory allocation of 99 bytes failed",
            ErrorKind::WorkerOom,
            "a worker ran out of memory while processing it on 3 attempts, most recently in phase extract",
        ),
        (
            Exit::Signal(libc::SIGKILL),
            "",
            ErrorKind::WorkerOom,
            "a worker was killed while processing it, probably by the OOM killer, on 3 attempts, most recently in phase extract",
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
            assert!(rig.now - before < SECOND / 5, "the delay does not grow when an input is at fault");
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
fn many_bad_inputs_in_a_row_do_not_end_the_run() {
    let mut rig = Rig::serving(limits(), 40);
    for death in 0..120 {
        rig.dies(seat(0, death + 1), Exit::Signal(libc::SIGSEGV), Some(u64::from(death / 3)), "");
        rig.pass(SECOND, alive());
        rig.up(seat(0, death + 2));
    }
    assert_eq!((rig.pool.counts().quarantined, rig.pool.failure()), (40, None));
}

#[test]
fn a_channel_held_open_by_another_process_is_given_up() {
    let mut rig = Rig::serving(limits(), 1);
    rig.tell(Event::Reaped(
        seat(0, 1),
        Death {
            exit: Exit::Code(1),
            reading: reading(1, None),
            begun: Begun::default(),
            stderr: String::new(),
        },
    ));
    rig.asked();
    rig.pass(2 * SECOND - Duration::from_millis(1), alive());
    assert_eq!(rig.asked(), []);
    rig.pass(SECOND, alive());
    assert_eq!(
        rig.notices()[0],
        "worker 0 has exited, but another process holds its channel open; continuing without it"
    );
    assert_eq!(rig.returns(seat(0, 1), &[0], &Verdict::Ok), [Disposition::Stale]);
    rig.up(seat(0, 2));
    assert_eq!(rig.given(), [(0, vec![(0, 1)])]);
}

#[test]
fn a_worker_that_breaks_the_protocol_is_killed_once() {
    let table: [(&str, Act); 8] = [
        ("it sends what nobody can read", |rig| rig.tell(Event::Malformed(seat(0, 1), "?".to_owned()))),
        ("it is ready without having said hello", |rig| {
            rig.tell(Event::Spawned(seat(0, 1)));
            rig.tell(Event::Ready(seat(0, 1)));
        }),
        ("it refuses what it has taken", |rig| {
            rig.up(seat(0, 1));
            rig.tell(Event::Refused(seat(0, 1), "?".to_owned()));
        }),
        ("it has a result of a target that it was not given", |rig| {
            rig.up(seat(0, 1));
            rig.returns(seat(0, 1), &[77], &Verdict::Ok);
        }),
        ("it has two results of one target", |rig| {
            rig.submit(0..1);
            rig.up(seat(0, 1));
            rig.returns(seat(0, 1), &[0, 0], &Verdict::Ok);
        }),
        ("it has more records than its target has inputs", |rig| {
            rig.submit(0..1);
            rig.up(seat(0, 1));
            let endings = Some(Endings { ok: 2, ..Endings::default() });
            let outcome = Outcome { endings, ..outcome(0, &Verdict::Ok) };
            let batch = Batch { outcomes: vec![outcome], ..Batch::default() };
            rig.pool.handle_batch(rig.now, seat(0, 1), &batch, &mut Vec::new());
            rig.listen();
        }),
        ("it has read what was not sent", |rig| {
            rig.up(seat(0, 1));
            let batch = Batch { slices_read: 7, ..Batch::default() };
            rig.pool.handle_batch(rig.now, seat(0, 1), &batch, &mut Vec::new());
        }),
        ("it gives up what it has not taken", |rig| {
            rig.tell(Event::Spawned(seat(0, 1)));
            rig.tell(Event::GaveUp(seat(0, 1), "?".to_owned()));
        }),
    ];
    for (name, act) in table {
        let mut rig = Rig::new(limits());
        act(&mut rig);
        rig.tell(Event::Malformed(seat(0, 1), "more of it".to_owned()));
        let kills = rig.asked().iter().filter(|c| **c == Command::Kill(seat(0, 1))).count();
        assert_eq!((kills, rig.pool.failure()), (1, None), "{name}");
    }
}

/// A page that takes over each worker that reads it must not end the run.
#[test]
fn an_input_that_makes_workers_break_the_protocol_is_set_aside() {
    let mut rig = Rig::serving(limits(), 1);
    for generation in 1..=3 {
        rig.tell(Event::Malformed(seat(0, generation), "?".to_owned()));
        rig.dies(seat(0, generation), Exit::Signal(libc::SIGKILL), Some(0), "");
        rig.pass(SECOND, alive());
        if generation < 3 {
            rig.asked();
        }
        rig.up(seat(0, generation + 1));
    }
    let message = rig.asked().into_iter().find_map(|command| {
        if let Command::Quarantine(quarantined) = command { Some(quarantined.message) } else { None }
    });
    let expected = "a worker broke the protocol while processing it and was killed on 3 attempts, most recently in phase extract";
    assert_eq!(message.as_deref(), Some(expected));
}

/// It could have made up the rest as well. All of it is done again, by another worker.
#[test]
fn nothing_that_comes_with_a_forgery_or_after_it_counts() {
    let whole = |id| outcome(id, &Verdict::Ok);
    let several = Outcome { endings: Some(Endings { ok: 2, ..Endings::default() }), ..whole(2) };
    for (name, slices_read, outcomes) in [
        ("a stranger last", 0, vec![whole(0), whole(1), whole(77)]),
        ("a stranger first", 0, vec![whole(77), whole(0), whole(1)]),
        ("one twice", 0, vec![whole(0), whole(1), whole(0)]),
        ("more records than inputs", 0, vec![whole(0), several]),
        ("slices that were not sent", 7, vec![whole(0)]),
    ] {
        let mut rig = Rig::serving(PoolConfig { concurrency: 4, ..limits() }, 4);
        let batch = Batch { slices_read, outcomes, lines: Vec::new() };
        let mut dispositions = Vec::new();
        rig.pool.handle_batch(rig.now, seat(0, 1), &batch, &mut dispositions);
        rig.listen();
        assert_eq!(dispositions, vec![Disposition::Stale; batch.outcomes.len()], "{name}");
        assert_eq!(rig.returns(seat(0, 1), &[0, 3], &Verdict::Ok), [Disposition::Stale; 2], "{name}: later");
        assert_eq!(rig.pool.counts().assigned, 4, "{name}");
        rig.dies(seat(0, 1), Exit::Signal(libc::SIGKILL), Some(3), "");
        rig.pass(SECOND, alive());
        rig.asked();
        rig.up(seat(0, 2));
        assert_eq!(rig.given(), [(0, vec![(0, 1), (1, 1), (2, 1), (3, 2)])], "{name}");
        assert_eq!(rig.returns(seat(0, 2), &[0, 1, 2, 3], &Verdict::Ok), [Disposition::Final; 4], "{name}");
    }
}

/// A worker that was called hung may forge as well.
#[test]
fn a_worker_that_is_being_killed_is_not_believed_after_a_forgery() {
    let mut rig = Rig::serving(PoolConfig { concurrency: 2, ..limits() }, 2);
    rig.tell(Event::Kill);
    assert_eq!(rig.returns(seat(0, 1), &[77], &Verdict::Ok), [Disposition::Stale]);
    assert_eq!(rig.returns(seat(0, 1), &[0], &Verdict::Ok), [Disposition::Stale]);
}

#[test]
fn an_input_that_makes_workers_give_up_is_set_aside() {
    let mut rig = Rig::serving(limits(), 1);
    for generation in 1..=3 {
        rig.tell(Event::GaveUp(seat(0, generation), "?".to_owned()));
        rig.dies(seat(0, generation), Exit::Signal(libc::SIGKILL), Some(0), "");
        rig.pass(SECOND, alive());
        if generation < 3 {
            let notices = rig.notices();
            assert!(notices[0].contains("gave up: ?; starting again in"), "{notices:?}");
        }
        rig.up(seat(0, generation + 1));
    }
    let message = rig.asked().into_iter().find_map(|command| {
        if let Command::Quarantine(quarantined) = command { Some(quarantined.message) } else { None }
    });
    let expected = "a worker gave up while processing it on 3 attempts, most recently in phase extract";
    assert_eq!((message.as_deref(), rig.pool.failure()), (Some(expected), None));
}

#[test]
fn a_run_ends_when_two_workers_in_a_row_give_up_and_no_input_made_them() {
    let give_up = |rig: &mut Rig, seat| {
        rig.tell(Event::GaveUp(seat, format!("no port\u{1b}[2J{}", "x".repeat(1 << 20))));
        rig.dies(seat, Exit::Signal(libc::SIGKILL), None, "");
    };
    let ended = |rig: &Rig| {
        let why = rig.pool.failure().unwrap();
        assert!(why.starts_with("no worker can go on; the last one: gave up: no port\u{fffd}[2Jx"), "{why}");
        assert!(why.len() < 600, "{why}");
    };
    let mut many = Rig::serving(PoolConfig { slots: 2, ..limits() }, 4);
    give_up(&mut many, seat(0, 1));
    assert_eq!(many.pool.failure(), None, "the others may have what it lacks");
    give_up(&mut many, seat(1, 1));
    ended(&many);
    let mut single = Rig::serving(limits(), 4);
    for generation in 1..=4 {
        assert_eq!(single.pool.failure(), None, "{generation}");
        if generation == 2 {
            assert_eq!(single.returns(seat(0, 2), &[0], &Verdict::Ok), [Disposition::Final]);
        }
        if generation == 3 {
            // That needed neither a socket nor a file.
            let failed = Verdict::Failed(ErrorKind::InvalidUrl);
            assert_eq!(single.returns(seat(0, 3), &[1], &failed), [Disposition::Final]);
        }
        give_up(&mut single, seat(0, generation));
        if generation == 3 {
            break;
        }
        single.pass(SECOND, alive());
        single.up(seat(0, generation + 1));
    }
    ended(&single);
}

/// A shortage in the supervisor is not the fault of a worker or of an input.
#[test]
fn a_worker_that_the_supervisor_cannot_talk_to_is_started_again() {
    let mut rig = Rig::serving(limits(), 1);
    rig.dies(seat(0, 1), Exit::Code(1), None, "");
    let why = "no channel to it: Too many open files (os error 24)";
    for generation in 2..60 {
        if rig.pool.failure().is_some() {
            break;
        }
        while rig.pool.slots[0].seat.generation < generation {
            rig.pass(Duration::from_millis(10), alive());
        }
        rig.asked();
        rig.tell(Event::Spawned(seat(0, generation)));
        rig.tell(Event::Unreachable(seat(0, generation), why.to_owned()));
        assert_eq!(rig.asked(), [Command::Kill(seat(0, generation))]);
        rig.dies(seat(0, generation), Exit::Signal(libc::SIGKILL), Some(0), "");
        assert!(rig.pool.failure().is_some() || rig.notices()[0].contains(why));
    }
    let failure = rig.pool.failure().unwrap();
    assert!(failure.starts_with("workers die before they are ready") && failure.contains(why), "{failure}");
}

#[test]
fn what_may_have_been_sent_is_not_handed_out_again() {
    for (begun, uncertain, again) in [
        (Begun::default(), &[][..], &[(0, 1), (1, 2), (2, 1)][..]),
        (Begun::Some(vec![1, 2, 77]), &[1, 2], &[(0, 1)]),
        (Begun::Any, &[0, 1, 2], &[]),
    ] {
        let mut rig = Rig::serving(PoolConfig { concurrency: 4, ..limits() }, 3);
        rig.asked();
        let exit = Exit::Signal(libc::SIGSEGV);
        let death = Death { exit, reading: reading(9, Some(1)), begun, stderr: String::new() };
        rig.tell(Event::Eof(seat(0, 1)));
        rig.tell(Event::Reaped(seat(0, 1), death));
        let set_aside = |command: Command| {
            let Command::Quarantine(set_aside) = command else { return None };
            Some((set_aside.id, set_aside.kind, set_aside.attempts))
        };
        let mut set_aside: Vec<_> = rig.asked().into_iter().filter_map(set_aside).collect();
        set_aside.sort_unstable();
        let want: Vec<_> = uncertain.iter().map(|id| (*id, ErrorKind::Uncertain, 1)).collect();
        assert_eq!(set_aside, want);
        rig.pass(SECOND, alive());
        rig.up(seat(0, 2));
        let mut given: Vec<_> = rig.given().into_iter().flat_map(|(_, targets)| targets).collect();
        given.sort_unstable();
        assert_eq!(given, again);
    }
}

#[test]
fn what_may_have_been_sent_is_not_given_up_to_workers_that_keep_dying() {
    let mut rig = Rig::serving(PoolConfig { concurrency: 4, ..limits() }, 1000);
    for generation in 1..100 {
        let begun: Vec<_> =
            rig.given().into_iter().flat_map(|(_, targets)| targets).map(|(id, _)| id).collect();
        let death = Death {
            exit: Exit::Signal(libc::SIGKILL),
            reading: reading(9, None),
            begun: Begun::Some(begun),
            stderr: String::new(),
        };
        rig.tell(Event::Eof(seat(0, generation)));
        rig.tell(Event::Reaped(seat(0, generation), death));
        if let Some(why) = rig.pool.failure() {
            assert!(why.contains("workers keep dying") && generation < 20, "{generation}: {why}");
            return assert!(rig.pool.inputs_left() > 900);
        }
        while !rig.asked().contains(&Command::Spawn(seat(0, generation + 1))) {
            rig.pass(SECOND, alive());
        }
        rig.up(seat(0, generation + 1));
    }
    panic!("it goes on");
}
