//! Heads and chunk lines that are untidy or unusually long.

use super::server::{Reply, serve};
use super::*;

/// Returns the outcome of one response for both clients. The response ends with the connection.
#[track_caller]
fn one(raw: &str) -> Outcome {
    let answer = raw.as_bytes().to_vec();
    let address = serve(move |_, _| Reply::close(answer.clone()));
    Pair::new(&spec()).agreed(&format!("http://{address}/"))
}

#[track_caller]
fn body(raw: &str) -> String {
    let fetched = one(raw).unwrap_or_else(|failure| panic!("{raw:.200}: {failure:?}"));
    String::from_utf8(fetched.body).unwrap()
}

#[test]
fn untidy_heads_lose_no_page() {
    for line in [
        "Set-Cookie: a=b\r\n    c: d",
        "Name : v",
        "PHP Warning: x",
        "no colon",
        ": no name",
        "X: a\x01b\x1b[0mc\x7f",
        " lost",
        "X: a\rb",
        "Content-Type: text/html\nX: y",
    ] {
        for (status, length) in [("HTTP/1.1 200 OK", 5), ("HTTP/1.1  200  O\x01K", 5), ("HTTP/1.0 200 OK", 5)]
        {
            let raw = format!("{status}\r\n{line}\r\nContent-Length: {length}\r\n\r\nhello");
            assert_eq!(body(&raw), "hello", "{raw:?}");
        }
    }
    let typed =
        one("HTTP/1.1 200 OK\r\nContent-Type :\r\n text/html;\r\n\tcharset=\x01koi8-r\r\n\r\nhello").unwrap();
    assert_eq!(typed.content_type.as_deref(), Some("text/html; charset=koi8-r"));
}

#[test]
fn an_untidy_head_keeps_its_connection() {
    let address = serve(|_, before| {
        Reply::keep(format!("HTTP/1.1 200 OK\r\nName : v\r\nContent-Length: 1\r\n\r\n{before}"))
    });
    let mut pair = Pair::new(&spec());
    for request in ["0", "1", "2"] {
        assert_eq!(pair.page(&format!("http://{address}/")).body, request.as_bytes());
    }
}

#[test]
fn ambiguous_framing_ends_the_connection() {
    // An attacker who controls the body could have written this, so it must not answer the next request.
    let forged = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
    for odd in [
        format!("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n5\r\nhello\r\n0\r\n\r\n{forged}"),
        format!("Transfer-Encoding: chunked, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n{forged}"),
        format!("Content-Length: 5, 5\r\n\r\nhello{forged}"),
        format!("Transfer-Encoding: chunked\r\n\r\n5;a\nhello\r\n0\r\n\r\n{forged}"),
        "Transfer-Encoding: chunked\r\n\r\n5;a\nhello\r\n0\r\n\r\n".to_owned(),
        format!("Content-Length: 5\r\n\r\nhello{forged}"),
        "Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
    ] {
        let answer = odd.clone();
        let address = serve(move |_, before| {
            assert_eq!(before, 0, "the connection is used once");
            Reply::keep(format!("HTTP/1.1 200 OK\r\n{answer}"))
        });
        let mut pair = Pair::new(&spec());
        for _ in 0..3 {
            assert_eq!(pair.page(&format!("http://{address}/")).body, b"hello", "{odd:?}");
        }
    }
}

#[test]
fn long_heads_are_read() {
    let fields = |count: usize| (0..count).map(|i| format!("x-{i}: y\r\n")).collect::<String>();
    let long = |bytes: usize| format!("x: {}\r\n", "y".repeat(bytes));
    let hints = |bytes: usize| format!("HTTP/1.1 103 Early Hints\r\nLink: {}\r\n\r\n", "y".repeat(bytes));
    for (before, lines) in [
        (String::new(), fields(101)),
        (String::new(), fields(200)),
        (String::new(), fields(5000)),
        (String::new(), long(80_000)),
        (String::new(), long(300_000)),
        (hints(0), String::new()),
        (hints(100_000), long(100_000)),
        ("HTTP/1.1 100 Continue\r\nX: y\r\n\r\n".to_owned(), String::new()),
    ] {
        let raw = format!(
            "{before}HTTP/1.1 200 {}\r\n{lines}Content-Length: 5\r\n\r\nhello",
            "R".repeat(lines.len().min(100_000))
        );
        assert_eq!(body(&raw), "hello", "{raw:.60}");
        let location = "z".repeat(lines.len().min(60_000));
        let address = serve(move |request, _| {
            if request.starts_with("GET /z") {
                return Reply::ok(b"the end");
            }
            Reply::keep(format!(
                "HTTP/1.1 302 Found\r\n{lines}Location: /z{location}\r\nContent-Length: 0\r\n\r\n"
            ))
        });
        assert_eq!(Pair::new(&spec()).page(&format!("http://{address}/")).body, b"the end");
    }
}

