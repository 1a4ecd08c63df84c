//! Workers are real processes, and nothing is lost when one of them is.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{
    Dir, Origin, TestCommand, by_id, fetch, ids, kind, link_executable, supervisor, supervisor_path,
    wait_for, worker_path,
};

/// A run of `count` short waits on two workers, with a summary in `dir`.
fn long_run(origin: &Origin, dir: &Dir, mode: &str, count: u32) -> TestCommand {
    let urls = (0..count).map(|n| origin.url(&format!("/counted/{n}?delay=0.05")));
    fetch().args(["--mode", mode, "--concurrency", "4", "--summary"]).arg(dir.path("s.json")).urls(urls)
}

fn summary(dir: &Dir) -> Value {
    serde_json::from_str(&dir.read("s.json")).unwrap()
}

#[test]
fn workers_are_direct_children_by_their_names() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let run = long_run(&origin, &dir, "both", 200).args(["--workers", "3"]).spawn();
    let workers = run.wait_for_workers(3);
    assert!(workers.iter().all(|worker| worker.name == "worker"), "{workers:?}");
    let output = run.wait().exits(0);
    assert!(workers.iter().all(|worker| !worker.is_alive()), "{output}");
    let mut slots: Vec<_> =
        output.records().iter().map(|record| record["worker"].as_u64().unwrap()).collect();
    slots.sort_unstable();
    slots.dedup();
    assert_eq!(slots, [0, 1, 2]);
}

#[test]
fn a_killed_worker_is_replaced_and_nothing_is_lost_or_done_twice() {
    for mode in ["concurrent", "parallel", "both"] {
        let (origin, dir) = (Origin::start(), Dir::new());
        let run = long_run(&origin, &dir, mode, 150).spawn();
        run.wait_for_lines(20);
        let victim = run.workers().first().expect("a worker").clone();
        victim.signal(Signal::SIGKILL);
        run.until("the replacement", || {
            run.workers().iter().any(|worker| worker.id > victim.id).then_some(())
        });
        let output = run.wait().exits(0);
        let records = by_id(output.records());
        assert_eq!(records.len(), 150, "{mode}");
        let attempts: u64 = records.values().map(|record| record["attempts"].as_u64().unwrap()).sum();
        // At most the one target that the worker had under the knife is blamed, never those that only waited.
        assert!(attempts <= 151, "{mode}: {attempts} attempts at {records:?}");
        assert!(records.values().all(|record| kind(record).is_empty()), "{mode}: {records:?}");
        let summary = summary(&dir);
        assert_eq!(summary["restarts"], 1, "{mode}: {summary}");
        assert_eq!(summary["ok"], 150, "{mode}: {summary}");
    }
}

#[test]
fn workers_killed_over_and_over_lose_nothing() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let run = long_run(&origin, &dir, "both", 500).args(["--ordered"]).spawn();
    for lines in [10, 40, 80, 120] {
        run.wait_for_lines(lines);
        for worker in run.workers() {
            worker.signal(Signal::SIGKILL);
        }
        run.until("a new worker", || run.workers().first().cloned());
    }
    let output = run.wait().exits(0);
    assert_eq!(ids(&output.records()), (0..500).collect::<Vec<_>>(), "{output}");
}

#[test]
fn a_stopped_worker_is_taken_for_hung_and_ended() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let flags = ["--timeout", "1s", "--parse-timeout", "1s"];
    let run = long_run(&origin, &dir, "both", 150).args(flags).spawn();
    run.wait_for_lines(20);
    run.workers()[0].signal(Signal::SIGSTOP);
    let output = run.wait().exits(0);
    assert_eq!(by_id(output.records()).len(), 150, "{output}");
    // The other worker may take over what it held before a new one is needed.
    assert!(matches!(summary(&dir)["restarts"].as_u64(), Some(0 | 1)), "{output}");
    output.says("terminating it");
}

/// The black box names the culprit: it alone is blamed, and set aside after three attempts.
#[test]
fn an_input_that_crashes_its_worker_is_set_aside_with_evidence() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let mut urls: Vec<_> = (0..30).map(|n| origin.url(&format!("/site/page/{n}"))).collect();
    // Takes its worker minutes of parsing.
    urls.insert(3, origin.url("/nested?bytes=3000000"));
    let flags = ["--mode", "both", "--select", "x=p:nth-child(3)", "--parse-timeout", "600s", "--summary"];
    let run = fetch().args(flags).arg(dir.path("s.json")).urls(urls).spawn();
    for attempt in 1..=3 {
        let busy = || run.workers().into_iter().find(|worker| worker.cpu_ticks() > 40);
        let worker = run.until(&format!("attempt {attempt}"), busy);
        // Not SIGSEGV: the first one from outside only takes the handler of the runtime away.
        worker.signal(Signal::SIGABRT);
        run.until("its death", || (!worker.is_alive()).then_some(()));
    }
    let output = run.wait().exits(3);
    let records = by_id(output.records());
    assert_eq!(records.len(), 31, "{output}");
    let error = &records[&3]["error"];
    assert_eq!(error["kind"], "worker_crash", "{error}");
    assert_eq!(
        [&error["evidence"]["signal"], &error["evidence"]["phase"]],
        ["SIGABRT", "extract"],
        "{error}"
    );
    assert_eq!(records[&3]["attempts"], 3);
    for (id, record) in records.iter().filter(|(id, _)| **id != 3) {
        assert_eq!([kind(record), &record["attempts"].to_string()], ["", "1"], "{id}: {record}");
    }
    let summary = summary(&dir);
    // After the third death nothing was left to start a worker for.
    assert_eq!([&summary["quarantined"], &summary["failed"], &summary["restarts"]], [1, 1, 2], "{summary}");
}

