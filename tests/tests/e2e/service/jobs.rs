//! Several jobs at once, from submission to records.

use std::collections::BTreeSet;

use serde_json::json;
use supervisor::service::JobAction;
use supervisor::view::{JobId, JobState};

use super::{JOB, Running, config};
use crate::harness::{Dir, Origin, wait_for};
use crate::ordered;

fn pages(origin: &Origin, name: &str, count: u32, delay_s: f64) -> Vec<String> {
    (0..count).map(|n| origin.url(&format!("/counted/{name}-{n}?delay={delay_s}"))).collect()
}

#[test]
fn two_jobs_run_at_once_and_each_has_all_its_records() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let service = Running::start(config(&dir, 2));
    let jobs: Vec<JobId> =
        ["a", "b", "c"].map(|name| service.fetch(&pages(&origin, name, 400, 0.02))).to_vec();
    let first = BTreeSet::from([jobs[0], jobs[1]]);
    wait_for("two jobs at work", JOB, || {
        let at_work: BTreeSet<JobId> = jobs
            .iter()
            .filter(|id| service.job(**id).workers == 1 && service.job(**id).state == JobState::Running)
            .copied()
            .collect();
        (at_work == first).then_some(())
    });
    assert_eq!(service.job(jobs[2]).state, JobState::Queued);
    for id in jobs {
        let job = service.wait(id, JobState::Done);
        assert_eq!((job.counts.done, job.counts.ok, job.exit_code), (400, 400, Some(0)), "{job:?}");
        assert_eq!(job.counts.total, Some(400));
        assert_eq!(service.records(id).len(), 400);
        assert!(job.summary.is_some() && job.latency_ms.is_some());
    }
    assert_eq!(origin.stats()["requests"].as_u64(), Some(1200));
    service.stop();
}

#[test]
fn a_pause_that_a_server_asked_for_outlasts_a_restart() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let service = Running::start(config(&dir, 1));
    let id = service.fetch(&[origin.url("/status/429?retry_after=4")]);
    wait_for("a refusal", JOB, || (service.job(id).counts.retries > 0).then_some(()));
    service.act(id, JobAction::Cancel);
    service.wait(id, JobState::Cancelled);
    service.stop();

    let service = Running::start(config(&dir, 1));
    let id = service.fetch(&pages(&origin, "a", 1, 0.0));
    assert_eq!(service.wait(id, JobState::Done).counts.ok, 1);
    service.stop();
    let (refused, next) = (origin.times_s("/status/")[0], origin.times_s("/counted/")[0]);
    assert!(next - refused >= 3.9, "asked again after {} s", next - refused);
}

#[test]
fn a_service_that_is_stopped_goes_on_where_it_was() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let urls = pages(&origin, "a", 2_000, 0.02);
    let service = Running::start(config(&dir, 2));
    let (id, waiting) = (service.fetch(&urls), service.fetch(&urls));
    let third = service.submit(&json!({"command": "fetch", "urls": [origin.url("/counted/z")]}), &[]);
    wait_for("some records", JOB, || (service.job(id).counts.done > 100).then_some(()));
    service.stop();
    let before = origin.stats()["requests"].as_u64().unwrap();
    assert!((100..4_000).contains(&before), "{before}");

    let service = Running::start(config(&dir, 2));
    for id in [id, waiting, third] {
        let job = service.wait(id, JobState::Done);
        assert_eq!(job.counts.ok, if id == third { 1 } else { 2_000 });
        assert_eq!(service.records(id).len() as u64, job.counts.ok);
    }
    assert_eq!(origin.stats()["requests"].as_u64(), Some(4_001), "nothing that was done was done again");
    service.stop();
}

#[test]
fn a_job_is_paused_resumed_and_cancelled() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let service = Running::start(config(&dir, 2));
    let id = service.fetch(&pages(&origin, "a", 3_000, 0.02));
    wait_for("some records", JOB, || (service.job(id).counts.done > 50).then_some(()));
    let answer = service.act(id, JobAction::Pause);
    assert!(matches!(answer.state, JobState::Draining | JobState::Paused), "{answer:?}");
    let paused = service.wait(id, JobState::Paused);
    let records = service.records(id).len() as u64;
    assert_eq!(records, paused.counts.done, "what is done is certain");
    assert!(service.service.act(id, JobAction::Pause).is_err());

    service.act(id, JobAction::Resume);
    wait_for("more records", JOB, || (service.job(id).counts.done > records + 50).then_some(()));
    service.act(id, JobAction::Cancel);
    let cancelled = service.wait(id, JobState::Cancelled);
    assert_eq!(service.records(id).len() as u64, cancelled.counts.done, "what was done is kept");
    assert!(cancelled.finished_at.is_some());

    service.act(id, JobAction::Remove);
    assert!(service.service.job(id).is_err());
    wait_for("its files to be gone", JOB, || (!service.state.join("jobs/1").exists()).then_some(()));
    service.stop();
}

