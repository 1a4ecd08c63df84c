//! Methods and bodies arrive with both clients, and follow redirects as the Fetch standard says.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Method;
use shared::kept::{self, Value};
use shared::request::{BodySpec, RequestSpec};
use shared::template::{Form, Template};

use super::server::{self, Reply, serve};
use super::*;

fn template(text: &str, form: Form) -> Option<Template> {
    Some(Template::parse(text.as_bytes(), form))
}

fn json(text: &str) -> Option<BodySpec> {
    template(text, Form::Json).map(|text| BodySpec { text, is_json: true })
}

fn data(text: &str) -> Option<BodySpec> {
    template(text, Form::Data).map(|text| BodySpec { text, is_json: false })
}

fn job(request: RequestSpec, headers: &[(&str, &str)]) -> Pair {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Pair::new(&FetchSpec { request: Some(Box::new(request)), headers, ..spec() })
}

/// Answers with what a request says of itself and its body: `/STATUS/URL` redirects.
fn echo() -> std::net::SocketAddr {
    serve(|request, _| {
        let path = request.split(' ').nth(1).unwrap();
        if let Some((status, url)) = path.strip_prefix("/to/").and_then(|path| path.split_once('/')) {
            return Reply::redirect(status.parse().unwrap(), url);
        }
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let method = head.split(' ').next().unwrap();
        let lower = head.to_ascii_lowercase();
        let shown =
            ["content-type", "content-length", "content-language", "accept", "authorization", "x-row"];
        let mut said: Vec<&str> = lower
            .lines()
            .filter(|line| shown.iter().any(|name| line.starts_with(&format!("{name}: "))))
            .collect();
        said.sort_unstable();
        if method == "HEAD" {
            return Reply::keep(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\nX: {}\r\n\r\n",
                said.len()
            ));
        }
        Reply::ok(format!("{method} [{body}] {}", said.join(", ")).as_bytes())
    })
}

#[track_caller]
fn said(pair: &mut Pair, url: &str, kept: &[u8]) -> String {
    let outcomes = pair.each_kept(url, Wanted::Page, Kept(kept)).map(|outcome| {
        let page = outcome.unwrap_or_else(|failure| panic!("{url}: {failure:?}"));
        String::from_utf8(page.body).unwrap()
    });
    let [blocking, event_loop] = outcomes;
    assert_eq!(blocking, event_loop, "the clients disagree on {url}");
    blocking
}

