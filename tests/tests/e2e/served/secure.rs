//! Over the network: certificates, tokens, and new ones of both while it runs.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use nix::sys::signal::Signal;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::json;

use super::{Served, WITHIN};
use crate::harness::{Dir, Output, supervisor, wait_for};

const TOKEN: &str = "the-token-of-the-first-day";

/// A service on TCP, and the files that a client of it needs.
struct Secure {
    served: Served,
    files: Dir,
    port: u16,
}

impl Secure {
    fn start() -> Self {
        let files = Dir::new();
        certify(&files, "cert.pem", "key.pem");
        files.write("token", TOKEN);
        let path = |name: &str| files.path(name).to_str().unwrap().to_owned();
        let served = Served::start(&[
            "--listen",
            "127.0.0.1:0",
            "--tls-cert",
            &path("cert.pem"),
            "--tls-key",
            &path("key.pem"),
            "--token-file",
            &path("token"),
        ]);
        let port = wait_for("the port in the log", WITHIN, || port(&served.running().stderr_so_far()));
        Self { served, files, port }
    }

    /// `supervisor status` through the front door.
    fn status(&self, token: Option<&str>, ca: &str) -> Output {
        let url = format!("https://127.0.0.1:{}", self.port);
        let status = supervisor().args(["status", "--url", &url]).arg("--ca").arg(self.files.path(ca));
        match token {
            Some(token) => {
                let file = self.files.write("presented", token);
                status.arg("--token-file").arg(file).run()
            }
            None => status.run(),
        }
    }

    /// Has the service read its files again; what it says of that.
    fn reload(&self, says: &str) {
        let before = self.served.running().stderr_so_far().len();
        self.served.running().signal(Signal::SIGHUP);
        wait_for(says, WITHIN, || {
            self.served.running().stderr_so_far()[before..].contains(says).then_some(())
        });
    }
}

/// A certificate for loopback that is its own authority.
fn certify(files: &Dir, certificate: &str, key: &str) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    files.write(certificate, cert.pem());
    files.write(key, signing_key.serialize_pem());
}

/// The port that the service says it listens on.
fn port(log: &str) -> Option<u16> {
    let (_, rest) = log.split_once(" and 127.0.0.1:")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    // The line may have come in part.
    (digits.len() < rest.len()).then(|| digits.parse().unwrap())
}

#[test]
fn the_right_token_over_tls_and_nothing_else() {
    let secure = Secure::start();
    let status = secure.status(Some(TOKEN), "cert.pem").exits(0);
    assert!(status.text().contains("2 workers"), "{status}");
    secure.status(None, "cert.pem").exits(1).says("a token is required").says("--token-file");
    secure.status(Some("the-token-of-another-day"), "cert.pem").exits(1).says("the token is wrong");
    certify(&secure.files, "other.pem", "other-key.pem");
    secure.status(Some(TOKEN), "other.pem").exits(1).says("certificate").says("--ca");
    secure.status(Some(TOKEN), "token").exits(1).says("--ca").says("it contains no certificate");
    // Whoever may open the socket needs neither.
    supervisor().args(["status", "--socket"]).arg(secure.served.socket()).run().exits(0);
}

#[test]
fn without_tls_it_says_that_it_wants_tls() {
    let secure = Secure::start();
    let mut stream = TcpStream::connect(("127.0.0.1", secure.port)).unwrap();
    stream.set_read_timeout(Some(WITHIN)).unwrap();
    stream
        .write_all(format!("GET /v1/jobs HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n").as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("https://"), "{answer}");
    let plain = format!("http://127.0.0.1:{}", secure.port);
    supervisor().args(["status", "--url", &plain]).run().exits(2).says("use https://");
    // One that says nothing at all keeps nobody waiting.
    let _silent = TcpStream::connect(("127.0.0.1", secure.port)).unwrap();
    secure.status(Some(TOKEN), "cert.pem").exits(0);
}

#[test]
fn new_certificates_and_tokens_hold_after_a_reload_and_broken_ones_do_not() {
    let secure = Secure::start();
    fs::copy(secure.files.path("cert.pem"), secure.files.path("old.pem")).unwrap();
    certify(&secure.files, "cert.pem", "key.pem");
    secure.status(Some(TOKEN), "old.pem").exits(0);
    secure.reload("reloaded token");
    secure.status(Some(TOKEN), "cert.pem").exits(0);
    secure.status(Some(TOKEN), "old.pem").exits(1).says("certificate");

    secure.files.write("token", "the-token-of-the-second-day");
    secure.reload("reloaded token");
    secure.status(Some(TOKEN), "cert.pem").exits(1).says("the token is wrong");
    secure.status(Some("the-token-of-the-second-day"), "cert.pem").exits(0);

    fs::copy(secure.files.path("cert.pem"), secure.files.path("good.pem")).unwrap();
    secure.files.write("cert.pem", "no certificate");
    secure.files.write("token", "the-token-of-the-third-day");
    secure.reload("cannot reload token and certificate");
    assert!(secure.served.running().stderr_so_far().contains("cert.pem: it contains no certificate"));
    secure.status(Some("the-token-of-the-second-day"), "good.pem").exits(0);
}

#[test]
fn what_others_can_reach_is_not_opened_without_both() {
    let dir = Dir::new();
    let serve = |flags: &[&str]| {
        let serve = supervisor().args(["serve", "--socket", "none", "--state-dir"]).arg(dir.path("state"));
        serve.args(["--listen", "0.0.0.0:0"]).args(flags).run()
    };
    serve(&[])
        .exits(2)
        .says("0.0.0.0:0 can be reached from other machines")
        .says("--token-file")
        .says("--tls-cert");
    let token = dir.write("token", TOKEN);
    serve(&["--token-file", token.to_str().unwrap()]).exits(2).says("--tls-cert");
    assert!(!dir.path("state").exists(), "it was refused before anything was made");
}

/// A page may lead a worker to the API, and a worker that was taken over goes there by itself. Clients of this machine
/// need no token, but workers are none.
#[test]
fn without_a_token_the_services_own_workers_are_not_let_in() {
    let served = Served::start(&["--listen", "127.0.0.1:0"]);
    let port = wait_for("the port in the log", WITHIN, || port(&served.running().stderr_so_far()));
    let url = format!("http://127.0.0.1:{port}");
    supervisor().args(["status", "--url", &url]).run().exits(0);
    for mode in ["parallel", "both"] {
        let id = served.submit(&[format!("{url}/v1/jobs")], &json!({"mode": mode, "retries": 0}));
        served.wait_for_state(id, &["done"]);
        let records = served.records(id);
        assert!(records[0]["status"].is_null() && records[0]["error"].is_object(), "{mode}: {records:?}");
    }
    let log = served.running().stderr_so_far();
    assert!(log.contains("a worker connected to the API"), "{log}");
}
