//! How servers are reached, and which are trusted, is the same with both clients; so are the headers that are kept.

use std::io::Write as _;
use std::sync::Arc;

use rcgen::IsCa;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use shared::address::AddressPolicy;
use shared::record::FieldValue;
use shared::transport::{Identity, Pin, TransportSpec};

use super::server::{Reply, accept, read_head, serve};
use super::tls::{certificate, no_client_certificate, server_config};
use super::*;

/// Serves over TLS, and says whether the client has shown a certificate and which protocol was agreed on.
fn secure(config: Arc<ServerConfig>) -> u16 {
    let address = accept(move |stream| {
        let session = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = StreamOwned::new(session, stream);
        while read_head(&mut stream).is_some() {
            let shown = stream.conn.peer_certificates().is_some();
            let protocol =
                String::from_utf8_lossy(stream.conn.alpn_protocol().unwrap_or_default()).into_owned();
            let body = format!("{shown} {protocol}");
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    });
    address.port()
}

fn job(transport: TransportSpec) -> Pair {
    Pair::new(&FetchSpec { transport, ..spec() })
}

#[test]
fn a_server_is_trusted_by_its_authority_or_in_any_case() {
    let (own, key) = certificate(IsCa::NoCa);
    let port = secure(server_config(&[b"http/1.1"], &own, &key, no_client_certificate()));
    let url = format!("https://localhost:{port}/");
    let ca = own.pem().into_bytes();
    assert_eq!(job(TransportSpec::default()).failure(&url).kind, ErrorKind::Tls);
    let trusting = TransportSpec { ca, ..TransportSpec::default() };
    assert_eq!(job(trusting.clone()).page(&url).body, b"false http/1.1");
    let elsewhere = format!("https://127.0.0.1:{port}/");
    assert_eq!(job(trusting).failure(&elsewhere).kind, ErrorKind::Tls);
    let insecure = TransportSpec { insecure: true, ..TransportSpec::default() };
    assert_eq!(job(insecure).page(&elsewhere).body, b"false http/1.1");
}

#[test]
fn a_certificate_is_shown_to_servers_that_ask() {
    let (client, client_key) = certificate(IsCa::NoCa);
    let mut roots = RootCertStore::empty();
    roots.add(client.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clients: Arc<dyn ClientCertVerifier> =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let (own, key) = certificate(IsCa::NoCa);
    let url = format!("https://localhost:{}/", secure(server_config(&[b"http/1.1"], &own, &key, clients)));
    let identity = |certificate: String, key: String| TransportSpec {
        insecure: true,
        identity: Some(Identity { certificate: certificate.into_bytes(), key: key.into_bytes() }),
        ..TransportSpec::default()
    };
    let known = identity(client.pem(), client_key.serialize_pem());
    assert_eq!(job(known).page(&url).body, b"true http/1.1");
    let (other, other_key) = certificate(IsCa::NoCa);
    for transport in [
        TransportSpec { insecure: true, ..TransportSpec::default() },
        identity(other.pem(), other_key.serialize_pem()),
    ] {
        for outcome in job(transport).each(&url) {
            let kind = outcome.unwrap_err().kind;
            assert!(matches!(kind, ErrorKind::Tls | ErrorKind::Protocol), "{kind}");
        }
    }
}

#[test]
fn http_1_is_offered_alone() {
    let (own, key) = certificate(IsCa::NoCa);
    let config = server_config(&[b"h2", b"http/1.1"], &own, &key, no_client_certificate());
    let url = format!("https://localhost:{}/", secure(config));
    let transport = TransportSpec { insecure: true, http1: true, ..TransportSpec::default() };
    assert_eq!(job(transport).page(&url).body, b"false http/1.1");
}

#[test]
fn a_name_may_be_given_an_address_which_the_policy_still_judges() {
    let address = serve(|request, _| {
        let host = request
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("host: ").map(str::to_owned));
        Reply::ok(host.unwrap().as_bytes())
    });
    let port = address.port();
    let pin = |text: &str| Pin::parse(text).unwrap();
    let pins = vec![pin("Shop.invalid:1:192.0.2.1"), pin(&format!("shop.invalid:{port}:127.0.0.1"))];
    let transport = TransportSpec { pins, ..TransportSpec::default() };
    let url = format!("http://SHOP.invalid:{port}/");
    assert_eq!(job(transport.clone()).page(&url).body, format!("shop.invalid:{port}").as_bytes());
    let mut guarded = Pair::new(&FetchSpec { transport, address_policy: AddressPolicy::Public, ..spec() });
    let failure = guarded.failure(&url);
    assert_eq!(failure.kind, ErrorKind::AddressDenied);
    assert!(failure.message.contains("127.0.0.1"), "{}", failure.message);
}

#[test]
fn wanted_headers_of_the_last_response_are_kept() {
    let address = serve(|request, _| match request.split(' ').nth(1).unwrap() {
        "/to" => Reply::keep("HTTP/1.1 302 Found\r\nLocation: /\r\nETag: first\r\nContent-Length: 0\r\n\r\n"),
        "/gone" => Reply::keep("HTTP/1.1 410 Gone\r\nETag: gone\r\nContent-Length: 0\r\n\r\n"),
        _ => Reply::with("X-Other: 1\r\nEtag: \"a\"\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n", b"x"),
    });
    let response_headers = ["etag", "set-cookie", "x-none"].map(str::to_owned).to_vec();
    let mut pair = Pair::new(&FetchSpec { response_headers, ..spec() });
    let text = |text: &str| FieldValue::Text(text.to_owned());
    let named = |name: &str, value| (name.to_owned(), value);
    let page = vec![
        named("etag", text("\"a\"")),
        named("set-cookie", FieldValue::List(vec![text("a=1"), text("b=2")])),
    ];
    for (path, want) in [("/", page.clone()), ("/to", page), ("/gone", vec![named("etag", text("gone"))])] {
        let _ = pair.each(&format!("http://{address}{path}"));
        for recording in &pair.recordings {
            assert_eq!(recording.headers(), Some(&FieldValue::Object(want.clone())), "{path}");
        }
    }
    let _ = pair.each("http://127.0.0.1:1/");
    assert_eq!(pair.recordings[0].headers(), None);
}
