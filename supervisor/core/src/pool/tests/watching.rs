//! What counts as a hang, and what does not.

use super::*;

#[test]
fn a_stage_without_end_is_blamed_on_its_target() {
    let mut rig = Rig::serving(PoolConfig { concurrency: 2, ..limits() }, 2);
    rig.asked();
    let since_us = 3_600_000_000;
    rig.pass(12 * SECOND, |_| Reading { since_us, ..reading(5, Some(1)) });
    let asked = rig.asked();
    assert!(asked.contains(&Command::Terminate(seat(0, 1))), "{asked:?}");
    assert!(asked.contains(&Command::Notice(Notice::trouble(
        seat(0, 1),
        Some(1),
        "worker 0 has been in one stage (extract) for 11 s; terminating it"
    ))));
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
    assert_eq!(rig.notices(), ["worker 0 holds input 0, which is past its deadline; terminating it"]);
    rig.dies(seat(0, 1), Exit::Signal(libc::SIGTERM), Some(1), "");
    rig.pass(SECOND, alive());
    rig.up(seat(0, 2));
    assert_eq!(rig.given(), [(0, vec![(0, 2), (1, 1)])]);
}

#[test]
fn a_standstill_outside_any_stage_charges_no_target() {
    // The target is past its deadline too, but it is the worker that makes no progress.
    let mut rig = Rig::serving(PoolConfig { stall_timeout: 40 * SECOND, ..limits() }, 1);
    rig.pass(39 * SECOND, |_| reading(5, None));
    assert!(!rig.asked().contains(&Command::Terminate(seat(0, 1))));
    rig.pass(3 * SECOND, |_| reading(5, None));
    assert_eq!(rig.notices(), ["worker 0 made no progress for 41 s; terminating it"]);
    rig.dies(seat(0, 1), Exit::Signal(libc::SIGKILL), None, "");
    rig.pass(SECOND, alive());
    rig.up(seat(0, 2));
    assert_eq!(rig.given(), [(0, vec![(0, 1)])]);
}

#[test]
fn a_target_that_comes_to_the_same_worker_again_has_a_new_deadline() {
    let mut rig = Rig::serving(PoolConfig { concurrency: 2, ..limits() }, 2);
    rig.pass(20 * SECOND, alive());
    let retry = Verdict::Retry { kind: ErrorKind::Timeout };
    assert_eq!(rig.returns(seat(0, 1), &[1], &retry), [Disposition::Retried]);
    // Its backoff is at most half a second. The other target is older, and is finished in time.
    rig.pass(9 * SECOND, alive());
    rig.returns(seat(0, 1), &[0], &Verdict::Ok);
    rig.asked();
    rig.pass(15 * SECOND, alive());
    assert_eq!(rig.notices(), [] as [String; 0], "24 s into its second attempt");
    rig.pass(10 * SECOND, alive());
    assert_eq!(rig.notices(), ["worker 0 holds input 1, which is past its deadline; terminating it"]);
}

#[test]
fn waiting_for_a_turn_in_the_worker_does_not_count() {
    let mut rig = Rig::serving(limits(), 0);
    // Fast at first, so that it is sent more in advance; then each target takes 20 of the 30
    // seconds.
    for id in 0..20 {
        rig.submit(id..id + 1);
        rig.now += Duration::from_millis(10);
        rig.returns(seat(0, 1), &[id], &Verdict::Ok);
    }
    rig.submit(20..24);
    assert!(rig.pool.counts().assigned > 2, "it is sent more in advance");
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
    // One old target stays while thousands pass it.
    let mut read = alive();
    for id in 1..5000 {
        rig.submit(id..id + 1);
        rig.returns(seat(0, 1), &[id], &Verdict::Ok);
        rig.pass(Duration::from_millis(2), &mut read);
        assert!(rig.pool.slots[0].watches.len() < 600, "one second's worth plus what is held");
    }
}

#[test]
fn our_own_delay_is_not_a_hang() {
    let half_a_minute = 31 * SECOND;
    let table: [(&str, Act); 2] = [
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
        // Worker 1 dies, and its next start is under way when the supervisor stops reading
        // messages.
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

/// A descriptor, a port: it is this machine that lacks it, and no target is late for that.
#[test]
fn a_worker_that_waits_for_its_machine_is_left_alone() {
    let ended = |waiting: u64, moves: u64| {
        let mut rig = Rig::serving(PoolConfig { stall_timeout: 40 * SECOND, ..limits() }, 1);
        let mut progress = 0;
        rig.pass(120 * SECOND, |_| {
            progress += moves;
            Reading { waiting, ..reading(progress, None) }
        });
        rig.asked().contains(&Command::Terminate(seat(0, 1)))
    };
    assert_eq!(
        [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(waiting, moves)| ended(waiting, moves)),
        [true, true, false, false]
    );
}
