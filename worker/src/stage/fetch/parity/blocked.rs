//! Answers that count as blocked.

use shared::select::blocked::{BlockedIf, BlockedRules};

use super::server::{Reply, serve};
use super::*;

fn pair(flags: &[&str]) -> Pair {
    let rules = flags.iter().map(|flag| BlockedIf::parse(flag).unwrap()).collect();
    Pair::new(&FetchSpec { blocked: BlockedRules::of(rules), ..spec() })
}

#[test]
fn both_clients_find_the_same_answers_blocked() {
    let address = serve(|request, _| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        match path {
            "/cloudflare" => Reply::with("CF-Mitigated: challenge\r\n", b"Just a moment..."),
            "/home" => Reply::redirect(302, "/captcha"),
            "/forbidden" => Reply::keep("HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nstop"),
            _ => Reply::ok(b"page"),
        }
    });
    let url = |path: &str| format!("http://{address}{path}");
    let mut defaults = pair(&[]);
    let message = "200 OK: the answer matches --blocked-if 'header:cf-mitigated~^challenge$'";
    assert_failure(&defaults.failure(&url("/cloudflare")), ErrorKind::Blocked, message, true);
    let refused = |pair: &Pair| pair.recordings.each_ref().map(|one| one.reply().unwrap().refused);
    assert_eq!(refused(&defaults), [true, true]);
    assert_failure(&defaults.failure(&url("/forbidden")), ErrorKind::HttpStatus, "403 Forbidden", false);
    assert_eq!(refused(&defaults), [false, false], "a 403 asks for nothing");
    assert_eq!(defaults.page(&url("/home")).body, b"page");

    let mut own = pair(&["none", "status:403", "header:location~captcha"]);
    let message = "403 Forbidden: the answer matches --blocked-if 'status:403'";
    assert_failure(&own.failure(&url("/forbidden")), ErrorKind::Blocked, message, true);
    let message = "302 Found: the answer matches --blocked-if 'header:location~captcha'";
    assert_failure(&own.failure(&url("/home")), ErrorKind::Blocked, message, true);
    assert_eq!(own.page(&url("/cloudflare")).body, b"Just a moment...");

    let mut by_page = pair(&["body~stop"]);
    let page = by_page.failure(&url("/forbidden")).page.unwrap();
    assert_eq!((page.body.as_slice(), page.content_type), (&b"stop"[..], None));
}
