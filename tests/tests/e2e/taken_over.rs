//! A worker that hostile bytes have taken over can do no more than its job needs.

use std::fs;
use std::time::Duration;

use e2e::attack;

use crate::harness::{Dir, Origin, Output, by_id, fetch, kind, parse};

/// Bytes of memory that a process has in use.
fn resident(process: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) << 10
}

fn descriptors(process: i32) -> usize {
    fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count)
}

/// What the worker says got through.
fn got_through(output: &Output) -> String {
    let records = output.records();
    let stderr = records.iter().find_map(|record| record["error"]["evidence"]["stderr"].as_str());
    let stderr = stderr.unwrap_or_else(|| panic!("nothing was tried: {output}"));
    let line = stderr.lines().find(|line| line.starts_with("got through: ")).unwrap_or(stderr);
    line.to_owned()
}

/// Each message ends the worker at once and the input that made it send that, and nothing else. Far from any deadline:
/// the attacker waits for ever after it, and the run has a few seconds.
#[test]
fn what_no_worker_sends_ends_the_worker_and_leaves_nothing_behind() {
    for mode in ["parallel", "both"] {
        let origin = Origin::start();
        // Those that cost most come first, in every seat, so that the size is known while the rest runs.
        let costly = ["endless", "endless", "endless", "descriptors", "reasons"];
        let others = attack::MESSAGES.iter().filter(|kind| !costly.contains(kind));
        let kinds = costly.iter().chain(others);
        let mut urls: Vec<_> = kinds.map(|kind| origin.url(&format!("/site/page/1?attack={kind}"))).collect();
        let attacked = urls.len();
        urls.extend((0..60).map(|n| origin.url(&format!("/site/page/{n}"))));
        urls.extend((0..40).map(|n| origin.url(&format!("/counted/{n}?delay=0.05"))));
        let run = fetch()
            .args([
                "--mode",
                mode,
                "--workers",
                "3",
                "--concurrency",
                "4",
                "--retries",
                "0",
                "--select",
                "t=title",
            ])
            .args(["--per-host", "unlimited"])
            .urls(&urls)
            .spawn();
        let workers = 3;
        let (mut peak, mut most) = (0, 0);
        run.until("all but the last records", || {
            (peak, most) = (peak.max(resident(run.id())), most.max(descriptors(run.id())));
            (run.lines_so_far() >= urls.len() - 5 || run.has_ended()).then_some(())
        });
        let output = run.wait().exits(3);
        let records = by_id(output.records());
        assert_eq!(records.len(), urls.len(), "{mode}: {output}");
        for (id, record) in &records {
            let expected = if *id < attacked as u64 { "worker_crash" } else { "" };
            assert_eq!(kind(record), expected, "{mode}, {}: {record}", urls[usize::try_from(*id).unwrap()]);
        }
        assert!(output.stderr.contains("broke the protocol and was killed"), "{output}");
        assert!(output.elapsed < Duration::from_secs(40), "a deadline ended it: {output}");
        assert!(most < 60 + 12 * workers, "{mode}: {most} descriptors: {output}");
        assert!(peak < 300 << 20, "{mode}: {peak} bytes: {output}");
    }
}

#[test]
fn no_system_call_gets_through_but_those_on_the_list() {
    let (origin, dir) = (Origin::start(), Dir::new());
    for mode in ["parallel", "both"] {
        let url = origin.url("/site/page/1?attack=calls");
        let output = fetch().args(["--mode", mode, "--retries", "0"]).arg(url).run().exits(3);
        assert_eq!(got_through(&output), "got through: []", "fetch {mode}: {output}");
        let page = dir.write("page-attack=calls.html", "attack=calls");
        let output = parse().args(["--mode", mode, "--select", "t=title"]).arg(page).run().exits(3);
        assert_eq!(got_through(&output), "got through: []", "parse {mode}: {output}");
    }
}

#[test]
fn nothing_of_the_machine_or_of_the_user_is_within_reach() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let secret = ("AWS_SECRET_ACCESS_KEY", "hidden");
    let url = origin.url("/site/page/1?attack=rights");
    let output = fetch().env(secret.0, secret.1).args(["--retries", "0"]).arg(url).run().exits(3);
    assert_eq!(got_through(&output), "got through: []", "fetch: {output}");
    let page = dir.write("page-attack=rights.html", "attack=rights");
    let output = parse().env(secret.0, secret.1).args(["--select", "t=title"]).arg(page).run().exits(3);
    assert_eq!(got_through(&output), "got through: []", "parse: {output}");
}

/// The user's program is the user's own: it has the whole environment, as if the user had started it.
#[test]
fn a_program_has_the_users_environment() {
    let program =
        r#"while read -r _; do printf '"%s %s"\n' "$AWS_SECRET_ACCESS_KEY" "$MUSTER_WORKER_SLOT"; done"#;
    let run =
        crate::harness::supervisor().env("AWS_SECRET_ACCESS_KEY", "hidden").args(["map", "--workers", "1"]);
    let output = run.args(["-i", "-", "--", "sh", "-c", program]).stdin("1\n2\n").run().exits(0);
    assert!(output.text().contains("hidden 0"), "{output}");
}
