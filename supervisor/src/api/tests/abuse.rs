//! Clients that are slow, too many, malicious or broken.

use std::thread;

use super::*;

/// Sends a request over TCP, with these header lines.
fn tcp(address: SocketAddr, lines: &[&str]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let head = lines.join("\r\n") + "\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    Answer::parse(&answer)
}

#[test]
fn on_tcp_only_local_host_names_are_allowed() {
    let bench = Bench::new();
    let ask = |line: &str, host: &str, more: &str| tcp(bench.tcp(), &[line, &format!("Host: {host}"), more]);
    assert_eq!(ask("GET /v1/jobs HTTP/1.1", "localhost:1", "X: y").status, 200);
    ask("GET /v1/jobs HTTP/1.1", "evil.example", "X: y").problem(421, "evil.example");
    ask("POST /v1/jobs HTTP/1.1", "127.0.0.1", "Origin: http://evil.example").problem(403, "evil.example");
    ask("POST /v1/workers HTTP/1.1", "127.0.0.1", "Sec-Fetch-Site: cross-site").problem(403, "cross-site");
}

#[test]
fn a_request_with_two_hosts_is_refused() {
    let bench = Bench::new();
    let twice = ["GET /healthz HTTP/1.1", "Host: localhost", "Host: evil.example"];
    tcp(bench.tcp(), &twice).problem(400, "two Host headers");
    bench.request("GET /v1/jobs", "Host: muster\r\n", b"").problem(400, "two Host headers");
}

#[test]
fn a_token_is_required_and_a_new_one_applies_at_once() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("token");
    fs::write(&path, "first-token-of-the-day\n").unwrap();
    let bench = Bench::with(|config| config.token_file = Some(path.clone()));
    let ask = |token: &str| {
        let token = format!("Authorization: Bearer {token}");
        tcp(bench.tcp(), &["GET /v1/jobs HTTP/1.1", "Host: any.example", &token])
    };
    assert_eq!(ask("first-token-of-the-day").status, 200);
    for bad in ["", "x", "first-token-of-the-da", "first-token-of-the-day2", &"x".repeat(5_000)] {
        let refused = ask(bad);
        refused.problem(401, "token");
        assert_eq!(refused.header("www-authenticate"), Some("Bearer realm=\"muster\""));
    }
    let handle = bench.handle.as_ref().unwrap();
    fs::write(&path, "second-token-of-the-day\n").unwrap();
    handle.reload().unwrap();
    assert_eq!(ask("second-token-of-the-day").status, 200);
    ask("first-token-of-the-day").problem(401, "the token is wrong");
    fs::write(&path, "short\n").unwrap();
    assert!(handle.reload().is_err());
    assert_eq!(ask("second-token-of-the-day").status, 200);
    // Clients of the socket need no token.
    assert_eq!(bench.get("/v1/jobs").status, 200);
}

#[test]
fn a_connection_beyond_the_limit_is_refused() {
    let bench = Bench::with(|config| config.connections_max = 8);
    let crowd: Vec<_> = (0..200).map(|_| TcpStream::connect(bench.tcp()).unwrap()).collect();
    let told: Vec<String> = crowd
        .iter()
        .skip(8)
        .map(|mut stream| {
            stream.set_read_timeout(Some(SOON)).unwrap();
            let mut text = String::new();
            let _ = stream.read_to_string(&mut text);
            text
        })
        .collect();
    assert!(told.iter().all(|text| text.starts_with("HTTP/1.1 503 ")), "{told:?}");
    // A crowd on the network does not lock out the machine's own users.
    assert_eq!(bench.get("/v1/jobs").status, 200);
    assert!(bench.get("/metrics").text().contains("muster_http_connections_refused_total 192"));
    drop(crowd);
    until("there is room again", || {
        let mut stream = TcpStream::connect(bench.tcp()).unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200 ")
    });
}

#[test]
fn a_slow_request_head_is_dropped_while_others_are_served() {
    let bench = Bench::new();
    let began = clock::now();
    let slow: Vec<_> = (0..32)
        .map(|_| {
            let mut stream = TcpStream::connect(bench.tcp()).unwrap();
            stream.write_all(b"GET /v1/jobs HTTP/1.1\r\nX-A: ").unwrap();
            stream
        })
        .collect();
    let others = thread::scope(|scope| {
        let other = scope.spawn(|| (0..100).map(|_| bench.get("/healthz").status).collect::<Vec<_>>());
        for mut stream in slow {
            stream.set_read_timeout(Some(SOON)).unwrap();
            let mut rest = Vec::new();
            // It may be closed with or without a response.
            let _ = stream.read_to_end(&mut rest);
        }
        other.join().unwrap()
    });
    let took = clock::now() - began;
    assert!(took < SOON, "still open after {took:?}");
    assert!(others.iter().all(|status| *status == 200));
}

