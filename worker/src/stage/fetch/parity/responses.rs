//! Well-formed and malformed responses.

use super::server::{Reply, serve};
use super::*;
use crate::stage::decode::tests::{brotli, gzip, raw_deflate, zlib, zstandard};

fn page() -> Vec<u8> {
    (0..3000).flat_map(|i| format!("<p>{i}</p>").into_bytes()).collect()
}

#[track_caller]
fn one(reply: impl Fn() -> Reply + Send + Sync + 'static) -> Outcome {
    let address = serve(move |_, _| reply());
    let outcome = Pair::new(&spec()).agreed(&format!("http://{address}/"));
    let url = format!("http://{address}/");
    match &outcome {
        Ok(fetched) => assert_eq!(fetched.final_url.as_str(), url),
        Err(failure) => assert_eq!(failure.final_url.as_ref().map(url::Url::as_str), Some(url.as_str())),
    }
    outcome
}

#[test]
fn bodies_of_every_framing_arrive_whole() {
    for (raw, body) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello and more", "hello"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello", "hello"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", "hello"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nx: y\r\n\r\n", "hello"),
        ("HTTP/1.1 200 OK\r\n\r\nuntil closed", "until closed"),
        ("HTTP/1.0 200 OK\r\n\r\nuntil closed", "until closed"),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello"),
        ("HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", "hello"),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", ""),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", ""),
        ("HTTP/1.1 302 Found\r\nContent-Length: 7\r\n\r\nnowhere", "nowhere"),
        ("HTTP/1.1 300 Choose\r\nLocation: /a\r\nContent-Length: 6\r\n\r\nchoose", "choose"),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello"),
        (
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "hello",
        ),
    ] {
        let fetched = one(move || Reply::close(raw)).unwrap_or_else(|failure| panic!("{raw:?}: {failure:?}"));
        assert_eq!(String::from_utf8(fetched.body).unwrap(), body, "{raw:?}");
    }
}

#[test]
fn the_content_type_comes_along() {
    let fetched = one(|| Reply::with("Content-Type: text/html; charset=KOI8-R\r\n", b"x")).unwrap();
    assert_eq!(fetched.content_type.as_deref(), Some("text/html; charset=KOI8-R"));
    assert_eq!(one(|| Reply::ok(b"x")).unwrap().content_type, None);
    let twice = "Content-Type: text/html; charset=gbk\r\nX: y\r\ncontent-type: text/html\r\n";
    let fetched = one(|| Reply::with(twice, b"x")).unwrap();
    assert_eq!(fetched.content_type.as_deref(), Some("text/html; charset=gbk, text/html"));
}

#[test]
fn every_content_coding_is_decoded() {
    for (coding, encoded) in [
        ("gzip", gzip(&page())),
        ("deflate", zlib(&page())),
        ("deflate", raw_deflate(&page())),
        ("br", brotli(&page())),
        ("zstd", zstandard(&page())),
        ("gzip, br", brotli(&gzip(&page()))),
    ] {
        let fetched = one(move || Reply::with(&format!("Content-Encoding: {coding}\r\n"), &encoded)).unwrap();
        assert!(fetched.body == page(), "{coding}");
    }
}

#[test]
fn an_unknown_coding_leaves_the_body_unchanged() {
    for coding in ["utf-8", "none", "aws-chunked", "rot13", "gzip, utf-8", "identity", ""] {
        let fetched = one(move || Reply::with(&format!("Content-Encoding: {coding}\r\n"), &page())).unwrap();
        assert!(fetched.body == page(), "{coding}");
    }
}

#[test]
fn an_encoded_body_without_its_checksum_or_with_padding_is_the_body() {
    let (gzip, zlib) = (gzip(&page()), zlib(&page()));
    for (coding, encoded) in [
        ("gzip", gzip[..gzip.len() - 8].to_vec()),
        ("x-gzip", gzip[..gzip.len() - 1].to_vec()),
        ("gzip", [&gzip[..], &[0; 600]].concat()),
        ("deflate", zlib[..zlib.len() - 4].to_vec()),
    ] {
        let fetched = one(move || Reply::with(&format!("Content-Encoding: {coding}\r\n"), &encoded)).unwrap();
        assert!(fetched.body == page(), "{coding}");
    }
}

#[test]
fn encoded_bodies_that_cannot_be_decoded_say_why() {
    let cut = gzip(&page())[..200].to_vec();
    for (coding, body, message) in [
        ("gzip", cut, "the body's gzip data is truncated"),
        ("gzip", page(), "the body is not valid gzip"),
        ("zstd", page(), "the body is not valid zstd"),
        ("gzip,gzip,gzip,gzip", page(), "content-encoding has 4 layers, more than 3"),
    ] {
        let headers = format!("Content-Encoding: {coding}\r\n");
        let failure = one(move || Reply::with(&headers, &body)).unwrap_err();
        assert_failure(&failure, ErrorKind::Decode, message, false);
    }
}

