//! Submissions in every format.

use super::*;

const NDJSON: &str = "Content-Type: application/x-ndjson\r\n";

/// Returns what the state loop was given: the document and the files.
fn given(answer: &Answer) -> (Value, Vec<(String, String)>) {
    assert_eq!(answer.status, 201, "{answer:?}");
    let name = answer.json()["name"].as_str().unwrap().to_owned();
    let given: Value = serde_json::from_str(&name).unwrap();
    (given["document"].clone(), serde_json::from_value(given["uploads"].clone()).unwrap())
}

fn form(parts: &[(&str, Option<&str>, &str)]) -> Vec<u8> {
    let mut body = String::new();
    for (name, file, contents) in parts {
        let file = file.map(|file| format!("; filename=\"{file}\"")).unwrap_or_default();
        body +=
            &format!("--cut\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{contents}\r\n");
    }
    (body + "--cut--\r\n").into_bytes()
}

const FORM: &str = "Content-Type: multipart/form-data; boundary=cut\r\n";

#[test]
fn a_document_alone() {
    let bench = Bench::new();
    let document = json!({"command": "fetch", "urls": ["http://a/"], "retries": 3});
    let answer = bench.submit(&document);
    assert_eq!(answer.header("location"), Some("/v1/jobs/1"));
    assert_eq!(given(&answer), (document, Vec::new()));
    let json = "Content-Type: application/json\r\n";
    bench.request("POST /v1/jobs", json, b"{").problem(400, "not valid JSON");
    bench.request("POST /v1/jobs", json, b"[]").problem(422, "a JSON object");
    bench.request("POST /v1/jobs", "", b"{}").problem(415, "multipart/form-data");
    bench.request("POST /v1/jobs", "Content-Type: text/csv\r\n", b"x").problem(415, "application/json");
    let long = json!({"command": "x".repeat(3 << 20)});
    bench.submit(&long).problem(413, "send long lists as a file");
}

#[test]
fn the_state_loops_refusals_have_their_status() {
    let bench = Bench::new();
    let refused = |command: &str| bench.submit(&json!({"command": command}));
    bench.submit(&json!({})).problem(422, "which command?");
    refused("full").problem(429, "3 jobs are waiting");
    refused("disk").problem(507, "No space left");
    let stopping = refused("stopping");
    stopping.problem(503, "stopping");
    assert!(stopping.header("retry-after").is_some());
}

#[test]
fn files_come_along() {
    let bench = Bench::new();
    let body = form(&[
        ("job", None, "{\"command\":\"csv\"}"),
        ("input", Some("../a.csv"), "x,y\n1,2\n"),
        ("input", Some("b.csv.gz"), ""),
    ]);
    let (document, files) = given(&bench.request("POST /v1/jobs", FORM, &body));
    assert_eq!(document, json!({"command": "csv"}));
    let want = [("a.csv", "x,y\n1,2\n"), ("b.csv.gz", "")];
    assert_eq!(files, want.map(|(name, text)| (name.to_owned(), text.to_owned())));
    let refused = |parts: &[(&str, Option<&str>, &str)], status, says: &str| {
        bench.request("POST /v1/jobs", FORM, &form(parts)).problem(status, says);
    };
    refused(&[("input", Some("a"), "1")], 400, "no part \"job\"");
    refused(&[("job", None, "{}"), ("job", None, "{}")], 400, "two parts");
    refused(&[("input", Some("a"), "1"), ("other", None, "")], 400, "\"other\"");
    refused(&[("input", Some("a"), "1"), ("job", None, "{}")], 422, "which command?");
    let mut torn = form(&[("job", None, "{\"command\":\"csv\"}"), ("input", Some("a"), "1")]);
    torn.truncate(torn.len() - 12);
    bench.request("POST /v1/jobs", FORM, &torn).problem(400, "broke off");
    until("refused uploads are gone", || bench.left_over() == 0);
}

