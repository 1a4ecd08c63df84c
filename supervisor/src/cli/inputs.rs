//! Which inputs were meant: a name given alone, a list, a column of a table.
//! Decided by names; what is in the files is [`crate::source`]'s.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shared::job::HeldFile;

use super::encoding::encoding;
use super::flags::ListFlags;
use super::problem::Problem;
use super::{Surroundings, disk};
use crate::descriptor;
use crate::plan::{Columns, Input, ListReading, Sitemaps};
use crate::source::{self, Held};

/// What a sitemap says of a page besides its URL.
const SITEMAP_KEYS: [&str; 3] = ["lastmod", "changefreq", "priority"];

/// Targets named one by one.
pub(super) enum Targets {
    /// URLs, sitemaps that list more of them, and whether all of those must be readable.
    Urls(Vec<OsString>, Vec<String>, bool),
    Paths(Vec<PathBuf>),
}

/// Whether the inputs can be read a second time.
#[derive(Default)]
pub(super) struct Again {
    /// The first one that cannot.
    pub(super) once: Option<String>,
}

/// Puts the inputs in order: those named first, then the lists.
pub(super) fn inputs(
    targets: Targets,
    lists: ListFlags,
    reading: ListReading,
    again: &mut Again,
    around: &Surroundings<'_>,
) -> Result<Vec<Input>, Problem> {
    let (verb, things) = match &targets {
        Targets::Urls(..) => ("fetch", "URLs"),
        Targets::Paths(_) => ("parse", "files or directories"),
    };
    let (named, sitemaps): (Vec<Input>, _) = match targets {
        Targets::Urls(urls, sitemaps, strict) => {
            (urls.into_iter().map(|url| Input::Literal(url.into_vec())).collect(), (sitemaps, strict))
        }
        Targets::Paths(paths) => (paths.into_iter().map(Input::Tree).collect(), (Vec::new(), false)),
    };
    if named.iter().any(|input| matches!(input, Input::Literal(text) if text == b"-"))
        || named.contains(&Input::Tree(PathBuf::from("-")))
    {
        return Err(Problem::Usage(format!("to read a list of {things} from standard input, give -i -")));
    }
    let keep = names(&lists.keep)?;
    let mut inputs = named;
    for path in lists.input {
        let columns = lists.column.as_deref();
        let input = list(path, columns, &keep, reading, again)?;
        if input == Input::StdinLines && inputs.contains(&input) {
            return Err(Problem::Usage("standard input can be read only once; give -i - once".to_owned()));
        }
        inputs.push(input);
    }
    if lists.delimiter.is_some() && !inputs.iter().any(|input| matches!(input, Input::CsvColumn(..))) {
        return Err(Problem::Usage(
            "--delimiter needs an input that has it: -i with a .csv or .tsv file".to_owned(),
        ));
    }
    let has_columns = |input: &Input| {
        matches!(input, Input::CsvColumn(..) | Input::JsonColumn(..) | Input::ParquetColumn(..))
    };
    let any_columns = inputs.iter().any(has_columns);
    inputs.extend(listed(sitemaps, &keep, any_columns, again)?);
    if inputs.is_empty() {
        let piped = if around.stdin_is_terminal { "" } else { "; for what is piped in, add -i -" };
        return Err(Problem::Usage(format!(
            "nothing to {verb}: give {things}, or a list with -i FILE{piped}"
        )));
    }
    let needs = |flag: &str, and: &str| {
        let needed = "an input that has columns: -i with a .csv, .tsv, .jsonl or .parquet file";
        Err(Problem::Usage(format!("{flag} needs {needed}{and}")))
    };
    if lists.column.is_some() && !any_columns {
        return needs("--column", "");
    }
    if !keep.is_empty() && !any_columns && !inputs.iter().any(|input| matches!(input, Input::Sitemaps(_))) {
        return needs("--keep", ", or --sitemap");
    }
    Ok(inputs)
}

/// What the flags say about lists.
pub(super) fn reading(lists: &ListFlags) -> Result<ListReading, Problem> {
    let encoding = lists.encoding.as_deref().map(encoding).transpose()?;
    Ok(ListReading { encoding, delimiter: lists.delimiter })
}

/// Whether a name means standard input.
fn is_stdin(path: &Path) -> bool {
    path == Path::new("-") || descriptor::named(path) == Some(0)
}

