//! Files as other programs write them: plain and dictionary pages, several row groups, nulls, and types that
//! are not text.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::super::kept::shown;
use super::*;

const SCHEMA: &str = "message m {
    optional binary url (UTF8);
    required int64 n;
    optional double score;
    optional int32 day (DATE);
    optional group who { optional binary name (UTF8); }
    repeated binary tags (UTF8);
}";

/// Writes `groups` row groups of `rows` rows; every third URL is null.
pub(in crate::source) fn write(directory: &Path, dictionary: bool, groups: usize, rows: usize) -> PathBuf {
    let path = directory.join("urls.parquet");
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(dictionary)
        .set_compression(parquet::basic::Compression::SNAPPY)
        .set_data_page_row_count_limit(100)
        .build();
    let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
    let mut writer =
        SerializedFileWriter::new(File::create(&path).unwrap(), schema, Arc::new(properties)).unwrap();
    for group in 0..groups {
        let numbers: Vec<usize> = (group * rows..(group + 1) * rows).collect();
        let there: Vec<usize> = numbers.iter().copied().filter(|n| n % 3 != 0).collect();
        let levels: Vec<i16> = numbers.iter().map(|n| i16::from(n % 3 != 0)).collect();
        let mut out = writer.next_row_group().unwrap();
        let text = |n: &usize| ByteArray::from(format!(" http://a/{n} ").into_bytes());
        let texts: Vec<_> = there.iter().map(text).collect();
        let mut column = out.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&texts, Some(&levels), None).unwrap();
        column.close().unwrap();
        let longs: Vec<_> = numbers.iter().map(|&n| i64::try_from(n).unwrap() << 40).collect();
        let mut column = out.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&longs, None, None).unwrap();
        column.close().unwrap();
        let doubles: Vec<_> = there.iter().map(|&n| if n == 1 { f64::NAN } else { 0.5 }).collect();
        let mut column = out.next_column().unwrap().unwrap();
        column.typed::<DoubleType>().write_batch(&doubles, Some(&levels), None).unwrap();
        column.close().unwrap();
        let mut column = out.next_column().unwrap().unwrap();
        column.typed::<Int32Type>().write_batch(&vec![1; there.len()], Some(&levels), None).unwrap();
        column.close().unwrap();
        let (names, twos): (Vec<_>, Vec<i16>) =
            (vec![ByteArray::from("x\"y"); there.len()], levels.iter().map(|level| level * 2).collect());
        let mut column = out.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&names, Some(&twos), None).unwrap();
        column.close().unwrap();
        let zeros = vec![0; rows];
        let mut column = out.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&[], Some(&zeros), Some(&zeros)).unwrap();
        column.close().unwrap();
        out.close().unwrap();
    }
    writer.close().unwrap();
    path
}

fn columns(keep: &[&str]) -> Columns {
    Columns { keep: keep.iter().map(|&name| name.to_owned()).collect(), ..Columns::from("url") }
}

#[test]
fn every_row_gives_its_value_and_what_is_kept_of_it() {
    let directory = tempfile::tempdir().unwrap();
    for (dictionary, groups, rows) in [(true, 3, 1500), (false, 1, 2500), (true, 4, 1), (true, 0, 0)] {
        let path = write(directory.path(), dictionary, groups, rows);
        let mut feed =
            ParquetFeed::open(ListFile::open(&path).unwrap(), &columns(&["n", "score", "day", "who.name"]))
                .unwrap();
        for n in 0..groups * rows {
            let candidate = feed.next().unwrap().unwrap();
            assert_eq!(feed.row(), n as u64 + 1);
            let (input, kept) = (String::from_utf8(candidate.input).unwrap(), shown(&candidate.kept));
            let long = n << 40;
            if n % 3 == 0 {
                assert_eq!(kept, format!("{{\"n\":{long},\"score\":null,\"day\":null,\"who.name\":null}}"));
                let why = format!("row {} has an empty \"url\"", n + 1);
                assert_eq!((input.as_str(), candidate.refused.as_deref()), ("", Some(why.as_str())));
            } else {
                let score = if n == 1 { "null" } else { "0.5" };
                let rest = "\"day\":\"1970-01-02\",\"who.name\":\"x\\\"y\"";
                assert_eq!(kept, format!("{{\"n\":{long},\"score\":{score},{rest}}}"));
                assert_eq!((input, candidate.refused), (format!("http://a/{n}"), None));
            }
        }
        assert_eq!(feed.next().unwrap(), None);
        assert_eq!(feed.bytes_read(), if rows == 0 { 0 } else { fs::metadata(&path).unwrap().len() });
    }
}

#[test]
fn columns_that_will_not_do_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), true, 1, 10);
    for (input, keep, says) in [
        ("urls", &[][..], "no column \"urls\" in its schema; did you mean \"url\"?"),
        ("url", &["who.nam"], "no column \"who.nam\" in its schema; did you mean \"who.name\"?"),
        ("n", &[], "column \"n\" holds INT64, but inputs must be text"),
        ("tags", &[], "column \"tags\" holds lists"),
        ("url", &["tags"], "column \"tags\" holds lists"),
    ] {
        let error = ParquetFeed::open(
            ListFile::open(&path).unwrap(),
            &Columns { input: Some(input.to_owned()), ..columns(keep) },
        );
        let error = error.err().unwrap().to_string();
        assert!(error.contains(says), "{error}");
    }
}

/// With one wrong byte at any position, each file is refused or read, without a panic.
#[test]
fn a_damaged_file_is_an_error_at_worst() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), true, 1, 40);
    let good = fs::read(&path).unwrap();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut failed = 0;
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0xff;
        fs::write(&path, &bad).unwrap();
        let Ok(mut feed) = ParquetFeed::open(ListFile::open(&path).unwrap(), &columns(&["n"])) else {
            failed += 1;
            continue;
        };
        // A file cannot have more rows than bits.
        for _ in 0..good.len() * 8 {
            match feed.next() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => {
                    failed += 1;
                    break;
                }
            }
        }
    }
    std::panic::set_hook(hook);
    assert!(failed > good.len() / 10, "{failed} of {}", good.len());
    fs::write(&path, &good[..good.len() - 5]).unwrap();
    assert!(ParquetFeed::open(ListFile::open(&path).unwrap(), &columns(&[])).is_err());
}
