//! What users name that is not simply a file under a plain name: descriptors, pipes, links, names that are not
//! UTF-8, files that change. Either the data or a refusal in words; nothing means something else in a worker.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;

use crate::harness::{Dir, MODES, Origin, Output, TestCommand, by_id, fetch, kind, parse, supervisor};

const TITLE: [&str; 2] = ["--select", "title=title"];

fn csv() -> TestCommand {
    supervisor().args(["--workers", "2", "csv"])
}

/// Lets bash run the supervisor, which is `$0`, for what only a shell does.
fn bash(script: &str) -> TestCommand {
    let program = crate::harness::supervisor_path();
    TestCommand::new("bash").args(["-c", script]).arg(program)
}

fn titled(title: &str) -> String {
    format!("<!DOCTYPE html><title>{title}</title>")
}

/// Each record's path with its title, or the kind and the message of its error.
fn titles(run: &Output) -> Vec<(String, String)> {
    let seen = |record: &Value| {
        let path = record["path"].as_str().unwrap().to_owned();
        let error = || format!("{}: {}", kind(record), record["error"]["message"]);
        (path, record["fields"]["title"].as_str().map_or_else(error, str::to_owned))
    };
    by_id(run.records()).values().map(seen).collect()
}

/// More than a pipe holds, and several ranges.
fn rows(count: u64) -> String {
    (0..count).fold(String::from("id,text\n"), |text, id| text + &format!("{id},\"row number {id}\"\n"))
}

#[test]
fn csv_reads_standard_input_and_pipes_under_all_their_names() {
    let dir = Dir::new();
    let text = rows(100_000);
    let file = dir.write("a.csv", &text);
    let sum = ["--agg", "n=count", "--agg", "s=sum(id)"];
    let want = "n,s\n100000,4999950000\n";
    for name in ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"] {
        let run = csv().arg(name).args(sum).stdin(text.as_bytes()).run().exits(0);
        assert_eq!(run.text(), want, "{name}: {run}");
    }
    // Redirected from a file, which is read from where the shell has it.
    for script in [
        r#""$0" csv - "${@:2}" < "$1""#,
        r#""$0" csv /dev/stdin "${@:2}" < "$1""#,
        r#""$0" csv <(cat "$1") "${@:2}""#,
        r#""$0" csv /dev/fd/7 "${@:2}" 7< "$1""#,
    ] {
        let run = bash(script).arg(&file).args(sum).run().exits(0);
        assert_eq!(run.text(), want, "{script}: {run}");
    }
    let pipe = dir.path("pipe.csv");
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    let writer = TestCommand::new("cp").arg(&file).arg(&pipe).spawn();
    let run = csv().arg(&pipe).args(sum).run().exits(0);
    writer.wait().exits(0);
    assert_eq!(run.text(), want, "{run}");
    // With a stray quote it is read twice.
    let stray = text.replacen("\"row number 70000\"", "6\" of row 70000", 1);
    let run = csv().arg("/dev/stdin").args(sum).stdin(stray).run().exits(0);
    assert_eq!(run.text(), want, "{run}");
    assert!(run.stderr.contains("read in one pass"), "{run}");
    // Bad rows are named by their lines, also where there is nothing left to count them in.
    let bad = text.replacen("\n70000,", "\nno number,", 1);
    let run = csv().arg("/dev/stdin").args(sum).stdin(bad.as_bytes()).run().exits(0);
    assert!(run.stderr.contains("/dev/stdin:70002: id is \"no number\""), "{run}");
    let writer = TestCommand::new("dd").arg(format!("of={}", pipe.display())).stdin(bad).spawn();
    let run = csv().arg(&pipe).args(sum).run().exits(0);
    writer.wait().exits(0);
    assert!(run.stderr.contains("pipe.csv:70002: id is"), "{run}");
    csv().arg("-").stdin("").run().exits(1).says("standard input is empty");
    csv().arg("/dev/fd/99").run().exits(1).says("descriptor 99 was not open");
    csv().args(["-", "-"]).stdin(text).run().exits(2).says("only once");
    csv().arg("/dev/null").run().exits(1).says("is a device");
    assert_eq!(dir.names(), ["a.csv", "pipe.csv"]);
}

