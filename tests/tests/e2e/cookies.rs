//! Cookies: one jar over all workers, in and out of `cookies.txt`, and nowhere else.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::harness::{Dir, Origin, by_id, fetch};

const SET: &str = "/session/set?cookie=sid%3Dhunter2%3B+Path%3D%2F&to=/session/seen";

fn seen(record: &Value) -> &str {
    record["fields"]["seen"].as_str().unwrap_or_default()
}

#[test]
fn what_one_worker_is_given_the_others_send() {
    let origin = Origin::shared();
    for mode in ["parallel", "both"] {
        let pages = (0..40).map(|n| origin.url(&format!("/session/seen/{n}")));
        let urls: Vec<String> = [origin.url(SET)].into_iter().chain(pages).collect();
        let flags =
            ["--mode", mode, "--workers", "2", "--per-host", "1", "--cookies", "on", "--select", "seen=pre"];
        let records = fetch().args(flags).urls(&urls).run().exits(0).records();
        assert!(records.iter().all(|record| seen(record) == "sid=hunter2"), "{records:?}");
        let workers: BTreeSet<_> = records.iter().filter_map(|record| record["worker"].as_u64()).collect();
        assert_eq!(workers.len(), 2);
    }
}

#[test]
fn a_jar_is_read_and_written_for_its_owner_alone() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let host = origin.host().split_once(':').unwrap().0.to_owned();
    dir.write("jar.txt", format!("{host}\tFALSE\t/\tFALSE\t0\told\t1\r\n"));
    let run = |urls: &[String]| {
        let flags = ["--cookie-jar", "jar.txt", "--select", "seen=pre"];
        by_id(fetch().current_dir(dir.root()).args(flags).urls(urls).run().exits(0).records())
    };
    let records = run(&[origin.url(SET)]);
    assert_eq!(seen(&records[&0]), "old=1; sid=hunter2");
    let mode = fs::metadata(dir.path("jar.txt")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let records = run(&[origin.url("/session/seen")]);
    assert_eq!(seen(&records[&0]), "old=1; sid=hunter2", "{}", dir.read("jar.txt"));
    dir.write("jar.txt", "this is no jar\n");
    let flags = ["--cookie-jar", "jar.txt"];
    fetch()
        .current_dir(dir.root())
        .args(flags)
        .arg(origin.url("/"))
        .run()
        .exits(1)
        .says("jar.txt is not a cookies.txt: line 1: a cookie has seven fields with tabs between");
}

#[test]
fn cookies_are_off_by_default_and_in_no_other_file() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let run = fetch().args(["--select", "seen=pre"]).arg(origin.url(SET)).run().exits(0);
    assert_eq!(seen(&run.records()[0]), "");
    let flags = ["--cookies", "on", "-o", "out.warc", "--summary", "s.json", "--report", "r.html"];
    fetch().current_dir(dir.root()).args(flags).arg(origin.url(SET)).run().exits(0);
    let mut files = 0;
    for entry in fs::read_dir(dir.root()).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&text);
        // The page itself shows it, as any page may.
        let text = text.replace("<pre>sid=hunter2</pre>", "").replace("sid%3Dhunter2", "");
        assert!(!text.contains("hunter2"), "{}", path.display());
        files += 1;
    }
    assert_eq!(files, 3);
}
