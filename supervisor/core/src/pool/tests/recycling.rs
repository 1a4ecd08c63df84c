//! Worn workers, rolls, and slots that are added and removed.

use super::*;

fn recycled_after(targets: u64) -> PoolConfig {
    PoolConfig { recycle_after: NonZeroU64::new(targets), ..limits() }
}

/// Starts workers in `slots` slots. Each has finished one target, which wears it out, and holds
/// another.
fn worn(slots: u32) -> Rig {
    let mut rig =
        Rig::serving(PoolConfig { slots, concurrency: 2, ..recycled_after(1) }, u64::from(slots) * 4);
    rig.asked();
    // Slowly enough that nothing is sent in advance.
    rig.pass(SECOND, alive());
    for slot in 0..slots {
        let held = rig.pool.ledger.all_held_by(seat(slot, 1));
        assert_eq!(rig.returns(seat(slot, 1), &[held[0].0], &Verdict::Ok), [Disposition::Final]);
    }
    rig
}

fn spawns(asked: &[Command]) -> Vec<Seat> {
    asked.iter().filter_map(|c| if let Command::Spawn(seat) = c { Some(*seat) } else { None }).collect()
}

fn drains(asked: &[Command]) -> Vec<Seat> {
    asked.iter().filter_map(|c| if let Command::SendDrain(seat) = c { Some(*seat) } else { None }).collect()
}

#[test]
fn the_replacement_is_ready_before_the_old_one_is_drained() {
    let mut rig = worn(1);
    let asked = rig.asked();
    assert_eq!((spawns(&asked), drains(&asked)), (vec![seat(0, 2)], vec![]));
    assert_eq!(
        rig.returns(seat(0, 1), &[1], &Verdict::Ok),
        [Disposition::Final],
        "the old worker continues meanwhile"
    );
    assert_eq!(rig.given(), [(0, vec![(3, 1)])], "and is given more");
    rig.up(seat(0, 2));
    let asked = rig.asked();
    assert_eq!(drains(&asked), [seat(0, 1)]);
    assert!(!asked.iter().any(|c| matches!(c, Command::SendSlice(s, _) if *s == seat(0, 1))));
    assert_eq!(
        rig.returns(seat(0, 1), &[2], &Verdict::Ok),
        [Disposition::Final],
        "it finishes what it began"
    );
    // What it had not begun goes to its successor, at the same attempt.
    rig.dies(seat(0, 1), Exit::Code(0), None, "");
    let asked = rig.asked();
    assert!(asked.iter().all(|c| !matches!(c, Command::Notice(_))), "nothing to tell: {asked:?}");
    assert_eq!(rig.returns(seat(0, 2), &[3], &Verdict::Ok), [Disposition::Final]);
    assert_eq!((rig.pool.restarts(), rig.pool.counts().done), (0, 4));
}

#[test]
fn one_recycle_at_a_time_and_each_in_its_turn() {
    let mut rig = worn(3);
    for slot in 0..3 {
        assert_eq!(spawns(&rig.asked()), [seat(slot, 2)]);
        rig.up(seat(slot, 2));
        let asked = rig.asked();
        assert_eq!((spawns(&asked), drains(&asked)), (vec![], vec![seat(slot, 1)]), "until it is gone");
        rig.dies(seat(slot, 1), Exit::Code(0), None, "");
    }
    assert_eq!((spawns(&rig.asked()), rig.pool.restarts()), (vec![], 0));
}

#[test]
fn a_failed_replacement_changes_nothing() {
    let table: [(&str, Act); 4] = [
        ("cannot start", |rig| rig.tell(Event::SpawnFailed(seat(0, 2), "no more processes".to_owned()))),
        ("dies", |rig| {
            rig.tell(Event::Spawned(seat(0, 2)));
            rig.dies(seat(0, 2), Exit::Code(127), None, "");
        }),
        ("is never ready", |rig| {
            rig.tell(Event::Spawned(seat(0, 2)));
            rig.pass(5 * SECOND, alive());
            rig.dies(seat(0, 2), Exit::Signal(libc::SIGKILL), None, "");
        }),
        ("refuses", |rig| {
            rig.tell(Event::Spawned(seat(0, 2)));
            rig.tell(Event::Refused(seat(0, 2), "of another build".to_owned()));
            rig.dies(seat(0, 2), Exit::Signal(libc::SIGKILL), None, "");
        }),
    ];
    for (name, fail) in table {
        let mut rig = worn(1);
        assert_eq!(spawns(&rig.asked()), [seat(0, 2)], "{name}");
        fail(&mut rig);
        let asked = rig.asked();
        assert_eq!((spawns(&asked), drains(&asked)), (vec![], vec![]), "{name}");
        assert_eq!((rig.pool.failure(), rig.pool.restarts()), (None, 0), "{name}");
        rig.pass(SECOND / 5, alive());
        assert_eq!(spawns(&rig.asked()), [seat(0, 3)], "{name}: tried again");
        rig.up(seat(0, 3));
        assert_eq!(drains(&rig.asked()), [seat(0, 1)], "{name}");
    }
}