#[test]
fn a_file_without_a_size_is_read_like_a_pipe() {
    // The first line is no header, but that is what it is taken for.
    let lines = fs::read_to_string("/proc/filesystems").unwrap().lines().count();
    let run = csv().args(["/proc/filesystems", "--no-header", "--delimiter", "tab"]).run().exits(0);
    assert_eq!(run.text(), format!("count\n{lines}\n"), "{run}");
    let run = parse().args(["/proc/version", "--select", "text=xpath:string(/)"]).run().exits(0);
    assert!(run.records()[0]["fields"]["text"].as_str().unwrap().starts_with("Linux"), "{run}");
    assert!(run.records()[0]["bytes"].as_u64().unwrap() > 10, "{run}");
    let run = parse().args(TITLE).args(["--body-bytes-max", "5", "/proc/version"]).run().exits(3);
    assert_eq!(kind(&run.records()[0]), "too_large");
}

#[test]
fn parse_reads_what_is_named_and_never_its_own_input() {
    let dir = Dir::new();
    let page = dir.write("page.html", titled("Page"));
    for mode in MODES {
        for name in ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"] {
            let run = parse().args(["--mode", mode]).args(TITLE).args([name, name]);
            let run = run.stdin(titled("Piped")).run().exits(0);
            assert_eq!(titles(&run), vec![(name.to_owned(), "Piped".to_owned()); 2], "{mode}: {run}");
        }
    }
    for script in [
        r#""$0" parse --select title=title <(cat "$1")"#,
        r#""$0" parse --select title=title /dev/fd/8 8< "$1""#,
    ] {
        let run = bash(script).arg(&page).run().exits(0);
        assert_eq!(titles(&run)[0].1, "Page", "{script}: {run}");
    }
    // A directory by its descriptor, and the file that a link leads to.
    let run = bash(r#""$0" parse --select title=title /dev/fd/8 8< "$1""#).arg(dir.root()).run().exits(0);
    assert_eq!(titles(&run)[0].1, "Page", "{run}");
    parse().args(TITLE).arg("/dev/fd/99").run().exits(1).says("descriptor 99 was not open");
    // In a list, and below a directory, it is refused.
    let list = dir.write("list.txt", format!("/dev/stdin\n{}\n/proc/self/status\n", page.display()));
    symlink("/dev/stdin", dir.path("stdin.html")).unwrap();
    let run = parse().args(TITLE).arg("-i").arg(list).stdin(titled("No")).run().exits(3);
    let got = titles(&run);
    assert!(got[0].1.contains("something else in each process") && got[1].1 == "Page", "{run}");
    assert!(got[2].1.contains("something else in each process"), "{run}");
    let script = r#""$0" parse --select title=title "$1" < "$1/page.html""#;
    let run = bash(script).arg(dir.root()).run().exits(3);
    let got = titles(&run);
    assert!(got[0].1 == "Page" && got[1].1.contains("something else in each process"), "{run}");
}

#[test]
fn lists_may_come_through_descriptors() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let list = dir.write("urls", format!("{}\n", origin.url("/site/page/1")));
    for name in ["/dev/stdin", "/proc/self/fd/0"] {
        let run = fetch().args(["-i", name]).stdin(fs::read(&list).unwrap()).run().exits(0);
        assert_eq!(run.records().len(), 1, "{run}");
        let run = supervisor().args(["map", "-i", name, "--", "cat"]).stdin("1\n2\n").run().exits(0);
        assert_eq!(run.records().len(), 2, "{run}");
        supervisor().args(["compare", "fetch", "-i", name]).stdin("").run().exits(2).says("only once");
    }
    for script in [r#""$0" fetch -i <(cat "$1")"#, r#""$0" map -i <(echo 1; echo 2) -- cat"#] {
        bash(script).arg(&list).run().exits(0);
    }
}

