//! Jobs that log in.

use serde_json::json;

use super::Served;
use crate::harness::Origin;

#[test]
fn a_job_of_a_service_logs_in() {
    let origin = Origin::start();
    let served = Served::start(&[]);
    let document = |password: &str| {
        json!({
            "command": "fetch", "select": ["title=title"],
            "urls": (0..120).map(|n| origin.url(&format!("/account/page/page-{n}"))).collect::<Vec<_>>(),
            "login": {
                "url": origin.url("/account/login"), "form": "form#login",
                "fields": {"user": "me", "password": password}, "logged-out-if": ["css:form#login"],
            },
            "profile": [{"user-agent": "one"}, {"user-agent": "two"}],
        })
    };
    let id = served.ask("POST", "/v1/jobs", Some(&document("hunter2")), 201)["id"].as_u64().unwrap();
    let job = served.wait_for_state(id, &["done", "failed"]);
    assert_eq!((&job["counts"]["ok"], &job["summary"]["login"]["logins"]), (&json!(120), &json!(3)), "{job}");
    assert!(!job.to_string().contains("hunter2"), "{job}");
    // A login that fails may succeed later.
    let id = served.ask("POST", "/v1/jobs", Some(&document("wrong")), 201)["id"].as_u64().unwrap();
    let job = served.wait_for_state(id, &["paused", "done", "failed"]);
    assert_eq!((&job["state"], &job["counts"]["failed"]), (&json!("paused"), &json!(0)), "{job}");
    // A variable of the service is none of a job.
    let refused = served.ask("POST", "/v1/jobs", Some(&document("${env:HOME}")), 422);
    assert!(refused.to_string().contains("the variable HOME is not set"), "{refused}");
}
