//! `compare` and `--report`: the difference between the modes, to read and to look at.

use crate::harness::{Dir, MODES, Origin, fetch, supervisor};

/// Whether a page needs anything but itself.
pub(crate) fn is_self_contained(html: &str) -> bool {
    let outside = ["src=", "href=", "url(", "@import", "srcset="];
    outside.iter().all(|start| {
        html.match_indices(start).all(|(at, _)| {
            let value = html[at + start.len()..].trim_start_matches(['"', '\'', ' ']);
            value.starts_with('#') || value.starts_with("data:")
        })
    }) && !html.contains("fetch(\"")
        && !html.contains("XMLHttpRequest")
}

#[test]
fn compare_runs_all_four_modes_and_shows_the_difference() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let report = dir.path("report.html");
    let list: String =
        (0..40).map(|n| format!("{}\n", origin.url(&format!("/counted/{n}?delay=0.05")))).collect();
    let list = dir.write("list.txt", list);
    let run = supervisor().args(["--workers", "2", "compare", "--sample", "12", "--report"]).arg(&report);
    let run = run.args(["fetch", "--select", "t=title", "-i"]).arg(list).run().exits(0);
    for word in MODES.iter().chain(&["wall", "items/s", "speed", "cpu", "memory", "in flight"]) {
        assert!(run.stderr.to_lowercase().contains(word), "{word}: {run}");
    }
    assert!(!run.stderr.contains('\u{1b}'), "{run}");
    let html = dir.read("report.html");
    assert!(is_self_contained(&html), "{html}");
    for mode in MODES {
        assert!(html.contains(mode), "{mode}");
    }
    assert!(html.contains("<svg") || html.contains("<canvas"), "something to look at");
}

#[test]
fn compare_works_over_saved_pages() {
    let dir = Dir::new();
    for n in 0..20 {
        dir.write(format!("pages/{n}.html"), e2e::origin::site::page(n, 20));
    }
    let run =
        supervisor().args(["compare", "parse", "--select", "t=title"]).arg(dir.path("pages")).run().exits(0);
    for mode in MODES {
        assert!(run.stderr.contains(mode), "{mode}: {run}");
    }
}

#[test]
fn compare_with_failing_inputs_says_so_in_its_exit_code() {
    let origin = Origin::shared();
    let urls = [origin.url("/site/page/1"), origin.url("/status/404")];
    supervisor().args(["compare", "fetch", "--retries", "0"]).args(urls).run().exits(3);
}

#[test]
fn a_report_is_a_page_that_needs_no_network() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let mut urls: Vec<_> = (0..50).map(|n| origin.url(&format!("/site/page/{n}"))).collect();
    // What a page or a list says must not become part of the report's markup.
    urls.push(origin.url("/status/404?<script>alert(1)</script>"));
    let report = dir.write("r.html", "an old one");
    let run = fetch().args(["--mode", "both", "--report"]).arg(&report).urls(urls).run().exits(3);
    let html = dir.read("r.html");
    assert!(html.to_lowercase().starts_with("<!doctype html>"), "{run}");
    assert!(is_self_contained(&html) && !html.contains("<script>alert"), "{html}");
    assert!(html.contains("http_status"), "failures are counted: {html}");
}

#[test]
fn what_is_self_contained_is_told_from_what_is_not() {
    for (html, expected) in [
        ("<a href=\"#top\">", true),
        ("<img src='data:image/png;base64,x'>", true),
        ("<script src=\"https://cdn.example/x.js\">", false),
        ("<link href=style.css>", false),
        ("a { background: url(http://x/) }", false),
    ] {
        assert_eq!(is_self_contained(html), expected, "{html}");
    }
}
