//! Command lines, and the plans or errors that they give.

use shared::address::AddressPolicy;
use shared::job::Mode;
use shared::request_headers::{HeaderScope, Reach};
use shared::select::{Each, Preset};
use supervisor_core::frontier::PerHost;

use super::*;
use crate::plan::{Columns, Input, Output, When};

#[test]
fn definitions_hold_together() {
    definitions().debug_assert();
}

#[test]
fn defaults_are_the_contracts() {
    let plan = Bench::new().plan("fetch http://a/");
    let Work::Fetch(spec) = &plan.work else { panic!("{plan:?}") };
    assert_eq!(spec.timeout, Duration::from_secs(30));
    assert_eq!(spec.connect_timeout, Duration::from_secs(10));
    assert_eq!(plan.parse_timeout, Duration::from_secs(10));
    assert_eq!((spec.body_bytes_max, spec.redirects_max), (16 << 20, 10));
    assert!(spec.user_agent.starts_with("muster/"));
    assert_eq!(spec.address_policy, AddressPolicy::Any);
    assert_eq!(plan.politeness.retries, 2);
    assert_eq!((plan.politeness.per_host, plan.politeness.rate_per_s), (PerHost::Auto, None));
    assert_eq!((plan.pool.workers, plan.pool.mode, plan.pool.concurrency), (None, None, None));
    assert_eq!((plan.output, plan.progress), (Output::Stdout, When::Auto));
    assert_eq!((plan.summary, plan.report, plan.ordered), (None, None, false));
    assert!(plan.fields.is_empty());
}

#[test]
fn a_whole_line_is_resolved() {
    let bench = Bench::new();
    let plan = bench.plan(
        "--workers 2 fetch http://z/ -i @/urls.txt -i - --select t=title --select l[]=a::attr(href) --timeout 5 \
         --per-host unlimited --rate 120/m -H Accept:x -H User-Agent:me --body-bytes-max 1MB --retries 0 --ordered \
         --progress never --summary @/s.json --report @/r.html -o @/out.jsonl --concurrency 9 --mode both \
         --address-policy public",
    );
    let inputs =
        [Input::Literal(b"http://z/".to_vec()), Input::Lines(bench.path("urls.txt")), Input::StdinLines];
    assert_eq!(plan.inputs, inputs);
    let fields: Vec<_> = plan.fields.iter().map(|field| (field.name.as_str(), field.every)).collect();
    assert_eq!(fields, [("t", false), ("l", true)]);
    let Work::Fetch(spec) = &plan.work else { panic!("{plan:?}") };
    assert_eq!(spec.headers, [("Accept".to_owned(), "x".to_owned())]);
    assert_eq!((spec.user_agent.as_str(), spec.body_bytes_max), ("me", 1_000_000));
    assert_eq!(spec.address_policy, AddressPolicy::Public);
    assert_eq!(plan.politeness.per_host, PerHost::Unlimited);
    assert_eq!((plan.politeness.rate_per_s, plan.politeness.retries), (Some(2.0), 0));
    assert_eq!(plan.pool.mode, Some(Mode::Both));
    assert_eq!((plan.pool.workers.unwrap().get(), plan.pool.concurrency.unwrap().get()), (2, 9));
    assert_eq!(plan.output, Output::File { path: bench.path("out.jsonl"), overwrite: false, resume: false });
    assert_eq!((plan.summary, plan.report), (Some(bench.path("s.json")), Some(bench.path("r.html"))));
    assert_eq!((plan.ordered, plan.progress), (true, When::Never));
}

#[test]
fn items_and_presets_are_resolved() {
    let bench = Bench::new();
    let plan =
        bench.plan("fetch http://a/ --each div --select meta=h2 --preset meta --preset jsonld --preset meta");
    assert_eq!(plan.each, Some(Each::Css("div".to_owned())));
    assert_eq!(plan.presets, [Preset::Meta, Preset::JsonLd]);
}

