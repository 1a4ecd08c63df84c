//! A service that dies of a job does not die of it for ever, and does not give up a job that only happened to run.

use nix::sys::signal::Signal;
use serde_json::json;

use super::{Served, slow};
use crate::harness::{Origin, wait_for};

/// Kills the service, as the kernel does for want of memory.
fn kill(served: &mut Served) {
    let running = served.take();
    running.signal(Signal::SIGKILL);
    drop(running);
}

#[test]
fn a_job_that_the_service_dies_of_twice_is_set_aside_and_the_others_go_on() {
    let origin = Origin::start();
    let mut served = Served::start(&[]);
    let killer = served.submit(&slow(&origin, 100.0, 2), &json!({"timeout": "200s", "mode": "both"}));
    let bystander = served.submit(&slow(&origin, 5.0, 4), &json!({"mode": "both"}));
    served.wait_for_state(killer, &["running"]);
    served.wait_for_state(bystander, &["running"]);
    kill(&mut served);
    served.start_again();
    // One after the other, so that the next death shows which one it was.
    served.wait_for_state(killer, &["running"]);
    assert_eq!(served.job(bystander)["state"], "queued");
    kill(&mut served);
    served.start_again();
    let job = served.job(killer);
    assert_eq!((&job["state"], &job["exit_code"]), (&json!("failed"), &json!(1)), "{job}");
    let why = job["error"].as_str().unwrap();
    assert!(why.contains("the service died 2 times in a row while this job ran"), "{why}");
    assert!(served.running().stderr_so_far().contains("the service died 2 times"), "it is logged");
    let job = served.wait_for_state(bystander, &["done", "failed"]);
    assert_eq!((&job["state"], &job["counts"]["ok"]), (&json!("done"), &json!(4)), "{job}");
    // It stays so.
    kill(&mut served);
    served.start_again();
    assert_eq!(served.job(killer)["state"], "failed");
}

#[test]
fn a_job_that_had_just_begun_while_others_got_on_is_not_blamed() {
    let origin = Origin::start();
    let mut served = Served::start(&[]);
    let slow_one = served.submit(&slow(&origin, 100.0, 2), &json!({"timeout": "200s", "mode": "both"}));
    served.wait_for_state(slow_one, &["running"]);
    let other = served.submit(&slow(&origin, 0.0, 1), &json!({"mode": "both"}));
    for kills in 1..4 {
        // The first time, the other job is done before. Then the slow one is alone.
        served.wait_for_state(slow_one, &["running"]);
        if kills == 1 {
            served.wait_for_state(other, &["done"]);
        }
        kill(&mut served);
        served.start_again();
        let state = served.job(slow_one)["state"].clone();
        assert_eq!(state == "failed", kills == 3, "{state} after {kills} deaths");
    }
}

#[test]
fn a_job_that_gets_on_is_not_blamed_for_the_deaths_of_the_service() {
    let origin = Origin::start();
    let mut served = Served::start(&[]);
    let id = served.submit(&slow(&origin, 0.1, 60), &json!({"mode": "both", "per-host": "1"}));
    for kills in 1..5_usize {
        wait_for("more records", super::WITHIN, || (served.records(id).len() >= 5 * kills).then_some(()));
        kill(&mut served);
        served.start_again();
    }
    let job = served.wait_for_state(id, &["done", "failed"]);
    assert_eq!((&job["state"], &job["counts"]["ok"]), (&json!("done"), &json!(60)), "{job}");
}

#[test]
fn stops_and_restarts_of_the_machine_are_nobodys_fault() {
    let origin = Origin::start();
    let mut served = Served::start(&[]);
    let id = served.submit(&slow(&origin, 100.0, 2), &json!({"timeout": "200s", "mode": "both"}));
    for _ in 0..3 {
        served.wait_for_state(id, &["running"]);
        let running = served.take();
        running.signal(Signal::SIGTERM);
        running.until("the first signal to be heard", || {
            running.stderr_so_far().contains("finishing the targets in flight").then_some(())
        });
        running.signal(Signal::SIGTERM);
        running.wait().exits(0);
        served.start_again();
    }
    for boot in ["one", "two", "three"] {
        served.wait_for_state(id, &["running"]);
        kill(&mut served);
        // As if another start of the machine had been the last.
        let state = rusqlite::Connection::open(served.dir.path("state/state.db")).unwrap();
        assert_eq!(state.execute("UPDATE started SET boot = ?", [boot]).unwrap(), 1);
        drop(state);
        served.start_again();
    }
    served.wait_for_state(id, &["running"]);
}
