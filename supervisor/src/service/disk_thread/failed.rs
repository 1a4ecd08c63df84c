//! `retry-failed`: makes the failed inputs of a job the upload of a new job with the same flags.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use shared::json::{self, Json, Members};
use shared::pages;
use shared::record::ErrorKind;
use url::Url;

use super::super::request::{Refused, Submission, Upload};
use super::{JobInput, RECORDS};
use crate::cli;
use crate::config::Allowed;
use crate::kinds::{self, Spooled};
use crate::plan::Plan;
use crate::view::JobId;

/// Lines that are read from the source at a time.
const BATCH: usize = 1024;

/// Bytes of a record after which it is not read on. A record with an error holds no page, so it is shorter.
const RECORD_BYTES_MAX: usize = 1 << 20;

/// Keys of a crawl that a fetch job does not have.
const CRAWL_KEYS: [&str; 9] = [
    "follow",
    "scope",
    "include",
    "exclude",
    "depth",
    "pages-max",
    "host-pages-max",
    "alike-max",
    "strip-param",
];

/// A job with failed inputs.
#[derive(Debug)]
pub(in crate::service) struct Retry {
    pub(in crate::service) of: JobId,
    pub(in crate::service) command: String,
    pub(in crate::service) input: JobInput,
    pub(in crate::service) records: PathBuf,
    /// The committed bytes of the records.
    pub(in crate::service) committed: u64,
    pub(in crate::service) sender: String,
}

/// The parts of a record that identify its input.
#[derive(Deserialize)]
struct FailedRecord {
    id: u64,
    url: Option<String>,
    path: Option<String>,
    /// Unparsed, because parsing could change the spelling of a number.
    keep: Option<Box<RawValue>>,
    error: Option<FailedRecordError>,
}

#[derive(Deserialize)]
struct FailedRecordError {
    kind: String,
}

/// Builds the new job, with its files in `incoming`.
pub(super) fn submission(retry: &Retry, incoming: &Path, allowed: &Allowed) -> Result<Submission, Refused> {
    let storage = |error: io::Error| Refused::Storage(error.to_string());
    let mut document = retry.input.document.clone();
    let uploads = match retry.command.as_str() {
        "fetch" => {
            refuse_rows(retry, incoming, allowed)?;
            let has_columns = document.contains_key("column") || document.contains_key("url");
            let collect = if has_columns || !has_templates(&document) { urls } else { plain_urls };
            collect(retry, incoming, &mut document).map_err(storage)?
        }
        "crawl" => {
            fetch_alone(&mut document).map_err(Refused::Conflict)?;
            plain_urls(retry, incoming, &mut document).map_err(storage)?
        }
        "parse" => pages(retry, incoming, &mut document).map_err(storage)?,
        "map" => lines(retry, incoming, &mut document, allowed)?,
        _ => {
            return Err(Refused::Conflict(format!(
                "job {} is a csv job, which has no single inputs to retry",
                retry.of
            )));
        }
    };
    if uploads.is_empty() && document.get("paths").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        let of = retry.of;
        let why = match document.get("at-most-once").and_then(Value::as_bool) {
            Some(true) => format!(
                "job {of} has no failed inputs besides those with the error {}, which are not sent again",
                ErrorKind::Uncertain.name()
            ),
            Some(false) | None => format!("job {of} has no failed inputs"),
        };
        return Err(Refused::Conflict(why));
    }
    Ok(Submission { document, uploads, idempotency: None, sender: retry.sender.clone(), is_local: false })
}

/// Makes a crawl a job that fetches pages and follows nothing: all other pages are known already. Found pages must not
/// get secrets that only the named ones got.
fn fetch_alone(document: &mut Map<String, Value>) -> Result<(), String> {
    for key in CRAWL_KEYS {
        document.shift_remove(key);
        document.shift_remove(&key.replace('-', "_"));
    }
    document.insert("command".to_owned(), json!("fetch"));
    document.entry("robots").or_insert(json!("obey"));
    let scope = ["header-scope", "header_scope"].iter().find_map(|key| document.get(*key)?.as_str());
    if document.contains_key("header") && matches!(scope, None | Some("origin" | "domain")) {
        let origins = origins(texts(document.get("urls")));
        if origins.is_empty() {
            return Err("its headers went to the pages of a list, which is not known any more; submit the pages that \
                        failed again"
                .to_owned());
        }
        document.shift_remove("header_scope");
        document.insert("header-scope".to_owned(), json!(Vec::from_iter(origins).join(",")));
    }
    Ok(())
}

