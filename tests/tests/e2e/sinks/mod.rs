//! Records in every format: the same as JSON lines, and whole after any kill.

mod killed;
mod read;

use serde_json::Value;

use self::read::{COMPLETE_FORMATS, rows};
use crate::harness::{Dir, Origin, by_id, fetch, parse, parse_lines, supervisor};

const SELECT: [&str; 6] =
    ["--select", "title=title", "--select", "links[]=a::attr(href)", "--select", "n=title | re(\\d+) | int"];

/// What a record of JSON lines is as a row: text as it is, everything else as JSON.
fn as_row(record: &Value, column: &str) -> Option<String> {
    let value = match column {
        "error_kind" => &record["error"]["kind"],
        "error_message" => &record["error"]["message"],
        "title" | "links" | "n" | "text" => &record["fields"][column],
        "sku" => &record["keep"][column],
        _ => &record[column],
    };
    (!value.is_null()).then(|| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

/// Whether a column is the same in two runs over the same inputs.
fn is_stable(column: &str) -> bool {
    !matches!(column, "worker" | "elapsed_ms" | "attempts")
}

#[test]
fn every_format_says_what_json_lines_say() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let mut list: String =
        (0..60).map(|n| format!("{},\"s,{n}\"\n", origin.url(&format!("/site/page/{n}")))).collect();
    list += &format!("{},last\nnonsense,\n", origin.url("/status/404"));
    dir.write("in.csv", format!("url,sku\n{list}"));
    let run = |output: &str| {
        let command =
            fetch().current_dir(dir.root()).args(["-i", "in.csv", "--column", "url", "--keep", "sku"]);
        command.args(SELECT).args(["-o", output]).run().exits(3)
    };
    run("out.jsonl");
    let records = by_id(parse_lines(dir.read("out.jsonl").as_bytes()));
    for name in COMPLETE_FORMATS {
        let output = run(name);
        let rows = rows(&dir.path(name));
        assert_eq!(rows.len(), records.len(), "{name}: {output}");
        for (id, row) in &rows {
            for (column, cell) in row.iter().filter(|(column, _)| is_stable(column)) {
                assert_eq!(*cell, as_row(&records[id], column), "{name}: {column} of {id}");
            }
        }
        let columns: Vec<&str> = rows[&0].iter().map(|(column, _)| column.as_str()).collect();
        assert_eq!(
            columns.join(" "),
            "id url final_url status attempts worker elapsed_ms bytes charset sku title links n error_kind error_message",
            "{name}"
        );
        let names = dir.names();
        assert!(!names.iter().any(|name| name.contains("journal")), "{names:?}");
        let again =
            fetch().current_dir(dir.root()).args(["-i", "in.csv", "--column", "url", "--keep", "sku"]);
        let again = again.args(SELECT).args(["-o", name]);
        again.clone().run().exits(1).says("--overwrite");
        again.arg("--resume").run().exits(3).says("complete already, with 62 records");
    }
}

#[test]
fn whatever_stands_in_a_field_comes_back() {
    let dir = Dir::new();
    let odd =
        ["a\u{1}b", "\u{fffd}", "two\nlines\r\n", "say \"x\", or 'y'", "tab\there", " ", "\\n", "é漢😀", ""];
    for (n, text) in odd.iter().enumerate() {
        dir.write(format!("{n:02}.json"), serde_json::json!({ "t": text, "nul": "a\0b" }).to_string());
    }
    let flags = ["--ordered", "--select", "title=$.t", "--select", "text=$.nul"];
    for name in COMPLETE_FORMATS {
        let files = (0..odd.len()).map(|n| format!("{n:02}.json"));
        parse().current_dir(dir.root()).args(flags).args(files).args(["-o", name]).run().exits(0);
        for (id, row) in rows(&dir.path(name)) {
            let cell = |name: &str| row.iter().find(|(column, _)| column == name).unwrap().1.clone();
            assert_eq!(cell("title").as_deref(), Some(odd[id as usize]), "{name}");
            assert_eq!(cell("text").as_deref(), Some("a\0b"), "{name}");
        }
    }
}

#[test]
fn what_a_program_answers_is_a_column() {
    let dir = Dir::new();
    let lines: String = (0..500).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    dir.write("in.jsonl", lines + "no json\n");
    for name in COMPLETE_FORMATS {
        let run = supervisor().current_dir(dir.root()).args(["--workers", "2", "map", "-i", "in.jsonl"]);
        run.args(["-o", name, "--", "cat"]).run().exits(3);
        let rows = rows(&dir.path(name));
        assert_eq!(rows.len(), 501, "{name}");
        for (id, row) in rows {
            let cell = |name: &str| row.iter().find(|(column, _)| column == name).unwrap().1.clone();
            if id < 500 {
                assert_eq!(cell("value"), Some(format!("{{\"n\":{id}}}")), "{name}");
            } else {
                assert_eq!((cell("value"), cell("error_kind").as_deref()), (None, Some("parse")), "{name}");
            }
        }
    }
    // Behind a fetch, a program's answer is one more column, and a page that failed has none.
    let origin = Origin::shared();
    let urls = [origin.url("/site/page/1"), origin.url("/status/404")];
    let run =
        fetch().args(["--map", "jq -c .status", "--ordered", "--format", "csv"]).urls(urls).run().exits(3);
    let text = run.text();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].ends_with(",charset,value,error_kind,error_message"), "{text}");
    assert!(lines[1].ends_with(",200,,") && lines[2].contains(",http_status,"), "{text}");
}

