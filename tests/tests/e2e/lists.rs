//! Lists as spreadsheets, shells and other people's programs write them.

use std::io::Write as _;

use serde_json::json;

use crate::harness::{Dir, Origin, by_id, fetch, ids, kind};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn utf16(text: &str) -> Vec<u8> {
    format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// The same three URLs, in every way in which they come: each also packed.
#[test]
fn a_list_is_read_whatever_wrote_it() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let urls: Vec<_> = (0..3).map(|n| origin.url(&format!("/site/page/{n}?q=é"))).collect();
    let [a, b, c] = [&urls[0], &urls[1], &urls[2]];
    let plain = format!("{a}\n{b}\n{c}\n");
    let csv = format!("n;url;note\n1;{a};\"x;y\"\n2;{b};\n3;{c};z\n");
    let json = |end: &str| {
        format!("{{\"url\":\"{a}\"}}{end}{{\"url\":\"\u{a0}{b}\u{200b}\"}}{end}{{\"url\":\"{c}\"}}{end}")
    };
    let latin = |text: &str| encoding_rs::WINDOWS_1252.encode(text).0.into_owned();
    let none: &[&str] = &[];
    let lists: Vec<(&str, Vec<u8>, &[&str])> = vec![
        (
            "invisible.txt",
            format!("\u{a0}{a}\u{200b}\n\u{feff}{b}\n\u{a0}\n\u{feff}# no\n\u{2060}{c}\u{202f}\r\n").into(),
            none,
        ),
        ("returns.txt", plain.replace('\n', "\r").into(), none),
        ("mixed.txt", format!("{a}\r{b}\r\n{c}").into(), none),
        ("utf16.txt", utf16(&plain), none),
        ("utf16-returns.txt", utf16(&plain.replace('\n', "\r")), none),
        ("latin.txt", latin(&plain), &["--encoding", "latin1"]),
        ("marked.txt", format!("\u{feff}{plain}").into(), &["--encoding", "latin1"]),
        ("semicolons.csv", csv.clone().into(), &["--column", "url", "--delimiter", ";"]),
        ("returns.csv", csv.replace('\n', "\r").into(), &["--column", "url", "--delimiter", ";"]),
        ("utf16.csv", utf16(&csv), &["--column", "url", "--delimiter", ";"]),
        ("latin.csv", latin(&csv), &["--column", "url", "--delimiter", ";", "--encoding", "iso-8859-1"]),
        (
            "invisible.csv",
            format!("\u{a0}url\u{feff}\n\u{a0}{a}\n{b}\u{200b}\n \u{feff}{c}\n").into(),
            &["--column", "url"],
        ),
        ("returns.jsonl", json("\r").into(), &["--column", "url"]),
        ("utf16.jsonl", utf16(&json("\r\n")), &["--column", "url"]),
        (
            "latin.jsonl",
            latin(&json("\n").replace('\u{200b}', "")),
            &["--column", "url", "--encoding", "latin1"],
        ),
    ];
    for (name, bytes, flags) in lists {
        let packed = gzip(&bytes);
        let cut = packed[..packed.len() - 8].to_vec();
        let filled = [&packed[..], &[0; 600]].concat();
        let files = [
            (name.to_owned(), bytes.clone()),
            (format!("{name}.gz"), packed),
            (format!("cut-{name}.gz"), cut),
            (format!("filled-{name}.gz"), filled),
        ];
        for (name, bytes) in files {
            let file = dir.write(&name, bytes);
            let run = fetch().args(flags).args(["--ordered", "-i"]).arg(&file).run().exits(0);
            let got: Vec<_> =
                run.records().iter().map(|record| record["url"].as_str().unwrap().to_owned()).collect();
            assert_eq!(got, urls, "{name}: {run}");
        }
        if !flags.contains(&"--column") {
            let run = fetch().args(flags).args(["--ordered", "-i", "-"]).stdin(bytes).run().exits(0);
            assert_eq!(run.records().len(), 3, "{name}: {run}");
        }
    }
}

/// What is not UTF-8 is never made something else of without a word.
#[test]
fn nothing_is_replaced_silently() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let url = origin.url("/site/page/1");
    let rows = format!("url,name,other\n{url},Anne,x\n{url},Ren\u{e9}e,y\n{url},Zo\u{eb},z\n");
    let latin = dir.write("latin.csv", encoding_rs::WINDOWS_1252.encode(&rows).0);
    let keep = ["--ordered", "--column", "url", "--keep", "name,other", "-i"];
    let records = fetch().args(keep).arg(&latin).run().exits(3).records();
    assert_eq!(records.iter().map(kind).collect::<Vec<_>>(), ["", "invalid_url", "invalid_url"]);
    let message = records[1]["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("row 2 (line 3): \"name\" is not UTF-8") && message.contains("--encoding"),
        "{message}"
    );
    assert_eq!(records[1]["keep"], json!({"name": null, "other": "y"}));
    let records =
        fetch().args(["--encoding", "windows-1252"]).args(keep).arg(&latin).run().exits(0).records();
    assert_eq!(records[1]["keep"], json!({"name": "Renée", "other": "y"}));
    // A cell that nobody asked for may be anything.
    let run = fetch().args(["--column", "url", "-i"]).arg(&latin).run().exits(0);
    assert_eq!(run.records().len(), 3, "{run}");
    let list = dir.write("latin.txt", [url.as_bytes(), b"?\xe9\n"].concat());
    let run = fetch().arg("-i").arg(&list).run().exits(3);
    let record = &run.records()[0];
    assert!(record["error"]["message"].as_str().unwrap().contains("--encoding"), "{run}");
    for (flags, says) in [
        (&["--encoding", "latin7x"][..], "unknown encoding"),
        (&["--delimiter", ";"], "--delimiter needs a delimited input"),
        (&["--delimiter", "ab"], "give one character"),
        (&["--strict"], "--strict needs a sitemap"),
    ] {
        fetch().args(flags).arg("-i").arg(&list).run().exits(2).says(says);
    }
    let semicolons = dir.write("s.csv", "a;url\n1;http://127.0.0.1:1/\n");
    fetch()
        .args(["--column", "url", "-i"])
        .arg(semicolons)
        .run()
        .exits(2)
        .says("is --delimiter ';' missing?");
}

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
