//! A host is spared by all workers together, as the host itself sees it.

use crate::harness::{Origin, fetch};

fn counted(origin: &Origin, count: u32, delay_s: f64) -> Vec<String> {
    (0..count).map(|n| origin.url(&format!("/counted/{n}?delay={delay_s}"))).collect()
}

/// Most requests that the host had in flight at once.
fn in_flight_max(origin: &Origin) -> u64 {
    origin.stats()["hosts"][origin.host()]["in_flight_max"].as_u64().unwrap()
}

#[test]
fn the_limit_per_host_holds_over_all_workers() {
    for (mode, workers) in [("concurrent", "1"), ("parallel", "4"), ("both", "3")] {
        for limit in [1, 3] {
            let origin = Origin::start();
            let urls = counted(&origin, 24, 0.05);
            let flags = ["--mode", mode, "--workers", workers, "--concurrency", "16"];
            let run = fetch().args(flags).args(["--per-host", &limit.to_string()]).urls(&urls).run().exits(0);
            assert_eq!(run.records().len(), urls.len());
            // Reaching it as well: a limit that is never used up makes the run slower than asked.
            assert_eq!(in_flight_max(&origin), limit, "{mode}: {run}");
        }
    }
}

#[test]
fn hosts_are_spared_one_by_one() {
    let origins = [Origin::start(), Origin::start(), Origin::start()];
    let lists = origins.each_ref().map(|origin| counted(origin, 10, 0.1));
    let urls = (0..10).flat_map(|n| lists.each_ref().map(|list| list[n].clone()));
    let flags = ["--mode", "both", "--per-host", "2", "--concurrency", "16"];
    let run = fetch().args(flags).urls(urls).run().exits(0);
    for origin in &origins {
        assert_eq!(in_flight_max(origin), 2, "{run}");
    }
    // One after the other they would take 1.5 s at the least.
    assert!(run.elapsed.as_secs_f64() < 1.4, "{run}");
}

#[test]
fn a_loopback_host_has_no_limit_unless_asked() {
    let origin = Origin::start();
    let urls = counted(&origin, 40, 0.5);
    let run = fetch().args(["--mode", "both", "--concurrency", "20"]).urls(&urls).run().exits(0);
    assert!(in_flight_max(&origin) > 30, "{} at once: {run}", in_flight_max(&origin));
}

/// Checks that no stretch of the run has more requests than one per `interval_s`. A busy machine may bunch a few.
fn check_pace(origin: &Origin, count: usize, interval_s: f64) {
    let times = origin.times_s("/counted/");
    assert_eq!(times.len(), count);
    for window in [5, 10, 20, count - 1] {
        for pair in times.windows(window + 1) {
            let (gaps, took) = (f64::from(u32::try_from(window).unwrap()), pair[window] - pair[0]);
            assert!(took >= gaps * interval_s - 0.1, "{gaps} gaps within {took} s: {times:?}");
        }
    }
}

#[test]
fn the_rate_per_host_holds_over_all_workers() {
    for (mode, rate) in [("both", 20.0), ("parallel", 40.0)] {
        let origin = Origin::start();
        let urls = counted(&origin, 40, 0.02);
        let flags = ["--mode", mode, "--workers", "3", "--rate"];
        let run = fetch().args(flags).arg(format!("{rate}/s")).urls(&urls).run().exits(0);
        check_pace(&origin, urls.len(), 1.0 / rate);
        let times = origin.times_s("/counted/");
        assert!(times[39] - times[0] < 39.0 / rate + 3.0, "slower than asked: {run}");
    }
}

#[test]
fn a_delay_separates_the_starts_at_a_host() {
    for (mode, delay, least_s, most_s) in
        [("both", "40ms", 0.04, 0.04), ("parallel", "20ms..60ms", 0.02, 0.06)]
    {
        let origin = Origin::start();
        let urls = counted(&origin, 30, 0.02);
        let flags = ["--mode", mode, "--workers", "3", "--delay", delay];
        let run = fetch().args(flags).urls(&urls).run().exits(0);
        check_pace(&origin, urls.len(), least_s);
        let times = origin.times_s("/counted/");
        assert!(times[29] - times[0] < 29.0 * most_s + 3.0, "slower than asked: {run}");
    }
}

#[test]
fn auto_limits_a_loopback_host_only_if_the_load_is_automatic() {
    for (flags, limit) in [(["--per-host", "auto:3"], 3), (["--per-host", "5"], 5)] {
        let origin = Origin::start();
        let urls = counted(&origin, 40, 0.05);
        let run = fetch().args(flags).urls(&urls).run().exits(0);
        assert_eq!(in_flight_max(&origin), limit, "{flags:?}: {run}");
    }
}

#[test]
fn without_retries_a_refusal_is_final() {
    let origin = Origin::start();
    let url = origin.url("/flaky/0?failures=1&status=429");
    fetch().args(["--mode", "both", "--retries", "0"]).urls([url]).run().exits(3);
    assert_eq!(origin.times_s("/flaky/").len(), 1);
}

#[test]
fn a_pause_that_a_server_asked_for_holds_after_the_last_attempt_too() {
    let origin = Origin::start();
    let mut urls = counted(&origin, 3, 0.0);
    urls.insert(0, origin.url("/status/503?retry_after=2"));
    fetch().args(["--mode", "concurrent", "--per-host", "1", "--retries", "0"]).urls(urls).run().exits(3);
    let (refused, next) = (origin.times_s("/status/")[0], origin.times_s("/counted/")[0]);
    assert!(next - refused >= 1.9, "asked again after {} s", next - refused);
}

#[test]
fn retries_keep_to_the_rate() {
    let origin = Origin::start();
    let urls: Vec<_> = (0..6).map(|n| origin.url(&format!("/flaky/{n}?failures=2"))).collect();
    let run = fetch().args(["--mode", "both", "--rate", "10/s"]).urls(&urls).run().exits(0);
    let times = origin.times_s("/flaky/");
    assert_eq!(times.len(), 18);
    assert!(times[17] - times[0] >= 16.0 / 10.0 - 0.1, "{times:?}");
    // Pages that are refused twice are waited for, but not for minutes.
    assert!(run.elapsed.as_secs_f64() < 20.0, "{times:?}");
}

#[test]
fn a_page_that_is_always_refused_fails_and_holds_up_no_other() {
    let origin = Origin::start();
    let mut urls = counted(&origin, 300, 0.0);
    urls.insert(20, origin.url("/status/503"));
    let run = fetch().args(["--mode", "both", "--concurrency", "8"]).urls(&urls).run().exits(3);
    let failed: Vec<_> = run.records().into_iter().filter(|record| record["error"].is_object()).collect();
    assert_eq!(failed.len(), 1, "{run}");
    assert_eq!(failed[0]["error"]["message"], "503 Service Unavailable", "{run}");
    assert!(origin.requests("/status/503") <= 14, "{run}");
}

#[test]
fn one_address_is_one_host_if_the_key_says_so() {
    for key in ["ip", "domain"] {
        let origins = [Origin::start(), Origin::start()];
        let urls = origins.iter().flat_map(|origin| counted(origin, 8, 0.1));
        let flags = ["--mode", "both", "--per-host", "1", "--per-host-key", key];
        let run = fetch().args(flags).urls(urls).run().exits(0);
        // One after the other, over both ports.
        assert!(run.elapsed.as_secs_f64() >= 1.6, "{key}: {run}");
    }
}