/// The bytes of names are what the kernel knows; only what is shown is made text of.
#[test]
fn names_need_not_be_utf8_wherever_they_stand() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let odd = dir.path(OsStr::from_bytes(b"caf\xe9 \xff"));
    fs::create_dir(&odd).unwrap();
    let name = |name: &[u8]| odd.join(OsStr::from_bytes(name));
    fs::write(name(b"\xfe.html"), titled("Odd")).unwrap();
    fs::write(name(b"\xfe.csv"), rows(60_000)).unwrap();
    fs::write(name(b"\xfe.txt"), format!("{}\n", origin.url("/site/page/1"))).unwrap();
    let tmp = name(b"tmp\xfe");
    fs::create_dir(&tmp).unwrap();
    for mode in MODES {
        let run = parse().args(["--mode", mode]).args(TITLE).arg(name(b"\xfe.html")).arg(&odd);
        let run = run.env("TMPDIR", &tmp).current_dir(&odd).run().exits(0);
        assert_eq!(run.records().len(), 2, "{run}");
        let got = titles(&run);
        assert!(got.iter().all(|(path, title)| title == "Odd" && path.contains('\u{fffd}')), "{run}");
    }
    let run = csv().args(["--agg", "n=count"]).arg(name(b"\xfe.csv")).env("TMPDIR", &tmp).run().exits(0);
    assert_eq!(run.text(), "n\n60000\n", "{run}");
    for format in ["jsonl", "csv", "csv.gz", "tsv.zst", "parquet", "sqlite", "warc.gz"] {
        let out = name(format!("out.{format}").as_bytes());
        let mut odd_out = out.clone().into_os_string();
        odd_out.push(OsStr::from_bytes(b"\xff"));
        let run = fetch().args(["--format", format, "-i"]).arg(name(b"\xfe.txt")).arg("-o").arg(&odd_out);
        let run = run.arg("--summary").arg(name(b"s\xff.json")).arg("--report").arg(name(b"r\xff.html"));
        run.env("TMPDIR", &tmp).current_dir(&odd).run().exits(0);
        assert!(fs::metadata(&odd_out).unwrap().len() > 0, "{format}");
    }
    // What is no name of a file is refused, with a record or as a whole.
    let run = fetch().arg(OsStr::from_bytes(b"http://127.0.0.1:1/\xff")).run().exits(3);
    assert_eq!(kind(&run.records()[0]), "invalid_url");
    let run = fetch().arg("--select").arg(OsStr::from_bytes(b"x=\xff")).arg("http://127.0.0.1:1/").run();
    run.exits(2).says("UTF-8");
    supervisor().arg(OsStr::from_bytes(b"\xff")).run().exits(2);
    fetch().env("MUSTER_MODE", OsStr::from_bytes(b"\xff")).arg("http://127.0.0.1:1/").run().exits(2);
}

/// A dataset made of links, as git-annex makes one.
#[test]
fn links_that_lead_out_of_a_directory_are_followed() {
    let (dir, elsewhere) = (Dir::new(), Dir::new());
    fs::create_dir(dir.path("tree")).unwrap();
    for (name, title) in [("objects/1.bin", "One"), ("dir/2.html", "Two"), ("dir/below/3.html", "Three")] {
        elsewhere.write(name, titled(title));
    }
    let link = |target: PathBuf, name: &str| symlink(target, dir.path("tree").join(name)).unwrap();
    link(elsewhere.path("objects/1.bin"), "one.html");
    link("one.html".into(), "chain.html");
    link(elsewhere.path("dir"), "linked");
    link(".".into(), "loop");
    symlink(dir.path("tree"), elsewhere.path("dir/back")).unwrap();
    let want = ["One", "Two", "Three", "One"].map(str::to_owned);
    for (mode, sandbox) in
        [("both", "auto"), ("parallel", "auto"), ("sequential", "off"), ("concurrent", "auto")]
    {
        let run = parse().args(["--mode", mode, "--sandbox", sandbox, "--ordered"]).args(TITLE);
        let run = run.arg(dir.path("tree")).run().exits(0);
        let mut got: Vec<_> = titles(&run).into_iter().map(|(_, title)| title).collect();
        let mut want = want.clone();
        got.sort();
        want.sort();
        assert_eq!(got, want, "{mode}: {run}");
    }
    let run =
        parse().args(TITLE).arg(dir.path("tree/chain.html")).arg(dir.path("tree/linked")).run().exits(0);
    // From there the way back to the tree is no loop yet.
    assert_eq!(run.records().len(), 5, "{run}");
}