/// Refuses a job whose requests are made from columns: its records do not hold all of them.
fn refuse_rows(retry: &Retry, incoming: &Path, allowed: &Allowed) -> Result<(), Refused> {
    let keys = ["url", "method", "data", "json", "header"];
    if !keys.iter().any(|key| retry.input.document.contains_key(*key)) {
        return Ok(());
    }
    let plan = cli::job(&retry.input.document, &retry.input.uploads, &incoming.join(RECORDS), allowed);
    match plan.map_err(|no_job| Refused::Conflict(no_job.why))? {
        plan if kinds::needs_rows(&plan.work) => Err(Refused::Conflict(format!(
            "job {} makes its requests from columns, which its records do not hold; submit the rows that failed again",
            retry.of
        ))),
        _ => Ok(()),
    }
}

/// Whether texts of the document would be read in another way if its inputs had columns.
fn has_templates(document: &Map<String, Value>) -> bool {
    fn is_template(value: &Value) -> bool {
        match value {
            Value::String(text) => text.starts_with('@') || text.contains('{'),
            Value::Array(list) => list.iter().any(is_template),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
        }
    }
    ["data", "json", "header"].iter().filter_map(|key| document.get(*key)).any(is_template)
}

/// Collects URLs of inputs that have no columns.
fn plain_urls(retry: &Retry, incoming: &Path, document: &mut Map<String, Value>) -> io::Result<Vec<Upload>> {
    let path = incoming.join("failed");
    let mut out = BufWriter::new(File::create(&path)?);
    let mut any = false;
    each_failed(retry, |seen| {
        // What is not a line of a list is not a URL either.
        let is_line = |url: &String| !url.is_empty() && !url.starts_with('#') && !url.contains(['\n', '\r']);
        let Some(url) = seen.url.filter(is_line) else { return Ok(()) };
        any = true;
        writeln!(out, "{url}")
    })?;
    out.flush()?;
    keep_header_scope(document);
    for key in ["urls", "input", "sitemap", "encoding", "delimiter"] {
        document.shift_remove(key);
    }
    Ok(if any { vec![Upload { path, name: "failed.txt".to_owned() }] } else { Vec::new() })
}

/// Collects URLs, with the kept columns.
fn urls(retry: &Retry, incoming: &Path, document: &mut Map<String, Value>) -> io::Result<Vec<Upload>> {
    let path = incoming.join("failed");
    let mut out = BufWriter::new(File::create(&path)?);
    let mut keep: Vec<String> = Vec::new();
    let mut any = false;
    each_failed(retry, |seen| {
        let Some(url) = seen.url else { return Ok(()) };
        any = true;
        let mut row = match seen.keep.as_ref().map(|keep| json::parse(keep.get())) {
            Some(Ok(Json::Object(members))) => *members,
            _ => Members::default(),
        };
        for name in row.keys() {
            if name != "url" && !keep.iter().any(|known| known == name) {
                keep.push(name.clone().into_owned());
            }
        }
        row.insert("url".into(), Json::String(url.into()));
        out.write_all(Json::Object(Box::new(row)).to_text().as_str().as_bytes())?;
        out.write_all(b"\n")
    })?;
    out.flush()?;
    keep_header_scope(document);
    for key in ["urls", "input", "sitemap", "column", "keep"] {
        document.shift_remove(key);
    }
    document.insert("column".to_owned(), json!("url"));
    if !keep.is_empty() {
        let keep: Vec<String> = keep.iter().map(|name| name.replace(',', "\\,")).collect();
        document.insert("keep".to_owned(), json!(keep));
    }
    Ok(if any { vec![Upload { path, name: "failed.jsonl".to_owned() }] } else { Vec::new() })
}

/// The texts of a key: one, or a list.
fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(texts)) => texts.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect(),
        Some(_) | None => Vec::new(),
    }
}

fn origins(urls: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    let parsed = urls.into_iter().filter_map(|url| Url::parse(url.trim()).ok());
    let fetched = parsed.filter(|url| matches!(url.scheme(), "http" | "https"));
    fetched.map(|url| url.origin().ascii_serialization()).collect()
}