#[test]
fn parse_takes_paths_and_lists_and_asks_no_host() {
    let bench = Bench::new();
    let plan = bench.plan("parse @/page.html missing.html @ -i @/urls.txt --body-bytes-max 1KiB");
    let tree = |path: PathBuf| Input::Tree(path);
    assert_eq!(
        plan.inputs,
        [
            tree(bench.path("page.html")),
            tree("missing.html".into()),
            tree(bench.dir.path().into()),
            Input::Lines(bench.path("urls.txt")),
        ]
    );
    assert!(matches!(plan.work, Work::Parse(spec) if spec.body_bytes_max == 1024));
    assert_eq!((plan.politeness.retries, plan.politeness.per_host), (0, PerHost::Unlimited));
    bench.refused("parse @/page.html --timeout 5s", 2, &["--timeout"]);
}

#[test]
fn columns_are_read_by_extension() {
    let bench = Bench::new();
    bench.write("urls.TSV", "x\turl\n");
    bench.write("urls.ndjson", "");
    let check = |name: &str, want: fn(PathBuf, Columns) -> Input| {
        let plan = bench.plan(&format!("fetch -i @/{name} --column url"));
        assert_eq!(plan.inputs, [want(bench.path(name), "url".into())]);
        bench.refused(&format!("fetch -i @/{name}"), 2, &["--column"]);
    };
    check("urls.csv", Input::CsvColumn);
    check("urls.TSV", Input::CsvColumn);
    check("urls.jsonl", Input::JsonColumn);
    check("urls.ndjson", Input::JsonColumn);
    bench.write("comma.csv", "\"a,b\",url\n");
    let plan = bench.plan(r"fetch -i @/comma.csv --column url --keep a\,b,url");
    let keep = vec!["a,b".to_owned(), "url".to_owned()];
    let columns = Columns { keep, ..Columns::from("url") };
    assert_eq!(plan.inputs, [Input::CsvColumn(bench.path("comma.csv"), columns)]);
    bench.refused("fetch -i @/urls.csv --column ulr", 2, &["no column \"ulr\"", "did you mean \"url\"?"]);
    bench.refused("fetch -i @/urls.txt --column url", 2, &["--column needs"]);
    bench.refused("fetch http://a/ --column url", 2, &["--column needs"]);
}

#[test]
fn the_help_and_the_version_are_no_failure() {
    let bench = Bench::new();
    for line in ["--help", "-h", "fetch --help", "compare fetch --help", "help fetch", "--version"] {
        bench.refused(line, 0, &[]);
    }
    bench.refused("compare", 2, &["Usage: supervisor", "Commands:"]);
}

#[test]
fn sitemaps_are_home_unless_homes_are_given() {
    let bench = Bench::new();
    for (flags, reach, homes, only_these) in [
        ("http://a/", Reach::Origin, &[][..], false),
        (
            "http://a/ --sitemap http://b/s.xml --sitemap http://c/",
            Reach::Origin,
            &["http://b/s.xml", "http://c/"],
            false,
        ),
        ("--sitemap http://b/ --header-scope domain", Reach::Domain, &["http://b/"], false),
        (
            "--sitemap http://b/ --header-scope http://d,https://e:81",
            Reach::Origin,
            &["http://d", "https://e:81"],
            true,
        ),
    ] {
        let plan = bench.plan(&format!("fetch {flags} -o @/out.jsonl"));
        let Work::Fetch(spec) = &plan.work else { panic!("{plan:?}") };
        let homes = homes.iter().map(|&home| home.to_owned()).collect();
        assert_eq!(spec.header_scope, HeaderScope { reach, homes, only_these }, "{flags}");
    }
}

