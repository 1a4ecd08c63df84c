//! One job's way, and everything a user may do to it.

use nix::sys::signal::Signal;
use serde_json::json;

use super::Served;
use crate::harness::{Origin, by_id, fetch, ids, normalised, wait_for};

fn pages(origin: &Origin, count: usize) -> Vec<String> {
    (0..count).map(|n| origin.url(&format!("/site/page/{}", n % origin.pages() as usize))).collect()
}

/// Answered after a tenth of a second each: long enough to do something meanwhile.
fn slow(origin: &Origin, count: usize) -> Vec<String> {
    (0..count).map(|n| origin.url(&format!("/delay/0.1?n={n}"))).collect()
}

#[test]
fn a_job_gives_the_records_that_the_command_line_gives() {
    let origin = Origin::shared();
    let mut urls = pages(origin, 200);
    urls.push(origin.url("/status/404"));
    urls.push("example.invalid".to_owned());
    let typed = fetch().args(["--select", "title=title"]).urls(&urls).run().exits(3);
    let served = Served::start(&[]);
    let id = served.submit(&urls, &json!({"name": "nightly"}));
    let job = served.wait_for_state(id, &["done", "failed"]);
    assert_eq!(job["state"], "done", "{job}");
    assert_eq!((&job["exit_code"], &job["name"]), (&json!(3), &json!("nightly")), "{job}");
    let counts = &job["counts"];
    assert_eq!((&counts["ok"], &counts["failed"]), (&json!(200), &json!(2)), "{job}");
    assert_eq!((&counts["total"], &counts["total_exact"]), (&json!(202), &json!(true)), "{job}");
    assert_eq!(job["summary"]["items"], 202, "{job}");
    assert_eq!(job["errors"], json!({"http_status": 1, "invalid_url": 1}), "{job}");
    let records = served.records(id);
    assert_eq!(normalised(records.clone()), normalised(typed.records()));
    let from = served.request("GET", &format!("/v1/jobs/{id}/records?from=200"), None);
    assert_eq!(crate::harness::parse_lines(&from.body), records[200..]);
    assert!(from.head.contains("content-type: application/x-ndjson"), "{}", from.head);
}

#[test]
fn a_table_is_grouped_by_the_service_too() {
    let served = Served::start(&["--allow-path", "/"]);
    let csv = served.dir.write("sales.csv", "city,price\nRome,1.5\nParis,2\nRome,2.5\n");
    let document =
        json!({"command": "csv", "files": [csv], "group-by": ["city"], "agg": ["n=count", "r=sum(price)"]});
    let id = served.ask("POST", "/v1/jobs", Some(&document), 201)["id"].as_u64().unwrap();
    let job = served.wait_for_state(id, &["done", "failed"]);
    assert_eq!((&job["state"], &job["exit_code"]), (&json!("done"), &json!(0)), "{job}");
    let table = served.records(id);
    assert_eq!(table, [json!({"city": "Paris", "n": 1, "r": 2}), json!({"city": "Rome", "n": 2, "r": 4})]);
}

#[test]
fn what_is_not_allowed_or_wrong_is_refused_and_says_how() {
    let served = Served::start(&[]);
    let table = [
        (json!({"command": "fetch", "slect": ["a=b"]}), "did you mean \"select\"?"),
        (json!({"command": "fitch"}), "fetch"),
        (json!({"urls": ["http://a/"]}), "command"),
        (json!({"command": "fetch", "urls": ["http://a/"], "output": "/etc/passwd"}), "output"),
        (json!({"command": "fetch", "input": ["/etc/passwd"]}), "--allow-path"),
        (json!({"command": "parse", "paths": ["/etc"]}), "--allow-path"),
        (json!({"command": "csv", "files": ["/etc/passwd"]}), "--allow-path"),
        (json!({"command": "map", "program": ["cat"], "input": []}), "--allow-programs"),
        (json!({"command": "fetch", "urls": ["http://a/"], "map": "cat"}), "--allow-programs"),
        (json!({"command": "fetch", "urls": ["http://a/"], "mode": "fast"}), "mode"),
        (json!({"command": "fetch", "urls": ["http://a/"], "priority": 1000}), "priority"),
    ];
    for (document, want) in table {
        let problem = served.ask("POST", "/v1/jobs", Some(&document), 422);
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(want), "{document} should say {want:?}: {problem}");
    }
    assert_eq!(served.ask("GET", "/v1/jobs", None, 200)["jobs"], json!([]));
    served.ask("GET", "/v1/jobs/1", None, 404);
}

