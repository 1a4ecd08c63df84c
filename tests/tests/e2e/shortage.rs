//! What this machine runs out of is no fault of any target: nothing fails for it, and no attempt is spent.

use std::process::Command;

use serde_json::Value;

use crate::harness::{Dir, MODES, Origin, Output, TestCommand, by_id, fetch, parse, supervisor};

/// Puts limits on what `command` may have, such as `-Hn 64`.
fn limited(command: TestCommand, limit: &str) -> TestCommand {
    command.under(&["sh", "-c", &format!("ulimit {limit} && exec \"$@\""), "sh"])
}

/// A server that is many hosts, none of which ever closes a connection, and pages of `count` of them.
fn many_hosts(count: usize) -> (Origin, Vec<String>) {
    let origin = Origin::start_with(&["--listen", "0.0.0.0:0"]);
    let port = origin.host().rsplit_once(':').unwrap().1.to_owned();
    let page = |n: usize| format!("http://127.1.{}.{}:{port}/site/page/{}", n / 250, n % 250 + 1, n % 300);
    let pages = (0..count).map(page).collect();
    (origin, pages)
}

#[track_caller]
fn check_all_ok(records: Vec<Value>, count: usize, what: &str) {
    let records = by_id(records);
    assert_eq!(records.len(), count, "{what}");
    for record in records.values() {
        assert!(record.get("error").is_none() && record["attempts"] == 1, "{what}: {record}");
    }
}

#[test]
fn few_descriptors_cost_no_target_in_any_mode() {
    let (_origin, pages) = many_hosts(300);
    for mode in MODES.into_iter().chain(["auto"]) {
        for limit in ["-n 64", "-Sn 30 && ulimit -Hn 40", "-n 24"] {
            let run = fetch().args(["--mode", mode, "--retries", "0", "--select", "t=title"]);
            let run = limited(run.urls(&pages), limit).run().exits(0);
            check_all_ok(run.records(), 300, &format!("{mode}, ulimit {limit}: {}", run.stderr));
        }
    }
}

#[test]
fn a_thousand_in_flight_over_more_hosts_than_descriptors() {
    let (_origin, pages) = many_hosts(900);
    for mode in ["concurrent", "both", "auto"] {
        let flags = ["--mode", mode, "--concurrency", "1000", "--retries", "0", "--select", "t=title"];
        let run = limited(fetch().args(flags).urls(&pages), "-Sn 200 && ulimit -Hn 300").run().exits(0);
        check_all_ok(run.records(), 900, mode);
    }
}

/// The number in flight stays within the descriptors, and the summary says so.
#[test]
fn descriptors_bound_what_auto_has_in_flight() {
    let origin = Origin::start_with(&["--listen", "0.0.0.0:0"]);
    let port = origin.host().rsplit_once(':').unwrap().1.to_owned();
    let page = |n: usize| format!("http://127.2.0.{}:{port}/delay/0.3?n={n}", n % 100 + 1);
    let pages: Vec<_> = (0..400).map(page).collect();
    let dir = Dir::new();
    let flags = ["--workers", "1", "--retries", "0", "--select", "t=title", "--summary"];
    let run = fetch().args(flags).arg(dir.path("summary.json")).urls(&pages);
    let run = limited(run, "-n 160").run().exits(0);
    check_all_ok(run.records(), 400, &run.stderr);
    let summary: Value = serde_json::from_str(&dir.read("summary.json")).unwrap();
    assert!(summary["concurrency"].as_u64().unwrap() <= 64, "two descriptors for each: {summary}");
    assert!(summary["why"].as_str().unwrap().contains("limit of open files"), "{summary}");
}

/// Raised at the start, so that it is no limit.
#[test]
fn a_low_soft_limit_is_raised_to_the_hard_one() {
    let (_origin, pages) = many_hosts(300);
    let flags = ["--mode", "concurrent", "--concurrency", "200", "--select", "t=title"];
    let run = limited(fetch().args(flags).urls(&pages), "-Sn 64").run().exits(0);
    assert!(!run.stderr.contains("open files"), "{run}");
    check_all_ok(run.records(), 300, "soft");
}

#[test]
fn too_few_descriptors_for_any_run_are_said_before_it_starts() {
    let dir = Dir::new();
    let page = dir.write("a.html", "<title>a</title>");
    let run = limited(parse().arg(&page).arg("-o").arg(dir.path("out.jsonl")), "-n 16").run();
    run.exits(1).says("limit of 16 open files").says("at least").says("ulimit -n");
    assert_eq!(dir.names(), ["a.html"]);
    let serve = supervisor().args(["serve", "--state-dir"]).arg(dir.path("state"));
    limited(serve, "-n 16").run().exits(1).says("ulimit -n");
    assert_eq!(dir.names(), ["a.html"]);
    // What needs no worker needs no more either.
    limited(supervisor().arg("--version"), "-n 16").run().exits(0);
}

