use super::*;

/// The result of reading one response.
#[derive(Debug, PartialEq, Eq)]
struct Passed {
    /// What the client read.
    given: String,
    head: Option<Box<Head>>,
    fault: Option<Fault>,
    is_over: bool,
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// Reads a response to `request` that arrives in pieces of one size.
fn passed_to(request: &[u8], raw: &[u8], piece: usize) -> Passed {
    let slot = Slot::default();
    let mut repair = Repair::new(slot.clone());
    repair.on_write(request);
    let mut given = Vec::new();
    let (mut fault, mut surplus) = (None, false);
    for piece in raw.chunks(piece) {
        if matches!(repair.state, State::Idle) {
            // The response has ended, and clients close a connection with surplus bytes.
            surplus = true;
            break;
        }
        if repair.on_read(piece) {
            given.extend_from_slice(piece);
            continue;
        }
        loop {
            match repair.take(7) {
                Ok([]) => break,
                Ok(kept) => given.extend_from_slice(kept),
                Err(found) => {
                    fault = Some(found);
                    break;
                }
            }
        }
        if fault.is_some() {
            break;
        }
    }
    let head = slot.lock().take();
    Passed { given: text(&given), head, fault, is_over: surplus || repair.is_over() }
}

fn passed(raw: &[u8], piece: usize) -> Passed {
    passed_to(b"GET / HTTP/1.1\r\n\r\n", raw, piece)
}

/// The same for pieces of every size. A head in pieces is parsed here, so `raw` must not be tidy.
#[track_caller]
fn always(raw: &[u8]) -> Passed {
    let whole = passed(raw, usize::MAX);
    for piece in [1, 2, 3, 5, 64] {
        assert_eq!(passed(raw, piece), whole, "{:?} in pieces of {piece}", text(raw));
    }
    whole
}

fn fields(head: &Head) -> Vec<String> {
    head.headers.iter().map(|(name, value)| format!("{name}: {}", text(value.as_bytes()))).collect()
}

#[test]
fn a_tidy_response_passes_unchanged() {
    let many: String = (0..100).map(|i| format!("x-{i}: y\r\n")).collect();
    for raw in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200\r\ncontent-length:0\r\n\r\n",
        "HTTP/1.0 404 Not Found\r\nServer: a\tb \r\nX:\r\n\r\nuntil closed",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0a\r\n0123456789\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-Umlaut: \u{e4}\r\n\r\n",
        "HTTP/1.1 204 None\r\nTransfer-Encoding: chunked\r\n\r\n",
        &format!("HTTP/1.1 200 OK\r\n{many}\r\n"),
    ] {
        let untouched = Passed { given: text(raw.as_bytes()), head: None, fault: None, is_over: false };
        assert_eq!(passed(raw.as_bytes(), usize::MAX), untouched, "{raw:?}");
    }
}

#[test]
fn a_head_in_pieces_is_the_same_head() {
    let raw = b"HTTP/1.1 200 OK\r\nServer: a\r\nX: 1\r\nx: 2\r\nContent-Length: 5\r\n\r\nhello";
    for piece in [1, 7, raw.len() - 6] {
        let passed = passed(raw, piece);
        assert_eq!(passed.given, "HTTP/1.1 200\r\ncontent-length: 5\r\n\r\nhello");
        assert_eq!(fields(&passed.head.unwrap()), ["server: a", "x: 1", "x: 2", "content-length: 5"]);
        assert!(!passed.is_over);
    }
}

#[test]
fn untidy_heads_are_read_as_browsers_read_them() {
    for (lines, want) in [
        ("Set-Cookie: a=b\r\n    c: d", &["set-cookie: a=b c: d"][..]),
        ("A: b  \r\n\t c\r\n \r\n  d", &["a: b c d"]),
        ("A:\r\n b", &["a: b"]),
        // A continuation of the status line is skipped.
        (" lost\r\nA: b", &["a: b"]),
        ("not a header\r\n lost\r\nA: b", &["a: b"]),
        ("A : v\r\nB\t: w", &["a: v", "b: w"]),
        ("PHP Warning: x\r\nA: b", &["a: b"]),
        ("no colon\r\n: no name\r\n=: no token\r\nA: b", &["a: b"]),
        ("A: b\x01c\x1b[0m\x7f", &["a: bc[0m"]),
        ("A: b\rc\r\r\nD: e", &["a: b c", "d: e"]),
        ("A: b\nC: d", &["a: b", "c: d"]),
        ("Location: /a\x01b\x7f", &["location: /a%01b%7F"]),
        ("A: \u{e4}\x02", &["a: \u{e4}"]),
        ("A\x01: b\r\nC: d", &["c: d"]),
    ] {
        for end in ["\r\n\r\n", "\r\n\r\r\n", "\n\n"] {
            let raw = format!("HTTP/1.1 200 OK\r\n{lines}\r\nX-Odd : 1{end}");
            let raw: Vec<u8> = raw.chars().map(|c| u8::try_from(c).unwrap()).collect();
            let passed = always(&raw);
            assert_eq!(passed.given, "HTTP/1.1 200\r\n\r\n", "{lines:?}");
            let found = fields(&passed.head.unwrap());
            assert_eq!(found, [want, &["x-odd: 1"]].concat(), "{lines:?}");
        }
    }
}

