//! Pages of an earlier run: both clients ask alike, note alike, and take an unchanged page alike.

use shared::protocol::{PageMark, TargetNote};
use shared::record::FieldValue;

use super::connections::path;
use super::server::{Reply, serve};
use super::*;
use crate::stage::decode::tests::brotli;
use crate::stage::fetch::since::{Condition, Notes};

/// What an earlier run has found on each page.
fn found() -> Vec<FieldValue> {
    vec![FieldValue::Text("then".to_owned())]
}

/// A condition about a page with this note.
fn condition(note: Option<&Vec<u8>>) -> Option<Box<Condition>> {
    let notes = Notes::default();
    notes.take_in(note.map(|note| TargetNote { id: 0, note: note.clone() }).into_iter().collect());
    Some(Box::new(notes.condition(0, found().len())))
}

/// Shows the conditions of a request.
fn asked(request: &str) -> String {
    let lines = request.lines().filter(|line| line.to_ascii_lowercase().starts_with("if-"));
    lines.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("|")
}

fn answer(request: &str) -> Reply {
    let asked = asked(request);
    if path(request) == "/moved" {
        return Reply::keep(format!(
            "HTTP/1.1 302 Found\r\nLocation: /tag\r\nETag: \"of the redirect\"\r\nX-Asked: {asked}\r\nContent-Length: 0\r\n\r\n"
        ));
    }
    let headers = match path(request) {
        "/tag" => "ETag: \"x\"\r\n",
        "/weak" => "ETag: W/\"x\"\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n",
        "/suffix" => "ETag: \"x-br\"\r\nContent-Encoding: br\r\n",
        "/date" => "Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\nDate: Wed, 21 Oct 2015 07:29:00 GMT\r\n",
        "/vary" => "ETag: \"x\"\r\nVary: Accept-Encoding, X-Who\r\nVary: Accept-Language\r\n",
        "/star" => "ETag: \"x\"\r\nVary: Accept-Language, *\r\n",
        "/wrong" => "ETag: x\r\n",
        "/two" => "ETag: \"x\"\r\nETag: \"y\"\r\n",
        _ => "",
    };
    let body = if path(request) == "/suffix" { brotli(b"page") } else { b"page".to_vec() };
    if asked.is_empty() && path(request) != "/untouched" {
        return Reply::with(headers, &body);
    }
    // The length is that of the page, and no body follows.
    Reply::keep(format!("HTTP/1.1 304 Not Modified\r\nX-Asked: {asked}\r\nContent-Length: 200000\r\n\r\n"))
}

/// Fetches with both clients, which must agree. Returns the outcome, and each client's recording.
fn fetch(pair: &mut Pair, url: &str, note: Option<&Vec<u8>>) -> (Outcome, [Recording; 2]) {
    let mut recordings = [Recording::new(true), Recording::new(true)];
    recordings.iter_mut().for_each(|recording| recording.condition = condition(note));
    let [one, other] = &mut recordings;
    let kept = Kept(&[]);
    let blocking = pair.blocking.fetch(url, Wanted::Page, None, kept, one);
    let event_loop = pair.runtime.block_on(pair.event_loop.fetch(url, Wanted::Page, None, kept, other));
    assert_eq!(blocking, event_loop, "{url}");
    (event_loop, recordings)
}

/// What both clients note of a page that came.
fn note(pair: &mut Pair, url: &str) -> Option<Vec<u8>> {
    let (outcome, recordings) = fetch(pair, url, None);
    assert_eq!(outcome.unwrap().body, b"page", "{url}");
    let [one, other] = recordings.map(|mut recording| {
        assert!(recording.unchanged().is_none());
        recording.condition.unwrap().note(&found(), Some("utf-8"), None, None)
    });
    assert_eq!(one, other, "{url}");
    one
}

/// What the server was asked in the last request, in lower case.
fn last_asked(recording: &Recording) -> String {
    let hop = recording.hops().last().unwrap();
    let head = String::from_utf8_lossy(&hop.response.as_ref().unwrap().head).into_owned();
    let line = head.lines().find_map(|line| line.strip_prefix("x-asked: "));
    line.unwrap_or_default().to_owned()
}

