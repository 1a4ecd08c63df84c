//! Several jobs on one set of workers.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{Served, WITHIN};
use crate::harness::{Origin, wait_for};

fn slow(origin: &Origin, count: usize, job: usize) -> Vec<String> {
    (0..count).map(|n| origin.url(&format!("/delay/0.2?job={job}&n={n}"))).collect()
}

fn workers_of(served: &Served, id: u64) -> u64 {
    served.job(id)["workers"].as_u64().unwrap()
}

#[test]
fn an_idle_service_keeps_its_workers_warm() {
    let served = Served::start(&[]);
    let workers = wait_for("two idle workers", WITHIN, || {
        let workers = served.ask("GET", "/v1/workers", None, 200);
        let all = workers["workers"].as_array()?;
        let idle = all.iter().filter(|worker| worker["state"] == "idle").count();
        (idle == 2 && workers["count"] == 2).then_some(workers)
    });
    let listed: std::collections::BTreeSet<i64> =
        workers["workers"].as_array().unwrap().iter().map(|worker| worker["pid"].as_i64().unwrap()).collect();
    let real = served.running().workers().iter().map(|process| i64::from(process.id)).collect();
    assert_eq!(listed, real);
}

#[test]
fn a_job_that_comes_second_gets_its_share_and_gives_it_back() {
    let origin = Origin::start();
    let served = Served::start(&[]);
    let first = served.submit(&slow(&origin, 400, 1), &json!({"mode": "parallel"}));
    wait_for("both workers", WITHIN, || (workers_of(&served, first) == 2).then_some(()));
    let second = served.submit(&slow(&origin, 12, 2), &json!({"mode": "parallel"}));
    wait_for("one worker each", WITHIN, || {
        (workers_of(&served, first) == 1 && workers_of(&served, second) == 1).then_some(())
    });
    let job = served.wait_for_state(second, &["done", "failed"]);
    assert_eq!(job["counts"]["ok"], 12, "{job}");
    wait_for("the first to have both again", WITHIN, || (workers_of(&served, first) == 2).then_some(()));
    served.ask("DELETE", &format!("/v1/jobs/{first}"), None, 202);
    served.wait_for_state(first, &["cancelled"]);
}

#[test]
fn what_does_not_fit_waits_and_the_more_urgent_goes_first() {
    let origin = Origin::start();
    let served = Served::start(&["--jobs-max", "1"]);
    let first = served.submit(&slow(&origin, 20, 1), &json!({"mode": "parallel"}));
    served.wait_for_state(first, &["running"]);
    let later = served.submit(&slow(&origin, 10, 2), &json!({"mode": "parallel"}));
    let urgent = served.submit(&slow(&origin, 10, 3), &json!({"mode": "parallel", "priority": 10}));
    assert_eq!(served.job(later)["state"], "queued");
    served.wait_for_state(urgent, &["running", "done"]);
    assert_eq!(served.job(later)["state"], "queued", "the urgent one goes first");
    served.wait_for_state(later, &["done"]);
    let started = |id| served.job(id)["started_at"].as_str().unwrap().to_owned();
    assert!(started(first) <= started(urgent) && started(urgent) <= started(later));
}

#[test]
fn the_number_of_workers_can_be_changed_at_work() {
    let origin = Origin::start();
    let served = Served::start(&[]);
    let id = served.submit(&slow(&origin, 400, 1), &json!({"mode": "parallel"}));
    for count in [4_u64, 1, 3] {
        let answer = served.ask("POST", "/v1/workers", Some(&json!({"count": count})), 200);
        assert_eq!(answer["count"], count);
        wait_for(&format!("{count} workers"), WITHIN, || (workers_of(&served, id) == count).then_some(()));
    }
    served.ask("POST", "/v1/workers", Some(&json!({"count": 0})), 422);
    served.ask("POST", "/v1/workers", Some(&Value::Null), 422);
    served.ask("DELETE", &format!("/v1/jobs/{id}"), None, 202);
    served.wait_for_state(id, &["cancelled"]);
}

