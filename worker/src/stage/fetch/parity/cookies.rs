//! Cookies: kept and sent hop by hop, and in no archive.

use super::connections::path;
use super::server::{Reply, serve};
use super::*;

fn keeping() -> Pair {
    Pair::new(&FetchSpec { cookies: true, ..spec() })
}

/// Answers with the cookies of the request, or does what its path says, in which `~` is a slash.
fn answer(request: &str) -> Reply {
    let path = path(request);
    let sets = |cookies: &str, status: &str| {
        let cookies = cookies.replace('~', "/");
        let cookies: String = cookies.split('|').map(|cookie| format!("Set-Cookie: {cookie}\r\n")).collect();
        Reply::keep(format!("HTTP/1.1 {status}\r\n{cookies}Content-Length: 0\r\n\r\n"))
    };
    if let Some(cookies) = path.strip_prefix("/set/") {
        return sets(cookies, "200 OK");
    }
    if let Some(cookies) = path.strip_prefix("/moved/") {
        return sets(cookies, "302 Found\r\nLocation: /deep/er");
    }
    let seen = request.lines().filter_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("cookie").then_some(value)
    });
    Reply::ok(seen.collect::<Vec<_>>().join("|").as_bytes())
}

fn seen(pair: &mut Pair, url: &str) -> String {
    String::from_utf8(pair.page(url).body).unwrap()
}

#[test]
fn cookies_are_kept_and_sent_back_hop_by_hop() {
    let address = serve(|request, _| answer(request));
    let mut pair = keeping();
    assert_eq!(seen(&mut pair, &format!("http://{address}/")), "");
    pair.page(&format!("http://{address}/set/a=1|b=2;Path=~deep|c=3;Secure|d=4;Domain=example.com"));
    assert_eq!(seen(&mut pair, &format!("http://{address}/")), "", "the path is that of the page");
    assert_eq!(seen(&mut pair, &format!("http://{address}/set")), "a=1");
    let all = seen(&mut pair, &format!("http://{address}/moved/e=5;Path=~|b=6;Path=~deep"));
    assert_eq!(all, "b=6; e=5", "a redirect sets what the next hop gets, longer paths first");
    pair.page(&format!("http://{address}/set/e=;Path=~;Max-Age=0"));
    assert_eq!(seen(&mut pair, &format!("http://{address}/")), "", "it is deleted");
}

#[test]
fn without_the_flag_nothing_is_kept() {
    let address = serve(|request, _| answer(request));
    let mut pair = Pair::new(&spec());
    assert_eq!(seen(&mut pair, &format!("http://{address}/moved/e=5;Path=~")), "");
}

#[test]
fn the_users_own_cookies_go_first() {
    let address = serve(|request, _| answer(request));
    let headers = ["mine=0", "also=1"].map(|cookie| ("Cookie".to_owned(), cookie.to_owned()));
    let mut pair = Pair::new(&FetchSpec { cookies: true, headers: headers.to_vec(), ..spec() });
    assert_eq!(seen(&mut pair, &format!("http://{address}/moved/e=5;Path=~")), "mine=0; also=1; e=5");
}

#[test]
fn cookies_of_one_origin_go_to_no_other() {
    let other = serve(|request, _| answer(request));
    let home = serve(move |request, _| match path(request) {
        "/away" => Reply::keep(format!(
            "HTTP/1.1 302 Found\r\nLocation: http://localhost:{}/\r\nSet-Cookie: a=1; Path=/\r\nContent-Length: 0\r\n\r\n",
            other.port()
        )),
        _ => answer(request),
    });
    let mut pair = keeping();
    assert_eq!(seen(&mut pair, &format!("http://{home}/away")), "");
    assert_eq!(seen(&mut pair, &format!("http://{home}/")), "a=1");
}

#[test]
fn archives_hold_no_cookies_and_no_robots_txt_gets_any() {
    let address = serve(|request, _| answer(request));
    let mut pair = keeping();
    pair.page(&format!("http://{address}/moved/sid=hunter2;Path=~"));
    let hops: Vec<_> = pair.recordings.iter().flat_map(Recording::hops).collect();
    assert_eq!(hops.len(), 4);
    for hop in hops {
        let response = hop.response.as_ref().unwrap();
        let heads = [hop.request.as_slice(), &response.head].concat();
        assert!(!String::from_utf8_lossy(&heads).to_lowercase().contains("cookie"));
    }
    for outcome in pair.each_wanted(&format!("http://{address}/robots.txt"), Wanted::Robots { named: true }) {
        assert_eq!(outcome.unwrap().body, b"");
    }
    let known = [pair.blocking.cookies(), pair.event_loop.cookies()];
    for (_, changes) in known.map(|cookies| cookies.unwrap().changes()) {
        assert_eq!(format!("{changes:?}"), "[Cookie(127.0.0.1/ sid=***)]");
    }
}
