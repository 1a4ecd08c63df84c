//! Redirects, connection pools and refusals.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::server::{Reply, serve};
use super::*;

pub(super) fn path(request: &str) -> &str {
    request.split(' ').nth(1).unwrap_or_default()
}

#[test]
fn redirects_are_followed_to_their_end() {
    let address = serve(|request, _| match path(request) {
        "/301" => Reply::redirect(301, "/302?a=b"),
        "/302?a=b" => Reply::redirect(302, "303"),
        "/303" => Reply::redirect(303, "./307"),
        "/307" => Reply::redirect(307, "/308#own"),
        "/308" => Reply::redirect(308, "/end"),
        "/end" => Reply::ok(b"the end"),
        other => panic!("{other}"),
    });
    let mut pair = Pair::new(&spec());
    let fetched = pair.page(&format!("http://{address}/301#given"));
    assert_eq!(fetched.body, b"the end");
    assert_eq!(fetched.final_url.as_str(), format!("http://{address}/end#own"));
    assert_eq!(pair.page(&format!("http://{address}/308#given")).final_url.fragment(), Some("given"));
}

#[test]
fn bad_redirects_are_failures() {
    let address = serve(|request, _| match path(request) {
        "/loop" => Reply::redirect(302, "/loop"),
        "/ftp" => Reply::redirect(302, "ftp://example.com/"),
        "/bad" => Reply::redirect(302, "http://[/"),
        "/gone" => Reply::redirect(302, "/404"),
        "/404" => Reply::keep("HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n"),
        other => panic!("{other}"),
    });
    let mut pair = Pair::new(&spec());
    let scheme = "redirect to ftp://example.com/: only http and https can be fetched";
    let bad = "redirect to \"http://[/\": invalid IPv6 address";
    let many = format!("more than 5 redirects, the next to http://{address}/loop");
    for (from, kind, message, at, status) in [
        ("/loop", ErrorKind::TooManyRedirects, many.as_str(), "/loop", 302),
        ("/ftp", ErrorKind::InvalidUrl, scheme, "/ftp", 302),
        ("/bad", ErrorKind::InvalidUrl, bad, "/bad", 302),
        ("/gone", ErrorKind::HttpStatus, "404 Not Found", "/404", 404),
    ] {
        let failure = pair.failure(&format!("http://{address}{from}"));
        assert_failure(&failure, kind, message, false);
        assert_eq!(failure.final_url.unwrap().path(), at);
        assert_eq!(failure.status, Some(status));
    }
}

#[test]
fn secrets_do_not_follow_a_redirect_to_another_origin() {
    let echo = |request: &str| Reply::ok(request.to_lowercase().as_bytes());
    let other = serve(move |request, _| echo(request));
    let address = serve(move |request, _| match path(request) {
        "/away" => Reply::redirect(302, &format!("http://{other}/")),
        "/home" => Reply::redirect(302, "/"),
        _ => echo(request),
    });
    let mut spec = spec();
    spec.headers = [("Cookie", "a=b"), ("Authorization", "secret"), ("X-Mine", "1")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
    let mut pair = Pair::new(&spec);
    let seen = |fetched: Fetched| {
        let text = String::from_utf8(fetched.body).unwrap();
        ["cookie: a=b", "authorization: secret", "x-mine: 1"].map(|header| text.contains(header))
    };
    for (path, want) in [("/", [true; 3]), ("/home", [true; 3]), ("/away", [false; 3])] {
        // The two clients order their headers differently, so their echoes differ.
        for outcome in pair.each(&format!("http://{address}{path}")) {
            assert_eq!(seen(outcome.unwrap()), want, "{path}");
        }
    }
}

#[test]
fn credentials_apply_to_their_origin() {
    let echo = |request: &str| {
        let sent = request
            .lines()
            .find_map(|line| line.to_lowercase().strip_prefix("authorization: ").map(str::to_owned));
        Reply::ok(sent.unwrap_or_default().as_bytes())
    };
    let other = serve(move |request, _| match path(request) {
        path if path.starts_with("/to/") => Reply::redirect(302, path.strip_prefix("/to/").unwrap()),
        _ => echo(request),
    });
    let home = serve(move |request, _| match path(request) {
        path if path.starts_with("/to/") => Reply::redirect(302, path.strip_prefix("/to/").unwrap()),
        _ => echo(request),
    });
    let (given, named) = ("basic dxnlcjpwyxnz", "basic bmv3om5ldw==");
    for (steps, sent) in [
        ("in".to_owned(), given),
        (format!("to/http://{home}/in"), given),
        ("to//in".to_owned(), given),
        (format!("to///{home}/in"), given),
        (format!("to/http://{home}/to/http://{home}/in"), given),
        (format!("to/http://new:new@{home}/in"), named),
        (format!("to/http://new:new@{home}/to/http://{home}/in"), named),
        (format!("to/http://{other}/in"), ""),
        (format!("to/http://new:new@{other}/in"), ""),
        (format!("to/http://{other}/to/http://{home}/in"), given),
    ] {
        let mut pair = Pair::new(&spec());
        let fetched = pair.page(&format!("http://user:pass@{home}/{steps}"));
        assert_eq!(String::from_utf8(fetched.body).unwrap(), sent, "{steps}");
        assert_eq!(fetched.final_url.username(), "");
        for hop in pair.recordings.iter().flat_map(Recording::hops) {
            assert_eq!((hop.url.username(), hop.url.password()), ("", None));
            assert!(!String::from_utf8_lossy(&hop.request).to_lowercase().contains("authorization"));
        }
    }
    let failure = Pair::new(&spec()).failure(&format!("http://user:pass@{home}/to/ftp://a:b@c/"));
    assert_eq!(failure.message, "redirect to ftp://c/: only http and https can be fetched");
}

#[test]
fn both_clients_send_the_same_requests() {
    let address = serve(|request, _| {
        let mut lines: Vec<String> = request.to_lowercase().lines().map(ToOwned::to_owned).collect();
        lines.sort();
        Reply::ok(lines.join("\n").trim().as_bytes())
    });
    let fetched = Pair::new(&spec()).page(&format!("http://user:pa%3Ass@{address}/a%20b?c=d#e"));
    let asked = String::from_utf8(fetched.body).unwrap();
    assert_eq!(
        asked,
        format!(
            "accept-encoding: gzip, deflate, br, zstd\naccept: */*\nauthorization: basic dxnlcjpwytpzcw==\n\
             get /a%20b?c=d http/1.1\nhost: {address}\nuser-agent: muster-test"
        )
    );
    assert_eq!(fetched.final_url.as_str(), format!("http://{address}/a%20b?c=d#e"));
}

#[test]
fn connections_are_kept_across_redirects_errors_and_pages() {
    let accepted = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&accepted);
    let address = serve(move |request, before| {
        counter.fetch_add(usize::from(before == 0), Ordering::SeqCst);
        match path(request) {
            "/moved" => Reply::redirect(302, "/"),
            "/404" => Reply::keep("HTTP/1.1 404 X\r\nContent-Length: 3\r\n\r\nno!"),
            _ => Reply::ok(b"page"),
        }
    });
    let mut pair = Pair::new(&spec());
    for _ in 0..3 {
        pair.page(&format!("http://{address}/moved"));
        pair.failure(&format!("http://{address}/404"));
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 2, "one connection for each client");
}

