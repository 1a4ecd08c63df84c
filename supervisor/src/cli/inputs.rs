//! Which inputs were meant: a name given alone, a list, a column of a table.
//! Decided by names; what is in the files is [`crate::source`]'s.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use super::flags::ListFlags;
use super::resolve::Problem;
use super::{Surroundings, disk};
use crate::plan::Input;
use crate::source;

/// Targets named one by one.
pub(super) enum Targets {
    Urls(Vec<OsString>),
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
    again: &mut Again,
    around: &Surroundings<'_>,
) -> Result<Vec<Input>, Problem> {
    let (verb, things) = match &targets {
        Targets::Urls(_) => ("fetch", "URLs"),
        Targets::Paths(_) => ("parse", "files or directories"),
    };
    let named: Vec<Input> = match targets {
        Targets::Urls(urls) => urls.into_iter().map(|url| Input::Literal(url.into_vec())).collect(),
        Targets::Paths(paths) => paths.into_iter().map(Input::Tree).collect(),
    };
    if named.iter().any(|input| matches!(input, Input::Literal(text) if text == b"-"))
        || named.contains(&Input::Tree(PathBuf::from("-")))
    {
        return Err(Problem::Usage(format!("to read a list of {things} from standard input, give -i -")));
    }
    let mut inputs = named;
    for path in lists.input {
        let input = list(path, lists.column.as_deref(), again)?;
        if input == Input::StdinLines && inputs.contains(&input) {
            return Err(Problem::Usage("standard input can be read only once; give -i - once".to_owned()));
        }
        inputs.push(input);
    }
    if inputs.is_empty() {
        let piped = if around.stdin_is_terminal { "" } else { "; for what is piped in, add -i -" };
        return Err(Problem::Usage(format!(
            "nothing to {verb}: give {things}, or a list with -i FILE{piped}"
        )));
    }
    let has_columns = |input: &Input| matches!(input, Input::CsvColumn(..) | Input::JsonColumn(..));
    if lists.column.is_some() && !inputs.iter().any(has_columns) {
        return Err(Problem::Usage(
            "--column needs an input that has columns: -i with a .csv, .tsv or .jsonl file".into(),
        ));
    }
    Ok(inputs)
}

/// JSON lines, for `map`.
pub(super) fn json_lines(paths: Vec<PathBuf>, around: &Surroundings<'_>) -> Result<Vec<Input>, Problem> {
    let mut inputs = Vec::new();
    for path in paths {
        let input = if path == Path::new("-") { Input::StdinLines } else { json_file(path)? };
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
    match disk::extension(&path).as_str() {
        "gz" | "bz2" | "xz" | "zst" | "lz4" | "br" | "zip" | "7z" => {
            refuse("lines are read as plain text; decompress it into a pipe and give -i -")
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
fn list(path: PathBuf, column: Option<&str>, again: &mut Again) -> Result<Input, Problem> {
    if path == Path::new("-") {
        again.once = Some("standard input".to_owned());
        return Ok(Input::StdinLines);
    }
    let shown = path.display().to_string();
    let extension = disk::extension(&path);
    let refuse = |why: &str| Err(Problem::Usage(format!("{shown}: {why}")));
    match extension.as_str() {
        "gz" | "bz2" | "xz" | "zst" | "lz4" | "br" | "zip" | "7z" => {
            return refuse("a list is read as plain text; decompress it into a pipe and give -i -");
        }
        "parquet" | "arrow" | "feather" | "avro" | "orc" | "sqlite" | "sqlite3" | "db" | "duckdb" | "xls"
        | "xlsx" => {
            return refuse("only lines, .csv, .tsv and .jsonl are read; export the column first");
        }
        "json" => return refuse("JSON is read one object a line, from .jsonl; for an array: jq -c '.[]'"),
        "html" | "htm" => {
            return refuse("this is a page, and -i takes a list; `parse` takes pages without -i");
        }
        _ => {}
    }
    let is_file = disk::check_list(&path)?;
    if !is_file {
        again.once.get_or_insert_with(|| shown.clone());
    }
    match (extension.as_str(), column) {
        ("csv" | "tsv", Some(column)) => {
            if is_file {
                source::check_column(&path, column).map_err(|error| Problem::Usage(error.to_string()))?;
            }
            Ok(Input::CsvColumn(path, column.to_owned()))
        }
        ("jsonl" | "ndjson", Some(column)) => Ok(Input::JsonColumn(path, column.to_owned())),
        ("csv" | "tsv", None) => refuse("say which column holds the inputs, with --column NAME"),
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
            | Input::Tree(path) => Some(path.as_path()),
            Input::Literal(_) | Input::StdinLines => None,
        })
        .collect()
}
