//! `csv`: groups and aggregates of real files, by the real processes.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Dir, Output, TestCommand, supervisor};

fn csv() -> TestCommand {
    supervisor().args(["--workers", "2", "csv"])
}

/// A file of several ranges: over a MiB, with quotes, commas and line ends inside of cells.
fn large(rows: u64) -> String {
    let mut text = String::from("id,city,price,note\n");
    for id in 0..rows {
        let city = ["Rome", "Paris", "New York, \"\"NY\"\"", "Åbo"][(id % 4) as usize];
        let city = if city.contains(',') { format!("\"{city}\"") } else { city.to_owned() };
        let note = match id % 5 {
            0 => String::new(),
            1 => format!("\"two\nlines of {id}\""),
            2 => "\"a, comma and a \"\"quote\"\"\"".to_owned(),
            _ => format!("plain {id}"),
        };
        text.push_str(&format!("{id},{city},{}.{:02},{note}\n", id % 1000, id % 100));
    }
    text
}

const AGGREGATES: [&str; 14] = [
    "--agg",
    "n=count",
    "--agg",
    "sum=sum(price)",
    "--agg",
    "least=min(id)",
    "--agg",
    "most=max(id)",
    "--agg",
    "mean=mean(id)",
    "--agg",
    "spread=stddev(price)",
    "--agg",
    "p90=quantile(id, 0.9)",
];

fn summary(dir: &Dir, name: &str) -> Value {
    serde_json::from_str(&dir.read(name)).unwrap()
}

#[track_caller]
fn says(run: &Output, parts: &[&str]) {
    let stderr = &run.stderr;
    for part in parts {
        assert!(stderr.contains(part), "no {part:?} in {run}");
    }
}

#[test]
fn a_table_is_written() {
    let dir = Dir::new();
    let file =
        dir.write("a.csv", "city,price,qty\nRome,1.50,2\nParis,2.25,1\n\nRome,0.25,\n\"New\nYork\",10,1\n");
    let run = csv()
        .arg(&file)
        .args(["--group-by", "city", "--agg", "n=count", "--agg", "q=count(qty)", "--agg", "sum(price)"])
        .args([
            "--agg",
            "lo=min(price)",
            "--agg",
            "hi=max(city)",
            "--agg",
            "avg=mean(qty)",
            "--agg",
            "var(price)",
        ])
        .args(["--agg", "d=distinct(price)", "--agg", "median=quantile(price, 0.5)"])
        .run()
        .exits(0);
    assert_eq!(
        run.text(),
        "city,n,q,sum(price),lo,hi,avg,var(price),d,median\n\
         \"New\nYork\",1,1,10,10,\"New\nYork\",1,,1,10\n\
         Paris,1,1,2.25,2.25,Paris,1,,1,2.25\n\
         Rome,2,1,1.75,0.25,Rome,2,0.78125,2,1.5\n"
    );
    let run = csv().arg(&file).args(["--agg", "n=count", "--where", "city = Rome"]).run().exits(0);
    assert_eq!(run.text(), "n\n2\n");
}

/// However many workers and in whatever mode: the same bytes.
#[test]
fn workers_and_modes_do_not_show() {
    let dir = Dir::new();
    let file = dir.write("large.csv", large(90_000));
    let mut tables = Vec::new();
    for (mode, workers) in
        [("sequential", "1"), ("concurrent", "1"), ("parallel", "2"), ("parallel", "5"), ("both", "3")]
    {
        let out = dir.path(format!("{mode}{workers}.csv"));
        let report = dir.path(format!("{mode}{workers}.json"));
        supervisor()
            .args(["--mode", mode, "--workers", workers, "csv", "--group-by", "city"])
            .args(AGGREGATES)
            .arg(&file)
            .arg("-o")
            .arg(&out)
            .arg("--summary")
            .arg(&report)
            .run()
            .exits(0);
        tables.push(std::fs::read_to_string(&out).unwrap());
        let summary = summary(&dir, &format!("{mode}{workers}.json"));
        assert_eq!(
            (&summary["items"], &summary["ok"], &summary["failed"]),
            (&90_000.into(), &90_000.into(), &0.into())
        );
        assert_eq!(summary["bytes"], std::fs::metadata(&file).unwrap().len());
        let by_worker =
            summary["per_worker"].as_array().unwrap().iter().map(|worker| worker["items"].as_u64().unwrap());
        assert_eq!(by_worker.sum::<u64>(), 90_000);
    }
    assert_eq!(tables[0].lines().count(), 5, "{}", tables[0]);
    assert!(tables[0].contains("\"New York, \"\"NY\"\"\",22500,"), "{}", tables[0]);
    assert!(tables.iter().all(|table| *table == tables[0]), "{tables:#?}");
}

