//! Cookies: one jar over all workers, in and out of `cookies.txt`, and nowhere else.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Dir, Origin, by_id, fetch, supervisor};

const SET: &str = "/session/set?cookie=sid%3Dhunter2%3B+Path%3D%2F&to=/session/seen";

fn seen(record: &Value) -> &str {
    record["fields"]["seen"].as_str().unwrap_or_default()
}

#[test]
fn what_one_worker_is_given_the_others_send() {
    let origin = Origin::shared();
    for mode in ["parallel", "both"] {
        let pages = (0..300).map(|n| origin.url(&format!("/session/seen/{n}")));
        let urls: Vec<String> = [origin.url(SET)].into_iter().chain(pages).collect();
        let flags =
            ["--mode", mode, "--workers", "2", "--per-host", "2", "--cookies", "on", "--select", "seen=pre"];
        let records = by_id(fetch().args(flags).urls(&urls).run().exits(0).records());
        // The first ones were handed out before the cookie was there.
        let later: Vec<&Value> = records.range(10..).map(|(_, record)| record).collect();
        assert!(later.iter().all(|record| seen(record) == "sid=hunter2"), "{later:?}");
        let workers: BTreeSet<_> = later.iter().filter_map(|record| record["worker"].as_u64()).collect();
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
fn a_session_survives_a_kill() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    dir.write("urls.txt", format!("{}\n{}\n", origin.url(SET), origin.url("/hang")));
    let flags = ["-i", "urls.txt", "-o", "out.jsonl", "--resume", "--select", "seen=pre"];
    let kept = || fs::read_to_string(dir.path("out.jsonl.journal.cookies")).unwrap_or_default();
    let run = fetch().current_dir(dir.root()).args(flags).args(["--cookies", "on", "--mode", "concurrent"]);
    let run = run.spawn();
    run.until("the record", || {
        fs::read_to_string(dir.path("out.jsonl")).is_ok_and(|text| text.contains("hunter2")).then_some(())
    });
    run.signal(Signal::SIGKILL);
    run.wait();
    assert!(kept().ends_with("\tsid\thunter2\n"), "{}", kept());
    // The inputs are others now, which is no reason to lose the session.
    dir.write("urls.txt", format!("{}\n", origin.url("/session/seen")));
    fetch().current_dir(dir.root()).args(flags).args(["--cookies", "on"]).run().exits(1);
    assert!(kept().ends_with("\tsid\thunter2\n"), "{}", kept());
}

#[test]
fn no_page_makes_a_jar_that_cannot_be_read() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let paths = ["/%09TRUE", "/%09TRUE%099999999999%09__Host-sid%09evil", "/%09FALSE%09x%09y%09z"];
    let mut urls: Vec<_> =
        paths.map(|path| origin.url(&format!("/session/set?cookie=a%3Db%3B+Path%3D{path}"))).to_vec();
    urls.push(origin.url(SET));
    let run = |urls: &[String]| {
        let flags = ["--cookie-jar", "jar.txt", "--select", "seen=pre", "--mode", "sequential"];
        by_id(fetch().current_dir(dir.root()).args(flags).urls(urls).run().exits(0).records())
    };
    run(&urls);
    let records = run(&[origin.url("/session/seen")]);
    assert_eq!(seen(&records[&0]), "sid=hunter2", "{}", dir.read("jar.txt"));
}

#[test]
fn a_run_that_only_measures_leaves_the_jar_as_it_is() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let jar = "other.example\tFALSE\t/\tFALSE\t0\told\t1\n";
    dir.write("jar.txt", jar);
    for verb in ["compare", "advise"] {
        let command =
            supervisor().current_dir(dir.root()).arg(verb).args(["fetch", "--cookie-jar", "jar.txt"]);
        command.arg(origin.url(SET)).run().exits(0);
        assert_eq!(dir.read("jar.txt"), jar);
    }
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
