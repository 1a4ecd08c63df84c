//! `advise`: what bounds a job is named, and a sample asks for no more than it may.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use shared::clock;

use crate::harness::{Dir, Origin, TestCommand, supervisor};

/// Longest that ending may take; far less than the sample would.
const AT_ONCE: Duration = Duration::from_secs(5);

/// `supervisor advise COMMAND --json`, with two workers.
fn advise(command: &str) -> TestCommand {
    supervisor().args(["--workers", "2", "advise", command, "--json"])
}

fn printed(run: TestCommand) -> Value {
    let output = run.run().exits(0);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output}"))
}

/// A list of `count` pages that take `delay_s`.
fn list(origin: &Origin, dir: &Dir, count: u32, delay_s: f64) -> std::path::PathBuf {
    let urls = (0..count).map(|n| origin.url(&format!("/counted/{n}?delay={delay_s}\n")));
    dir.write("urls.txt", urls.collect::<String>())
}

fn requests(origin: &Origin) -> u64 {
    // The request for the numbers themselves is not counted.
    origin.stats()["requests"].as_u64().unwrap()
}

#[test]
fn the_bottleneck_and_the_time_follow_from_the_limits() {
    let (dir, select) = (Dir::new(), ["--select", "t=title"]);
    // Seconds for each input: a constant, and a number of latencies. Those are measured, for a busy machine adds to
    // them.
    for (flags, delay_s, inputs, bottleneck, each_s, latencies) in [
        (vec!["--per-host", "2"], 0.1, 400, "hosts", 0.0, 0.5),
        (vec!["--rate", "50/s"], 0.05, 600, "delays", 0.02, 0.0),
        (vec!["--delay", "10ms..30ms"], 0.05, 600, "delays", 0.02, 0.0),
        // One in each of two workers.
        (vec!["--concurrency", "1"], 0.2, 100, "concurrency", 0.0, 0.5),
    ] {
        let origin = Origin::start();
        let run = advise("fetch").args(&flags).args(select).args(["--sample", "40", "-i"]);
        let advice = printed(run.arg(list(&origin, &dir, inputs, delay_s)));
        assert_eq!(advice["bottleneck"], bottleneck, "{advice:#}");
        assert_eq!((&advice["inputs"], &advice["hosts"]), (&inputs.into(), &1.into()), "{advice:#}");
        let latency_s = advice["measured"]["latency_ms"].as_f64().unwrap() / 1e3;
        assert!(latency_s >= delay_s, "{advice:#}");
        let seconds = f64::from(inputs) * (each_s + latencies * latency_s);
        let predicted_s = advice["predicted_s"].as_f64().unwrap();
        assert!((predicted_s / seconds - 1.0).abs() < 0.3, "{flags:?}: {seconds} s, {advice:#}");
        assert!(requests(&origin) <= 40, "{advice:#}");
        assert_eq!(advice["sample"]["requests"], requests(&origin), "{advice:#}");
    }
}

#[test]
fn the_delay_of_a_robots_txt_is_a_bound() {
    let dir = Dir::new();
    for sample in [2, 40] {
        let origin = Origin::start_with(&["--robots", "delay"]);
        let run = advise("fetch").args(["--robots", "obey", "--select", "t=title", "-i"]);
        let run = run.arg(list(&origin, &dir, 200, 0.01)).args(["--sample", &sample.to_string()]);
        let advice = printed(run);
        // 0.2 s between two starts.
        assert_eq!(advice["bottleneck"], "delays", "{advice:#}");
        assert!((advice["predicted_s"].as_f64().unwrap() / 39.8 - 1.0).abs() < 0.1, "{advice:#}");
        assert!(requests(&origin) <= sample, "{advice:#}");
        assert_eq!(advice["sample"]["requests"], requests(&origin), "{advice:#}");
        assert_eq!(origin.requests("/robots.txt"), 1, "it is read once");
    }
}

#[test]
fn a_robots_txt_is_not_asked_for_more_often_than_the_sample_allows() {
    let dir = Dir::new();
    let flags = ["--robots", "obey", "--sample", "30", "-i"];
    let down = Origin::start_with(&["--robots", "down"]);
    advise("fetch")
        .args(flags)
        .arg(list(&down, &dir, 50, 0.01))
        .run()
        .exits(1)
        .says("a robots.txt cannot be fetched");
    assert!(requests(&down) <= 30);
    let rules = Origin::start_with(&["--robots", "rules"]);
    let forbidden = dir.write("urls.txt", rules.url("/counted/0\n").repeat(20));
    advise("fetch").args(flags).arg(forbidden).run().exits(1).says("robots");
    assert_eq!(requests(&rules), 1, "nothing but the file");
    advise("fetch")
        .args(["--robots", "obey", "--sample", "1"])
        .arg(rules.url("/counted/1"))
        .run()
        .exits(1)
        .says("two requests");
}

#[test]
fn a_limit_on_the_memory_of_workers_is_a_bound() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let run = advise("fetch").args(["--worker-memory", "64M", "--per-host", "5000", "--sample", "40", "-i"]);
    let advice = printed(run.arg(list(&origin, &dir, 100_000, 1.0)));
    assert_eq!(advice["bottleneck"], "memory", "{advice:#}");
    assert!(requests(&origin) <= 40, "{advice:#}");
}