/// Files that workers cannot open by the names that were given.
#[derive(Default)]
pub(super) struct Holding {
    /// The files, which must stay open.
    pub(super) files: Vec<Arc<File>>,
    /// What workers are told about them.
    pub(super) names: Vec<HeldFile>,
}

/// Holds what workers cannot open by its name.
pub(super) fn hold(targets: Targets, body_bytes_max: u64) -> Result<(Targets, Holding), Problem> {
    let mut holding = Holding::default();
    let Targets::Paths(mut paths) = targets else { return Ok((targets, holding)) };
    for path in &mut paths {
        if path.is_dir() && descriptor::is_of_a_process(path) {
            // A directory has a name that holds everywhere.
            *path = fs::canonicalize(&*path).map_err(|error| disk::unreadable(path, &error))?;
        }
        if holding.names.iter().any(|held| held.path == *path) || path == Path::new("-") {
            continue;
        }
        // One byte more than may be says that it is too large.
        let found = source::descriptor_or_pipe(path, body_bytes_max.saturating_add(1));
        if let Some(Held { file, at }) = found.map_err(|error| disk::unreadable(path, &error))? {
            holding.files.push(file);
            holding.names.push(HeldFile { path: path.clone(), at });
        }
    }
    Ok((Targets::Paths(paths), holding))
}

/// The names in `--keep A,B --keep C`; a backslash before a comma makes it part of a name.
fn names(keep: &[String]) -> Result<Vec<String>, Problem> {
    let mut names = Vec::new();
    for list in keep {
        let mut name = String::new();
        let mut letters = list.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '\\' if letters.peek() == Some(&',') => name.extend(letters.next()),
                ',' => names.push(std::mem::take(&mut name)),
                _ => name.push(letter),
            }
        }
        names.push(name);
    }
    if names.iter().any(String::is_empty) {
        return Err(Problem::Usage("--keep takes the names of columns, with commas between them".to_owned()));
    }
    for (number, name) in names.iter().enumerate() {
        if names.iter().skip(number + 1).any(|other| other == name) {
            return Err(Problem::Usage(format!("--keep names \"{name}\" twice; once is enough")));
        }
    }
    Ok(names)
}

/// The input that `--sitemap` makes, if there is one.
fn listed(
    (urls, strict): (Vec<String>, bool),
    keep: &[String],
    any_columns: bool,
    again: &mut Again,
) -> Result<Option<Input>, Problem> {
    let Some(first) = urls.first() else {
        let why = "--strict is about sitemaps, and there is none; name one with --sitemap";
        return if strict { Err(Problem::Usage(why.to_owned())) } else { Ok(None) };
    };
    again.once.get_or_insert_with(|| format!("the sitemap {first}"));
    for url in &urls {
        let lower = url.to_ascii_lowercase();
        if !(lower.starts_with("http://") || lower.starts_with("https://")) {
            return Err(Problem::Usage(format!(
                "--sitemap {url}: a sitemap is fetched, so give its whole URL: https://example.com/sitemap.xml"
            )));
        }
    }
    let (keep, other): (Vec<String>, Vec<String>) =
        keep.iter().cloned().partition(|name| SITEMAP_KEYS.contains(&name.as_str()));
    if let Some(name) = other.first().filter(|_| !any_columns) {
        return Err(Problem::Usage(format!(
            "--keep {name}: of a sitemap's entries {} can be kept",
            SITEMAP_KEYS.join(", ")
        )));
    }
    Ok(Some(Input::Sitemaps(Sitemaps { urls, keep, strict })))
}

/// JSON lines, for `map`.
pub(super) fn json_lines(paths: Vec<PathBuf>, around: &Surroundings<'_>) -> Result<Vec<Input>, Problem> {
    let mut inputs = Vec::new();
    for path in paths {
        let input = if is_stdin(&path) { Input::StdinLines } else { json_file(path)? };
        if input == Input::StdinLines && inputs.contains(&input) {
            return Err(Problem::Usage("standard input can be read only once; give -i - once".to_owned()));
        }
        inputs.push(input);
    }
    if inputs.is_empty() {
        let piped = if around.stdin_is_terminal { "" } else { "; for what is piped in, add -i -" };
        return Err(Problem::Usage(format!("nothing to map: give JSON lines with -i FILE{piped}")));
    }
    Ok(inputs)
}

