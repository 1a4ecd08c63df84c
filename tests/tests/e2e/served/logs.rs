//! What the service's log says, and about what.

use serde_json::{Value, json};

use super::Served;
use crate::harness::{Origin, parse_lines};

fn entries(served: &Served) -> Vec<Value> {
    parse_lines(served.running().stderr_so_far().as_bytes())
}

#[test]
fn a_death_names_the_job_the_worker_and_the_input() {
    let origin = Origin::shared();
    let served = Served::start(&["--log-format", "json"]);
    let mut urls: Vec<String> = (0..20).map(|n| origin.url(&format!("/site/page/{n}"))).collect();
    urls[7] = origin.url("/site/page/7?poison=segfault");
    let id = served.submit(&urls, &json!({"mode": "both", "retries": 0}));
    let job = served.wait_for_state(id, &["done", "failed"]);
    assert_eq!(job["counts"]["quarantined"], 1, "{job}");
    let entries = entries(&served);
    let deaths: Vec<_> = entries
        .iter()
        .filter(|entry| entry["message"].as_str().is_some_and(|text| text.contains("died with SIGSEGV")))
        .collect();
    assert_eq!(deaths.len(), 3, "{entries:#?}");
    for death in deaths {
        assert_eq!(
            (&death["level"], &death["job"], &death["target"]),
            (&json!("WARN"), &json!(id), &json!(7))
        );
        let slot = death["worker"].as_u64().unwrap();
        assert!(death["message"].as_str().unwrap().starts_with(&format!("worker {slot}")), "{death}");
    }
    let set_aside = entries.iter().find(|entry| {
        entry["message"].as_str().is_some_and(|text| text.starts_with("input 7 is set aside (worker_crash)"))
    });
    let set_aside = set_aside.unwrap_or_else(|| panic!("{entries:#?}"));
    assert_eq!((&set_aside["job"], &set_aside["target"]), (&json!(id), &json!(7)), "{set_aside}");
    assert!(set_aside["worker"].is_u64(), "{set_aside}");
}

#[test]
fn a_jobs_way_can_be_followed() {
    let origin = Origin::shared();
    let served = Served::start(&["--log-format", "json"]);
    let id = served.submit(&super::slow(origin, 0.1, 100), &json!({"mode": "parallel"}));
    served.wait_for_done(id, 2);
    for (verb, state) in [("pause", "paused"), ("resume", "running")] {
        served.ask("POST", &format!("/v1/jobs/{id}/{verb}"), None, 200);
        served.wait_for_state(id, &[state]);
    }
    served.ask("DELETE", &format!("/v1/jobs/{id}"), None, 202);
    served.wait_for_state(id, &["cancelled"]);
    served.ask("DELETE", &format!("/v1/jobs/{id}"), None, 204);
    let entries = entries(&served);
    let said: Vec<&str> = entries
        .iter()
        .filter(|entry| entry["job"] == json!(id))
        .filter_map(|entry| entry["message"].as_str())
        .collect();
    let mut rest = said.iter();
    for event in [
        "accepted",
        "started",
        "finishing the targets in flight",
        "paused",
        "resumed",
        "started",
        "cancelled",
    ] {
        assert!(rest.any(|message| *message == event), "{event} is missing in this order: {said:?}");
    }
}
