//! Looks whether inputs can be read and outputs written, before anything is
//! started. Opens no input: opening a named pipe and closing it again would
//! break whoever writes it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::resolve::Problem;
use crate::journal::beside;
use crate::plan::{Archive, Output};
use crate::sink;

/// Formats somebody may hope for in an output's name.
const NOT_WRITTEN: [&str; 24] = [
    "7z", "arrow", "avro", "br", "bz2", "csv", "db", "duckdb", "feather", "gz", "htm", "html", "lz4", "orc",
    "parquet", "sqlite", "sqlite3", "tsv", "xls", "xlsx", "xml", "xz", "zip", "zst",
];

/// The lower-case extension of a file's name.
pub(super) fn extension(path: &Path) -> String {
    path.extension().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase()
}

/// Says why a list of inputs cannot be read, if so; else whether it can be read twice.
pub(super) fn check_list(path: &Path) -> Result<bool, Problem> {
    let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if metadata.is_dir() {
        return Err(Problem::Usage(format!(
            "{} is a directory, and -i takes files; `parse {}` walks it",
            path.display(),
            path.display()
        )));
    }
    access(path, AccessFlags::R_OK).map_err(|errno| unreadable(path, &errno.into()))?;
    Ok(metadata.is_file())
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    Problem::Impossible(format!("cannot read {}: {error}", path.display()))
}

/// Resolves `--output`.
pub(super) fn output(
    path: PathBuf,
    overwrite: bool,
    resume: bool,
    inputs: &[&Path],
) -> Result<Output, Problem> {
    if overwrite && resume {
        return Err(Problem::Usage(
            "--resume goes on with an output and --overwrite replaces it; give one of them".to_owned(),
        ));
    }
    if resume && !can_be_resumed(&path) {
        return Err(Problem::Usage(
            "--resume goes on with a file, and this output is none; name one with --output FILE".to_owned(),
        ));
    }
    if path == Path::new("-") {
        return Ok(Output::Stdout);
    }
    let format = extension(&path);
    if archive_at(&path).is_none() && NOT_WRITTEN.contains(&format.as_str()) {
        return Err(Problem::Usage(format!(
            "{}: records are written as JSON lines or as .warc.gz, not as .{format}; name the output .jsonl and \
             convert it afterwards",
            path.display()
        )));
    }
    check_not_input("--output", &path, inputs)?;
    match fs::metadata(&path) {
        // With a journal beside it, there is more to say; that is done where it is opened.
        Ok(metadata)
            if metadata.is_file() && !overwrite && !resume && !beside(&path, ".journal").exists() =>
        {
            Err(Problem::Impossible(format!(
                "{} exists; name another output, or replace it with --overwrite",
                path.display()
            )))
        }
        Ok(metadata) => {
            check_writable(&path)?;
            Ok(Output::File { overwrite: overwrite || !metadata.is_file(), resume, path })
        }
        Err(_) => {
            check_writable(&path)?;
            Ok(Output::File { path, overwrite, resume })
        }
    }
}

/// Resolves the `--output` of a table.
pub(super) fn table(path: PathBuf, overwrite: bool, inputs: &[&Path]) -> Result<Output, Problem> {
    if path == Path::new("-") {
        return Ok(Output::Stdout);
    }
    let format = extension(&path);
    if NOT_WRITTEN.contains(&format.as_str()) && !matches!(format.as_str(), "csv" | "tsv") {
        return Err(Problem::Usage(format!(
            "{}: a table is written as .csv, .tsv or .jsonl, not as .{format}",
            path.display()
        )));
    }
    check_not_input("--output", &path, inputs)?;
    if !overwrite && fs::metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
        return Err(Problem::Impossible(format!(
            "{} exists; name another output, or replace it with --overwrite",
            path.display()
        )));
    }
    check_writable(&path)?;
    Ok(Output::File { path, overwrite, resume: false })
}

/// Whether records go out as those of a web archive: its name says so.
pub(super) fn archive(output: &Output) -> Option<Archive> {
    match output {
        Output::File { path, .. } => archive_at(path),
        Output::Stdout | Output::Discard => None,
    }
}

fn archive_at(path: &Path) -> Option<Archive> {
    match extension(path).as_str() {
        "warc" => Some(Archive { gzip: false }),
        "gz" if extension(&path.with_extension("")) == "warc" => Some(Archive { gzip: true }),
        _ => None,
    }
}

/// Whether it is a file, or will be one.
fn can_be_resumed(path: &Path) -> bool {
    path != Path::new("-")
        && !sink::is_stdout(path)
        && fs::metadata(path).map_or(true, |metadata| metadata.is_file() || metadata.is_dir())
}

/// Checks `--summary` and `--report`, which replace what was there.
pub(super) fn check_side_file(flag: &str, path: &Path, inputs: &[&Path]) -> Result<(), Problem> {
    if path == Path::new("-") {
        return Err(Problem::Usage(format!("{flag} writes a file; stdout is for the records")));
    }
    check_not_input(flag, path, inputs)?;
    check_writable(path)
}

/// Refuses two outputs in one file.
pub(super) fn check_distinct(files: &[(&str, &Path)]) -> Result<(), Problem> {
    for (n, (flag, path)) in files.iter().enumerate() {
        for (other_flag, other) in files.iter().skip(n + 1) {
            if same_file(path, other) {
                return Err(Problem::Usage(format!("{flag} and {other_flag} are both {}", path.display())));
            }
        }
    }
    Ok(())
}

fn check_not_input(flag: &str, path: &Path, inputs: &[&Path]) -> Result<(), Problem> {
    match inputs.iter().find(|input| same_file(input, path)) {
        Some(input) => Err(Problem::Usage(format!(
            "{flag} {} is the input {}; writing it would destroy what is to be read",
            path.display(),
            input.display()
        ))),
        None => Ok(()),
    }
}

fn check_writable(path: &Path) -> Result<(), Problem> {
    let fail = |error: io::Error| Problem::Impossible(format!("cannot write {}: {error}", path.display()));
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(Problem::Impossible(format!(
            "cannot write {}: it is a directory; name a file in it",
            path.display()
        ))),
        Ok(_) => access(path, AccessFlags::W_OK).map_err(|errno| fail(errno.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let directory = directory(path);
            if directory.is_dir() {
                return access(directory, AccessFlags::W_OK).map_err(|errno| fail(errno.into()));
            }
            Err(Problem::Impossible(format!(
                "cannot write {}: there is no directory {}; make it first",
                path.display(),
                directory.display()
            )))
        }
        Err(error) => Err(fail(error)),
    }
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

/// Whether two names mean one regular file, whether or not it exists yet.
fn same_file(a: &Path, b: &Path) -> bool {
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(a), Ok(b)) => a.is_file() && (a.dev(), a.ino()) == (b.dev(), b.ino()),
        (Err(_), Err(_)) => match (absolute(a), absolute(b)) {
            (Some(a), Some(b)) => a == b,
            (None, _) | (_, None) => false,
        },
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
    }
}

fn absolute(path: &Path) -> Option<PathBuf> {
    Some(fs::canonicalize(directory(path)).ok()?.join(path.file_name()?))
}