/// Python's own reader on the same file: the same rows, the same groups.
#[test]
fn python_reads_the_same() {
    let dir = Dir::new();
    let script = "import csv,sys\n\
        from fractions import Fraction as F\n\
        g={}\n\
        for r in list(csv.reader(open(sys.argv[1],newline='',encoding='utf-8')))[1:]:\n\
        \x20if not r: continue\n\
        \x20e=g.setdefault(r[1],[0,F(0),set()]); e[0]+=1; e[1]+=F(r[2]); e[2].add(r[3])\n\
        w=csv.writer(sys.stdout,lineterminator='\\n')\n\
        w.writerow(['city','n','sum','notes'])\n\
        for k in sorted(g): w.writerow([k,g[k][0],'%.2f'%g[k][1],len(g[k][2])])\n";
    let script = dir.write("oracle.py", script);
    let clean = large(40_000);
    // With a stray quote in the middle of it, which Python takes as it comes.
    let stray = clean.replacen(",plain 20003", ",6\" of plain 20003", 1);
    for (name, text) in [("clean.csv", clean), ("stray.csv", stray)] {
        let file = dir.write(name, text);
        let ours = csv()
            .args(["--group-by", "city", "--agg", "n=count", "--agg", "sum=sum(price)"])
            .args(["--agg", "notes=distinct(note)"])
            .arg(&file)
            .run()
            .exits(0);
        let python = TestCommand::new("python3").arg(&script).arg(&file).run().exits(0);
        let rows = |text: String| {
            let rows =
                text.lines().skip(1).map(|line| line.rsplitn(4, ',').map(str::to_owned).collect::<Vec<_>>());
            rows.map(|mut row| (row.pop().unwrap(), row)).collect::<BTreeMap<_, _>>()
        };
        let (ours, theirs) = (rows(ours.text()), rows(python.text()));
        assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
        for (city, theirs) in theirs {
            let number = |text: &str| text.parse::<f64>().unwrap();
            let ours = &ours[&city];
            assert_eq!((number(&ours[1]), &ours[2]), (number(&theirs[1]), &theirs[2]), "{name} {city}");
            let off = number(&ours[0]) / number(&theirs[0]) - 1.0;
            assert!(off.abs() < 0.04, "{name} {city}: {} for {}", ours[0], theirs[0]);
        }
    }
}

#[test]
fn a_stray_quote_is_said_and_the_file_is_read_in_one_pass() {
    let dir = Dir::new();
    let file = dir.write("s.csv", large(60_000).replacen(",plain 30003", ",6\" of plain 30003", 1));
    let other = dir.write("t.csv", large(60_000));
    let run = csv().arg(&file).arg(&other).args(["--agg", "n=count", "--agg", "s=sum(id)"]).run().exits(0);
    assert_eq!(run.text(), format!("n,s\n120000,{}\n", 59_999_u64 * 60_000));
    // The header, 30,003 rows, and a line more for every fifth.
    says(&run, &["s.csv:36006: a quote inside of a cell", "read in one pass by one worker"]);
    assert!(!run.stderr.contains("t.csv"), "{run}");
}

#[test]
fn what_is_long_is_no_matter_where_it_is_not_used() {
    let dir = Dir::new();
    let long = "line\n".repeat(800_000);
    let text = format!("id,text\n1,\"{long}\"\n2,x\n3,\"{long}\"\n{}", "4,y\n".repeat(400_000));
    let file = dir.write("long.csv", text);
    let run = csv().arg(&file).args(["--agg", "n=count", "--agg", "s=sum(id)"]).run().exits(0);
    assert_eq!(run.text(), "n,s\n400003,1600006\n");
    let run = csv().arg(&file).args(["--agg", "n=count(text)"]).run().exits(0);
    assert_eq!(run.text(), "n\n400001\n");
    says(&run, &["long.csv:2: text has more than a MiB", "2 rows of 400,003 not used"]);
}

