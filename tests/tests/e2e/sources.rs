//! Inputs that are more than lines: columns that come along, packed lists, Parquet, sitemaps.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use nix::sys::signal::Signal;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};

use crate::harness::{Dir, MODES, Origin, by_id, fetch, ids, kind, parse_lines, supervisor};

fn urls(origin: &Origin, count: u32) -> Vec<String> {
    (0..count).map(|n| origin.url(&format!("/site/page/{n}"))).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn kept_columns_are_in_every_record_whatever_becomes_of_its_input() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let (good, crash) = (origin.url("/site/page/1"), origin.url("/site/page/2?poison=segfault"));
    let csv =
        format!("n,url,name\n1,{good},\"a \"\"b\"\"\"\n2,,c\n3,http://127.0.0.1:1/,d\n4,{crash},e\n5\n");
    let file = dir.write("rows.csv", csv);
    for mode in MODES {
        let flags = ["--mode", mode, "--ordered", "--retries", "0", "--column", "url", "--keep", "name,n"];
        let run = fetch().args(flags).arg("-i").arg(&file).run().exits(3);
        let records = run.records();
        let kept: Vec<_> = records.iter().map(|record| record["keep"].clone()).collect();
        let want = [
            json!({"name": "a \"b\"", "n": "1"}),
            json!({"name": "c", "n": "2"}),
            json!({"name": "d", "n": "3"}),
            json!({"name": "e", "n": "4"}),
            json!({"name": null, "n": "5"}),
        ];
        assert_eq!(kept, want, "{mode}: {run}");
        let kinds: Vec<_> = records.iter().map(kind).collect();
        assert_eq!([kinds[0], kinds[1], kinds[2], kinds[4]], ["", "invalid_url", "connect", "invalid_url"]);
    }
}

#[test]
fn kept_json_is_as_it_was_written() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let lines = format!(
        "{{\"url\":\"{0}\",\"tags\":[1.50,{{\"a\":null}}],\"id\":12345678901234567890123}}\n{{\"url\":\"{0}\"}}\n",
        origin.url("/site/page/1")
    );
    let file = dir.write("rows.jsonl", lines);
    let flags = ["--ordered", "--column", "url", "--keep", "tags", "--keep", "id"];
    let text = fetch().args(flags).arg("-i").arg(file).run().exits(0).text();
    let mut lines = text.lines();
    assert!(
        lines.next().unwrap().contains(r#""keep":{"tags":[1.50,{"a":null}],"id":12345678901234567890123},"#)
    );
    assert!(lines.next().unwrap().contains(r#""keep":{"tags":null,"id":null},"#), "{text}");
}

/// What would not fit into a message to a worker is a record that says so, and the next row is none.
#[test]
fn more_than_can_be_carried_is_refused_by_itself() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let url = origin.url("/site/page/1");
    let fits = "x".repeat(24 * 1024 - url.len() - 40);
    let file = dir.write("rows.csv", format!("url,note\n{url},{fits}\n{url},{fits}{fits}\n{url},short\n"));
    let flags = ["--ordered", "--column", "url", "--keep", "note"];
    let records = fetch().args(flags).arg("-i").arg(file).run().exits(3).records();
    assert_eq!(records.iter().map(kind).collect::<Vec<_>>(), ["", "invalid_url", ""]);
    assert_eq!(records[0]["keep"]["note"], fits);
    assert!(records[1]["error"]["message"].as_str().unwrap().contains("at most 24576 can be carried"));
}

#[test]
fn packed_lists_are_read_as_what_is_in_them() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let urls = urls(origin, 20);
    let text = urls.join("\n");
    let csv = format!("n,url\n{}", urls.iter().map(|url| format!("1,{url}\n")).collect::<String>());
    let jsonl: String = urls.iter().map(|url| format!("{{\"url\":\"{url}\"}}\n")).collect();
    for (name, text) in [("urls.txt", &text), ("urls.csv", &csv), ("urls.jsonl", &jsonl)] {
        let column: &[&str] = if name.ends_with("txt") { &[] } else { &["--column", "url"] };
        let packed = [("gz", gzip(text.as_bytes())), ("zst", zstd::encode_all(text.as_bytes(), 1).unwrap())];
        for (extension, bytes) in packed {
            let file = dir.write(format!("{name}.{extension}"), bytes);
            let run = fetch().args(column).arg("--ordered").arg("-i").arg(file).run().exits(0);
            let got: Vec<_> = run.records().iter().map(|r| r["url"].as_str().unwrap().to_owned()).collect();
            assert_eq!(got, urls, "{run}");
        }
    }
    let cut = dir.write("cut.txt.gz", &gzip(text.as_bytes())[..40]);
    fetch().arg("-i").arg(cut).run().exits(1).says("cut.txt.gz").says("gzip data is damaged");
    let plain = dir.write("plain.csv.gz", &csv);
    fetch().args(["--column", "url"]).arg("-i").arg(plain).run().exits(2).says("gzip data is damaged");
}