/// Starts a fetch of so many pages, and takes every descriptor from its workers once records are written.
fn with_workers_that_can_open_nothing(mode: &str, workers: usize, pages: &[String], dir: &Dir) -> Output {
    let count = workers.to_string();
    let flags =
        ["--mode", mode, "--concurrency", "2", "--workers", &count, "--retries", "0", "--select", "t=title"];
    let run = fetch().args(flags).arg("-o").arg(dir.path("out.jsonl")).urls(pages).spawn();
    let pids: Vec<_> = run.wait_for_workers(workers).iter().map(|worker| worker.pid().to_string()).collect();
    let is_written =
        || std::fs::read_to_string(dir.path("out.jsonl")).is_ok_and(|text| text.contains("fields"));
    run.until("records", || is_written().then_some(()));
    for worker in pids {
        let cut = Command::new("prlimit").args(["--pid", &worker, "--nofile=3:3"]).status();
        assert!(cut.unwrap().success());
    }
    run.wait()
}

/// Nothing in the worker could be given up for one: then waiting is of no use, and another worker may have one.
#[test]
fn a_worker_that_can_open_nothing_is_replaced() {
    let (_origin, pages) = many_hosts(500);
    let dir = Dir::new();
    let output = with_workers_that_can_open_nothing("sequential", 1, &pages, &dir).exits(0);
    assert!(output.stderr.contains("gave up: nothing could be opened"), "{output}");
    check_all_ok(crate::harness::parse_lines(dir.read("out.jsonl").as_bytes()), 500, &output.stderr);
}

/// If two give up in a row, what they lack, all lack, and the run ends. Here a new worker has it, and may be in time.
#[test]
fn no_input_fails_for_workers_that_can_open_nothing() {
    let (_origin, pages) = many_hosts(2000);
    for mode in ["parallel", "both"] {
        let dir = Dir::new();
        let output = with_workers_that_can_open_nothing(mode, 2, &pages, &dir);
        let records = crate::harness::parse_lines(dir.read("out.jsonl").as_bytes());
        if output.code == Some(0) {
            check_all_ok(records, 2000, &output.stderr);
            continue;
        }
        let output =
            output.exits(1).says("no worker can go on; the last one: gave up: nothing could be opened");
        let output = output.says("ulimit -n").says("--resume does");
        for record in records {
            assert!(record.get("error").is_none(), "{record}: {output}");
        }
    }
}

/// A network of its own, in which there are fewer ports than connections; a closed one keeps its port for a minute.
#[test]
fn a_target_waits_for_a_port() {
    fetched_with_40_ports("127.0.0.1", "/delay/0.1");
}

/// The address that leads nowhere must not be waited for while the other one lacks a port.
#[test]
fn a_target_waits_for_a_port_to_the_address_that_works() {
    // The server closes each connection, because one that is idle keeps its port from other hosts.
    fetched_with_40_ports("hN.test", "/until-close");
}

fn fetched_with_40_ports(host: &str, path: &str) {
    let network = "ip link set lo up && echo '50000 50039' > /proc/sys/net/ipv4/ip_local_port_range \
                   && echo 1 > /proc/sys/net/ipv4/tcp_tw_reuse \
                   && ip addr add 10.9.0.1 dev lo && ip route add 10.9.0.2 dev lo && mount --bind hosts /etc/hosts && exec \"$@\"";
    let alone = ["unshare", "--net", "--mount", "sh", "-c", network, "sh"];
    let dir = Dir::new();
    let hosts: String = (0..120).map(|n| format!("127.0.0.1 h{n}.test\n10.9.0.2 h{n}.test\n")).collect();
    dir.write("hosts", hosts);
    let may = Command::new(alone[0]).args(&alone[1..]).arg("true").current_dir(dir.root()).output();
    if !may.is_ok_and(|tried| tried.status.success()) {
        return;
    }
    // The server is in the same network: started by the same shell.
    let url = |n: usize| format!("http://{host}:PORT{path}?n={n}\n").replace('N', &n.to_string());
    let urls: String = (0..120).map(url).collect();
    dir.write("urls", urls);
    let script = "\"$ORIGIN\" --exit-with-stdin --listen 127.0.0.1:0 < hold > line & \
                  exec 3> hold; until grep -q listening line; do :; done; \
                  port=$(sed 's/.*://' line); sed \"s/PORT/$port/\" urls > list; \
                  \"$@\"; code=$?; exec 3>&-; wait; exit $code";
    nix::unistd::mkfifo(&dir.path("hold"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let flags = ["--mode", "concurrent", "--concurrency", "100", "--retries", "0", "--per-host", "unlimited"];
    let run = fetch().args(flags).args(["-i", "list"]).current_dir(dir.root());
    let run = run.under(&["sh", "-c", script, "sh"]).under(&alone);
    let run = run.env("ORIGIN", env!("CARGO_BIN_EXE_origin")).run().exits(0);
    check_all_ok(run.records(), 120, &run.stderr);
}
