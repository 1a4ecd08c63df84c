//! Flags that say what a request sends.

use shared::job::FetchSpec;
use shared::request::{BodySpec, RequestSpec};
use shared::template::{Form, Template};

use super::*;
use crate::client::Operation;
use crate::plan::{Columns, Input};

/// A certificate for `localhost`, signed with its own key; for tests only.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----
MIIBfzCCASWgAwIBAgIUUa9k75UTxkId3b1JlC95LARzlyAwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEzMDE0MTkxNVoYDzIxMjYxMTA2
MTQxOTE1WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASBfnhYamEgBMmmQev0LG3ueCQ/QvHz4X5eLLlWToxaJVR84cCOEeWI
peIs2TIGo4EjkIVdtCKvfHZHdy66RWBQo1MwUTAdBgNVHQ4EFgQUUq74h8L2ZDZ7
8Lrmhmr9QgDrOkkwHwYDVR0jBBgwFoAUUq74h8L2ZDZ78Lrmhmr9QgDrOkkwDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiBKgoV7wIJfNHq/EIVOWxhO
CfmrvPQFx5IxBF7DRxsuCQIhANWalRZTa6Wtp7oxZ91WWDvZ8rMMst55doF4V0z7
J7wz
-----END CERTIFICATE-----
";

const KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgKZ6gdp/ayYeXKLB1
Xb09aV2/ySbFE7mfFPEz/4w7EFihRANCAASBfnhYamEgBMmmQev0LG3ueCQ/QvHz
4X5eLLlWToxaJVR84cCOEeWIpeIs2TIGo4EjkIVdtCKvfHZHdy66RWBQ
-----END PRIVATE KEY-----
";

fn spec(plan: &Plan) -> &FetchSpec {
    match &plan.work {
        Work::Fetch(spec) => spec,
        Work::Crawl(_) | Work::Parse(_) | Work::Csv(_) | Work::Sitemap(_) | Work::Map(_) => {
            panic!("not a fetch")
        }
    }
}

