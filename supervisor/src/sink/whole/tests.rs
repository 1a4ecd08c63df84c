//! Files that are made of records: when they have their names, what is in them, what else is left.

use shared::record::{ErrorKind, Record, RecordError};
use shared::table::{Delimited, Subject, Typed};

use super::*;

fn making(directory: &Path, name: &str, format: Format, split: Option<u64>) -> Making {
    Making {
        path: directory.join(name),
        kept_at: directory.join("kept"),
        format,
        split: split.and_then(NonZeroU64::new),
        table: Table::of(Subject::Line, &[]),
    }
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A record in the form that files of `format` are built from.
fn record(format: Format, id: u64) -> Vec<u8> {
    let value = format!("{{\"n\":[{id}]}}");
    let error = RecordError { kind: ErrorKind::Child, message: "", evidence: None };
    let record = match id % 10 {
        9 => Record { id, attempts: Some(3), worker: Some(1), error: Some(error), ..Record::default() },
        _ => Record { id, value: Some(value.as_bytes()), ..Record::default() },
    };
    let (table, mut out) = (Table::of(Subject::Line, &[]), Vec::new());
    match format.delimiter() {
        Some(delimiter) => Delimited { delimiter, table }.row(&record, &mut out),
        None => Typed { table }.row(&record, &mut out),
    }
    out
}

#[test]
fn nothing_has_its_name_before_it_is_whole_and_nothing_is_left_of_what_never_was() {
    let directory = tempfile::tempdir().unwrap();
    for format in [Format::Sqlite, Format::Csv(None)] {
        for split in [None, Some(2)] {
            let mut whole = Whole::new(making(directory.path(), "out", format, split));
            (0..5).for_each(|id| whole.take(&record(format, id)).unwrap());
            let place = directory.path().join("out");
            assert!(!place.is_file() && (split.is_none() || !is_used(&place).unwrap()));
            drop(whole);
            let left = if split.is_some() { names(&place) } else { names(directory.path()) };
            assert_eq!(left, [""; 0], "{format}");
            _ = fs::remove_dir(place);
        }
    }
}

#[test]
fn a_directory_keeps_what_is_not_ours() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    fs::create_dir(&out).unwrap();
    for name in ["part-00007.csv", ".part-00001.jsonl.tmp", "part-1.csv", "notes.txt", MANIFEST] {
        fs::write(out.join(name), "").unwrap();
    }
    let mut whole = Box::new(Whole::new(making(directory.path(), "out", Format::Csv(None), Some(2))));
    (0..3).for_each(|id| whole.take(&record(Format::Csv(None), id)).unwrap());
    whole.finish(Totals { ok: 3, failed: 0 }).unwrap();
    assert_eq!(names(&out), [MANIFEST, "notes.txt", "part-00000.csv", "part-00001.csv", "part-1.csv"]);
    assert!(is_used(&out).unwrap());
}

#[test]
fn a_record_that_comes_again_takes_the_place_of_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let making = making(directory.path(), "out.db", Format::Sqlite, None);
    let path = making.path.clone();
    let mut whole = Box::new(Whole::new(making));
    (0..20).chain(5..15).for_each(|id| whole.take(&record(Format::Sqlite, id)).unwrap());
    whole.finish(Totals::default()).unwrap();
    assert_eq!(count_sqlite(&path).unwrap(), (20, 2));
    fs::write(&path, "no database").unwrap();
    assert!(count_sqlite(&path).is_err());
}

#[cfg(feature = "parquet")]
#[test]
fn row_groups_are_bounded() {
    use ::parquet::file::reader::{FileReader as _, SerializedFileReader};

    const COUNT: u64 = 131_072 + 10;
    let directory = tempfile::tempdir().unwrap();
    let making = making(directory.path(), "out.parquet", Format::Parquet, None);
    let path = making.path.clone();
    let mut whole = Box::new(Whole::new(making));
    (0..COUNT).for_each(|id| whole.take(&record(Format::Parquet, id)).unwrap());
    whole.finish(Totals::default()).unwrap();
    assert_eq!(count_parquet(&path).unwrap(), (COUNT, COUNT / 10));
    let reader = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
    let rows: Vec<i64> = reader.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
    assert_eq!(rows, [131_072, 10]);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert!(count_parquet(&path).is_err());
}
