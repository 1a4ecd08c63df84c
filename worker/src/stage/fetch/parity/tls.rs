//! Certificates, HTTP/2, and servers that support neither.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::StatusCode;
use http::header::CONTENT_LENGTH;
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use shared::tls::Trust;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::connections::path;
use super::server::{Reply, accept, read_head, serve};
use super::*;
use crate::stage::fetch::Wanted;

/// A certificate for `localhost`, signed by itself or by another, and the trust that accepts it.
pub(super) fn tls_config(
    alpn: &[&[u8]],
    is_ca: IsCa,
    clients: Arc<dyn ClientCertVerifier>,
) -> (Arc<ServerConfig>, Trust) {
    let (certificate, key) = certificate(is_ca);
    let mut trust = Trust::default();
    trust.add(certificate.der().clone()).unwrap();
    (server_config(alpn, &certificate, &key, clients), trust)
}

/// A certificate for `localhost`, signed by itself.
pub(super) fn certificate(is_ca: IsCa) -> (Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = is_ca;
    (params.self_signed(&key).unwrap(), key)
}

pub(super) fn server_config(
    alpn: &[&[u8]],
    certificate: &Certificate,
    key: &KeyPair,
    clients: Arc<dyn ClientCertVerifier>,
) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

pub(super) fn no_client_certificate() -> Arc<dyn ClientCertVerifier> {
    WebPkiClientVerifier::no_client_auth()
}

/// A TLS server that speaks HTTP/1.1.
pub(super) fn tls_server(is_ca: IsCa) -> (u16, Trust) {
    let (config, trust) = tls_config(&[], is_ca, no_client_certificate());
    let address = accept(move |stream| {
        let session = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = StreamOwned::new(session, stream);
        while let Some(request) = read_head(&mut stream) {
            // The last response ends with the connection, without a close alert.
            let close = path(&request) == "/close";
            let length = if close { "" } else { "Content-Length: 4\r\n" };
            let answer = format!("HTTP/1.1 200 OK\r\n{length}\r\npage");
            if std::io::Write::write_all(&mut stream, answer.as_bytes()).is_err() || close {
                return;
            }
        }
    });
    (address.port(), trust)
}

#[test]
fn certificates_are_checked() {
    let authority = || IsCa::Ca(BasicConstraints::Unconstrained);
    let name = "certificate \"rcgen self signed cert\"";
    for (is_ca, refused) in [
        (IsCa::NoCa, "is self-signed and not trusted"),
        (authority(), "belongs to a CA, and is not trusted itself"),
    ] {
        let (port, trust) = tls_server(is_ca);
        let mut pair = Pair::new(&spec());
        let failure = pair.failure(&format!("https://localhost:{port}/"));
        assert_failure(
            &failure,
            ErrorKind::Tls,
            &format!("TLS handshake with localhost: {name} {refused}"),
            false,
        );

        let trusting = |alpn| Tls::trusting(alpn, trust.clone());
        let mut pair = Pair::with(&spec(), trusting(&["http/1.1"]), trusting(&["h2", "http/1.1"]));
        for path in ["/", "/again", "/close", "/"] {
            assert_eq!(pair.page(&format!("https://localhost:{port}{path}")).body, b"page", "{path}");
        }
        let failure = pair.failure(&format!("https://127.0.0.1:{port}/"));
        let other =
            format!("TLS handshake with 127.0.0.1: {name} is not valid for 127.0.0.1, only for localhost");
        assert_failure(&failure, ErrorKind::Tls, &other, false);
    }
}