/// Keeps secrets where they were. The new job has the failed pages in a list, as if the user had named them, and some
/// may come from a sitemap.
fn keep_header_scope(document: &mut Map<String, Value>) {
    let sitemaps = texts(document.get("sitemap"));
    let scope = ["header-scope", "header_scope"].iter().find_map(|key| document.get(*key)?.as_str());
    if sitemaps.is_empty() || !matches!(scope, None | Some("origin" | "domain")) {
        return;
    }
    let named = sitemaps.into_iter().chain(texts(document.get("urls")));
    let origins = origins(named);
    document.shift_remove("header_scope");
    document.insert("header-scope".to_owned(), json!(Vec::from_iter(origins).join(",")));
}

/// Collects files: uploaded ones are uploaded again, others are named by path.
fn pages(retry: &Retry, incoming: &Path, document: &mut Map<String, Value>) -> io::Result<Vec<Upload>> {
    let own = retry.records.parent().unwrap_or(Path::new(""));
    let (mut uploads, mut paths) = (Vec::new(), Vec::new());
    each_failed(retry, |seen| {
        let Some(page) = seen.path else { return Ok(()) };
        if !Path::new(&page).starts_with(own) {
            paths.push(page);
            return Ok(());
        }
        let path = incoming.join(format!("failed-{}", seen.id));
        if fs::hard_link(&page, &path).is_err() {
            fs::copy(&page, &path)?;
        }
        let name = Path::new(&page).file_name().unwrap_or_default().to_string_lossy().into_owned();
        uploads.push(Upload { path, name });
        Ok(())
    })?;
    for key in ["paths", "input", "column", "keep"] {
        document.shift_remove(key);
    }
    if !paths.is_empty() {
        document.insert("paths".to_owned(), json!(paths));
    }
    Ok(uploads)
}

/// Collects lines. Records do not contain them, so they are read again from the inputs.
fn lines(
    retry: &Retry,
    incoming: &Path,
    document: &mut Map<String, Value>,
    allowed: &Allowed,
) -> Result<Vec<Upload>, Refused> {
    let storage = |error: io::Error| Refused::Storage(error.to_string());
    let mut failed = BTreeSet::new();
    let raw = retry.input.document.get("raw") == Some(&Value::Bool(true));
    if raw {
        return Err(Refused::Conflict(format!(
            "job {} ran with --raw; its records do not show which lines failed",
            retry.of
        )));
    }
    each_failed(retry, |seen| {
        failed.insert(seen.id);
        Ok(())
    })
    .map_err(storage)?;
    if failed.is_empty() {
        return Ok(Vec::new());
    }
    let output = incoming.join(RECORDS);
    let plan = cli::job(&retry.input.document, &retry.input.uploads, &output, allowed)
        .map_err(|no_job| Refused::Conflict(no_job.why))?;
    let path = incoming.join("failed");
    copy_lines(&plan, &failed, &path)?;
    document.shift_remove("input");
    Ok(vec![Upload { path, name: "failed.jsonl".to_owned() }])
}

fn copy_lines(plan: &Plan, failed: &BTreeSet<u64>, path: &Path) -> Result<(), Refused> {
    let storage = |error: io::Error| Refused::Storage(error.to_string());
    let mut out = BufWriter::new(File::create(path).map_err(storage)?);
    let mut source = kinds::of(&plan.work).targets(plan, Spooled::default());
    let mut items = Vec::with_capacity(BATCH);
    loop {
        items.clear();
        let more = source
            .next_batch(&mut items, BATCH)
            .map_err(|error| Refused::Conflict(format!("cannot read the inputs again: {error}")))?;
        for item in &items {
            for (id, line) in (item.id..).zip(item.input.split(|byte| *byte == b'\n')) {
                if id < item.id + item.inputs && failed.contains(&id) {
                    out.write_all(line).and_then(|()| out.write_all(b"\n")).map_err(storage)?;
                }
            }
        }
        if !more {
            return out.flush().map_err(storage);
        }
    }
}