#[test]
fn bad_flags_are_refused_before_any_work() {
    let bench = Bench::new();
    for (line, says) in [
        ("fetch", "nothing to fetch: give URLs, or a list with -i FILE"),
        ("parse", "nothing to parse"),
        ("fecth http://a/", "similar subcommand exists: 'fetch'"),
        ("fetch http://a/ --tiemout 5s", "'--timeout'"),
        ("fetch http://a/ --timeout 0", "at least 1ms"),
        ("fetch http://a/ --timeout soon", "give a time"),
        ("fetch http://a/ --workers 0", "from 1 to 1024"),
        ("fetch http://a/ --workers 5000", "from 1 to 1024"),
        ("fetch http://a/ --concurrency -1", "from 1 to 16384"),
        ("fetch http://a/ --per-host 0", "unlimited"),
        ("fetch http://a/ --retries 1000", "0..=100"),
        ("fetch http://a/ --body-bytes-max 5GiB", "at most 4GiB"),
        ("fetch http://a/ --rate 0", "above zero"),
        ("fetch http://a/ --header nonsense", "with a colon"),
        ("fetch http://a/ -H Expect:100-continue", "wait for a permission to go on"),
        ("fetch http://a/ -H upgrade:websocket", "only HTTP can be fetched"),
        ("fetch http://a/ -H Keep-Alive:timeout=5", "controls the connection"),
        ("fetch http://a/ -H Proxy-Authorization:x", "is for a proxy"),
        ("fetch http://a/ -H Host:a/b", "'a/b' is not a host"),
        ("fetch http://a/ -H Host:a -H host:b", "--header: Host is given twice"),
        ("fetch http://a/ --header-scope a.example", "give origin, domain, any, or the origins"),
        ("fetch http://a/ --mode threads", "sequential"),
        ("fetch http://a/ --select title", "at character"),
        ("fetch http://a/ --select t=[", "--select"),
        ("fetch http://a/ --select t=a --select t=b", "the name `t`"),
        ("fetch http://a/ --select t=a|stripp", "did you mean `strip`"),
        ("fetch http://a/ --select t=$.a[", "at character 7"),
        ("fetch http://a/ --select t=//a[", "at character 7"),
        ("fetch http://a/ --each div", "needs at least one --select"),
        ("fetch http://a/ --each div --select t=$.a", "use CSS or XPath in both"),
        ("fetch http://a/ --each div:: --select t=a", "is not allowed here"),
        ("fetch http://a/ --preset microdate", "similar value exists: 'microdata'"),
        ("fetch http://a/ --preset meta --select meta=h1", "use the same name, `meta`"),
        ("fetch -", "-i -"),
        ("parse -", "-i -"),
        ("fetch -i - -i -", "only once"),
        ("fetch -i @", "is a directory"),
        ("fetch -i @/urls.txt.bz2", "decompress"),
        ("fetch -i @/urls.parquet.gz", "compressed Parquet"),
        ("fetch -i @/sitemap.xml", "--sitemap URL"),
        ("fetch -i @/urls.txt --keep id", "--keep needs"),
        ("fetch -i @/urls.csv --column url --keep ,", "separated by commas"),
        ("fetch -i @/urls.csv --column url --keep id --keep url,id", "\"id\" twice"),
        ("fetch -i @/urls.csv --column url --keep di", "did you mean \"id\"?"),
        ("fetch --sitemap example.com", "not a full URL"),
        ("fetch --sitemap http://a/s.xml --keep title", "lastmod, changefreq, priority"),
        ("compare fetch --sitemap http://a/s.xml", "the sitemap http://a/s.xml can be read only once"),
        ("parse --sitemap http://a/s.xml", "--sitemap"),
        ("fetch -i @/urls.orc", "export"),
        ("fetch -i @/urls.json", "jq"),
        ("parse -i @/page.html", "this is a page"),
        ("fetch http://a/ --resume", "name one with --output"),
        ("fetch http://a/ --resume -o /dev/null", "name one with --output"),
        ("fetch http://a/ --resume -o /dev/stdout", "name one with --output"),
        ("fetch http://a/ --resume --overwrite -o @/x", "give one of them"),
        ("csv", "at least one file"),
    ] {
        bench.refused(line, 2, &[says, "For more information, try '--help'"]);
    }
}

#[test]
fn what_is_piped_in_is_read_only_when_asked_for() {
    let piped = Bench { terminal: false, ..Bench::new() };
    piped.refused("fetch", 2, &["to read standard input, add -i -"]);
    assert_eq!(piped.plan("fetch -i -").inputs, [Input::StdinLines]);
}