#[test]
fn a_job_is_paused_and_goes_on_where_it_was() {
    let origin = Origin::start();
    let mut served = Served::start(&[]);
    let id = served.submit(&slow(&origin, 60), &json!({"mode": "parallel"}));
    served.wait_for_done(id, 4);
    served.ask("POST", &format!("/v1/jobs/{id}/pause"), None, 200);
    let paused = served.wait_for_state(id, &["paused"]);
    let done = paused["counts"]["done"].as_u64().unwrap();
    assert!((4..60).contains(&done), "{paused}");
    assert_eq!(served.records(id).len() as u64, done, "what is done is committed: {paused}");
    // A pause outlives the service.
    served.take().signal(Signal::SIGKILL);
    served.start_again();
    assert_eq!(served.job(id)["state"], "paused");
    assert_eq!(served.job(id)["counts"]["done"], done);
    served.ask("POST", &format!("/v1/jobs/{id}/resume"), None, 200);
    let job = served.wait_for_state(id, &["done", "failed"]);
    assert_eq!((&job["state"], &job["counts"]["ok"]), (&json!("done"), &json!(60)), "{job}");
    assert_eq!(by_id(served.records(id)).len(), 60);
    served.ask("POST", &format!("/v1/jobs/{id}/resume"), None, 409);
    served.ask("POST", &format!("/v1/jobs/{id}/pause"), None, 409);
    assert_eq!(origin.requests("/delay/0.1"), 60, "nothing was done twice");
}

#[test]
fn a_job_is_cancelled_and_then_forgotten() {
    let origin = Origin::shared();
    let served = Served::start(&[]);
    let id = served.submit(&slow(origin, 200), &json!({"mode": "parallel"}));
    served.wait_for_done(id, 2);
    served.ask("DELETE", &format!("/v1/jobs/{id}"), None, 202);
    let job = served.wait_for_state(id, &["cancelled"]);
    let done = job["counts"]["done"].as_u64().unwrap();
    assert_eq!(served.records(id).len() as u64, done, "what was done is kept: {job}");
    served.ask("DELETE", &format!("/v1/jobs/{id}"), None, 204);
    served.ask("GET", &format!("/v1/jobs/{id}"), None, 404);
    let left = || served.dir.path(format!("state/jobs/{id}")).exists();
    wait_for("its records to go", super::WITHIN, || (!left()).then_some(()));
}

#[test]
fn what_failed_is_tried_again_in_a_job_of_its_own() {
    let origin = Origin::shared();
    let served = Served::start(&[]);
    let urls = [origin.url("/site/page/1"), origin.url("/status/404"), origin.url("/status/410")];
    let id = served.submit(&urls, &json!({}));
    served.wait_for_state(id, &["done"]);
    let again = served.ask("POST", &format!("/v1/jobs/{id}/retry-failed"), None, 201);
    assert_eq!(again["retry_of"], id, "{again}");
    let again = again["id"].as_u64().unwrap();
    let job = served.wait_for_state(again, &["done"]);
    assert_eq!(job["counts"]["failed"], 2, "{job}");
    let records = served.records(again);
    assert_eq!(ids(&records).len(), 2);
    let retried: std::collections::BTreeSet<_> = records.iter().map(|r| r["url"].as_str().unwrap()).collect();
    assert_eq!(retried, [urls[1].as_str(), urls[2].as_str()].into());
    let fine = served.submit(&urls[..1], &json!({}));
    served.wait_for_state(fine, &["done"]);
    served.ask("POST", &format!("/v1/jobs/{fine}/retry-failed"), None, 409);
}

#[test]
fn a_service_that_is_asked_to_stop_finishes_what_is_in_flight_and_goes_on_later() {
    let origin = Origin::start();
    let mut served = Served::start(&[]);
    let id = served.submit(&slow(&origin, 40), &json!({"mode": "parallel"}));
    served.wait_for_done(id, 3);
    let running = served.take();
    running.signal(Signal::SIGTERM);
    running.wait().exits(0);
    served.start_again();
    let job = served.wait_for_state(id, &["done", "failed"]);
    assert_eq!(job["counts"]["ok"], 40, "{job}");
    assert_eq!(by_id(served.records(id)).len(), 40);
    assert_eq!(origin.requests("/delay/0.1"), 40, "nothing was begun that was not finished");
}

#[test]
fn a_second_service_on_the_same_state_is_refused() {
    let served = Served::start(&[]);
    let other = served.dir.path("other");
    let second = supervisor_on(&served, &other);
    second.exits(1).says("uses the state directory");
    served.ask("GET", "/readyz", None, 200);
}

fn supervisor_on(served: &Served, socket: &std::path::Path) -> crate::harness::Output {
    crate::harness::supervisor()
        .args(["serve", "--state-dir"])
        .arg(served.dir.path("state"))
        .arg("--socket")
        .arg(socket)
        .run()
}

#[test]
fn ended_jobs_go_when_their_time_or_their_room_is_up() {
    let origin = Origin::shared();
    for flags in [["--keep-for", "1s"], ["--keep-bytes", "1"]] {
        let served = Served::start(&flags);
        let id = served.submit(&pages(origin, 1), &json!({}));
        wait_for(&format!("the job to be forgotten: {flags:?}"), super::WITHIN, || {
            let answer = served.request("GET", &format!("/v1/jobs/{id}"), None);
            (answer.status == 404).then_some(())
        });
        wait_for("its records to go", super::WITHIN, || {
            (!served.dir.path(format!("state/jobs/{id}")).exists()).then_some(())
        });
    }
}