#[test]
fn an_unchanged_page_is_asked_for_by_its_validator_and_noted_again() {
    let address = serve(|request, before| {
        assert!(before < 20);
        answer(request)
    });
    let mut pair = Pair::new(&spec());
    for (page, want) in [
        ("tag", "if-none-match: \"x\""),
        ("weak", "if-none-match: w/\"x\""),
        ("suffix", "if-none-match: \"x-br\", \"x\""),
        ("date", "if-modified-since: wed, 21 oct 2015 07:28:00 gmt"),
        ("moved", "if-none-match: \"x\""),
        ("tag#part", "if-none-match: \"x\""),
    ] {
        let url = format!("http://{address}/{page}");
        let note = note(&mut pair, &url).expect(page);
        let (outcome, recordings) = fetch(&mut pair, &url, Some(&note));
        let fetched = outcome.unwrap();
        assert_eq!((fetched.status, fetched.body.len()), (304, 0), "{page}");
        for mut recording in recordings {
            assert_eq!(last_asked(&recording), want, "{page}");
            let redirects = recording.hops().iter().filter(|hop| hop.url.path() == "/moved");
            assert!(
                redirects.clone().all(|hop| !asked(&String::from_utf8_lossy(&hop.request)).contains("if-"))
            );
            let unchanged = recording.unchanged().unwrap();
            assert_eq!((unchanged.fields, unchanged.charset.as_deref()), (found(), Some("utf-8")));
            assert_eq!(
                recording.condition.unwrap().note(&[], None, None, None),
                Some(note.clone()),
                "{page}"
            );
        }
    }
}

#[test]
fn pages_without_a_sound_validator_are_not_noted() {
    let address = serve(|request, _| answer(request));
    let mut pair = Pair::new(&spec());
    for page in ["", "wrong", "two", "star"] {
        assert_eq!(note(&mut pair, &format!("http://{address}/{page}")), None, "{page}");
    }
    let with_credentials = format!("http://user:password@{address}/tag");
    assert_eq!(note(&mut pair, &with_credentials), None);
}

#[test]
fn a_note_of_another_page_is_not_used() {
    let address = serve(|request, _| answer(request));
    let mut pair = Pair::new(&spec());
    let noted = note(&mut pair, &format!("http://{address}/tag")).unwrap();
    for (page, note) in [("date", noted.clone()), ("moved", noted.clone()), ("tag", b"garbage".to_vec())] {
        let (outcome, _) = fetch(&mut pair, &format!("http://{address}/{page}"), Some(&note));
        assert_eq!(outcome.unwrap().status, 200, "{page}");
    }
}

#[test]
fn a_304_that_nobody_asked_for_is_an_error_unless_the_user_did() {
    let address = serve(|request, _| answer(request));
    let url = format!("http://{address}/untouched");
    let mut pair = Pair::new(&spec());
    let failure = *fetch(&mut pair, &url, None).0.unwrap_err();
    let message = "304 Not Modified, although the request had no condition";
    assert_failure(&failure, ErrorKind::HttpStatus, message, false);
    assert_eq!(failure.status, Some(304));
    assert_eq!(pair.page(&url).status, 304, "without --since, it is as it ever was");
    let noted = note(&mut pair, &format!("http://{address}/tag")).unwrap();
    let headers = vec![("If-None-Match".to_owned(), "\"mine\"".to_owned())];
    let mut pair = Pair::new(&FetchSpec { headers, ..spec() });
    let (outcome, recordings) = fetch(&mut pair, &format!("http://{address}/tag"), Some(&noted));
    assert_eq!(outcome.unwrap().status, 304);
    for mut recording in recordings {
        assert_eq!(last_asked(&recording), "if-none-match: \"mine\"");
        assert!(recording.unchanged().is_none());
        assert_eq!(recording.condition.unwrap().note(&found(), None, None, None), None);
    }
}

