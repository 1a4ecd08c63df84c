//! Client commands: the command line is sent word for word, and nothing else is.

use serde_json::{Value, json};

use super::*;
use crate::client::{Files, Operation, Results, ServiceAddress, Submit};
use crate::plan::When;
use crate::view::{JobAction, JobId};

impl Bench {
    fn order(&self, line: &str) -> ClientCommand {
        match self.read(line) {
            Ok(Invocation::Client(order)) => *order,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn submit(&self, line: &str) -> Submit {
        let Operation::Submit(submit) = self.order(line).operation else { panic!("{line}") };
        submit
    }

    #[track_caller]
    fn document(&self, line: &str, want: &Value, files: &[&str]) {
        let submit = self.submit(line);
        assert_eq!(Value::Object(submit.document), *want, "{line}");
        let files: Vec<PathBuf> = files.iter().map(|name| PathBuf::from(*name)).collect();
        let (Files::Named(sent) | Files::Pages(sent)) = submit.files;
        assert_eq!(sent, files, "{line}");
    }
}

#[test]
fn what_was_typed_is_the_document() {
    let bench = Bench::new();
    bench.document("submit fetch http://a/", &json!({"command": "fetch", "urls": ["http://a/"]}), &[]);
    bench.document(
        "--mode both submit --priority -5 fetch -i urls.txt --select t=title --select l[]=a --retries 3 --ordered --name n",
        &json!({"mode": "both", "command": "fetch", "select": ["t=title", "l[]=a"], "retries": "3", "ordered": true,
            "name": "n", "priority": -5}),
        &["urls.txt"],
    );
    bench.document(
        "submit map -i - --raw=false -- jq -c .a",
        &json!({"command": "map", "raw": false, "program": ["jq", "-c", ".a"]}),
        &["-"],
    );
    bench.document(
        "submit csv a.csv b.csv --group-by x --agg n=count",
        &json!({"command": "csv", "group-by": ["x"], "agg": ["n=count"]}),
        &["a.csv", "b.csv"],
    );
    bench.document("submit parse site --wait", &json!({"command": "parse"}), &["site"]);
    // Settings for local runs are not sent.
    let set = Bench::new().set("MUSTER_RETRIES", "9").set("MUSTER_OUTPUT", "x");
    set.document("submit fetch http://a/", &json!({"command": "fetch", "urls": ["http://a/"]}), &[]);
}

#[test]
fn names_of_files_that_are_sent_along_need_not_be_utf8() {
    use std::os::unix::ffi::OsStringExt as _;
    let bench = Bench::new();
    let name = OsString::from_vec(b"p\xff".to_vec());
    for (line, document) in [
        ("submit parse", json!({"command": "parse"})),
        ("submit csv", json!({"command": "csv"})),
        ("submit fetch -i", json!({"command": "fetch"})),
    ] {
        let words = line.split(' ').map(OsString::from).chain([name.clone()]);
        let Ok(Invocation::Client(order)) = bench.read_words(words) else { panic!("{line}") };
        let Operation::Submit(submit) = order.operation else { panic!("{line}") };
        let (Files::Named(sent) | Files::Pages(sent)) = submit.files;
        assert_eq!((Value::Object(submit.document), sent), (document, vec![PathBuf::from(&name)]), "{line}");
    }
}

#[test]
fn a_job_file_is_submitted_and_what_is_typed_wins() {
    let bench = Bench::new();
    bench.write(
        "job.toml",
        "command = \"fetch\"\ninput = [\"l.txt\"]\nretries = 5\nbody_bytes_max = \"1MB\"\noutput = \"x\"\n",
    );
    let document = json!({"command": "fetch", "retries": 5, "body-bytes-max": "1MB"});
    let job = bench.submit("submit --job @/job.toml");
    // The parsed table does not keep the file's order.
    assert_eq!(job.document, *document.as_object().unwrap());
    assert_eq!(job.files, Files::Named(vec!["l.txt".into()]));
    let typed = bench.submit("submit fetch --retries 1 --job @/job.toml");
    assert_eq!(typed.document["retries"], "1");
    bench.refused("submit parse x --job @/job.toml", 2, &["the job file's command is \"fetch\""]);
    bench.refused("submit --job @/none.toml", 2, &["none.toml", "No such file"]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let bench = Bench::new();
    bench.refused("submit", 2, &["nothing to submit"]);
    bench.refused("submit fetch http://a/ -o x", 2, &["--output", "supervisor results"]);
    bench.refused("submit parse -i list", 2, &["name the files or their directory"]);
    bench.refused("submit fetch -i - -i -", 2, &["only once"]);
    bench.refused("submit fetch http://a/ --retries x", 2, &["--retries"]);
    bench.refused("submit fetch http://a/ --priority 101", 2, &["101"]);
    bench.refused("jobs --workers 3", 2, &["--workers has no effect"]);
    bench.refused("jobs pause x", 2, &["give the number of a job"]);
    bench.refused("results", 2, &["<ID>"]);
    bench.refused("status --url host:80", 2, &["scheme, host and port only"]);
    bench.refused("status --url http://a/ --socket b", 2, &["give one"]);
}

#[test]
fn the_service_is_where_it_is_said_to_be() {
    let bench = Bench::new();
    let place = |bench: &Bench, line: &str| bench.order(line).address;
    let socket = |path: &str| ServiceAddress::Socket(path.into());
    assert_eq!(place(&bench, "status --socket /s"), socket("/s"));
    assert_eq!(place(&bench, "status"), socket("/run/muster/api.sock"));
    let url = ServiceAddress::Url {
        url: "https://m:1".parse().unwrap(),
        token_file: Some("/t".into()),
        ca: Some("/c".into()),
    };
    assert_eq!(place(&bench, "jobs pause 1 --url https://m:1 --token-file /t --ca /c"), url);
    let set =
        Bench::new().set("MUSTER_URL", "https://m:1").set("MUSTER_TOKEN_FILE", "/t").set("MUSTER_CA", "/c");
    assert_eq!(place(&set, "cancel 1"), url);
    assert_eq!(place(&set, "cancel 1 --socket /s"), socket("/s"));
    let set = Bench::new().set("MUSTER_SOCKET", "/e");
    assert_eq!(place(&set, "submit fetch http://a/"), socket("/e"));
    let dir = bench.path("").to_str().unwrap().to_owned();
    fs::create_dir(bench.path("muster")).unwrap();
    bench.write("muster/api.sock", "");
    let user = bench.set("XDG_RUNTIME_DIR", &dir);
    assert_eq!(place(&user, "status"), ServiceAddress::Socket(user.path("muster/api.sock")));
}

#[test]
fn every_command_becomes_its_request() {
    let bench = Bench::new();
    let operation = |line: &str| bench.order(line).operation;
    let states = vec!["running".to_owned(), "queued".to_owned()];
    assert_eq!(operation("jobs --state running,queued --limit 5"), Operation::Jobs { states, limit: 5 });
    assert_eq!(operation("jobs retry-failed 17"), Operation::ActOn(JobId(17), JobAction::RetryFailed));
    assert_eq!(operation("cancel 17"), Operation::ActOn(JobId(17), JobAction::Cancel));
    assert_eq!(operation("status 17"), Operation::Job(JobId(17)));
    let results = Results {
        id: JobId(17),
        follow: true,
        from: 3,
        only: Some("failed".to_owned()),
        output: Some("x".into()),
        overwrite: false,
    };
    assert_eq!(operation("results 17 -f --from 3 --only failed -o x"), Operation::Results(results));
    assert!(bench.order("jobs remove 1 --json").json);
    let submit = bench.submit("submit fetch http://a/ --wait --idempotency-key k --progress never");
    assert_eq!((submit.wait, submit.progress), (true, When::Never));
    assert_eq!(submit.idempotency_key.as_deref(), Some("k"));
}