#[test]
fn status_lines_are_read_by_their_words() {
    for line in [
        "HTTP/1.1  200 OK",
        "HTTP/1.1\t200\tOK",
        " HTTP/1.1 200",
        "HTTP/1.1 200\x0bOK",
        "HTTP/1.1 200 O\x01K",
        "http/1.1 200 OK",
        "HTTP/1.1 200OK",
        "HTTP/1.2 200 OK",
        "\r\n\nHTTP/1.1 200 OK",
    ] {
        let passed = always(format!("{line}\r\nContent-Length: 0\r\n\r\n").as_bytes());
        assert_eq!(passed.given, "HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n", "{line:?}");
        assert_eq!(passed.head.unwrap().version, http::Version::HTTP_11);
    }
    for line in [
        "HTTP/1.1 abc",
        "HTTP/1.1 20",
        "HTTP/1.1 2000",
        "HTTP/1.1 099",
        "HTTP/1.1200 OK",
        "HTTP/7.9 200",
        "HTTP/1 200",
    ] {
        let passed = always(format!("{line}\r\n").as_bytes());
        assert_eq!((passed.given.as_str(), passed.fault), ("", Some(Fault::Head)), "{line:?}");
    }
}

#[test]
fn data_that_is_not_http_is_rejected_at_once() {
    for raw in ["SSH-2.0", "<html>", "\r\n<", "HTML", "\x15\x03\x01"] {
        assert_eq!(always(raw.as_bytes()).fault, Some(Fault::Head), "{raw:?}");
    }
    assert_eq!(always(b"HTTP/1.1 200 OK\r\nA : b\0c\r\n\r\n").fault, Some(Fault::Head));
    assert_eq!(always(b"HT").fault, None);
}

