//! A service that is restarted or killed is waited for by those who wait for its jobs.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;
use serde_json::json;

use super::Served;
use crate::harness::{Origin, TestCommand, by_id, ids, supervisor};

/// Inputs of a job that takes a while.
const INPUTS: usize = 60;

fn client(served: &Served, args: &[&str]) -> TestCommand {
    supervisor().args(args).env("MUSTER_SOCKET", served.socket())
}

fn slow(origin: &Origin) -> Vec<String> {
    (0..INPUTS).map(|n| origin.url(&format!("/delay/0.1?n={n}"))).collect()
}

/// Ends the service with this signal, and starts it again once `client` has said that it waits.
fn restart(served: &mut Served, signal: Signal, client: &crate::harness::Running) {
    let running = served.take();
    running.signal(signal);
    running.wait();
    client.until("the client to wait", || {
        client.stderr_so_far().contains("waiting for the service to come back").then_some(())
    });
    served.start_again();
}

#[test]
fn submit_wait_waits_for_the_service_as_well() {
    let origin = Origin::start();
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let mut served = Served::start(&[]);
        let args = ["submit", "fetch", "--mode", "parallel", "--retries", "0", "--wait", "-i", "-"];
        let waiting = client(&served, &args).stdin(slow(&origin).join("\n")).spawn();
        waiting.wait_for_lines(1);
        served.wait_for_done(1, 3);
        restart(&mut served, signal, &waiting);
        let output = waiting.wait().exits(0);
        assert_eq!(output.text(), "1\n");
        assert_eq!(output.stderr.matches("waiting for the service").count(), 1, "{output}");
        assert_eq!(served.job(1)["state"], "done", "{signal}");
        assert_eq!(by_id(served.records(1)).len(), INPUTS);
    }
}

#[test]
fn one_who_waits_for_a_service_that_is_gone_can_be_interrupted() {
    let origin = Origin::shared();
    let mut served = Served::start(&[]);
    let waiting = client(&served, &["submit", "fetch", "--wait", &origin.url("/delay/30")]).spawn();
    waiting.wait_for_lines(1);
    let running = served.take();
    running.signal(Signal::SIGKILL);
    running.wait();
    waiting.until("the client to wait", || {
        waiting.stderr_so_far().contains("waiting for the service").then_some(())
    });
    waiting.signal(Signal::SIGINT);
    waiting.wait().exits(130).says("job 1 is still running");
}

#[test]
fn records_that_are_followed_over_restarts_are_all_there_once() {
    let origin = Origin::start();
    let mut served = Served::start(&[]);
    let missing = |n: usize| origin.url(&format!("/status/404?n={n}"));
    let urls: Vec<_> = slow(&origin).into_iter().enumerate().flat_map(|(n, url)| [url, missing(n)]).collect();
    let id = served.submit(&urls, &json!({"mode": "parallel", "retries": 0}));
    let all = client(&served, &["results", "1", "-f"]).spawn();
    let failed = client(&served, &["results", "1", "-f", "--only", "failed"]).spawn();
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let before = (all.lines_so_far(), failed.lines_so_far());
        all.wait_for_lines(before.0 + 6);
        failed.wait_for_lines(before.1 + 3);
        restart(&mut served, signal, &all);
    }
    served.wait_for_state(id, &["done"]);
    let all = all.wait().exits(0).records();
    assert_eq!(all, served.records(id), "in the order of the file, each once");
    assert_eq!(by_id(all).len(), 2 * INPUTS);
    let failed = ids(&failed.wait().exits(0).records());
    assert_eq!(failed.len(), INPUTS, "{failed:?}");
    assert_eq!(BTreeSet::from_iter(failed), (1..2 * INPUTS as u64).step_by(2).collect());
}