#[test]
fn bad_rows_are_counted_shown_and_fail_if_asked() {
    let dir = Dir::new();
    let rows: String =
        (0..30).map(|n| if n % 2 == 0 { format!("{n},ok\n") } else { format!("x{n},\"a\nb\"\n") }).collect();
    let file = dir.write("bad.csv", format!("n,t\n{rows}7\n"));
    let out = dir.path("out.csv");
    let run = csv().arg(&file).args(["--agg", "s=sum(n)"]).arg("-o").arg(&out).run().exits(0);
    says(
        &run,
        &["bad.csv:3: n is \"x1\", which is no number", "16 rows of 31 not used (the first 10 above)"],
    );
    assert_eq!(dir.read("out.csv"), "s\n210\n");
    // What is not asked for need not be a number.
    let run = csv().arg(&file).args(["--agg", "n=count"]).run().exits(0);
    says(&run, &["bad.csv:47: 1 cell where there should be 2", "1 row of 31 not used"]);
    assert_eq!(run.text(), "n\n30\n");
    let strict = dir.path("strict.csv");
    let run = csv().arg(&file).args(["--agg", "s=sum(n)", "--strict"]).arg("-o").arg(&strict).run().exits(1);
    says(&run, &["nothing was written: --strict, and 16 rows bad"]);
    assert!(!strict.exists());
}

/// A file somebody sent must not move the cursor of who reads it.
#[test]
fn what_a_bad_cell_holds_is_shown_without_its_control_characters() {
    let dir = Dir::new();
    let file = dir.write("n.csv", b"city,price\nRome,\x003\nOslo,\x1b[31m4\nLyon,5\n");
    let run = csv().arg(&file).args(["--group-by", "city", "--agg", "sum(price)"]).run().exits(0);
    says(&run, &["n.csv:2: price is \"\u{fffd}3\"", "n.csv:3: price is \"\u{fffd}[31m4\"", "2 rows of 3"]);
    assert_eq!(run.text(), "city,sum(price)\nLyon,5\n");
}

#[test]
fn a_cell_of_a_hundred_megabytes_costs_its_row_and_no_memory() {
    let dir = Dir::new();
    let huge = "9".repeat(100_000_000);
    for (cell, quoted) in [(&huge, false), (&huge, true)] {
        let cell = if quoted { format!("\"{cell}\"") } else { cell.clone() };
        let file = dir.write("huge.csv", format!("id,text\n1,a\n{cell},b\n3,c\n"));
        let summary_file = dir.path("s.json");
        let run = csv().arg(&file).args(["--agg", "n=count", "--agg", "sum(id)"]).arg("--summary");
        let run = run.arg(&summary_file).run().exits(0);
        assert_eq!(run.text(), "n,sum(id)\n2,4\n");
        says(&run, &["huge.csv:3: id has more than a MiB, and is used", "1 row of 3 not used"]);
        let most = summary(&dir, "s.json")["per_worker"][0]["rss_bytes_max"].as_u64().unwrap();
        // The file is mapped, and what was read of it counts as resident: hence no tight bound.
        assert!(most < 100_000_000, "{most}: {run}");
    }
}