#[test]
fn what_cannot_be_done_here_is_exit_code_1() {
    let bench = Bench::new();
    bench.write("out.jsonl", "");
    for (line, says) in [
        ("fetch -i @/missing.txt", "missing.txt: No such file"),
        ("fetch -i @/missing.csv --column url", "missing.csv: No such file"),
        ("fetch http://a/ -o @/out.jsonl", "--overwrite"),
        ("fetch http://a/ -o @", "is a directory"),
        ("fetch http://a/ -o @/no/out.jsonl", "create it first"),
        ("fetch http://a/ --summary @/no/s.json", "create it first"),
        ("fetch http://a/ --report @/urls.txt/r.html", "cannot write"),
        ("compare fetch http://a/ --report @/no/r.html", "create it first"),
    ] {
        bench.refused(line, 1, &[says]);
    }
}

#[test]
fn outputs_do_not_destroy_what_is_needed() {
    let bench = Bench::new();
    fs::hard_link(bench.path("urls.txt"), bench.path("same")).unwrap();
    for (line, says) in [
        ("fetch -i @/urls.txt -o @/urls.txt --overwrite", "is also the input"),
        ("fetch -i @/urls.txt -o @/../nothing/../same", "cannot write"),
        ("fetch -i @/urls.txt -o @/same --overwrite", "is also the input"),
        ("fetch -i @/urls.txt --summary @/same", "is also the input"),
        ("parse @/page.html --report @/page.html", "is also the input"),
        ("compare parse @/page.html --report @/page.html", "is also the input"),
        ("fetch http://a/ -o @/x --summary @/x", "--output and --summary both name"),
        ("fetch http://a/ --report @/x --summary @/./x", "--summary and --report both name"),
        ("fetch http://a/ --summary -", "standard output is for the records"),
        ("fetch http://a/ -o x.xlsx", "cannot write .xlsx files"),
        ("fetch http://a/ -o x.parquet.gz", "leave gzip out"),
        ("fetch http://a/ --format yaml", "give jsonl, csv or tsv"),
        ("fetch http://a/ --format parquet", "but the output is standard output"),
        ("fetch http://a/ --format sqlite -o /dev/null", "but the output is /dev/null"),
        ("fetch http://a/ --format warc", "name it with --output"),
        ("fetch http://a/ --split 10", "--split needs a directory"),
        ("fetch http://a/ --split 0 -o @/d", "a whole number from 1 up"),
        ("fetch http://a/ --split 10 --format warc -o @/d", "cannot divide a web archive"),
        ("fetch http://a/ --split 10 -o @/urls.txt", "is a file"),
        ("fetch http://a/ --split 10 -o @/d --manifest @/m.json", "manifest as manifest.json"),
        ("fetch http://a/ --manifest @/m.json", "name one with --output FILE"),
        ("fetch http://a/ -o @/x --manifest @/x", "--manifest and --output both name"),
        ("fetch http://a/ -o @/x --cookie-jar @/x", "--cookie-jar and --output both name"),
        ("fetch http://a/ --summary @/x --cookie-jar @/x", "--cookie-jar and --summary both name"),
        ("fetch http://a/ --report @/x --cookie-jar @/./x", "--cookie-jar and --report both name"),
        ("fetch http://a/ -o @/y --manifest @/x --cookie-jar @/x", "--cookie-jar and --manifest both name"),
        (
            "fetch http://a/ --cookies off --cookie-jar @/x",
            "--cookie-jar needs cookies, and --cookies is off",
        ),
        ("parse @/page.html -o @/x.warc", "cannot write a web archive"),
        ("csv @/urls.txt -o @/x.sqlite", "a table of groups"),
    ] {
        let code = if says == "cannot write" { 1 } else { 2 };
        bench.refused(line, code, &[says]);
    }
}

#[test]
fn an_output_may_exist_when_it_is_to_be_replaced_or_is_no_file() {
    let bench = Bench::new();
    bench.write("out.jsonl", "");
    let file = |path: PathBuf| Output::File { path, overwrite: true, resume: false };
    assert_eq!(
        bench.plan("fetch http://a/ -o @/out.jsonl --overwrite").output,
        file(bench.path("out.jsonl"))
    );
    assert_eq!(
        bench.plan("fetch http://a/ -o @/out.jsonl --resume").output,
        Output::File { path: bench.path("out.jsonl"), overwrite: false, resume: true }
    );
    assert_eq!(bench.plan("fetch http://a/ -o /dev/null").output, file("/dev/null".into()));
}

