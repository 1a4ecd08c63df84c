//! Proxies of every scheme, and what goes wrong at them.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rcgen::IsCa;
use rustls::{ServerConnection, StreamOwned};
use shared::address::AddressPolicy;
use shared::protocol::{ExitFault, ExitUse};
use shared::proxy::{Bypass, Proxy, ProxySpec};
use shared::request::RequestSpec;
use shared::template::{Form, Template};
use shared::transport::TransportSpec;

use super::server::{Reply, accept, read_head, serve};
use super::tls::{no_client_certificate, tls_config, tls_server};
use super::*;

/// What a proxy was asked for: request lines and hosts.
type Log = Arc<Mutex<Vec<String>>>;

fn take(log: &Log) -> Vec<String> {
    std::mem::take(&mut log.lock().unwrap())
}

/// Answers requests in absolute form itself, and opens tunnels to loopback.
fn serve_http<S: Read + Write>(stream: &mut S, log: &Log, tunnel: impl FnOnce(&mut S, u16)) {
    while let Some(head) = read_head(stream) {
        let line = head.lines().next().unwrap_or_default();
        let login = head.lines().find_map(|line| line.strip_prefix("Proxy-Authorization: "));
        let login =
            login.or_else(|| head.lines().find_map(|line| line.strip_prefix("proxy-authorization: ")));
        log.lock().unwrap().push(format!("{line} {}", login.unwrap_or("-")));
        if let Some(server) = line.strip_prefix("CONNECT ") {
            let port = server.split(' ').next().unwrap().rsplit(':').next().unwrap().parse().unwrap();
            stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
            return tunnel(stream, port);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmade").unwrap();
    }
}

/// Passes bytes on both ways between a client and a port on loopback.
fn pipe(client: &mut TcpStream, port: u16) {
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)) else { return };
    let (mut to_server, mut from_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    thread::spawn(move || {
        let _ = io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(std::net::Shutdown::Write);
    });
    let _ = io::copy(&mut server, client);
    let _ = client.shutdown(std::net::Shutdown::Both);
}

fn http_proxy() -> (SocketAddr, Log) {
    let log = Log::default();
    let address = accept({
        let log = Arc::clone(&log);
        move |mut stream| {
            log.lock().unwrap().push("connected".to_owned());
            serve_http(&mut stream, &log, pipe);
        }
    });
    (address, log)
}

fn socks_proxy() -> (SocketAddr, Log) {
    let log = Log::default();
    let address = accept({
        let log = Arc::clone(&log);
        move |mut stream| {
            let read = |count: usize, stream: &mut TcpStream| {
                let mut bytes = vec![0; count];
                stream.read_exact(&mut bytes).map(|()| bytes)
            };
            let Ok(greeting) = read(2, &mut stream) else { return };
            let methods = read(greeting[1].into(), &mut stream).unwrap();
            let mut user = String::new();
            if methods.contains(&2) {
                stream.write_all(&[5, 2]).unwrap();
                let length = read(2, &mut stream).unwrap()[1];
                user = String::from_utf8(read(length.into(), &mut stream).unwrap()).unwrap();
                let length = read(1, &mut stream).unwrap()[0];
                user.push_str(&String::from_utf8(read(length.into(), &mut stream).unwrap()).unwrap());
                stream.write_all(&[1, 0]).unwrap();
            } else {
                stream.write_all(&[5, 0]).unwrap();
            }
            let kind = read(4, &mut stream).unwrap()[3];
            let host = match kind {
                1 => read(4, &mut stream).unwrap().iter().map(u8::to_string).collect::<Vec<_>>().join("."),
                _ => {
                    let length = read(1, &mut stream).unwrap()[0];
                    String::from_utf8(read(length.into(), &mut stream).unwrap()).unwrap()
                }
            };
            let port = read(2, &mut stream).unwrap();
            let port = u16::from_be_bytes([port[0], port[1]]);
            log.lock().unwrap().push(format!("{host} {user}"));
            stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
            pipe(&mut stream, port);
        }
    });
    (address, log)
}