/// The first input waits, so nothing can be written in order.
#[test]
fn what_is_done_out_of_order_outlives_a_pause_a_restart_and_a_cancel() {
    for ends in [JobAction::Resume, JobAction::Cancel] {
        let (first, others, dir) = (Origin::start(), Origin::start(), Dir::new());
        let urls = ordered::urls(&first, &others, 3);
        let behind = urls.len() as u64 - 1;
        let service = Running::start(config(&dir, 1));
        let document = json!({"command": "fetch", "ordered": true, "retries": 3});
        let id = service.submit(&document, &[("urls.txt", urls.join("\n"))]);
        wait_for("the others", JOB, || (service.job(id).counts.done == behind).then_some(()));
        service.act(id, JobAction::Pause);
        let paused = service.wait(id, JobState::Paused);
        assert_eq!((paused.counts.done, service.records(id).len()), (behind, 0), "{paused:?}");
        service.stop();

        let service = Running::start(config(&dir, 1));
        assert_eq!(service.job(id).counts.done, behind, "what is kept is counted");
        service.act(id, ends);
        if ends == JobAction::Cancel {
            let cancelled = service.wait(id, JobState::Cancelled);
            assert_eq!(cancelled.counts.done, behind);
            assert_eq!(service.records(id).len() as u64, behind, "it has not ended before they are there");
        } else {
            let job = service.wait(id, JobState::Done);
            assert_eq!((job.counts.done, job.counts.ok), (behind + 1, behind + 1), "{job:?}");
            assert_eq!(service.records(id).into_keys().collect::<Vec<_>>(), (0..=behind).collect::<Vec<_>>());
        }
        assert_eq!(others.stats()["requests"].as_u64(), Some(behind), "done again");
        service.stop();
    }
}