fn bench() -> Bench {
    let bench = Bench::new();
    bench.write("rows.csv", "id,name,verb\n1,a,PUT\n");
    bench.write("body.json", r#"{"n":"{name}"}"#);
    bench
}

fn template(text: &str, form: Form) -> Template {
    Template::parse(text.as_bytes(), form)
}

#[test]
fn a_request_is_made_from_columns() {
    let bench = bench();
    let line = "fetch -i @/rows.csv --url http://a/{id} --method {verb} --keep id -H Idempotency-Key:{id}";
    let words = line.replace('@', bench.dir.path().to_str().unwrap());
    let file = format!("@{}", bench.path("body.json").display());
    let words = words.split_whitespace().map(str::to_owned).chain(["--json".to_owned(), file]);
    let Ok(Invocation::Run(plan)) = bench.read_words(words.map(OsString::from)) else { panic!() };
    let want = RequestSpec {
        url: Some(template("http://a/{id}", Form::Url)),
        method: Some(template("{verb}", Form::Word)),
        body: Some(BodySpec { text: template(r#"{"n":"{name}"}"#, Form::Json), is_json: true }),
        headers: vec![("idempotency-key".to_owned(), template("{id}", Form::Word))],
        retries_unsafe: false,
        at_most_once: false,
    };
    assert_eq!(spec(&plan).request.as_deref(), Some(&want));
    assert!(!spec(&plan).blocked.repeats && spec(&plan).headers.is_empty());
    let columns = Columns {
        input: None,
        keep: vec!["id".to_owned()],
        used: vec!["verb".to_owned(), "name".to_owned()],
    };
    assert_eq!(plan.inputs, [Input::CsvColumn(bench.path("rows.csv"), columns)]);

    // Where headers may have columns, two braces are one; where no list has columns, a file is sent as it is.
    let plan = bench.plan("fetch -i @/rows.csv --column name -H X:{{id}");
    assert_eq!(spec(&plan).headers, [("X".to_owned(), "{id}".to_owned())]);
    bench.write("raw.json", r#"{"n":"{{name}"}"#);
    let file = format!("@{}", bench.path("raw.json").display());
    let words = ["fetch", "http://a/", "--json", &file].map(OsString::from);
    let Ok(Invocation::Run(plan)) = bench.read_words(words.into_iter()) else { panic!() };
    let body = spec(&plan).request.as_ref().unwrap().body.as_ref().unwrap();
    assert_eq!(body.text.constant(), Some(br#"{"n":"{{name}"}"#.as_slice()));

    let plain = bench.plan("fetch http://a/ -H X:{id}");
    assert_eq!((spec(&plain).request.is_some(), spec(&plain).headers.len()), (false, 1));
    assert!(spec(&plain).blocked.repeats);
    let plan = bench.plan("fetch -i @/urls.txt -d x=1");
    assert!(spec(&plan).request.as_ref().is_some_and(|request| !request.body.as_ref().unwrap().is_json));
}

#[test]
fn requests_that_cannot_be_made_are_refused() {
    let bench = bench();
    for (line, says) in [
        ("fetch -i @/rows.csv --url http://a/{nam}", &["no column \"nam\"", "did you mean \"name\"?"][..]),
        ("fetch -i @/rows.csv --column id --data {idd}", &["no column \"idd\"", "did you mean \"id\"?"]),
        (
            "fetch http://a/ --data {id}",
            &["--data needs the column \"id\"", "http://a/ has no columns", "{{"],
        ),
        ("fetch -i @/urls.txt --url http://a/", &["--url needs rows", "has no columns"]),
        ("fetch -i @/rows.csv --url http://a/{id} --column id", &["cannot be used with"]),
        ("fetch -i @/rows.csv --url http://a/\u{1}{id}", &["no spaces or control characters"]),
        ("fetch http://a/ --data x --json 1", &["cannot be used with"]),
        ("fetch http://a/ --json {\"a\":", &["--json: it is not JSON"]),
        ("fetch http://a/ --method CONNECT", &["--method: CONNECT is for proxies"]),
        ("fetch http://a/ --method trace --json 1", &["--method: a TRACE request has no body"]),
        ("fetch -i @/rows.csv --column id -H Host:{name}", &["Host cannot have columns"]),
        ("fetch http://a/ --cookies on --response-header Set-Cookie", &["are secrets"]),
        ("compare fetch http://a/ --method POST --at-most-once", &["sends each request four times"]),
        ("fetch http://a/ --method a/b", &["--method", "is not a method"]),
        ("fetch http://a/ --method HEAD --data x", &["--method: a HEAD request has no body"]),
        (
            "fetch --sitemap http://a/s.xml --data {x}",
            &["--data needs the column \"x\"", "a sitemap has no columns"],
        ),
    ] {
        bench.refused(line, 2, says);
    }
    bench.write("broken.json", "{\"a\":");
    let broken = format!("@{}", bench.path("broken.json").display());
    let broken = ["fetch", "http://a/", "--json", &broken].map(OsString::from);
    let Err(Refusal::Usage(error)) = bench.read_words(broken.into_iter()) else { panic!() };
    assert!(error.to_string().contains("--json: it is not JSON"), "{error}");
    let missing = ["fetch", "http://a/", "--data", "@/nowhere/x"].map(OsString::from);
    let Err(Refusal::Usage(error)) = bench.read_words(missing.into_iter()) else { panic!() };
    assert!(error.to_string().contains("--data: cannot read /nowhere/x"), "{error}");
}

#[test]
fn flags_of_a_request_do_not_hide_those_of_other_commands() {
    let bench = bench().set("MUSTER_URL", "http://service").set("MUSTER_JSON", "true");
    assert_eq!(spec(&bench.plan("fetch http://a/")).request, None);
    let bench = Bench::new().set("MUSTER_REQUEST_JSON", "[1]");
    assert!(spec(&bench.plan("fetch http://a/")).request.is_some());
    let bench = Bench::new();
    let survey = bench.survey("advise fetch http://a/ --json --request-json [1]");
    assert!(survey.json && spec(&survey.plan).request.is_some());
    bench.write("job.toml", "command = \"fetch\"\nurls = [\"http://a/\"]\njson = '{\"a\":1}'\n");
    assert!(spec(&bench.plan("--job @/job.toml")).request.is_some());
    let survey = bench.survey("advise --job @/job.toml");
    bench.write("rows.csv", "id\n1\n");
    let rows = bench.path("rows.csv");
    let job =
        |more: &str| format!("command = \"fetch\"\ninput = [{rows:?}]\nurl = \"http://a/{{id}}\"\n{more}");
    bench.write("rows.toml", &job("data = \"a\"\nkeep = [\"id\"]\n"));
    assert!(spec(&bench.plan("--job @/rows.toml")).request.is_some());
    for (more, says) in [
        ("column = \"id\"\n", "--url: it cannot be used with --column"),
        ("data = \"a\"\njson = \"1\"\n", "--data: it cannot be used with --json"),
        ("key = \"/a.pem\"\n", "give the certificate of --key as --cert"),
    ] {
        bench.write("both.toml", &job(more));
        bench.refused("--job @/both.toml", 2, &[says]);
    }
    assert!(!survey.json && spec(&survey.plan).request.is_some());
}

#[test]
fn connections_are_made_as_asked_for() {
    let bench = Bench::new();
    bench.write("a.pem", CERTIFICATE);
    bench.write("both.pem", &format!("{CERTIFICATE}{KEY}"));
    let plan = bench.plan(
        "fetch http://a/ --ca @/a.pem --cert @/both.pem --http1 --resolve A:80:127.0.0.1 --response-header ETag --response-header etag",
    );
    let FetchSpec { transport, response_headers, .. } = spec(&plan);
    assert!(transport.http1 && !transport.insecure && transport.identity.is_some());
    assert_eq!((transport.ca.len(), transport.pins.len()), (CERTIFICATE.len(), 1));
    assert_eq!(*response_headers, ["etag"]);
    for (flags, says) in [
        ("--ca @/nowhere", "--ca"),
        ("--ca @/urls.txt", "there is no certificate in PEM"),
        ("--cert @/a.pem", "there is no private key in PEM"),
        ("--key @/a.pem", "--cert"),
        ("--resolve a:80", "HOST:PORT:ADDRESS"),
        ("--response-header a:b", "name of a header"),
    ] {
        bench.refused(&format!("fetch http://a/ {flags}"), 2, &[says]);
    }
}

#[test]
fn a_job_of_a_service_reads_only_what_it_may() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir(at("open")).unwrap();
    std::fs::write(at("secret"), "s").unwrap();
    std::fs::write(at("open/body"), "b").unwrap();
    std::os::unix::fs::symlink(at("secret"), at("open/link")).unwrap();
    nix::unistd::mkfifo(&at("open/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let readable = [at("open")];
    let read = |name: &str, bytes_max| {
        super::request::read("--data", &at(name), bytes_max, Some(&readable)).map_err(|error| match error {
            Problem::Usage(why) => why,
            Problem::Impossible(why) | Problem::Short(why) => panic!("{why}"),
        })
    };
    assert_eq!(read("open/body", 1), Ok(b"b".to_vec()));
    assert!(read("open/body", 0).unwrap_err().contains("at most"));
    for name in ["open/link", "open/pipe", "secret", "open"] {
        let why = read(name, 1).unwrap_err();
        assert!(why.contains("not a regular file that jobs may read"), "{name}: {why}");
    }
}

#[test]
fn submit_sends_the_text_of_a_file() {
    let bench = bench();
    let dir = bench.dir.path().to_str().unwrap();
    bench.write("at.txt", "@home");
    bench.write(
        "job.toml",
        &format!("command = \"fetch\"\nurls = [\"http://a/\"]\njson = \"@{dir}/body.json\"\n"),
    );
    let submitted = |line: &str| {
        let words = line.replace('%', dir);
        match bench.read_words(words.split_whitespace().map(OsString::from)) {
            Ok(Invocation::Client(order)) => {
                let Operation::Submit(submit) = order.operation else { panic!("{line}") };
                submit.document["json"].as_str().unwrap().to_owned()
            }
            Err(Refusal::Usage(error)) => error.to_string(),
            other => panic!("{other:?}"),
        }
    };
    for (line, want) in [
        // Without columns, no brace begins a name, here or at the service.
        ("submit fetch http://a/ --request-json @%/body.json", r#"{{"n":"{{name}"}"#),
        ("submit --job %/job.toml", r#"{{"n":"{{name}"}"#),
        ("submit fetch -i rows.csv --request-url http://a/ --request-json @%/body.json", r#"{"n":"{name}"}"#),
        ("submit fetch http://a/ --request-json @%/none", "json: cannot read %/none: No such file"),
        (
            "submit fetch http://a/ --request-json @%/at.txt",
            "json @%/at.txt: cannot send a file that begins with @",
        ),
    ] {
        let (got, want) = (submitted(line), want.replace('%', dir));
        assert!(got.contains(&want), "{line}: {got}");
    }
}
