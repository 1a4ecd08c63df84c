//! Redirects, pools, refusals, TLS.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::server::{Reply, accept, read_head, serve};
use super::*;

fn path(request: &str) -> &str {
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
fn redirects_end_where_they_must() {
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
    for (path, want) in [("/", [true; 3]), ("/home", [true; 3]), ("/away", [false, false, true])] {
        // The two clients order their headers differently, so their echoes differ.
        for outcome in pair.each(&format!("http://{address}{path}")) {
            assert_eq!(seen(outcome.unwrap()), want, "{path}");
        }
    }
}

#[test]
fn credentials_hold_for_their_origin() {
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
        for hop in pair.tapes.iter().flat_map(Tape::hops) {
            assert_eq!((hop.url.username(), hop.url.password()), ("", None));
            assert!(!String::from_utf8_lossy(&hop.request).to_lowercase().contains("authorization"));
        }
    }
    let failure = Pair::new(&spec()).failure(&format!("http://user:pass@{home}/to/ftp://a:b@c/"));
    assert_eq!(failure.message, "redirect to ftp://c/: only http and https can be fetched");
}

#[test]
fn both_clients_ask_alike() {
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
fn a_pooled_connection_that_died_is_replaced_without_a_word() {
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
    // An answer that began is not asked for again.
    let address =
        serve(|_, before| if before == 0 { Reply::ok(b"page") } else { Reply::close("HTTP/1.1 2") });
    let mut pair = Pair::new(&spec());
    pair.page(&format!("http://{address}/"));
    let failure = pair.failure(&format!("http://{address}/"));
    assert_failure(&failure, ErrorKind::Protocol, "connection closed before the response", true);
}

#[test]
fn a_connection_closed_after_its_answer_is_not_missed() {
    let address = serve(|_, _| Reply::close("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage"));
    let mut pair = Pair::new(&spec());
    for _ in 0..4 {
        pair.page(&format!("http://{address}/"));
    }
}

#[test]
fn no_server_no_name_no_url() {
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
    // Port 0 cannot be connected to; what matters is that both say the same.
    assert_eq!(pair.failure("http://127.0.0.1:0/").kind, ErrorKind::Connect);
}

#[test]
fn a_name_that_does_not_exist_is_a_dns_failure() {
    let failure = Pair::new(&spec()).failure("http://no-such-name.invalid/");
    assert_eq!(failure.kind, ErrorKind::Dns);
    assert!(failure.message.starts_with("no address for no-such-name.invalid: "), "{}", failure.message);
}

/// A certificate for `localhost`, and the roots of who trusts it.
fn tls_config(alpn: &[&[u8]]) -> (Arc<ServerConfig>, RootCertStore) {
    let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(issued.cert.der().clone()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    (Arc::new(config), roots)
}

/// A TLS server that speaks HTTP/1.1.
fn tls_server() -> (u16, RootCertStore) {
    let (config, roots) = tls_config(&[]);
    let address = accept(move |stream| {
        let session = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = StreamOwned::new(session, stream);
        while let Some(request) = read_head(&mut stream) {
            // The last answer ends with the connection, without TLS's own goodbye.
            let close = path(&request) == "/close";
            let length = if close { "" } else { "Content-Length: 4\r\n" };
            let answer = format!("HTTP/1.1 200 OK\r\n{length}\r\npage");
            if std::io::Write::write_all(&mut stream, answer.as_bytes()).is_err() || close {
                return;
            }
        }
    });
    (address.port(), roots)
}

#[test]
fn certificates_are_checked() {
    let (port, roots) = tls_server();
    let mut pair = Pair::new(&spec());
    let failure = pair.failure(&format!("https://localhost:{port}/"));
    let untrusted = "TLS handshake with localhost: invalid peer certificate: UnknownIssuer";
    assert_failure(&failure, ErrorKind::Tls, untrusted, false);

    let trusting = |alpn| Tls::trusting(alpn, roots.clone());
    let mut pair = Pair::with(&spec(), trusting(&["http/1.1"]), trusting(&["h2", "http/1.1"]));
    for path in ["/", "/again", "/close", "/"] {
        assert_eq!(pair.page(&format!("https://localhost:{port}{path}")).body, b"page", "{path}");
    }
    let failure = pair.failure(&format!("https://127.0.0.1:{port}/"));
    assert_eq!(failure.kind, ErrorKind::Tls, "the certificate names another host: {failure:?}");
}

#[test]
fn a_server_that_speaks_no_tls_is_a_tls_failure() {
    let plain = serve(|_, _| Reply::ok(b"x"));
    let speaks = accept(|mut stream| {
        let _ = std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n");
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let closes = accept(drop);
    let mut pair = Pair::new(&spec());
    let failure = pair.failure(&format!("https://{speaks}/"));
    assert_eq!((failure.kind, failure.may_pass), (ErrorKind::Tls, false), "{failure:?}");
    let failure = pair.failure(&format!("https://{closes}/"));
    assert_failure(&failure, ErrorKind::Tls, "TLS handshake with 127.0.0.1: connection closed", true);
    assert_eq!(pair.page(&format!("http://{plain}/")).body, b"x");
}

/// An HTTP/2 server that ends every connection after `answers_max` answers.
fn h2_server(answers_max: usize) -> (u16, RootCertStore, Arc<AtomicUsize>) {
    let (config, roots) = tls_config(&[b"h2"]);
    let accepted = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&accepted);
    let address = accept(move |stream| {
        counter.fetch_add(1, Ordering::SeqCst);
        let config = Arc::clone(&config);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            stream.set_nonblocking(true).unwrap();
            let stream = tokio::net::TcpStream::from_std(stream).unwrap();
            // A client that is offered HTTP/2 drops what else it was connecting.
            let Ok(stream) = tokio_rustls::TlsAcceptor::from(config).accept(stream).await else {
                return;
            };
            let Ok(mut connection) = h2::server::handshake(stream).await else {
                return;
            };
            let mut answers = 0;
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                answers += 1;
                if answers > answers_max {
                    respond.send_reset(h2::Reason::REFUSED_STREAM);
                    connection.abrupt_shutdown(h2::Reason::NO_ERROR);
                    continue;
                }
                let mut body = respond.send_response(http::Response::new(()), false).unwrap();
                body.send_data(bytes::Bytes::from_static(b"page"), true).unwrap();
            }
        });
    });
    (address.port(), roots, accepted)
}

#[test]
fn an_http2_connection_that_is_wound_down_is_replaced_without_a_word() {
    let (port, roots, accepted) = h2_server(3);
    let pair = Pair::with(&spec(), Tls::system(&[]), Tls::trusting(&["h2", "http/1.1"], roots));
    let url = format!("https://localhost:{port}/");
    pair.runtime.block_on(async {
        for _ in 0..5 {
            let fetch = async || pair.event_loop.fetch(&url, &mut Tape::new(false)).await;
            let (a, b, c) = tokio::join!(fetch(), fetch(), fetch());
            for outcome in [a, b, c] {
                assert_eq!(outcome.unwrap().body, b"page");
            }
        }
    });
    assert!(accepted.load(Ordering::SeqCst) >= 5, "every connection gave three answers");
}
