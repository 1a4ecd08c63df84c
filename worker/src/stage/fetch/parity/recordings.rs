//! What both clients record for an archive: the same, and what the server saw and sent.

use std::sync::mpsc;

use super::server::{Reply, serve};
use super::*;
use crate::stage::decode::tests::gzip;
use crate::stage::fetch::Wanted;
use crate::stage::fetch::recording::{Hop, Truncated};

/// Headers of requests that are not archived.
const SECRETS: [&str; 3] = ["authorization: ", "x-api-key: ", "sec-session-token: "];

/// Returns what both clients recorded of one target, without the time.
fn hops(pair: &mut Pair, url: &str) -> Vec<Hop> {
    // The outcome is tested elsewhere.
    let _ = pair.each(url);
    let [blocking, event_loop] = [0, 1].map(|client: usize| {
        let mut hops = pair.recordings[client].hops().to_vec();
        for hop in &mut hops {
            hop.sent = std::time::SystemTime::UNIX_EPOCH;
        }
        hops
    });
    assert_eq!(blocking, event_loop, "{url}");
    event_loop
}

fn naming_pair(spec: &FetchSpec) -> Pair {
    let pair = Pair::new(spec);
    pair.blocking.name_peers();
    pair.event_loop.name_peers();
    pair
}

#[test]
fn every_hop_is_recorded_as_sent_and_received() {
    let (seen, requests) = mpsc::channel();
    let packed = gzip(b"hello");
    let body = packed.clone();
    let address = serve(move |request, _| {
        seen.send(request.to_owned()).unwrap();
        if request.starts_with("GET /a ") {
            Reply::redirect(302, "/b")
        } else {
            Reply::with("Content-Encoding: gzip\r\nX-A: 1\r\nx-b: caf\u{e9}\r\nX-a: 2\r\n", &body)
        }
    });
    let headers = [("X-Api-Key", "k"), ("Sec-Session-Token", "t"), ("Accept-Language", "de"), ("Host", "h")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let mut pair = naming_pair(&FetchSpec { headers, ..spec() });
    let hops = hops(&mut pair, &format!("http://u:p@{address}/a#c"));
    let urls: Vec<_> = hops.iter().map(|hop| hop.url.as_str()).collect();
    assert_eq!(urls, [format!("http://{address}/a"), format!("http://{address}/b")]);
    for hop in &hops {
        let sent = requests.recv().unwrap();
        let kept = String::from_utf8(hop.request.clone()).unwrap();
        let is_secret = |line: &&str| SECRETS.iter().any(|name| line.starts_with(name));
        assert_eq!(sent.lines().filter(is_secret).count(), SECRETS.len(), "{sent}");
        assert!(kept.contains("\r\naccept-language: de\r\n") && kept.contains("\r\nhost: h\r\n"), "{kept}");
        let mut sent: Vec<_> = sent.lines().filter(|line| !is_secret(line)).collect();
        let mut kept: Vec<_> = kept.lines().collect();
        assert_eq!(sent.first(), kept.first());
        sent.sort_unstable();
        kept.sort_unstable();
        assert_eq!(sent, kept);
    }
    let responses: Vec<_> = hops.iter().filter_map(|hop| hop.response.as_ref()).collect();
    assert_eq!(responses[0].body, b"moved");
    assert_eq!(responses[1].body, packed);
    let head = String::from_utf8(responses[1].head.clone()).unwrap();
    let length = packed.len();
    let want = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\nx-a: 1\r\nx-a: 2\r\nx-b: caf\u{e9}\r\ncontent-length: {length}\r\n\r\n"
    );
    assert_eq!(head, want);
    let peer = Some(address.ip());
    assert!(responses.iter().all(|response| response.peer == peer && response.truncated.is_none()));
}

#[test]
fn incomplete_bodies_are_marked_with_the_reason() {
    let small = FetchSpec { body_bytes_max: 100, timeout: std::time::Duration::from_millis(400), ..spec() };
    for (reply, truncated, bytes) in [
        (Reply::close as fn(Vec<u8>) -> Reply, Truncated::Disconnect, 3),
        (Reply::hang as fn(Vec<u8>) -> Reply, Truncated::Time, 3),
    ] {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel".to_vec();
        let address = serve(move |_, _| reply(head.clone()));
        let hops = hops(&mut naming_pair(&small), &format!("http://{address}/"));
        let response = hops[0].response.as_ref().unwrap();
        assert_eq!((response.truncated, response.body.len()), (Some(truncated), bytes));
    }
    let long = || Reply::close([&b"HTTP/1.1 200 OK\r\n\r\n"[..], &[b'x'; 150]].concat());
    for (reply, truncated) in [
        (Box::new(long) as Box<dyn Fn() -> Reply + Send + Sync>, Truncated::Length),
        (Box::new(|| Reply::ok(&[b'x'; 101])), Truncated::Length),
        (Box::new(|| Reply::with("Content-Encoding: gzip\r\n", b"not gzip at all")), Truncated::Unspecified),
    ] {
        let address = serve(move |_, _| reply());
        let hops = hops(&mut naming_pair(&small), &format!("http://{address}/"));
        let response = hops[0].response.as_ref().unwrap();
        assert_eq!(response.truncated, Some(truncated), "{response:?}");
    }
}

#[test]
fn nothing_is_kept_of_what_never_answered() {
    let address = serve(|_, _| Reply::close(""));
    let hops = hops(&mut naming_pair(&spec()), &format!("http://{address}/"));
    assert!(hops.iter().all(|hop| hop.response.is_none()), "{hops:?}");
    let mut pair = Pair::new(&spec());
    let _ = pair.blocking.fetch(
        &format!("http://{address}/"),
        Wanted::Page,
        None,
        Kept(&[]),
        &mut Recording::new(false),
    );
    assert!(pair.recordings[0].hops().is_empty());
}