#[test]
fn one_host_is_spared_over_all_jobs_together() {
    let origin = Origin::start();
    let served = Served::start(&[]);
    let more = json!({"mode": "both", "per-host": "3", "concurrency": "16"});
    let ids: Vec<u64> = (0..2).map(|job| served.submit(&slow(&origin, 12, job), &more)).collect();
    for id in ids {
        assert_eq!(served.wait_for_state(id, &["done", "failed"])["counts"]["ok"], 12);
    }
    let most = origin.stats()["hosts"][origin.host()]["in_flight_max"].as_u64().expect("the origin counts");
    assert!(most <= 3, "{most} requests at once to one host");
}

#[test]
fn a_rate_holds_over_all_jobs_together_and_the_lower_one_counts() {
    let origin = Origin::start();
    let served = Served::start(&[]);
    let submit = |job: usize, rate: &str| {
        let urls: Vec<String> =
            (0..15).map(|n| origin.url(&format!("/site/page/{}", job * 15 + n))).collect();
        served.submit(&urls, &json!({"mode": "concurrent", "rate": rate}))
    };
    let ids = [submit(0, "10/s"), submit(1, "15/s")];
    for id in ids {
        assert_eq!(served.wait_for_state(id, &["done", "failed"])["counts"]["ok"], 15);
    }
    let times = origin.times_s("/site/page/");
    assert_eq!(times.len(), 30);
    // At 10 a second for as long as the first is there, whoever's turn it is; alone, the second makes 15.
    let took = times[29] - times[0];
    assert!(took > 2.2, "30 requests in {took:.2} s: {times:?}");
}

#[test]
fn jobs_share_what_is_known_of_a_robots_txt_and_so_does_the_next_service() {
    let origin = Origin::start_with(&["--robots", "rules"]);
    let mut served = Served::start(&[]);
    let run = |served: &Served, job: u32| {
        let urls = [origin.url(&format!("/counted/{job}1")), origin.url("/counted/0")];
        let id = served.submit(&urls, &json!({"robots": "obey"}));
        let job = served.wait_for_state(id, &["done", "failed"]);
        assert_eq!(job["errors"], json!({"robots": 1}), "{job}");
    };
    run(&served, 1);
    run(&served, 2);
    let killed = served.take();
    killed.signal(Signal::SIGKILL);
    killed.wait();
    served.start_again();
    run(&served, 3);
    assert_eq!(origin.requests("/robots.txt"), 1);
}

/// The file is there for those who log in; for all others there is none, so everything is allowed.
#[test]
fn jobs_share_no_robots_txt_with_those_that_have_other_secrets() {
    let origin = Origin::start_with(&["--robots", "private"]);
    let served = Served::start(&[]);
    let urls = [origin.url("/counted/0")];
    for (login, refused, asked) in [
        (None, json!({}), 1),
        (Some("Authorization: Bearer a"), json!({"robots": 1}), 2),
        (Some("Authorization: Bearer a"), json!({"robots": 1}), 2),
        (Some("Authorization: Bearer b"), json!({"robots": 1}), 3),
        (None, json!({}), 3),
    ] {
        let headers: Vec<&str> = login.into_iter().collect();
        let id = served.submit(&urls, &json!({"robots": "obey", "header": headers}));
        let job = served.wait_for_state(id, &["done"]);
        assert_eq!(job["errors"], refused, "{login:?}: {job}");
        assert_eq!(origin.requests("/robots.txt"), asked, "{login:?}");
    }
}

#[test]
fn jobs_that_run_at_once_ask_once_for_a_robots_txt() {
    let origin = Origin::start_with(&["--robots", "slow"]);
    let served = Served::start(&[]);
    let submit = |job| served.submit(&slow(&origin, 3, job), &json!({"robots": "obey", "workers": 1}));
    let jobs: Vec<_> = (0..2).map(submit).collect();
    for job in jobs {
        let job = served.wait_for_state(job, &["done", "failed"]);
        assert_eq!(job["counts"]["failed"], 0, "{job}");
    }
    assert_eq!(origin.requests("/robots.txt"), 1);
}