fn proxies(urls: &[String]) -> ProxySpec {
    let list: Vec<Proxy> = urls.iter().map(|url| url.parse().unwrap()).collect();
    ProxySpec { list, ..ProxySpec::default() }
}

fn through(proxy: u16) -> Option<Exit> {
    Some(Exit { proxy, epoch: 1, may_move: true, may_divert: true })
}

fn pair(url: &str) -> Pair {
    let spec = FetchSpec { proxies: proxies(&[url.to_owned()]), ..spec() };
    Pair { exit: through(0), ..Pair::new(&spec) }
}

fn trusting(url: &str, trust: &shared::tls::Trust) -> Pair {
    let spec = FetchSpec { proxies: proxies(&[url.to_owned()]), ..spec() };
    let tls = |alpn| Tls::trusting(alpn, trust.clone());
    Pair { exit: through(0), ..Pair::with(&spec, tls(&["http/1.1"]), tls(&["h2", "http/1.1"])) }
}

#[test]
fn an_http_proxy_gets_requests_in_absolute_form_over_one_connection() {
    let (address, log) = http_proxy();
    let mut pair = pair(&format!("http://us:p%40ss@{address}"));
    for _ in 0..2 {
        assert_eq!(pair.page("http://a.example:81/b?c").body, b"made");
    }
    let request = "GET http://a.example:81/b?c HTTP/1.1 Basic dXM6cEBzcw==";
    // The clients take turns, each over a connection of its own.
    assert_eq!(take(&log), ["connected", request, "connected", request, request, request]);
    let hop = &pair.recordings[0].hops()[0];
    let head = String::from_utf8_lossy(&hop.request);
    assert!(head.starts_with("GET /b?c HTTP/1.1\r\n") && !head.contains("Basic"), "{head}");
}

#[test]
fn https_goes_through_a_tunnel() {
    let (port, trust) = tls_server(IsCa::NoCa);
    let url = format!("https://localhost:{port}/");
    let (address, log) = http_proxy();
    let mut pair = trusting(&format!("http://u:p@{address}"), &trust);
    assert_eq!(pair.page(&url).body, b"page");
    assert_eq!(pair.page(&url).body, b"page");
    let request = format!("CONNECT localhost:{port} HTTP/1.1 Basic dTpw");
    assert_eq!(take(&log), ["connected", &request, "connected", &request], "connections are kept");
}

#[test]
fn socks_is_given_addresses_or_names() {
    let (port, trust) = tls_server(IsCa::NoCa);
    let plain = serve(|_, _| Reply::ok(b"plain")).port();
    let (address, log) = socks_proxy();
    for (proxy, seen) in [
        (format!("socks5h://{address}"), "localhost "),
        (format!("socks5://{address}"), "127.0.0.1 "),
        (format!("socks5h://us:pw@{address}"), "localhost uspw"),
    ] {
        let mut pair = trusting(&proxy, &trust);
        assert_eq!(pair.page(&format!("https://localhost:{port}/")).body, b"page");
        assert_eq!(pair.page(&format!("http://localhost:{plain}/")).body, b"plain");
        assert_eq!(take(&log), [seen; 4], "{proxy}");
    }
}

