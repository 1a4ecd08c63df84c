//! The supervisor, its workers and the programs are killed: nothing is lost, nothing stays.

use super::*;

fn slow_run(dir: &Dir, mark: &str, flags: &[&str]) -> TestCommand {
    dir.write("lines.jsonl", numbers(3000));
    let script = python(dir, "slow.py", "time.sleep(0.002)\nsay(record)");
    let run = map().current_dir(dir.root()).args(["-i", "lines.jsonl", "-o", "out.jsonl", "--resume"]);
    run.args(["--summary", "s.json"]).args(flags).args(["--", interpreter()]).arg(script).arg(mark)
}

#[test]
fn no_program_outlives_a_killed_supervisor() {
    let dir = Dir::new();
    let mark = format!("mark-{}", dir.root().display());
    let run = slow_run(&dir, &mark, &[]).spawn();
    run.until("both programs", || (running(&mark).len() >= 3).then_some(()));
    // The supervisor's own command line has the mark as well.
    let supervisor_id = run.id();
    run.signal(Signal::SIGKILL);
    wait_for("the programs' end", Duration::from_secs(1), || {
        running(&mark).into_iter().all(|id| id == supervisor_id).then_some(())
    });
    run.wait();
}

#[test]
fn killed_programs_and_workers_lose_nothing_and_blame_nobody() {
    let dir = Dir::new();
    let mark = format!("mark-{}", dir.root().display());
    let run = slow_run(&dir, &mark, &[]).spawn();
    for round in 0..6 {
        let at_least = 200 * round;
        run.until("records", || (lines(&dir.path("out.jsonl")) > at_least).then_some(()));
        if round % 3 == 2 {
            run.workers().iter().take(1).for_each(|worker| worker.try_signal(Signal::SIGKILL));
        } else {
            for id in running(&mark).into_iter().filter(|id| *id != run.id()) {
                let _ = kill(Pid::from_raw(id), Signal::SIGKILL);
            }
        }
    }
    let output = run.wait().exits(0);
    let records = by_id(parse_lines(dir.read("out.jsonl").as_bytes()));
    assert_eq!(records.len(), 3000, "{output}");
    assert!(records.iter().all(|(id, record)| record["value"]["n"] == *id), "{output}");
}

fn lines(path: &Path) -> usize {
    fs::read(path).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count()
}

#[test]
fn killed_and_resumed_every_line_has_one_record() {
    for flags in [&[][..], &["--ordered"]] {
        let dir = Dir::new();
        let mark = format!("mark-{}", dir.root().display());
        let command = || slow_run(&dir, &mark, flags);
        for round in 1..=4 {
            let run = command().spawn();
            run.until("records", || (lines(&dir.path("out.jsonl")) > 300 * round).then_some(()));
            run.signal(if round == 2 { Signal::SIGTERM } else { Signal::SIGKILL });
            run.wait();
        }
        let output = command().run().exits(0).says("resuming");
        let records = parse_lines(dir.read("out.jsonl").as_bytes());
        if !flags.is_empty() {
            assert!(ids(&records).is_sorted(), "{output}");
        }
        let records = by_id(records);
        assert_eq!(records.len(), 3000, "{output}");
        assert!(records.iter().all(|(id, record)| record["value"]["n"] == *id), "{output}");
        assert_eq!(summary(&dir)["ok"], 3000);
        // Complete, it is left alone; with another program it is another job.
        command().run().exits(0).says("complete already");
    }
}

#[test]
fn another_program_is_another_job() {
    let dir = Dir::new();
    let mark = format!("mark-{}", dir.root().display());
    let run = slow_run(&dir, &mark, &[]).spawn();
    run.until("records", || (lines(&dir.path("out.jsonl")) > 300).then_some(()));
    run.signal(Signal::SIGKILL);
    run.wait();
    let run = map().current_dir(dir.root()).args(["-i", "lines.jsonl", "-o", "out.jsonl", "--resume"]);
    run.args(["--", "cat"]).run().exits(1).says("the program was").says("and is cat");
}