/// Holds the reading of a file up, and lets it go on.
fn slow_csv(dir: &Dir, name: &str) -> (PathBuf, crate::harness::Running, File) {
    let file = dir.write(name, rows(60_000));
    // The header of the second is waited for while the first has been looked at.
    let gate = dir.path(format!("{name}.gate"));
    mkfifo(&gate, Mode::S_IRWXU).unwrap();
    let run =
        csv().args(["--agg", "n=count"]).arg(&file).arg(&gate).arg("-o").arg(dir.path("out.csv")).spawn();
    let writer = OpenOptions::new().write(true).open(&gate).unwrap();
    (file, run, writer)
}

#[test]
fn a_file_that_changes_while_it_is_read_ends_the_run() {
    type Change = fn(&Path);
    let changes: [(&str, Change, &str); 5] = [
        (
            "grown.csv",
            |path| drop(OpenOptions::new().append(true).open(path).unwrap().write_all(b"1,x\n")),
            "it grew",
        ),
        (
            "cut.csv",
            |path| OpenOptions::new().write(true).open(path).unwrap().set_len(500_000).unwrap(),
            "shorter",
        ),
        (
            "replaced.csv",
            |path| {
                fs::copy(path, path.with_extension("new")).unwrap();
                fs::rename(path.with_extension("new"), path).unwrap();
            },
            "another file",
        ),
        ("rewritten.csv", |path| fs::write(path, rows(60_000)).unwrap(), "it was modified"),
        ("removed.csv", |path| fs::remove_file(path).unwrap(), "No such file"),
    ];
    for (name, change, says) in changes {
        let dir = Dir::new();
        let (file, run, mut gate) = slow_csv(&dir, name);
        change(&file);
        gate.write_all(b"id,text\n1,x\n").unwrap();
        drop(gate);
        run.wait().exits(1).says(name).says(says);
        assert!(!dir.path("out.csv").exists());
    }
    let dir = Dir::new();
    let (_, run, mut gate) = slow_csv(&dir, "same.csv");
    gate.write_all(b"id,text\n1,x\n").unwrap();
    drop(gate);
    run.wait().exits(0);
    assert_eq!(dir.read("out.csv"), "n\n60001\n");
}

#[test]
fn each_file_is_read_by_its_own_name_and_its_own_mark() {
    let dir = Dir::new();
    let utf16 =
        |text: &str, bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<_>>();
    let marked = "\u{feff}city,n\né,1\n";
    let comma = dir.write("a.csv", "city,n\né,1\nb,2\n");
    let tab = dir.write("b.tsv", "n\tcity\n10\té\n");
    let big = dir.write("c.csv", utf16(marked, u16::to_be_bytes));
    let little = dir.write("d.csv", utf16(marked, u16::to_le_bytes));
    let latin = dir.write("e.csv", b"city,n\n\xe9,1\n");
    let eight = dir.write("f.csv", marked);
    let sums = ["--group-by", "city", "--agg", "s=sum(n)"];
    let run = csv().arg(&comma).arg(&tab).args(sums).run().exits(0);
    assert_eq!(run.text(), "city,s\nb,2\né,11\n");
    for encoding in ["utf-16", "utf-16le", "utf-16be", "windows-1252"] {
        let run =
            csv().args(["--encoding", encoding]).args(sums).args([&big, &little, &eight]).run().exits(0);
        assert_eq!(run.text(), "city,s\né,3\n", "{encoding}");
    }
    // Text that would be compared as it stands in one file is decoded where it does not stand so in all.
    let run = csv().args(["--encoding", "latin1"]).args(sums).args([&latin, &big, &eight]);
    let run = run.args(["--where", "city = é"]).run().exits(0);
    assert_eq!(run.text(), "city,s\né,3\n");
    let run = csv().args(["--encoding", "latin1"]).args(sums).arg(&latin).run().exits(0);
    assert_eq!(run.text(), "city,s\né,1\n");
    // Half a surrogate pair, in a cell and in a column that nobody asked for.
    let mut lone = utf16("\u{feff}city,n,x", u16::to_le_bytes);
    lone.extend([0x3d, 0xd8]);
    lone.extend(utf16("\na,1,", u16::to_le_bytes));
    lone.extend([0x3d, 0xd8]);
    lone.extend(utf16("\n", u16::to_le_bytes));
    let run = csv().arg(dir.write("lone.csv", lone)).args(sums).run().exits(0);
    assert_eq!((run.text().as_str(), run.stderr.as_str()), ("city,s\na,1\n", ""));
}