#[test]
fn failed_replacements_back_off_and_never_end_the_run() {
    let mut rig = worn(1);
    let (mut tries, mut read) = (0, alive());
    for _ in 0..600 {
        for seat in spawns(&rig.asked()) {
            tries += 1;
            rig.dies(seat, Exit::Code(1), None, "");
        }
        rig.pass(SECOND, &mut read);
        let held: Vec<_> = (1..4).filter(|id| rig.pool.ledger.held_by(*id, seat(0, 1)).is_some()).collect();
        let retry = Verdict::Retry { kind: ErrorKind::Timeout };
        rig.returns(seat(0, 1), &held, &retry);
    }
    assert!((20..40).contains(&tries), "{tries} in ten minutes");
    assert_eq!(rig.pool.failure(), None);
}

#[test]
fn a_worker_that_dies_while_its_replacement_starts_is_followed_by_it() {
    let mut rig = worn(1);
    rig.asked();
    rig.tell(Event::Spawned(seat(0, 2)));
    rig.dies(seat(0, 1), Exit::Signal(libc::SIGSEGV), Some(1), "");
    assert_eq!(rig.notices(), ["worker 0: died with SIGSEGV; its replacement is starting"]);
    rig.tell(Event::Hello(seat(0, 2)));
    rig.tell(Event::Ready(seat(0, 2)));
    assert_eq!(rig.given(), [(0, vec![(1, 2), (2, 1)])], "blamed as usual");
    assert_eq!(rig.pool.restarts(), 1);
}

#[test]
fn a_leaving_workers_crash_blames_one_target() {
    for (exit, target, attempt) in [
        (Exit::Signal(libc::SIGSEGV), Some(1), 2),
        (Exit::Code(0), None, 1),
        (Exit::Signal(libc::SIGKILL), None, 1),
    ] {
        let mut rig = worn(1);
        rig.up(seat(0, 2));
        rig.asked();
        rig.dies(seat(0, 1), exit, target, "");
        rig.returns(seat(0, 2), &[3], &Verdict::Ok);
        assert_eq!(
            rig.given().into_iter().flat_map(|(_, given)| given).collect::<Vec<_>>(),
            [(1, attempt), (2, 1)],
            "{exit}"
        );
        assert_eq!(rig.pool.restarts(), 0, "{exit}");
    }
}

#[test]
fn a_worker_that_never_leaves_is_terminated() {
    let mut rig = worn(1);
    rig.up(seat(0, 2));
    rig.asked();
    let mut read = alive();
    // It gets as long as any target may take, because the run does not wait for it.
    rig.pass(29 * SECOND, &mut read);
    assert_eq!(rig.notices(), [] as [String; 0]);
    rig.pass(4 * SECOND, &mut read);
    assert!(rig.asked().contains(&Command::Terminate(seat(0, 1))));
    rig.dies(seat(0, 1), Exit::Signal(libc::SIGTERM), None, "");
    assert_eq!(rig.pool.counts().quarantined, 0);
}

#[test]
fn lifetimes_differ_by_a_tenth_and_no_more() {
    let mut rig = Rig::new(recycled_after(1000));
    let lifetimes: Vec<_> = (0..100).filter_map(|_| rig.pool.lifetime()).collect();
    let (least, most) = (lifetimes.iter().min().unwrap(), lifetimes.iter().max().unwrap());
    assert!((900..920).contains(least) && (1080..=1100).contains(most), "{least} to {most}");
}

