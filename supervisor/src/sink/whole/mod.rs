//! Files that are built from records and appear when they are whole: Parquet,
//! SQLite, and the files of a directory. Written under other names, brought to
//! the disk, then renamed; a directory's manifest comes last.
//!
//! Invariant: what has the final name is whole.

mod cut;
mod manifest;
#[cfg(feature = "parquet")]
mod parquet;
mod part;
mod sqlite;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use shared::table::Table;

pub(crate) use self::cut::Cut;
pub(super) use self::cut::malformed;
pub(crate) use self::manifest::{Manifest, write_manifest};
#[cfg(feature = "parquet")]
pub(crate) use self::parquet::count as count_parquet;
use self::part::Part;
pub(crate) use self::sqlite::count as count_sqlite;
use super::SinkError;
use crate::descriptor;
use crate::format::Format;

/// The name of the file that says what is in a directory.
pub(crate) const MANIFEST: &str = "manifest.json";

/// What a job comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records with what was asked for.
    pub ok: u64,
    /// Records with an error.
    pub failed: u64,
}

/// What is to be built.
#[derive(Debug, Clone)]
pub struct Making {
    /// The file, or the directory if it is split.
    pub path: PathBuf,
    /// The file that keeps the records meanwhile.
    pub kept_at: PathBuf,
    /// In which form.
    pub format: Format,
    /// Records in each file of a directory; `None` is one file.
    pub split: Option<NonZeroU64>,
    /// Their columns.
    pub table: Table,
}

/// Files while they are built.
#[derive(Debug)]
pub struct Whole {
    making: Making,
    /// Where the one file of a run without a directory is written.
    part_at: PathBuf,
    open: Option<Part>,
    /// Records in the open part.
    in_part: u64,
    made: Vec<Made>,
    records: u64,
    finished: bool,
}

/// A file that is whole, and has not its name yet.
#[derive(Debug)]
struct Made {
    at: PathBuf,
    path: PathBuf,
    records: u64,
}

impl Whole {
    /// Creates no file yet.
    #[must_use]
    pub fn new(making: Making) -> Self {
        let making = Making { path: descriptor::through_links(&making.path), ..making };
        Self {
            part_at: part_of(&making.path),
            making,
            open: None,
            in_part: 0,
            made: Vec::new(),
            records: 0,
            finished: false,
        }
    }

    pub(super) fn kept_at(&self) -> PathBuf {
        self.making.kept_at.clone()
    }

    /// How the records that this is built from are told apart.
    pub(super) const fn cut(&self) -> Cut {
        Cut::of(self.making.format)
    }

    /// Takes a record, in the form that [`Self::cut`] tells apart.
    pub(super) fn take(&mut self, record: &[u8]) -> Result<(), SinkError> {
        let (at, path, records) = (self.next_at(), self.next_path(), self.records);
        let failed = |cause| super::failure(at.display().to_string(), Some(records), cause);
        let part = match &mut self.open {
            Some(part) => part,
            none => {
                if self.making.split.is_some() {
                    fs::create_dir_all(&self.making.path).map_err(failed)?;
                }
                let part = Part::create(&at, &path, self.making.format, &self.making.table);
                none.insert(part.map_err(failed)?)
            }
        };
        part.take(record).map_err(failed)?;
        self.in_part += 1;
        self.records += 1;
        if self.making.split.is_some_and(|rows| self.in_part >= rows.get()) {
            self.close_part()?;
        }
        Ok(())
    }

    /// Where the part that is open, or the next one, is written.
    fn next_at(&self) -> PathBuf {
        match self.making.split {
            None => self.part_at.clone(),
            Some(_) => self.making.path.join(format!(".{}.tmp", self.next_name())),
        }
    }

    /// The name that it gets when it is whole.
    fn next_path(&self) -> PathBuf {
        match self.making.split {
            None => self.making.path.clone(),
            Some(_) => self.making.path.join(self.next_name()),
        }
    }

    fn next_name(&self) -> String {
        format!("part-{:05}.{}", self.made.len(), self.making.format)
    }

    fn close_part(&mut self) -> Result<(), SinkError> {
        let Some(part) = self.open.take() else { return Ok(()) };
        let at = self.next_at();
        part.finish().map_err(|cause| super::failure(at.display().to_string(), Some(self.records), cause))?;
        let path = self.next_path();
        self.made.push(Made { at, path, records: std::mem::take(&mut self.in_part) });
        Ok(())
    }

    /// There are no more records: all files get their names.
    pub(super) fn finish(mut self: Box<Self>, totals: Totals) -> Result<(), SinkError> {
        let shown = self.making.path.display().to_string();
        let (records, is_split) = (self.records, self.making.split.is_some());
        let failed = |cause| super::failure(shown.clone(), Some(records), cause);
        if self.making.split.is_none() && self.open.is_none() {
            // A run without records leaves a file that says so.
            let (at, path) = (self.next_at(), self.next_path());
            let part = Part::create(&at, &path, self.making.format, &self.making.table).map_err(failed)?;
            self.open = Some(part);
        }
        self.close_part()?;
        if is_split {
            fs::create_dir_all(&self.making.path).map_err(failed)?;
            // That says that the directory is whole, which it is not while files get their names.
            remove_if_there(&self.making.path.join(MANIFEST)).map_err(failed)?;
        }
        for made in &self.made {
            fs::rename(&made.at, &made.path).map_err(failed)?;
        }
        let directory = if is_split { self.making.path.as_path() } else { parent(&self.making.path) };
        if is_split {
            let kept: Vec<&Path> = self.made.iter().map(|made| made.path.as_path()).collect();
            clear(directory, &kept).map_err(failed)?;
            let files = self.made.iter().map(|made| (made.path.as_path(), made.records));
            let manifest = Manifest::of(self.making.format, totals, files).map_err(failed)?;
            write_manifest(&directory.join(MANIFEST), directory, &manifest).map_err(failed)?;
        }
        // Some file systems have no such call and do not need it.
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
        self.finished = true;
        Ok(())
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        // The next run builds it again.
        let open = self.open.take().map(|_| self.next_at());
        for at in self.made.iter().map(|made| &made.at).chain(&open) {
            let _ = fs::remove_file(at);
        }
    }
}

/// Returns where an output in one file is written. A link stays: what it leads to is replaced, by a
/// file beside that.
pub(crate) fn part_of(output: &Path) -> PathBuf {
    let mut name = descriptor::through_links(output).into_os_string();
    name.push(".journal.part");
    name.into()
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether a name is that of a file of a directory, whole or not.
fn is_ours(name: &str) -> bool {
    let name = name.strip_prefix('.').unwrap_or(name);
    name.strip_prefix("part-").is_some_and(|rest| {
        rest.split_once('.')
            .is_some_and(|(number, _)| number.len() >= 5 && number.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

/// Whether a name is that of a whole file of a directory.
pub(crate) fn is_part(name: &str) -> bool {
    !name.starts_with('.') && is_ours(name)
}

/// Whether a directory holds an output of ours.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn is_used(directory: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if name == MANIFEST || is_part(&name) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes away what earlier runs left: they may have written more files, or of another kind.
fn clear(directory: &Path, kept: &[&Path]) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if is_ours(&name) && !kept.contains(&path.as_path()) {
            remove_if_there(&path)?;
        }
    }
    Ok(())
}
