//! Logins: one for each session that ends, none for a page that the account may not see, and no page of somebody who is
//! not logged in among the records.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{Dir, Manner, Origin, TestCommand, TestProxy, by_id, fetch, kind, parse_lines};

/// A mode for each of the two clients.
const CLIENTS: [&str; 2] = ["parallel", "both"];

fn counts(origin: &Origin) -> Value {
    let answer = origin.get("/account/counts");
    let body = String::from_utf8_lossy(&answer);
    let (begin, end) = (body.find('{').unwrap(), body.rfind('}').unwrap());
    serde_json::from_str(&body[begin..=end]).unwrap()
}

/// A job file that logs in with the form; `more` are lines of `[login]` and what follows.
fn job(origin: &Origin, dir: &Dir, more: &str) {
    let login = origin.url("/account/login");
    dir.write(
        "job.toml",
        format!(
            "command = \"fetch\"\nselect = [\"title=title\"]\n\n[login]\nurl = \"{login}\"\nform = \"form#login\"\n\
             fields = {{ user = \"me\", password = \"${{env:PASSWORD}}\" }}\n\
             logged-out-if = [\"css:form#login\", \"status:401\", \"redirect:/account/login\"]\n{more}"
        ),
    );
}

fn list(origin: &Origin, dir: &Dir, names: impl Iterator<Item = String>) {
    let urls: String = names.map(|name| origin.url(&format!("/account/page/{name}\n"))).collect();
    dir.write("urls.txt", urls);
}

fn run(dir: &Dir, mode: &str, workers: &str) -> TestCommand {
    let command = fetch().current_dir(dir.root()).env("PASSWORD", "hunter2");
    let command = command.args(["--job", "job.toml", "-i", "urls.txt", "-o", "out.jsonl", "--resume"]);
    command.args(["--summary", "s.json", "--mode", mode, "--workers", workers])
}

fn records(dir: &Dir) -> Vec<Value> {
    by_id(parse_lines(dir.read("out.jsonl").as_bytes())).into_values().collect()
}

fn summary(dir: &Dir) -> Value {
    serde_json::from_str(&dir.read("s.json")).unwrap()
}

#[test]
fn sessions_that_end_cost_a_login_each_and_no_page() {
    const PAGES: usize = 2000;
    for mode in CLIENTS {
        let (origin, dir) = (Origin::start(), Dir::new());
        job(&origin, &dir, "success = \"css:a.logout\"\n");
        // All ways in which a site says that somebody is not logged in.
        let names = (0..PAGES).map(|n| format!("{}-{n}", ["page", "moved", "401"][n % 3]));
        list(&origin, &dir, names);
        run(&dir, mode, "4").args(["--per-host", "4"]).run().exits(0);
        let records = records(&dir);
        assert_eq!(records.len(), PAGES);
        for record in &records {
            let title = record["fields"]["title"].as_str().unwrap_or_default();
            assert!(title.starts_with("Page "), "{mode}: {record}");
        }
        let counts = counts(&origin);
        assert!(counts["logins"].as_u64().unwrap() <= 41, "{mode}: {counts}");
        assert_eq!(summary(&dir)["login"]["logins"], counts["logins"], "{mode}");
        assert_eq!(summary(&dir)["login"]["failed"], 0, "{mode}");
        assert!(!dir.names().iter().any(|name| name.contains("session")), "{:?}", dir.names());
    }
}

#[test]
fn a_kill_costs_no_login() {
    for mode in CLIENTS {
        let (origin, dir) = (Origin::start(), Dir::new());
        job(&origin, &dir, "success = \"css:a.logout\"\n");
        list(&origin, &dir, (0..1000).map(|n| format!("page-{n}")));
        let done = || fs::read_to_string(dir.path("out.jsonl")).map_or(0, |text| text.lines().count());
        for kill in 1..=3 {
            let running = run(&dir, mode, "2").args(["--per-host", "2", "--delay", "1ms"]).spawn();
            running.until("records", || (done() >= kill * 120).then_some(()));
            running.signal(Signal::SIGKILL);
            running.wait();
            let session = dir.path("out.jsonl.journal.session");
            let mode = fs::metadata(&session).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            assert!(!fs::read_to_string(&session).unwrap().contains("hunter2"));
        }
        run(&dir, mode, "2").run().exits(0);
        assert_eq!(records(&dir).len(), 1000);
        let counts = counts(&origin);
        // Pages that were in flight at a kill are asked for twice.
        let least = counts["pages"].as_u64().unwrap().div_ceil(50);
        assert_eq!(counts["logins"], least, "{mode}: {counts}");
    }
}

#[test]
fn pages_that_the_account_may_not_see_fail_alone() {
    for mode in CLIENTS {
        for (forbidden, first) in [(100..200, 7), (0..100, 40)] {
            let (origin, dir) = (Origin::start(), Dir::new());
            job(&origin, &dir, "");
            dir.write(
                "job.toml",
                dir.read("job.toml").replace("/account/login\"\nform", "/account/login?lasts=100000\"\nform"),
            );
            let name = |n| if forbidden.contains(&n) { format!("secret-{n}") } else { format!("page-{n}") };
            list(&origin, &dir, (0..400).map(name));
            run(&dir, mode, "2").args(["--per-host", "4"]).run().exits(3);
            for (n, record) in (0..).zip(records(&dir)) {
                let want = if forbidden.contains(&n) { "login" } else { "" };
                assert_eq!(kind(&record), want, "{mode}: {record}");
            }
            let counts = counts(&origin);
            assert!(counts["logins"].as_u64().unwrap() <= first, "{mode}: {counts}");
        }
    }
}

