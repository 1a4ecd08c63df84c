//! The same job gives the same records in all four modes, on good pages and on everything else.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::harness::{MODES, Origin, TestCommand, fetch, kind, normalised, supervisor};

/// What must come of an endpoint.
#[derive(Debug, Clone, Copy)]
enum Expect {
    /// A page with this title.
    Title(&'static str),
    /// A page without one.
    Untitled,
    /// An error of this kind.
    Error(&'static str),
}
use Expect::{Error, Title, Untitled};

/// Every way an answer can go right or wrong.
const ENDPOINTS: &[(&str, Expect)] = &[
    ("/status/204", Untitled),
    ("/empty", Untitled),
    ("/status/400", Error("http_status")),
    ("/status/404", Error("http_status")),
    ("/status/410", Error("http_status")),
    ("/status/500", Error("http_status")),
    ("/status/503?retry_after=1", Error("http_status")),
    ("/status/999", Error("http_status")),
    ("/redirect/3", Title("The end of the redirects")),
    ("/redirect/3?code=301", Title("The end of the redirects")),
    ("/redirect/3?code=303&location=relative", Title("The end of the redirects")),
    ("/redirect/3?code=307&location=absolute", Title("The end of the redirects")),
    ("/redirect/3?code=308", Title("The end of the redirects")),
    ("/redirect/10", Title("The end of the redirects")),
    ("/redirect/11", Error("too_many_redirects")),
    ("/redirect/loop", Error("too_many_redirects")),
    ("/redirect/ping", Error("too_many_redirects")),
    ("/redirect/endless/0", Error("too_many_redirects")),
    ("/redirect/to?url=/status/404", Error("http_status")),
    ("/redirect/to?url=http://127.0.0.1:1/", Error("connect")),
    ("/encoding/gzip", Title("Page 0: ")),
    ("/encoding/br", Title("Page 0: ")),
    ("/encoding/zstd", Title("Page 0: ")),
    ("/encoding/deflate", Title("Page 0: ")),
    ("/encoding/raw-deflate", Title("Page 0: ")),
    ("/encoding/identity", Title("Page 0: ")),
    ("/encoding/gzip,br", Title("Page 0: ")),
    ("/encoding/deflate,zstd,gzip", Title("Page 0: ")),
    ("/encoding/unknown", Title("Page 0: ")),
    ("/encoding/gzip,unknown", Untitled),
    ("/corrupt/gzip", Error("decode")),
    ("/corrupt/br", Error("decode")),
    ("/corrupt/zstd", Error("decode")),
    ("/corrupt/deflate", Error("decode")),
    ("/corrupt/gzip?cut=true", Error("decode")),
    ("/corrupt/br?cut=true", Error("decode")),
    ("/corrupt/zstd?cut=true", Error("decode")),
    ("/corrupt/deflate?cut=true", Error("decode")),
    ("/bomb/gzip", Error("too_large")),
    ("/bomb/br", Error("too_large")),
    ("/bomb/zstd", Error("too_large")),
    ("/bomb/deflate", Error("too_large")),
    ("/huge?bytes=17000000", Error("too_large")),
    ("/huge?bytes=17000000&length=true", Error("too_large")),
    ("/huge?bytes=1000000", Title("Huge")),
    ("/drip?bytes=30&seconds=0.3", Title("Drip")),
    ("/drip?bytes=30&seconds=0.3&length=true", Title("Drip")),
    ("/drop", Error("protocol")),
    ("/reset", Error("protocol")),
    ("/drop-in-head", Error("protocol")),
    ("/drop-after-head", Error("protocol")),
    ("/truncated", Error("protocol")),
    ("/reset-in-body", Error("protocol")),
    ("/truncated-chunked", Error("protocol")),
    ("/unfinished-chunked", Error("protocol")),
    ("/bad-chunk", Error("protocol")),
    ("/bad-length", Error("protocol")),
    ("/two-lengths", Error("protocol")),
    ("/bad-status-line", Error("protocol")),
    ("/bad-version", Error("protocol")),
    ("/not-http", Error("protocol")),
    ("/nul-in-head", Error("protocol")),
    ("/untidy-head", Title("Untidy")),
    ("/odd-status-line", Title("Odd")),
    ("/many-headers", Title("Many headers")),
    ("/large-head", Title("Large head")),
    ("/chunked-twice", Title("Twice")),
    ("/identity-chunked", Title("Chunked")),
    ("/identity", Title("Identity")),
    ("/long-chunk-lines", Title("Long lines")),
    ("/huge-head", Error("protocol")),
    ("/wrong-length", Title("Short")),
    ("/until-close", Title("Until the end")),
    ("/early-hints", Title("After")),
];

/// Every way an answer can fail to come.
const ENDLESS: &[(&str, Expect)] = &[
    ("/drip?bytes=10&seconds=6000", Error("timeout")),
    ("/delay/600", Error("timeout")),
    ("/hang", Error("timeout")),
    ("/hang-in-head", Error("timeout")),
    ("/hang-after-head", Error("timeout")),
    ("/hang-in-body", Error("timeout")),
    ("/delay/0.2", Title("Delayed by 0.2 s")),
];

/// Inputs that lead to no server of ours.
const ELSEWHERE: &[(&str, Expect)] = &[
    ("http://127.0.0.1:1/refused", Error("connect")),
    ("http://no-such-host.invalid/", Error("dns")),
    ("not a url", Error("invalid_url")),
    ("/only/a/path", Error("invalid_url")),
    ("www.example.org/no/scheme", Error("invalid_url")),
    ("http://", Error("invalid_url")),
    ("http://[::1", Error("invalid_url")),
    ("http://127.0.0.1:99999/", Error("invalid_url")),
    ("ftp://127.0.0.1/file", Error("invalid_url")),
    ("file:///etc/passwd", Error("invalid_url")),
    ("javascript:alert(1)", Error("invalid_url")),
    ("mailto:someone@example.org", Error("invalid_url")),
];

fn fetch_in(mode: &str) -> TestCommand {
    fetch().args(["--mode", mode, "--concurrency", "32", "--retries", "0"])
}

/// One run in each mode over `urls`; checks that all give the same records, and gives them.
fn same_in_all_modes(urls: &[String], extra: &[&str], exit_code: i32) -> BTreeMap<u64, Value> {
    let running = MODES.map(|mode| (mode, fetch_in(mode).args(extra).urls(urls).spawn()));
    let runs = running.map(|(mode, run)| (mode, normalised(run.wait().exits(exit_code).records())));
    let [(_, first), others @ ..] = runs;
    let mut differences = Vec::new();
    for (mode, records) in others {
        assert_eq!(records.len(), urls.len(), "{mode}");
        for (id, record) in records.iter().filter(|(id, record)| first[id] != **record) {
            differences.push(format!("{id}\n  sequential: {}\n  {mode}: {record}", first[id]));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    first
}

/// What is wrong with a record, if anything.
fn problem(record: &Value, expect: Expect) -> Option<String> {
    let title = &record["fields"]["title"];
    let right = match expect {
        Title(expected) => {
            kind(record).is_empty() && title.as_str().is_some_and(|title| title.starts_with(expected))
        }
        Untitled => kind(record).is_empty() && title.is_null(),
        Error(expected) => kind(record) == expected,
    };
    (!right).then(|| format!("{expect:?} expected, not {record}"))
}

/// Checks every record, in the order of the inputs.
fn as_expected<'a>(
    records: &BTreeMap<u64, Value>,
    expected: impl IntoIterator<Item = &'a (&'a str, Expect)>,
) {
    let problems: Vec<_> =
        records.values().zip(expected).filter_map(|(record, (_, expect))| problem(record, *expect)).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn pages_give_the_same_records() {
    let origin = Origin::shared();
    let urls: Vec<_> = (0..200).map(|n| origin.url(&format!("/site/page/{n}"))).collect();
    let select = ["--select", "title=title::text", "--select", "links[]=a::attr(href)", "--select", "h1=h1"];
    let records = same_in_all_modes(&urls, &select, 0);
    for (url, record) in urls.iter().zip(records.values()) {
        assert_eq!(record["url"], **url);
        assert_eq!(record["final_url"], **url);
        assert_eq!(record["status"], 200);
        assert_eq!(record["charset"], "utf-8");
        assert!(record["fields"]["links"].as_array().unwrap().len() > 4, "{record}");
    }
}

#[test]
fn every_answer_gives_its_record_in_every_mode() {
    let origin = Origin::shared();
    // Made when first asked for, which takes a while.
    for coding in ["gzip", "br", "zstd", "deflate"] {
        origin.get(&format!("/bomb/{coding}"));
    }
    let urls: Vec<_> = ENDPOINTS.iter().map(|(path, _)| origin.url(path)).collect();
    let records = same_in_all_modes(&urls, &["--select", "title=title::text"], 3);
    as_expected(&records, ENDPOINTS);
}

#[test]
fn what_never_ends_is_a_timeout_in_every_mode() {
    let origin = Origin::shared();
    let urls: Vec<_> = ENDLESS.iter().map(|(path, _)| origin.url(path)).collect();
    let records = same_in_all_modes(&urls, &["--select", "title=title::text", "--timeout", "1500ms"], 3);
    as_expected(&records, ENDLESS);
}

#[test]
fn what_leads_nowhere_gives_its_record_in_every_mode() {
    let urls: Vec<_> = ELSEWHERE.iter().map(|(url, _)| (*url).to_owned()).collect();
    let records = same_in_all_modes(&urls, &["--select", "title=title::text"], 3);
    as_expected(&records, ELSEWHERE);
    for ((url, _), record) in ELSEWHERE.iter().zip(records.values()) {
        assert_eq!(record["url"], *url);
        assert!(record.get("status").is_none(), "{record}");
    }
}

/// What the contract leaves open must still be the same for both clients.
#[test]
fn odd_redirects_give_the_same_records() {
    let origin = Origin::shared();
    let odd = [
        "/redirect/nowhere",
        "/redirect/to?url=ftp://127.0.0.1/",
        "/redirect/to?url=file:///etc/passwd",
        "/redirect/to?url=http://[broken",
        "/redirect/to?url=caf%C3%A9",
        "/redirect/to?url=//127.0.0.1:1/",
        "/redirect/to?url=%3Fquery",
        "/redirect/to?url=%23fragment&code=301",
        "/redirect/to?url=/empty&code=300",
        "/redirect/to?url=/empty&code=304",
        "/redirect/to?url=/empty&code=305",
    ];
    let urls = odd.map(|path| origin.url(path));
    let records = same_in_all_modes(&urls, &["--select", "title=title::text"], 3);
    for record in records.values() {
        // None of them may read a local file or leave http.
        assert!(!record.to_string().contains("root:"), "{record}");
    }
}

#[test]
fn redirects_are_followed_and_reported() {
    let origin = Origin::shared();
    let records = same_in_all_modes(&[origin.url("/redirect/2?location=relative")], &[], 0);
    assert_eq!(records[&0]["final_url"], origin.url("/redirect/0?location=relative"));
    assert_eq!(records[&0]["status"], 200);
}

#[test]
fn limits_can_be_moved() {
    let origin = Origin::shared();
    let cases = [
        ("/redirect/1", &["--redirects-max", "0"], "too_many_redirects"),
        ("/redirect/12", &["--redirects-max", "12"], ""),
        ("/huge?bytes=5000", &["--body-bytes-max", "4KiB"], "too_large"),
        ("/huge?bytes=4096", &["--body-bytes-max", "4KiB"], ""),
        ("/huge?bytes=4097&length=true", &["--body-bytes-max", "4KiB"], "too_large"),
        ("/huge?bytes=20000000", &["--body-bytes-max", "32MiB"], ""),
        ("/delay/0.5", &["--timeout", "100ms"], "timeout"),
        ("/drip?bytes=1000&seconds=50", &["--timeout", "500ms"], "timeout"),
    ];
    for mode in ["sequential", "concurrent"] {
        for (path, flags, expected) in cases {
            let flags = ["fetch", "--mode", mode, "--retries", "0", flags[0], flags[1]];
            let run = supervisor().args(flags).arg(origin.url(path)).run();
            assert_eq!(kind(&run.records()[0]), expected, "{mode} {path}: {run}");
        }
    }
}

/// A name may stand for several addresses, and only one of them answers.
#[test]
fn names_and_addresses_of_both_families_are_reached() {
    let v4 = Origin::shared().url("/empty").replace("127.0.0.1", "localhost");
    let v6 = Origin::start_with(&["--listen", "[::1]:0"]);
    let urls = [v4, v6.url("/empty"), v6.url("/empty").replace("[::1]", "localhost")];
    same_in_all_modes(&urls, &[], 0);
}

#[test]
fn requests_are_the_same_in_every_mode() {
    let origin = Origin::shared();
    let flags = [
        "--header",
        "X-Twice: one",
        "--header",
        "X-Twice: two",
        "--user-agent",
        "tester/1",
        "--select",
        "seen=pre",
    ];
    let mut seen = MODES.map(|mode| {
        let url = origin.url("/echo/a%20b?q=%C3%A9&r=1#part").replace("://", "://user:p%40ss@");
        let run = fetch_in(mode).args(flags).arg(url).run().exits(0);
        let seen = run.records()[0]["fields"]["seen"].as_str().unwrap().to_owned();
        let mut seen: Value = serde_json::from_str(&seen).unwrap();
        seen["headers"].as_array_mut().unwrap().sort_by_key(ToString::to_string);
        seen
    });
    assert_eq!(seen[0]["target"], "/echo/a%20b?q=%C3%A9&r=1");
    let headers = seen[0]["headers"].to_string();
    for header in [
        "[\"x-twice\",\"one\"]",
        "[\"x-twice\",\"two\"]",
        "[\"user-agent\",\"tester/1\"]",
        "[\"authorization\",\"Basic dXNlcjpwQHNz\"]",
    ] {
        assert!(headers.contains(header), "{header}: {headers}");
    }
    let first = seen[0].take();
    for (mode, other) in MODES.iter().zip(&seen).skip(1) {
        assert_eq!(*other, first, "{mode} against sequential");
    }
}
