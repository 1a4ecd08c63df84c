//! Web archives: what is in them, that every reader can read them, and that a kill does not hurt them.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::bufread::GzDecoder;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

use crate::harness::{Dir, MODES, Origin, Output, TestCommand, by_id, fetch, kind, parse, parse_lines};

/// A record, after everything about it was checked.
#[derive(Debug, Clone)]
struct Record {
    headers: BTreeMap<String, String>,
    block: Vec<u8>,
}

impl Record {
    fn get(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn head(&self) -> &str {
        let end = self.block.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        std::str::from_utf8(&self.block[..end + 2]).unwrap()
    }

    fn payload(&self) -> &[u8] {
        &self.block[self.head().len() + 2..]
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.block).unwrap()
    }
}

fn sha1_base32(bytes: &[u8]) -> String {
    let bits: String = Sha1::digest(bytes).iter().map(|byte| format!("{byte:08b}")).collect();
    let digit = |five: &[u8]| {
        let value = five.iter().fold(0, |value, bit| value * 2 + usize::from(bit - b'0'));
        char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[value])
    };
    format!("sha1:{}", bits.as_bytes().chunks(5).map(digit).collect::<String>())
}

/// Reads one uncompressed record off `bytes`.
fn record(bytes: &mut &[u8]) -> Record {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a header");
    let header = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = header.split("\r\n");
    assert_eq!(lines.next(), Some("WARC/1.1"), "{header}");
    let mut headers = BTreeMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").expect("a named field");
        assert!(headers.insert(name.to_owned(), value.to_owned()).is_none(), "{name} twice: {header}");
    }
    let length: usize = headers["Content-Length"].parse().unwrap();
    let (block, rest) = bytes[end + 4..].split_at(length);
    *bytes = rest.strip_prefix(b"\r\n\r\n").expect("the end of a record");
    let record = Record { headers, block: block.to_vec() };
    assert_eq!(record.get("WARC-Block-Digest"), sha1_base32(block), "{header}");
    if record.get("WARC-Type") == "response" {
        assert_eq!(record.get("WARC-Payload-Digest"), sha1_base32(record.payload()), "{header}");
    }
    let date = record.get("WARC-Date");
    assert!(date.len() == 27 && date.ends_with('Z'), "{date}");
    record
}

/// Reads an archive strictly: every record is a member of its own, every name is used once, every
/// reference leads somewhere, and every input has one metadata record.
fn read(path: &Path) -> Vec<Record> {
    let bytes = std::fs::read(path).unwrap();
    let mut rest = bytes.as_slice();
    let gzip = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
    let mut records = Vec::new();
    while !rest.is_empty() {
        if gzip {
            let mut member = Vec::new();
            GzDecoder::new(&mut rest).read_to_end(&mut member).unwrap();
            let mut one = member.as_slice();
            records.push(record(&mut one));
            assert!(one.is_empty(), "a member with more than a record");
        } else {
            records.push(record(&mut rest));
        }
    }
    let mut names = BTreeMap::new();
    for record in &records {
        let name = record.get("WARC-Record-ID").to_owned();
        assert!(name.starts_with("<urn:uuid:") && name.len() == 47, "{name}");
        assert!(names.insert(name.clone(), record.get("WARC-Type")).is_none(), "{name} twice");
    }
    let info = records[0].get("WARC-Record-ID");
    for (number, record) in records.iter().enumerate() {
        let is_info = record.get("WARC-Type") == "warcinfo";
        assert_eq!(is_info, number == 0);
        assert_eq!(record.get("WARC-Warcinfo-ID"), if is_info { "" } else { info });
        let other = record.get("WARC-Concurrent-To");
        assert!(other.is_empty() || names[other] == "response", "{record:?}");
    }
    records
}

fn of_type<'a>(records: &'a [Record], kind: &str) -> Vec<&'a Record> {
    records.iter().filter(|record| record.get("WARC-Type") == kind).collect()
}

/// The JSON records in an archive, by id.
fn metadata(records: &[Record]) -> BTreeMap<u64, Value> {
    by_id(of_type(records, "metadata").iter().map(|record| record.json()).collect())
}

fn archive(dir: &Dir, name: &str, urls: &[String], flags: &[&str]) -> (Output, Vec<Record>) {
    let output = fetch().args(flags).arg("-o").arg(dir.path(name)).urls(urls).run();
    let records = read(&dir.path(name));
    (output, records)
}

