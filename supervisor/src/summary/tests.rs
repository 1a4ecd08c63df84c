use serde_json::Value;
use shared::protocol::{Outcome, Verdict};

use super::*;
use crate::progress::Screen;

fn facts(mode: Mode, wall: Duration) -> Facts {
    Facts {
        mode,
        workers: 2,
        concurrency: 64,
        wall,
        cpu: Duration::from_millis(4_900),
        supervisor_cpu: Duration::from_millis(490),
        supervisor_rss_bytes_max: 20_000_000,
        why: None,
        sandbox: "landlock, seccomp".to_owned(),
    }
}

fn gather() -> Gather {
    let mut gather = Gather::new(2);
    gather.started(0);
    gather.started(1);
    gather.started(1);
    gather.restarted(1);
    let verdicts = [
        Verdict::Ok,
        Verdict::Ok,
        Verdict::Failed(ErrorKind::Timeout),
        Verdict::Retry { kind: ErrorKind::Dns },
    ];
    for (id, verdict) in (0..).zip(verdicts) {
        gather.record(
            u32::try_from(id % 2).unwrap(),
            &Outcome {
                id,
                verdict,
                bytes: 1_000,
                started_us: 0,
                elapsed_us: 10_000 * (id + 1),
                cpu_us: 100,
                endings: None,
                reply: None,
                retry_after_ms: None,
                exit_use: None,
                over_budget: false,
                session: None,
                line_bytes: 9,
                found_bytes: 0,
                note_bytes: 0,
            },
        );
    }
    gather.quarantined(1, ErrorKind::WorkerCrash, 50_000);
    gather.reaped(0, Duration::from_millis(1_500));
    gather.resident(0, 84_000_000);
    gather
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_json_has_the_contracts_keys_and_no_others() {
    let mut facts = facts(Mode::Both, Duration::from_secs(2));
    let check = |facts: &Facts, why: &[&str]| {
        let json: Value =
            serde_json::from_slice(&serde_json::to_vec(&Summary::new(&gather(), facts)).unwrap()).unwrap();
        let mut expected = vec![
            "mode",
            "workers",
            "concurrency",
            "items",
            "ok",
            "failed",
            "quarantined",
            "retries",
            "bytes",
            "wall_s",
            "cpu_s",
            "supervisor_cpu_s",
            "items_per_s",
            "latency_ms",
            "errors",
            "per_worker",
            "restarts",
            "sandbox",
        ];
        expected.extend(why);
        let mut found = keys(&json);
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected);
        let mut latency = keys(&json["latency_ms"]);
        latency.sort_unstable();
        assert_eq!(latency, ["max", "p50", "p90", "p99"]);
        let mut worker = keys(&json["per_worker"][0]);
        worker.sort_unstable();
        assert_eq!(worker, ["cpu_s", "items", "rss_bytes_max", "slot", "starts"]);
        json
    };
    let json = check(&facts, &[]);
    assert_eq!(json["mode"], "both");
    assert_eq!(json["errors"], serde_json::json!({"timeout": 1, "worker_crash": 1}));
    facts.why = Some("waiting 40 ms, computing 2 ms a page".to_owned());
    assert_eq!(check(&facts, &["why"])["why"], "waiting 40 ms, computing 2 ms a page");
}

#[test]
fn the_numbers_follow_from_gather_and_facts() {
    let summary = Summary::new(&gather(), &facts(Mode::Both, Duration::from_millis(1_600)));
    assert_eq!(
        (summary.items, summary.ok, summary.failed, summary.quarantined, summary.retries),
        (4, 2, 2, 1, 1)
    );
    assert_eq!((summary.bytes, summary.restarts), (4_000, 1));
    assert_eq!(
        (summary.wall_s, summary.cpu_s, summary.supervisor_cpu_s, summary.items_per_s),
        (1.6, 4.9, 0.49, 2.5)
    );
    assert_eq!(summary.latency_ms.max, 30.0);
    assert_eq!(
        summary.per_worker,
        [
            PerWorker { slot: 0, starts: 1, items: 2, cpu_s: 1.5, rss_bytes_max: 84_000_000 },
            PerWorker { slot: 1, starts: 2, items: 2, cpu_s: 0.0, rss_bytes_max: 0 },
        ]
    );
    let empty = Summary::new(&Gather::new(0), &facts(Mode::Both, Duration::ZERO));
    assert_eq!((empty.items_per_s, empty.latency_ms.p50), (0.0, 0.0));
}

#[test]
fn the_file_reads_back_as_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("summary.json");
    let summary = Summary::new(&gather(), &facts(Mode::Concurrent, Duration::from_secs(1)));
    summary.write(&path, Readers::Owner).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text.starts_with("{\n  \"mode\": \"concurrent\",\n  \"workers\": 2,\n") && text.ends_with("}\n"),
        "{text}"
    );
    assert_eq!(serde_json::from_str::<Summary>(&text).unwrap(), summary);
}

#[test]
fn the_table_shows_what_tells_something() {
    let mut facts = facts(Mode::Both, Duration::from_secs(2));
    facts.why = Some("because".to_owned());
    let text = table(&Summary::new(&gather(), &facts), Screen::plain(100));
    for part in [
        "both: 2 workers × 64 in flight",
        "because",
        "4 in 2 s, 2 per second",
        "2: 1 timeout, 1 worker_crash",
        "quarantined",
        "p50 20 ms",
        "4.9 s, 10 % of it in the supervisor, 2.45 CPUs busy",
        "84 MB",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains('\x1b'));
    let mut quiet = Gather::new(1);
    quiet.started(0);
    let text = table(&Summary::new(&quiet, &facts), Screen::plain(100));
    for part in ["failed", "retries", "restarts", "quarantined", "read", "latency", "memory"] {
        assert!(!text.contains(part), "{part} is in\n{text}");
    }
}

#[test]
fn tables_keep_to_the_width_and_colour_only_where_wanted() {
    let runs: Vec<_> =
        Mode::ALL.iter().map(|mode| ModeRun::new(&gather(), &facts(*mode, Duration::from_secs(3)))).collect();
    for width in [40_u16, 60, 80, 120] {
        let why = "a long sentence ".repeat(20);
        let mut facts = facts(Mode::Both, Duration::from_secs(2));
        facts.why = Some(why);
        for text in [
            table(&Summary::new(&gather(), &facts), Screen::plain(width)),
            compare_table(&runs, Screen::plain(width)),
        ] {
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= usize::from(width), "{widest} > {width}:\n{text}");
        }
    }
    let colour = Screen { is_terminal: true, width: 100, colour: true };
    assert!(compare_table(&runs, colour).contains("\x1b["));
    assert!(!compare_table(&runs, Screen { colour: false, ..colour }).contains('\x1b'));
}

#[test]
fn modes_are_compared_with_the_sequential_one() {
    let run = |mode, seconds| ModeRun::new(&gather(), &facts(mode, Duration::from_secs(seconds)));
    let runs = [run(Mode::Both, 1), run(Mode::Sequential, 8), run(Mode::Parallel, 4)];
    let text = compare_table(&runs, Screen::plain(140));
    let row = |mode: &str| {
        text.lines().find(|line| line.contains(mode)).unwrap().split_whitespace().collect::<Vec<_>>()
    };
    assert!(
        row("sequential").contains(&"1×") && row("parallel").contains(&"2×") && row("both").contains(&"8×"),
        "{text}"
    );
    assert!(row("both").contains(&"104"), "84 MB of workers and 20 MB of supervisor:\n{text}");
}