#[test]
fn interim_responses_are_not_passed_on() {
    let raw = b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\nHTTP/1.1 103 Early\r\n\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    let seen = always(raw);
    assert_eq!(seen.given, "HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nhi");
    assert_eq!(fields(&seen.head.unwrap()), ["content-length: 2"]);
    let switch = always(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n");
    assert_eq!(switch.given, "HTTP/1.1 101\r\ncontent-length: 0\r\n\r\n");
}

#[test]
fn heads_are_read_up_to_a_limit() {
    let head = |fields: usize, bytes: usize| {
        let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
        for field in 1..fields {
            head.extend_from_slice(format!("x-{field}: y\r\n").as_bytes());
        }
        head.extend_from_slice(b"z: ");
        head.resize(bytes.max(head.len() + 4) - 4, b'z');
        head.extend_from_slice(b"\r\n\r\n");
        head
    };
    for (fields, bytes) in [(101, 0), (5000, 0), (1, 80 << 10), (1, HEAD_BYTES_MAX), (HEADERS_MAX, 0)] {
        let raw = head(fields, bytes);
        for piece in [1400, usize::MAX] {
            let passed = passed(&raw, piece);
            assert_eq!(passed.fault, None, "{fields} fields, {bytes} bytes");
            assert_eq!(passed.head.unwrap().headers.len(), fields);
        }
    }
    let mut endless = head(1, HEAD_BYTES_MAX + 100);
    endless.truncate(HEAD_BYTES_MAX + 1);
    let interim = b"HTTP/1.1 103 Early\r\n\r\n".repeat(HEAD_BYTES_MAX / 22 + 2);
    for raw in [head(1, HEAD_BYTES_MAX + 1), head(HEADERS_MAX + 1, 0), endless, interim] {
        for piece in [1400, usize::MAX] {
            assert_eq!(passed(&raw, piece).fault, Some(Fault::HeadTooLarge));
        }
    }
}

#[test]
fn repeated_framing_headers_end_the_connection() {
    let chunked = "transfer-encoding: chunked\r\n";
    let length = "content-length: 5\r\n";
    let close = "connection: close\r\n";
    for (lines, told, closes) in [
        ("Transfer-Encoding: chunked, chunked", chunked, true),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", chunked, true),
        ("Transfer-Encoding: identity, chunked", chunked, true),
        ("Transfer-Encoding: chunked, Identity", chunked, true),
        ("Transfer-Encoding: ,chunked,", chunked, true),
        ("Transfer-Encoding: chunked\r\nContent-Length: 7", chunked, true),
        ("Transfer-Encoding: chunked\r\nContent-Length: seven", chunked, true),
        ("Transfer-Encoding : chunked", chunked, true),
        ("Transfer-Encoding:\r\n chunked", chunked, true),
        ("Transfer-Encoding: identity", "", true),
        ("Transfer-Encoding:", "", true),
        ("Transfer-Encoding: identity\r\nContent-Length: 5", length, true),
        ("Transfer-Encoding: gzip", "", true),
        ("Transfer-Encoding: gzip, chunked", "", true),
        ("Content-Length: 5, 5", length, true),
        ("Content-Length: 5\r\nContent-Length: 5", length, true),
        ("Content-Length: 5\r\nA : b", length, false),
        ("Transfer-Encoding: chunked\r\nA : b", chunked, false),
        ("Connection: x, Close\r\nContent-Length: 5\r\nA : b", length, true),
    ] {
        let passed = always(format!("HTTP/1.1 200 OK\r\n{lines}\r\nB : c\r\n\r\n").as_bytes());
        let want = format!("HTTP/1.1 200\r\n{told}{}\r\n", if closes { close } else { "" });
        assert_eq!(passed.given, want, "{lines:?}");
    }
    for lines in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: five",
        "Content-Length: +5",
        "Content-Length:",
    ] {
        let passed = always(format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n").as_bytes());
        assert_eq!(passed.fault, Some(Fault::Head), "{lines:?}");
    }
    for (lines, told) in [
        ("Connection: keep-alive\r\nContent-Length: 5", length.to_owned()),
        ("Content-Length: 5", format!("{length}{close}")),
        ("Connection: keep-alive\r\nTransfer-Encoding: chunked", format!("{chunked}{close}")),
    ] {
        let passed = always(format!("HTTP/1.0 200 OK\r\n{lines}\r\nB : c\r\n\r\n").as_bytes());
        assert_eq!(passed.given, format!("HTTP/1.1 200\r\n{told}\r\n"), "{lines:?}");
        assert_eq!(passed.head.unwrap().version, http::Version::HTTP_10);
    }
    // No body follows these, whatever their headers say.
    for (request, line) in [
        ("HEAD / HTTP/1.1\r\n\r\n", "200 OK"),
        ("GET / HTTP/1.1\r\n\r\n", "204 No"),
        ("GET / HTTP/1.1\r\n\r\n", "304 No"),
    ] {
        let raw = format!("HTTP/1.1 {line}\r\nContent-Length: five\r\nA : b\r\n\r\n");
        let passed = passed_to(request.as_bytes(), raw.as_bytes(), usize::MAX);
        assert_eq!(passed.fault, None, "{line}");
        assert!(passed.head.is_some());
    }
}

/// Returns what the client reads of a chunked body.
#[track_caller]
fn chunked(body: &str) -> Passed {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA : b\r\n\r\n";
    let mut passed = always(format!("{head}{body}").as_bytes());
    passed.given = passed.given.replace("HTTP/1.1 200\r\ntransfer-encoding: chunked\r\n\r\n", "");
    passed
}

#[test]
fn chunk_lines_lose_extensions_and_padding() {
    let extension = format!("5;{}\r\nhello\r\n", "x=\"y\";".repeat(1000)).repeat(100);
    let plain = "5\r\nhello\r\n";
    for (body, want, closes) in [
        ("5\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", false),
        ("5;a=b\r\nhello\r\n0;c\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", false),
        ("5                          \r\nhello\r\n0 \t \r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", false),
        (
            "000000000000000000000000000005\r\nhello\r\n00000000\r\n\r\n",
            "00005\r\nhello\r\n0000\r\n\r\n",
            false,
        ),
        ("5\r\nhello\r\n0\r\nA: b\r\n c\r\nD: e\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", false),
        (&format!("{extension}0\r\n\r\n"), &format!("{}0\r\n\r\n", plain.repeat(100)), false),
        // A line end without CR, which some readers do not accept.
        ("5\nhello\n0\n\n", "5\r\nhello\r\n0\r\n\r\n", true),
        ("5;a\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", true),
        ("5;a\rb\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", false),
    ] {
        let whole = passed(
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}").as_bytes(),
            usize::MAX,
        );
        assert!(whole.given.ends_with(want), "{body:.80}: {:.80}", whole.given);
        let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA : b\r\n\r\n{body}");
        for piece in [1, 2, 7, 1000, usize::MAX] {
            let passed = passed(head.as_bytes(), piece);
            let given = passed.given.split_once("\r\n\r\n").unwrap().1;
            assert_eq!(given, want, "{body:.80} in pieces of {piece}");
            assert_eq!(passed.fault, None);
            assert_eq!(passed.is_over, closes, "{body:.80}");
        }
    }
}