#[test]
fn few_descriptors_are_enough() {
    let origin = Origin::shared();
    let urls = (0..60).map(|_| origin.url("/delay/0.05"));
    let run = fetch().args(["--mode", "both", "--concurrency", "200", "--retries", "0"]).urls(urls);
    let run = run.under(&["prlimit", "--nofile=40"]).run().exits(0);
    assert_eq!(by_id(run.records()).len(), 60);
}

#[test]
fn an_unusable_directory_for_sockets_is_an_error_that_says_so() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let file = dir.write("a-file", "");
    let long = dir.path("long".repeat(40));
    fs::create_dir(&long).unwrap();
    for (temporary, may_work) in [(dir.path("not-there"), false), (file, false), (long, true)] {
        let run = fetch().env("TMPDIR", &temporary).arg(origin.url("/empty")).run();
        assert!(run.code == Some(1) || (may_work && run.code == Some(0)), "{run}");
        if run.code == Some(1) {
            run.says(temporary.file_name().unwrap().to_str().unwrap());
        }
    }
}

#[test]
fn no_worker_outlives_a_killed_supervisor() {
    let origin = Origin::start();
    for mode in ["parallel", "both"] {
        // Waiting for an answer, which is where a blocking worker sees nothing else.
        let urls = (0..8).map(|_| origin.url("/delay/30"));
        let run = fetch().args(["--mode", mode, "--workers", "3", "--timeout", "60s"]).urls(urls).spawn();
        let workers = run.wait_for_workers(3);
        run.until("requests", || (origin.requests("/delay/30") > 0).then_some(()));
        run.signal(Signal::SIGKILL);
        wait_for("the workers to end", Duration::from_secs(1), || {
            workers.iter().all(|worker| !worker.is_alive()).then_some(())
        });
    }
}

/// A directory with the supervisor alone, and its path.
fn lonely_supervisor(dir: &Dir) -> TestCommand {
    link_executable(supervisor_path(), &dir.path("supervisor"));
    TestCommand::new(dir.path("supervisor"))
}

fn script(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_missing_worker_is_said_to_be_missing() {
    let dir = Dir::new();
    let run = lonely_supervisor(&dir).args(["fetch", "http://127.0.0.1:1/"]).run();
    let run = run.exits(1).says("worker").says("MUSTER_WORKER");
    assert_eq!(run.text(), "");
}

/// It would wait for a worker that has the number of another process.
#[test]
fn a_script_that_starts_the_worker_must_become_it() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let (url, worker) = (origin.url("/site/page/1"), worker_path().display());
    let path = dir.path("worker.sh");
    for (command, code) in [(format!("exec {worker} \"$@\""), 0), (format!("{worker} \"$@\"; exit $?"), 1)] {
        script(&path, &format!("#!/bin/sh\n{command}\n"));
        let run = lonely_supervisor(&dir).env("MUSTER_WORKER", &path).args(["fetch", &url]).run().exits(code);
        assert_eq!(run.stderr.contains("(exec)"), code == 1, "{run}");
        assert!(run.elapsed < std::time::Duration::from_secs(20), "a deadline ended it: {run}");
    }
}

#[test]
fn a_worker_is_found_by_the_variable_and_in_lib() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let url = origin.url("/site/page/1");
    lonely_supervisor(&dir).env("MUSTER_WORKER", worker_path()).args(["fetch", &url]).run().exits(0);
    fs::create_dir_all(dir.path("bin")).unwrap();
    fs::create_dir_all(dir.path("lib/muster")).unwrap();
    link_executable(supervisor_path(), &dir.path("bin/supervisor"));
    link_executable(worker_path(), &dir.path("lib/muster/worker"));
    TestCommand::new(dir.path("bin/supervisor")).args(["fetch", &url]).run().exits(0);
}

#[test]
fn a_worker_that_cannot_start_ends_the_run_with_its_words() {
    let broken = [
        ("#!/bin/sh\necho 'libfoo.so.7 is missing' >&2\nexit 127\n", "libfoo.so.7 is missing"),
        ("#!/bin/sh\necho 'killed at birth' >&2\nkill -9 $$\n", "killed at birth"),
        ("#!/no/such/interpreter\n", "worker"),
        ("not an executable at all\n", "worker"),
    ];
    for (text, words) in broken {
        let dir = Dir::new();
        let run = lonely_supervisor(&dir);
        script(&dir.path("worker"), text);
        let run = run.args(["--workers", "2", "fetch", "http://127.0.0.1:1/"]).run();
        run.exits(1).says(words);
    }
}

#[test]
fn a_worker_that_never_says_hello_ends_the_run() {
    let dir = Dir::new();
    let run = lonely_supervisor(&dir);
    script(&dir.path("worker"), "#!/bin/sh\necho 'still thinking' >&2\nexec sleep 1000\n");
    let run = run.args(["--workers", "4", "fetch", "http://127.0.0.1:1/"]).run();
    run.exits(1).says("worker");
}

#[test]
fn auto_uses_the_cpus_this_process_may_use() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let urls = (0..4).map(|n| origin.url(&format!("/site/page/{n}")));
    let flags = ["--mode", "both", "--workers", "auto", "fetch", "--summary"];
    let run =
        supervisor().under(&["taskset", "-c", "0"]).args(flags).arg(dir.path("s.json")).urls(urls).run();
    let run = run.exits(0);
    assert_eq!(summary(&dir)["workers"], 1, "{run}");
}
