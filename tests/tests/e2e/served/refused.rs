//! Jobs that are refused when they are handed in, not when they run.

use serde_json::json;

use super::Served;

#[test]
fn headers_of_the_client_are_refused_at_submission() {
    let served = Served::start(&[]);
    for (headers, says) in [
        (json!(["Expect: 100-continue"]), "wait for a permission"),
        (json!(["Upgrade: websocket"]), "only HTTP can be fetched"),
        (json!(["Proxy-Authorization: Basic x"]), "for a proxy"),
        (json!(["Host: a", "Host: b"]), "Host is given twice"),
    ] {
        let document = json!({"command": "fetch", "urls": ["http://127.0.0.1:1/"], "header": headers});
        let problem = served.ask("POST", "/v1/jobs", Some(&document), 422);
        assert!(problem["detail"].as_str().unwrap().contains(says), "{problem}");
    }
}