#[test]
fn the_outputs_name_says_the_format_and_format_overrules_it() {
    let bench = Bench::new();
    for (line, want) in [
        ("fetch http://a/", "jsonl"),
        ("fetch http://a/ -o @/x", "jsonl"),
        ("fetch http://a/ -o @/x.CSV.zst", "csv.zst"),
        ("fetch http://a/ -o @/x.parquet", "parquet"),
        ("fetch http://a/ -o @/x.warc.gz", "warc.gz"),
        ("fetch http://a/ --format tsv.gz", "tsv.gz"),
        ("parse @/page.html --format csv -o @/x.jsonl", "csv"),
        ("fetch http://a/ --split 1_000 -o @/x.csv/", "jsonl"),
        ("fetch http://a/ --split 1000 --format sqlite -o @/x", "sqlite"),
        ("map -i @/urls.txt --format sqlite -o @/x -- cat", "sqlite"),
    ] {
        assert_eq!(bench.plan(line).format.to_string(), want, "{line}");
    }
    let split = bench.plan("fetch http://a/ --split 1000 -o @/x/");
    assert_eq!(split.output, Output::File { path: bench.path("x"), overwrite: false, resume: false });
    bench.refused("map -i @/urls.txt --raw --format csv -- cat", 2, &["--raw writes the program's lines"]);
}

#[cfg(feature = "objects")]
#[test]
fn an_object_is_kept_on_this_machine_until_it_is_whole() {
    let bench = Bench::new();
    let state = bench.path("state");
    let bench = bench.set("XDG_STATE_HOME", state.to_str().unwrap());
    let plan = bench.plan("fetch http://a/ -o s3://bucket/a/x.csv.gz --overwrite --manifest @/m.json");
    let object = plan.object.unwrap();
    assert_eq!(
        (object.url.to_string().as_str(), plan.format.to_string().as_str()),
        ("s3://bucket/a/x.csv.gz", "csv.gz")
    );
    assert!(object.directory.starts_with(state.join("muster/outputs")) && !state.exists());
    let path = object.directory.join("x.csv.gz");
    assert_eq!(plan.output, Output::File { path, overwrite: true, resume: false });
    let split = bench.plan("map -i @/urls.txt --split 10 -o s3://bucket/ --resume -- cat");
    assert_eq!(split.object.unwrap().url.key, "");
    assert_eq!(
        bench.plan("fetch http://a/ -o file:///dev/null").output,
        bench.plan("fetch http://a/ -o /dev/null").output
    );
    for (line, code, says) in [
        ("fetch http://a/ -o s3://bucket", 2, "is a bucket"),
        ("fetch http://a/ -o s3://bucket/dir/", 1, "--split N"),
        ("fetch http://a/ -o s3://b/x", 2, "not a valid bucket name"),
        ("fetch http://a/ -o gs://bucket/x", 2, "cannot write to gs://"),
        ("fetch http://a/ -o file://x.jsonl", 2, "file:///DIR/FILE"),
        ("fetch http://a/ -o s3://bucket/x.xlsx", 2, "cannot write .xlsx files"),
        ("csv @/urls.txt --group-by a --agg n=count -o s3://bucket/x.parquet", 2, "a table of groups"),
    ] {
        bench.refused(line, code, &[says]);
    }
    let elsewhere = bench.set("AWS_ENDPOINT_URL", "https://s3.example.org");
    let other = elsewhere.plan("fetch http://a/ -o s3://bucket/a/x.csv.gz").object.unwrap();
    assert_ne!(other.directory, object.directory);
    elsewhere.set("AWS_ACCESS_KEY_ID", "a").refused(
        "fetch http://a/ -o s3://bucket/x",
        2,
        &["AWS_SECRET_ACCESS_KEY is not"],
    );
    Bench::new().refused("fetch http://a/ -o s3://bucket/x", 2, &["set XDG_STATE_HOME"]);
}

