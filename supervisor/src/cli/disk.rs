//! Checks before the start that inputs can be read and outputs can be written. Opens no input: opening a
//! named pipe and closing it again would make its writer fail.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::num::NonZeroU64;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::Environment;
use super::flags::OutputFlags;
use super::object::object;
use super::problem::Problem;
use crate::descriptor;
use crate::format::{self, Format};
use crate::journal::beside;
use crate::objects::{Object, ObjectUrl};
use crate::plan::Output;
use crate::sink::{SinkError, whole};

/// Extensions of known formats that are not written. They are refused instead of becoming JSON lines.
const NOT_WRITTEN: [&str; 15] = [
    "7z", "arrow", "avro", "br", "bz2", "duckdb", "feather", "htm", "html", "lz4", "orc", "xls", "xlsx",
    "xz", "zip",
];

/// The extension of a file's name, in lower case.
pub(super) fn extension(path: &Path) -> String {
    path.extension().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase()
}

/// Checks that a list of inputs can be read. Returns whether it can be read twice.
pub(super) fn check_list(path: &Path) -> Result<bool, Problem> {
    let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if metadata.is_dir() {
        return Err(Problem::Usage(format!(
            "{} is a directory, and -i takes a file; to parse its pages, use `parse {}`",
            path.display(),
            path.display()
        )));
    }
    access(path, AccessFlags::R_OK).map_err(|errno| unreadable(path, &errno.into()))?;
    Ok(metadata.is_file())
}

pub(super) fn unreadable(path: &Path, error: &io::Error) -> Problem {
    Problem::Impossible(format!("cannot read {}: {error}", path.display()))
}

/// Resolves `--output` for records, with the flags that belong to it.
pub(super) fn output(
    flags: &OutputFlags,
    inputs: &[&Path],
    env: &Environment<'_>,
) -> Result<OutputPlan, Problem> {
    let OutputFlags { output, overwrite, resume, split, .. } = flags;
    let (overwrite, resume) = (*overwrite, *resume);
    if overwrite && resume {
        return Err(Problem::Usage(
            "--resume continues an output and --overwrite replaces it; give one of them".to_owned(),
        ));
    }
    if resume && !can_be_resumed(output) {
        return Err(Problem::Usage(
            "--resume needs an output that is a file; name one with --output FILE".to_owned(),
        ));
    }
    let format = format(output, flags.format, split.is_some())?.unwrap_or_default();
    check_format(output, format, *split)?;
    let place =
        |output| OutputPlan { output, object: None, format, split: *split, manifest: flags.manifest.clone() };
    if output == Path::new("-") {
        return Ok(place(Output::Stdout));
    }
    if let Some(url) = ObjectUrl::of(output) {
        let (object, path) = object(url, format, split.is_some(), env)?;
        return Ok(OutputPlan {
            object: Some(Box::new(object)),
            ..place(Output::File { path, overwrite, resume })
        });
    }
    if split.is_some() {
        return directory_of_files(output, overwrite, resume).map(place);
    }
    check_not_input("--output", output, inputs)?;
    let path = output.clone();
    if is_descriptor(&path)? {
        return Ok(place(Output::File { path, overwrite: true, resume: false }));
    }
    let output = match fs::metadata(&path) {
        // If a journal exists beside it, the code that opens the journal reports more precisely.
        Ok(metadata)
            if metadata.is_file() && !overwrite && !resume && !beside(&path, ".journal").exists() =>
        {
            return Err(exists(&path));
        }
        Ok(metadata) => {
            check_writable(&path)?;
            Output::File { overwrite: overwrite || !metadata.is_file(), resume, path }
        }
        Err(_) => {
            check_writable(&path)?;
            Output::File { path, overwrite, resume }
        }
    };
    Ok(place(output))
}

/// The output of the records, and how it is written.
pub(super) struct OutputPlan {
    pub(super) output: Output,
    pub(super) object: Option<Box<Object>>,
    pub(super) format: Format,
    pub(super) split: Option<NonZeroU64>,
    pub(super) manifest: Option<PathBuf>,
}

