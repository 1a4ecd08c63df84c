//! Outputs that are links, descriptors and devices: what a link leads to is written and the link stays, and a
//! descriptor is written to as it is.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::harness::{Dir, Origin, TestCommand, fetch, parse_lines, supervisor};

const FORMATS: [&str; 9] =
    ["jsonl", "jsonl.gz", "csv", "csv.gz", "tsv.zst", "parquet", "sqlite", "warc", "warc.gz"];

/// Those that are written from front to back.
const STREAMED: [&str; 4] = ["jsonl", "jsonl.gz", "csv", "tsv.zst"];

fn bash(script: &str) -> TestCommand {
    TestCommand::new("bash").args(["-c", script]).arg(crate::harness::supervisor_path())
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).unwrap().is_symlink()
}

#[test]
fn what_a_link_leads_to_is_written_and_the_link_stays() {
    let (origin, dir, elsewhere) = (Origin::shared(), Dir::new(), Dir::new());
    for format in FORMATS {
        let name = format!("out.{format}");
        let (link, chain, target) =
            (dir.path(&name), dir.path(format!("chain.{name}")), elsewhere.path(&name));
        symlink(&target, &link).unwrap();
        symlink(&name, &chain).unwrap();
        // At first it leads nowhere, then to what is there.
        for flags in [&[][..], &["--overwrite"]] {
            let run =
                fetch().args(flags).arg("-o").arg(&chain).arg(origin.url("/site/page/1")).run().exits(0);
            assert!(is_link(&link) && is_link(&chain) && !is_link(&target), "{format}: {run}");
            assert!(fs::metadata(&target).unwrap().len() > 0, "{format}: {run}");
        }
        fetch().arg("-o").arg(&link).arg(origin.url("/site/page/1")).run().exits(1).says("exists");
        assert_eq!(elsewhere.names(), [name], "{format}");
        fs::remove_file(target).unwrap();
    }
    assert_eq!(dir.names().len(), 2 * FORMATS.len(), "{:?}", dir.names());
}

#[test]
fn a_table_and_what_is_said_about_a_run_follow_links_too() {
    let (dir, elsewhere) = (Dir::new(), Dir::new());
    let file = dir.write("in.csv", "a\n1\n");
    for name in ["t.csv", "t.csv.gz", "s.json", "r.html"] {
        symlink(elsewhere.path(name), dir.path(name)).unwrap();
    }
    for table in ["t.csv", "t.csv.gz"] {
        let run = supervisor().arg("csv").arg(&file).arg("-o").arg(dir.path(table)).arg("--overwrite");
        let run = run.arg("--summary").arg(dir.path("s.json")).arg("--report").arg(dir.path("r.html"));
        run.run().exits(0);
    }
    for name in ["t.csv", "t.csv.gz", "s.json", "r.html"] {
        assert!(is_link(&dir.path(name)) && !is_link(&elsewhere.path(name)), "{name}");
    }
    assert_eq!(elsewhere.read("t.csv"), "count\n1\n");
    let nowhere = dir.path("nowhere.jsonl");
    symlink("no/such/directory/x.jsonl", &nowhere).unwrap();
    let run = fetch().arg("-o").arg(nowhere).arg("http://127.0.0.1:1/").run();
    run.exits(1).says("does not exist");
}

#[test]
fn a_descriptor_is_a_stream() {
    let (origin, dir) = (Origin::shared(), Dir::new());
    let url = origin.url("/site/page/1");
    for name in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
        let piped = fetch().args(["-o", name, &url]).run().exits(0);
        assert_eq!(piped.records().len(), 1, "{piped}");
        // Redirected to a file that is there, and that somebody else writes to as well.
        let script = r#"{ echo before; "$0" fetch -o "$1" "$2"; echo after; } > "$3""#;
        bash(script).args([name, &url]).arg(dir.path("out")).run().exits(0);
        let text = dir.read("out");
        let lines: Vec<_> = text.lines().collect();
        assert!(lines.len() == 3 && lines[0] == "before" && lines[2] == "after", "{name}: {text}");
        assert_eq!(parse_lines(format!("{}\n", lines[1]).as_bytes()).len(), 1);
        let table = dir.write("in.csv", "a\n1\n");
        let script = r#"{ echo before; "$0" csv "$2" -o "$1"; echo after; } > "$3""#;
        bash(script).arg(name).arg(table).arg(dir.path("out")).run().exits(0);
        assert_eq!(dir.read("out"), "before\ncount\n1\nafter\n", "{name}");
    }
    // Any other, of a file, a pipe or a link; and the summary of the run.
    symlink("/dev/fd/5", dir.path("link.jsonl")).unwrap();
    for name in ["/dev/fd/5", dir.path("link.jsonl").to_str().unwrap()] {
        let script =
            r#"{ echo before >&5; "$0" fetch -o "$1" --summary /dev/fd/6 "$2" 6>/dev/stdout; } 5>"$3""#;
        let run = bash(script).args([name, &url]).arg(dir.path("out")).run().exits(0);
        assert!(run.text().contains("\"items\": 1"), "{run}");
        assert_eq!(dir.read("out").lines().count(), 2, "{name}");
    }
    for format in STREAMED {
        let script = r#""$0" fetch -o /dev/fd/5 --format "$1" "$2" 5> >(cat > "$3"; echo done > "$3.done")"#;
        bash(script).args([format, &url]).arg(dir.path(format)).run().exits(0);
    }
    fetch().args(["-o", "/dev/stderr", &url]).run().exits(0).says("\"url\":");
    fetch().args(["-o", "/dev/null", &url]).run().exits(0);
}

#[test]
fn what_cannot_be_a_stream_is_refused_in_words() {
    let dir = Dir::new();
    let pipe = dir.path("pipe.sqlite");
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    let run = |flags: &[&str]| fetch().args(flags).arg("http://127.0.0.1:1/").run();
    for format in ["parquet", "sqlite"] {
        for name in ["-", "/dev/stdout", "/dev/fd/2", "/dev/null", pipe.to_str().unwrap()] {
            run(&["--format", format, "-o", name]).exits(2).says("needs a regular file");
        }
    }
    run(&["-o", "/dev/fd/99"]).exits(1).says("descriptor 99 was not open");
    run(&["-o", "/dev/stdin"]).exits(1).says("open for reading only");
    run(&["-o", "/dev/stdout", "--resume"]).exits(2).says("--resume needs an output that is a file");
    run(&["-o", "/dev/stdout", "--split", "5"]).exits(2).says("--split needs a directory");
    run(&["-o", "/dev/stdout", "--manifest", "m.json"])
        .exits(2)
        .says("--manifest needs an output that is a file");
    run(&["--summary", "/dev/fd/99"]).exits(1).says("descriptor 99 was not open");
}
