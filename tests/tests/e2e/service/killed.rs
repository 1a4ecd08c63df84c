//! Killed at any instant, a service loses no job and no record.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::http::{get, request};
use crate::harness::{Dir, Origin, Running, by_id, parse_lines, supervisor, wait_for};

/// How long all of it may take on a busy machine.
const ALL: Duration = Duration::from_secs(300);

/// Jobs handed in at once.
const JOBS: usize = 24;

/// Inputs of each, at the usual size; `MUSTER_CHAOS` says how many times as many. With 11 they are 105,600 in all.
const INPUTS: usize = 400;

const KILLS: usize = 5;

fn start(dir: &Dir) -> Running {
    let run = supervisor()
        .current_dir(dir.root())
        .args(["--workers", "2", "--state-dir", "state", "--socket", "api.sock", "--allow-private-addresses"])
        .spawn();
    let socket = dir.path("api.sock");
    run.until("its API", || get(&socket, "/readyz"));
    run
}

/// Hands a job in until somebody answers that it is there; the key makes it one job.
fn submit(socket: &Path, name: &str, lines: &str) -> u64 {
    let key = format!("Idempotency-Key: {name}");
    let document = json!({"command": "fetch", "mode": "both", "name": name});
    let body = format!("{document}\n{lines}");
    wait_for("the job to be taken in", ALL, || {
        let headers = ["Content-Type: application/x-ndjson", key.as_str()];
        let (status, answer) = request(socket, "POST", "/v1/jobs", &headers, body.as_bytes())?;
        assert!(matches!(status, 200 | 201 | 503), "{status}: {}", String::from_utf8_lossy(&answer));
        let job: Value = serde_json::from_slice(&answer).ok()?;
        job["id"].as_u64()
    })
}

fn done(socket: &Path) -> Option<u64> {
    let jobs = get(socket, "/v1/jobs?limit=1000")?;
    Some(jobs["jobs"].as_array().unwrap().iter().filter(|job| job["state"] == "done").count() as u64)
}

fn inputs() -> usize {
    let scale = std::env::var("MUSTER_CHAOS").ok().and_then(|text| text.parse().ok());
    INPUTS * scale.unwrap_or(1)
}

#[test]
fn jobs_survive_kills_and_every_record_is_there_once() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let (socket, inputs) = (dir.path("api.sock"), inputs());
    let lists: BTreeMap<String, String> = (0..JOBS)
        .map(|job| {
            let urls = (0..inputs)
                .map(|n| format!("{}\n", json!(origin.url(&format!("/counted/{job}-{n}?delay=0.01")))));
            (format!("job-{job}"), urls.collect())
        })
        .collect();
    let started = shared::clock::now();
    let mut service = Some(start(&dir));
    let ids = std::thread::scope(|scope| {
        let handing_in = scope.spawn(|| {
            lists
                .iter()
                .map(|(name, lines)| (name.clone(), submit(&socket, name, lines)))
                .collect::<BTreeMap<_, _>>()
        });
        for kill in 1..=KILLS {
            let before = origin.stats()["requests"].as_u64().unwrap();
            wait_for("some work", ALL, || {
                (origin.stats()["requests"].as_u64()?
                    >= before + (inputs * kill) as u64 % 700 + inputs as u64 / 2)
                    .then_some(())
            });
            let run = service.take().unwrap();
            run.signal(Signal::SIGKILL);
            run.wait();
            service = Some(start(&dir));
        }
        handing_in.join().unwrap()
    });
    wait_for("all jobs to be done", ALL, || (done(&socket)? == JOBS as u64).then_some(()));
    for (name, id) in &ids {
        let (status, body) =
            request(&socket, "GET", &format!("/v1/jobs/{id}/records"), &[], &[]).expect("records");
        assert_eq!(status, 200);
        let records = by_id(parse_lines(&body));
        assert_eq!(records.len(), inputs, "{name}");
        assert!(records.values().all(|record| record["error"].is_null()), "{name}");
    }
    let job = get(&socket, &format!("/v1/jobs/{}", ids["job-0"])).unwrap();
    assert_eq!(job["counts"]["ok"], inputs, "{job}");
    println!("{JOBS} jobs with {inputs} inputs each and {KILLS} kills took {:?}", started.elapsed());
    let run = service.take().unwrap();
    run.signal(Signal::SIGTERM);
    run.wait().exits(0);
    assert!(!socket.exists());
}

/// As many idle connections as there are descriptors: jobs still have theirs.
#[test]
fn idle_connections_leave_descriptors_for_jobs() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let socket = dir.path("api.sock");
    let flags =
        ["--workers", "2", "--state-dir", "state", "--socket", "api.sock", "--allow-private-addresses"];
    let run = supervisor().current_dir(dir.root()).args(flags);
    let run = run.under(&["sh", "-c", "ulimit -n 64 && exec \"$@\"", "sh"]).spawn();
    run.until("its API", || get(&socket, "/readyz"));
    let idle: Vec<_> = (0..60).map(|_| std::os::unix::net::UnixStream::connect(&socket)).collect();
    let id = submit(&socket, "idle", &format!("{}\n", json!(origin.url("/counted/0"))));
    wait_for("the job to be done", ALL, || {
        let job = get(&socket, &format!("/v1/jobs/{id}"))?;
        (job["state"] == "done").then_some(())
    });
    drop(idle);
    run.signal(Signal::SIGTERM);
    run.wait().exits(0);
}

/// A job that lacks descriptors begins as soon as others have closed theirs.
#[test]
fn a_job_waits_for_descriptors_by_itself() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let (socket, service) = (dir.path("api.sock"), start(&dir));
    let open = || std::fs::read_dir(format!("/proc/{}/fd", service.id())).unwrap().count();
    service.wait_for_workers(2);
    let idle: Vec<_> = (0..32).map(|_| std::os::unix::net::UnixStream::connect(&socket).unwrap()).collect();
    let mut before = open();
    wait_for("its descriptors to settle", ALL, || {
        let (same, now) = (before == open(), open());
        before = now;
        (same && now > idle.len() && get(&socket, "/readyz").is_some()).then_some(())
    });
    let pid = service.id().to_string();
    let document = json!({"command": "fetch", "mode": "both", "urls": [origin.url("/counted/0")]});
    let headers = ["Content-Type: application/json"];
    // Enough to accept a connection and to store a job, and not enough to run it. How many that is depends on what is
    // open for a moment.
    let waits = (0..4).rev().find_map(|more| {
        let limit = format!("--nofile={0}:{0}", before + more);
        let limited = std::process::Command::new("prlimit").args(["--pid", &pid, &limit]).status();
        assert!(limited.unwrap().success());
        let id = wait_for("the job to be taken in", ALL, || {
            let (status, answer) =
                request(&socket, "POST", "/v1/jobs", &headers, document.to_string().as_bytes())?;
            let job: Value = serde_json::from_slice(&answer).ok()?;
            (status == 201).then(|| job["id"].as_u64()).flatten()
        });
        let waits = wait_for("an end, or a lack of descriptors", ALL, || {
            get(&socket, &format!("/v1/jobs/{id}"))
                .filter(|job| job["state"] == "done" || !job["error"].is_null())
        });
        (waits["state"] != "done").then_some(waits)
    });
    let waits = waits.expect("each job had enough descriptors");
    assert_eq!(waits["state"], "queued", "{waits}");
    let job = || get(&socket, &format!("/v1/jobs/{}", waits["id"]));
    drop(idle);
    wait_for("the job to be done", ALL, || (job()?["state"] == "done").then_some(()));
    service.signal(Signal::SIGTERM);
    service.wait().exits(0);
}
