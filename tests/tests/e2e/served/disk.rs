//! A state directory that is full: jobs wait for room, and lose nothing.

use serde_json::json;

use super::Served;
use crate::harness::{Dir, Origin, SmallDisk, by_id, wait_for};

#[test]
fn a_job_without_room_is_paused_and_goes_on_when_there_is_some() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    // Only root may mount one.
    let Some(disk) = SmallDisk::mount(dir.path("state"), 1024) else { return };
    let mut served = Served::on(dir, &[]);
    served.start_again();
    let urls: Vec<String> = (0..300).map(|n| origin.url(&format!("/site/page/{n}"))).collect();
    let id = served.submit(&urls, &json!({"mode": "both", "select": ["h=html::html"]}));
    let job = served.wait_for_state(id, &["paused", "done", "failed"]);
    assert_eq!(job["state"], "paused", "{job}");
    assert!(job["error"].as_str().unwrap().contains("full"), "{job}");
    assert!(job["counts"]["done"].as_u64().unwrap() < 300, "{job}");
    // Still full: it says so once more.
    served.ask("POST", &format!("/v1/jobs/{id}/resume"), None, 200);
    wait_for("the job to find the disk full again", super::WITHIN, || {
        let job = served.job(id);
        // If even its start cannot be stored, it waits in the queue.
        (["paused", "queued"].iter().any(|state| job["state"] == *state) && job["error"].is_string())
            .then_some(())
    });
    disk.grow();
    if served.job(id)["state"] == "paused" {
        served.ask("POST", &format!("/v1/jobs/{id}/resume"), None, 200);
    }
    let job = served.wait_for_state(id, &["done", "failed", "paused"]);
    assert_eq!((&job["state"], &job["error"]), (&json!("done"), &json!(null)), "{job}");
    assert_eq!(by_id(served.records(id)).len(), 300, "{job}");
    drop(served.take());
}

/// `LimitFSIZE=` of a unit. It ends nobody, and least of all the service.
#[test]
fn a_job_that_reaches_the_limit_on_a_files_size_is_paused() {
    let origin = Origin::shared();
    let mut served = Served::on(Dir::new(), &[]);
    let limited = ["sh", "-c", "ulimit -f 1500 && exec \"$@\"", "sh"];
    served.start_as(served.command().under(&limited));
    let urls: Vec<String> = (0..300).map(|n| origin.url(&format!("/site/page/{n}"))).collect();
    let id = served.submit(&urls, &json!({"mode": "both", "select": ["h=html::html"]}));
    let job = served.wait_for_state(id, &["paused", "done", "failed"]);
    assert_eq!(job["state"], "paused", "{job}");
    assert!(job["error"].as_str().unwrap().contains("file size limit"), "{job}");
    let running = served.take();
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.wait().exits(0);
    served.start_again();
    served.ask("POST", &format!("/v1/jobs/{id}/resume"), None, 200);
    let job = served.wait_for_state(id, &["done", "failed", "paused"]);
    assert_eq!(job["state"], "done", "{job}");
    assert_eq!(by_id(served.records(id)).len(), 300, "{job}");
    drop(served.take());
}
