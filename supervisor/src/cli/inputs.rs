//! Resolves the inputs: named targets, lists, and columns of tables. Decides by file names;
//! [`crate::source`] reads the content.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shared::job::HeldFile;
use shared::request::RequestSpec;

use super::encoding::encoding;
use super::flags::ListFlags;
use super::problem::Problem;
use super::request::{check_columns, columns};
use super::{Environment, disk};
use crate::descriptor;
use crate::plan::{Columns, Input, ListReading, Sitemaps};
use crate::source::{self, Held};

/// The values that a sitemap gives for a page besides its URL.
const SITEMAP_KEYS: [&str; 3] = ["lastmod", "changefreq", "priority"];

/// Targets that are named one by one.
pub(super) enum Targets {
    /// URLs, the sitemaps that list more of them, and whether an unreadable sitemap fails the run.
    Urls(Vec<OsString>, Vec<String>, bool),
    Paths(Vec<PathBuf>),
}

/// The inputs that can be read only once.
#[derive(Default)]
pub(super) struct ReadOnce {
    /// The first of them.
    pub(super) first: Option<String>,
}

/// Puts the inputs in order: named targets first, then lists.
pub(super) fn inputs(
    targets: Targets,
    lists: ListFlags,
    reading: ListReading,
    request: Option<&RequestSpec>,
    read_once: &mut ReadOnce,
    env: &Environment<'_>,
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
    let columns = columns(&lists, &keep, request);
    for path in lists.input {
        let input = list(path, columns.as_ref(), reading, read_once)?;
        if input == Input::StdinLines && inputs.contains(&input) {
            return Err(Problem::Usage("standard input can be read only once; give -i - once".to_owned()));
        }
        inputs.push(input);
    }
    if lists.delimiter.is_some() && !inputs.iter().any(|input| matches!(input, Input::CsvColumn(..))) {
        return Err(Problem::Usage(
            "--delimiter needs a delimited input: -i with a .csv or .tsv file".to_owned(),
        ));
    }
    let has_columns = |input: &Input| {
        matches!(input, Input::CsvColumn(..) | Input::JsonColumn(..) | Input::ParquetColumn(..))
    };
    let any_columns = inputs.iter().any(has_columns);
    inputs.extend(listed(sitemaps, &keep, any_columns, read_once)?);
    if inputs.is_empty() {
        let piped = if env.stdin_is_terminal { "" } else { "; to read standard input, add -i -" };
        return Err(Problem::Usage(format!(
            "nothing to {verb}: give {things}, or a list with -i FILE{piped}"
        )));
    }
    let needs = |flag: &str, and: &str| {
        let needed = "an input with columns: -i with a .csv, .tsv, .jsonl or .parquet file";
        Err(Problem::Usage(format!("{flag} needs {needed}{and}")))
    };
    check_columns(&inputs, request)?;
    if lists.column.is_some() && !any_columns {
        return needs("--column", "");
    }
    if !keep.is_empty() && !any_columns && !inputs.iter().any(|input| matches!(input, Input::Sitemaps(_))) {
        return needs("--keep", ", or --sitemap");
    }
    Ok(inputs)
}

/// Resolves the flags that describe lists.
pub(super) fn reading(lists: &ListFlags, env: &Environment<'_>) -> Result<ListReading, Problem> {
    let encoding = lists.encoding.as_deref().map(encoding).transpose()?;
    Ok(ListReading { encoding, delimiter: lists.delimiter, isolated: env.isolates_lists })
}

/// Whether a path means standard input.
fn is_stdin(path: &Path) -> bool {
    path == Path::new("-") || descriptor::named(path) == Some(0)
}

/// Files that workers cannot open by name.
#[derive(Default)]
pub(super) struct HeldFiles {
    /// The files, which must stay open.
    pub(super) files: Vec<Arc<File>>,
    /// The description of these files for the workers.
    pub(super) names: Vec<HeldFile>,
}

/// Holds open the files that workers cannot open by name.
pub(super) fn hold(targets: Targets, body_bytes_max: u64) -> Result<(Targets, HeldFiles), Problem> {
    let mut held = HeldFiles::default();
    let Targets::Paths(mut paths) = targets else { return Ok((targets, held)) };
    for path in &mut paths {
        if path.is_dir() && descriptor::is_of_a_process(path) {
            // A directory can be named by its real path.
            *path = fs::canonicalize(&*path).map_err(|error| disk::unreadable(path, &error))?;
        }
        if held.names.iter().any(|held| held.path == *path) || path == Path::new("-") {
            continue;
        }
        // One byte above the limit shows that it is too large.
        let found = source::descriptor_or_pipe(path, body_bytes_max.saturating_add(1));
        if let Some(Held { file, at }) = found.map_err(|error| disk::unreadable(path, &error))? {
            held.files.push(file);
            held.names.push(HeldFile { path: path.clone(), at });
        }
    }
    Ok((Targets::Paths(paths), held))
}

/// Splits `--keep A,B --keep C` into names. A backslash before a comma makes it part of a name.
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
        return Err(Problem::Usage("--keep needs the names of columns, separated by commas".to_owned()));
    }
    for (number, name) in names.iter().enumerate() {
        if names.iter().skip(number + 1).any(|other| other == name) {
            return Err(Problem::Usage(format!("--keep names \"{name}\" twice; name it once")));
        }
    }
    Ok(names)
}