#[test]
fn a_login_that_fails_stops_the_run_which_goes_on_later() {
    for mode in CLIENTS {
        let (origin, dir) = (Origin::start(), Dir::new());
        job(&origin, &dir, "");
        list(&origin, &dir, (0..20).map(|n| format!("page-{n}")));
        let stopped = run(&dir, mode, "2").env("PASSWORD", "wrong").run().exits(1);
        let stopped = stopped.says("the login failed").says("css:form#login").says("--resume does them");
        assert!(!stopped.stderr.contains("wrong"), "{stopped}");
        assert_eq!((records(&dir).len(), &counts(&origin)["refused"]), (0, &json!(2)));
        run(&dir, mode, "2").run().exits(0);
        assert_eq!(records(&dir).len(), 20);
        assert_eq!(counts(&origin)["logins"], 1);
    }
}

#[test]
fn a_token_goes_into_a_header_of_a_request_without_a_form() {
    for mode in CLIENTS {
        let (origin, dir) = (Origin::start(), Dir::new());
        let login = json!({
            "url": origin.url("/account/token"), "json": true, "fields": {"user": "me", "password": "hunter2"},
            "token": "meta[name=csrf]::attr(content)", "token-header": "X-Csrf",
            "success": ["status:303"], "logged-out-if": ["css:form#login"],
        });
        list(&origin, &dir, (0..10).map(|n| format!("page-{n}")));
        let flags = ["-i", "urls.txt", "--mode", mode, "--login", &login.to_string(), "-o", "out.warc"];
        fetch().current_dir(dir.root()).args(flags).run().exits(0);
        assert_eq!(counts(&origin)["logins"], 1);
        let archive = fs::read(dir.path("out.warc")).unwrap();
        let archive = String::from_utf8_lossy(&archive);
        assert!(
            archive.contains("Page page-9") && !archive.contains("hunter2") && !archive.contains("t0k3n")
        );
    }
}

#[test]
fn a_session_keeps_its_profile_and_its_proxy() {
    for mode in CLIENTS {
        let (origin, dir) = (Origin::start(), Dir::new());
        let profiles =
            ["one", "two", "three"].map(|name| format!("[[profile]]\nuser-agent = \"{name}\"\n")).concat();
        job(&origin, &dir, &profiles);
        list(&origin, &dir, (0..400).map(|n| format!("page-{n}")));
        let proxies = [(); 3].map(|()| TestProxy::start(Manner::Works));
        let flags = proxies.iter().flat_map(|proxy| ["--proxy".to_owned(), proxy.url("socks5")]);
        run(&dir, mode, "2").args(["--proxy-sticky", "session"]).args(flags).run().exits(0);
        assert_eq!(records(&dir).len(), 400);
        let counts = counts(&origin);
        let agents = counts["agents"].as_object().unwrap();
        assert!(agents.values().all(|agents| agents.as_array().unwrap().len() == 1), "{mode}: {counts}");
        let used = summary(&dir)["proxies"].as_array().unwrap().clone();
        let requests: u64 = used.iter().filter_map(|proxy| proxy["requests"].as_u64()).sum();
        assert!(requests >= 400, "{mode}: {used:?}");
    }
}

#[test]
fn a_session_moves_to_another_proxy_with_a_login() {
    let (origin, dir) = (Origin::start(), Dir::new());
    job(&origin, &dir, "");
    dir.write(
        "job.toml",
        dir.read("job.toml").replace("/account/login\"\nform", "/account/login?lasts=100000\"\nform"),
    );
    list(&origin, &dir, (0..600).map(|n| format!("page-{n}")));
    let proxies = [(); 2].map(|()| TestProxy::start(Manner::Works));
    let flags = proxies.iter().flat_map(|proxy| ["--proxy".to_owned(), proxy.url("socks5")]);
    let command = run(&dir, "both", "2").args(["--proxy-sticky", "session", "--delay", "1ms"]).args(flags);
    let running = command.spawn();
    let done = || fs::read_to_string(dir.path("out.jsonl")).map_or(0, |text| text.lines().count());
    running.until("records", || (done() >= 100).then_some(()));
    let used = proxies.iter().find(|proxy| proxy.requests() > 0).unwrap();
    assert_eq!(proxies.iter().filter(|proxy| proxy.requests() > 0).count(), 1);
    used.kill();
    running.wait().exits(0);
    assert_eq!((records(&dir).len(), &counts(&origin)["logins"]), (600, &json!(2)));
}

#[test]
fn a_page_of_a_session_that_ended_leaves_no_file() {
    for mode in CLIENTS {
        let (origin, dir) = (Origin::start(), Dir::new());
        job(&origin, &dir, "");
        list(
            &origin,
            &dir,
            (0..120).map(|n| if n == 60 { "secret".to_owned() } else { format!("page-{n}") }),
        );
        run(&dir, mode, "2").args(["--save", "files", "--save-name", "{id}.html"]).run().exits(3);
        for (n, record) in records(&dir).iter().enumerate() {
            assert_eq!(record["file"].is_string(), n != 60, "{mode}: {record}");
        }
        let files: Vec<_> =
            fs::read_dir(dir.path("files")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 119, "{mode}");
        for file in files {
            assert!(fs::read_to_string(&file).unwrap().contains("class=logout"), "{}", file.display());
        }
    }
}

#[test]
fn a_request_that_found_nobody_logged_in_is_sent_again() {
    for mode in CLIENTS {
        let (origin, dir) = (Origin::start(), Dir::new());
        job(&origin, &dir, "");
        list(&origin, &dir, (0..120).map(|n| format!("page-{n}")));
        run(&dir, mode, "2").args(["--method", "POST", "--at-most-once", "--per-host", "4"]).run().exits(0);
        assert_eq!((records(&dir).len(), &counts(&origin)["pages"]), (120, &json!(120)));
    }
}