/// Calls `take` with each record of the job that has an error, unless its request may have been sent and must not be
/// sent again. If pages are followed, `take` gets the first page of each list that has such a record: the list is
/// fetched from there, because what follows may be others by now.
fn each_failed(retry: &Retry, mut take: impl FnMut(FailedRecord) -> io::Result<()>) -> io::Result<()> {
    if !retry.input.document.contains_key("next") {
        return each_record(retry, |line| match failed_in(line) {
            Some(seen) => take(seen),
            None => Ok(()),
        });
    }
    let mut firsts = BTreeSet::new();
    each_record(retry, |line| {
        firsts.extend(failed_in(line).map(|seen| pages::input_of(seen.id)));
        Ok(())
    })?;
    each_record(retry, |line| match first_page_in(line) {
        Some(seen) if firsts.remove(&seen.id) => take(seen),
        Some(_) | None => Ok(()),
    })?;
    match firsts.first() {
        None => Ok(()),
        Some(id) => {
            Err(io::Error::other(format!("the record of input {id}, at which a list begins, is damaged")))
        }
    }
}

fn failed_in(line: &[u8]) -> Option<FailedRecord> {
    let seen: FailedRecord = serde_json::from_slice(line).ok()?;
    seen.error.as_ref().is_some_and(|error| error.kind != ErrorKind::Uncertain.name()).then_some(seen)
}

/// Reads what stands before the page in the record of a first page. What comes after it may be long, and cut off.
fn first_page_in(line: &[u8]) -> Option<FailedRecord> {
    memchr::memmem::find_iter(line, b",\"page\":1,").find_map(|at| {
        // Within a value that is kept, this closes too little.
        let head = [line.get(..at)?, b"}"].concat();
        serde_json::from_slice(&head).ok()
    })
}

/// Calls `take` with the beginning of each record of the job.
fn each_record(retry: &Retry, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let file = match File::open(&retry.records) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let mut lines = BufReader::with_capacity(1 << 20, file.take(retry.committed));
    let mut line = Vec::new();
    while next_line(&mut lines, &mut line)? {
        take(&line)?;
    }
    Ok(())
}

/// Reads the next record, the end of which is left out if it is too long to have an error. Returns false at the end.
fn next_line(lines: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut any = false;
    loop {
        let buffer = lines.fill_buf()?;
        if buffer.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = memchr::memchr(b'\n', buffer);
        let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
        if line.len() <= RECORD_BYTES_MAX {
            line.extend_from_slice(part);
        }
        let used = part.len() + usize::from(end.is_some());
        lines.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_found_by_the_head_of_its_first_record() {
        let head =
            |line: &str| first_page_in(line.as_bytes()).map(|seen| (seen.id, seen.url.unwrap_or_default()));
        let inner = r#"{"id":7,"url":"u","keep":{"a":{"b":2,"page":1,"c":3}},"page":1,"final_url":"cut o"#;
        for (line, want) in [
            (r#"{"id":7,"url":"u","page":1,"fields":{}}"#, Some((7, "u".to_owned()))),
            (inner, Some((7, "u".to_owned()))),
            (r#"{"id":7,"url":"u","parent":1,"page":2,"fields":{}}"#, None),
            (r#"{"id":7,"url":"\",\"page\":1,","page":3,"fields":{}}"#, None),
        ] {
            assert_eq!(head(line), want, "{line}");
        }
    }

    #[test]
    fn failed_pages_of_sitemaps_do_not_become_home() {
        let scope = |document: Value| {
            let Value::Object(mut document) = document else { panic!("{document}") };
            keep_header_scope(&mut document);
            document.get("header-scope").cloned()
        };
        let own = json!("http://b:81,https://a");
        let sitemap = json!("https://a/sitemap.xml");
        for (document, want) in [
            (json!({"urls": ["http://b/"]}), None),
            (json!({"urls": ["http://b:81/x", "nonsense"], "sitemap": [sitemap]}), Some(own)),
            (json!({"sitemap": sitemap, "header_scope": "domain"}), Some(json!("https://a"))),
            (json!({"sitemap": sitemap, "header-scope": "origin"}), Some(json!("https://a"))),
            (json!({"sitemap": sitemap, "header-scope": "any"}), Some(json!("any"))),
            (json!({"sitemap": sitemap, "header-scope": "https://c"}), Some(json!("https://c"))),
        ] {
            assert_eq!(scope(document.clone()), want, "{document}");
        }
    }
}