/// Returns the input for `--sitemap`, if it was given.
fn listed(
    (urls, strict): (Vec<String>, bool),
    keep: &[String],
    any_columns: bool,
    read_once: &mut ReadOnce,
) -> Result<Option<Input>, Problem> {
    let Some(first) = urls.first() else {
        let why = "--strict needs a sitemap; name one with --sitemap";
        return if strict { Err(Problem::Usage(why.to_owned())) } else { Ok(None) };
    };
    read_once.first.get_or_insert_with(|| format!("the sitemap {first}"));
    for url in &urls {
        let lower = url.to_ascii_lowercase();
        if !(lower.starts_with("http://") || lower.starts_with("https://")) {
            return Err(Problem::Usage(format!(
                "--sitemap {url}: not a full URL; give one such as https://example.com/sitemap.xml"
            )));
        }
    }
    let (keep, other): (Vec<String>, Vec<String>) =
        keep.iter().cloned().partition(|name| SITEMAP_KEYS.contains(&name.as_str()));
    if let Some(name) = other.first().filter(|_| !any_columns) {
        return Err(Problem::Usage(format!(
            "--keep {name}: not in a sitemap; only {} can be kept",
            SITEMAP_KEYS.join(", ")
        )));
    }
    Ok(Some(Input::Sitemaps(Sitemaps { urls, keep, strict })))
}

/// Resolves the JSON lines for `map`.
pub(super) fn json_lines(paths: Vec<PathBuf>, env: &Environment<'_>) -> Result<Vec<Input>, Problem> {
    let mut inputs = Vec::new();
    for path in paths {
        let input = if is_stdin(&path) { Input::StdinLines } else { json_file(path)? };
        if input == Input::StdinLines && inputs.contains(&input) {
            return Err(Problem::Usage("standard input can be read only once; give -i - once".to_owned()));
        }
        inputs.push(input);
    }
    if inputs.is_empty() {
        let piped = if env.stdin_is_terminal { "" } else { "; to read standard input, add -i -" };
        return Err(Problem::Usage(format!("nothing to map: give JSON lines with -i FILE{piped}")));
    }
    Ok(inputs)
}

fn json_file(path: PathBuf) -> Result<Input, Problem> {
    let refuse = |why: &str| Err(Problem::Usage(format!("{}: {why}", path.display())));
    match disk::extension(&source::unpacked(&path)).as_str() {
        "gz" | "bz2" | "xz" | "zst" | "lz4" | "br" | "zip" | "7z" => {
            refuse("only .gz and .zst are decompressed; decompress it yourself into a pipe, and give -i -")
        }
        "parquet" | "arrow" | "feather" | "avro" | "orc" | "sqlite" | "sqlite3" | "db" | "duckdb" | "xls"
        | "xlsx" | "csv" | "tsv" => refuse("not JSON lines; convert it first"),
        _ if path.is_dir() => refuse("a directory, and -i takes a file"),
        _ => {
            disk::check_list(&path)?;
            Ok(Input::Lines(path))
        }
    }
}

/// Decides by its name how a list is read.
fn list(
    path: PathBuf,
    columns: Option<&Columns>,
    reading: ListReading,
    read_once: &mut ReadOnce,
) -> Result<Input, Problem> {
    if is_stdin(&path) {
        read_once.first = Some("standard input".to_owned());
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
                "only .gz and .zst are decompressed; decompress it yourself into a pipe, and give -i -",
            );
        }
        "parquet" if packed => {
            return refuse("a compressed Parquet file cannot be read; decompress it first");
        }
        "parquet" if !cfg!(feature = "parquet") => {
            return refuse("this build cannot read Parquet; rebuild it with the feature `parquet`");
        }
        "arrow" | "feather" | "avro" | "orc" | "sqlite" | "sqlite3" | "db" | "duckdb" | "xls" | "xlsx" => {
            return refuse(
                "cannot read this format; export the column as lines, .csv, .tsv, .jsonl or .parquet",
            );
        }
        "json" => {
            return refuse(
                "cannot read a JSON document; make it one object a line (.jsonl), with jq -c '.[]' for an array",
            );
        }
        "html" | "htm" => {
            return refuse("this is a page, and -i takes a list; to parse pages, leave out -i");
        }
        "xml" => return refuse("cannot read a list from XML; for a sitemap, use --sitemap URL"),
        _ => {}
    }
    let is_file = disk::check_list(&path)?;
    if !is_file {
        read_once.first.get_or_insert_with(|| shown.clone());
    }
    let check = |columns: &Columns| {
        source::check_columns(&path, columns, reading).map_err(|error| Problem::Usage(error.to_string()))
    };
    match (extension.as_str(), columns) {
        ("csv" | "tsv", Some(columns)) => {
            if is_file {
                check(columns)?;
            }
            Ok(Input::CsvColumn(path, columns.clone()))
        }
        ("parquet", _) if !is_file => {
            refuse("a Parquet file must be seekable, and this is not a regular file; save it as one")
        }
        ("parquet", Some(columns)) => {
            check(columns)?;
            Ok(Input::ParquetColumn(path, columns.clone()))
        }
        ("jsonl" | "ndjson", Some(columns)) => Ok(Input::JsonColumn(path, columns.clone())),
        ("csv" | "tsv" | "parquet", None) => {
            refuse("name the column that holds the inputs with --column NAME")
        }
        ("jsonl" | "ndjson", None) => refuse("name the key that holds the inputs with --column NAME"),
        _ => Ok(Input::Lines(path)),
    }
}

/// Returns the inputs that are files.
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
