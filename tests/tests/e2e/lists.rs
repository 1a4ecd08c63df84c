//! Lists as spreadsheets, shells and other people's programs write them.

use serde_json::json;

use crate::harness::{Dir, Origin, by_id, fetch, ids, kind};

/// One sitemap that cannot be read costs its own pages.
#[test]
fn a_sitemap_that_cannot_be_read_costs_its_own_pages() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let summary = dir.path("s.json");
    for (path, pages, failed, says) in [
        ("/sitemaps/partly-gone.xml", 10, 2, "gone.xml: http_status: 404 Not Found; its pages are left out"),
        ("/sitemaps/partly-broken.xml", 10, 2, "malformed.xml: parse: it is not well-formed XML"),
        ("/sitemaps/partly-slow.xml", 10, 1, "timeout: "),
        ("/sitemaps/partly-deep.xml", 11, 1, "3 levels down"),
    ] {
        for mode in ["auto", "sequential", "both"] {
            let flags = [
                "--mode",
                mode,
                "--ordered",
                "--retries",
                "0",
                "--timeout",
                "2s",
                "--sitemap",
                &origin.url(path),
            ];
            let run = fetch().args(flags).arg("--summary").arg(&summary).run().exits(3).says(says);
            assert_eq!(ids(&run.records()), (0..pages).collect::<Vec<_>>(), "{run}");
            assert!(run.records().iter().all(|record| kind(record).is_empty()), "{run}");
            let summary: serde_json::Value = serde_json::from_str(&dir.read("s.json")).unwrap();
            assert_eq!((&summary["sitemaps_failed"], &summary["failed"]), (&json!(failed), &json!(0)));
        }
        let flags = ["--retries", "0", "--timeout", "2s", "--strict", "--sitemap", &origin.url(path), "-o"];
        let run = fetch().args(flags).arg(dir.path("out.jsonl")).run().exits(1).says("no page was fetched");
        assert_eq!(dir.names(), ["s.json"], "{run}");
    }
    // Also where it is the user who names several.
    let flags = ["--retries", "0", "--sitemap", &origin.url("/sitemaps/gone.xml"), "--sitemap"];
    let run = fetch().args(flags).arg(origin.url("/sitemaps/pages.txt")).run().exits(3).says("gone.xml");
    assert_eq!(by_id(run.records()).len(), 10);
}

/// What is missing is missing in the resumed run as well, and it says so by its exit status.
#[test]
fn a_resumed_run_knows_that_a_sitemap_could_not_be_read() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let url = origin.url("/sitemaps/partly-gone.xml");
    let command = || {
        let flags = [
            "--mode",
            "sequential",
            "--retries",
            "0",
            "--rate",
            "5/s",
            "-o",
            "out.jsonl",
            "--resume",
            "--sitemap",
            &url,
        ];
        fetch().current_dir(dir.root()).args(flags)
    };
    let run = command().spawn();
    run.until("some pages", || (origin.requests("/site/page/22") > 0).then_some(()));
    run.signal(nix::sys::signal::Signal::SIGKILL);
    run.wait();
    command().run().exits(3).says("resuming out.jsonl");
    assert_eq!(origin.requests("/sitemaps/gone.xml"), 1);
    assert_eq!(dir.names(), ["out.jsonl"]);
}