#[test]
fn text_may_go_to_standard_output_in_every_packing() {
    let origin = Origin::shared();
    let urls: Vec<_> = (0..30).map(|n| origin.url(&format!("/site/page/{n}"))).collect();
    let dir = Dir::new();
    for format in ["csv", "tsv", "csv.gz", "tsv.zst", "jsonl.gz", "jsonl.zst"] {
        let name = format!("piped.{format}");
        let file = std::fs::File::create(dir.path(&name)).unwrap();
        fetch().args(["--format", format, "--select", "title=title"]).urls(&urls).run_into(file).exits(0);
        assert_eq!(rows(&dir.path(&name)).len(), 30, "{format}");
    }
    // Nothing at all is a file too.
    for name in ["none.jsonl.gz", "none.csv.zst", "none.parquet", "none.sqlite"] {
        fetch().current_dir(dir.root()).args(["-o", name, "-i", "/dev/null"]).run().exits(0);
        assert_eq!(rows(&dir.path(name)).len(), 0, "{name}");
    }
}

#[test]
fn a_directory_has_files_of_so_many_records_and_a_manifest() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let urls: Vec<_> = (0..25).map(|n| origin.url(&format!("/site/page/{n}"))).collect();
    for format in ["jsonl", "csv.gz", "tsv", "jsonl.zst", "parquet", "sqlite"] {
        let run = |flags: &[&str], count: usize| {
            let command =
                fetch().current_dir(dir.root()).args(["-o", "out/", "--split", "10", "--format", format]);
            command.args(["--select", "title=title"]).args(flags).urls(&urls[..count]).run()
        };
        let flags: &[&str] = if format == "jsonl" { &[] } else { &["--overwrite"] };
        run(flags, 25).exits(0);
        let mut names: Vec<String> = std::fs::read_dir(dir.path("out"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let parts: Vec<String> = (0..3).map(|n| format!("part-{n:05}.{format}")).collect();
        assert_eq!(names, [&["manifest.json".to_owned()][..], &parts].concat());
        let manifest: Value = serde_json::from_str(&dir.read("out/manifest.json")).unwrap();
        assert_eq!((&manifest["records"], &manifest["failed"]), (&25.into(), &0.into()));
        assert_eq!((&manifest["complete"], &manifest["format"]), (&true.into(), &format.into()));
        let mut ids = Vec::new();
        for (n, (part, want)) in parts.iter().zip([10, 10, 5]).enumerate() {
            let found = rows(&dir.path(format!("out/{part}")));
            let bytes = std::fs::metadata(dir.path(format!("out/{part}"))).unwrap().len();
            let entry = &manifest["files"][n];
            assert_eq!((found.len(), &entry["records"]), (want, &want.into()), "{part}");
            assert_eq!((&entry["name"], &entry["bytes"]), (&part.as_str().into(), &bytes.into()));
            assert_eq!(entry["sha256"].as_str(), Some(sha256(&dir, &format!("out/{part}")).as_str()));
            ids.extend(found.into_keys());
        }
        ids.sort_unstable();
        assert_eq!(ids, (0..25).collect::<Vec<_>>());
        run(&[], 25).exits(1).says("--overwrite");
        run(&["--resume"], 25).exits(0).says("complete already, with 25 records");
    }
    // Fewer files than before: none of the old ones stays.
    let command = fetch().current_dir(dir.root()).args(["-o", "out", "--split", "10", "--overwrite"]);
    command.urls(&urls[..5]).run().exits(0);
    assert_eq!(std::fs::read_dir(dir.path("out")).unwrap().count(), 2);
}

/// As everybody's own tool has it.
fn sha256(dir: &Dir, name: &str) -> String {
    let said = std::process::Command::new("sha256sum").arg(dir.path(name)).output().unwrap();
    String::from_utf8(said.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

#[test]
fn a_file_has_a_manifest_if_asked() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let command = || {
        fetch()
            .current_dir(dir.root())
            .args(["-o", "out.csv.gz", "--manifest", "m.json", "--resume"])
            .args([origin.url("/site/page/1"), origin.url("/status/404")])
    };
    for _ in 0..2 {
        command().run().exits(3);
        let manifest: Value = serde_json::from_str(&dir.read("m.json")).unwrap();
        assert_eq!(manifest["records"], 2);
        assert_eq!(manifest["files"][0]["name"], "out.csv.gz");
        assert_eq!(manifest["files"][0]["sha256"], sha256(&dir, "out.csv.gz"));
        std::fs::remove_file(dir.path("m.json")).unwrap();
    }
}

#[test]
fn groups_are_packed_too() {
    let dir = Dir::new();
    dir.write("a.csv", "city,n\nRome,1\nOslo,2\nRome,3\n");
    for name in ["t.csv.gz", "t.tsv.zst", "t.jsonl.gz"] {
        let command = supervisor().current_dir(dir.root()).args(["csv", "a.csv", "--group-by", "city"]);
        command.args(["--agg", "sum(n)", "-o", name]).run().exits(0);
        let text = read::unpacked(&dir.path(name));
        assert!(text.contains("Oslo") && text.lines().count() >= 2, "{text}");
    }
}
