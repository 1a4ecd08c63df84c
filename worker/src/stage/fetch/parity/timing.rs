//! Timeouts: which of them ran out, and how far the response had come.

use std::net::TcpListener;
use std::time::Duration;

use shared::clock;

use super::server::{Reply, accept, serve};
use super::*;
use crate::stage::fetch::Wanted;

const TIMEOUT: Duration = Duration::from_millis(300);

#[track_caller]
fn timed_out(spec: &FetchSpec, url: &str, message: &str) {
    let mut pair = Pair::new(spec);
    let begun = clock::now();
    let failure = pair.failure(url);
    let took = begun.elapsed();
    assert_failure(&failure, ErrorKind::Timeout, message, true);
    // Two fetches in sequence.
    assert!(took >= 2 * TIMEOUT && took < 2 * TIMEOUT + Duration::from_secs(5), "{took:?}");
}

fn short() -> FetchSpec {
    FetchSpec { timeout: TIMEOUT, ..spec() }
}

#[test]
fn the_message_says_how_far_the_response_had_come() {
    for (reply, message) in [
        ("", "no response head within 300 ms"),
        ("HTTP/1.1 200 OK\r\nContent-Length", "no response head within 300 ms"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhello",
            "no complete response within 300 ms: 5 bytes of the body so far",
        ),
        ("HTTP/1.1 200 OK\r\n\r\n", "no complete response within 300 ms: 0 bytes of the body so far"),
    ] {
        let address = serve(move |_, _| Reply::hang(reply));
        timed_out(&short(), &format!("http://{address}/"), message);
    }
}

#[test]
fn a_slow_body_does_not_extend_the_timeout() {
    let address = serve(|_, _| Reply::drip("HTTP/1.1 200 OK\r\nX: ", b'y'));
    timed_out(&short(), &format!("http://{address}/"), "no response head within 300 ms");

    let address = serve(|_, _| Reply::drip("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b'y'));
    for outcome in Pair::new(&short()).each(&format!("http://{address}/")) {
        let failure = outcome.unwrap_err();
        assert_eq!(failure.kind, ErrorKind::Timeout);
        assert!(failure.bytes > 0, "{failure:?}");
        let told = format!("no complete response within 300 ms: {} bytes of the body so far", failure.bytes);
        assert_eq!(failure.message, told);
    }
}

#[test]
fn all_hops_share_one_timeout() {
    let address =
        serve(
            |request, _| {
                if request.starts_with("GET /1 ") { Reply::redirect(302, "/2") } else { Reply::hang("") }
            },
        );
    timed_out(&short(), &format!("http://{address}/1"), "no response head within 300 ms");
}

#[test]
fn draining_a_body_does_not_delay_the_next_request() {
    let endless = "Transfer-Encoding: chunked\r\n\r\n";
    let address = serve(move |request, _| match request {
        moved if moved.starts_with("GET /moved ") => {
            Reply::drip(format!("HTTP/1.1 302 X\r\nLocation: /\r\n{endless}5000\r\n"), b'y')
        }
        gone if gone.starts_with("GET /404 ") => {
            Reply::drip(format!("HTTP/1.1 404 X\r\n{endless}5000\r\n"), b'y')
        }
        _ => Reply::ok(b"page"),
    });
    let mut pair = Pair::new(&spec());
    let begun = clock::now();
    assert_eq!(pair.page(&format!("http://{address}/moved")).body, b"page");
    assert_eq!(pair.failure(&format!("http://{address}/404")).kind, ErrorKind::HttpStatus);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn connecting_has_its_own_timeout() {
    let spec = FetchSpec { connect_timeout: TIMEOUT, ..spec() };
    // Nothing accepts and the queue is full, so the kernel drops further connection attempts.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let _queued: Vec<_> = (0..4)
        .map_while(|_| std::net::TcpStream::connect_timeout(&address, Duration::from_millis(50)).ok())
        .collect();
    timed_out(&spec, &format!("http://{address}/"), "not connected within 300 ms");

    let silent = accept(|mut stream| drop(std::io::copy(&mut stream, &mut std::io::sink())));
    timed_out(&spec, &format!("https://{silent}/"), "not connected within 300 ms");
}

#[test]
fn the_whole_targets_time_also_ends_a_connection_attempt() {
    let silent = accept(|mut stream| drop(std::io::copy(&mut stream, &mut std::io::sink())));
    timed_out(&short(), &format!("https://{silent}/"), "no response head within 300 ms");
}

#[test]
fn a_busy_event_loop_causes_no_timeouts() {
    let address = serve(|_, _| Reply::ok(b"page"));
    let pair = Pair::new(&short());
    let url = format!("http://{address}/");
    let stall = pair.event_loop.stall().clone();
    let busy = async {
        // Parsing a page blocks for longer than the timeout before the request is sent.
        let begun = clock::now();
        while begun.elapsed() < 2 * TIMEOUT {}
        stall.add(begun.elapsed());
    };
    let mut recording = Recording::new(false);
    let fetching = pair.event_loop.fetch(&url, Wanted::Page, None, Kept(&[]), &mut recording);
    let (outcome, ()) = pair.runtime.block_on(async { tokio::join!(fetching, busy) });
    assert_eq!(outcome.unwrap().body, b"page");
}
