//! Text comes out right whatever the page is written in, as far as a browser could tell.

use e2e::origin::charsets::title;

use crate::harness::{MODES, Origin, by_id, fetch};

/// Encoding by its WHATWG name, and where it is declared.
const PAGES: &[(&str, &str)] = &[
    ("windows-1252", "header"),
    ("windows-1252", "meta"),
    ("windows-1252", "http-equiv"),
    ("iso-8859-2", "header"),
    ("windows-1251", "meta"),
    ("koi8-r", "header"),
    ("koi8-r", "http-equiv"),
    ("shift_jis", "header"),
    ("shift_jis", "meta"),
    ("euc-jp", "header"),
    ("euc-kr", "meta"),
    ("gbk", "header"),
    ("big5", "meta"),
    ("utf-8", "header"),
    ("utf-8", "meta"),
    ("windows-1251", "late-meta"),
    ("iso-8859-2", "late-meta"),
    ("euc-kr", "late-meta"),
    ("shift_jis", "late-meta"),
    ("utf-8", "bom"),
    ("utf-8", "nowhere"),
    ("utf-16le", "bom"),
    ("utf-16be", "bom"),
    ("utf-16le", "header"),
    // What a header says goes before what the page says.
    ("koi8-r", "header-over-meta"),
    ("utf-8", "header-over-meta"),
    // A charset that does not exist is as good as none.
    ("utf-8", "unknown"),
];

#[test]
fn declared_charsets_are_decoded_in_every_mode() {
    let origin = Origin::shared();
    let urls: Vec<_> =
        PAGES.iter().map(|(name, by)| origin.url(&format!("/charset/{name}?by={by}"))).collect();
    for mode in MODES {
        let flags = ["--mode", mode, "--select", "title=title", "--select", "link=a"];
        let records = by_id(fetch().args(flags).urls(&urls).run().exits(0).records());
        for ((name, by), record) in PAGES.iter().zip(records.values()) {
            assert_eq!(record["fields"]["title"], title(name), "{mode} {name} by {by}: {record}");
            assert_eq!(record["fields"]["link"], title(name), "{mode} {name} by {by}: {record}");
            assert_eq!(record["charset"], *name, "{mode} {name} by {by}: {record}");
        }
    }
}

/// Undeclared text is guessed, and text declared as what it is not comes out garbled: a record all the same.
#[test]
fn wrongly_declared_pages_still_give_fields() {
    let origin = Origin::shared();
    let pages = ["windows-1252", "koi8-r", "shift_jis", "utf-16le", "utf-8", "gbk"];
    let urls: Vec<_> = ["wrong", "unknown", "nowhere"]
        .iter()
        .flat_map(|by| pages.map(|name| origin.url(&format!("/charset/{name}?by={by}"))))
        .collect();
    let runs = ["sequential", "concurrent"].map(|mode| {
        let run = fetch().args(["--mode", mode, "--select", "title=title"]).urls(&urls).run().exits(0);
        by_id(run.records()).into_values().map(|record| record["fields"]["title"].clone()).collect::<Vec<_>>()
    });
    assert_eq!(runs[0], runs[1]);
    assert_eq!(runs[0].len(), urls.len());
}