#[test]
fn a_proxy_may_be_reached_over_tls() {
    let (config, mut trust) = tls_config(&[], IsCa::NoCa, no_client_certificate());
    let log = Log::default();
    let address = accept({
        let log = Arc::clone(&log);
        move |stream| {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(session, stream);
            // Within the tunnel, the proxy is the server too.
            serve_http(&mut stream, &log, |stream, _| {
                let config = Arc::clone(&config);
                let mut inner = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
                while read_head(&mut inner).is_some() {
                    inner.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ninner").unwrap();
                }
            });
        }
    });
    let port = address.port();
    let mut pair = trusting(&format!("https://localhost:{port}"), &trust);
    assert_eq!(pair.page("http://a.example/").body, b"made");
    assert_eq!(pair.page("https://localhost:444/").body, b"inner");
    let tunnel = "CONNECT localhost:444 HTTP/1.1 -";
    let request = "GET http://a.example/ HTTP/1.1 -";
    assert_eq!(take(&log), [request, request, tunnel, tunnel]);
    trust = shared::tls::Trust::default();
    let mut pair = trusting(&format!("https://localhost:{port}"), &trust);
    let failure = pair.failure("http://a.example/");
    assert_eq!(failure.kind, ErrorKind::Proxy, "{failure:?}");
    // A job may accept any server, and no proxy with that.
    let transport = TransportSpec { insecure: true, ..TransportSpec::default() };
    let spec = FetchSpec { transport, proxies: proxies(&[format!("https://localhost:{port}")]), ..spec() };
    let mut pair = Pair { exit: through(0), ..Pair::new(&spec) };
    let failure = pair.failure("http://a.example/");
    assert_eq!(failure.kind, ErrorKind::Proxy, "{failure:?}");
}

#[test]
fn a_request_that_a_proxy_may_have_passed_on_is_not_sent_through_another() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let squid = |error: &str| {
        let head = format!("HTTP/1.1 503 Service Unavailable\r\nX-Squid-Error: {error} 0\r\n\r\n");
        answering(head.leak().as_bytes())
    };
    let wants = answering(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
    for (name, proxy, is_spent) in [
        ("closed", closed, false),
        ("credentials", wants, false),
        ("no connection", squid("ERR_CONNECT_FAIL"), false),
        ("denied", squid("ERR_ACCESS_DENIED"), true),
        ("no answer", squid("ERR_READ_ERROR"), true),
        ("garbage", answering(b"\0\0\0\0"), true),
        ("end", answering(b""), true),
    ] {
        let method = Some(Template::parse(b"POST", Form::Word));
        let request = Some(Box::new(RequestSpec { method, ..RequestSpec::default() }));
        let spec = FetchSpec { request, proxies: proxies(&[format!("http://{proxy}")]), ..spec() };
        let mut pair = Pair { exit: through(0), ..Pair::new(&spec) };
        let failure = pair.failure("http://a/");
        assert!(failure.may_pass, "{name}: {failure:?}");
        for recording in &pair.recordings {
            assert_eq!(recording.spent().is_some(), is_spent, "{name}: {failure:?}");
        }
    }
}

/// A proxy that answers everything with these bytes.
fn answering(bytes: &'static [u8]) -> SocketAddr {
    accept(move |mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(bytes);
    })
}

#[track_caller]
fn fails(proxy: String, url: &str, kind: ErrorKind, fault: ExitFault, says: &str) {
    let spec = FetchSpec {
        connect_timeout: Duration::from_millis(300),
        proxies: proxies(std::slice::from_ref(&proxy)),
        ..spec()
    };
    let mut pair = Pair { exit: through(0), ..Pair::new(&spec) };
    let failure = pair.failure(url);
    assert_eq!((failure.kind, failure.may_pass), (kind, true), "{proxy} {url}: {failure:?}");
    assert!(failure.message.contains(says), "{proxy} {url}: {failure:?}");
    assert!(!failure.message.contains("secret"), "{failure:?}");
    for recording in &pair.recordings {
        let used = ExitUse { proxy: 0, fault: Some(fault), worked: false };
        assert_eq!(recording.exit_use(), Some(used), "{proxy} {url}");
    }
}

