//! `--robots obey`: nothing is fetched that a robots.txt disallows, and each robots.txt is fetched once.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::harness::{Dir, MODES, Origin, by_id, fetch, kind, parse_lines};

const ROBOTS: &str = "/robots.txt";

fn origin(robots: &str) -> Origin {
    Origin::start_with(&["--robots", robots])
}

fn pages(origin: &Origin, count: u32, delay_s: f64) -> Vec<String> {
    (0..count).map(|n| origin.url(&format!("/counted/p{n}?delay={delay_s}"))).collect()
}

#[test]
fn what_is_disallowed_gets_a_record_and_no_request() {
    for mode in MODES {
        let origin = origin("rules");
        let urls = ["/counted/0", "/counted/1", "/echo/private/x", "/echo/private/not", "/echo?q=private#x"];
        let urls: Vec<_> = urls.iter().map(|path| origin.url(path)).collect();
        let flags = ["--robots", "obey", "--mode", mode];
        let run = fetch().args(flags).urls(&urls).run().exits(3);
        let records = by_id(run.records());
        let kinds: Vec<_> = (0..5).map(|id| records[&id]["error"]["kind"].as_str()).collect();
        assert_eq!(kinds, [Some("robots"), None, Some("robots"), None, Some("robots")], "{run}");
        let record = &records[&0];
        let message = format!("{} disallows it: line 5, /counted/0", origin.url(ROBOTS));
        assert_eq!(record["error"]["message"], message);
        assert_eq!((&record["url"], &record["attempts"]), (&json!(urls[0]), &json!(1)));
        assert_eq!(origin.requests(ROBOTS), 1);
        assert_eq!(origin.stats()["requests"], 3, "the file and two pages");
    }
}

#[test]
fn a_robots_txt_gets_the_secrets_that_the_pages_behind_it_get() {
    let (home, other) = (Origin::start(), origin("private"));
    let page = other.url("/counted/0");
    for (mode, listed, is_named) in
        [("parallel", home.url("/echo/1"), true), ("both", page.clone(), true), ("both", page.clone(), false)]
    {
        let sitemap = home.url(&format!("/sitemap-of?pages={listed}"));
        let flags = ["--robots", "obey", "--mode", mode, "-H", "Authorization: Bearer s", "--sitemap"];
        let named = is_named.then_some(&page);
        let run = fetch().args(flags).arg(&sitemap).urls(named).run();
        let refused = run.records().iter().filter(|record| kind(record) == "robots").count();
        let of_page = usize::from(listed == page) + usize::from(is_named);
        assert_eq!(refused, if is_named { of_page } else { 0 }, "{run}");
    }
}

#[test]
fn by_default_no_robots_txt_is_asked_for() {
    let origin = origin("rules");
    fetch().urls([origin.url("/counted/0")]).run().exits(0);
    assert_eq!(origin.requests(ROBOTS), 0);
}

#[test]
fn the_group_is_that_of_the_product_in_the_user_agent() {
    let origin = origin("rules");
    let url = origin.url("/counted/1");
    for (flags, code) in [
        (["-A", "Other/2.0"], 3),
        (["-A", "Mozilla/5.0 (compatible; other; +http://a.example)"], 3),
        (["-H", "User-Agent: other"], 3),
        (["-A", "another"], 0),
    ] {
        fetch().args(["--robots", "obey"]).args(flags).urls([&url]).run().exits(code);
    }
}

#[test]
fn a_bad_robots_txt_is_read_as_far_as_it_makes_sense() {
    for (robots, disallows) in [
        ("missing", false),
        ("gzip", true),
        ("odd", true),
        ("huge", true),
        ("html", false),
        ("moved", true),
        ("loop", false),
    ] {
        for mode in ["sequential", "both"] {
            let origin = origin(robots);
            let urls = [origin.url("/counted/0"), origin.url("/counted/1")];
            let run = fetch().args(["--robots", "obey", "--mode", mode]).urls(urls).run();
            let records = by_id(run.records());
            assert_eq!(kind(&records[&0]) == "robots", disallows, "{robots}: {run}");
            assert!(records[&1]["error"].is_null(), "{robots}: {run}");
            assert!(run.elapsed < Duration::from_secs(10), "{robots}: {run}");
        }
    }
}

#[test]
fn pages_wait_for_a_server_that_is_down() {
    for flags in [&["--mode", "both"][..], &["--mode", "parallel", "--ordered"], &["--mode", "auto"]] {
        let origin = origin("down");
        let urls = pages(&origin, 60, 0.0);
        let run = fetch().args(["--robots", "obey"]).args(flags).urls(&urls).run().exits(0);
        let run = run.says("/robots.txt cannot be fetched: 503 Service Unavailable; its targets wait, for");
        assert_eq!(by_id(run.records()).len(), 60, "{run}");
        let (asked, fetched) = (origin.times_s(ROBOTS), origin.times_s("/counted/"));
        assert!(asked.len() > 1 && asked.last() < fetched.first(), "{asked:?} {fetched:?}");
    }
}

