//! Secrets stay at home with both clients, whatever leads elsewhere.

use shared::request_headers::{HeaderScope, Reach};

use super::server::{Reply, serve};
use super::*;

const SECRETS: [&str; 3] = ["authorization: Bearer s", "cookie: a=b", "x-api-key: k"];

/// Serves the names of the secrets that a request carries, and redirects to the rest of the path.
fn server() -> std::net::SocketAddr {
    serve(|request, _| {
        let path = request.split(' ').nth(1).unwrap();
        if let Some(url) = path.strip_prefix("/to/") {
            return Reply::redirect(302, url);
        }
        let request = request.to_ascii_lowercase();
        let seen = SECRETS.iter().filter(|secret| request.contains(&secret.to_ascii_lowercase()));
        Reply::ok(format!("{} secrets, {}", seen.count(), request.contains("accept-language: de")).as_bytes())
    })
}

fn job(scope: HeaderScope) -> Pair {
    let headers = SECRETS.iter().chain(&["Accept-Language: de"]).map(|header| {
        let (name, value) = header.split_once(": ").unwrap();
        (name.to_owned(), value.to_owned())
    });
    Pair::new(&FetchSpec { headers: headers.collect(), header_scope: scope, ..spec() })
}

#[test]
fn secrets_do_not_follow_redirects_to_another_origin() {
    let (home, other) = (server(), server());
    for (reach, away) in [
        (Reach::Origin, "0 secrets, true"),
        (Reach::Domain, "3 secrets, true"),
        (Reach::Any, "3 secrets, true"),
    ] {
        let mut pair = job(HeaderScope { reach, ..HeaderScope::default() });
        for (path, want) in [
            ("/".to_owned(), "3 secrets, true"),
            ("/to//there".to_owned(), "3 secrets, true"),
            // Another port of the same host.
            (format!("/to/http://{other}/"), away),
            (format!("/to/http://{other}/to/http://{home}/"), "3 secrets, true"),
            (format!("/to/http://{other}/to/http://{other}/"), away),
        ] {
            let page = pair.page(&format!("http://{home}{path}"));
            assert_eq!(String::from_utf8(page.body).unwrap(), want, "{reach:?} {path}");
        }
    }
}

#[test]
fn listed_pages_get_secrets_at_home_only() {
    let (home, other) = (server(), server());
    let scope = HeaderScope { homes: vec![format!("http://{home}/sitemap.xml")], ..HeaderScope::default() };
    let mut pair = job(scope);
    for wanted in [Wanted::Listed, Wanted::Robots { named: false }] {
        for (url, want) in [
            (format!("http://{home}/"), "3 secrets, true"),
            (format!("http://{other}/"), "0 secrets, true"),
            (format!("http://u:p@{other}/"), "0 secrets, true"),
            (format!("http://{other}/to/http://{home}/"), "3 secrets, true"),
        ] {
            for outcome in pair.each_wanted(&url, wanted) {
                assert_eq!(String::from_utf8(outcome.unwrap().body).unwrap(), want, "{url}");
            }
        }
    }
    for wanted in [Wanted::Page, Wanted::Robots { named: true }] {
        for outcome in pair.each_wanted(&format!("http://{other}/"), wanted) {
            assert_eq!(outcome.unwrap().body, b"3 secrets, true", "the user named this one");
        }
    }
}

#[test]
fn credentials_in_a_named_url_are_for_its_origin_whatever_the_scope() {
    let server = || {
        serve(|request, _| {
            let path = request.split(' ').nth(1).unwrap();
            if let Some(url) = path.strip_prefix("/to/") {
                return Reply::redirect(302, url);
            }
            let request = request.to_ascii_lowercase();
            let has = |header| usize::from(request.contains(header));
            let (key, basic) = (has("x-api-key: k"), has("authorization: basic dtpw\r\n"));
            Reply::ok(format!("{key} key, {basic} basic").as_bytes())
        })
    };
    let (home, other) = (server(), server());
    let homes = vec![format!("http://{home}")];
    let mut pair = job(HeaderScope { homes, only_these: true, ..HeaderScope::default() });
    // At home there is an Authorization header, which has precedence.
    for (url, want) in [
        (format!("http://u:p@{other}/"), "0 key, 1 basic"),
        (format!("http://u:p@{other}/to//there"), "0 key, 1 basic"),
        (format!("http://u:p@{other}/to/http://{home}/"), "1 key, 0 basic"),
        (format!("http://u:p@{other}/to/http://{home}/to/http://{other}/"), "0 key, 1 basic"),
        (format!("http://{home}/to/http://u:p@{other}/"), "0 key, 0 basic"),
        (format!("http://u:p@{home}/"), "1 key, 0 basic"),
    ] {
        assert_eq!(String::from_utf8(pair.page(&url).body).unwrap(), want, "{url}");
    }
}