#[test]
fn garbage_is_refused_without_harm() {
    let bench = Bench::new();
    for bytes in [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"GET\r\n\r\n", b"\0\0\0\0\r\n\r\n"] {
        let mut stream = TcpStream::connect(bench.tcp()).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{answer:?}");
    }
    let endless = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    assert_eq!(bench.raw(endless.as_bytes()).status, 431);
    assert_eq!(bench.raw(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nConnection: close\r\n\r\n").status, 405);
    assert_eq!(bench.get("/healthz").status, 200);
}

/// `new EventSource("http://h7.localhost:8080/v1/events")` on a page of another site. Each name has
/// its own six connections in a browser.
#[test]
fn a_page_of_another_site_takes_no_listeners() {
    let bench = Bench::with(|config| config.connections_max = 1_000);
    for name in 0..2 * STREAMS_MAX {
        let (line, host) =
            ("GET /v1/events HTTP/1.1", format!("Host: h{name}.localhost:{}", bench.tcp().port()));
        let origin = "Origin: https://evil.example";
        let fetch = ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"];
        let refused = tcp(
            bench.tcp(),
            &[line, &host, "Accept: text/event-stream", origin, fetch[0], fetch[1], fetch[2]],
        );
        refused.problem(403, "https://evil.example");
        assert_eq!(refused.header("connection"), Some("close"));
    }
    let mut own = TcpStream::connect(bench.tcp()).unwrap();
    own.write_all(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: same-origin\r\n\r\n")
        .unwrap();
    let mut head = [0; 12];
    own.read_exact(&mut head).unwrap();
    assert_eq!(head, *b"HTTP/1.1 200");
}

/// A client of a reverse proxy on this machine takes the places of no other client.
#[test]
fn each_client_of_a_trusted_proxy_has_its_own_share() {
    let bench = Bench::with(|config| {
        config.connections_max = 1_000;
        config.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    });
    let listen = |client: &str| {
        let mut stream = TcpStream::connect(bench.tcp()).unwrap();
        let line = format!("GET /v1/events HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {client}\r\n\r\n");
        stream.write_all(line.as_bytes()).unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        (stream, String::from_utf8(head.to_vec()).unwrap())
    };
    let mut held = Vec::new();
    let unknown = "192.0.2.1\r\nForwarded: for=unknown";
    for (client, listeners) in [
        ("192.0.2.1", STREAMS_MAX / 4),
        ("nonsense, 192.0.2.2", 3),
        ("é, 192.0.2.2", 3),
        ("nonsense", STREAMS_MAX / 4 - 1),
        (unknown, 1),
    ] {
        for _ in 0..listeners {
            let (stream, head) = listen(client);
            assert_eq!(head, "HTTP/1.1 200", "{client}");
            held.push(stream);
        }
    }
    assert_eq!(listen("192.0.2.1").1, "HTTP/1.1 503");
    assert_eq!(listen("192.0.2.9, 192.0.2.1").1, "HTTP/1.1 503", "its own word does not count");
    for client in
        ["nonsense", unknown, "192.0.2.1\r\nX-Forwarded-For: x", "192.0.2.9\r\nForwarded: for=192.0.2.8"]
    {
        assert_eq!(listen(client).1, "HTTP/1.1 503", "all that name nobody have one share: {client}");
    }
}

#[test]
fn slow_uploads_on_tcp_do_not_hold_up_the_socket() {
    let bench = Bench::new();
    let slow: Vec<_> = (0..2 * UPLOADS_MAX)
        .map(|_| {
            let mut stream = TcpStream::connect(bench.tcp()).unwrap();
            let head = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n{";
            stream.write_all(head).unwrap();
            stream
        })
        .collect();
    let began = clock::now();
    for _ in 0..UPLOADS_MAX {
        bench.job();
    }
    assert!(clock::now() - began < Duration::from_secs(5), "the users of the socket had to wait");
    drop(slow);
}