#[test]
fn a_worker_that_grows_beyond_its_allowance_is_replaced() {
    const MIB: u64 = 1 << 20;
    for (sizes, replaced) in [
        (&[50 * MIB, 60 * MIB, 149 * MIB][..], false),
        (&[50 * MIB, 151 * MIB], true),
        // A size of 0 has not been written yet and does not count.
        (&[0, 0, 200 * MIB, 290 * MIB], false),
        (&[0, 50 * MIB, 50 * MIB, 160 * MIB], true),
        // First sampled in the middle of a large page.
        (&[120 * MIB, 50 * MIB, 160 * MIB], true),
    ] {
        let mut rig = Rig::serving(PoolConfig { rss_allowance_bytes: Some(100 * MIB), ..limits() }, 3);
        rig.asked();
        let mut left = sizes.iter();
        let mut rss_bytes = 0;
        let mut progress = 0;
        // Sampled four times a second.
        rig.pass(SECOND / 4 * sizes.len() as u32, |_| {
            rss_bytes = left.next().copied().unwrap_or(rss_bytes);
            progress += 1;
            Reading { rss_bytes, ..reading(progress, None) }
        });
        assert_eq!(left.len(), 0, "{sizes:?}");
        assert_eq!(!spawns(&rig.asked()).is_empty(), replaced, "{sizes:?}");
    }
}

#[test]
fn a_workers_size_is_sampled_with_its_first_results() {
    for rss_allowance_bytes in [None, Some(1 << 20)] {
        let mut rig = Rig::serving(PoolConfig { rss_allowance_bytes, ..limits() }, 2);
        rig.returns(seat(0, 1), &[0], &Verdict::Ok);
        let weighed = rig.asked().contains(&Command::Sample(seat(0, 1)));
        assert_eq!(weighed, rss_allowance_bytes.is_some());
    }
}

#[test]
fn a_roll_replaces_everyone_once() {
    let mut rig = Rig::serving(PoolConfig { slots: 3, ..limits() }, 9);
    rig.asked();
    rig.tell(Event::Roll);
    let mut rolled = Vec::new();
    while let [next] = spawns(&rig.asked())[..] {
        rolled.push(next);
        rig.up(next);
        rig.dies(seat(next.slot, next.generation - 1), Exit::Code(0), None, "");
    }
    assert_eq!(rolled, [seat(0, 2), seat(1, 2), seat(2, 2)]);
    assert_eq!(rig.pool.restarts(), 0);
}

#[test]
fn no_worker_is_replaced_when_nothing_is_left_to_hand_out() {
    let mut rig = Rig::serving(PoolConfig { concurrency: 2, ..recycled_after(1) }, 2);
    rig.tell(Event::SourceEnded);
    rig.asked();
    rig.returns(seat(0, 1), &[0], &Verdict::Ok);
    assert_eq!((rig.asked(), rig.pool.poll_timeout().is_some()), (vec![], true));
}

#[test]
fn a_slot_more_starts_at_once_and_a_slot_less_finishes_first() {
    let mut rig = Rig::serving(limits(), 4);
    rig.asked();
    rig.tell(Event::Grow);
    assert_eq!(rig.asked(), [Command::Spawn(seat(1, 1)), Command::Notice(Notice::new("2 workers now"))]);
    rig.up(seat(1, 1));
    assert_eq!(rig.given(), [(1, vec![(1, 1)])]);
    rig.tell(Event::Shrink);
    assert_eq!(rig.asked(), [Command::SendDrain(seat(1, 1)), Command::Notice(Notice::new("1 worker now"))]);
    rig.tell(Event::Shrink);
    assert_eq!(rig.notices(), ["cannot remove the last worker"]);
    // The seat is filled again while its last process is still leaving.
    rig.tell(Event::Grow);
    assert_eq!(spawns(&rig.asked()), [seat(1, 2)]);
    rig.up(seat(1, 2));
    assert_eq!(rig.given(), [(1, vec![(2, 1)])]);
    rig.dies(seat(1, 1), Exit::Code(0), None, "");
    rig.pass(SECOND, alive());
    rig.returns(seat(1, 2), &[2], &Verdict::Ok);
    assert_eq!(rig.given(), [(1, vec![(1, 1)])], "its unfinished target goes back at the same attempt");
    assert_eq!((rig.pool.restarts(), rig.pool.workers()), (0, 2));
}

