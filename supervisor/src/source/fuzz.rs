//! Lists of every format, damaged in every way: each is read or refused, and gives only targets that may be sent.

use std::fs;

use crate::fuzz::fuzz;
use crate::plan::{Columns, ListReading};

use super::feed::Feed;
use super::packed::{ListFile, unpacked};
use super::remote::{ListFormat, is_sound};
use super::{Next, TargetKind};

/// Most targets of one list, which packed bytes may multiply.
const TARGETS: usize = 20_000;

/// Longest packed list. One byte may stand for 32 KiB, all of them blank lines, and those are read until they end.
const PACKED_BYTES: usize = 4096;

fn fuzz_list(name: &str, format: &ListFormat, kind: TargetKind, seeds: &[Vec<u8>]) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    let bytes_max = if unpacked(&path) == path { usize::MAX } else { PACKED_BYTES };
    fuzz(seeds, |bytes| {
        fs::write(&path, bytes.get(..bytes_max).unwrap_or(bytes)).unwrap();
        let list = ListFile::open(&path).unwrap();
        let Ok(mut feed) = Feed::list(list, format, kind, ListReading::default()) else { return };
        for _ in 0..TARGETS {
            match feed.next(64) {
                Ok(Next::Target(target)) => assert!(is_sound(&target, kind), "{target:?}"),
                Ok(Next::Later) => {}
                Ok(Next::End) | Err(_) => return,
            }
        }
    });
}

fn columns() -> Columns {
    Columns { keep: vec!["n".to_owned(), "s".to_owned()], ..Columns::from("url") }
}

#[test]
fn fuzz_csv() {
    let seeds = [
        "n,url,s\n1,http://a/,x\n2,\"http://b/?q=1,2\",\"two\nlines\"\n",
        "\u{feff}url\tn\ts\r\nhttp://a/\t1\t\r\n",
        "s,n,url\rx,1,http://a/\r",
    ];
    fuzz_list("a.csv", &ListFormat::Csv(columns()), TargetKind::Url, &seeds.map(|text| text.into()));
}

#[test]
fn fuzz_json_lines() {
    let seeds = [
        "{\"url\":\"http://a/\",\"n\":1e400,\"s\":{\"a\":[1,null]}}\n{\"url\":\"\\ud83d\\ude00\",\"n\":[]}\n",
        "{\"n\":-0.0,\"url\":\"\\ud800\"}\r\n\n{\"url\":1}\n[]\n",
    ];
    fuzz_list("a.jsonl", &ListFormat::Json(columns()), TargetKind::Url, &seeds.map(|text| text.into()));
}

#[test]
fn fuzz_lines() {
    let utf16: Vec<u8> = "\u{feff}http://a/é\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let seeds = [b"http://a/\n# no\n\n\xc2\xa0http://b/\r\n".to_vec(), utf16];
    for kind in [TargetKind::Url, TargetKind::Path, TargetKind::Lines] {
        fuzz_list("a.txt", &ListFormat::Lines, kind, &seeds);
    }
}

#[test]
fn fuzz_packed_lines() {
    use std::io::Write as _;
    let text = b"http://a/\n".repeat(50);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&text).unwrap();
    fuzz_list("a.gz", &ListFormat::Lines, TargetKind::Url, &[gzip.finish().unwrap()]);
    fuzz_list("a.zst", &ListFormat::Lines, TargetKind::Url, &[zstd::encode_all(&text[..], 3).unwrap()]);
}

#[cfg(feature = "parquet")]
#[test]
fn fuzz_parquet() {
    let directory = tempfile::tempdir().unwrap();
    let seeds = [(true, 2, 20), (false, 1, 300), (true, 0, 0)].map(|(dictionary, groups, rows)| {
        fs::read(super::parquet::tests::write(directory.path(), dictionary, groups, rows)).unwrap()
    });
    let columns = Columns { keep: ["n", "score", "day"].map(str::to_owned).into(), ..Columns::from("url") };
    fuzz_list("a.parquet", &ListFormat::Parquet(columns), TargetKind::Url, &seeds);
}