#[test]
fn transfer_encodings_are_read_as_curl_reads_them() {
    let chunks = "5\r\nhello\r\n0\r\n\r\n";
    for (lines, sent) in [
        ("Transfer-Encoding: chunked, chunked", chunks),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", chunks),
        ("Transfer-Encoding: identity, chunked", chunks),
        ("Transfer-Encoding: identity\r\nTransfer-Encoding: Chunked", chunks),
        ("Transfer-Encoding: chunked\r\nContent-Length: seven", chunks),
        ("Transfer-Encoding: chunked\r\nContent-Length: 3", chunks),
        ("Transfer-Encoding : chunked", chunks),
        ("Transfer-Encoding: identity", "hello"),
        ("Transfer-Encoding: identity\r\nContent-Length: 5", "hello"),
        ("Transfer-Encoding:", "hello"),
        ("Transfer-Encoding:\r\nContent-Length: 5", "hello"),
    ] {
        assert_eq!(body(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n{sent}")), "hello", "{lines:?}");
        assert_eq!(body(&format!("HTTP/1.0 200 OK\r\n{lines}\r\n\r\n{sent}")), "hello", "{lines:?}");
    }
}

#[test]
fn chunk_lines_and_trailers_may_be_long() {
    let sized = |extra: &str| format!("5{extra}\r\nhello\r\n");
    for (chunk, end) in [
        (sized(&format!(";chunk-signature={}", "a".repeat(64))).repeat(300), "0\r\n\r\n".to_owned()),
        (sized(&format!(";{}", "x".repeat(20_000))), "0;y\r\n\r\n".to_owned()),
        (sized(&" ".repeat(100)), "0 \r\n\r\n".to_owned()),
        (format!("{}5\r\nhello\r\n", "0".repeat(100)), "00000000\r\n\r\n".to_owned()),
        (sized(""), format!("0\r\n{}\r\n", "X: y\r\n".repeat(5000))),
        (sized(""), format!("0\r\nX: {}\r\n\r\n", "y".repeat(100_000))),
        (sized(""), "0\r\nno colon\r\n\x01 : y\r\n\r\n".to_owned()),
        ("5\nhello\n".to_owned(), "0\n\n".to_owned()),
    ] {
        let got = body(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{end}"));
        assert_eq!(got, "hello".repeat(got.len() / 5), "{chunk:.60}{end:.20}");
        assert!(!got.is_empty());
    }
}

#[test]
fn requests_may_be_long() {
    let address = serve(|request, _| Reply::ok(request.len().to_string().as_bytes()));
    for (path, cookie) in [(20_000, 10), (60_000, 10), (10, 20_000), (10, 200_000), (60_000, 200_000)] {
        let headers = vec![("Cookie".to_owned(), "c".repeat(cookie)), ("X".to_owned(), "x".repeat(cookie))];
        let mut pair = Pair::new(&FetchSpec { headers, ..spec() });
        let got = pair.page(&format!("http://{address}/{}", "p".repeat(path)));
        let seen: usize = String::from_utf8(got.body).unwrap().parse().unwrap();
        assert!(seen > path + 2 * cookie, "{seen}");
    }
    let failure = Pair::new(&spec()).failure(&format!("http://{address}/{}", "p".repeat(70_000)));
    assert_failure(&failure, ErrorKind::InvalidUrl, "cannot request this URL: uri too long", false);
}