#[test]
fn the_inputs_that_failed_are_a_job_of_their_own() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let service = Running::start(config(&dir, 1));
    let good = pages(&origin, "a", 10, 0.0);
    let bad: Vec<String> = (0..3).map(|n| format!("no-such-scheme-{n}://x/")).collect();
    let rows = good.iter().chain(&bad).enumerate();
    let rows: String = rows.map(|(n, url)| format!("{n},{url}\n")).collect();
    let document = json!({"command": "fetch", "column": "url", "keep": ["row"], "retries": 0});
    let id = service.submit(&document, &[("rows.csv", format!("row,url\n{rows}"))]);
    let job = service.wait(id, JobState::Done);
    assert_eq!((job.counts.ok, job.counts.failed, job.exit_code), (10, 3, Some(3)), "{job:?}");
    let again = service.act(id, JobAction::RetryFailed);
    assert_eq!(again.retry_of, Some(id));
    let job = service.wait(again.id, JobState::Done);
    assert_eq!((job.counts.done, job.counts.failed), (3, 3));
    let rows: BTreeSet<String> = service
        .records(again.id)
        .values()
        .map(|record| record["keep"]["row"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(rows, BTreeSet::from(["10", "11", "12"].map(str::to_owned)));
    service.stop();
}

#[test]
fn what_a_document_may_not_say_is_refused() {
    let dir = Dir::new();
    let service = Running::start(config(&dir, 1));
    let secret = dir.write("secret.html", "<title>secret</title>");
    let check = |document: serde_json::Value, why: &str| {
        let refused = service.try_submit(&document, &[]).unwrap_err().to_string();
        assert!(refused.contains(why), "{document}: {refused}");
    };
    check(json!({"urls": ["http://a/"]}), "\"command\" is missing");
    check(json!({"command": "fetsh"}), "give one of: fetch, parse, map, csv");
    check(json!({"command": "fetch", "slect": "a=b"}), "did you mean \"select\"?");
    check(json!({"command": "fetch", "output": "/etc/passwd"}), "\"output\" is for local runs");
    check(json!({"command": "fetch", "timeout": "soon", "urls": ["http://a/"]}), "give a time such as");
    check(json!({"command": "fetch", "timeout": true}), "found boolean");
    check(json!({"command": "parse", "paths": [secret]}), "--allow-path");
    check(json!({"command": "parse", "input": [secret]}), "list of paths");
    check(json!({"command": "csv", "files": [secret]}), "--allow-path");
    check(json!({"command": "fetch", "input": ["-"]}), "no standard input");
    check(json!({"command": "map", "program": ["cat"]}), "--allow-programs");
    check(json!({"command": "fetch", "urls": ["http://a/"], "map": "cat"}), "--allow-programs");
    check(json!({"command": "fetch", "urls": ["http://a/"], "priority": 101}), "\"priority\"");
    check(json!({"command": "fetch", "urls": ["http://a/"], "sandbox": "off"}), "\"sandbox\"");
    let table = [("a.csv", "n\n1\n".to_owned())];
    let refused = service.try_submit(&json!({"command": "csv", "sandbox": "off"}), &table).unwrap_err();
    assert!(refused.to_string().contains("\"sandbox\""), "{refused}");
    service.stop();
}

/// A link that leads out of what jobs may read is a record that says so; nothing of the service's own is read.
#[test]
fn a_job_stays_in_the_directories_that_it_may_read() {
    let (dir, outside) = (Dir::new(), Dir::new());
    let secret = outside.write("secret.html", "<title>secret</title>");
    outside.write("pages/inner.html", "<title>inner</title>");
    dir.write("site/a.html", "<title>a</title>");
    dir.write("shared/b.html", "<title>b</title>");
    let link =
        |target: std::path::PathBuf, name: &str| std::os::unix::fs::symlink(target, dir.path(name)).unwrap();
    link(secret.clone(), "site/c.html");
    link(outside.path("pages"), "site/d");
    link(dir.path("shared/b.html"), "site/e.html");
    link(dir.path("shared"), "site/f");
    link(outside.path("gone.html"), "site/g.html");
    let mut config = config(&dir, 1);
    config.allowed.paths = vec![dir.path("site"), dir.path("shared")];
    let service = Running::start(config);
    for sandbox in ["auto", "require"] {
        let document = json!({"command": "parse", "paths": [dir.path("site")], "select": ["title=title"],
            "ordered": true, "sandbox": sandbox});
        let id = service.submit(&document, &[]);
        let job = service.wait(id, JobState::Done);
        assert_eq!((job.counts.ok, job.counts.failed, job.exit_code), (3, 3, Some(3)), "{job:?}");
        let records = service.records(id);
        let titles: Vec<_> =
            records.values().filter_map(|record| record["fields"]["title"].as_str()).collect();
        assert_eq!(titles, ["a", "b", "b"]);
        let refused = records.values().filter(|record| record.get("error").is_some());
        for record in refused {
            assert!(record["error"]["message"].as_str().unwrap().contains("--allow-path"), "{record}");
        }
    }
    service.stop();

    // Where everything may be read, what is this process's own still may not.
    let pipe = dir.path("site/pipe.csv");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut config = super::config(&dir, 1);
    config.state_dir = dir.path("other");
    config.allowed.paths = vec!["/".into()];
    let service = Running::start(config);
    for (command, key, path) in [
        ("csv", "files", "/dev/stdin"),
        ("csv", "files", pipe.to_str().unwrap()),
        ("parse", "paths", "/proc/self/fd/0"),
        ("fetch", "input", "/dev/fd/0"),
    ] {
        let refused = service.try_submit(&json!({"command": command, key: [path]}), &[]).unwrap_err();
        assert!(refused.to_string().contains("is not a regular file"), "{path}: {refused}");
    }
    service.stop();
}

#[test]
fn pages_and_tables_come_along() {
    let dir = Dir::new();
    let service = Running::start(config(&dir, 2));
    let page = |title: &str| format!("<title>{title}</title>");
    let parse = service.submit(
        &json!({"command": "parse", "select": ["title=title"], "ordered": true}),
        &[("a.html", page("one")), ("b.html", page("two"))],
    );
    let csv = service.submit(
        &json!({"command": "csv", "group-by": ["city"], "agg": ["n=count"]}),
        &[("rows.csv", "city,price\nRome,1\nOslo,2\nRome,3\n".to_owned())],
    );
    service.wait(parse, JobState::Done);
    let titles: Vec<_> =
        service.records(parse).values().map(|record| record["fields"]["title"].clone()).collect();
    assert_eq!(titles, ["one", "two"]);
    let job = service.wait(csv, JobState::Done);
    assert_eq!(job.counts.done, 3, "{job:?}");
    let records = service.service.job(csv).unwrap().1;
    let table = std::fs::read_to_string(&records.path).unwrap();
    assert_eq!(table, "{\"city\":\"Oslo\",\"n\":1}\n{\"city\":\"Rome\",\"n\":2}\n");
    assert_eq!(records.committed(), table.len() as u64);
    service.stop();
}

#[test]
fn a_host_has_one_budget_over_all_jobs() {
    const LIMIT: u32 = 3;
    let (origin, dir) = (Origin::start(), Dir::new());
    let service = Running::start(config(&dir, 3));
    let jobs = ["a", "b", "c"].map(|name| {
        let urls = pages(&origin, name, 60, 0.05);
        let document = json!({"command": "fetch", "mode": "both", "per-host": LIMIT});
        service.submit(&document, &[("urls.txt", urls.join("\n"))])
    });
    wait_for("all three at work", JOB, || {
        jobs.iter().all(|id| service.job(*id).counts.done > 0).then_some(())
    });
    let hosts = wait_for("the host on the board", JOB, || {
        let hosts = service.service.board().hosts.read().unwrap().clone();
        (!hosts.is_empty()).then_some(hosts)
    });
    assert_eq!((hosts[0].host.as_str(), hosts[0].in_flight_max), (origin.host(), Some(LIMIT)));
    for id in jobs {
        assert_eq!(service.wait(id, JobState::Done).counts.ok, 60);
    }
    let in_flight_max = &origin.stats()["hosts"][origin.host()]["in_flight_max"];
    assert_eq!(in_flight_max.as_u64(), Some(u64::from(LIMIT)), "no more than it may, and all of it is used");
    service.stop();
}