#[test]
fn methods_and_bodies_arrive() {
    let url = format!("http://{}/", echo());
    let put = template("PUT", Form::Word);
    let form = "content-type: application/x-www-form-urlencoded";
    for (request, headers, want) in [
        (
            RequestSpec { body: data("a=b"), ..RequestSpec::default() },
            &[][..],
            format!("POST [a=b] accept: */*, content-length: 3, {form}"),
        ),
        (
            RequestSpec { body: json(r#"{"a":1}"#), ..RequestSpec::default() },
            &[],
            r#"POST [{"a":1}] accept: application/json, content-length: 7, content-type: application/json"#
                .to_owned(),
        ),
        (
            RequestSpec { method: put.clone(), body: data("x"), ..RequestSpec::default() },
            &[("Content-Type", "text/plain"), ("Accept", "a/b"), ("Content-Language", "de")],
            "PUT [x] accept: a/b, content-language: de, content-length: 1, content-type: text/plain"
                .to_owned(),
        ),
        (
            RequestSpec { method: put, ..RequestSpec::default() },
            &[],
            "PUT [] accept: */*, content-length: 0".to_owned(),
        ),
        (
            RequestSpec { method: template("DELETE", Form::Word), ..RequestSpec::default() },
            &[],
            "DELETE [] accept: */*".to_owned(),
        ),
        (
            RequestSpec { method: template("GET", Form::Word), body: data("q"), ..RequestSpec::default() },
            &[],
            format!("GET [q] accept: */*, content-length: 1, {form}"),
        ),
        (
            RequestSpec { method: template("PROPFIND", Form::Word), ..RequestSpec::default() },
            &[],
            "PROPFIND [] accept: */*".to_owned(),
        ),
    ] {
        let mut pair = job(request, headers);
        for _ in 0..2 {
            assert_eq!(said(&mut pair, &url, &[]), want, "{headers:?}");
        }
    }
    let large = "x".repeat(300_000);
    let mut pair = job(RequestSpec { body: data(&large), ..RequestSpec::default() }, &[]);
    assert!(said(&mut pair, &url, &[]).starts_with(&format!("POST [{large}] accept")));
}

#[test]
fn a_head_request_has_the_head_alone() {
    let address = echo();
    let mut pair = job(RequestSpec { method: template("HEAD", Form::Word), ..RequestSpec::default() }, &[]);
    for path in ["/", "/", "/to/303//", "/to/301//"] {
        let page = pair.page(&format!("http://{address}{path}"));
        assert_eq!((page.status, page.body.len()), (200, 0), "{path}");
    }
}

#[test]
fn requests_are_made_from_the_row() {
    let url = format!("http://{}/", echo());
    let mut row = Vec::new();
    kept::push_unshown(&mut row);
    for (name, value) in [
        ("verb", Value::Text("PATCH")),
        ("name", Value::Text("a\"b\r\nc")),
        ("n", Value::Json("1e400")),
        ("lines", Value::Text("x\r\nAuthorization: y")),
        ("bad", Value::Text("NOT A METHOD")),
    ] {
        assert!(kept::push(name, value, &mut row));
    }
    let request = RequestSpec {
        method: template("{verb}", Form::Word),
        body: json(r#"{"name":"{name}","n":{n}}"#),
        headers: vec![("x-row".to_owned(), template("r-{n}", Form::Word).unwrap())],
        ..RequestSpec::default()
    };
    let body = r#"{"name":"a\"b\r\nc","n":1e400}"#;
    assert_eq!(
        said(&mut job(request, &[]), &url, &row),
        format!(
            "PATCH [{body}] accept: application/json, content-length: {}, content-type: application/json, x-row: r-1e400",
            body.len()
        )
    );
    let header = |name: &str, text| RequestSpec {
        headers: vec![(name.to_owned(), template(text, Form::Word).unwrap())],
        ..RequestSpec::default()
    };
    for (request, says) in [
        (header("x-row", "{lines}"), "\"lines\" must be printable ASCII on one line"),
        (header("x-row", "{none}"), "\"none\" has no value in this row"),
        (RequestSpec { method: template("{bad}", Form::Word), ..RequestSpec::default() }, "is not a method"),
        (
            RequestSpec { method: template("HEAD", Form::Word), body: data("x"), ..RequestSpec::default() },
            "a HEAD request has no body",
        ),
    ] {
        for outcome in job(request, &[]).each_kept(&url, Wanted::Page, Kept(&row)) {
            let failure = outcome.unwrap_err();
            assert_eq!((failure.kind, failure.may_pass), (ErrorKind::InvalidUrl, false));
            assert!(failure.message.contains(says), "{}", failure.message);
        }
    }
}

#[test]
fn headers_of_the_row_join_those_of_all_rows() {
    let address = echo();
    let mut row = Vec::new();
    kept::push_unshown(&mut row);
    assert!(kept::push("v", Value::Text("r"), &mut row));
    let header = |name: &str| (name.to_owned(), template("{v}", Form::Word).unwrap());
    let request = |body| RequestSpec {
        method: template("PUT", Form::Word),
        body,
        headers: vec![header("x-row"), header("content-type"), header("accept")],
        ..RequestSpec::default()
    };
    let mut pair = job(request(data("x")), &[("X-Row", "all"), ("Content-Language", "de")]);
    assert_eq!(
        said(&mut pair, &format!("http://{address}/"), &row),
        "PUT [x] accept: r, content-language: de, content-length: 1, content-type: r, x-row: all, x-row: r"
    );
    // What describes a body goes with it.
    let moved = format!("http://{address}/to/303//");
    assert_eq!(said(&mut pair, &moved, &row), "GET [] accept: r, x-row: all, x-row: r");
    let mut pair = job(request(None), &[("Content-Language", "de")]);
    assert_eq!(said(&mut pair, &moved, &row), "GET [] accept: r, x-row: r");
}

#[test]
fn redirects_keep_or_drop_the_body_as_the_standard_says() {
    let (home, other) = (echo(), echo());
    let kept_body = "accept: application/json, content-length: 2, content-type: application/json";
    for (method, status, want) in [
        ("POST", 301, "GET [] accept: application/json".to_owned()),
        ("POST", 302, "GET [] accept: application/json".to_owned()),
        ("POST", 303, "GET [] accept: application/json".to_owned()),
        ("POST", 307, format!("POST [{{}}] {kept_body}")),
        ("POST", 308, format!("POST [{{}}] {kept_body}")),
        ("PUT", 301, format!("PUT [{{}}] {kept_body}")),
        ("PUT", 302, format!("PUT [{{}}] {kept_body}")),
        ("PUT", 303, "GET [] accept: application/json".to_owned()),
        ("PUT", 307, format!("PUT [{{}}] {kept_body}")),
    ] {
        let request =
            RequestSpec { method: template(method, Form::Word), body: json("{}"), ..RequestSpec::default() };
        let mut pair = job(request, &[("Authorization", "s"), ("Content-Type", "application/json")]);
        let there = said(&mut pair, &format!("http://{home}/to/{status}//there"), &[]);
        let with_secret = want.replacen("json", "json, authorization: s", 1);
        assert_eq!(there, with_secret, "{method} {status}");
        // To another origin, the secret stays at home.
        let elsewhere = said(&mut pair, &format!("http://{home}/to/{status}/http://{other}/"), &[]);
        assert_eq!(elsewhere, want, "{method} {status}");
        let hops: Vec<_> = pair.recordings[0].hops().iter().map(|hop| hop.request.ends_with(b"{}")).collect();
        assert_eq!(hops, [true, !want.starts_with("GET")]);
    }
}

#[test]
fn a_request_that_may_have_been_acted_on_is_not_sent_again() {
    // The second request over a connection finds it closed, after the server has read it.
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    let address = serve(move |_, before| {
        counted.fetch_add(1, Ordering::Relaxed);
        if before == 1 { Reply::close("") } else { Reply::ok(b"x") }
    });
    let url = format!("http://{address}/");
    let with = |method: &str, retries_unsafe| RequestSpec {
        method: template(method, Form::Word),
        retries_unsafe,
        ..RequestSpec::default()
    };
    for (request, headers, repeats) in [
        (with("PUT", false), &[][..], true),
        (with("POST", false), &[], false),
        (with("REPORT", false), &[], false),
        (with("POST", true), &[], true),
        (with("POST", false), &[("Idempotency-Key", "k")], true),
    ] {
        let shown = format!("{request:?}");
        let mut pair = job(request, headers);
        assert_eq!(pair.page(&url).body, b"x");
        seen.store(0, Ordering::Relaxed);
        let outcome = pair.agreed(&url);
        assert_eq!(
            (outcome.is_ok(), seen.load(Ordering::Relaxed)),
            (repeats, if repeats { 4 } else { 2 }),
            "{shown}"
        );
        for recording in &pair.recordings {
            let spent = recording.spent().is_some();
            assert_eq!(spent, !repeats, "{shown}");
        }
    }
}

#[test]
fn a_request_whose_connection_came_too_late_was_not_sent() {
    let silent = server::accept(|mut stream| drop(std::io::copy(&mut stream, &mut std::io::sink())));
    let request = RequestSpec { body: data("x"), ..RequestSpec::default() };
    let timeout = Duration::from_millis(300);
    let mut pair = Pair::new(&FetchSpec { request: Some(Box::new(request)), timeout, ..spec() });
    for (scheme, spent) in [("https", false), ("http", true)] {
        assert_eq!(pair.failure(&format!("{scheme}://{silent}/")).kind, ErrorKind::Timeout);
        for recording in &pair.recordings {
            assert_eq!(recording.spent().is_some(), spent, "{scheme}");
        }
    }
}

#[test]
fn an_answer_counts_although_the_body_was_not_read() {
    let head = "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let address = serve(move |_, _| Reply::close(head));
    let large = "x".repeat(4 << 20);
    let mut pair = job(RequestSpec { body: data(&large), ..RequestSpec::default() }, &[]);
    let failure = pair.failure(&format!("http://{address}/"));
    assert_eq!((failure.kind, failure.status), (ErrorKind::HttpStatus, Some(413)));
}

#[test]
fn refusals_for_too_many_requests_are_not_acted_on() {
    let server = |status: &'static str| {
        serve(move |_, _| Reply::keep(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")))
    };
    let closed = "127.0.0.1:1".parse().unwrap();
    for (address, spent) in [
        (server("429 Too Many"), None),
        (server("503 Away"), Some(&Method::POST)),
        (server("200 OK"), Some(&Method::POST)),
        (closed, None),
    ] {
        let mut pair = job(RequestSpec { body: data("x"), ..RequestSpec::default() }, &[]);
        let _ = pair.each(&format!("http://{address}/"));
        for recording in &pair.recordings {
            assert_eq!(recording.spent(), spent, "{address}");
        }
    }
}