#[test]
fn rejections_after_the_handshake_are_worded() {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    // The server asks for a client certificate, which these clients do not have.
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let (config, trust) = tls_config(&[b"h2", b"http/1.1"], IsCa::NoCa, clients);
    let address = accept(move |mut stream| {
        let mut session = ServerConnection::new(Arc::clone(&config)).unwrap();
        while session.complete_io(&mut stream).is_ok() {}
        // Unread data would turn the alert into a reset.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let failure = h2_pair(trust).failure(&format!("https://localhost:{}/", address.port()));
    let refused = "TLS: the server refused the connection: certificate required";
    assert_failure(&failure, ErrorKind::Tls, refused, true);
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
    let not_tls = "TLS handshake with 127.0.0.1: the server's answer is not TLS: invalid content type";
    assert_failure(&failure, ErrorKind::Tls, not_tls, false);
    let failure = pair.failure(&format!("https://{closes}/"));
    assert_failure(&failure, ErrorKind::Tls, "TLS handshake with 127.0.0.1: connection closed", true);
    assert_eq!(pair.page(&format!("http://{plain}/")).body, b"x");
}

/// What an HTTP/2 server does with a request.
enum Answer {
    Page,
    /// Refuses the request.
    Reset(h2::Reason),
    /// Refuses the request and closes the connection, as after many requests.
    WindDown,
    /// Closes the connection while the request is under way.
    GoAway(h2::Reason),
    /// Closes the connection within the response.
    ResetInBody(h2::Reason),
    /// Sends a head with this length, and some of the body.
    Announce(StatusCode, &'static str),
    /// Sends 103 without end.
    Hints,
}

/// An HTTP/2 server that counts its connections. `answer` gets the number of earlier requests on the connection.
/// Clients that offer only HTTP/1.1 get that.
fn h2_server(answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> (u16, Trust, Arc<AtomicUsize>) {
    let (config, trust) = tls_config(&[b"h2", b"http/1.1"], IsCa::NoCa, no_client_certificate());
    let accepted = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&accepted);
    let answer = Arc::new(answer);
    let address = accept(move |stream| {
        counter.fetch_add(1, Ordering::SeqCst);
        let (config, answer) = (Arc::clone(&config), Arc::clone(&answer));
        let mut raw = stream.try_clone().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            stream.set_nonblocking(true).unwrap();
            let stream = tokio::net::TcpStream::from_std(stream).unwrap();
            // A client that gets HTTP/2 drops its other connection attempts.
            let Ok(stream) = tokio_rustls::TlsAcceptor::from(config).accept(stream).await else {
                return;
            };
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                speak_h2(stream, &*answer).await;
            } else {
                speak_http1(stream).await;
            }
        });
        // Unread data would turn the last frames into a reset.
        let _ = raw.shutdown(std::net::Shutdown::Write);
        raw.set_nonblocking(false).unwrap();
        let _ = std::io::copy(&mut raw, &mut std::io::sink());
    });
    (address.port(), trust, accepted)
}

type Secured = tokio_rustls::server::TlsStream<tokio::net::TcpStream>;

async fn speak_h2(stream: Secured, answer: &(dyn Fn(usize) -> Answer + Send + Sync)) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    let (mut before, mut unfinished) = (0, Vec::new());
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        match answer(before) {
            Answer::Page => {
                let mut body = respond.send_response(http::Response::new(()), false).unwrap();
                body.send_data(bytes::Bytes::from_static(b"page"), true).unwrap();
            }
            Answer::Reset(reason) => respond.send_reset(reason),
            Answer::ResetInBody(reason) => {
                let mut body = respond.send_response(http::Response::new(()), false).unwrap();
                body.send_data(bytes::Bytes::from_static(b"pa"), false).unwrap();
                body.send_reset(reason);
            }
            Answer::Announce(status, length) => {
                let head = http::Response::builder().status(status).header(CONTENT_LENGTH, length);
                let mut body = respond.send_response(head.body(()).unwrap(), false).unwrap();
                body.send_data(bytes::Bytes::from_static(b"page"), false).unwrap();
                unfinished.push(body);
            }
            Answer::Hints => {
                let hints = || http::Response::builder().status(StatusCode::EARLY_HINTS).body(()).unwrap();
                // What is queued is sent while the connection waits for another request.
                let sent = async |connection: &mut h2::server::Connection<_, _>| {
                    tokio::time::timeout(Duration::from_millis(1), connection.accept()).await
                };
                while respond.send_informational(hints()).is_ok() && sent(&mut connection).await.is_err() {}
            }
            Answer::WindDown => {
                respond.send_reset(h2::Reason::REFUSED_STREAM);
                connection.abrupt_shutdown(h2::Reason::NO_ERROR);
            }
            Answer::GoAway(reason) => connection.abrupt_shutdown(reason),
        }
        before += 1;
    }
}

async fn speak_http1(mut stream: Secured) {
    let mut request = Vec::new();
    while stream.read_buf(&mut request).await.is_ok_and(|read| read > 0) {
        if request.ends_with(b"\r\n\r\n") {
            request.clear();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage").await.unwrap();
        }
    }
}

fn h2_pair(trust: Trust) -> Pair {
    let trusting = |alpn| Tls::trusting(alpn, trust.clone());
    Pair::with(&spec(), trusting(&["http/1.1"]), trusting(&["h2", "http/1.1"]))
}

#[test]
fn http2_connections_that_shut_down_are_replaced_silently() {
    let (port, trust, accepted) =
        h2_server(|before| if before < 3 { Answer::Page } else { Answer::WindDown });
    let pair = h2_pair(trust);
    let url = format!("https://localhost:{port}/");
    pair.runtime.block_on(async {
        for _ in 0..5 {
            let fetch = async || {
                pair.event_loop.fetch(&url, Wanted::Page, None, Kept(&[]), &mut Recording::new(false)).await
            };
            let (a, b, c) = tokio::join!(fetch(), fetch(), fetch());
            for outcome in [a, b, c] {
                assert_eq!(outcome.unwrap().body, b"page");
            }
        }
    });
    assert!(accepted.load(Ordering::SeqCst) >= 5, "every connection gave three answers");
}

