//! Uploads the output of a run, and verifies it.
//!
//! Invariant: the note says that everything is uploaded only when the store has confirmed, for
//! every object, the size and the hash of our file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::remote::{FileUpload, ObjectHead, Remote};
use super::working::NoteFile;
use crate::format::Format;
use crate::objects::{Object, ObjectError};
use crate::sink::whole::{self, Manifest, Totals};
use crate::sink::{Deliver, SinkError};

/// Metadata of every object: its hash.
pub(super) const SHA256: &str = "muster-sha256";

/// Metadata of an output: the number of records, and of those with errors.
pub(super) const RECORDS: &str = "muster-records";
pub(super) const FAILED: &str = "muster-failed";

/// An upload to do once the output is complete.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(super) remote: Remote,
    pub(super) object: Object,
    pub(super) note_file: NoteFile,
    /// The file, or the directory of a split output.
    pub(super) output: PathBuf,
}

impl Deliver for Upload {
    fn deliver(self: Box<Self>, totals: Totals) -> Result<(), SinkError> {
        self.run(totals).map_err(SinkError::Object)
    }
}

impl Upload {
    /// Uploads a table, which has no records.
    ///
    /// # Errors
    /// If it cannot be uploaded, or is not in the store afterwards.
    pub(crate) fn table(mut self) -> Result<(), ObjectError> {
        self.remote.abort_begun(&mut self.note_file)?;
        self.put_one(None)?;
        self.done()
    }

    fn run(mut self, totals: Totals) -> Result<(), ObjectError> {
        self.remote.abort_begun(&mut self.note_file)?;
        if self.output.is_dir() {
            self.put_directory(totals)?;
        } else {
            self.put_one(Some(totals))?;
        }
        self.done()
    }

    fn done(mut self) -> Result<(), ObjectError> {
        self.note_file.note.uploaded = true;
        self.note_file.save()
    }

    fn put_one(&mut self, totals: Option<Totals>) -> Result<(), ObjectError> {
        let (output, key) = (self.output.clone(), self.object.url.key.clone());
        self.put(&output, key, totals, self.note_file.note.replaces)
    }

    /// The manifest is uploaded last and deleted first: if it exists, everything else does.
    fn put_directory(&mut self, totals: Totals) -> Result<(), ObjectError> {
        let manifest = self.object.url.below(whole::MANIFEST);
        let replaces = self.note_file.note.replaces;
        if replaces {
            self.remote.delete(&manifest)?;
        } else if self.is_there(&manifest, totals)? {
            return Ok(());
        }
        if !replaces && !self.note_file.note.parts_begun && !self.parts()?.is_empty() {
            return Err(ObjectError::InTheWay { url: self.object.url.to_string() });
        }
        self.note_file.note.parts_begun = true;
        self.note_file.save()?;
        let mut names = Vec::new();
        let unreadable = |cause| ObjectError::Working { path: self.output.clone(), cause };
        for entry in fs::read_dir(&self.output).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name().to_string_lossy().into_owned();
            if whole::is_part(&name) {
                names.push(name);
            }
        }
        names.sort();
        for name in &names {
            self.put(&self.output.join(name), self.object.url.below(name), None, true)?;
        }
        for name in self.parts()?.iter().filter(|name| !names.contains(name)) {
            self.remote.delete(&self.object.url.below(name))?;
        }
        self.put(&self.output.join(whole::MANIFEST), manifest, Some(totals), replaces)
    }

    /// Returns the parts that are in the store.
    fn parts(&self) -> Result<Vec<String>, ObjectError> {
        Ok(self.remote.list()?.into_iter().filter(|name| whole::is_part(name)).collect())
    }

    /// Whether an earlier run uploaded the manifest and was killed before it could note that.
    fn is_there(&self, manifest: &str, totals: Totals) -> Result<bool, ObjectError> {
        let Some(head) = self.remote.head(manifest)? else { return Ok(false) };
        let path = self.output.join(whole::MANIFEST);
        match differs(&head, &upload(&path, manifest.to_owned(), Some(totals), false)?) {
            None => Ok(true),
            Some(_) => Err(ObjectError::InTheWay { url: self.object.url.to_string() }),
        }
    }

    fn put(
        &mut self,
        path: &Path,
        key: String,
        totals: Option<Totals>,
        replaces: bool,
    ) -> Result<(), ObjectError> {
        let upload = upload(path, key, totals, replaces)?;
        let was_there = !replaces && self.remote.head(&upload.key)?.is_some();
        let is_kept = was_there || !self.remote.put(&upload, &mut self.note_file)?;
        let url = format!("s3://{}/{}", self.object.url.bucket, upload.key);
        let why = match self.remote.head(&upload.key)? {
            None => "it is not in the store".to_owned(),
            Some(head) => match differs(&head, &upload) {
                None => return Ok(()),
                // If it were ours, from a run that was killed before it could note that, its
                // contents would be the same.
                Some(_) if is_kept => return Err(ObjectError::InTheWay { url }),
                Some(why) => why,
            },
        };
        Err(ObjectError::Altered { url, why })
    }
}

/// Returns how an object differs from what was to be uploaded.
fn differs(head: &ObjectHead, upload: &FileUpload<'_>) -> Option<String> {
    if head.bytes != upload.bytes {
        return Some(format!("it has {} bytes, not {}", head.bytes, upload.bytes));
    }
    (head.metadata.get(SHA256) != upload.metadata.get(SHA256))
        .then(|| "it does not have the SHA-256 that was uploaded".to_owned())
}

fn upload(
    path: &Path,
    key: String,
    totals: Option<Totals>,
    replaces: bool,
) -> Result<FileUpload<'_>, ObjectError> {
    let records = totals.map_or(0, |totals| totals.ok + totals.failed);
    let manifest = Manifest::of(Format::default(), Totals::default(), [(path, records)]);
    let manifest = manifest.map_err(|cause| ObjectError::Working { path: path.to_owned(), cause })?;
    let (bytes, sha256) =
        manifest.files.into_iter().next().map(|file| (file.bytes, file.sha256)).unwrap_or_default();
    let mut metadata = BTreeMap::from([(SHA256.to_owned(), sha256)]);
    if let Some(totals) = totals {
        metadata.insert(RECORDS.to_owned(), records.to_string());
        metadata.insert(FAILED.to_owned(), totals.failed.to_string());
    }
    Ok(FileUpload { path, key, bytes, content_type: content_type(path), metadata, replaces })
}

fn content_type(path: &Path) -> &'static str {
    if path.ends_with(whole::MANIFEST) {
        return "application/json";
    }
    let format = Format::of(path).ok().flatten().unwrap_or_default();
    match format {
        Format::JsonLines(None) => "application/x-ndjson",
        Format::Csv(None) => "text/csv; charset=utf-8",
        Format::Tsv(None) => "text/tab-separated-values; charset=utf-8",
        Format::Parquet => "application/vnd.apache.parquet",
        Format::Sqlite => "application/vnd.sqlite3",
        Format::Warc { gzip: false } => "application/warc",
        Format::Warc { gzip: true } => "application/gzip",
        Format::JsonLines(Some(packing)) | Format::Csv(Some(packing)) | Format::Tsv(Some(packing)) => {
            match packing {
                crate::format::Packing::Gzip => "application/gzip",
                crate::format::Packing::Zstd => "application/zstd",
            }
        }
    }
}