#[test]
fn a_mode_with_one_of_something_says_so() {
    let pool = |line: &str| {
        let pool = Bench::new().set("MUSTER_WORKERS", "4").plan(line).pool;
        (pool.workers.map(|n| n.get()), pool.concurrency.map(|n| n.get()))
    };
    assert_eq!(pool("fetch http://a/ --mode sequential"), (Some(1), Some(1)));
    assert_eq!(pool("fetch http://a/ --mode concurrent --concurrency 50 --workers 1"), (Some(1), Some(50)));
    assert_eq!(pool("fetch http://a/ --mode parallel"), (Some(4), Some(1)));
    assert_eq!(pool("fetch http://a/ --mode both"), (Some(4), None));
    assert_eq!(pool("fetch http://a/ --concurrency 7"), (Some(4), Some(7)));
    // Changing the mode alone is enough: it overrides the other flags.
    assert_eq!(pool("--workers 2 fetch http://a/ --mode sequential --concurrency 8"), (Some(1), Some(1)));
}

#[test]
fn compare_runs_every_mode_and_keeps_nothing() {
    let bench = Bench::new().set("MUSTER_MODE", "both");
    for line in [
        "compare --sample 200 --report @/r.html fetch -i @/urls.txt --select t=title --workers 3",
        "--workers 3 compare fetch -i @/urls.txt --select t=title --sample 200 --report @/r.html",
    ] {
        let comparison = bench.comparison(line);
        assert_eq!(comparison.sample.unwrap().get(), 200);
        assert_eq!(comparison.plan.report, Some(bench.path("r.html")));
        assert_eq!((comparison.plan.output, comparison.plan.pool.mode), (Output::Discard, None));
        assert_eq!(comparison.plan.pool.workers.unwrap().get(), 3);
        assert_eq!(comparison.plan.fields.len(), 1);
    }
    assert_eq!(bench.comparison("compare parse @").sample, None);
    nix::unistd::mkfifo(&bench.path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (line, says) in [
        ("compare fetch -i -", "standard input can be read only once"),
        ("compare fetch -i @/pipe", "pipe can be read only once"),
        ("compare fetch http://a/ --mode both", "leave out --mode"),
        ("compare fetch http://a/ --sample 0", "at least 1"),
        ("compare fetch http://a/ -o x", "unexpected argument"),
    ] {
        bench.refused(line, 2, &[says]);
    }
}

#[test]
fn advise_samples_a_job_that_writes_nothing() {
    let bench = Bench::new().set("MUSTER_MODE", "both");
    for line in [
        "advise --sample 50 --json fetch -i @/urls.txt --rate 2/s --retries 5 --workers 3",
        "--workers 3 advise fetch -i @/urls.txt --rate 2/s --sample 50 --json",
    ] {
        let survey = bench.survey(line);
        assert_eq!((survey.sample.get(), survey.json), (50, true));
        assert_eq!((survey.plan.output, survey.plan.pool.mode), (Output::Discard, None));
        assert_eq!((survey.plan.pool.workers.unwrap().get(), survey.plan.politeness.retries), (3, 0));
        assert_eq!(survey.plan.politeness.rate_per_s, Some(2.0));
    }
    let survey = bench.survey("advise parse @");
    assert_eq!((survey.sample.get(), survey.json), (200, false));
    assert_eq!(bench.survey("advise fetch -i -").plan.inputs, [Input::StdinLines]);
    bench.write("job.toml", "command = \"fetch\"\nurls = [\"http://a/\"]\n");
    bench.write("advise.toml", "command = \"advise fetch\"\nurls = [\"http://a/\"]\nsample = 2\n");
    for (line, sample) in [
        ("advise --job @/job.toml", 200),
        ("advise fetch --job @/job.toml", 200),
        ("--job @/advise.toml", 2),
        ("advise --job @/advise.toml", 2),
    ] {
        assert_eq!(bench.survey(line).sample.get(), sample, "{line}");
    }
    bench.refused("advise", 2, &["Usage: supervisor advise", "Commands:"]);
    for (line, says) in [
        ("advise fetch http://a/ --mode both", "leave out --mode"),
        ("advise fetch http://a/ --sample 0", "at least 1"),
        ("advise fetch http://a/ -o x", "unexpected argument"),
        ("advise csv a.csv", "unrecognized subcommand"),
        ("advise fetch --sitemap http://a/s.xml", "give a list of their pages"),
    ] {
        bench.refused(line, 2, &[says]);
    }
}