#[test]
fn a_server_that_refuses_http2_gets_requests_over_http1() {
    let required = h2::Reason::HTTP_1_1_REQUIRED;
    for answer in [Answer::Reset, Answer::GoAway, Answer::ResetInBody] {
        let (port, trust, accepted) = h2_server(move |_| answer(required));
        let mut pair = h2_pair(trust);
        for path in ["a", "b", "c"] {
            assert_eq!(pair.page(&format!("https://localhost:{port}/{path}")).body, b"page");
        }
        // One for the blocking client, and two for the other: one over HTTP/2, one over HTTP/1.1.
        assert_eq!(accepted.load(Ordering::SeqCst), 3, "the server is not asked over HTTP/2 again");
    }
    let (port, trust, _) = h2_server(move |_| Answer::Reset(required));
    let pair = h2_pair(trust);
    let url = format!("https://localhost:{port}/");
    pair.runtime.block_on(async {
        let fetch = async || {
            pair.event_loop.fetch(&url, Wanted::Page, None, Kept(&[]), &mut Recording::new(false)).await
        };
        let (a, b, c) = tokio::join!(fetch(), fetch(), fetch());
        for outcome in [a, b, c] {
            assert_eq!(outcome.unwrap().body, b"page");
        }
    });
}

/// Returns what an HTTP/2 server's answer comes to. It may be another error than over HTTP/1.1: `h2` takes a length of
/// more than 19 digits for malformed, and does not limit the number of interim responses.
#[track_caller]
fn h2_failure(spec: &FetchSpec, answer: fn() -> Answer) -> Failure {
    let (port, trust, _) = h2_server(move |_| answer());
    let trusting = |alpn| Tls::trusting(alpn, trust.clone());
    let pair = Pair::with(spec, trusting(&["http/1.1"]), trusting(&["h2", "http/1.1"]));
    let url = format!("https://localhost:{port}/");
    let mut recording = Recording::new(false);
    *pair
        .runtime
        .block_on(pair.event_loop.fetch(&url, Wanted::Page, None, Kept(&[]), &mut recording))
        .unwrap_err()
}

#[test]
fn lengths_that_cannot_be_are_errors_over_http2_too() {
    let malformed = "stream error detected: unspecific protocol error detected";
    let over = "body over the limit of 1048576 bytes";
    const MOST: &str = "18446744073709551615";
    const LONG: &str = "99999999999999999999999";
    const FITS: &str = "9223372036854775808";
    for (answer, kind, message) in [
        ((|| Answer::Announce(StatusCode::OK, MOST)) as fn() -> Answer, ErrorKind::Protocol, malformed),
        (|| Answer::Announce(StatusCode::OK, LONG), ErrorKind::Protocol, malformed),
        (|| Answer::Announce(StatusCode::NOT_FOUND, MOST), ErrorKind::Protocol, malformed),
        (|| Answer::Announce(StatusCode::OK, FITS), ErrorKind::TooLarge, over),
        (|| Answer::Announce(StatusCode::NOT_FOUND, FITS), ErrorKind::HttpStatus, "404 Not Found"),
    ] {
        let failure = h2_failure(&spec(), answer);
        assert_failure(&failure, kind, message, kind == ErrorKind::Protocol);
    }
}

#[test]
fn endless_interim_responses_over_http2_are_cut_by_the_timeout() {
    let spec = FetchSpec { timeout: Duration::from_millis(300), ..spec() };
    let failure = h2_failure(&spec, || Answer::Hints);
    assert_failure(&failure, ErrorKind::Timeout, "no response head within 300 ms", true);
}

#[test]
fn requests_under_way_when_http2_is_refused_are_repeated() {
    let (port, trust, _) = h2_server(|_| Answer::GoAway(h2::Reason::HTTP_1_1_REQUIRED));
    let pair = h2_pair(trust);
    let url = format!("https://localhost:{port}/");
    pair.runtime.block_on(async {
        let fetch = async || {
            pair.event_loop.fetch(&url, Wanted::Page, None, Kept(&[]), &mut Recording::new(false)).await
        };
        let (a, b, c) = tokio::join!(fetch(), fetch(), fetch());
        for outcome in [a, b, c] {
            assert_eq!(outcome.unwrap().body, b"page");
        }
    });
}