#[test]
fn every_mode_archives_what_was_sent_and_received_and_all_that_a_line_would_say() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let urls: Vec<_> = (0..20).map(|n| origin.url(&format!("/site/page/{n}"))).collect();
    let lines = fetch().args(["--select", "title=title"]).urls(&urls).run().exits(0).records();
    for (mode, name) in MODES.iter().zip(["a.warc.gz", "b.warc", "c.warc.gz", "d.WARC.GZ"]) {
        let (output, records) = archive(&dir, name, &urls, &["--mode", mode, "--select", "title=title"]);
        let output = output.exits(0);
        assert_eq!(records.len(), 1 + 3 * urls.len(), "{output}");
        assert!(std::str::from_utf8(&records[0].block).unwrap().contains("software: muster/"));
        let metadata = metadata(&records);
        for line in &lines {
            let found = &metadata[&line["id"].as_u64().unwrap()];
            for key in ["url", "final_url", "status", "bytes", "charset", "fields"] {
                assert_eq!(found[key], line[key], "{mode}");
            }
        }
        for response in of_type(&records, "response") {
            let uri = response.get("WARC-Target-URI");
            let n: u32 = uri.rsplit('/').next().unwrap().parse().unwrap();
            assert!(response.head().starts_with("HTTP/1.1 200 OK\r\n"), "{}", response.head());
            assert_eq!(response.payload(), e2e::origin::site::page(n, origin.pages()).as_bytes(), "{uri}");
            assert_eq!(response.get("WARC-IP-Address"), "127.0.0.1");
            assert_eq!(response.get("WARC-Truncated"), "");
        }
        for request in of_type(&records, "request") {
            let path = request.get("WARC-Target-URI").strip_prefix(&origin.url("")).unwrap();
            let head = request.head();
            assert!(
                head.starts_with(&format!("GET {path} HTTP/1.1\r\nhost: {}\r\n", origin.host())),
                "{head}"
            );
            assert!(head.contains("\r\nuser-agent: muster/"), "{head}");
        }
    }
}

#[test]
fn redirects_are_exchanges_of_their_own() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    for mode in ["sequential", "concurrent"] {
        let name = format!("{mode}.warc.gz");
        let urls = [origin.url("/redirect/3#there")];
        let (output, records) = archive(&dir, &name, &urls, &["--mode", mode]);
        let output = output.exits(0);
        let statuses: Vec<_> = of_type(&records, "response")
            .iter()
            .map(|record| record.head().split(' ').nth(1).unwrap().parse::<u32>().unwrap())
            .collect();
        assert_eq!(statuses, [302, 302, 302, 200], "{output}");
        let uris: Vec<_> = of_type(&records, "request").iter().map(|r| r.get("WARC-Target-URI")).collect();
        assert_eq!(uris[0], origin.url("/redirect/3"));
        let last = of_type(&records, "response").pop().unwrap();
        assert_eq!(records.last().unwrap().get("WARC-Concurrent-To"), last.get("WARC-Record-ID"));
    }
}

/// Bodies are kept as they came: compressed ones compressed, chunked ones joined.
#[test]
fn bodies_are_kept_as_they_came() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let page = e2e::origin::site::page(3, origin.pages());
    let urls: Vec<_> = ["gzip", "br", "zstd", "identity"]
        .map(|coding| origin.url(&format!("/encoding/{coding}?page=3")))
        .into_iter()
        .chain([origin.url("/drip?bytes=50&seconds=0.1")])
        .collect();
    for mode in ["parallel", "both"] {
        let name = format!("{mode}.warc.gz");
        let (output, records) = archive(&dir, &name, &urls, &["--mode", mode, "--ordered"]);
        let output = output.exits(0);
        let responses = of_type(&records, "response");
        let mut unpacked = String::new();
        flate2::read::GzDecoder::new(responses[0].payload()).read_to_string(&mut unpacked).unwrap();
        assert_eq!(unpacked, page, "{output}");
        assert!(responses[0].head().contains("\r\ncontent-encoding: gzip\r\n"));
        assert_eq!(zstd::decode_all(responses[2].payload()).unwrap(), page.as_bytes());
        assert_eq!(responses[3].payload(), page.as_bytes());
        assert_eq!(responses[4].payload().len(), 50);
        let head = responses[4].head();
        assert!(head.contains("\r\nx-archive-orig-transfer-encoding: chunked\r\n"), "{head}");
        assert_eq!(metadata(&records)[&0]["bytes"], page.len());
    }
}

