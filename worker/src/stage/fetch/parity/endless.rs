//! Responses without end, and ones that only keep a decoder busy: each is cut by a limit, or by the timeout, and both
//! clients say the same.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use shared::clock;

use super::server::{Reply, accept, read_head, serve};
use super::*;
use crate::stage::decode::tests::hollow;
use crate::stage::fetch::repair::tests::seeds;
use crate::stage::mutation::mutated;

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

#[track_caller]
fn failure(reply: impl Fn() -> Reply + Send + Sync + 'static) -> Failure {
    let address = serve(move |_, _| reply());
    let spec = FetchSpec { timeout: Duration::from_secs(60), ..spec() };
    let begun = clock::now();
    let failure = Pair::new(&spec).failure(&format!("http://{address}/"));
    assert!(begun.elapsed() < Duration::from_secs(30), "{failure:?} after {:?}", begun.elapsed());
    failure
}

#[test]
fn endless_heads_and_chunk_lines_are_cut_by_their_size() {
    let head = "response head over the limit of 524288 bytes or 16384 headers";
    let chunk = "malformed chunk in the body";
    let long = format!("1;{}\r\nx\r\n", "e".repeat(1000));
    for (begin, again, message) in [
        (String::new(), "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", head),
        (String::new(), "HTTP/1.1 100 Continue\r\n\r\n", head),
        (String::new(), "\r\n", head),
        ("HTTP/1.1 200 OK\r\n".to_owned(), "X: y\r\n", head),
        ("HTTP/1.1 200 OK\r\nX: ".to_owned(), "y", head),
        ("HTTP/1.1 200 OK\r\nX: y".to_owned(), "\r\n ", head),
        (CHUNKED.to_owned(), "0", chunk),
        (format!("{CHUNKED}5"), "0", chunk),
        (format!("{CHUNKED}5;"), "e", chunk),
        (CHUNKED.to_owned(), &long, chunk),
        (format!("{CHUNKED}0\r\n"), "X: y\r\n", chunk),
        (format!("{CHUNKED}0\r\nX: "), "y", chunk),
    ] {
        let (begun, again) = (begin.clone(), again.to_owned());
        let failure = failure(move || Reply::flood(begun.as_str(), &again));
        assert_failure(&failure, ErrorKind::Protocol, message, false);
    }
}

#[test]
fn lengths_that_cannot_be_are_over_the_limit() {
    for length in
        ["18446744073709551615", "18446744073709551614", "9223372036854775808", "99999999999999999999999"]
    {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        let failure = failure(move || Reply::flood(head.as_str(), "x"));
        assert_failure(&failure, ErrorKind::TooLarge, "body over the limit of 1048576 bytes", false);
        let missing = format!("HTTP/1.1 404 No\r\nContent-Length: {length}\r\n\r\n");
        let failure = self::failure(move || Reply::flood(missing.as_str(), "x"));
        assert_failure(&failure, ErrorKind::HttpStatus, "404 Not Found", false);
    }
    let two = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 18446744073709551615\r\n\r\nhello";
    assert_failure(
        &failure(move || Reply::close(two)),
        ErrorKind::Protocol,
        "malformed response head",
        false,
    );
    let both = "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let address = serve(move |_, _| Reply::close(both));
    assert_eq!(Pair::new(&spec()).page(&format!("http://{address}/")).body, b"hello");
}

#[test]
fn what_drips_is_cut_by_the_timeout() {
    let spec = FetchSpec { timeout: Duration::from_millis(300), ..spec() };
    let no_body = "no complete response within 300 ms: 0 bytes of the body so far";
    for (begin, byte, message) in [
        ("", b'\r', "no response head within 300 ms"),
        ("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 10", b'0', "no response head within 300 ms"),
        (CHUNKED, b'0', no_body),
        (&format!("{CHUNKED}5;"), b'e', no_body),
        (&format!("{CHUNKED}0\r\nX:"), b'y', no_body),
    ] {
        let begin = begin.to_owned();
        let address = serve(move |_, _| Reply::drip(begin.as_str(), byte));
        let failure = Pair::new(&spec).failure(&format!("http://{address}/"));
        assert_failure(&failure, ErrorKind::Timeout, message, true);
    }
}

#[test]
fn data_that_comes_to_nothing_is_refused_at_once() {
    for (coding, body) in hollow(4 << 20) {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\n\r\n");
        let raw = [head.as_bytes(), &body].concat();
        let failure = failure(move || Reply::close(raw.clone()));
        assert_eq!(failure.kind, ErrorKind::Decode, "{coding}: {failure:?}");
        assert!(failure.message.contains("almost empty"), "{failure:?}");
    }
}

/// A decoder that is busy does not stop the others, and ends when its own time is over.
#[test]
fn a_busy_decoder_lets_others_have_their_turn() {
    let page = vec![b'.'; 64 << 20];
    let packed = crate::stage::decode::tests::gzip(&page);
    let address = serve(move |request, _| {
        if request.starts_with("GET /large ") {
            return Reply::with("Content-Encoding: gzip\r\n", &packed);
        }
        Reply::ok(b"small")
    });
    let spec = FetchSpec { body_bytes_max: 128 << 20, timeout: Duration::from_secs(60), ..spec() };
    let pair = Pair::new(&spec);
    let (large, small) = (format!("http://{address}/large"), format!("http://{address}/small"));
    let order = Mutex::new(Vec::new());
    let fetch = async |url: &str, name: &'static str| {
        let outcome =
            pair.event_loop.fetch(url, Wanted::Page, None, Kept(&[]), &mut Recording::new(false)).await;
        order.lock().unwrap().push(name);
        outcome.unwrap().body.len()
    };
    let fetched =
        pair.runtime.block_on(async { tokio::join!(fetch(&large, "large"), fetch(&small, "small")) });
    assert_eq!(fetched, (page.len(), 5));
    assert_eq!(*order.lock().unwrap(), ["small", "large"]);

    let spec = FetchSpec { timeout: Duration::from_millis(5), ..spec };
    for outcome in Pair::new(&spec).each(&large) {
        assert_eq!(outcome.unwrap_err().kind, ErrorKind::Timeout);
    }
}

#[test]
fn fuzz_both_clients_agree() {
    let answer: Arc<Mutex<Vec<u8>>> = Arc::default();
    let answers = Arc::clone(&answer);
    let address = accept(move |mut stream| {
        use std::io::Write as _;
        if read_head(&mut stream).is_some() {
            let answer = answers.lock().unwrap().clone();
            let _ = stream.write_all(&answer);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });
    let spec = FetchSpec { redirects_max: 0, ..spec() };
    let mut pair = Pair::new(&spec);
    let url = format!("http://{address}/");
    mutated(&seeds(), |raw, _| {
        raw.clone_into(&mut answer.lock().unwrap());
        // Whatever they make of it, they make the same of it.
        let _ = pair.agreed(&url);
    });
}
