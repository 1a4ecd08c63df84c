//! What a hostile server can do to a run: keep decoders busy, lead secrets away, and answer without end.

use std::collections::BTreeMap;
use std::time::Duration;

use shared::clock;

use crate::harness::{Dir, MODES, Origin, Output, by_id, fetch, kind, supervisor};

/// The ways in which a body hides that it is nothing.
pub(crate) const HOLLOW: [&str; 4] = ["blocks", "members", "frames", "metadata"];

#[test]
fn a_body_that_only_keeps_a_decoder_busy_is_refused_at_once() {
    let origin = Origin::shared();
    for mode in MODES {
        let mut urls: Vec<String> = (0..40).map(|n| origin.url(&format!("/site/page/{n}"))).collect();
        urls.splice(20..20, HOLLOW.map(|kind| origin.url(&format!("/hollow/{kind}"))));
        let begun = clock::now();
        let run = fetch().args(["--mode", mode, "--select", "t=title"]).urls(&urls).run().exits(3);
        assert!(begun.elapsed() < Duration::from_secs(20), "{mode}: {:?}", begun.elapsed());
        for (id, record) in by_id(run.records()) {
            if !(20..24).contains(&id) {
                assert_eq!(kind(&record), "", "{mode}: {record}");
                continue;
            }
            assert_eq!(kind(&record), "decode", "{mode}: {record}");
            let message = record["error"]["message"].as_str().unwrap();
            assert!(message.contains("almost empty"), "{mode}: {message}");
            assert_eq!(record["attempts"], 1, "{mode}: {record}");
        }
    }
}

#[test]
fn packed_files_that_come_to_nothing_are_refused() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let sitemap = origin.url("/sitemaps/hollow.xml.gz");
    fetch().args(["--sitemap", &sitemap, "--strict"]).run().exits(1).says("almost empty");
    let mut member = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()).finish().unwrap();
    member = member.repeat(100_000);
    for name in ["list.txt.gz", "table.csv.gz"] {
        dir.write(name, &member);
    }
    fetch().arg("-i").arg(dir.path("list.txt.gz")).run().exits(1).says("almost empty");
    let table =
        supervisor().arg("csv").arg(dir.path("table.csv.gz")).args(["--group-by", "a", "--agg", "n=count"]);
    table.run().says("almost empty");
}

/// The pages' URLs, and how many of the given secrets each saw.
fn secrets_seen(run: &Output) -> BTreeMap<String, usize> {
    let seen = run.records().into_iter().map(|record| {
        let url = record["url"].as_str().unwrap_or_else(|| panic!("{record}")).to_owned();
        let text = record["fields"]["seen"].as_str().unwrap_or_default();
        let count = ["[\"authorization\",", "[\"cookie\",", "[\"x-api-key\","];
        (url, count.iter().filter(|name| text.contains(**name)).count())
    });
    seen.collect()
}

#[test]
fn a_sitemap_leads_no_secret_to_another_origin() {
    let (home, other) = (Origin::start(), Origin::start());
    let below = other.url("/sitemap-of");
    let pages = [home.url("/echo/1"), other.url("/echo/1"), other.url("/redirect/to?url=/echo/3")].join(";");
    let listing = home.url(&format!("/sitemap-of?pages={pages}"));
    let index = home.url(&format!("/sitemap-of?sitemaps={}", [listing, below].join(",")));
    for (scope, elsewhere) in
        [("origin", 0), ("any", 3), (home.url("").as_str(), 0), (other.url("").as_str(), 3)]
    {
        let at_home = if scope == other.url("") { 0 } else { 3 };
        for mode in ["parallel", "both"] {
            let secrets = ["-H", "Authorization: Bearer s", "-H", "Cookie: a=b", "-H", "X-Api-Key: k"];
            let flags = ["--mode", mode, "--select", "seen=pre", "--robots", "obey", "--header-scope", scope];
            let run = fetch().args(secrets).args(flags).args(["--sitemap", &index]).run().exits(0);
            let saw =
                |origin: &Origin, secrets: usize| origin.url(&format!("/echo/sitemap-saw-{}", secrets / 3));
            let want = BTreeMap::from([
                (home.url("/echo/1"), at_home),
                (saw(&home, at_home), at_home),
                (other.url("/echo/1"), elsewhere),
                (other.url("/redirect/to?url=/echo/3"), elsewhere),
                (saw(&other, elsewhere), elsewhere),
            ]);
            assert_eq!(secrets_seen(&run), want, "{scope} {mode}");
        }
    }
}

#[test]
fn a_listed_url_is_home_and_its_redirects_are_not() {
    let (home, other, dir) = (Origin::start(), Origin::start(), Dir::new());
    let away = home.url(&format!("/redirect/to?url={}", other.url("/echo/2")));
    let list = dir.write("list.txt", [home.url("/echo/1"), other.url("/echo/1"), away.clone()].join("\n"));
    for mode in ["parallel", "both"] {
        let run =
            fetch().args(["--mode", mode, "--select", "seen=pre", "-H", "X-Api-Key: k", "-i"]).arg(&list);
        let want = [(home.url("/echo/1"), 1), (other.url("/echo/1"), 1), (away.clone(), 0)];
        assert_eq!(secrets_seen(&run.run().exits(0)), BTreeMap::from(want), "{mode}");
    }
}