#[test]
fn what_failed_has_its_metadata_and_what_there_was_of_a_response() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let urls = [
        "nonsense".to_owned(),
        "http://127.0.0.1:1/".to_owned(),
        origin.url("/status/404"),
        origin.url("/truncated"),
        origin.url("/huge?bytes=3000000"),
        origin.url("/site/page/1?poison=segfault"),
        "x".repeat(30_000),
    ];
    for mode in ["sequential", "both"] {
        let name = format!("{mode}.warc.gz");
        let flags = ["--mode", mode, "--ordered", "--retries", "0", "--body-bytes-max", "1MiB"];
        let (output, records) = archive(&dir, &name, &urls, &flags);
        let output = output.exits(3);
        let metadata = metadata(&records);
        assert_eq!(metadata.len(), urls.len(), "{output}");
        let kinds: Vec<_> = metadata.values().map(kind).collect();
        assert_eq!(
            kinds[..5],
            ["invalid_url", "connect", "http_status", "protocol", "too_large"],
            "{output}"
        );
        assert_eq!(kinds[6], "invalid_url");
        let responses = of_type(&records, "response");
        let responses: BTreeMap<_, _> = responses
            .iter()
            .map(|record| (record.get("WARC-Target-URI").trim_start_matches(&origin.url("")), *record))
            .collect();
        assert!(responses["/status/404"].head().starts_with("HTTP/1.1 404 Not Found\r\n"));
        assert_eq!(responses["/status/404"].get("WARC-Truncated"), "");
        assert_eq!(responses["/truncated"].get("WARC-Truncated"), "disconnect");
        assert_eq!(responses["/huge?bytes=3000000"].get("WARC-Truncated"), "length");
    }
}

/// An archive is passed on; what opens doors stays at home.
#[test]
fn no_secret_is_archived() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let urls = [origin.url("/empty").replace("http://", "http://user:hunter2@")];
    let flags = ["-H", "Cookie: hunter2", "-H", "X-Api-Key: hunter2", "-H", "Accept-Language: de"];
    let (output, records) = archive(&dir, "a.warc", &urls, &flags);
    let output = output.exits(0);
    assert_eq!(records.len(), 4);
    for record in &records {
        let text = String::from_utf8_lossy(&record.block);
        assert!(!text.contains("hunter2") && !record.get("WARC-Target-URI").contains("hunter2"), "{output}");
    }
    assert!(of_type(&records, "request")[0].head().contains("\r\naccept-language: de\r\n"));
}

#[test]
fn no_secret_is_in_what_describes_a_run() {
    use std::os::unix::fs::PermissionsExt as _;
    let (origin, dir) = (Origin::shared(), Dir::new());
    let good = origin.url("/empty?a=1&access_token=hunter2").replace("http://", "http://user:hunter2@");
    let bad =
        ["http://user:hunter2@[::1/", "user:hunter2@h/p", "http://user:hunter2@h:99999/"].map(str::to_owned);
    let flags =
        ["-H", "Cookie: hunter2", "-H", "X-Api-Key: hunter2", "--report", "r.html", "--summary", "s.json"];
    let (output, records) = archive(&dir, "a.warc", &bad, &flags);
    let output = output.exits(3);
    for record in &records {
        let text = String::from_utf8_lossy(&record.block);
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert!(!output.stderr.contains("hunter2"), "{output}");
    let run = fetch().current_dir(dir.root()).args(flags).args(["-o", "o.jsonl"]).arg(good).run().exits(0);
    assert!(!run.stderr.contains("hunter2"), "{run}");
    for name in ["r.html", "s.json"] {
        assert!(!dir.read(name).contains("hunter2"), "{name}");
    }
    assert!(dir.read("r.html").contains("-H Cookie: *** -H X-Api-Key: ***"));
    // On standard output, nobody else sees the records.
    fetch().current_dir(dir.root()).args(["--report", "p.html"]).arg(&bad[0]).run().exits(3);
    let mode = |name| dir.path(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("r.html"), mode("p.html")), (mode("o.jsonl"), 0o600));
    for header in
        ["Cookie hunter2", "Authorization Bearer hunter2", "Bearer hunter2: x", "X-A: hunter2\u{e4}"]
    {
        let refused = fetch().args(["http://h/", "-H", header]).run().exits(2);
        assert!(!refused.stderr.contains("hunter2"), "{refused}");
    }
}

#[test]
fn a_body_of_sixteen_mebibytes_is_one_record() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let urls = [origin.url("/huge?bytes=16777000"), origin.url("/site/page/1")];
    let (output, records) = archive(&dir, "a.warc.gz", &urls, &["--mode", "both"]);
    assert_eq!(metadata(&records).len(), 2, "{output}");
    let longest = of_type(&records, "response").iter().map(|record| record.payload().len()).max();
    assert_eq!(longest, Some(16_777_000), "{output}");
}

#[test]
fn what_is_no_archive_is_refused() {
    let dir = Dir::new();
    dir.write("a.html", "<title>t</title>");
    let command = |name: &str| parse().current_dir(dir.root()).args(["a.html", "-o", name]);
    command("a.warc.gz").run().exits(2).says("`parse` cannot write a web archive");
    command("a.warc").run().exits(2).says("`parse` cannot write a web archive");
    // An output that is there, without a journal, and no archive.
    dir.write("b.warc.gz", "precious");
    let run = fetch().current_dir(dir.root()).args(["http://127.0.0.1:1/", "--resume", "-o", "b.warc.gz"]);
    run.run().exits(1).says("no whole archive");
    assert_eq!(dir.read("b.warc.gz"), "precious");
}