#[test]
fn faults_of_proxies_are_told_from_those_of_servers() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = accept(|mut stream| drop(io::copy(&mut stream, &mut io::sink())));
    let wants = answering(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
    let fault = answering(b"HTTP/1.1 503 Service Unavailable\r\nX-Squid-Error: ERR_CONNECT_FAIL 111\r\n\r\n");
    let garbage = answering(b"\0\0\0\0");
    let mute = answering(b"");
    let (plain, tls) = ("http://a/", "https://a/");
    let check = |proxy, url, fault, says| fails(proxy, url, ErrorKind::Proxy, fault, says);
    let (at_proxy, login) = (ExitFault::Proxy, ExitFault::Credentials);
    check(format!("http://u:secret@{closed}"), plain, at_proxy, "connection refused by");
    check(format!("socks5h://{closed}"), tls, at_proxy, "connection refused by");
    check(format!("http://{wants}"), plain, login, "it wants credentials");
    check(format!("http://u:secret@{wants}"), tls, login, "it rejects the credentials");
    check(format!("http://{garbage}"), tls, at_proxy, "did not answer CONNECT with HTTP");
    check(format!("http://{garbage}"), plain, at_proxy, "it did not answer with HTTP");
    check(format!("socks5h://{garbage}"), plain, at_proxy, "does not speak SOCKS 5");
    check(format!("http://{mute}"), tls, at_proxy, "closed the connection during");
    check(format!("http://{silent}"), tls, ExitFault::Silent, "no answer to the handshake");
    check("http://proxy.invalid:1".to_owned(), plain, at_proxy, "no address for proxy.invalid");
    let server = |url, says| {
        fails(format!("http://{fault}"), url, ErrorKind::Connect, ExitFault::Unreachable, says);
    };
    server(tls, "CONNECT with 503 Service Unavailable");
    server(plain, "it answered with 503 ERR_CONNECT_FAIL 111");
    let says = "connection closed before";
    fails(format!("http://{mute}"), plain, ErrorKind::Protocol, ExitFault::Broken, says);
}

#[test]
fn under_the_public_policy_a_proxy_is_asked_for_checked_addresses() {
    let (address, log) = http_proxy();
    let url = format!("http://{address}");
    let spec = FetchSpec { address_policy: AddressPolicy::Public, proxies: proxies(&[url]), ..spec() };
    let mut pair = Pair { exit: through(0), ..Pair::new(&spec) };
    let failure = pair.failure("http://localhost/");
    assert_eq!(failure.kind, ErrorKind::AddressDenied, "{failure:?}");
    // The proxy of this test only reaches loopback, so the request is what counts.
    let _ = pair.each("http://1.1.1.1:9/");
    let asked: Vec<String> = take(&log).into_iter().filter(|line| line != "connected").collect();
    assert_eq!(asked, ["CONNECT 1.1.1.1:9 HTTP/1.1 -"; 2]);
}

#[test]
fn a_redirect_to_a_host_of_no_proxy_goes_directly() {
    let direct = serve(|_, _| Reply::ok(b"direct")).port();
    let proxy = serve(move |_, _| Reply::redirect(302, &format!("http://localhost:{direct}/")));
    let proxies =
        ProxySpec { bypass: Bypass::parse_list("localhost"), ..proxies(&[format!("http://{proxy}")]) };
    let mut pair = Pair { exit: through(0), ..Pair::new(&FetchSpec { proxies, ..spec() }) };
    assert_eq!(pair.page("http://a.example/").body, b"direct");
}

