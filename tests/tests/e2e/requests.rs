//! Requests made from the rows of a table: what arrives at the server, whichever client sends it.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{Dir, MODES, Origin, TestCommand, by_id, fetch};

/// What arrived at `/sent`, in order.
pub(crate) fn echoed(origin: &Origin) -> Vec<Value> {
    let answer = String::from_utf8(origin.get("/sent-log")).unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

fn rows(dir: &Dir) -> TestCommand {
    fetch().current_dir(dir.root()).args(["-i", "rows.csv"])
}

#[test]
fn rows_become_requests_in_every_mode() {
    let dir = Dir::new();
    dir.write("rows.csv", "id,name,verb,n\n7,\"a \"\"b\"\" & c/d\",PUT,1.50\n8,ü,POST,null\n9,x,POST,one\n");
    dir.write("body.json", r#"{"name":"{name}","n":{n}}"#);
    for mode in MODES {
        let origin = Origin::start();
        let url = origin.url("/sent/{id}?q={name}");
        let output = rows(&dir)
            .args([
                "--url",
                &url,
                "--method",
                "{verb}",
                "--json",
                "@body.json",
                "--keep",
                "id",
                "--mode",
                mode,
            ])
            .args([
                "--header",
                "Idempotency-Key: k-{id}",
                "--select",
                "sent=$.body",
                "--select",
                "how=$.method",
            ])
            .args([
                "--select",
                "key=$.headers['idempotency-key']",
                "--select",
                "type=$.headers['content-type']",
            ])
            .run()
            .exits(3);
        let records = by_id(output.records());
        let host = origin.host();
        let record = &records[&0];
        assert_eq!(record["url"], format!("http://{host}/sent/7?q=a%20%22b%22%20%26%20c%2Fd"), "{output}");
        assert_eq!(record["keep"], json!({"id": "7"}));
        let fields = &record["fields"];
        assert_eq!(fields["sent"], r#"{"name":"a \"b\" & c/d","n":1.50}"#, "{output}");
        let others = [&fields["how"], &fields["key"], &fields["type"]];
        assert_eq!(others, [&json!("PUT"), &json!("k-7"), &json!("application/json")], "{output}");
        assert_eq!(records[&1]["fields"]["sent"], r#"{"name":"ü","n":null}"#, "{output}");
        let error = &records[&2]["error"];
        assert_eq!(error["kind"], "invalid_url", "{output}");
        assert!(error["message"].as_str().unwrap().contains("\"n\" is not a JSON value"), "{output}");
        assert_eq!(echoed(&origin).len(), 2, "{output}");
    }
}

#[test]
fn a_post_is_sent_once_and_its_answers_may_be_all_the_same() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let rows_text: String = (0..300).map(|n| format!("{n}\n")).collect();
    dir.write("rows.csv", format!("n\n{rows_text}"));
    let url = origin.url("/redirect/to?code=303&url=/delay/0");
    rows(&dir).args(["--url", &url, "--data", "n={n}", "--mode", "both"]).run().exits(0);
    let output = rows(&dir)
        .args(["--url", &origin.url("/status/500?n={n}"), "--data", "n={n}", "-o", "-"])
        .run()
        .exits(3);
    for record in output.records() {
        assert_eq!(record["attempts"], 1, "{record}");
        let message = record["error"]["message"].as_str().unwrap();
        assert!(message.contains("not retried, for the server may have acted on the POST"), "{message}");
    }
    assert_eq!(origin.requests("/status/500"), 300, "{output}");
}

#[test]
fn a_resumed_run_must_send_the_same() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let list: String = (0..200).map(|n| format!("{n}\n")).collect();
    dir.write("rows.csv", format!("n\n{list}"));
    let with = |body: &str, method: &str| {
        let flags =
            ["--method", method, "-o", "out.jsonl", "--resume", "--mode", "concurrent", "--concurrency", "4"];
        let url = origin.url("/sent/{n}?delay=0.05");
        rows(&dir).args(["--url", &url, "--data", body, "--header", "X-N: {n}"]).args(flags)
    };
    let run = with("n={n}", "POST").spawn();
    run.until("requests", || (echoed(&origin).len() > 20).then_some(()));
    run.signal(Signal::SIGINT);
    run.wait().exits(130);
    with("m={n}", "POST").run().exits(1).says("--data was hash");
    with("n={n}", "PUT").run().exits(1).says("--method was POST, and is PUT");
    with("n={n}", "POST").run().exits(0);
    assert_eq!(echoed(&origin).len(), 200);
}

#[test]
fn response_headers_are_in_every_form_of_record() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let url = origin.url("/status/404");
    let with = |output: &str| {
        let flags = ["--response-header", "Content-Type", "--response-header", "X-None", "-o", output];
        fetch().current_dir(dir.root()).arg(&url).args(flags).run().exits(3)
    };
    let record = &with("-").records()[0];
    assert_eq!(record["headers"], json!({"content-type": "text/html; charset=utf-8"}), "{record}");
    with("out.csv");
    let csv = dir.read("out.csv");
    let (header, row) = csv.split_once('\n').unwrap();
    assert!(header.contains(",charset,headers,"), "{csv}");
    assert!(row.contains("\"{\"\"content-type\"\":\"\"text/html; charset=utf-8\"\"}\""), "{csv}");
}
