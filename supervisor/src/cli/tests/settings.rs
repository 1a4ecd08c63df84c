//! Settings from variables, config files and job files.

use shared::job::Mode;
use supervisor_core::frontier::PerHost;

use super::*;
use crate::plan::Input;

#[test]
fn flag_beats_environment_beats_job_beats_config_beats_default() {
    let mut bench = Bench::new();
    let check = |bench: &Bench, line: &str, seconds| {
        assert_eq!(timeout(&bench.plan(line)), Duration::from_secs(seconds), "{line}");
    };
    check(&bench, "fetch http://a/", 30);
    bench.write("muster.toml", "timeout = 4");
    check(&bench, "fetch http://a/", 4);
    bench.write("other.toml", "timeout = \"5s\"");
    check(&bench, "fetch http://a/ --config @/other.toml", 5);
    bench.write("job.toml", "timeout = 3");
    check(&bench, "--job @/job.toml fetch http://a/", 3);
    bench = bench.set("MUSTER_TIMEOUT", "2s");
    check(&bench, "--job @/job.toml fetch http://a/", 2);
    check(&bench, "--job @/job.toml fetch http://a/ --timeout 1", 1);
    bench = bench.set("MUSTER_TIMEOUT", "");
    check(&bench, "fetch http://a/ --job @/job.toml", 3);
}