#[test]
fn inputs_stream_in() {
    let bench = Bench::new();
    let lines = "{\"command\":\"fetch\"}\n\"http://a/\"\n\n\"http://b/?q=\\u00e9\"";
    let (document, files) = given(&bench.request("POST /v1/jobs", NDJSON, lines.as_bytes()));
    assert_eq!(document, json!({"command": "fetch"}));
    assert_eq!(files, [("input.txt".to_owned(), "http://a/\nhttp://b/?q=é\n".to_owned())]);
    // In chunks of arbitrary length.
    let lines = "{\"command\":\"map\"}\n{\"a\":1}\n[2]\n";
    let mut chunked = format!(
        "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{NDJSON}Transfer-Encoding: chunked\r\n\r\n"
    );
    for letter in lines.chars() {
        chunked += &format!("1\r\n{letter}\r\n");
    }
    let (_, files) = given(&bench.raw((chunked + "0\r\n\r\n").as_bytes()));
    assert_eq!(files, [("input.jsonl".to_owned(), "{\"a\":1}\n[2]\n".to_owned())]);
    let refused = |lines: &str, status, says: &str| {
        bench.request("POST /v1/jobs", NDJSON, lines.as_bytes()).problem(status, says);
    };
    refused("{\"command\":\"fetch\"}\n\"http://a/\"\nhttp://b/\n", 422, "line 3: not a JSON string");
    refused("{\"command\":\"fetch\"}\n\"a\\nb\"\n", 422, "line 2: the URL contains a line break");
    refused("{\"command\":\"fetch\"}\n\"# a\"\n", 422, "line 2: the URL is missing");
    refused("{\"command\":\"parse\"}\n\"a\"\n", 422, "multipart/form-data");
    refused("{\"command\":", 400, "not valid JSON");
    refused(&format!("{{\"command\":\"fetch\"}}\n\"{}", "x".repeat(300_000)), 413, "line 2");
    until("refused uploads are gone", || bench.left_over() == 0);
}

#[test]
fn a_key_makes_two_submissions_one_job() {
    let bench = Bench::new();
    let send = |key: &str, contents: &str| {
        let body = form(&[("job", None, "{\"command\":\"csv\"}"), ("input", Some("a.csv"), contents)]);
        bench.request("POST /v1/jobs", &format!("{FORM}Idempotency-Key: {key}\r\n"), &body)
    };
    let first = send("k1", "1");
    let again = send("k1", "1");
    assert_eq!((first.status, again.status), (201, 200));
    assert_eq!(first.json()["id"], again.json()["id"]);
    send("k1", "2").problem(422, "Idempotency-Key");
    assert_eq!(send("k2", "2").status, 201);
    send("two words", "1").problem(400, "visible ASCII");
    send(&"k".repeat(256), "1").problem(400, "1 to 255");
    until("what was not kept is gone", || bench.left_over() == 0);
    assert_eq!(bench.get("/v1/jobs").json()["jobs"].as_array().unwrap().len(), 2);
}

#[test]
fn an_oversized_body_is_refused_and_leaves_nothing() {
    let bench = Bench::with(|config| config.body_bytes_max = 100_000);
    // Announced, so refused before any of it is read.
    let head = format!(
        "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{FORM}Content-Length: 1073741824\r\n\r\n"
    );
    bench.raw(head.as_bytes()).problem(413, "larger than 100000 bytes");
    // Not announced, so refused as soon as it is too large.
    let mut chunked = format!(
        "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{NDJSON}Transfer-Encoding: chunked\r\n\r\n"
    )
    .into_bytes();
    chunked.extend_from_slice(b"12\r\n{\"command\":\"map\"}\n\r\n");
    for _ in 0..30 {
        chunked.extend_from_slice(format!("1000\r\n{}\r\n", "x".repeat(4096)).as_bytes());
    }
    bench.raw(&chunked).problem(413, "larger than 100000 bytes");
    until("the upload is gone", || bench.left_over() == 0);
}

#[test]
fn a_client_that_goes_away_leaves_nothing() {
    let bench = Bench::new();
    let mut stream = UnixStream::connect(bench.socket()).unwrap();
    let head = format!("POST /v1/jobs HTTP/1.1\r\nHost: x\r\n{NDJSON}Content-Length: 1000000\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(b"{\"command\":\"map\"}\n").unwrap();
    stream.write_all("{}\n".repeat(1000).as_bytes()).unwrap();
    until("the upload begins", || bench.left_over() == 1);
    drop(stream);
    until("the upload is gone", || bench.left_over() == 0);
    assert_eq!(bench.get("/v1/jobs").json(), json!({"jobs": []}));
}