#[test]
fn unrequested_bytes_are_not_the_next_response() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npage\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA : b\r\nContent-Length: 4\r\n\r\npage",
        "HTTP/1.1 302 Found\r\nLocation: /page\r\nContent-Length: 0\r\n\r\n",
    ] {
        let address = serve(move |request, _| match path(request) {
            "/page" => Reply::ok(b"page"),
            _ => Reply::keep(format!("{response}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")),
        });
        let mut pair = Pair::new(&spec());
        for _ in 0..3 {
            assert_eq!(pair.page(&format!("http://{address}/")).body, b"page", "{response:?}");
        }
    }
}

#[test]
fn dead_pooled_connections_are_replaced_silently() {
    for reset in [false, true] {
        let address = serve(move |_, before| match (before, reset) {
            (0, _) => Reply::ok(b"page"),
            (_, false) => Reply::close(""),
            (_, true) => Reply::reset(""),
        });
        let mut pair = Pair::new(&spec());
        for _ in 0..4 {
            assert_eq!(pair.page(&format!("http://{address}/")).body, b"page");
        }
    }
    // A request is not repeated once its response has begun.
    let address =
        serve(|_, before| if before == 0 { Reply::ok(b"page") } else { Reply::close("HTTP/1.1 2") });
    let mut pair = Pair::new(&spec());
    pair.page(&format!("http://{address}/"));
    let failure = pair.failure(&format!("http://{address}/"));
    assert_failure(&failure, ErrorKind::Protocol, "connection closed before the response", true);
}

#[test]
fn a_connection_closed_after_its_response_is_not_reused() {
    let address = serve(|_, _| Reply::close("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage"));
    let mut pair = Pair::new(&spec());
    for _ in 0..4 {
        pair.page(&format!("http://{address}/"));
    }
}

#[test]
fn unreachable_hosts_and_invalid_urls_are_failures() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut pair = Pair::new(&spec());
    let refused = format!("connection refused by {address}");
    for host in [address.to_string(), format!("localhost:{}", address.port())] {
        let failure = pair.failure(&format!("http://{host}/"));
        assert_failure(&failure, ErrorKind::Connect, &refused, true);
    }
    let failure = pair.failure("example.com/page");
    assert_failure(&failure, ErrorKind::InvalidUrl, "no scheme: write https://example.com/page", false);
    assert_eq!(failure.final_url, None);
    // Port 0 cannot be connected to. Both clients must say the same.
    assert_eq!(pair.failure("http://127.0.0.1:0/").kind, ErrorKind::Connect);
}

#[test]
fn a_name_that_does_not_exist_is_a_dns_failure() {
    let failure = Pair::new(&spec()).failure("http://no-such-name.invalid/");
    assert_eq!(failure.kind, ErrorKind::Dns);
    assert!(failure.message.starts_with("no address for no-such-name.invalid: "), "{}", failure.message);
}
