//! A service that is killed at any instant loses nothing and does nothing twice.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::Served;
use crate::harness::{Origin, by_id, wait_for};

/// Jobs handed in at once.
const JOBS: usize = 24;

/// Times the service is killed while they run.
const KILLS: u64 = 5;

/// Inputs of each job; `MUSTER_CHAOS` times as many at full size, where 25 makes 100,000 in all.
const EACH: usize = 170;

fn scale() -> usize {
    std::env::var("MUSTER_CHAOS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

#[test]
fn many_jobs_survive_a_service_that_is_killed_again_and_again() {
    let origin = Origin::start();
    let mut served = Served::start(&[]);
    let each = EACH * scale();
    let jobs: Vec<u64> = (0..JOBS)
        .map(|job| {
            let url = |n| origin.url(&format!("/site/page/{}?job={job}&n={n}", n % 300));
            served.submit(&(0..each).map(url).collect::<Vec<_>>(), &json!({}))
        })
        .collect();
    let total = (JOBS * each) as u64;
    let done = |served: &Served| -> u64 {
        jobs.iter().map(|&id| served.job(id)["counts"]["done"].as_u64().unwrap()).sum()
    };
    for kill in 1..=KILLS {
        // Spread over the run.
        wait_for("some more records", super::WITHIN * 10, || {
            (done(&served) >= total * kill / (KILLS + 2)).then_some(())
        });
        let running = served.take();
        let workers = running.workers();
        running.signal(Signal::SIGKILL);
        wait_for("the workers to go with it", Duration::from_secs(5), || {
            workers.iter().all(|worker| !worker.is_alive()).then_some(())
        });
        drop(running);
        served.start_again();
    }
    for (job, &id) in jobs.iter().enumerate() {
        let view = served.wait_for_state(id, &["done", "failed"]);
        assert_eq!((&view["state"], &view["counts"]["ok"]), (&json!("done"), &json!(each)), "{view}");
        let records = by_id(served.records(id));
        assert!(records.keys().copied().eq(0..each as u64), "job {job}: {} records", records.len());
        for (n, record) in &records {
            let url = origin.url(&format!("/site/page/{}?job={job}&n={n}", n % 300));
            assert_eq!(record["url"], url.as_str());
        }
    }
}

#[test]
fn a_job_handed_in_twice_with_one_key_is_one_job() {
    let mut served = Served::start(&[]);
    let document = json!({"command": "fetch", "urls": [Origin::shared().url("/site/page/1")]});
    let send = |served: &Served, key: &str, document: &serde_json::Value| -> (u16, serde_json::Value) {
        use std::io::{Read as _, Write as _};
        let mut connection = std::os::unix::net::UnixStream::connect(served.socket()).unwrap();
        let body = document.to_string();
        let request = format!(
            "POST /v1/jobs HTTP/1.1\r\nHost: muster\r\nConnection: close\r\nIdempotency-Key: {key}\r\nContent-Type: \
             application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).unwrap();
        let answer = super::Answer::parse(&answer).unwrap();
        (answer.status, serde_json::from_slice(&answer.body).unwrap())
    };
    let (status, first) = send(&served, "k1", &document);
    assert_eq!(status, 201, "{first}");
    let (status, second) = send(&served, "k1", &document);
    assert_eq!((status, &second["id"]), (200, &first["id"]), "{second}");
    served.take().signal(Signal::SIGKILL);
    served.start_again();
    let (status, third) = send(&served, "k1", &document);
    assert_eq!((status, &third["id"]), (200, &first["id"]), "also after a restart: {third}");
    let other = json!({"command": "fetch", "urls": [Origin::shared().url("/site/page/2")]});
    assert_eq!(send(&served, "k1", &other).0, 422);
    assert_eq!(send(&served, "k2", &document).0, 201);
}

#[test]
fn a_job_that_waits_again_after_a_kill_shows_what_it_has_done() {
    let origin = Origin::start();
    let mut served = Served::start(&["--jobs-max", "1"]);
    let mut urls = super::slow(&origin, 0.05, 300);
    urls.splice(0..2, [origin.url("/status/404"), "example.invalid".to_owned()]);
    let first = served.submit(&urls, &json!({"mode": "parallel"}));
    served.wait_for_state(first, &["running"]);
    let urgent = served.submit(&super::slow(&origin, 0.2, 200), &json!({"mode": "parallel", "priority": 10}));
    let seen = wait_for("some committed records", super::WITHIN, || {
        let records = served.records(first);
        (records.len() >= 10).then_some(records.len() as u64)
    });
    served.take().signal(Signal::SIGKILL);
    served.start_again();
    let job = served.job(first);
    assert_eq!(job["state"], "queued", "the urgent one goes first: {job}");
    let done = job["counts"]["done"].as_u64().unwrap();
    assert!(done >= seen, "{seen} were certain: {job}");
    assert_eq!(job["counts"]["failed"], 2, "{job}");
    assert_eq!(job["errors"], json!({"http_status": 1, "invalid_url": 1}), "{job}");
    assert_eq!(served.records(first).len() as u64, done, "{job}");
    served.ask("DELETE", &format!("/v1/jobs/{urgent}"), None, 202);
    served.ask("DELETE", &format!("/v1/jobs/{first}"), None, 202);
}

#[test]
fn a_job_whose_last_word_was_lost_says_what_its_records_tell() {
    let origin = Origin::shared();
    let mut served = Served::start(&[]);
    let urls =
        [origin.url("/site/page/1"), origin.url("/status/404"), origin.url("/site/page/2?poison=abort")];
    let id = served.submit(&urls, &json!({"mode": "both", "retries": 0}));
    let told = served.wait_for_state(id, &["done", "failed"]);
    let running = served.take();
    running.signal(Signal::SIGTERM);
    running.wait().exits(0);
    // As a kill between the last record and the word of it leaves it.
    let state = rusqlite::Connection::open(served.dir.path("state/state.db")).unwrap();
    let changed = state.execute(
        "UPDATE jobs SET state = '\"running\"', finished_at = NULL, counts = ?, errors = '{}', summary = NULL,
         exit_code = NULL, committed = 0, bytes = 0",
        [json!({"total": null, "total_exact": false, "done": 0, "ok": 0, "failed": 0, "quarantined": 0, "retries": 0,
            "bytes": 0, "in_flight": 0}).to_string()],
    );
    assert_eq!(changed.unwrap(), 1);
    drop(state);
    std::fs::remove_file(served.dir.path(format!("state/jobs/{id}/state.json"))).unwrap();
    served.start_again();
    let job = served.wait_for_state(id, &["done", "failed"]);
    for key in ["state", "counts", "errors", "exit_code"] {
        assert_eq!(job[key], told[key], "{key}: {job}");
    }
    for key in ["items", "ok", "failed", "quarantined", "retries", "errors", "mode"] {
        assert_eq!(job["summary"][key], told["summary"][key], "{key}: {job}");
    }
    assert!(job["summary"]["why"].as_str().unwrap().contains("read off the records"), "{job}");
    assert_eq!(served.records(id).len(), 3);
}
