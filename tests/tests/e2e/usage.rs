//! Mistakes are refused before anything is started, and help is where people look for it.

use crate::harness::{Dir, Origin, supervisor};

/// Flags, and a word that the message must have.
const MISTAKES: &[(&[&str], &str)] = &[
    (&["--select", "title"], "title"),
    (&["--select", "=title"], "select"),
    (&["--select", "t="], "select"),
    (&["--select", "t=a[["], "a[["),
    (&["--select", "t=a::attr()"], "attr"),
    (&["--select", "t=a::nonsense"], "nonsense"),
    (&["--select", "t=a", "--select", "t=b"], "t"),
    (&["--mode", "fastest"], "fastest"),
    (&["--workers", "0"], "workers"),
    (&["--workers", "-1"], "-1"),
    (&["--workers", "many"], "many"),
    (&["--concurrency", "0"], "concurrency"),
    (&["--timeout", "banana"], "banana"),
    (&["--timeout", "0s"], "timeout"),
    (&["--retries", "-2"], "-2"),
    (&["--per-host", "0"], "per-host"),
    (&["--per-host", "auto:0"], "auto:N"),
    (&["--delay", "3s..1s"], "shorter time first"),
    (&["--delay", "1s", "--rate", "1/s"], "cannot be used with"),
    (&["--rate", "0/s"], "rate"),
    (&["--blocked-if", "403"], "this is not a rule, at character 1; write status:403"),
    (&["--blocked-if", "status:99"], "`99` is not the status of an answer, at character 8"),
    (&["--blocked-if", "header:server"], "no `~`"),
    (&["--blocked-if", "css:a[["], "css:a[["),
    (&["--blocked-if", "body~("], "unclosed group, at character 6"),
    (&["--rate", "quick"], "quick"),
    (&["--body-bytes-max", "12XB"], "12XB"),
    (&["--header", "no colon"], "with a colon"),
    (&["--header", "X-Bad: a\nb"], "header"),
    (&["--header", "Expect: 100-continue"], "Expect cannot be set"),
    (&["--header", "Upgrade: h2c"], "Upgrade cannot be set"),
    (&["--header", "Connection: close"], "controls the connection"),
    (&["--header", "Trailer: x"], "how a request's body ends"),
    (&["--header", "Proxy-Authorization: Basic x"], "for a proxy"),
    (&["-H", "Host: a", "-H", "Host: b"], "Host is given twice"),
    (&["--header-scope", "everywhere"], "give origin, domain, any"),
    (&["--progress", "maybe"], "maybe"),
    (&["--modee", "both"], "--mode"),
    (&["--colum", "x"], "--column"),
];

#[test]
fn mistakes_exit_2_and_start_nothing() {
    let (origin, dir) = (Origin::start(), Dir::new());
    let url = origin.url("/counted/1");
    for (flags, word) in MISTAKES {
        let run = supervisor().arg("fetch").args(*flags).arg(&url).arg("-o").arg(dir.path("out.jsonl")).run();
        let run = run.exits(2).says(word);
        assert_eq!(run.text(), "");
    }
    assert_eq!(origin.stats()["requests"], 0);
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn commands_without_inputs_or_unknown_are_mistakes() {
    for argv in [&["fetch"][..], &["parse"], &["fetsh", "http://127.0.0.1:1/"], &["--no-such-flag"]] {
        let run = supervisor().args(argv).run().exits(2);
        assert_eq!(run.text(), "", "{run}");
    }
    supervisor().args(["fetsh", "http://127.0.0.1:1/"]).run().exits(2).says("fetch");
}

#[test]
fn a_list_with_columns_wants_to_know_which() {
    let dir = Dir::new();
    for name in ["list.csv", "list.jsonl"] {
        let list = dir.write(name, "a,b\n");
        supervisor().arg("fetch").arg("-i").arg(list).run().exits(2).says("--column");
    }
}

#[test]
fn the_environment_sets_flags_and_flags_win() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let url = origin.url("/site/page/1");
    let run = |flags: &[&str]| {
        let summary = dir.path("s.json");
        let run = supervisor().env("MUSTER_MODE", "parallel").env("MUSTER_WORKERS", "1").args(flags);
        run.arg("fetch").arg("--summary").arg(&summary).arg(&url).run().exits(0);
        let summary: serde_json::Value = serde_json::from_str(&dir.read("s.json")).unwrap();
        summary["mode"].as_str().unwrap().to_owned()
    };
    assert_eq!(run(&[]), "parallel");
    assert_eq!(run(&["--mode", "sequential"]), "sequential");
    let run = supervisor().env("MUSTER_MODE", "fastest").args(["fetch", &url]).run();
    run.exits(2).says("fastest");
}