#[test]
fn an_unchanged_page_keeps_headers_that_the_304_lacks() {
    let address = serve(|request, _| match asked(request).as_str() {
        "" => Reply::with("ETag: \"x\"\r\nContent-Language: de\r\nX-A: 1\r\n", b"page"),
        _ => Reply::keep("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nX-A: 2\r\nX-B: 3\r\n\r\n"),
    });
    let response_headers = ["x-a", "content-language", "x-b"].map(str::to_owned).to_vec();
    let mut pair = Pair::new(&FetchSpec { response_headers, ..spec() });
    let url = format!("http://{address}/");
    let (_, [first, _]) = fetch(&mut pair, &url, None);
    let noted = first.condition.as_ref().unwrap().note(&found(), None, first.headers(), None).unwrap();
    let (_, recordings) = fetch(&mut pair, &url, Some(&noted));
    for mut recording in recordings {
        recording.unchanged().unwrap();
        let text = |name: &str, value: &str| (name.to_owned(), FieldValue::Text(value.to_owned()));
        let want = vec![text("x-a", "2"), text("content-language", "de"), text("x-b", "3")];
        assert_eq!(recording.headers(), Some(&FieldValue::Object(want)));
    }
}

#[test]
fn a_page_is_asked_for_only_as_the_one_that_it_was_fetched_as() {
    let address = serve(|request, _| answer(request));
    let with = |headers: &[(&str, &str)]| {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Pair::new(&FetchSpec { headers, ..spec() })
    };
    let german = ("Accept-Language", "de");
    for (page, headers, is_same) in [
        ("vary", &[german][..], true),
        ("vary", &[german, ("X-Other", "1")], true),
        ("vary", &[], false),
        ("vary", &[("Accept-Language", "en")], false),
        ("vary", &[german, ("X-Who", "me")], false),
        ("vary", &[german, ("Cookie", "a=b")], false),
        ("tag", &[], true),
        ("tag", &[("Authorization", "Bearer x")], false),
        ("tag", &[german, ("Cookie", "a=b")], false),
    ] {
        let url = format!("http://{address}/{page}");
        let noted = note(&mut with(&[german]), &url).unwrap();
        let (outcome, _) = fetch(&mut with(headers), &url, Some(&noted));
        assert_eq!(outcome.unwrap().status, if is_same { 304 } else { 200 }, "{page} {headers:?}");
    }
}

#[test]
fn a_page_behind_a_request_that_cannot_be_noted_is_not_noted_as_its_own() {
    let address = serve(|request, _| answer(request));
    let mut pair = Pair::new(&spec());
    assert_eq!(note(&mut pair, &format!("http://user:password@{address}/moved")), None);
}

#[test]
fn a_304_about_another_version_is_answered_by_asking_for_the_page() {
    let address = serve(|request, _| match asked(request).as_str() {
        "" => Reply::with("ETag: \"x\"\r\n", b"page"),
        _ => Reply::keep("HTTP/1.1 304 Not Modified\r\nETag: \"y\"\r\nContent-Length: 200000\r\n\r\n"),
    });
    let mut pair = Pair::new(&spec());
    let url = format!("http://{address}/");
    let noted = note(&mut pair, &url).unwrap();
    let (outcome, recordings) = fetch(&mut pair, &url, Some(&noted));
    let fetched = outcome.unwrap();
    assert_eq!((fetched.status, fetched.body.as_slice()), (200, &b"page"[..]));
    for mut recording in recordings {
        assert_eq!(recording.hops().len(), 2);
        assert!(recording.unchanged().is_none());
        let again = recording.condition.unwrap().note(&found(), Some("utf-8"), None, None);
        assert_eq!(again.as_ref(), Some(&noted));
    }
}

#[test]
fn an_unchanged_page_is_recognized_by_the_mark_that_it_had() {
    let address = serve(|request, _| answer(request));
    let mut pair = Pair::new(&spec());
    let url = format!("http://{address}/tag");
    let (_, [first, _]) = fetch(&mut pair, &url, None);
    let mark = Some(PageMark { hash: 7, challenges: true });
    let noted = first.condition.unwrap().note(&found(), None, None, mark).unwrap();
    let (_, recordings) = fetch(&mut pair, &url, Some(&noted));
    recordings.into_iter().for_each(|mut recording| assert_eq!(recording.unchanged().unwrap().mark, mark));
}
