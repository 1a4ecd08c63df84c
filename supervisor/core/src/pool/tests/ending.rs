//! Runs that are drained, killed, refused or given up.

use super::*;

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
    // Time without reading messages does not extend the grace, which was promised to the user.
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
fn a_kill_ends_every_worker_and_blames_no_target() {
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
fn a_broken_worker_ends_the_run_with_its_last_output() {
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
        "workers die before they are ready; the last one: died with exit status 127, last output: libfoo.so: not found"
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