#[test]
fn a_job_file_holds_the_whole_job_and_flags_override_it() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let urls = [origin.url("/site/page/1"), origin.url("/site/page/2")];
    let job = format!(
        "command = \"fetch\"\nurls = {urls:?}\nmode = \"sequential\"\nordered = true\nsummary = \"s.json\"\n\
         select = [\"t=title\", \"links[]=a::attr(href)\"]\n"
    );
    dir.write("job.toml", job);
    let run = |flags: &[&str]| {
        let run = supervisor().current_dir(dir.root()).args(["--job", "job.toml"]).args(flags).run().exits(0);
        assert_eq!(run.records().len(), 2, "{run}");
        assert!(run.records()[1]["fields"]["t"].as_str().unwrap().starts_with("Page 2"), "{run}");
        serde_json::from_str::<serde_json::Value>(&dir.read("s.json")).unwrap()["mode"].clone()
    };
    assert_eq!(run(&[]), "sequential");
    assert_eq!(run(&["--mode", "both"]), "both");
}

#[test]
fn a_key_that_does_not_exist_names_the_nearest() {
    let dir = Dir::new();
    dir.write("job.toml", "command = \"fetch\"\nurls = [\"http://127.0.0.1:1/\"]\ntimeuot = 3\n");
    dir.write("config.toml", "worker = 3\n");
    dir.write("broken.toml", "= = =\n");
    let run = |argv: &[&str]| supervisor().current_dir(dir.root()).args(argv).run();
    run(&["--job", "job.toml"]).exits(2).says("timeuot").says("timeout").says("job.toml");
    run(&["--config", "config.toml", "fetch", "http://127.0.0.1:1/"]).exits(2).says("workers");
    run(&["--config", "broken.toml", "fetch", "http://127.0.0.1:1/"]).exits(2).says("broken.toml");
    let missing = run(&["--config", "missing.toml", "fetch", "http://127.0.0.1:1/"]).says("missing.toml");
    assert!(matches!(missing.code, Some(1 | 2)), "{missing}");
}

#[test]
fn help_and_version_go_to_stdout() {
    for argv in
        [&["--help"][..], &["fetch", "--help"], &["parse", "--help"], &["compare", "--help"], &["--version"]]
    {
        let run = supervisor().args(argv).run().exits(0);
        assert_eq!(run.stderr, "", "{run}");
        assert!(!run.text().contains('\u{1b}'), "{run}");
        assert!(!run.text().trim().is_empty());
    }
    let help = supervisor().args(["fetch", "--help"]).run().exits(0).text();
    for flag in [
        "--select",
        "--timeout",
        "--connect-timeout",
        "--retries",
        "--body-bytes-max",
        "--redirects-max",
        "--per-host",
        "--rate",
        "--header",
        "--user-agent",
        "--ordered",
        "--overwrite",
        "--progress",
        "--summary",
        "--report",
        "--workers",
        "--mode",
        "--concurrency",
        "--input",
        "--output",
        "--column",
    ] {
        assert!(help.contains(flag), "{flag}");
    }
    assert!(help.contains("supervisor fetch"), "an example: {help}");
}

#[test]
fn completions_are_scripts_their_shells_accept() {
    let dir = Dir::new();
    for shell in ["bash", "zsh", "fish"] {
        let run = supervisor().args(["completions", shell]).run().exits(0);
        assert!(run.text().contains("body-bytes-max"), "{shell}");
        dir.write(shell, run.stdout);
    }
    let check = crate::harness::TestCommand::new("bash").arg("-n").arg(dir.path("bash")).run().exits(0);
    assert_eq!(check.stderr, "");
}

#[test]
fn there_is_a_man_page_for_each_command() {
    let dir = Dir::new();
    supervisor().arg("man").arg(dir.path("man1")).run().exits(0);
    for name in ["supervisor.1", "supervisor-fetch.1", "supervisor-parse.1", "supervisor-compare.1"] {
        let page = dir.read(format!("man1/{name}"));
        assert!(page.contains(".TH") && page.contains("NAME"), "{name}");
    }
}
