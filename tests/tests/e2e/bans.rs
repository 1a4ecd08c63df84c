//! Pages that turn a visitor away are no results, and their host is asked more slowly.

use serde_json::{Value, json};

use crate::harness::{Dir, MODES, Origin, Output, fetch, kind};

/// URLs of a host that answers the first `after` requests and then turns.
fn turning(origin: &Origin, key: &str, count: u32, query: &str) -> Vec<String> {
    (0..count).map(|n| origin.url(&format!("/ban/{key}/{n}?{query}"))).collect()
}

fn ok(run: &Output) -> usize {
    run.records().iter().filter(|record| kind(record).is_empty()).count()
}

/// Answers that match a rule, the rule, and the status of the record.
const BLOCKED: &[(&str, &str, u64)] = &[
    ("page=vendor", "header:cf-mitigated~^challenge$", 200),
    ("page=forbidden", "status:403", 403),
    ("page=forbidden", "body~complete the captcha", 403),
    ("page=forbidden", "css:form#captcha input[type=hidden]", 403),
    ("page=captcha", "body~(?i)CAPTCHA", 200),
    ("page=captcha", "css:#captcha", 200),
    ("page=captcha", "header:content-type~html", 200),
];

#[test]
fn answers_that_match_a_rule_are_blocked_in_every_mode() {
    let origin = Origin::start();
    for mode in MODES {
        for (number, (page, rule, status)) in BLOCKED.iter().enumerate() {
            let key = format!("{mode}-{number}");
            let url = origin.url(&format!("/ban/{key}/0?after=0&{page}"));
            let flags = ["--mode", mode, "--blocked-if", rule, "--retries", "1", "--select", "t=title"];
            let run = fetch().args(flags).arg(url).run().exits(3);
            let record = &run.records()[0];
            assert_eq!((kind(record), &record["status"]), ("blocked", &json!(status)), "{record}");
            let message = record["error"]["message"].as_str().unwrap();
            assert!(message.ends_with(&format!(": the answer matches --blocked-if '{rule}'")), "{message}");
            assert_eq!((&record["attempts"], record.get("fields")), (&json!(2), None), "{record}");
            assert_eq!(origin.requests(&format!("/ban/{key}/0")), 2);
        }
    }
}

#[test]
fn an_answer_without_a_rule_is_what_it_is() {
    let origin = Origin::start();
    for (page, flags, error) in [
        ("page=forbidden", &[][..], "http_status"),
        ("page=forbidden", &["--blocked-if", "body~other"], "http_status"),
        ("page=captcha", &[], ""),
        ("page=vendor", &["--blocked-if", "none"], ""),
        ("page=vendor", &["--blocked-if", "none", "--blocked-if", "vendors"], "blocked"),
        ("page=vendor", &["--blocked-if", "status:403"], "blocked"),
    ] {
        let url = origin.url(&format!("/ban/plain/0?after=0&{page}"));
        let run = fetch().args(["--retries", "0"]).args(flags).arg(url).run();
        assert_eq!(kind(&run.records()[0]), error, "{page} {flags:?}: {run}");
    }
}

#[test]
fn a_blocked_page_that_passes_is_fetched_after_all() {
    let origin = Origin::start();
    let urls = turning(&origin, "passes", 40, "after=20&lasts=3&page=captcha");
    let flags = ["--blocked-if", "css:#captcha", "--per-host", "4", "--select", "t=title"];
    let run = fetch().args(flags).urls(&urls).run().exits(0);
    assert!(run.records().iter().all(|record| record["fields"]["t"] != "One more step"), "{run}");
    assert_eq!(origin.times_s("/ban/passes/").len(), 43);
}

/// Fetches from a host that turns after 300 requests. Returns the run and how many requests came after that.
fn fetch_until_banned(page: &str, mode: &str, flags: &[&str], more: u32) -> (Output, usize) {
    let origin = Origin::start();
    let urls = turning(&origin, "turns", 300 + more, &format!("after=300&page={page}"));
    let fixed =
        ["--mode", mode, "--workers", "2", "--per-host", "4", "--retries", "0", "--select", "t=title"];
    let run = fetch().args(fixed).args(flags).urls(&urls).run().exits(3);
    let times = origin.times_s("/ban/turns/");
    // The pauses double from 50 ms: a host that is asked on is asked within milliseconds.
    let paused = times.windows(2).skip(300).position(|pair| pair[1] - pair[0] > 0.2);
    (run, paused.unwrap_or_else(|| panic!("the host was never paused: {:?}", &times[300..])))
}

