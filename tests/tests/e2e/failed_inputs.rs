//! Inputs that failed are told in one line at the end, by every command, unless all is to be quiet.

use crate::harness::{Dir, Origin, Output, TestCommand, fetch, parse, supervisor};

/// The only line on standard error that tells of failed inputs.
#[track_caller]
fn told(run: &Output) -> String {
    let lines: Vec<_> = run.stderr.lines().filter(|line| line.contains("failed")).collect();
    let [line] = lines.as_slice() else { panic!("{} lines: {run}", lines.len()) };
    (*line).to_owned()
}

#[test]
fn how_many_of_how_many_failed_is_told_by_kind() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let urls = ["/status/404", "/status/410", "/site/page/1", "/site/page/2"].map(|path| origin.url(path));
    let refused = "http://127.0.0.1:9/".to_owned();
    let some = || fetch().args(["--retries", "0"]).args(&urls).arg(&refused);
    assert_eq!(told(&some().run().exits(3)), "3 of 5 inputs failed: 2 http_status, 1 connect");
    // Also of an output that an earlier run has made.
    let kept = || some().arg("-o").arg(dir.path("out.jsonl"));
    told(&kept().run().exits(3));
    let again = kept().arg("--resume").run().exits(3);
    assert_eq!(told(&again), "3 of 5 inputs failed: 2 http_status, 1 connect");
    dir.write("a.html", "<title>a</title>");
    let run = parse().args(["a.html", "gone.html", "--select", "t=title"]).current_dir(dir.root()).run();
    if run.code == Some(3) {
        assert!(told(&run).starts_with("1 of 2 inputs failed: 1 "), "{run}");
    }
    let lines = "1\n{oops\n3\n";
    let run = supervisor().args(["map", "-i", "-", "--", "cat"]).stdin(lines).run().exits(3);
    assert_eq!(told(&run), "1 of 3 inputs failed: 1 parse");
    assert!(!fetch().arg(&urls[2]).run().exits(0).stderr.contains("failed"));
}

#[test]
fn compare_tells_it_for_each_mode() {
    let origin = Origin::shared();
    let run = supervisor().args(["compare", "fetch", "--retries", "0"]);
    let run = run.args([origin.url("/status/404"), origin.url("/site/page/1")]).run().exits(3);
    for mode in crate::harness::MODES {
        assert!(run.stderr.contains(&format!("{mode}: 1 of 2 inputs failed: 1 http_status\n")), "{run}");
    }
}

#[test]
fn quiet_is_quiet_and_keeps_the_exit_code() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let url = origin.url("/status/404");
    let silent = |run: TestCommand, code: i32| {
        let run = run.run().exits(code);
        assert_eq!(run.stderr, "", "{run}");
    };
    let fetch =
        |before: &[&str], after: &[&str]| supervisor().args(before).arg("fetch").args(after).arg(&url);
    silent(fetch(&["--quiet"], &[]), 3);
    silent(fetch(&[], &["-q"]), 3);
    silent(fetch(&[], &["--quiet", "--progress", "always", "--workers", "1"]), 3);
    silent(fetch(&[], &[]).env("MUSTER_QUIET", "true"), 3);
    let config = dir.write("muster.toml", "quiet = true\n");
    silent(fetch(&["--config", config.to_str().unwrap()], &[]), 3);
    fetch(&["--config", config.to_str().unwrap()], &["--quiet=false"])
        .run()
        .exits(3)
        .says("1 of 1 input failed");
    dir.write("a.csv", "a,b\n1,x\n");
    let csv =
        supervisor().args(["csv", "a.csv", "--agg", "s=sum(b)", "--group-by", "a"]).current_dir(dir.root());
    csv.clone().run().exits(0).says("1 row of 1 not used");
    silent(csv.arg("-q"), 0);
    // What could not be done is said all the same.
    fetch(&["-q"], &["-i", "/no/such/list"]).run().exits(1).says("/no/such/list");
}