#[test]
fn packed_and_encoded_files_read_the_same() {
    let dir = Dir::new();
    let text = large(30_000);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let utf16: Vec<u8> =
        std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let (latin, _, _) = encoding_rs::WINDOWS_1252.encode(&text);
    let files = [
        (dir.write("a.csv", &text), None),
        (dir.write("b.csv", format!("\u{feff}{}", text.replace('\n', "\r\n"))), None),
        (dir.write("c.csv", text.replace('\n', "\r")), None),
        (dir.write("a.csv.gz", gzip.finish().unwrap()), None),
        (dir.write("a.csv.zst", zstd::stream::encode_all(text.as_bytes(), 1).unwrap()), None),
        (dir.write("utf16.csv", utf16), None),
        (dir.write("latin.csv", latin), Some("latin1")),
        (
            dir.write(
                "a.tsv",
                text.replace("\"New York, \"\"NY\"\"\"", "NY").replace("a, comma", "a").replace(',', "\t"),
            ),
            None,
        ),
    ];
    let table = |file: &Path, encoding: Option<&str>| {
        let mut command = csv().args(["--group-by", "city"]).args(AGGREGATES).arg(file);
        if let Some(encoding) = encoding {
            command = command.args(["--encoding", encoding]);
        }
        let run = command.run().exits(0);
        assert!(run.stderr.is_empty(), "{run}");
        run.text()
    };
    let tables: Vec<String> = files.iter().map(|(file, encoding)| table(file, *encoding)).collect();
    let (tsv, others) = tables.split_last().unwrap();
    for (other, (file, _)) in others.iter().zip(&files) {
        // Where a file cannot be cut, rounding has gone another way.
        let exact = |table: &str| {
            table.lines().map(|line| line.rsplitn(4, ',').last().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(exact(other), exact(&others[0]), "{}", file.display());
    }
    assert_eq!(tsv.replace("NY,", "\"New York, \"\"NY\"\"\",").lines().count(), 5);
    // Several at once, of all kinds.
    let run =
        csv().args(["--agg", "n=count"]).arg(&files[0].0).arg(&files[3].0).arg(&files[5].0).run().exits(0);
    assert_eq!(run.text(), "n\n90000\n");
}

#[test]
fn what_makes_no_sense_is_refused_with_what_was_probably_meant() {
    let dir = Dir::new();
    let file = dir.write("a.csv", "city,price\nRome,1\n");
    dir.write("empty.csv", "");
    dir.write("blank.csv", "\n\r\n");
    dir.write("semicolons.csv", "id;value\n1;2\n");
    dir.write("odd.csv", "\u{1b}[31m,,\"c,d\"\n");
    dir.write("twice.csv", "x,x\n1,2\n");
    dir.write("out.csv", "");
    dir.write("torn.csv.gz", b"\x1f\x8b\x08\x00nothing");
    let path = |name: &str| dir.path(name).to_str().unwrap().to_owned();
    let file = file.to_str().unwrap();
    let table: [(i32, &[&str], &str); 19] = [
        (2, &[], "at least one file"),
        (2, &[file, "--group-by", "citty"], "no column \"citty\"; did you mean \"city\"?"),
        (2, &[file, "--agg", "s=summ(price)"], "did you mean sum?"),
        (2, &[file, "--agg", "sum(prize)"], "did you mean \"price\"?"),
        (2, &[file, "--where", "price"], "no operator"),
        (2, &[file, "--where", "pricy > 3"], "did you mean \"price\"?"),
        (2, &[file, "--delimiter", "ab"], "give one character"),
        (2, &[file, "--encoding", "utf-88"], "did you mean utf-8?"),
        (2, &[file, "--groups-max", "0"], "give a whole number"),
        (2, &[file, "--group-by", "city", "--agg", "city=count"], "are called \"city\""),
        (2, &[file, "-o", &path("x.parquet")], "as .parquet"),
        (2, &[&path("twice.csv"), "--agg", "sum(x)"], "columns 1 and 2 are both called \"x\""),
        (
            2,
            &[&path("semicolons.csv"), "--agg", "sum(value)"],
            "it has a single column, \"id;value\"; is --delimiter ';' missing?",
        ),
        (2, &[&path("odd.csv"), "--agg", "sum(price)"], "its columns are: \"\\u{1b}[31m\", \"\", \"c,d\""),
        (1, &[&path("blank.csv")], "is empty; it has no header"),
        (1, &[&path("empty.csv")], "is empty; it has no header"),
        (1, &[&path("missing.csv")], "missing.csv: No such file"),
        (1, &[&path("")], "is a directory"),
        (1, &[file, "-o", &path("out.csv")], "replace it with --overwrite"),
    ];
    for (code, arguments, part) in table {
        let run = csv().args(arguments).run().exits(code);
        says(&run, &[part]);
    }
    csv().arg(path("torn.csv.gz")).run().exits(1);
}

#[test]
fn odd_files_are_no_trouble() {
    let dir = Dir::new();
    let check = |contents: &[u8], arguments: &[&str], want: &str| {
        let file = dir.write("odd.csv", contents);
        let run = csv().arg(file).args(arguments).run().exits(0);
        assert_eq!(run.text(), want, "{arguments:?}");
    };
    check(b"a,b\n", &["--agg", "n=count", "--agg", "s=sum(a)"], "n,s\n0,\n");
    check(b"a,b", &[], "count\n0\n");
    check(b"a,b\n1,2\n", &["--where", "a > 1", "--agg", "max(a)"], "max(a)\n\"\"\n");
    check(b"a,b\n", &["--group-by", "a"], "a,count\n");
    check(b"a,b\n1,x\0y\n1,x\0y\n", &["--group-by", "b"], "b,count\nx\0y,2\n");
    check(b"5;x\n6;y", &["--no-header", "--delimiter", ";", "--agg", "s=sum(1)"], "s\n11\n");
    check(b"a,b\n1,\xe9\n", &["--group-by", "b", "--encoding", "latin1"], "b,count\né,1\n");
    // As it stood, where nobody said what it means.
    let file = dir.write("odd.csv", b"a,b\n1,\xff\n");
    assert_eq!(csv().arg(file).args(["--group-by", "b"]).run().exits(0).stdout, b"b,count\n\xff,1\n");
    check(b"a\n\n1\n\n\n2\n", &["--agg", "s=sum(a)"], "s\n3\n");
    let json = dir.path("out.jsonl");
    let file = dir.write("odd.csv", "a,b\n1,x\n2,\"y\"\"\"\n");
    csv().arg(file).args(["--group-by", "b", "--agg", "s=sum(a)"]).arg("-o").arg(&json).run().exits(0);
    assert_eq!(dir.read("out.jsonl"), "{\"b\":\"x\",\"s\":1}\n{\"b\":\"y\\\"\",\"s\":2}\n");
}

#[test]
fn too_many_groups_are_an_error_that_says_what_to_do() {
    let dir = Dir::new();
    let file = dir.write("large.csv", large(60_000));
    let run = csv().arg(&file).args(["--group-by", "id", "--groups-max", "1000"]).run().exits(1);
    says(&run, &["more than 1,000 groups", "--groups-max"]);
    let run = csv().arg(&file).args(["--group-by", "id"]).run().exits(0);
    assert_eq!(run.text().lines().count(), 60_001);
    assert_eq!(run.text().lines().nth(10_000), Some("9999,1"), "sorted as numbers");
}

/// A worker that dies on a part is tried three times; then the run fails, for an aggregate without it would be a lie.
#[test]
fn a_part_that_kills_fails_the_run_and_names_itself() {
    let dir = Dir::new();
    let file = dir.write("poison=segfault.csv", large(30_000));
    let out = dir.path("out.csv");
    let run = csv().arg(file).args(["--agg", "n=count"]).arg("-o").arg(&out).run().exits(1);
    says(&run, &["poison=segfault.csv, bytes ", "SIGSEGV", "nothing was written"]);
    assert!(!out.exists());
}

/// Killed at any instant: no output, or all of it.
#[test]
fn a_killed_run_leaves_no_half_table() {
    let dir = Dir::new();
    let file = dir.write("large.csv", large(200_000));
    let whole = csv().args(["--group-by", "id"]).arg(&file).run().exits(0).text();
    for n in 0..6_u32 {
        let out = dir.path(format!("out{n}.csv"));
        let running = csv().args(["--group-by", "id"]).arg(&file).arg("-o").arg(&out).spawn();
        // At the beginning, in the middle, near the end: whenever so many workers were seen.
        let mut seen = 0;
        running.until("some moment", || {
            seen += running.workers().len();
            (seen > n as usize || running.has_ended()).then_some(())
        });
        if !running.has_ended() {
            running.signal(Signal::SIGKILL);
        }
        running.wait();
        if let Ok(text) = std::fs::read_to_string(&out) {
            assert!(text == whole, "half a table of {} bytes", text.len());
        }
    }
}

#[test]
fn a_signal_stops_at_once_and_writes_nothing() {
    let dir = Dir::new();
    let file = dir.write("poison=spin.csv", large(30_000));
    let out = dir.path("out.csv");
    let running = csv().arg(file).args(["--agg", "n=count"]).arg("-o").arg(&out).spawn();
    running.wait_for_workers(2);
    running.signal(Signal::SIGINT);
    let run = running.wait().exits(130);
    says(&run, &["stopped by SIGINT: nothing was written"]);
    assert!(!out.exists());
}