fn check_none_ok(page: &str, mode: &str, flags: &[&str], more: u32) {
    let (run, until_paused) = fetch_until_banned(page, mode, flags, more);
    assert_eq!(ok(&run), 300, "{page} {mode} {flags:?}: {run}");
    assert!(run.records().iter().all(|record| matches!(kind(record), "" | "blocked")), "{run}");
    assert!(run.records().iter().all(|record| record["fields"]["t"] != "One more step"), "{run}");
    assert!(until_paused < 20, "{page} {mode} {flags:?}: paused after {until_paused}");
}

#[test]
fn a_host_that_turns_to_a_captcha_gives_no_more_results() {
    for mode in ["sequential", "both"] {
        check_none_ok("captcha", mode, &[], 13);
        check_none_ok("token", mode, &[], 13);
    }
}

#[test]
fn a_rule_finds_the_first_of_them() {
    for (page, rule) in [("token", "css:form#captcha"), ("login", "body~Please log in")] {
        check_none_ok(page, "both", &["--blocked-if", rule], 7);
    }
}

#[test]
fn a_host_that_turns_to_any_page_is_noticed() {
    let (run, until_paused) = fetch_until_banned("login", "both", &[], 19);
    // The first one cannot be told from a result.
    assert!((300..=302).contains(&ok(&run)), "{run}");
    assert!(until_paused < 20, "paused after {until_paused}");
    let run = run.says("answers different URLs with the same page").says("--blocked-if none");
    let blocked: Vec<Value> = run.records().into_iter().filter(|record| kind(record) == "blocked").collect();
    for record in blocked {
        let message = record["error"]["message"].as_str().unwrap();
        assert!(
            message.ends_with("answered other URLs with the same page; see --blocked-if repeats"),
            "{record}"
        );
    }
}

#[test]
fn pages_that_repeat_are_results_if_the_user_says_so_or_always_had_them() {
    let origin = Origin::start();
    let urls = turning(&origin, "wanted", 400, "after=300&page=captcha");
    let run = fetch().args(["--mode", "both", "--blocked-if", "none"]).urls(&urls).run().exits(0);
    assert_eq!(ok(&run), 400);
    // Every URL of this host has the same page from the start.
    let urls = turning(&origin, "always", 400, "after=0&page=login");
    let run = fetch().args(["--mode", "both"]).urls(&urls).run().exits(0);
    assert_eq!(ok(&run), 400);
    // One URL, many times.
    let url = origin.url("/site/page/1");
    let urls = (0..200).map(|n| if n < 100 { origin.url(&format!("/counted/{n}")) } else { url.clone() });
    fetch().args(["--mode", "both"]).urls(urls).run().exits(0);
}

#[test]
fn a_run_that_is_stopped_keeps_what_was_held() {
    let (origin, dir) = (Origin::start(), Dir::new());
    // The last page is one with a captcha, and no other comes to judge it by.
    let urls = turning(&origin, "held", 101, "after=100&page=captcha");
    let list = dir.write("urls.txt", urls.join("\n"));
    let run = fetch().args(["--mode", "sequential", "--ordered", "-i"]).arg(list).run().exits(0);
    assert_eq!(run.records().len(), 101);
    assert!(run.elapsed.as_secs() < 9, "nothing waits for the end of a run: {run}");
}

#[test]
fn rules_come_from_files_and_the_environment_too() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let job = dir.write("job.toml", "blocked-if = [\"none\", \"css:#captcha\"]\nretries = 0\n");
    let url = origin.url("/ban/file/0?after=0&page=captcha");
    let run = fetch().arg("--job").arg(job).arg(&url).run().exits(3);
    assert_eq!(kind(&run.records()[0]), "blocked", "{run}");
    let run =
        fetch().args(["--retries", "0"]).env("MUSTER_BLOCKED_IF", "status:200").arg(&url).run().exits(3);
    assert_eq!(kind(&run.records()[0]), "blocked", "{run}");
    let summary = dir.path("summary.json");
    let rule = ["--blocked-if", "body~captcha", "--retries", "0", "--summary"];
    fetch().args(rule).arg(&summary).arg(&url).run().exits(3);
    let summary: Value = serde_json::from_str(&dir.read("summary.json")).unwrap();
    assert_eq!(summary["errors"], json!({"blocked": 1}));
}
