//! Job documents, as JSON for the service and as TOML for the command line: each is a plan or refused.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::*;
use crate::config::Allowed;
use crate::fuzz::fuzz;

#[test]
fn a_document_that_takes_long_to_check_is_refused() {
    let check = |key: &str, value: Value, want: &str| {
        let mut document = serde_json::json!({"command": "fetch", "urls": ["http://a/"]});
        document[key] = value;
        let document = document.as_object().unwrap();
        let error = job(document, &[], Path::new("/nowhere/records.jsonl"), &Allowed::default());
        let error = error.err().map(|no_job| no_job.why).unwrap_or_default();
        assert!(error.contains(want), "{key}: {error}");
    };
    check("select", vec!["t=title"; 257].into(), "\"select\" has 257 values; give at most 256");
    check("select", vec![format!("t={}", "a".repeat(65_536))].into(), "a value of more than 65536 bytes");
    let deep = format!("t={}a{}", ":not(".repeat(10_000), ")".repeat(10_000));
    check("select", vec![deep.clone()].into(), "nested more than 32 deep");
    check("each", deep.replace("t=", "").into(), "nested more than 32 deep");
    check("blocked-if", vec![deep.replace("t=", "css:")].into(), "nested more than 32 deep");
}

#[test]
fn fuzz_json_documents() {
    let bench = Bench::new();
    let seeds = [
        r#"{"command":"fetch","urls":["http://a/","b"],"select":["t=title","l[]=a::attr(href)"],"per-host":"auto:4","rate":"5/s"}"#,
        r#"{"command":"fetch","input":["@/urls.csv"],"column":"url","keep":"id","timeout":"5s","retries":1,"header":["A: b"]}"#,
        r#"{"command":"parse","paths":["@/page.html"],"select":["t=title::text | trim"],"each":"p","preset":["meta"]}"#,
        r#"{"command":"csv","files":["@/urls.csv"],"group-by":["id"],"agg":["n=count","m=quantile(id, 0.5)"],"where":["id > 0"]}"#,
        r#"{"command":"map","input":["@/urls.jsonl"],"program":["cat"],"batch":2,"name":"x","priority":3}"#,
    ];
    let here = bench.dir.path().to_str().unwrap().to_owned();
    let seeds = seeds.map(|text| text.replace('@', &here).into_bytes());
    let allowed = Allowed {
        paths: vec![bench.dir.path().to_owned()],
        programs: true,
        private_addresses: true,
        isolates_lists: false,
    };
    let output = bench.path("records.jsonl");
    fuzz(&seeds, |bytes| {
        if let Ok(Value::Object(document)) = serde_json::from_slice(bytes) {
            let _ = job(&document, &[], &output, &allowed);
        }
    });
    assert!(!output.exists());
}

#[test]
fn fuzz_toml_documents() {
    let bench = Bench::new();
    let seeds = [
        "urls = [\"http://a/\"]\nselect = [\"t=title\"]\nper-host = 4\ntimeout = \"5s\"\n",
        "input = [\"@/urls.csv\"]\ncolumn = \"url\"\nkeep = [\"id\"]\nordered = true\nmode = \"both\"\n",
    ];
    let here = bench.dir.path().to_str().unwrap().to_owned();
    let seeds = seeds.map(|text| text.replace('@', &here).into_bytes());
    fuzz(&seeds, |bytes| {
        fs::write(bench.path("job.toml"), bytes).unwrap();
        let _ = bench.read("fetch --job @/job.toml -o @/out.jsonl");
    });
    assert!(!Path::new(&bench.path("out.jsonl")).exists());
}