#[test]
fn bodies_over_the_limit_are_rejected_in_every_coding() {
    let zeros = vec![0; (1 << 20) + 1];
    let chunked =
        [&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\n"[..], &zeros, b"\r\n0\r\n\r\n"]
            .concat();
    let until_close = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &zeros].concat();
    let mut raws = vec![chunked, until_close, b"HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n".to_vec()];
    for (coding, encoded) in [
        ("gzip", gzip(&zeros)),
        ("deflate", zlib(&zeros)),
        ("br", brotli(&zeros)),
        ("zstd", zstandard(&zeros)),
        ("gzip, gzip", gzip(&gzip(&zeros))),
    ] {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n",
            encoded.len()
        );
        raws.push([head.as_bytes(), &encoded].concat());
    }
    for raw in raws {
        let shown = String::from_utf8_lossy(&raw[..raw.len().min(60)]).into_owned();
        let failure = one(move || Reply::hang(raw.clone())).expect_err(&shown);
        assert_failure(&failure, ErrorKind::TooLarge, "body over the limit of 1048576 bytes", false);
    }
    let exact = vec![0; 1 << 20];
    assert_eq!(one(move || Reply::ok(&exact)).unwrap().body.len(), 1 << 20);
}

#[test]
fn statuses_of_400_and_above_are_failures() {
    for (line, extra, message, may_pass, retry_after) in [
        ("404 Nope", "", "404 Not Found", false, None),
        ("410 Gone", "Retry-After: 7\r\n", "410 Gone", false, Some(7)),
        ("429 Slow", "Retry-After: 30\r\n", "429 Too Many Requests", true, Some(30)),
        ("503 Busy", "", "503 Service Unavailable", true, None),
        ("500 Oh", "Location: /elsewhere\r\n", "500 Internal Server Error", true, None),
        ("501 No", "", "501 Not Implemented", false, None),
        ("499 Own", "Content-Encoding: rot13\r\n", "499", false, None),
    ] {
        let raw = format!("HTTP/1.1 {line}\r\n{extra}Content-Length: 4\r\n\r\nbody");
        let failure = one(move || Reply::keep(raw.clone())).unwrap_err();
        assert_failure(&failure, ErrorKind::HttpStatus, message, may_pass);
        assert_eq!(failure.status.unwrap(), line[..3].parse::<u16>().unwrap());
        assert_eq!(failure.retry_after.map(|after| after.as_secs()), retry_after, "{line}");
    }
    // The body may be broken, endless or missing: only the status counts.
    for raw in [
        "HTTP/1.1 404 X\r\nContent-Length: 4\r\n\r\nbo",
        "HTTP/1.1 404 X\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let failure = one(move || Reply::close(raw)).unwrap_err();
        assert_failure(&failure, ErrorKind::HttpStatus, "404 Not Found", false);
    }
}

#[test]
fn responses_that_are_cut_short_say_where() {
    for (raw, message, status) in [
        ("", "connection closed before the response", None),
        ("HTTP/1.1 200 OK\r\nContent-Le", "connection closed before the response", None),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
            "connection closed after 0 of 10 body bytes",
            Some(200),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
            "connection closed after 5 of 10 body bytes",
            Some(200),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "connection closed after 5 body bytes",
            Some(200),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello",
            "connection closed after 5 body bytes",
            Some(200),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
            "connection closed after 5 body bytes",
            Some(200),
        ),
    ] {
        let failure = one(move || Reply::close(raw)).expect_err(raw);
        assert_failure(&failure, ErrorKind::Protocol, message, true);
        assert_eq!(failure.status, status, "{raw:?}");
    }
    let failure = one(|| Reply::reset("")).unwrap_err();
    assert_failure(&failure, ErrorKind::Protocol, "connection closed before the response", true);
}

#[test]
fn responses_that_are_not_http_are_protocol_failures() {
    let many: String = (0..16_385).map(|i| format!("x-{i}: y\r\n")).collect();
    let long = "y".repeat(512 * 1024);
    let too_large = "response head over the limit of 524288 bytes or 16384 headers";
    for (raw, message) in [
        ("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), "malformed response head"),
        ("<html>hello</html>\r\n\r\n".to_owned(), "malformed response head"),
        ("HTTP/1.1 abc\r\n\r\n".to_owned(), "malformed response head"),
        ("HTTP/1.1 099 Low\r\n\r\n".to_owned(), "malformed response head"),
        ("HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n".to_owned(), "malformed response head"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello".to_owned(),
            "malformed response head",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello".to_owned(), "malformed response head"),
        (format!("HTTP/1.1 200 OK\r\n{many}\r\n"), too_large),
        (format!("HTTP/1.1 200 OK\r\nx: {long}"), too_large),
        (format!("HTTP/1.1 200 OK\r\nx: {long}\r\n\r\n"), too_large),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello".to_owned(),
            "malformed chunk in the body",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n".to_owned(),
            "malformed chunk in the body",
        ),
    ] {
        let shown = raw[..raw.len().min(70)].to_owned();
        let failure = one(move || Reply::hang(raw.clone())).expect_err(&shown);
        assert_failure(&failure, ErrorKind::Protocol, message, false);
    }
    for (raw, message) in [
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx", "transfer-encoding gzip is not supported"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "transfer-encoding gzip, chunked is not supported",
        ),
        (
            "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            "101 Switching Protocols, which was not requested",
        ),
    ] {
        let failure = one(move || Reply::hang(raw)).expect_err(raw);
        assert_eq!((failure.kind, failure.message.as_str()), (ErrorKind::Protocol, message));
    }
}
