use std::time::Duration;

use shared::job::Mode;
use shared::protocol::{Outcome, Verdict};
use shared::record::ErrorKind;
use supervisor_core::gather::Gather;

use super::*;
use crate::summary::Facts;

/// A run with `targets` per worker, one lane each, back to back.
fn run(mode: Mode, workers: u32, concurrency: u32, targets: u64) -> ModeRun {
    let mut gather = Gather::new(workers);
    for slot in 0..workers {
        gather.started(slot);
        for n in 0..targets {
            let verdict = match n % 50 {
                48 => Verdict::Failed(ErrorKind::Timeout),
                49 => Verdict::Retry { kind: ErrorKind::Dns },
                _ => Verdict::Ok,
            };
            let started_us = n / u64::from(concurrency) * 10_000 + u64::from(slot) * 131;
            let id = n * u64::from(workers) + u64::from(slot);
            gather.record(
                slot,
                &Outcome {
                    id,
                    verdict,
                    bytes: 9,
                    started_us,
                    elapsed_us: 9_871 + n % 100,
                    cpu_us: 117,
                    endings: None,
                    reply: None,
                    retry_after_ms: None,
                    exit_use: None,
                    over_budget: false,
                    session: None,
                    line_bytes: 1,
                    found_bytes: 0,
                    note_bytes: 0,
                },
            );
        }
    }
    let facts = Facts {
        mode,
        workers,
        concurrency,
        wall: Duration::from_millis(10 * (targets / u64::from(concurrency) + 1)),
        cpu: Duration::from_secs(1),
        supervisor_cpu: Duration::from_millis(10),
        supervisor_rss_bytes_max: 1,
        why: None,
        sandbox: String::new(),
    };
    ModeRun::new(&gather, &facts)
}

fn page(runs: &[ModeRun]) -> String {
    Page { title: "fetch urls.txt", when: "today", runs }.render()
}

fn four(workers: u32, concurrency: u32, targets: u64) -> [ModeRun; 4] {
    Mode::ALL.map(|mode| {
        let workers = if mode.many_workers() { workers } else { 1 };
        let concurrency = if matches!(mode, Mode::Concurrent | Mode::Both) { concurrency } else { 1 };
        run(mode, workers, concurrency, targets)
    })
}

#[test]
fn nothing_is_loaded_from_anywhere() {
    let html = page(&four(2, 8, 300));
    assert!(html.contains(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'unsafe-inline'; img-src data:\">"
    ));
    for loads in [
        "http:", "https:", "//cdn", "url(", "@import", "src=", "<iframe", "<object", "fetch(", "XMLHttp",
        "import(",
    ] {
        assert!(!html.contains(loads), "{loads}");
    }
    assert_eq!(html.matches("<link").count(), 1);
    assert!(html.contains("<link rel=\"icon\" href=\"data:,\">"));
}

#[test]
fn hostile_text_stays_text() {
    let hostile = "</title></script><script>alert(1)</script><img onerror=x> \"'& {{script}} \u{1b}[2J";
    let mut runs = [run(Mode::Both, 1, 4, 20)];
    runs[0].summary.why = Some(hostile.to_owned());
    let html = Page { title: hostile, when: hostile, runs: &runs }.render();
    assert_eq!(html.matches("<script>").count(), 1);
    assert_eq!(html.matches("</script>").count(), 1);
    assert!(!html.contains("<img") && !html.contains('\u{1b}'));
    let escaped = "&lt;/title&gt;&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;&lt;img onerror=x&gt; &quot;&#39;&amp; {{script}} \u{fffd}[2J";
    assert_eq!(html.matches(escaped).count(), 4, "title twice, when, why");
}

#[test]
fn the_largest_comparison_stays_below_a_megabyte() {
    for html in [page(&four(8, 64, 100_000)), page(&four(64, 1, 20_000))] {
        assert!(html.len() < 1_000_000, "{}", html.len());
    }
}

#[test]
fn each_mode_shows_its_workers_its_speed_up_and_its_bars() {
    let html = page(&four(2, 8, 400));
    for part in [
        "<b class=both>both</b> was <b>",
        "× as fast</b> as sequential",
        "Simultaneous: the workers compute at the same instant",
        "Interleaved: many wait at once",
        "data-bars=\"0 9871 117",
        "<path class=fail d=\"m",
        "<path class=retry d=\"m",
        "<path class=failures d=\"M",
        "failed, tried again",
        "p99 ",
    ] {
        assert!(html.contains(part), "{part}");
    }
    // 1 + 1 + 2 + 2 workers, in both figures.
    assert_eq!(html.matches("<span class=who>worker ").count(), 12);
    assert_eq!(html.matches("<svg").count(), html.matches("</svg>").count());
    assert!(!html.contains("NaN") && !html.contains("inf"), "a division by zero reached the page");
}

#[test]
fn a_single_run_and_no_run_are_pages_too() {
    let html = page(&[run(Mode::Parallel, 12, 1, 60)]);
    for part in ["708 targets in", "<dl class=tiles>", "<b>12</b> timeout", "and 4 more workers"] {
        assert!(html.contains(part), "{part}");
    }
    assert!(!html.contains("× as fast"));
    let idle = page(&[run(Mode::Sequential, 1, 1, 0)]);
    assert!(idle.contains("0 targets in") && !idle.contains("NaN"));
    assert!(page(&[]).contains("Nothing was run."));
}

#[test]
fn the_close_up_ends_where_it_would_no_longer_be_complete() {
    let html = page(&[run(Mode::Sequential, 1, 1, 20_000)]);
    let range_us: u64 =
        html.split("data-range-us=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    // 4,096 targets of 10 ms are kept. Targets that ran at the same time as the last one may not
    // be.
    assert_eq!(range_us, 4_095 * 10_000);
    assert!(
        html.contains("The first 79.4 ms") || html.contains("The first 79.3 ms"),
        "eight typical targets"
    );
}

#[test]
fn the_page_is_written_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("report.html");
    let runs = [run(Mode::Both, 1, 4, 20)];
    let page = Page { title: "t", when: "w", runs: &runs };
    page.write(&path, Readers::Owner).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), page.render());
}
