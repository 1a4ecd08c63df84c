//! What the system tells a service: more or fewer workers, other settings, to stop, to stop at once.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::{Served, WITHIN, slow};
use crate::harness::{Dir, Origin, by_id, supervisor, wait_for};

#[test]
fn two_signals_add_and_take_away_a_worker() {
    let origin = Origin::start();
    let served = Served::start(&[]);
    let id = served.submit(&slow(&origin, 0.2, 400), &json!({"mode": "parallel"}));
    for (signal, count) in [
        (Signal::SIGTTIN, 3),
        (Signal::SIGTTIN, 4),
        (Signal::SIGTTOU, 3),
        (Signal::SIGTTOU, 2),
        (Signal::SIGTTOU, 1),
    ] {
        served.running().signal(signal);
        wait_for(&format!("{count} workers"), WITHIN, || (served.job(id)["workers"] == count).then_some(()));
        assert_eq!(served.ask("GET", "/v1/workers", None, 200)["count"], count);
    }
    served.ask("DELETE", &format!("/v1/jobs/{id}"), None, 202);
    served.wait_for_state(id, &["cancelled"]);
}

#[test]
fn a_hangup_reads_the_settings_again_and_keeps_them_if_they_are_wrong() {
    let mut served = Served::on(Dir::new(), &["--log-format", "json"]);
    let settings = served.dir.write("muster.toml", "workers = 2\n");
    let command = supervisor()
        .args(["serve", "--config"])
        .arg(&settings)
        .arg("--state-dir")
        .arg(served.dir.path("state"))
        .arg("--socket")
        .arg(served.socket())
        .args(&served.flags);
    served.start_as(command);
    let program =
        json!({"command": "map", "input": [served.dir.write("in.jsonl", "1\n")], "program": ["cat"]});
    served.ask("POST", "/v1/jobs", Some(&program), 422);
    let workers = |served: &Served| served.ask("GET", "/v1/workers", None, 200)["count"].as_u64();
    let hang_up = |served: &Served, text: &str| {
        served.dir.write("muster.toml", text);
        served.running().signal(Signal::SIGHUP);
    };
    let new = format!(
        "workers = 3\njobs-max = 1\nallow-programs = true\nallow-path = [{:?}]\nbody-max = 1000\n",
        served.dir.root()
    );
    hang_up(&served, &new);
    wait_for("the new number of workers", WITHIN, || (workers(&served) == Some(3)).then_some(()));
    wait_for("the new number of jobs", WITHIN, || {
        (served.ask("GET", "/v1/service", None, 200)["jobs_max"] == 1).then_some(())
    });
    let id = served.ask("POST", "/v1/jobs", Some(&program), 201)["id"].as_u64().unwrap();
    assert_eq!(served.wait_for_state(id, &["done", "failed"])["state"], "done");
    let says = |served: &Served, what: &[&str]| {
        wait_for(&format!("{what:?} in the log"), WITHIN, || {
            let said = served.running().stderr_so_far();
            said.lines().any(|line| what.iter().all(|what| line.contains(what))).then_some(())
        });
    };
    says(&served, &["WARN", "body-max", "next start"]);
    hang_up(&served, "wrokers = 1\n");
    says(&served, &["ERROR", "cannot reload the settings", "wrokers", "workers"]);
    assert_eq!(workers(&served), Some(3));
    // What somebody asks for at work holds over a reload that says nothing new of it.
    served.ask("POST", "/v1/workers", Some(&json!({"count": 1})), 200);
    hang_up(&served, "workers = 3\nqueue-max = 5\n");
    wait_for("programs to be forbidden again", WITHIN, || {
        (served.request("POST", "/v1/jobs", Some(&program)).status == 422).then_some(())
    });
    assert_eq!(workers(&served), Some(1));
}

#[test]
fn a_second_signal_stops_at_once_and_loses_nothing() {
    let origin = Origin::start();
    let mut served = Served::start(&[]);
    let mut urls = slow(&origin, 0.05, 20);
    urls.extend((0..4).map(|n| origin.url(&format!("/delay/12?late={n}"))));
    let id = served.submit(&urls, &json!({"mode": "both", "per-host": "unlimited"}));
    served.wait_for_done(id, 20);
    let running = served.take();
    let began = shared::clock::now();
    running.signal(Signal::SIGTERM);
    running.until("the first stop", || {
        running.stderr_so_far().contains("finishing the targets in flight").then_some(())
    });
    running.signal(Signal::SIGTERM);
    running.wait().exits(0).says("again: stopping at once");
    assert!(shared::clock::now() - began < Duration::from_secs(10), "it waited for what was in flight");
    served.start_again();
    let job = served.job(id);
    assert_eq!(job["counts"]["ok"], 20, "what was done is known: {job}");
    assert_eq!(by_id(served.records(id)).len(), 20);
    let job = served.wait_for_state(id, &["done", "failed"]);
    assert_eq!((&job["state"], &job["counts"]["ok"]), (&json!("done"), &json!(24)), "{job}");
    assert_eq!(by_id(served.records(id)).len(), 24);
    assert_eq!(origin.requests("/delay/0.05"), 20, "what was done is not done again");
}

#[test]
fn systemd_is_asked_for_time_as_long_as_something_is_in_flight() {
    let origin = Origin::start();
    let mut served = Served::on(Dir::new(), &[]);
    let at = served.dir.path("notify");
    let systemd = UnixDatagram::bind(&at).unwrap();
    systemd.set_read_timeout(Some(WITHIN)).unwrap();
    served.start_as(served.command().env("NOTIFY_SOCKET", &at));
    let id = served.submit(&slow(&origin, 8.0, 1), &json!({"mode": "both"}));
    wait_for("the request", WITHIN, || (served.job(id)["counts"]["in_flight"] == 1).then_some(()));
    let running = served.take();
    running.signal(Signal::SIGTERM);
    running.wait().exits(0);
    systemd.set_nonblocking(true).unwrap();
    let mut buffer = [0; 4096];
    let mut heard = Vec::new();
    while let Ok(bytes) = systemd.recv(&mut buffer) {
        heard.push(String::from_utf8_lossy(&buffer[..bytes]).into_owned());
    }
    let stopped = heard.iter().position(|word| word.contains("STOPPING=1")).expect("it says that it stops");
    assert!(heard[..stopped].iter().any(|word| word.contains("READY=1")), "{heard:?}");
    assert!(heard[..stopped].iter().any(|word| word.contains("STATUS=1 job running")), "{heard:?}");
    let extended =
        heard[stopped..].iter().filter(|word| word.contains("EXTEND_TIMEOUT_USEC=30000000")).count();
    assert!(extended >= 2, "{heard:?}");
    let fresh = |word: &String| word.contains("STATUS=stopping: 1 job finishing 1 input in flight");
    assert!(heard[stopped..].iter().any(fresh), "{heard:?}");
}