/// As gzip(1) reads it: without its trailer, and with zero bytes behind it.
#[test]
fn gzip_that_is_not_tidy_is_read() {
    let dir = Dir::new();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(rows(30_000).as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    for (name, bytes) in [
        ("cut.csv.gz", packed[..packed.len() - 8].to_vec()),
        ("half.csv.gz", packed[..packed.len() - 3].to_vec()),
        ("zeros.csv.gz", [&packed[..], &[0; 5000]].concat()),
    ] {
        let run = csv().arg(dir.write(name, bytes)).args(["--agg", "s=sum(id)"]).run().exits(0);
        assert_eq!(run.text(), "s\n449985000\n", "{name}");
    }
    // Where there is no name to say it, the first bytes do.
    let zstd = zstd::encode_all(rows(30_000).as_bytes(), 1).unwrap();
    for bytes in [&packed, &zstd] {
        let run = csv().args(["-", "--agg", "s=sum(id)"]).stdin(bytes.as_slice()).run().exits(0);
        assert_eq!(run.text(), "s\n449985000\n");
    }
    let torn = dir.write("torn.csv.gz", &packed[..packed.len() - 20]);
    csv().arg(torn).run().exits(1).says("it ends in the middle");
}

/// What a file of flags says is read once, also from a pipe.
#[test]
fn a_job_may_come_through_a_pipe() {
    let dir = Dir::new();
    let page = dir.write("page.html", titled("Page"));
    let job = format!("command = \"parse\"\npaths = [{page:?}]\nselect = [\"title=title\"]\n");
    let file = dir.write("job.toml", &job);
    for command in [&[][..], &["parse"]] {
        for name in ["/dev/stdin", "/dev/fd/0"] {
            let run = supervisor().args(command).args(["--job", name]).stdin(job.as_bytes()).run().exits(0);
            assert_eq!(titles(&run)[0].1, "Page", "{run}");
        }
    }
    let run = bash(r#""$0" --job <(cat "$1")"#).arg(file).run().exits(0);
    assert_eq!(titles(&run)[0].1, "Page", "{run}");
}

/// A byte order mark in two pieces, on a pipe.
#[test]
fn a_mark_may_come_in_two_pieces() {
    let dir = Dir::new();
    let url = Origin::shared().url("/site/page/1");
    let list = format!("url\n{url}\n");
    let utf16: Vec<u8> = format!("\u{feff}{list}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (name, bytes) in [("u8.csv", format!("\u{feff}{list}").into_bytes()), ("u16.csv", utf16)] {
        let pipe = dir.path(name);
        mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        let run = fetch().args(["--column", "url", "-i"]).arg(&pipe).spawn();
        let mut writer = OpenOptions::new().write(true).open(&pipe).unwrap();
        for byte in bytes {
            writer.write_all(&[byte]).unwrap();
        }
        drop(writer);
        let run = run.wait().exits(0);
        assert_eq!(run.records()[0]["url"], url.as_str(), "{run}");
    }
}