impl OutputPlan {
    /// The destination of discarded records.
    pub(super) fn discarded() -> Self {
        Self { output: Output::Discard, object: None, format: Format::default(), split: None, manifest: None }
    }
}

fn exists(path: &Path) -> Problem {
    Problem::Impossible(SinkError::Exists { path: path.to_owned() }.to_string())
}

/// The format given with `--format`, else by the output's name. A directory's name gives no format.
fn format(path: &Path, asked: Option<Format>, is_directory: bool) -> Result<Option<Format>, Problem> {
    if asked.is_some() || is_directory || path == Path::new("-") {
        return Ok(asked);
    }
    let shown = path.display();
    let format = Format::of(path).map_err(|why| Problem::Usage(format!("{shown}: {why}")))?;
    let extension = extension(path);
    if format.is_none() && NOT_WRITTEN.contains(&extension.as_str()) {
        return Err(Problem::Usage(format!(
            "{shown}: cannot write .{extension} files; use .jsonl or another of {}, or give the format with --format",
            format::NAMES
        )));
    }
    Ok(format)
}

/// Refuses a format that the output cannot hold.
fn check_format(path: &Path, format: Format, split: Option<NonZeroU64>) -> Result<(), Problem> {
    let shown = path.display();
    if cfg!(not(feature = "parquet")) && format == Format::Parquet {
        return Err(Problem::Usage(
            "this build cannot write Parquet; rebuild it with the feature `parquet`".to_owned(),
        ));
    }
    let is_stream = path == Path::new("-")
        || descriptor::named(path).is_some()
        || fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir());
    if is_stream && (format.is_whole() || split.is_some()) {
        let what = if split.is_some() {
            "--split needs a directory".to_owned()
        } else {
            format!("{format} needs a regular file")
        };
        return Err(Problem::Usage(format!(
            "{what}, but the output is {}; name one with --output",
            if path == Path::new("-") { "standard output".to_owned() } else { shown.to_string() }
        )));
    }
    if path == Path::new("-") && matches!(format, Format::Warc { .. }) {
        return Err(Problem::Usage("a web archive must be a file; name it with --output".to_owned()));
    }
    if split.is_some() && matches!(format, Format::Warc { .. }) {
        return Err(Problem::Usage(
            "--split cannot divide a web archive, because it counts JSON records; leave it out".to_owned(),
        ));
    }
    let ends_in_slash = path.as_os_str().as_bytes().ends_with(b"/");
    if split.is_none() && (ends_in_slash || path.is_dir()) {
        return Err(Problem::Impossible(format!(
            "{shown} is a directory; name a file in it, or give the number of records per file with --split N"
        )));
    }
    Ok(())
}

/// Resolves a directory for the files of `--split`. The run creates it if it does not exist.
fn directory_of_files(path: &Path, overwrite: bool, resume: bool) -> Result<Output, Problem> {
    // Without a trailing slash, because the journal's name is made from this path.
    let path: PathBuf = path.components().collect();
    if path.file_name().is_none() {
        return Err(Problem::Usage(format!(
            "--split cannot write to {}, because its journal must be beside it; name another directory",
            path.display()
        )));
    }
    match fs::metadata(&path) {
        Ok(metadata) if !metadata.is_dir() => {
            return Err(Problem::Usage(format!(
                "--split needs a directory, and {} is a file",
                path.display()
            )));
        }
        Ok(_) => {
            let used = whole::is_used(&path).map_err(|error| unreadable(&path, &error))?;
            if used && !overwrite && !resume && !beside(&path, ".journal").exists() {
                return Err(Problem::Impossible(format!(
                    "{} already contains an output; name another directory, or replace it with --overwrite",
                    path.display()
                )));
            }
            access(&path, AccessFlags::W_OK).map_err(|errno| {
                Problem::Impossible(format!("cannot write to {}: {}", path.display(), io::Error::from(errno)))
            })?;
        }
        Err(_) => check_writable(&path)?,
    }
    Ok(Output::File { path, overwrite, resume })
}

