//! A service whose database is gone or damaged: the jobs are found again in their directories.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::json;

use super::Served;
use crate::harness::{Origin, supervisor};

/// Stops the service by a kill, which leaves everything where it is.
fn kill(served: &mut Served) {
    let running = served.take();
    running.signal(Signal::SIGKILL);
    drop(running);
}

#[test]
fn jobs_survive_the_loss_of_the_database() {
    type Harm = fn(&Path);
    let harms: [Harm; 3] = [
        |state| {
            for name in ["state.db", "state.db-wal", "state.db-shm"] {
                let _ = fs::remove_file(state.join(name));
            }
        },
        |state| fs::write(state.join("state.db"), "").unwrap(),
        |state| {
            let wal = state.join("state.db-wal");
            let mut bytes = fs::read(&wal).unwrap();
            bytes[40] ^= 4;
            fs::write(wal, bytes).unwrap();
        },
    ];
    let origin = Origin::shared();
    for harm in harms {
        let mut served = Served::start(&[]);
        let urls: Vec<String> = (0..20).map(|n| origin.url(&format!("/site/page/{n}"))).collect();
        let done = served.submit(&urls, &json!({"name": "done"}));
        served.wait_for_state(done, &["done"]);
        let before = served.job(done);
        let failed = served.submit(&[origin.url("/status/404")], &json!({"retries": 0}));
        served.wait_for_state(failed, &["done"]);
        let paused = served.submit(&super::slow(origin, 0.2, 60), &json!({"name": "paused"}));
        served.wait_for_done(paused, 2);
        kill(&mut served);
        harm(&served.dir.path("state"));
        served.start_again();
        assert_eq!(served.job(done), before);
        assert_eq!(served.records(done).len(), 20);
        assert_eq!(served.job(failed)["exit_code"], 3);
        let job = served.wait_for_state(paused, &["done", "failed"]);
        assert_eq!((&job["state"], &job["counts"]["ok"]), (&json!("done"), &json!(60)), "{job}");
        // It is said, in the log and whenever somebody asks.
        let warnings = served.ask("GET", "/v1/service", None, 200)["warnings"].to_string();
        assert!(warnings.contains("recovered from their directories: jobs 1, 2, 3"), "{warnings}");
        assert!(served.running().stderr_so_far().contains("recovered"), "{warnings}");
        let status = supervisor().args(["status", "--socket"]).arg(served.socket()).run().exits(0);
        assert!(status.text().contains("warning: "), "{status}");
        assert_eq!(served.submit(&urls, &json!({})), paused + 1, "numbers go on");
        // What is removed stays removed.
        served.ask("DELETE", &format!("/v1/jobs/{failed}?only=remove"), None, 204);
        kill(&mut served);
        served.start_again();
        assert_eq!(served.request("GET", &format!("/v1/jobs/{failed}"), None).status, 404);
        drop(served.take());
    }
}

#[test]
fn what_is_not_the_services_is_left_alone() {
    let mut served = Served::on(crate::harness::Dir::new(), &[]);
    let photo = served.dir.write("state/incoming/holiday/1.jpg", "a photo");
    let note = served.dir.write("state/jobs/applications/letter.txt", "a letter");
    let lost = served.dir.write("state/jobs/7/records.jsonl", "{\"id\":0}\n");
    served.start_again();
    assert!(photo.exists() && note.exists() && !lost.exists());
    let warnings = served.ask("GET", "/v1/service", None, 200)["warnings"].to_string();
    assert!(
        warnings.contains("jobs 7: their submission is lost") && warnings.contains("set-aside"),
        "{warnings}"
    );
    let aside = fs::read_dir(served.dir.path("state/set-aside")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(fs::read_to_string(aside.join("jobs-7/records.jsonl")).unwrap(), "{\"id\":0}\n");
    drop(served.take());
}

/// The database is fine, and files of two jobs are not.
#[test]
fn lost_records_and_a_damaged_journal_cost_their_jobs_and_are_said() {
    let origin = Origin::shared();
    let mut served = Served::start(&[]);
    let urls: Vec<String> = (0..20).map(|n| origin.url(&format!("/site/page/{n}"))).collect();
    let [gone, cut, kept] = [0; 3].map(|_| served.submit(&urls, &json!({})));
    for id in [gone, cut, kept] {
        served.wait_for_state(id, &["done"]);
    }
    let half = served.submit(&super::slow(origin, 0.2, 60), &json!({"per-host": "1"}));
    served.wait_for_done(half, 2);
    kill(&mut served);
    let file = |id: u64, name: &str| served.dir.path(format!("state/jobs/{id}/{name}"));
    fs::remove_file(file(gone, "records.jsonl")).unwrap();
    fs::OpenOptions::new().write(true).open(file(cut, "records.jsonl")).unwrap().set_len(100).unwrap();
    fs::write(file(half, "records.jsonl.journal"), "x".repeat(9000)).unwrap();
    for name in ["records.jsonl.journal-wal", "records.jsonl.journal-shm"] {
        let _ = fs::remove_file(file(half, name));
    }
    served.start_again();
    let warnings = served.ask("GET", "/v1/service", None, 200)["warnings"].to_string();
    assert!(warnings.contains(&format!("cut off in the files of these jobs: {gone}, {cut}")), "{warnings}");
    for id in [gone, cut] {
        for query in ["", "?only=failed", "?follow=1"] {
            let told = served.ask("GET", &format!("/v1/jobs/{id}/records{query}"), None, 410);
            let why = told["detail"].as_str().unwrap();
            assert!(why.contains(&format!("the records of job {id} are lost")), "{why}");
            assert!(!why.contains(served.dir.root().to_str().unwrap()), "{why}");
        }
    }
    let run = supervisor().args(["results", &gone.to_string(), "--socket"]).arg(served.socket()).run();
    run.exits(1).says("are lost");
    let job = served.wait_for_state(half, &["done", "failed", "paused"]);
    assert_eq!(job["state"], "failed", "{job}");
    assert!(job["error"].as_str().unwrap().contains("is not the journal of a run"), "{job}");
    assert_eq!(served.records(kept).len(), 20);
}