fn write_parquet(path: &Path, urls: &[Option<String>]) {
    let schema = "message m { optional binary url (UTF8); required int64 n; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, properties).unwrap();
    for group in urls.chunks(7) {
        let mut out = writer.next_row_group().unwrap();
        let texts: Vec<_> = group.iter().flatten().map(|url| ByteArray::from(url.as_str())).collect();
        let levels: Vec<i16> = group.iter().map(|url| i16::from(url.is_some())).collect();
        let mut column = out.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&texts, Some(&levels), None).unwrap();
        column.close().unwrap();
        let mut column = out.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&vec![1 << 60; group.len()], None, None).unwrap();
        column.close().unwrap();
        out.close().unwrap();
    }
    writer.close().unwrap();
}

#[test]
fn a_column_of_a_parquet_file() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let mut rows: Vec<_> = urls(origin, 30).into_iter().map(Some).collect();
    rows.insert(9, None);
    write_parquet(&dir.path("urls.parquet"), &rows);
    let command = || fetch().current_dir(dir.root()).args(["--ordered", "-i", "urls.parquet"]);
    let run = command().args(["--column", "url", "--keep", "n"]).run().exits(3);
    let records = run.records();
    assert_eq!(ids(&records), (0..31).collect::<Vec<_>>());
    for (record, row) in records.iter().zip(&rows) {
        assert_eq!(record["url"].as_str().unwrap(), row.as_deref().unwrap_or_default());
        assert_eq!(record["keep"], json!({"n": 1_u64 << 60}));
        assert_eq!(kind(record), if row.is_some() { "" } else { "invalid_url" });
    }
    command().args(["--column", "urls"]).run().exits(2).says("did you mean \"url\"?");
    command().args(["--column", "n"]).run().exits(2).says("holds INT64");
    command().run().exits(2).says("--column NAME");
    dir.write("not.parquet", "url\n");
    fetch()
        .current_dir(dir.root())
        .args(["-i", "not.parquet", "--column", "url"])
        .run()
        .exits(2)
        .says("not.parquet");
}

/// Wants `count` pages of the origin's site, in order.
fn check_pages(records: &[Value], count: u64) {
    assert_eq!(ids(records), (0..count).collect::<Vec<_>>());
    for (n, record) in records.iter().enumerate() {
        let path = format!("/site/page/{n}");
        assert!(record["url"].as_str().unwrap().split('?').next().unwrap().ends_with(&path), "{record}");
    }
}