fn resuming(dir: &Dir, name: &str, flags: &[&str]) -> TestCommand {
    let command = fetch().current_dir(dir.root()).args(["-i", "urls.txt", "-o", name, "--resume"]);
    command.args(["--summary", "s.json"]).args(flags)
}

#[test]
fn an_archive_killed_again_and_again_is_whole_in_the_end() {
    const COUNT: u32 = 400;
    for (name, flags) in [
        ("out.warc.gz", &["--mode", "both"][..]),
        ("out.warc.gz", &["--mode", "both", "--ordered"]),
        ("out.warc", &["--mode", "concurrent"]),
    ] {
        let (origin, dir) = (Origin::start(), Dir::new());
        let urls: String =
            (0..COUNT).map(|n| format!("{}\n", origin.url(&format!("/counted/{n}?delay=0.02")))).collect();
        dir.write("urls.txt", urls);
        let requests = || origin.stats()["requests"].as_u64().unwrap();
        // So slow that what is done before a kill is committed, and goes on from there.
        let flags = &[flags, &["--concurrency", "4"]].concat();
        for n in 0..5 {
            let before = requests();
            let run = resuming(&dir, name, flags).spawn();
            run.until("requests", || (requests() >= before + 25 + 15 * n).then_some(()));
            run.signal(Signal::SIGKILL);
            run.wait();
        }
        let output = resuming(&dir, name, flags).run().exits(0).says("resuming out.warc");
        assert!(!output.stderr.contains(": 0 records"), "nothing was committed: {output}");
        let records = read(&dir.path(name));
        let found: Vec<_> =
            of_type(&records, "metadata").iter().map(|record| record.json()["id"].as_u64()).collect();
        if flags.contains(&"--ordered") {
            assert!(found.is_sorted(), "{output}");
        }
        assert_eq!(metadata(&records).len(), COUNT as usize, "{output}");
        assert_eq!(of_type(&records, "response").len(), COUNT as usize);
        let summary: Value = serde_json::from_str(&dir.read("s.json")).unwrap();
        assert_eq!((&summary["items"], &summary["ok"]), (&json!(COUNT), &json!(COUNT)));
        resuming(&dir, name, flags).run().exits(0).says("complete already, with 400 records");
    }
}

/// `warcio` in an environment of its own under `target`; none where Python or the network lacks.
fn warcio() -> Option<PathBuf> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("warcio");
    let program = home.join("bin/warcio");
    if !program.exists() {
        let made = Command::new("python3").args(["-m", "venv"]).arg(&home).status();
        made.ok().filter(std::process::ExitStatus::success)?;
        let mut pip = Command::new(home.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--timeout", "10", "warcio"]);
        pip.status().ok().filter(std::process::ExitStatus::success)?;
    }
    Some(program)
}

#[test]
fn the_reader_that_everybody_uses_finds_no_fault() {
    let Some(warcio) = warcio() else {
        println!("skipped: warcio is not to be had here");
        return;
    };
    let (origin, dir) = (Origin::shared(), Dir::new());
    let paths = [
        "/site/page/1",
        "/site/page/2",
        "/redirect/2",
        "/encoding/gzip?page=1",
        "/encoding/br?page=1",
        "/drip?bytes=50&seconds=0.1",
        "/status/404",
        "/truncated",
        "/huge?bytes=3000000",
        "/empty",
        "/status/204",
    ];
    let mut urls: Vec<_> = paths.iter().map(|path| origin.url(path)).collect();
    urls.push("nonsense".to_owned());
    for name in ["a.warc.gz", "a.warc"] {
        let flags = ["--mode", "both", "--retries", "0", "--body-bytes-max", "1MiB", "--select", "t=title"];
        let (output, records) = archive(&dir, name, &urls, &flags);
        let check = Command::new(&warcio).args(["check", "-v"]).arg(dir.path(name)).output().unwrap();
        let said =
            String::from_utf8_lossy(&check.stdout).into_owned() + &String::from_utf8_lossy(&check.stderr);
        assert!(check.status.success() && !said.to_lowercase().contains("fail"), "{said}\n{output}");
        let index = Command::new(&warcio)
            .args(["index", "-f", "warc-type,http:status"])
            .arg(dir.path(name))
            .output()
            .unwrap();
        let seen = parse_lines(&index.stdout);
        assert_eq!(seen.len(), records.len(), "{}", String::from_utf8_lossy(&index.stderr));
        let statuses = seen.iter().filter(|record| record["http:status"] == "200").count();
        assert_eq!(statuses, 9, "{seen:?}");
    }
}