fn json_file(path: PathBuf) -> Result<Input, Problem> {
    let refuse = |why: &str| Err(Problem::Usage(format!("{}: {why}", path.display())));
    match disk::extension(&source::unpacked(&path)).as_str() {
        "gz" | "bz2" | "xz" | "zst" | "lz4" | "br" | "zip" | "7z" => {
            refuse("lines may be packed as .gz or .zst; decompress this into a pipe and give -i -")
        }
        "parquet" | "arrow" | "feather" | "avro" | "orc" | "sqlite" | "sqlite3" | "db" | "duckdb" | "xls"
        | "xlsx" | "csv" | "tsv" => refuse("only JSON lines are read; convert it first"),
        _ if path.is_dir() => refuse("is a directory, and -i takes files"),
        _ => {
            disk::check_list(&path)?;
            Ok(Input::Lines(path))
        }
    }
}

/// Decides by its name what a file of inputs is.
fn list(
    path: PathBuf,
    column: Option<&str>,
    keep: &[String],
    reading: ListReading,
    again: &mut Again,
) -> Result<Input, Problem> {
    if is_stdin(&path) {
        again.once = Some("standard input".to_owned());
        return Ok(Input::StdinLines);
    }
    let shown = path.display().to_string();
    let inside = source::unpacked(&path);
    let packed = inside != path;
    let extension = disk::extension(&inside);
    let refuse = |why: &str| Err(Problem::Usage(format!("{shown}: {why}")));
    match extension.as_str() {
        "gz" | "bz2" | "xz" | "zst" | "lz4" | "br" | "zip" | "7z" => {
            return refuse(
                "a list may be packed as .gz or .zst; decompress this one into a pipe and give -i -",
            );
        }
        "parquet" if packed => return refuse("a Parquet file is packed inside; decompress it first"),
        "parquet" if !cfg!(feature = "parquet") => return refuse("this build does not read Parquet"),
        "arrow" | "feather" | "avro" | "orc" | "sqlite" | "sqlite3" | "db" | "duckdb" | "xls" | "xlsx" => {
            return refuse("only lines, .csv, .tsv, .jsonl and .parquet are read; export the column first");
        }
        "json" => return refuse("JSON is read one object a line, from .jsonl; for an array: jq -c '.[]'"),
        "html" | "htm" => {
            return refuse("this is a page, and -i takes a list; `parse` takes pages without -i");
        }
        "xml" => return refuse("XML is no list; a sitemap is read from where it is, with --sitemap URL"),
        _ => {}
    }
    let is_file = disk::check_list(&path)?;
    if !is_file {
        again.once.get_or_insert_with(|| shown.clone());
    }
    let columns = |input: &str| Columns { input: input.to_owned(), keep: keep.to_vec() };
    let check = |columns: &Columns| {
        source::check_columns(&path, columns, reading).map_err(|error| Problem::Usage(error.to_string()))
    };
    match (extension.as_str(), column) {
        ("csv" | "tsv", Some(column)) => {
            let columns = columns(column);
            if is_file {
                check(&columns)?;
            }
            Ok(Input::CsvColumn(path, columns))
        }
        ("parquet", _) if !is_file => refuse("a Parquet file is read from its end, so a pipe will not do"),
        ("parquet", Some(column)) => {
            let columns = columns(column);
            check(&columns)?;
            Ok(Input::ParquetColumn(path, columns))
        }
        ("jsonl" | "ndjson", Some(column)) => Ok(Input::JsonColumn(path, columns(column))),
        ("csv" | "tsv" | "parquet", None) => refuse("say which column holds the inputs, with --column NAME"),
        ("jsonl" | "ndjson", None) => refuse("say which key holds the inputs, with --column NAME"),
        _ => Ok(Input::Lines(path)),
    }
}

/// The inputs that are files.
pub(super) fn input_paths(inputs: &[Input]) -> Vec<&Path> {
    inputs
        .iter()
        .filter_map(|input| match input {
            Input::Lines(path)
            | Input::CsvColumn(path, _)
            | Input::JsonColumn(path, _)
            | Input::ParquetColumn(path, _)
            | Input::Tree(path) => Some(path.as_path()),
            Input::Literal(_) | Input::StdinLines | Input::Sitemaps(_) => None,
        })
        .collect()
}
