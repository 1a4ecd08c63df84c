//! What a run inherits from the process that starts it: streams, signals, the limit on a file's size.

use std::fs::OpenOptions;

use nix::sys::signal::Signal;

use crate::harness::{Dir, Origin, TestCommand, by_id, fetch, ids, parse, parse_lines, supervisor};

/// Runs `command` as `prelude` leaves its process.
fn after(command: TestCommand, prelude: &str) -> TestCommand {
    command.under(&["sh", "-c", &format!("{prelude} exec \"$@\""), "sh"])
}

/// The same where a shell has no word for it: Python's `signal` is imported.
fn after_python(command: TestCommand, prelude: &str) -> TestCommand {
    let script = format!("import os, sys, signal\n{prelude}\nos.execvp(sys.argv[1], sys.argv[1:])");
    command.under(&["python3", "-c", &script])
}

/// So many saved pages of about 300 bytes each, in `pages`.
fn pages(dir: &Dir, count: usize) {
    for n in 0..count {
        dir.write(format!("pages/{n}.html"), format!("<title>{}</title>", "x".repeat(300)));
    }
}

/// Everything that goes to standard output, by command.
fn printing(dir: &Dir) -> Vec<TestCommand> {
    dir.write("lines.jsonl", "{\"n\":1}\n{\"n\":2}\n");
    dir.write("a.html", "<title>a</title>");
    dir.write("a.csv", "a,b\n1,2\n");
    let of = |line: &str| supervisor().args(line.split(' ')).current_dir(dir.root());
    [
        "--help",
        "--version",
        "fetch --help",
        "help csv",
        "completions bash",
        "map -i lines.jsonl -- cat",
        "map --raw -i lines.jsonl -- cat",
        "parse a.html --select t=title",
        "fetch http://127.0.0.1:9/ --retries 0",
        "csv a.csv --group-by a --agg n=count",
    ]
    .map(of)
    .into()
}

#[test]
fn a_standard_output_that_takes_nothing_is_an_error() {
    let dir = Dir::new();
    for command in printing(&dir) {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        command.clone().run_into(full).exits(1).says("standard output");
        after(command.clone(), "exec >&-;")
            .run()
            .exits(1)
            .says("standard output")
            .says("bad file descriptor");
        // Thrown away is not closed.
        let run = after(command, "exec >/dev/null;").run();
        assert!(matches!(run.code, Some(0 | 3)), "{run}");
    }
}

#[test]
fn a_limit_on_the_size_of_files_is_like_a_full_disk() {
    let dir = Dir::new();
    pages(&dir, 300);
    let run = |output: &str, more: &[&str]| {
        let run = parse().args(["pages", "--select", "t=title", "-o", output]).args(more);
        run.current_dir(dir.root())
    };
    for output in ["out.jsonl", "out.csv", "out.sqlite"] {
        let cut = after(run(output, &[]), "ulimit -f 50 &&").run().exits(1);
        cut.says("file size limit").says("ulimit -f").says("--resume does the rest");
        run(output, &["--resume"]).run().exits(0);
    }
    let records = by_id(parse_lines(dir.read("out.jsonl").as_bytes()));
    assert_eq!(records.len(), 300);
    let file = std::fs::File::create(dir.path("stdout")).unwrap();
    let to_stdout = parse().args(["pages", "--select", "t=title"]).current_dir(dir.root());
    after(to_stdout, "ulimit -f 50 &&").run_into(file).exits(1).says("file size limit");
    assert!(dir.read("stdout").len() <= 51_200);
}

#[test]
fn signals_that_were_blocked_or_ignored_neither_hang_a_run_nor_reach_its_program() {
    let dir = Dir::new();
    let preludes = [
        "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
        "signal.signal(signal.SIGPIPE, signal.SIG_IGN); signal.signal(signal.SIGXFSZ, signal.SIG_IGN)",
    ];
    // Its blocked and ignored signals, as the kernel has them; Python would change its own.
    let program = dir.write(
        "says.sh",
        "while read -r line; do printf '[%s]\\n' \"$(sed -n 's/^Sig\\(Blk\\|Ign\\):.*\\(.\\{16\\}\\)$/\"\\2\"/p' \
         /proc/$$/status | paste -sd,)\"; done\n",
    );
    for prelude in preludes {
        let run = supervisor().args(["--workers", "2", "map", "-i", "-", "--", "sh"]).arg(&program);
        let run = after_python(run.stdin("1\n2\n3\n"), prelude).run().exits(0);
        assert_eq!(ids(&run.records()).len(), 3, "{run}");
        for record in run.records() {
            let mask =
                |index: usize| u64::from_str_radix(record["value"][index].as_str().unwrap(), 16).unwrap();
            let set_right =
                [Signal::SIGCHLD, Signal::SIGPIPE, Signal::SIGXFSZ].map(|it| 1 << (it as i32 - 1));
            assert_eq!(mask(0), 0, "{prelude}: {record}");
            assert!(set_right.iter().all(|bit: &u64| mask(1) & bit == 0), "{prelude}: {record}");
        }
    }
}

#[test]
fn a_blocked_signal_still_stops_a_run() {
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let (origin, dir) = (Origin::start(), Dir::new());
        let urls = (0..400).map(|n| origin.url(&format!("/counted/{n}?delay=0.1")));
        let run = fetch().args(["--mode", "sequential"]).arg("-o").arg(dir.path("out.jsonl")).urls(urls);
        let blocked = "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())";
        let run = after_python(run, blocked).spawn();
        run.until("a request", || (origin.stats()["requests"].as_u64() > Some(2)).then_some(()));
        run.signal(signal);
        run.wait().exits(code).says("--resume");
    }
}

#[test]
fn a_hangup_that_is_ignored_stays_ignored() {
    let origin = Origin::start();
    let urls = (0..20).map(|n| origin.url(&format!("/counted/{n}?delay=0.1")));
    let run = after(fetch().args(["--mode", "sequential"]).urls(urls), "trap '' HUP;").spawn();
    run.until("a request", || (origin.stats()["requests"].as_u64() > Some(2)).then_some(()));
    let before = run.workers();
    run.signal(Signal::SIGHUP);
    run.until("more requests", || (origin.stats()["requests"].as_u64() > Some(8)).then_some(()));
    let pids = |workers: Vec<crate::harness::Process>| workers.iter().map(|it| it.pid()).collect::<Vec<_>>();
    assert_eq!(pids(run.workers()), pids(before), "no worker was replaced");
    assert_eq!(run.wait().exits(0).records().len(), 20);
}
