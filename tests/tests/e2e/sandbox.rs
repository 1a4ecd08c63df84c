//! Workers read hostile bytes with few rights, and nothing that a job needs is among those they lack.

use std::fs;
use std::os::unix::fs::symlink;

use crate::harness::{Dir, Origin, Process, fetch, normalised, parse};

/// One line of `/proc/PID/status`.
fn status(process: &Process, key: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id)).unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().to_owned()
}

#[test]
fn workers_give_up_rights_unless_told_to_keep_them() {
    let origin = Origin::start();
    for (level, no_new_privs, seccomp) in [("auto", "1", "2"), ("off", "0", "0")] {
        let urls = (0..2).map(|_| origin.url("/delay/30"));
        let flags = ["--mode", "both", "--workers", "2", "--concurrency", "1", "--sandbox", level];
        let run = fetch().args(flags).urls(urls).spawn();
        // Each worker has one: both are past their start.
        run.until("requests", || (origin.requests("/delay/30") == 2).then_some(()));
        for worker in run.wait_for_workers(2) {
            let given_up = [status(&worker, "NoNewPrivs:"), status(&worker, "Seccomp:")];
            assert_eq!(given_up, [no_new_privs, seccomp], "--sandbox {level}");
        }
    }
}

/// Names are looked up and certificates read after the doors are shut.
#[test]
fn fetching_gives_the_same_records_with_and_without() {
    let dir = Dir::new();
    let secure = Origin::start_with(&["--tls-ca", dir.path("ca.pem").to_str().unwrap()]);
    let by_name = |origin: &Origin| origin.url("/site/page/3").replace("127.0.0.1", "localhost");
    let urls = [by_name(Origin::shared()), by_name(&secure), Origin::shared().url("/bomb/gzip")];
    for mode in ["sequential", "both"] {
        let runs = ["auto", "off"].map(|level| {
            let flags =
                ["--mode", mode, "--sandbox", level, "--select", "t=title", "--body-bytes-max", "1MiB"];
            let run = fetch().args(flags).env("SSL_CERT_FILE", dir.path("ca.pem")).urls(&urls).run().exits(3);
            let mut records = normalised(run.records());
            records.remove(&2);
            records
        });
        assert_eq!(runs[0], runs[1], "{mode}");
        assert!(runs[0].values().all(|record| record["status"] == 200), "{mode}: {runs:?}");
    }
}

/// Wherever an input leads, its page is what the user asked for.
#[test]
fn parsing_gives_the_same_records_with_and_without() {
    let (dir, elsewhere) = (Dir::new(), Dir::new());
    dir.write("tree/a.html", "<title>A</title>");
    elsewhere.write("real.html", "<title>Linked</title>");
    symlink(elsewhere.path("real.html"), dir.path("tree/link.html")).unwrap();
    symlink(elsewhere.root(), dir.path("linked-tree")).unwrap();
    let list =
        dir.write("list.txt", format!("tree/../tree/a.html\n{}\n", elsewhere.path("real.html").display()));
    let runs = ["auto", "off"].map(|level| {
        let run = parse().current_dir(dir.root()).args(["--sandbox", level, "--select", "t=title"]);
        let run = run.args(["tree", "linked-tree", "-i"]).arg(&list).run().exits(0);
        normalised(run.records())
    });
    assert_eq!(runs[0].len(), 5);
    assert_eq!(runs[0], runs[1]);
}

/// A lookup that reaches the system's resolver ends as it would without a sandbox, and that is never for want of a right.
#[test]
fn names_are_looked_up_with_and_without() {
    for mode in ["parallel", "both"] {
        let errors = ["auto", "off"].map(|level| {
            let run = fetch().args(["--mode", mode, "--sandbox", level, "--retries", "0"]);
            let run = run.arg("http://no-such-host.invalid/").run().exits(3);
            run.records()[0]["error"].clone()
        });
        assert_eq!(errors[0], errors[1], "{mode}");
        assert_eq!(errors[0]["kind"], "dns", "{mode}: {errors:?}");
        assert!(!errors[0].to_string().contains("not permitted"), "{mode}: {errors:?}");
    }
}
