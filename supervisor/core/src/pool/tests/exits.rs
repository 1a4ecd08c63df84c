//! Targets whose proxies do not work.

use std::sync::Arc;

use wire::protocol::{ExitFault, ExitUse, Target};

use super::*;
use crate::proxies::{Proxies, ProxiesConfig, Reach, Sticky};

/// A pool that reaches inputs of odd numbers through the second of two proxies, and the others as this says.
fn rig(even: Reach, targets: u64) -> Rig {
    let reach = move |input: &[u8]| {
        let is_odd = input.last().is_some_and(|digit| digit % 2 == 1);
        if is_odd { Reach::Only(1) } else { even }
    };
    let names = vec!["http://good:1".to_owned(), "http://dead:1".to_owned()];
    let config =
        ProxiesConfig { names, tiers: Vec::new(), sticky: Sticky::None, reach: Some(Arc::new(reach)) };
    let mut rig = Rig::new(PoolConfig { slots: 1, ..limits() });
    let Rig { pool, now, asked } = rig;
    rig = Rig { pool: pool.through(Proxies::new(config, 1)), now, asked };
    rig.submit(0..targets);
    rig.up(seat(0, 1));
    rig
}

/// Takes the targets that were handed out, and the ids of those that got an error record.
fn taken(rig: &mut Rig) -> (Vec<Target>, Vec<u64>) {
    let (mut targets, mut abandoned) = (Vec::new(), Vec::new());
    for command in rig.asked() {
        if let Command::SendSlice(_, slice) = command {
            targets.extend(slice.targets);
        } else if let Command::Abandon(record) = command {
            assert_eq!(record.kind, ErrorKind::Proxy);
            assert_eq!(record.message, "no proxy for it works: http://dead:1 wants other credentials");
            abandoned.push(record.id);
        }
    }
    (targets, abandoned)
}

/// Reports how these targets ended: what goes through the second proxy fails.
fn report(rig: &mut Rig, targets: &[Target]) {
    let outcomes = targets.iter().map(|target| match target.exit {
        Some(exit) if exit.proxy == 1 => {
            let fault = Some(ExitFault::Credentials);
            let exit_use = Some(ExitUse { proxy: 1, fault, worked: false });
            Outcome { exit_use, ..outcome(target.id, &Verdict::Retry { kind: ErrorKind::Proxy }) }
        }
        Some(_) | None => outcome(target.id, &Verdict::Ok),
    });
    let batch = Batch { slices_read: 0, outcomes: outcomes.collect(), lines: Vec::new() };
    rig.pool.handle_batch(rig.now, seat(0, 1), &batch, &mut Vec::new());
    rig.listen();
}

#[test]
fn targets_whose_only_proxy_is_dead_get_an_error_while_others_have_a_way() {
    for even in [Reach::Direct, Reach::Only(0)] {
        let (mut rig, mut errors, mut late) = (rig(even, 9), Vec::new(), Vec::new());
        rig.tell(Event::SourceEnded);
        for _ in 0..10 {
            let (mut targets, abandoned) = taken(&mut rig);
            errors.extend(abandoned);
            // One with a way is still under way when the proxy fails.
            late.extend(targets.extract_if(.., |target| target.id == 8));
            report(&mut rig, &targets);
            rig.pass(SECOND, alive());
        }
        report(&mut rig, &late);
        assert_eq!(rig.pool.failure(), None, "{even:?}");
        assert_eq!(rig.pool.counts().left(), 0, "{even:?}: {:?}", rig.pool.counts());
        errors.sort_unstable();
        assert_eq!(errors, [1, 3, 5, 7], "{even:?}");
    }
}

#[test]
fn if_no_target_has_a_way_left_the_run_ends() {
    let mut rig = rig(Reach::Only(1), 10);
    rig.tell(Event::SourceEnded);
    for _ in 0..10 {
        let (targets, abandoned) = taken(&mut rig);
        assert!(abandoned.is_empty());
        report(&mut rig, &targets);
        rig.pass(SECOND, alive());
    }
    let why = "no proxy works: http://dead:1 wants other credentials; check the proxies, then resume";
    assert_eq!(rig.pool.failure(), Some(why));
    assert_eq!((rig.pool.counts().done, rig.pool.lacks_proxies()), (0, true));
}

#[test]
fn while_more_may_come_targets_without_a_way_end_alone() {
    let (mut rig, mut errors) = (rig(Reach::Only(1), 10), Vec::new());
    for _ in 0..10 {
        let (targets, abandoned) = taken(&mut rig);
        errors.extend(abandoned);
        report(&mut rig, &targets);
        rig.pass(SECOND, alive());
    }
    assert_eq!((rig.pool.failure(), errors.len()), (None, 10));
}