#[test]
fn broken_chunks_follow_what_came_before_them() {
    for (body, want) in [
        ("zz\r\nhello", ""),
        ("5\r\nhelloX\r\n", "5\r\nhello"),
        ("5\r\nhello\rX", "5\r\nhello\r"),
        ("\r\nhello", ""),
        (" 5\r\nhello", ""),
        ("5x\r\nhello", "5"),
        ("5\rx", "5\r"),
        ("10000000000000000\r\n", "1000000000000000"),
        ("0\r\n\rX", "0\r\n\r"),
        (&format!("5;{}", "x".repeat(70_000)), "5"),
    ] {
        let passed = chunked(body);
        assert_eq!((passed.given.as_str(), passed.fault), (want, Some(Fault::Chunk)), "{body:.80}");
    }
}

#[test]
fn ends_of_connections_and_responses_are_distinguished() {
    for (raw, want) in [
        ("", Ok(())),
        ("HTTP/1.1 200 OK\r\nA: b", Err(Fault::Closed)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", Err(Fault::Closed)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Ok(())),
        ("HTTP/1.1 200 OK\r\n\r\nhell", Ok(())),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", Err(Fault::Closed)),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Ok(())),
        ("HTTP/1.1 304 Same\r\nContent-Length: 5\r\n\r\n", Ok(())),
    ] {
        let mut repair = Repair::new(Slot::default());
        repair.on_write(b"GET / HTTP/1.1\r\n\r\n");
        if !repair.on_read(raw.as_bytes()) {
            while !repair.take(usize::MAX).unwrap().is_empty() {}
        }
        assert_eq!(repair.on_end(), want, "{raw:?}");
    }
}

#[test]
fn each_response_on_a_connection_is_read_anew() {
    let slot = Slot::default();
    let mut repair = Repair::new(slot.clone());
    for odd in [false, true, false] {
        repair.on_write(b"GET / HTTP/1.1\r\n");
        repair.on_write(b"\r\n");
        let extra = if odd { "A : b\r\n" } else { "" };
        let passes =
            repair.on_read(format!("HTTP/1.1 200 OK\r\n{extra}Content-Length: 5\r\n\r\nhel").as_bytes());
        assert_eq!(passes, !odd);
        while !repair.take(usize::MAX).unwrap().is_empty() {}
        // A response may begin while its request is still being sent.
        repair.on_write(b"rest of the request");
        assert!(repair.on_read(b"lo"));
        assert_eq!(slot.lock().is_some(), odd);
        assert!(!repair.is_over());
    }
}

#[test]
fn bytes_after_a_body_are_dropped_and_end_the_connection() {
    let next = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 204 None\r\nContent-Length: 44\r\n\r\n",
        "HTTP/1.1 304 Same\r\n\r\n",
    ] {
        let passed = passed(format!("{response}{next}").as_bytes(), usize::MAX);
        let untouched = Passed { given: response.to_owned(), head: None, fault: None, is_over: true };
        assert_eq!(passed, untouched);
    }
}

/// Responses that exercise each part of the parser, and attacks on it.
pub(in crate::stage::fetch) fn seeds() -> Vec<Vec<u8>> {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
        "HTTP/1.0 302 Found\nLocation: /a\x01b\n\nmoved".to_owned(),
        "HTTP/1.1 200 OK\r\nName : v\r\n folded\r\nContent-Length: 5, 5\r\n\r\nhello".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\nhello".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        format!("{}HTTP/1.1 204 None\r\n\r\n", "HTTP/1.1 103 Early\r\nLink: a\r\n\r\n".repeat(5)),
        format!("{chunked}5\r\nhello\r\n0a;x=y\r\n0123456789\r\n0\r\nX: y\r\n\r\n"),
        format!("{chunked}{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(50)),
        format!("{chunked}{}0\n\n", "1;extension\nx\n".repeat(9)),
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nno gzip".to_owned(),
    ]
    .map(String::into_bytes)
    .into()
}

#[test]
fn fuzz_repair_in_pieces_of_two_sizes() {
    crate::stage::mutation::mutated(&seeds(), |raw, random| {
        let whole = passed(raw, usize::MAX);
        // A line end may grow by a CR, and a head may be replaced.
        assert!(whole.given.chars().count() <= 2 * raw.len() + 200, "{whole:?}");
        // A head that arrives in pieces is never passed on as it is.
        let (one, other) = (1 + random.below(8), 1 + random.below(8));
        assert_eq!(passed(raw, one), passed(raw, other), "{:?} in pieces of {one} and {other}", text(raw));
    });
}
