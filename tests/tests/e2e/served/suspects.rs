//! A service that dies of a job does not die of it for ever, and does not give up a job that only happened to run.

use nix::sys::signal::Signal;
use serde_json::json;

use super::{Served, slow};
use crate::harness::{Origin, wait_for};

/// Jobs of which the first input takes long, and with `--ordered` holds back the records of the others.
fn held_back(served: &Served, origin: &Origin) -> u64 {
    let urls = [slow(origin, 100.0, 1), slow(origin, 0.0, 9)].concat();
    let id = served.submit(&urls, &json!({"ordered": true, "timeout": "200s", "mode": "concurrent"}));
    served.wait_for_done(id, 9);
    id
}

/// Stops the service without waiting for targets in flight. Its jobs keep what they hold back.
fn stop_at_once(served: &mut Served) {
    let running = served.take();
    running.signal(Signal::SIGTERM);
    running.until("the first signal to be heard", || {
        running.stderr_so_far().contains("finishing the targets in flight").then_some(())
    });
    running.signal(Signal::SIGTERM);
    running.wait().exits(0);
}

/// Waits until it is on disk that a job has made a record.
fn wait_until_noted(served: &Served) {
    let state = rusqlite::Connection::open(served.dir.path("state/state.db")).unwrap();
    wait_for("a note that a job has made a record", super::WITHIN, || {
        state.query_row("SELECT got_on FROM started", [], |row| row.get::<_, bool>(0)).unwrap().then_some(())
    });
}

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
    let killer = served.submit(&slow(&origin, 100.0, 2), &json!({"timeout": "200s", "mode": "concurrent"}));
    let bystander = served.submit(&slow(&origin, 5.0, 4), &json!({"mode": "concurrent"}));
    served.wait_for_state(killer, &["running"]);
    served.wait_for_state(bystander, &["running"]);
    kill(&mut served);
    served.start_again();
    // One after the other, so that the next death shows which one it was.
    served.wait_for_state(killer, &["running"]);
    assert_eq!(served.job(bystander)["state"], "queued");
    kill(&mut served);
    served.start_again();
    let job = served.wait_for_state(killer, &["failed"]);
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
    let slow_one = served.submit(&slow(&origin, 100.0, 2), &json!({"timeout": "200s", "mode": "concurrent"}));
    served.wait_for_state(slow_one, &["running"]);
    let other = served.submit(&slow(&origin, 0.0, 1), &json!({"mode": "concurrent"}));
    // The first time, the other job is done before. Then the slow one is alone.
    served.wait_for_state(other, &["done"]);
    wait_until_noted(&served);
    for state in ["running", "running", "failed"] {
        kill(&mut served);
        served.start_again();
        let job = served.wait_for_state(slow_one, &["running", "failed"]);
        assert_eq!(job["state"], state, "{job}");
    }
}

#[test]
fn a_job_that_gets_on_is_not_blamed_for_the_deaths_of_the_service() {
    let origin = Origin::start();
    let mut served = Served::start(&[]);
    let id = served.submit(&slow(&origin, 0.1, 60), &json!({"mode": "concurrent", "per-host": "1"}));
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
    let id = served.submit(&slow(&origin, 100.0, 2), &json!({"timeout": "200s", "mode": "concurrent"}));
    for _ in 0..3 {
        served.wait_for_state(id, &["running"]);
        stop_at_once(&mut served);
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

#[test]
fn what_a_job_holds_back_is_kept_when_it_is_set_aside() {
    let origin = Origin::start();
    let mut served = Served::start(&[]);
    let id = held_back(&served, &origin);
    stop_at_once(&mut served);
    // What it held back was new at the first death.
    for _ in 0..3 {
        served.start_again();
        served.wait_for_state(id, &["running"]);
        kill(&mut served);
    }
    served.start_again();
    let job = served.wait_for_state(id, &["failed"]);
    assert!(job["error"].as_str().unwrap().contains("the service died 3 times"), "{job}");
    assert!(!job["finished_at"].is_null(), "{job}");
    assert_eq!(served.records(id).len(), 9);
}

/// As if the service had been killed before what a job holds back was in its output.
#[test]
fn what_an_ended_job_holds_back_outlives_a_kill() {
    let origin = Origin::start();
    let mut served = Served::start(&[]);
    for (state, exit_code) in [("cancelled", 143), ("failed", 1)] {
        let id = held_back(&served, &origin);
        stop_at_once(&mut served);
        let database = rusqlite::Connection::open(served.dir.path("state/state.db")).unwrap();
        let set = "UPDATE jobs SET state = ?, finished_at = NULL, exit_code = ? WHERE id = ?";
        let id_stored = id.cast_signed();
        let stored = format!("\"{state}\"");
        assert_eq!(database.execute(set, (stored, exit_code, id_stored)).unwrap(), 1);
        drop(database);
        served.start_again();
        let job = served.wait_for_state(id, &[state]);
        assert_eq!(job["exit_code"], exit_code, "{job}");
        assert!(!job["finished_at"].is_null(), "{job}");
        assert_eq!(served.records(id).len(), 9, "{state}");
    }
}

#[test]
fn several_suspects_take_short_turns_and_none_is_blamed_after_its_own() {
    let origin = Origin::start();
    let mut served = Served::start(&[]);
    let silent =
        || served.submit(&slow(&origin, 100.0, 1), &json!({"timeout": "200s", "mode": "concurrent"}));
    let (first, second) = (silent(), silent());
    served.wait_for_state(first, &["running"]);
    served.wait_for_state(second, &["running"]);
    kill(&mut served);
    served.start_again();
    served.wait_for_state(first, &["running"]);
    assert_eq!(served.job(second)["state"], "queued");
    let before = shared::clock::now();
    served.wait_for_state(second, &["running"]);
    let waited = shared::clock::now().duration_since(before);
    assert!(waited.as_secs() < 40, "{waited:?}");
    kill(&mut served);
    served.start_again();
    served.wait_for_state(first, &["running"]);
}

#[test]
fn a_job_whose_start_cannot_be_stored_waits_and_starts_later() {
    let (served, origin) = (Served::start(&[]), Origin::start());
    let running: Vec<u64> =
        (0..2).map(|_| served.submit(&slow(&origin, 3.0, 1), &json!({"mode": "concurrent"}))).collect();
    running.iter().for_each(|id| drop(served.wait_for_state(*id, &["running"])));
    let id = served.submit(&slow(&origin, 0.0, 1), &json!({"mode": "concurrent"}));
    // Another program writes to the database.
    let mut other = rusqlite::Connection::open(served.dir.path("state/state.db")).unwrap();
    let lock = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    wait_for("a start that cannot be stored", super::WITHIN, || {
        let answer = served.try_request("GET", &format!("/v1/jobs/{id}"), None)?;
        let job: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
        assert_eq!(job["state"], "queued", "{job}");
        job["error"].as_str()?.contains("state.db").then_some(())
    });
    drop(lock);
    let job = served.wait_for_state(id, &["done", "paused", "failed"]);
    assert_eq!((&job["state"], &job["error"]), (&json!("done"), &serde_json::Value::Null), "{job}");
}