#[test]
fn a_host_that_says_nothing_does_not_hold_up_another() {
    let (silent, other) = (origin("silent"), origin("rules"));
    let urls: Vec<_> = pages(&silent, 50, 0.0).into_iter().chain(pages(&other, 50, 0.0)).collect();
    let run = fetch().args(["--robots", "obey", "--mode", "both"]).urls(&urls).spawn();
    run.wait_for_lines(50);
    run.signal(Signal::SIGINT);
    run.until("the stop", || run.stderr_so_far().contains("finishing").then_some(()));
    run.signal(Signal::SIGINT);
    run.wait().exits(130).says("50 records written").says("50 inputs left");
    assert_eq!((silent.requests(ROBOTS), silent.times_s("/counted/").len()), (1, 0));
}

#[test]
fn dead_workers_cost_no_second_request() {
    let origin = origin("rules");
    let urls = pages(&origin, 80, 0.1);
    let flags = ["--robots", "obey", "--mode", "both", "--workers", "4", "--concurrency", "4"];
    let run = fetch().args(flags).urls(&urls).spawn();
    run.wait_for_lines(10);
    for worker in run.workers().iter().take(2) {
        worker.signal(Signal::SIGKILL);
    }
    let run = run.wait().exits(0);
    assert_eq!(by_id(run.records()).len(), 80, "{run}");
    assert_eq!(origin.requests(ROBOTS), 1, "{run}");
}

#[test]
fn another_worker_asks_if_the_one_that_asked_dies() {
    let origin = origin("slow");
    let urls = pages(&origin, 20, 0.0);
    let flags = ["--robots", "obey", "--mode", "both", "--workers", "1"];
    let run = fetch().args(flags).urls(&urls).spawn();
    run.until("the request", || (origin.requests(ROBOTS) == 1).then_some(()));
    run.wait_for_workers(1)[0].signal(Signal::SIGKILL);
    let run = run.wait().exits(0);
    assert_eq!(by_id(run.records()).len(), 20, "{run}");
    assert_eq!(origin.requests(ROBOTS), 2, "{run}");
}

#[test]
fn a_run_killed_while_its_targets_wait_is_resumed() {
    let (origin, dir) = (origin("down"), Dir::new());
    let urls = pages(&origin, 40, 0.0);
    dir.write("urls.txt", urls.join("\n"));
    let flags = ["--robots", "obey", "--mode", "both", "-i", "urls.txt", "-o", "out.jsonl", "--resume"];
    let resumed = || fetch().current_dir(dir.root()).args(flags);
    let run = resumed().spawn();
    run.until("the request", || (origin.requests(ROBOTS) > 0).then_some(()));
    run.signal(Signal::SIGKILL);
    run.wait();
    let output = resumed().run().exits(0);
    assert_eq!(by_id(parse_lines(dir.read("out.jsonl").as_bytes())).len(), 40, "{output}");
}

#[test]
fn a_resumed_run_does_not_ask_again() {
    let (origin, dir) = (origin("rules"), Dir::new());
    let urls = pages(&origin, 60, 0.1);
    dir.write("urls.txt", format!("{}\n{}", urls.join("\n"), origin.url("/counted/0")));
    let flags = ["--robots", "obey", "--mode", "concurrent", "--concurrency", "4"];
    let files = ["-i", "urls.txt", "-o", "out.jsonl", "--resume"];
    let resumed = || fetch().current_dir(dir.root()).args(flags).args(files);
    for _ in 0..2 {
        let before = origin.times_s("/counted/").len();
        let run = resumed().spawn();
        run.until("pages", || (origin.times_s("/counted/").len() > before + 8).then_some(()));
        run.signal(Signal::SIGKILL);
        run.wait();
    }
    let output = resumed().run().exits(3);
    let records = by_id(parse_lines(dir.read("out.jsonl").as_bytes()));
    assert_eq!((records.len(), kind(&records[&60])), (61, "robots"), "{output}");
    assert_eq!(origin.requests(ROBOTS), 1, "{output}");
    assert!(!dir.path("out.jsonl.journal.robots").exists());
}

#[test]
fn a_crawl_delay_is_kept() {
    let origin = origin("delay");
    let urls = pages(&origin, 8, 0.0);
    fetch().args(["--robots", "obey", "--mode", "both"]).urls(&urls).run().exits(0);
    let times = origin.times_s("/counted/");
    assert!(times[7] - times[0] > 7.0 * 0.2 - 0.1, "{times:?}");
}

#[test]
fn a_crawl_delay_that_means_never_is_shortened() {
    let origin = origin("never");
    let urls = pages(&origin, 3, 0.0);
    let run = fetch().args(["--robots", "obey", "--mode", "both"]).urls(&urls).spawn();
    run.wait_for_lines(1);
    run.until("the message", || run.stderr_so_far().contains("asks for a crawl delay").then_some(()));
    run.signal(Signal::SIGTERM);
    run.signal(Signal::SIGTERM);
    run.wait().says("a crawl delay of");
    assert_eq!(origin.times_s("/counted/").len(), 1);
}
