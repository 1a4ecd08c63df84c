use http::Response;
use shared::job::FetchSpec;
use shared::request::RequestSpec;
use shared::select::blocked::{BlockedIf, BlockedRules};
use shared::template::{Form, Template};

use super::super::rules::tests::spec;
use super::*;

/// The next event from the server or the network.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// A response head: status and header lines.
    Head(u16, &'static [(&'static str, &'static str)]),
    Chunk(&'static [u8]),
    /// This many bytes at once.
    Zeros(usize),
    End,
    Fault(&'static Fault),
}

use Event::{Chunk, End, Head, Zeros};

fn head(status: u16, headers: &[(&str, &str)]) -> Parts {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(()).unwrap().into_parts().0
}

/// Plays the events to an exchange. Returns its requests and its outcome.
fn play(spec: &FetchSpec, url: &str, events: &[Event]) -> (Vec<Request<Bytes>>, Outcome) {
    play_on(spec, url, events, &mut Recording::new(false))
}

fn play_on(
    spec: &FetchSpec,
    url: &str,
    events: &[Event],
    recording: &mut Recording,
) -> (Vec<Request<Bytes>>, Outcome) {
    let rules = Rules::new(spec).unwrap();
    let mut exchange = Exchange::new(&rules, url, Wanted::Page, Kept(&[]), recording).unwrap();
    let mut events = events.iter();
    let mut requests = Vec::new();
    'turn: loop {
        match exchange.turn() {
            Turn::Done(outcome) => {
                assert!(events.next().is_none(), "it ended before the events did");
                return (requests, outcome);
            }
            Turn::Request(request) => requests.push(request),
        }
        for event in events.by_ref() {
            let flow = match event {
                Head(status, headers) => exchange.on_head(&head(*status, headers), Duration::ZERO),
                Chunk(bytes) => exchange.on_chunk(bytes),
                Zeros(bytes) => exchange.on_chunk(&vec![0; *bytes]),
                End => {
                    exchange.on_end();
                    Flow::Stop
                }
                Event::Fault(fault) => {
                    exchange.on_fault(fault);
                    Flow::Stop
                }
            };
            let mut flow = flow;
            while flow == Flow::Work {
                flow = exchange.go_on();
            }
            if flow == Flow::Stop {
                continue 'turn;
            }
        }
        panic!("the events ended before it did");
    }
}

fn with_rules(flags: &[&str]) -> FetchSpec {
    let rules = flags.iter().map(|flag| BlockedIf::parse(flag).unwrap()).collect();
    FetchSpec { blocked: BlockedRules::of(rules), ..spec() }
}

#[track_caller]
fn check(events: &[Event], want: Result<&[u8], (ErrorKind, &str)>) {
    let (_, outcome) = play(&spec(), "http://a/", events);
    let got = outcome.as_ref().map(|fetched| fetched.body.as_slice());
    let got = got.map_err(|failure| (failure.kind, failure.message.as_str()));
    assert_eq!(got, want, "{events:?}");
}

const MOVED: Event = Head(302, &[("location", "/b")]);
const HELLO: Event = Head(200, &[("content-length", "5")]);

#[test]
fn bodies_are_taken_as_they_come() {
    check(&[HELLO, Chunk(b"hel"), Chunk(b"lo"), End], Ok(b"hello"));
    check(&[Head(200, &[]), End], Ok(b""));
    check(&[Head(302, &[]), Chunk(b"no location"), End], Ok(b"no location"));
    check(&[Head(304, &[("content-length", "5")]), End], Ok(b""));
    check(&[Head(200, &[("content-encoding", "gzip")]), End], Ok(b""));
}

#[test]
fn a_fault_is_reported_by_the_progress_before_it() {
    use ErrorKind::{Connect, Dns, Protocol, Timeout, Tls};
    static DNS: Fault = Fault::Dns { message: String::new(), may_pass: true };
    static TLS: Fault = Fault::Tls { message: String::new(), may_pass: false };
    static CONNECT: Fault = Fault::Connect(String::new());
    let timeout = Event::Fault(&Fault::Timeout);
    let closed = Event::Fault(&Fault::Closed);
    check(&[Event::Fault(&DNS)], Err((Dns, "")));
    check(&[Event::Fault(&TLS)], Err((Tls, "")));
    check(&[Event::Fault(&CONNECT)], Err((Connect, "")));
    check(&[Event::Fault(&Fault::ConnectTimeout)], Err((Timeout, "not connected within 5 s")));
    check(&[timeout], Err((Timeout, "no response head within 10 s")));
    let body = "no complete response within 10 s: 3 bytes of the body so far";
    check(&[HELLO, Chunk(b"hel"), timeout], Err((Timeout, body)));
    check(&[closed], Err((Protocol, "connection closed before the response")));
    check(&[HELLO, Chunk(b"hel"), closed], Err((Protocol, "connection closed after 3 of 5 body bytes")));
    check(&[HELLO, Chunk(b"hel"), End], Err((Protocol, "connection closed after 3 of 5 body bytes")));
    check(&[Head(200, &[]), Chunk(b"hel"), closed], Err((Protocol, "connection closed after 3 body bytes")));
    check(
        &[HELLO, Chunk(b"hel"), Event::Fault(&Fault::Chunk)],
        Err((Protocol, "malformed chunk in the body")),
    );
}

#[test]
fn stale_connections_are_skipped_up_to_a_limit() {
    let stale = Event::Fault(&Fault::Stale);
    let (requests, outcome) = play(&spec(), "http://a/", &[stale, stale, HELLO, Chunk(b"hello"), End]);
    assert_eq!((requests.len(), outcome.unwrap().body.as_slice()), (3, &b"hello"[..]));
    let endless = [stale; STALE_MAX as usize + 1];
    check(&endless, Err((ErrorKind::Protocol, "connection closed before the response")));
    // Within a body this fault means that the server closed.
    check(&[HELLO, stale], Err((ErrorKind::Protocol, "connection closed after 0 of 5 body bytes")));
}

#[test]
fn bodies_of_redirects_and_errors_are_read_only_if_that_is_cheap() {
    let hello: Result<&[u8], _> = Ok(b"hello");
    let refused = Err((ErrorKind::HttpStatus, "404 Not Found"));
    check(&[MOVED, Chunk(b"moved"), End, HELLO, Chunk(b"hello"), End], hello);
    check(&[MOVED, Zeros(65_535), Zeros(1), HELLO, Chunk(b"hello"), End], hello);
    check(&[MOVED, Event::Fault(&Fault::Closed), HELLO, Chunk(b"hello"), End], hello);
    check(
        &[Head(302, &[("location", "/b"), ("content-length", "65537")]), HELLO, Chunk(b"hello"), End],
        hello,
    );
    check(&[Head(404, &[("content-length", "65537")])], refused);
    check(&[Head(404, &[]), Zeros(65_536)], refused);
    check(&[Head(404, &[]), Event::Fault(&Fault::Timeout)], refused);
    check(&[MOVED, Event::Fault(&Fault::Timeout)], Err((ErrorKind::Timeout, "no response head within 10 s")));
}

#[test]
fn redirects_are_counted_and_remembered() {
    let mut events = vec![MOVED, End];
    events.extend([Head(301, &[("location", "http://b/c#d")]), End, Head(500, &[]), End]);
    let (requests, outcome) = play(&spec(), "http://user:pass@a/#x", &events);
    let uris: Vec<_> = requests.iter().map(|request| request.uri().to_string()).collect();
    assert_eq!(uris, ["http://a/", "http://a/b", "http://b/c"]);
    let auth: Vec<_> = requests.iter().map(|request| request.headers().contains_key(AUTHORIZATION)).collect();
    assert_eq!(auth, [true, true, false], "the URL's credentials are this host's");
    let failure = outcome.unwrap_err();
    assert_eq!(failure.final_url.unwrap().as_str(), "http://b/c#d");
    assert_eq!(failure.status, Some(500));

    let spec = FetchSpec { redirects_max: 2, ..spec() };
    let (requests, outcome) = play(&spec, "http://a/", &[MOVED, End, MOVED, End, MOVED, End]);
    let failure = outcome.unwrap_err();
    assert_eq!(failure.kind, ErrorKind::TooManyRedirects);
    assert_eq!(failure.message, "more than 2 redirects, the next to http://a/b");
    assert_eq!(requests.len(), 3);
    let (_, outcome) = play(&spec, "http://a/", &[MOVED, End, MOVED, End, Event::Fault(&Fault::Closed)]);
    assert_eq!(outcome.unwrap_err().status, None, "the hop that failed had no status");
}

#[test]
fn secrets_are_sent_again_after_a_return_to_the_first_origin() {
    let spec = FetchSpec { headers: vec![("cookie".into(), "a=b".into())], ..spec() };
    let events = [
        Head(302, &[("location", "http://b/")]),
        End,
        Head(302, &[("location", "http://a/home")]),
        End,
        Head(302, &[("location", "https://a/")]),
        End,
        Head(200, &[]),
        End,
    ];
    let (requests, _) = play(&spec, "http://a/", &events);
    let sent: Vec<_> = requests.iter().map(|request| request.headers().contains_key("cookie")).collect();
    assert_eq!(sent, [true, false, true, false], "another scheme is another origin");
}

#[test]
fn a_hop_is_repeated_once_over_http1() {
    let required = Event::Fault(&Fault::Http1Required);
    let refused = Err((ErrorKind::Protocol, "the server requires HTTP/1.1, but rejects it"));
    check(&[required, HELLO, Chunk(b"hello"), End], Ok(b"hello"));
    check(&[HELLO, Chunk(b"hel"), required, HELLO, Chunk(b"hello"), End], Ok(b"hello"));
    check(&[required, required], refused);
    check(&[required, MOVED, End, required, HELLO, Chunk(b"hello"), End], Ok(b"hello"));
}

#[test]
fn only_what_no_server_has_acted_on_is_sent_again() {
    let post = RequestSpec { method: Some(Template::parse(b"POST", Form::Word)), ..RequestSpec::default() };
    let post = FetchSpec { request: Some(Box::new(post)), ..spec() };
    let key = FetchSpec { headers: vec![("idempotency-key".into(), "k".into())], ..post.clone() };
    let fault = |fault| Event::Fault(fault);
    let (required, preferred) = (fault(&Fault::Http1Required), fault(&Fault::Http1Preferred));
    let [hello, hel, end] = [HELLO, Chunk(b"hel"), End];
    let done = [hello, Chunk(b"hello"), end];
    let again = |before: &[Event]| [before, &done[..]].concat();
    let busy = Head(429, &[]);
    let away = Head(308, &[("location", "http://b/")]);
    let stale = fault(&Fault::Stale);
    for (name, spec, events, requests, spent) in [
        ("refused over HTTP/2", &post, again(&[required]), 2, true),
        ("cut while refused", &post, vec![preferred], 1, true),
        ("refused after its head", &post, vec![hello, hel, required], 1, true),
        ("a GET", &self::spec(), again(&[preferred]), 2, false),
        ("cut with a key", &key, again(&[preferred]), 2, false),
        ("never sent", &post, vec![fault(&Fault::TimeoutUnsent)], 1, false),
        ("perhaps sent", &post, vec![fault(&Fault::Timeout)], 1, true),
        ("too busy", &post, vec![busy, end], 1, false),
        ("too busy, and gone", &post, vec![busy, fault(&Fault::Closed)], 1, false),
        ("too busy, and slow", &post, vec![busy, fault(&Fault::Timeout)], 1, false),
        ("without its key elsewhere", &key, vec![away, end, stale], 2, true),
        ("too busy elsewhere", &post, vec![away, end, busy, end], 2, false),
        ("done elsewhere", &post, vec![away, end, Head(500, &[]), end], 2, true),
        (
            "done before it goes elsewhere",
            &post,
            vec![Head(303, &[("location", "http://b/")]), end, busy, end],
            2,
            true,
        ),
    ] {
        let mut recording = Recording::new(false);
        let (sent, _) = play_on(spec, "http://a/", &events, &mut recording);
        assert_eq!((sent.len(), recording.spent().is_some()), (requests, spent), "{name}");
    }
}

#[test]
fn blocked_heads_are_found_at_every_hop() {
    let spec = with_rules(&["status:403", "header:location~/captcha", "header:x-a~^b$"]);
    let blocked = |events: &[Event]| {
        let (_, outcome) = play(&spec, "http://a/", events);
        let failure = outcome.unwrap_err();
        (failure.kind, failure.message, failure.status.unwrap(), failure.may_pass)
    };
    let want = |status, message: &str| (ErrorKind::Blocked, message.to_owned(), status, true);
    assert_eq!(
        blocked(&[Head(403, &[]), End]),
        want(403, "403 Forbidden: the answer matches --blocked-if 'status:403'")
    );
    assert_eq!(
        blocked(&[MOVED, End, Head(302, &[("location", "/captcha?from=b")]), End]),
        want(302, "302 Found: the answer matches --blocked-if 'header:location~/captcha'")
    );
    assert_eq!(
        blocked(&[Head(200, &[("x-a", "a"), ("x-a", "b")]), Chunk(b"page"), End]),
        want(200, "200 OK: the answer matches --blocked-if 'header:x-a~^b$'")
    );
    assert_eq!(
        blocked(&[Head(202, &[("x-amzn-waf-action", "challenge")]), End]),
        want(
            202,
            "202 Accepted: the answer matches --blocked-if 'header:x-amzn-waf-action~^(challenge|captcha)$'"
        )
    );
    let (_, outcome) = play(&spec, "http://a/", &[Head(404, &[("retry-after", "7")]), End]);
    assert_eq!(outcome.unwrap_err().kind, ErrorKind::HttpStatus);
    let (_, outcome) = play(&spec, "http://a/", &[Head(403, &[("retry-after", "7")]), End]);
    assert_eq!(outcome.unwrap_err().retry_after, Some(Duration::from_secs(7)));
    let (_, outcome) = play(&spec, "http://a/", &[Head(200, &[("x-a", "bb")]), Chunk(b"page"), End]);
    assert_eq!(outcome.unwrap().body, b"page");
}

#[test]
fn pages_of_errors_are_read_only_for_rules_about_pages() {
    let page = |spec: &FetchSpec, events: &[Event]| {
        let failure = play(spec, "http://a/", events).1.unwrap_err();
        assert_eq!((failure.kind, failure.message.as_str()), (ErrorKind::HttpStatus, "404 Not Found"));
        failure.page.map(|page| page.body)
    };
    let found = [Head(404, &[]), Chunk(b"no such "), Chunk(b"page"), End];
    assert_eq!(page(&spec(), &found), None);
    assert_eq!(page(&with_rules(&["status:403"]), &found), None);
    let spec = with_rules(&["body~x"]);
    assert_eq!(page(&spec, &found), Some(b"no such page".to_vec()));
    // Whatever becomes of the page, the error is the status.
    assert_eq!(page(&spec, &[Head(404, &[]), Chunk(b"no"), Event::Fault(&Fault::Timeout)]), None);
    assert_eq!(page(&spec, &[Head(404, &[("content-length", "5")]), Chunk(b"no"), End]), None);
    assert_eq!(page(&spec, &[Head(404, &[]), Zeros(1 << 20), Zeros(1)]), None);
    assert_eq!(page(&spec, &[Head(404, &[("content-length", "1048577")])]), None);
    assert_eq!(page(&spec, &[Head(404, &[("content-encoding", "gzip")]), Chunk(b"none")]), None);
}

#[test]
fn limits_apply_as_early_as_possible() {
    let too_large = Err((ErrorKind::TooLarge, "body over the limit of 1048576 bytes"));
    check(&[Head(200, &[("content-length", "1048577")])], too_large);
    check(&[Head(200, &[]), Zeros(1 << 20), Zeros(1)], too_large);
    // Compressed data may be slightly larger than its content, but not without limit.
    check(&[Head(200, &[("content-length", "1200000"), ("content-encoding", "br")])], too_large);
    let (_, outcome) = play(&spec(), "http://a/", &[Head(200, &[]), Zeros(1 << 20), End]);
    assert_eq!(outcome.unwrap().body.len(), 1 << 20);
}