#[test]
fn every_flag_can_be_set_outside() {
    let check = |bench: &Bench| {
        let plan = bench.plan("fetch http://a/");
        assert_eq!(plan.pool.workers.unwrap().get(), 7);
        assert_eq!(plan.pool.mode, Some(Mode::Parallel));
        assert_eq!(plan.politeness.per_host, PerHost::Limit(3.try_into().unwrap()));
        assert!(plan.ordered);
        assert_eq!(plan.fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let typed = bench.plan("fetch http://a/ --select c=x --ordered=false --workers auto");
        assert_eq!(typed.fields.len(), 1, "typing a list replaces it");
        assert!(!typed.ordered);
        assert_eq!(typed.pool.workers, None);
    };
    let bench = Bench::new();
    bench.write(
        "muster.toml",
        "workers = 7\nmode = \"parallel\"\nper_host = 0x3\nordered = true\nselect = [\"a=x\", \"b=y\"]\n",
    );
    check(&bench);
    check(
        &Bench::new()
            .set("MUSTER_WORKERS", "7")
            .set("MUSTER_MODE", "parallel")
            .set("MUSTER_PER_HOST", "3")
            .set("MUSTER_ORDERED", "1")
            .set("MUSTER_SELECT", "a=x\nb=y\n"),
    );
    let bench = Bench::new();
    bench.write("elsewhere.toml", "timeout = 9");
    let named = Bench::new().set("MUSTER_CONFIG", &bench_path(&bench, "elsewhere.toml"));
    assert_eq!(timeout(&named.plan("fetch http://a/")), Duration::from_secs(9));
}

fn bench_path(bench: &Bench, name: &str) -> String {
    bench.path(name).to_str().unwrap().to_owned()
}

#[test]
fn numbers_are_taken_as_toml_writes_them() {
    let bench = Bench::new();
    bench.write("muster.toml", "body-bytes-max = 1_000\nrate = 1_0.5\nretries = 0b11\ntimeout = 1e1\n");
    let plan = bench.plan("fetch http://a/");
    let Work::Fetch(spec) = &plan.work else { panic!("{plan:?}") };
    assert_eq!((spec.body_bytes_max, spec.timeout), (1000, Duration::from_secs(10)));
    assert_eq!((plan.politeness.rate_per_s, plan.politeness.retries), (Some(10.5), 3));
    bench.write("muster.toml", "retries = -1\n");
    bench.refused("fetch http://a/", 2, &["muster.toml:1:", "-1 is not in 0..=100"]);
}

#[test]
fn a_config_serves_every_command() {
    let bench = Bench::new();
    bench.write("muster.toml", "timeout = 5\nsample = 3\nparse-timeout = \"1s\"\n");
    assert_eq!(bench.plan("parse @").parse_timeout, Duration::from_secs(1));
    assert_eq!(bench.comparison("compare parse @").sample.unwrap().get(), 3);
}

#[test]
fn bad_settings_say_where() {
    let check = |text: &str, says: &[&str]| {
        let bench = Bench::new();
        bench.write("muster.toml", text);
        bench.refused("fetch http://a/", 2, says);
    };
    check("\n\ntiemout = 5", &["muster.toml:3: unknown key \"tiemout\"", "did you mean \"timeout\"?"]);
    check("zzzzzzzz = 5", &["muster.toml:1: unknown key \"zzzzzzzz\"", "long names"]);
    check("config = \"x\"", &["unknown key"]);
    check("urls = [\"http://a/\"]", &["unknown key \"urls\""]);
    check("timeout = true", &["muster.toml:1", "\"timeout\": expected TIME, found boolean"]);
    check("timeout = {s = 5}", &["found table"]);
    check("timeout = [5, 6]", &["one value, not a list"]);
    check("ordered = \"yes\"", &["\"ordered\": expected true or false, found string"]);
    check("select = [5.5, []]", &["\"select\": expected NAME=SEL, found array"]);
    check("timeout = \"soon\"", &["muster.toml:1:", "'soon'", "--timeout", "give a time"]);
    check("# \nselect = \"nonsense\"", &["muster.toml:2:", "at character"]);
    check("mode = \"threads\"", &["muster.toml:1:", "possible values", "both"]);
    check("workers = 0", &["muster.toml:1:", "from 1 to 1024"]);
    check("per-host = 1\nper_host = 2", &["set twice"]);
    check("timeout = ", &["muster.toml:1: not TOML"]);
    Bench::new().set("MUSTER_TIMEOUT", "soon").refused(
        "fetch http://a/",
        2,
        &["MUSTER_TIMEOUT:", "give a time"],
    );
    Bench::new().refused("fetch http://a/ --config @/no.toml", 2, &["cannot read", "no.toml"]);
    Bench::new().refused("--job @/no.toml", 2, &["cannot read", "no.toml"]);
}

#[test]
fn a_bad_setting_does_not_keep_the_help_away() {
    let bench = Bench::new().set("MUSTER_TIMEOUT", "soon");
    bench.refused("fetch --help", 0, &["--timeout"]);
    assert!(matches!(bench.read("completions bash"), Ok(Invocation::Completions(Shell::Bash))));
    assert!(matches!(bench.read("man @/man"), Ok(Invocation::ManPages(dir)) if dir == bench.path("man")));
}

#[test]
fn a_job_file_is_a_whole_job() {
    let bench = Bench::new();
    bench.write(
        "job.toml",
        "command = \"fetch\"\nurls = [\"http://a/\", \"http://b/\"]\ntimeout = 3\nmode = \"both\"\n",
    );
    for line in ["--job @/job.toml", "fetch --job @/job.toml", "--job=@/job.toml --workers 2"] {
        let plan = bench.plan(line);
        assert_eq!(
            plan.inputs,
            [Input::Literal(b"http://a/".to_vec()), Input::Literal(b"http://b/".to_vec())]
        );
        assert_eq!(timeout(&plan), Duration::from_secs(3));
    }
    assert_eq!(timeout(&bench.plan("--job @/job.toml --timeout 4")), Duration::from_secs(4));
    assert_eq!(
        bench.plan("fetch http://c/ --job @/job.toml").inputs,
        [Input::Literal(b"http://c/".to_vec())]
    );
    let by_variable = Bench::new().set("MUSTER_JOB", &bench_path(&bench, "job.toml"));
    assert_eq!(by_variable.plan("").inputs.len(), 2);

    bench.write("parse.toml", "command = \"parse\"\npaths = [\"a.html\"]\n");
    assert_eq!(bench.plan("--job @/parse.toml").inputs, [Input::Tree("a.html".into())]);
    bench.write("bare.toml", "urls = [\"http://a/\"]");
    assert_eq!(bench.plan("fetch --job @/bare.toml").inputs.len(), 1);
}

#[test]
fn a_job_can_be_compared_as_it_stands() {
    let bench = Bench::new();
    bench.write(
        "job.toml",
        "command = \"fetch\"\nurls = [\"http://a/\"]\ntimeout = 3\nordered = true\nmode = \"both\"\n",
    );
    for line in
        ["compare --job @/job.toml", "compare fetch --job @/job.toml", "compare --job @/job.toml --timeout 3"]
    {
        let comparison = bench.comparison(line);
        assert_eq!(timeout(&comparison.plan), Duration::from_secs(3));
        assert_eq!(comparison.plan.inputs.len(), 1);
    }
    bench.write("compare.toml", "command = \"compare fetch\"\nurls = [\"http://a/\"]\nsample = 2\n");
    for line in ["--job @/compare.toml", "compare --job @/compare.toml"] {
        assert_eq!(bench.comparison(line).sample.unwrap().get(), 2);
    }
}

#[test]
fn a_bad_job_says_where() {
    let check = |line: &str, text: &str, says: &[&str]| {
        let bench = Bench::new();
        bench.write("job.toml", text);
        bench.refused(line, 2, says);
    };
    check("--job @/job.toml", "urls = []", &["no command; add command = \"fetch\""]);
    check(
        "--job @/job.toml",
        "command = \"serve\"",
        &["job.toml:1: command is \"serve\"", "fetch, crawl, parse"],
    );
    check("--job @/job.toml", "command = 5", &["must be a string"]);
    check("parse --job @/job.toml", "\ncommand = \"fetch\"", &["job.toml:2: the job's command is \"fetch\""]);
    check("--job @/job.toml", "command = \"parse\"\ntimeout = 5", &["job.toml:2: unknown key \"timeout\""]);
    check("fetch --job @/job.toml", "comand = \"fetch\"", &["did you mean \"command\"?"]);
    check("--job @/job.toml", "command = \"fetch\"\nsample = 5", &["unknown key \"sample\""]);
    check("--job @/job.toml --bogus", "command = \"fetch\"", &["--bogus"]);
    check("compare --job @/job.toml --ordered", "command = \"fetch\"", &["--ordered"]);
    check("prase --job @/job.toml", "command = \"fetch\"", &["unrecognized subcommand 'prase'"]);
}