#[test]
fn saved_pages_are_bound_by_the_cores() {
    let dir = Dir::new();
    for n in 0..50 {
        dir.write(format!("pages/{n}.html"), e2e::origin::site::page(n, 50));
    }
    let advice = printed(advise("parse").args(["--select", "t=title"]).arg(dir.path("pages")));
    assert_eq!((&advice["bottleneck"], &advice["inputs"]), (&"cpu".into(), &50.into()), "{advice:#}");
    assert_eq!(advice["sample"]["targets"], 50, "each file counts once: {advice:#}");
    assert!(advice["predicted_s"].as_f64().unwrap() > 0.0, "{advice:#}");
}

#[test]
fn the_flags_advised_are_flags_of_the_command() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let urls = list(&origin, &dir, 100, 0.05);
    let advice = printed(advise("fetch").args(["--sample", "16", "-i"]).arg(&urls));
    let flags = advice["recommended"]["flags"].as_str().unwrap();
    supervisor().arg("fetch").args(flags.split(' ')).arg("-i").arg(urls).run().exits(0);
}

#[test]
fn a_sample_counts_redirects_and_writes_nothing() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let urls: String = (0..300).map(|n| origin.url(&format!("/redirect/2?{n}\n"))).collect();
    let urls = dir.write("urls.txt", urls);
    let before = dir.names();
    let run = advise("fetch").args(["--sample", "60", "-i"]).arg(urls).current_dir(dir.root());
    let advice = printed(run);
    assert!((10..=60).contains(&requests(&origin)), "{advice:#}");
    assert_eq!(advice["sample"]["requests"], requests(&origin), "{advice:#}");
    assert_eq!(advice["sample"]["failed"], 0, "{advice:#}");
    assert_eq!(dir.names(), before);
}

#[test]
fn the_keys_stay_what_they_are() {
    let origin = Origin::shared();
    let advice = printed(advise("fetch").args(["--sample", "4"]).arg(origin.url("/site/page/1")));
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    for (value, expected) in [
        (
            &advice,
            "inputs inputs_read inputs_unusable hosts sample measured bounds bottleneck targets_per_s predicted_s \
             recommended why",
        ),
        (&advice["sample"], "targets requests failed refused errors in_flight_max"),
        (&advice["measured"], "first_byte_ms latency_ms cpu_ms server_cpu_ms bytes memory_bytes saturated"),
        (&advice["bounds"][0], "resource targets_per_s how"),
        (&advice["recommended"], "mode workers concurrency flags"),
    ] {
        let mut expected: Vec<_> = expected.split(' ').collect();
        let found = keys(value);
        let mut found: Vec<_> = found.split(' ').collect();
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected);
    }
}

#[test]
fn a_table_for_people_fits_a_terminal() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let urls: String = (1..100).map(|n| origin.url(&format!("/site/page/{n}\n"))).collect();
    let urls = dir.write("urls.txt", format!("{urls}{}\nnonsense\n", origin.url("/status/404")));
    let run = supervisor().args(["advise", "fetch", "--select", "t=title", "-i"]).arg(urls).run().exits(0);
    let table = String::from_utf8(run.stdout.clone()).unwrap();
    for word in ["bottleneck", "targets/s", "cpu", "hosts", "memory", "descriptors", "--mode", "waiting"] {
        assert!(table.contains(word), "{word}: {run}");
    }
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{run}");
    run.says("2 of 101 inputs failed");
}

#[test]
fn nothing_is_advised_where_nothing_was_measured() {
    let dir = Dir::new();
    let garbage: Vec<u8> = (0..5_000_u32).map(|n| (n * 97 % 251) as u8).collect();
    for (inputs, says) in [
        (b"".to_vec(), "the inputs name no target that can be used"),
        (b"# nothing\n\n".to_vec(), "the inputs name no target that can be used"),
        (garbage, "no advice"),
        (b"http://127.0.0.1:1/\nhttp://127.0.0.1:1/a\n".to_vec(), "2 of 2 inputs failed: 2 connect"),
        (b"nonsense\n".to_vec(), "1 of 1 input failed: 1 invalid_url"),
    ] {
        let run = advise("fetch").arg("-i").arg(dir.write("list.txt", inputs)).run().exits(1).says(says);
        assert!(run.stdout.is_empty(), "{run}");
    }
    advise("parse").arg(dir.path("list.txt.html")).run().exits(1);
    advise("fetch")
        .args(["--sitemap", "http://a/s.xml"])
        .run()
        .exits(2)
        .says("advise does not read sitemaps");
    advise("fetch").args(["http://a/", "--mode", "both"]).run().exits(2).says("leave out --mode");
    advise("csv").arg("a.csv").run().exits(2).says("unrecognized subcommand 'csv'");
}

#[test]
fn the_first_signal_ends_it_at_once() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let urls = list(&origin, &dir, 100, 20.0);
    let run = advise("fetch").arg("-i").arg(urls).spawn();
    let workers = run.wait_for_workers(2);
    run.until("requests", || (requests(&origin) > 0).then_some(()));
    run.signal(Signal::SIGINT);
    let begun = clock::now();
    let output = run.wait().exits(130).says("stopped by SIGINT: no advice");
    assert!(begun.elapsed() < AT_ONCE, "{output}");
    assert!(workers.iter().all(|worker| !worker.is_alive()), "{output}");
}