/// A worker that is given away is to be free soon. Its number is the first that is used again.
#[test]
fn a_slot_less_is_that_of_an_idle_worker() {
    let mut rig = Rig::new(PoolConfig { slots: 3, concurrency: 1, ..limits() });
    rig.submit(0..3);
    (0..3).for_each(|slot| rig.up(seat(slot, 1)));
    rig.returns(seat(1, 1), &[1], &Verdict::Ok);
    rig.asked();
    rig.tell(Event::Shrink);
    assert_eq!(rig.asked(), [Command::SendDrain(seat(1, 1)), Command::Notice(Notice::new("2 workers now"))]);
    // Messages of the slots behind the gap still find them.
    rig.submit(3..4);
    rig.returns(seat(2, 1), &[2], &Verdict::Ok);
    assert_eq!(rig.given(), [(2, vec![(3, 1)])]);
    rig.dies(seat(1, 1), Exit::Code(0), None, "");
    rig.asked();
    rig.tell(Event::Grow);
    assert_eq!(spawns(&rig.asked()), [seat(1, 2)]);
    rig.tell(Event::Grow);
    assert_eq!(spawns(&rig.asked()), [seat(3, 1)]);
    assert_eq!((rig.pool.restarts(), rig.pool.workers()), (0, 4));
}

#[test]
fn a_slot_less_is_rather_one_without_a_worker() {
    let mut rig = Rig::new(PoolConfig { slots: 3, concurrency: 1, ..limits() });
    rig.submit(0..1);
    (0..3).for_each(|slot| rig.up(seat(slot, 1)));
    rig.dies(seat(1, 1), Exit::Signal(libc::SIGKILL), None, "");
    rig.asked();
    // The idle worker of slot 2 is at work at once; that of slot 1 is yet to start.
    rig.tell(Event::Shrink);
    assert_eq!(rig.asked(), [Command::Notice(Notice::new("2 workers now"))]);
    rig.pass(SECOND, alive());
    assert_eq!(spawns(&rig.asked()), []);
}

#[test]
fn a_slot_less_takes_its_successor_along() {
    let mut rig = worn(2);
    rig.up(seat(0, 2));
    rig.dies(seat(0, 1), Exit::Code(0), None, "");
    assert_eq!(spawns(&rig.asked()).last(), Some(&seat(1, 2)));
    rig.tell(Event::Spawned(seat(1, 2)));
    rig.tell(Event::Shrink);
    let asked = rig.asked();
    assert!(asked.contains(&Command::SendDrain(seat(1, 1))) && asked.contains(&Command::Kill(seat(1, 2))));
    for generation in [1, 2] {
        rig.dies(seat(1, generation), Exit::Signal(libc::SIGKILL), None, "");
    }
    assert_eq!((rig.notices().len(), rig.pool.unseated.len(), rig.pool.restarts()), (1, 0, 0));
}

#[test]
fn a_stop_in_the_middle_of_a_recycle_ends_all_of_them() {
    type Told = fn(Seat) -> Command;
    let table: [(&str, Act, Told); 2] = [
        ("drain", |rig| rig.tell(Event::Drain), Command::SendDrain),
        ("kill", |rig| rig.tell(Event::Kill), Command::Kill),
    ];
    for (name, stop, ends_the_old) in table {
        // The replacement is still starting.
        let mut rig = worn(1);
        rig.tell(Event::Spawned(seat(0, 2)));
        rig.asked();
        stop(&mut rig);
        assert_eq!(rig.asked(), [ends_the_old(seat(0, 1)), Command::Kill(seat(0, 2))], "{name}");
        rig.dies(seat(0, 1), Exit::Code(0), None, "");
        assert!(!rig.pool.is_over(), "{name}");
        rig.dies(seat(0, 2), Exit::Signal(libc::SIGKILL), None, "");
        assert!(rig.pool.is_over(), "{name}");
        // The old worker is still leaving.
        let mut rig = worn(1);
        rig.up(seat(0, 2));
        stop(&mut rig);
        rig.dies(seat(0, 2), Exit::Code(0), None, "");
        assert!(!rig.pool.is_over(), "{name}");
        rig.pass(15 * SECOND, alive());
        let asked = rig.asked();
        let ended = |c: &Command| matches!(c, Command::Terminate(s) | Command::Kill(s) if *s == seat(0, 1));
        assert!(asked.iter().any(ended), "{name}: the user's grace applies, {asked:?}");
        rig.dies(seat(0, 1), Exit::Signal(libc::SIGKILL), None, "");
        assert!(rig.pool.is_over(), "{name}");
    }
}