#[test]
fn a_sitemap_is_read_out_and_its_pages_fetched_in_order() {
    let origin = Origin::start();
    for mode in ["auto", "sequential", "concurrent", "parallel", "both"] {
        let run = fetch().args(["--mode", mode, "--ordered", "--keep", "lastmod,priority"]);
        let records = run.arg("--sitemap").arg(origin.url("/sitemap.xml")).run().exits(0).records();
        check_pages(&records, 30);
        assert_eq!(records[0]["keep"], json!({"lastmod": "2024-01-01", "priority": null}));
        assert_eq!(records[29]["keep"], json!({"lastmod": null, "priority": null}));
        assert!(records[0]["url"].as_str().unwrap().ends_with("?a=1&b=2"));
    }
    assert_eq!(origin.requests("/sitemaps/pages.txt"), 5);
    assert_eq!(origin.requests("/no/such/image"), 0);
    let run = fetch().args(["--ordered", "--user-agent", "me"]).arg(origin.url("/site/page/0"));
    let run = run.args([
        "--sitemap",
        &origin.url("/sitemaps/circle.xml"),
        "--sitemap",
        &origin.url("/sitemaps/utf16.xml"),
    ]);
    let records = run.run().exits(0).records();
    let pages: Vec<_> =
        records.iter().map(|r| r["url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()).collect();
    assert_eq!(pages[..2], ["0", "20"]);
    assert_eq!(pages[11..], ["0?a=1&b=2", "1?a=1&b=2"]);
}

#[test]
fn what_a_sitemap_should_not_list_are_records_like_any_other() {
    let origin = Origin::shared();
    let run = fetch().args(["--ordered", "--sitemap", &origin.url("/sitemaps/mixed.xml")]).run().exits(3);
    let records = run.records();
    assert_eq!(
        records.iter().map(kind).collect::<Vec<_>>(),
        ["invalid_url", "invalid_url", "invalid_url", ""]
    );
    assert_eq!(records[0]["url"], "/relative");
    let run = fetch().args(["--sitemap", &origin.url("/sitemaps/entities.xml")]).run().exits(3);
    assert_eq!(run.records()[0]["url"], "&c;", "{run}");
}

/// Nothing is fetched, and nothing is left behind.
#[test]
fn a_sitemap_that_cannot_be_read_ends_the_run_and_is_named() {
    let (origin, dir) = (Origin::start(), Dir::new());
    for (path, says) in [
        ("/sitemaps/gone.xml", "gone.xml: http_status: 404"),
        ("/sitemaps/html", "outermost element is <html>"),
        ("/sitemaps/malformed.xml", "not well-formed XML"),
        ("/sitemaps/bomb.xml.gz", "more than 52428800 bytes"),
        ("/sitemaps/huge.xml", "over the limit of 52428800 bytes"),
        ("/sitemaps/many.txt", "more than 50000 entries"),
        ("/sitemaps/deep/3", "3 levels down"),
        ("/empty", "it is empty"),
        ("/corrupt/gzip", "decode"),
    ] {
        let run = fetch().args(["--retries", "0", "--mode", "both", "--sitemap", &origin.url(path), "-o"]);
        let run = run.arg(dir.path("out.jsonl")).run().exits(1).says(says).says("no page was fetched");
        assert_eq!(dir.names(), [""; 0], "{run}");
    }
    let deep = fetch().args(["--sitemap", &origin.url("/sitemaps/deep/2")]).run().exits(0);
    check_pages(&deep.records(), 1);
    assert_eq!(origin.requests("/site/page/20"), 0);
}

/// The pages a killed run knew are those that the resumed one does, whatever the site says by then.
#[test]
fn a_resumed_run_does_not_read_its_sitemaps_again() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let url = origin.url("/sitemap.xml");
    let command = || {
        let flags =
            ["--mode", "sequential", "--rate", "20/s", "-o", "out.jsonl", "--resume", "--sitemap", &url];
        fetch().current_dir(dir.root()).args(flags)
    };
    let run = command().spawn();
    run.until("some pages", || (origin.requests("/site/page/5") > 0).then_some(()));
    run.signal(Signal::SIGKILL);
    run.wait();
    assert!(dir.names().contains(&"out.jsonl.journal.sitemaps".to_owned()), "{:?}", dir.names());
    let other = origin.url("/sitemaps/pages.xml");
    let changed = fetch().current_dir(dir.root()).args(["-o", "out.jsonl", "--resume", "--sitemap", &other]);
    changed.run().exits(1).says("--sitemap was");
    command().run().exits(0).says("resuming out.jsonl");
    assert_eq!(by_id(parse_lines(dir.read("out.jsonl").as_bytes())).len(), 30);
    assert_eq!(origin.requests("/sitemap.xml"), 1);
    assert_eq!(dir.names(), ["out.jsonl"]);
    // What is complete asks nobody anything.
    command().run().exits(0).says("complete already");
    assert_eq!(origin.requests("/sitemap.xml"), 1);
}

#[test]
fn a_run_stopped_while_it_reads_sitemaps_has_begun_nothing() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let run = fetch().args(["--sitemap", &origin.url("/delay/30"), "-o"]).arg(dir.path("out.jsonl")).spawn();
    run.until("the request", || (origin.requests("/delay/30") > 0).then_some(()));
    run.signal(Signal::SIGINT);
    run.until("its answer", || run.stderr_so_far().contains("once more to stop").then_some(()));
    run.signal(Signal::SIGINT);
    run.wait().exits(130).says("0 records written");
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn sitemaps_are_for_fetching_once() {
    let origin = Origin::shared();
    let url = origin.url("/sitemap.xml");
    supervisor().args(["compare", "fetch", "--sitemap", &url]).run().exits(2).says("can be read only once");
}
