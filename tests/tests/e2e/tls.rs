//! Certificates are checked against what the system trusts, and HTTP/2 is spoken where it is offered.

use serde_json::Value;

use crate::harness::{Dir, MODES, Origin, fetch, kind};

fn secure_origin(dir: &Dir) -> Origin {
    Origin::start_with(&["--tls-ca", dir.path("ca.pem").to_str().unwrap()])
}

#[test]
fn an_unknown_certificate_is_refused_and_a_trusted_one_is_not() {
    let dir = Dir::new();
    let origin = secure_origin(&dir);
    let url = origin.url("/site/page/1");
    for mode in MODES {
        let run = || fetch().args(["--mode", mode, "--select", "t=title"]).arg(&url);
        let refused = run().run().exits(3);
        assert_eq!(kind(&refused.records()[0]), "tls", "{mode}: {refused}");
        let trusted = run().env("SSL_CERT_FILE", dir.path("ca.pem")).run().exits(0);
        assert!(
            trusted.records()[0]["fields"]["t"].as_str().unwrap().starts_with("Page 1"),
            "{mode}: {trusted}"
        );
    }
}

/// What appliances and home servers have: openssl's default makes it a CA.
#[test]
fn a_ca_certificate_that_is_trusted_itself_is_good_for_a_server() {
    let dir = Dir::new();
    let ca = dir.path("ca.pem");
    let origin = Origin::start_with(&["--tls-ca", ca.to_str().unwrap(), "--tls-serve-ca"]);
    let _other = Origin::start_with(&["--tls-ca", dir.path("other.pem").to_str().unwrap()]);
    let url = origin.url("/site/page/1");
    for mode in MODES {
        let run = |trusted: &str| {
            fetch().args(["--mode", mode]).arg(&url).env("SSL_CERT_FILE", dir.path(trusted)).run()
        };
        run("ca.pem").exits(0);
        let refused = run("other.pem").exits(3);
        let record = &refused.records()[0];
        assert_eq!(
            record["error"]["message"],
            "TLS handshake with 127.0.0.1: certificate \"origin CA\" belongs to a CA, and is not trusted itself",
            "{mode}: {refused}"
        );
    }
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let dir = Dir::new();
    let origin = secure_origin(&dir);
    // 127.0.0.2 is this machine too, and not in the certificate.
    let other = origin.url("/").replace("127.0.0.1", "127.0.0.2");
    let secured =
        Origin::start_with(&["--tls-ca", dir.path("ca2.pem").to_str().unwrap(), "--listen", "127.0.0.2:0"]);
    for mode in ["sequential", "both"] {
        let run = fetch().args(["--mode", mode, "--retries", "0"]).env("SSL_CERT_FILE", dir.path("ca2.pem"));
        let run = run.args([&secured.url("/"), &other]).run().exits(3);
        let records = run.records();
        assert_eq!(kind(records.iter().find(|record| record["id"] == 0).unwrap()), "tls", "{mode}: {run}");
    }
}

#[test]
fn speaking_tls_to_a_plain_port_and_the_other_way_round() {
    let dir = Dir::new();
    let (plain, secure) = (Origin::shared(), secure_origin(&dir));
    let urls = [plain.url("/").replace("http:", "https:"), secure.url("/").replace("https:", "http:")];
    for mode in MODES {
        let run = fetch().args(["--mode", mode, "--retries", "0", "--ordered"]).urls(&urls).run().exits(3);
        let kinds: Vec<_> = run.records().iter().map(|record| kind(record).to_owned()).collect();
        assert_eq!(kinds, ["tls", "protocol"], "{mode}: {run}");
    }
}

fn echoed(mode: &str, dir: &Dir, origin: &Origin) -> Value {
    let run = fetch().args(["--mode", mode, "--select", "seen=pre"]).env("SSL_CERT_FILE", dir.path("ca.pem"));
    let run = run.arg(origin.url("/echo")).run().exits(0);
    serde_json::from_str(run.records()[0]["fields"]["seen"].as_str().unwrap()).unwrap()
}

#[test]
fn the_event_loop_speaks_http2() {
    let dir = Dir::new();
    let origin = secure_origin(&dir);
    for mode in ["concurrent", "both"] {
        assert_eq!(echoed(mode, &dir, &origin)["version"], "HTTP/2.0", "{mode}");
    }
    for mode in ["sequential", "parallel"] {
        assert_eq!(echoed(mode, &dir, &origin)["version"], "HTTP/1.1", "{mode}");
    }
}

/// Many streams on few connections, each with its own fate.
#[test]
fn http2_gives_the_same_records_as_http1() {
    let dir = Dir::new();
    let origin = secure_origin(&dir);
    let paths = [
        "/site/page/7",
        "/status/404",
        "/redirect/3",
        "/encoding/br",
        "/bomb/gzip",
        "/charset/koi8-r",
        "/empty",
    ];
    let urls: Vec<_> = (0..10).flat_map(|_| paths).map(|path| origin.url(path)).collect();
    let runs = ["parallel", "both"].map(|mode| {
        let run = fetch().args(["--mode", mode, "--select", "t=title", "--select", "l[]=a::attr(href)"]);
        let run = run.env("SSL_CERT_FILE", dir.path("ca.pem")).urls(&urls).run().exits(3);
        crate::harness::normalised(run.records())
    });
    assert_eq!(runs[0].len(), urls.len());
    let different: Vec<_> = runs[0].iter().filter(|(id, record)| **record != runs[1][id]).collect();
    assert!(different.is_empty(), "{different:#?}");
}
