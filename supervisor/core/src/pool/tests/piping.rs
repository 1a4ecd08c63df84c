//! Targets for a program: cut to its speed, and flushed when no more follow.

use super::*;

fn piped() -> PoolConfig {
    PoolConfig { ahead: Ahead::of_program(1), piped: true, ..limits() }
}

/// Submits a block in which each line holds its own id.
fn block(rig: &mut Rig, id: u64, lines: u64) {
    let text: Vec<String> = (id..id + lines).map(|id| id.to_string()).collect();
    assert!(rig.pool.submit_lines(rig.now, id, text.join("\n").into_bytes(), lines));
    rig.pool.handle_timeout(rig.now);
    rig.listen();
}

/// Takes the first id and the number of lines of each target given out since the last call.
fn pieces(rig: &mut Rig) -> Vec<(u64, usize)> {
    let slices = rig.asked().into_iter().filter_map(|command| {
        let Command::SendSlice(_, slice) = command else { return None };
        Some(slice.targets)
    });
    slices
        .flatten()
        .map(|target| {
            let text = String::from_utf8(target.input).unwrap();
            assert!(text.starts_with(&target.id.to_string()), "{text:?} begins with line {}", target.id);
            (target.id, text.lines().count())
        })
        .collect()
}

/// Each line of these targets comes back with a record.
fn answer(rig: &mut Rig, given: &[(u64, usize)]) {
    let outcomes = given.iter().map(|(id, lines)| {
        let endings = Some(Endings { ok: *lines as u64, ..Endings::default() });
        Outcome { endings, ..outcome(*id, &Verdict::Ok) }
    });
    let batch = Batch { outcomes: outcomes.collect(), ..Batch::default() };
    rig.pool.handle_batch(rig.now, seat(0, 1), &batch, &mut Vec::new());
    rig.listen();
}

fn flushes(rig: &mut Rig) -> usize {
    rig.asked().into_iter().filter(|command| matches!(command, Command::SendFlush(_))).count()
}

#[test]
fn a_program_of_unknown_speed_gets_its_lines_one_by_one() {
    let mut rig = Rig::serving(piped(), 0);
    block(&mut rig, 0, 4);
    assert_eq!(pieces(&mut rig), [(0, 1), (1, 1), (2, 1), (3, 1)]);
    assert_eq!((rig.pool.inputs_left(), rig.pool.counts().assigned), (4, 4));
}

#[test]
fn a_fast_one_gets_them_in_blocks_and_a_slow_one_does_not() {
    for (took, piece) in [(Duration::from_millis(1), 64), (2 * SECOND, 1)] {
        let mut rig = Rig::serving(piped(), 0);
        for round in 0..20 {
            block(&mut rig, round * 100, 100);
            let given = pieces(&mut rig);
            rig.now += took;
            answer(&mut rig, &given);
            // The lines it had no room for.
            while rig.pool.counts().left() > 0 {
                let given = pieces(&mut rig);
                rig.now += took * u32::try_from(given.len()).unwrap() / 100;
                answer(&mut rig, &given);
            }
        }
        block(&mut rig, 5000, 100);
        let given = pieces(&mut rig);
        let largest = given.iter().map(|(_, lines)| *lines).max().unwrap();
        assert!(largest <= piece && largest * 2 >= piece, "{took:?}: {given:?}");
    }
}

#[test]
fn a_lost_worker_gives_its_blocks_back_whole() {
    let mut rig = Rig::serving(piped(), 0);
    block(&mut rig, 0, 3);
    assert_eq!(pieces(&mut rig).len(), 3);
    rig.returns(seat(0, 1), &[0], &Verdict::Ok);
    rig.dies(seat(0, 1), Exit::Signal(libc::SIGKILL), None, "");
    rig.pass(SECOND, alive());
    rig.up(seat(0, 2));
    assert_eq!(pieces(&mut rig), [(1, 1), (2, 1)]);
    assert_eq!(rig.pool.inputs_left(), 2);
}

#[test]
fn a_program_is_flushed_once_when_no_targets_follow() {
    let mut rig = Rig::serving(piped(), 0);
    block(&mut rig, 0, 2);
    assert_eq!(flushes(&mut rig), 0, "more may come");
    rig.tell(Event::SourceEnded);
    assert_eq!(flushes(&mut rig), 1);
    rig.returns(seat(0, 1), &[0], &Verdict::Ok);
    assert_eq!(flushes(&mut rig), 0, "it was told already");
    // A lost block comes back: there is new work, and nothing after it.
    rig.dies(seat(0, 1), Exit::Signal(libc::SIGKILL), None, "");
    rig.pass(SECOND, alive());
    rig.up(seat(0, 2));
    assert_eq!(flushes(&mut rig), 1);
}

#[test]
fn only_programs_are_told() {
    let mut rig = Rig::serving(limits(), 1);
    rig.tell(Event::SourceEnded);
    assert_eq!(flushes(&mut rig), 0);
}

#[test]
fn an_unusable_program_ends_the_run_with_a_reason() {
    let mut rig = Rig::serving(piped(), 3);
    rig.tell(Event::GaveUp(seat(0, 1), "it dies whatever it is given".to_owned()));
    assert_eq!(rig.pool.failure(), Some("it dies whatever it is given"));
    rig.dies(seat(0, 1), Exit::Code(0), None, "");
    assert!(rig.pool.is_over());
}