#[test]
fn what_the_last_request_went_through_is_reported() {
    let direct = serve(|_, _| Reply::ok(b"direct")).port();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (works, _) = http_proxy();
    let origin = serve(move |request, _| {
        let leads_away = request.starts_with("GET /away ");
        let home = format!("http://localhost:{direct}/");
        Reply::redirect(302, if leads_away { "http://a.example/" } else { &home })
    });
    // What leads away from a host of no proxy goes through a proxy that works, once one has failed.
    for order in [[closed, works], [works, closed]] {
        let list = proxies(&order.map(|address| format!("http://{address}")));
        let proxies = ProxySpec { bypass: Bypass::parse_list("localhost 127.0.0.1"), ..list };
        let mut pair = Pair::new(&FetchSpec { proxies, ..spec() });
        pair.blocking.name_peers();
        pair.event_loop.name_peers();
        let url = format!("http://{origin}/away");
        let mut outcomes = Vec::new();
        for _ in 0..2 {
            let ended = pair.each(&url);
            let used = pair.recordings.each_ref().map(Recording::exit_use);
            outcomes.push((ended.map(|outcome| outcome.is_ok()), used.map(|used| used.unwrap())));
        }
        let place = order.iter().position(|address| *address == works).unwrap();
        let (is_ok, used) = outcomes[1];
        assert_eq!(is_ok, [true; 2], "{outcomes:?}");
        assert_eq!(used.map(|used| (usize::from(used.proxy), used.worked)), [(place, true); 2]);
        for recording in &pair.recordings {
            let peers = recording.hops().iter().map(|hop| hop.response.as_ref().unwrap().peer.is_some());
            assert_eq!(peers.collect::<Vec<_>>(), [true, false], "a proxy is not the peer");
        }
        pair.exit = through(0);
        assert_eq!(pair.page(&format!("http://{origin}/")).body, b"direct");
        assert!(pair.recordings.iter().all(|recording| recording.exit_use().is_none()));
    }
}

#[test]
fn a_tunnel_counts_as_a_success_of_the_proxy() {
    let (port, _) = tls_server(IsCa::NoCa);
    let (address, _) = http_proxy();
    let mut pair = pair(&format!("http://{address}"));
    let failure = pair.failure(&format!("https://localhost:{port}/"));
    assert_eq!(failure.kind, ErrorKind::Tls, "{failure:?}");
    let used = ExitUse { proxy: 0, fault: None, worked: true };
    assert!(pair.recordings.iter().all(|recording| recording.exit_use() == Some(used)));
}

#[test]
fn a_login_that_a_server_asks_for_does_not_fail_a_proxy_that_works() {
    let page = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage";
    let wants = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
    let proxy = accept(move |mut stream| {
        let head = read_head(&mut stream).unwrap_or_default();
        let answer = if head.contains(" http://asks/") { wants } else { page };
        let _ = stream.write_all(answer.as_bytes());
    });
    let mut pair = pair(&format!("http://{proxy}"));
    assert_eq!(pair.page("http://a/").body, b"page");
    assert_eq!(pair.failure("http://asks/").kind, ErrorKind::Proxy);
    assert_eq!(pair.page("http://a/").body, b"page", "it is still used");
}

#[test]
fn a_server_that_a_proxy_waits_for_holds_up_no_other() {
    let (port, trust) = tls_server(IsCa::NoCa);
    let proxy = accept(move |mut stream| {
        let Some(head) = read_head(&mut stream) else { return };
        if head.starts_with("CONNECT dead:") {
            drop(io::copy(&mut stream, &mut io::sink()));
            return;
        }
        let _ = stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n");
        pipe(&mut stream, port);
    });
    let list = proxies(&[format!("http://{proxy}")]);
    let connect_timeout = Duration::from_millis(1500);
    let spec = FetchSpec { connect_timeout, proxies: list, ..spec() };
    let tls = |alpn| Tls::trusting(alpn, trust.clone());
    let pair = Pair::with(&spec, tls(&["http/1.1"]), tls(&["h2", "http/1.1"]));
    let fetch = async |url: &str| {
        let mut recording = Recording::new(false);
        let outcome = pair.event_loop.fetch(url, Wanted::Page, through(0), Kept(&[]), &mut recording).await;
        (outcome.is_ok(), recording.exit_use().and_then(|used| used.fault))
    };
    pair.runtime.block_on(async {
        let silent = Some(ExitFault::Silent);
        assert_eq!(fetch("https://dead/").await, (false, silent));
        // Now it is in doubt.
        let url = format!("https://localhost:{port}/");
        let ((_, fault), good) = tokio::join!(fetch("https://dead/"), fetch(&url));
        assert_eq!((fault, good), (silent, (true, None)));
    });
}
