//! `--address-policy public`: nothing on this machine, or near it, is connected to.

use serde_json::json;

use crate::harness::{Dir, MODES, Origin, fetch, kind, supervisor};

#[test]
fn addresses_that_are_not_public_are_denied_at_once_in_every_mode() {
    let origin = Origin::start();
    let (page, port) = (origin.url("/site/page/1"), origin.host().trim_start_matches("127.0.0.1:"));
    let urls = [page.clone(), format!("http://localhost:{port}/"), "https://[fe80::1]/".to_owned()];
    for mode in MODES {
        let flags = ["--mode", mode, "--ordered", "--address-policy", "public", "--timeout", "5s"];
        let run = fetch().args(flags).urls(&urls).run().exits(3);
        for (record, at) in run.records().iter().zip([
            "127.0.0.1 (loopback)",
            "localhost is at 127.0.0.1 (loopback), ::1 (loopback)",
            "fe80::1 (link-local)",
        ]) {
            assert_eq!(kind(record), "address_denied", "{mode}: {run}");
            let message = format!("{at}, not public; --address-policy any would allow it");
            assert_eq!((&record["error"]["message"], &record["attempts"]), (&json!(message), &json!(1)));
        }
    }
    assert_eq!(origin.requests("/site/page/1"), 0);
    for flags in [&["--address-policy", "any"][..], &[]] {
        fetch().args(flags).arg(&page).run().exits(0);
    }
}

#[test]
fn a_sitemap_is_held_to_the_policy() {
    let origin = Origin::start();
    let sitemap = origin.url("/sitemap.xml");
    let run = fetch().args(["--address-policy", "public", "--sitemap", &sitemap]).run().exits(1);
    let run = run.says("sitemap.xml: address_denied: 127.0.0.1 (loopback), not public");
    assert_eq!(origin.requests("/sitemap.xml"), 0, "{run}");
}

#[test]
fn the_policy_is_a_setting_like_any_other() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let url = origin.url("/site/page/1");
    let job = format!("command = \"fetch\"\nurls = [\"{url}\"]\naddress-policy = \"public\"\n");
    let job = dir.write("job.toml", job);
    supervisor().arg("--job").arg(&job).run().exits(3);
    supervisor().arg("--job").arg(&job).args(["--address-policy", "any"]).run().exits(0);
    fetch().env("MUSTER_ADDRESS_POLICY", "public").arg(&url).run().exits(3);
    fetch().args(["--address-policy", "private"]).arg(&url).run().exits(2).says("public");
    supervisor()
        .args(["compare", "--sample", "1", "fetch", "--address-policy", "public", &url])
        .run()
        .exits(3);
}
