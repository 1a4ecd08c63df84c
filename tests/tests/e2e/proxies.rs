//! Requests through proxies: the same records, and none lost when a proxy fails.

use serde_json::Value;

use crate::harness::{Dir, MODES, Manner, Origin, TestProxy, fetch, kind, normalised};

fn urls(origin: &Origin, count: u32) -> Vec<String> {
    (0..count).map(|n| origin.url(&format!("/site/page/{n}"))).collect()
}

#[test]
fn records_are_the_same_through_every_kind_of_proxy() {
    let dir = Dir::new();
    let ca = dir.path("ca.pem");
    let plain = Origin::start();
    let secure = Origin::start_with(&["--tls-ca", ca.to_str().unwrap()]);
    for origin in [&plain, &secure] {
        let run = |mode| {
            let run = fetch().args(["--mode", mode, "--select", "t=title"]).env("SSL_CERT_FILE", &ca);
            run.urls(urls(origin, 40))
        };
        let direct = normalised(run("both").run().exits(0).records());
        for (scheme, mode) in ["http", "socks5", "socks5h"].iter().zip(MODES.iter().cycle().skip(1)) {
            for mode in [mode, &"concurrent"] {
                let proxy = TestProxy::start(Manner::Works);
                let through = run(mode).args(["--proxy", &proxy.url(scheme)]).run().exits(0);
                assert_eq!(normalised(through.records()), direct, "{scheme} {mode}: {through}");
                assert!(proxy.requests() > 0, "{scheme} {mode}");
            }
        }
    }
}

fn proxy_of<'a>(summary: &'a Value, proxy: &TestProxy) -> &'a Value {
    let list = summary["proxies"].as_array().unwrap();
    list.iter().find(|entry| entry["proxy"] == proxy.url("http")).unwrap()
}

#[test]
fn proxies_that_fail_cost_no_record() {
    let origin = Origin::start();
    for mode in ["parallel", "both"] {
        let dir = Dir::new();
        let proxies = [Manner::Works, Manner::Works, Manner::Works, Manner::Dead, Manner::Silent];
        let proxies = proxies.map(TestProxy::start);
        let flags = proxies.iter().flat_map(|proxy| ["--proxy".to_owned(), proxy.url("http")]);
        let list: Vec<String> = (0..4).flat_map(|_| urls(&origin, 300)).collect();
        let run = fetch()
            .args(["--mode", mode, "--connect-timeout", "1s", "--timeout", "5s", "--summary"])
            .arg(dir.path("s.json"))
            .args(flags)
            .urls(&list)
            .spawn();
        run.wait_for_lines(300);
        proxies[1].kill();
        let run = run.wait().exits(0);
        assert_eq!(normalised(run.records()).len(), list.len(), "{mode}: {run}");
        assert!(run.records().iter().all(|record| kind(record).is_empty()), "{mode}: {run}");
        // What was on its way there when it died counts too: a third of the 64 at once that a host gets, or more.
        assert!(proxies[1].accepted() <= 40, "{mode}: {} tries", proxies[1].accepted());
        assert!(proxies[3].accepted() <= 5, "{mode}: {} tries", proxies[3].accepted());
        let summary: Value = serde_json::from_str(&dir.read("s.json")).unwrap();
        assert_eq!(proxy_of(&summary, &proxies[3])["state"], "resting", "{mode}: {summary}");
        let good = proxy_of(&summary, &proxies[0]);
        assert_eq!((good["faults"].as_u64(), &good["state"]), (Some(0), &"good".into()), "{mode}: {summary}");
    }
}

#[test]
fn without_a_working_proxy_the_run_ends_and_can_be_resumed() {
    let (dir, origin) = (Dir::new(), Origin::start());
    let (closed, works) = (TestProxy::start(Manner::Closed), TestProxy::start(Manner::Works));
    let run = |proxy: &str| fetch().args(["--proxy", proxy, "-o"]).arg(dir.path("o.jsonl"));
    let url = closed.url("http").replace("://", "://user:secret@");
    let ended = run(&url).urls(urls(&origin, 50)).run().exits(1);
    let ended = ended.says("no proxy works: http://***@127.0.0.1").says("wants other credentials");
    assert!(!ended.text().contains("secret"), "{ended}");
    run(&works.url("http")).arg("--resume").urls(urls(&origin, 50)).run().exits(0);
    assert_eq!(dir.read("o.jsonl").lines().count(), 50);
}

#[test]
fn a_proxy_that_a_host_turns_away_is_not_used_for_it() {
    let origin = Origin::start();
    let (works, forbids) = (TestProxy::start(Manner::Works), TestProxy::start(Manner::Forbids));
    let run = fetch().args(["--blocked-if", "status:403", "--retries", "0", "--proxy", &works.url("http")]);
    let run = run.args(["--proxy", &forbids.url("http")]).urls(urls(&origin, 200)).run().exits(0);
    assert_eq!(run.records().len(), 200);
    assert!(forbids.requests() < 20, "{}", forbids.requests());
}

#[test]
fn the_next_tier_is_used_where_the_cheaper_one_fails() {
    let (dir, origin) = (Dir::new(), Origin::start());
    let (dead, works) = (TestProxy::start(Manner::Dead), TestProxy::start(Manner::Works));
    let tier = |name: &str, proxy: &TestProxy| dir.write(name, format!("# proxies\n{}\n", proxy.url("http")));
    let (cheap, dear) = (tier("cheap", &dead), tier("dear", &works));
    let run = fetch().arg("--proxy-tier").arg(cheap).arg("--proxy-tier").arg(dear);
    let run = run.urls(urls(&origin, 20)).run().exits(0);
    assert_eq!((run.records().len(), works.requests()), (20, 20));
    assert!(dead.accepted() <= 3, "{}", dead.accepted());
}

#[test]
fn variables_name_proxies_and_what_needs_none() {
    let origin = Origin::start();
    let proxy = TestProxy::start(Manner::Works);
    for (no_proxy, requests) in [("example.org", 10), ("example.org,127.0.0.0/8", 0)] {
        let before = proxy.requests();
        let run = fetch().env("http_proxy", proxy.url("http")).env("NO_PROXY", no_proxy);
        run.urls(urls(&origin, 10)).run().exits(0);
        assert_eq!(proxy.requests() - before, requests, "{no_proxy}");
    }
}

#[test]
fn malformed_proxies_are_refused_and_their_passwords_not_shown() {
    for (proxy, says) in [
        ("ftp://user:secret@host", "scheme ftp: give http, https, socks5 or socks5h"),
        ("http://user:secret@host/path", "a proxy has no path"),
    ] {
        let run = fetch().args(["--proxy", proxy, "http://127.0.0.1/"]).run().exits(2).says(says);
        assert!(!run.text().contains("secret"), "{run}");
    }
}
