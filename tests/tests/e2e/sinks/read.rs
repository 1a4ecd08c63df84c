//! Reads each format with a reader that is not ours.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

/// A name for each format that has columns.
pub(super) const COMPLETE_FORMATS: [&str; 8] =
    ["a.csv", "a.tsv", "a.csv.gz", "a.csv.zst", "a.tsv.gz", "a.parquet", "a.sqlite", "b.DB"];

/// A row's columns, in order.
pub(super) type Cells = Vec<(String, Option<String>)>;

/// The rows of a file, by id; panics if one is there twice.
pub(super) fn rows(path: &Path) -> BTreeMap<u64, Cells> {
    let name = path.file_name().unwrap().to_str().unwrap().to_lowercase();
    let base = name.trim_end_matches(".gz").trim_end_matches(".zst");
    let rows = match base.rsplit_once('.').unwrap().1 {
        "jsonl" => lines(&unpacked(path)),
        "csv" => cells(&unpacked(path), ','),
        "tsv" => cells(&unpacked(path), '\t'),
        "parquet" => parquet(path),
        "sqlite" | "db" => sqlite(path),
        other => panic!("{other}"),
    };
    let mut by_id = BTreeMap::new();
    for row in rows {
        let id = row[0].1.as_deref().unwrap().parse().unwrap();
        assert_eq!(row[0].0, "id");
        assert!(by_id.insert(id, row).is_none(), "{} has {id} twice", path.display());
    }
    by_id
}

pub(super) fn unpacked(path: &Path) -> String {
    let mut text = String::new();
    let file = File::open(path).unwrap();
    let read = match path.extension().unwrap().to_str().unwrap() {
        "gz" => MultiGzDecoder::new(file).read_to_string(&mut text),
        "zst" => zstd::stream::read::Decoder::new(file).unwrap().read_to_string(&mut text),
        _ => std::io::BufReader::new(file).read_to_string(&mut text),
    };
    read.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text
}

fn lines(text: &str) -> Vec<Cells> {
    assert!(text.is_empty() || text.ends_with('\n'));
    let record = |line| {
        let Ok(Value::Object(record)) = serde_json::from_str(line) else { panic!("{line}") };
        record.into_iter().map(|(name, value)| (name, Some(value.to_string()))).collect()
    };
    text.lines().map(record).collect()
}

/// RFC 4180, read by the letter. What is not quoted and empty is nothing.
fn cells(text: &str, delimiter: char) -> Vec<Cells> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '"' && cell.is_empty() && !quoted {
            quoted = true;
            loop {
                match rest.next().expect("a closing quote") {
                    '"' if rest.peek() == Some(&'"') => cell.push(rest.next().unwrap()),
                    '"' => break,
                    other => cell.push(other),
                }
            }
        } else if c == delimiter || c == '\n' {
            row.push((quoted || !cell.is_empty()).then(|| std::mem::take(&mut cell)));
            quoted = false;
            if c == '\n' {
                rows.push(std::mem::take(&mut row));
            }
        } else {
            assert!(!quoted && c != '"', "text after a quote");
            cell.push(c);
        }
    }
    assert!(row.is_empty() && cell.is_empty(), "half a row at the end");
    let mut rows = rows.into_iter();
    let names: Vec<String> = rows.next().expect("a header").into_iter().map(Option::unwrap).collect();
    rows.map(|row| {
        assert_eq!(row.len(), names.len());
        names.iter().cloned().zip(row).collect()
    })
    .collect()
}

fn parquet(path: &Path) -> Vec<Cells> {
    let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    let rows = reader.get_row_iter(None).unwrap();
    rows.map(|row| row.unwrap().get_column_iter().map(|(name, field)| (name.clone(), shown(field))).collect())
        .collect()
}

fn shown(field: &Field) -> Option<String> {
    if let Field::ListInternal(list) = field {
        let values: Vec<_> =
            list.elements().iter().map(|element| serde_json::json!(shown(element))).collect();
        return Some(Value::Array(values).to_string());
    }
    if let Field::Str(text) = field {
        return Some(text.clone());
    }
    // Numbers are shown as they are written.
    (*field != Field::Null).then(|| field.to_string())
}

fn sqlite(path: &Path) -> Vec<Cells> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let mut statement = connection.prepare("SELECT * FROM records").unwrap();
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut found = statement.query([]).unwrap();
    let mut rows = Vec::new();
    while let Some(row) = found.next().unwrap() {
        let cell = |n: usize| match row.get_ref(n).unwrap() {
            ValueRef::Null => None,
            ValueRef::Integer(number) => Some(number.to_string()),
            ValueRef::Real(number) => Some(number.to_string()),
            ValueRef::Text(text) => Some(String::from_utf8(text.to_vec()).unwrap()),
            ValueRef::Blob(_) => panic!("a blob"),
        };
        rows.push(names.iter().cloned().enumerate().map(|(n, name)| (name, cell(n))).collect());
    }
    rows
}
