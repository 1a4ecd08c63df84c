//! Feeds and XHTML: the same selectors on pages in XML, by their media types and extensions.

use serde_json::{Value, json};

use crate::harness::{Dir, MODES, Origin, by_id, fetch, parse};

const SELECTS: [&str; 5] = [
    "--select=titles[]=title",
    "--select=links[]=item > link",
    "--select=refs[]=//*[local-name()='link']/@href",
    "--select=by=creator",
    "--select=date=pubDate",
];

fn rss() -> Value {
    json!({
        "titles": ["News", "One & <two>", "Three"],
        "links": ["http://a.example/1", "http://a.example/3"],
        "refs": [],
        "by": "A",
        "date": "Mon",
    })
}

#[test]
fn pages_in_xml_are_read_as_such_in_every_mode() {
    let origin = Origin::shared();
    let names = ["rss", "text-xml", "application-xml", "atom", "xhtml", "broken"];
    let urls = names.map(|name| origin.url(&format!("/feed/{name}")));
    let atom = json!({
        "titles": ["News", "One & <two>"], "links": [], "refs": [origin.url("/feed/1")], "by": null, "date": null,
    });
    let xhtml = json!({"titles": ["News"], "links": [], "refs": [], "by": null, "date": null});
    for mode in MODES {
        let run = fetch().args(["--mode", mode]).args(SELECTS).urls(&urls).run().exits(3);
        let records = by_id(run.records());
        for (id, expected) in [rss(), rss(), rss(), atom.clone(), xhtml.clone()].iter().enumerate() {
            let record = &records[&u64::try_from(id).unwrap()];
            assert_eq!(&record["fields"], expected, "{mode} {}: {record}", names[id]);
        }
        let error = &records[&5]["error"];
        assert_eq!(error["kind"], "parse", "{mode}: {error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with("not well-formed XML, line 2: expected `</item>`"), "{mode}: {message}");
    }
}

#[test]
fn saved_feeds_are_known_by_their_extensions() {
    let dir = Dir::new();
    let response = String::from_utf8(Origin::shared().get("/feed/rss")).unwrap();
    let (_, feed) = response.split_once("\r\n\r\n").unwrap();
    let paths = ["a.xml", "b.RSS", "c.atom"].map(|name| dir.write(name, feed));
    let run = parse().args(SELECTS).args(paths).run().exits(0);
    for record in by_id(run.records()).values() {
        assert_eq!(record["fields"], rss(), "{record}");
    }
}