/// Resolves `--output` for a table, and its format.
pub(super) fn table(
    path: PathBuf,
    asked: Option<Format>,
    overwrite: bool,
    inputs: &[&Path],
    env: &Environment<'_>,
) -> Result<OutputPlan, Problem> {
    let format = format(&path, asked, false)?.unwrap_or(Format::Csv(None));
    if !matches!(format, Format::Csv(_) | Format::Tsv(_) | Format::JsonLines(_)) {
        return Err(Problem::Usage(format!(
            "{}: cannot write a table of groups as .{format}; use .csv, .tsv or .jsonl, with or without .gz or .zst",
            path.display()
        )));
    }
    let place = |output| OutputPlan { output, object: None, format, split: None, manifest: None };
    if path == Path::new("-") {
        return Ok(place(Output::Stdout));
    }
    if let Some(url) = ObjectUrl::of(&path) {
        let (object, path) = object(url, format, false, env)?;
        let output = Output::File { path, overwrite, resume: false };
        return Ok(OutputPlan { object: Some(Box::new(object)), ..place(output) });
    }
    check_not_input("--output", &path, inputs)?;
    if is_descriptor(&path)? {
        return Ok(place(Output::File { path, overwrite: true, resume: false }));
    }
    if !overwrite && fs::metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
        return Err(exists(&path));
    }
    check_writable(&path)?;
    Ok(place(Output::File { path, overwrite, resume: false }))
}

/// Whether a run can continue this output, which must be a file or not exist yet.
fn can_be_resumed(path: &Path) -> bool {
    path != Path::new("-")
        && descriptor::named(path).is_none()
        && fs::metadata(path).map_or(true, |metadata| metadata.is_file() || metadata.is_dir())
}

/// Whether `path` is a regular file, or will be one.
pub(super) fn will_be_file(path: &Path) -> bool {
    descriptor::named(path).is_none() && fs::metadata(path).map_or(true, |metadata| metadata.is_file())
}

/// Checks the path of `--summary`, `--report` or `--manifest`. These replace an existing file.
pub(super) fn check_side_file(flag: &str, path: &Path, inputs: &[&Path]) -> Result<(), Problem> {
    if path == Path::new("-") {
        return Err(Problem::Usage(format!("{flag} needs a file name; standard output is for the records")));
    }
    check_not_input(flag, path, inputs)?;
    check_writable(path)
}

/// Refuses two outputs to the same file.
pub(super) fn check_distinct(files: &[(&str, &Path)]) -> Result<(), Problem> {
    for (n, (flag, path)) in files.iter().enumerate() {
        for (other_flag, other) in files.iter().skip(n + 1) {
            if same_file(path, other) {
                return Err(Problem::Usage(format!("{flag} and {other_flag} both name {}", path.display())));
            }
        }
    }
    Ok(())
}

fn check_not_input(flag: &str, path: &Path, inputs: &[&Path]) -> Result<(), Problem> {
    match inputs.iter().find(|input| same_file(input, path)) {
        Some(input) => Err(Problem::Usage(format!(
            "{flag} {} is also the input {}; writing it would destroy the input",
            path.display(),
            input.display()
        ))),
        None => Ok(()),
    }
}

/// Whether a path names an inherited descriptor. If it does, the descriptor must be open for writing.
fn is_descriptor(path: &Path) -> Result<bool, Problem> {
    let Some(number) = descriptor::named(path) else { return Ok(false) };
    match descriptor::inherited_for_writing(number) {
        Ok(_) => Ok(true),
        Err(error) => Err(unwritable(path, &error)),
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Problem {
    Problem::Impossible(format!("cannot write {}: {error}", path.display()))
}

fn check_writable(path: &Path) -> Result<(), Problem> {
    if is_descriptor(path)? {
        return Ok(());
    }
    let path = descriptor::through_links(path);
    let path = path.as_path();
    let fail = |error: io::Error| unwritable(path, &error);
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
                "cannot write {}: directory {} does not exist; create it first",
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

/// Whether two paths name the same regular file, whether or not it exists yet.
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
