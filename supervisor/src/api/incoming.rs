//! Uploads on their way to the disk. Each submission has a directory, which becomes the job's once
//! the state loop has accepted it. Otherwise the directory is removed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::StatusCode;
use ring::digest::{Context, SHA256};
use tokio::task::spawn_blocking;

use super::problem::Problem;
use crate::service::Upload;

/// Bytes collected before a thread is woken to write them.
const WRITE_BYTES: usize = 256 * 1024;

/// Maximum files in one submission.
const FILES_MAX: usize = 100_000;

/// Number of files up to which each is synced on its own. Beyond it, syncing the whole file system
/// is cheaper.
const SYNCED_ALONE: usize = 32;

/// Maximum length of a file name. Longer names lose their beginning, because the extension says
/// what the file is.
const NAME_BYTES_MAX: usize = 200;

/// The response if the disk cannot store an upload.
fn storage(error: &io::Error) -> Problem {
    Problem::new(StatusCode::INSUFFICIENT_STORAGE, format_args!("cannot store the upload: {error}"))
}

/// Runs work that may block on the disk.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Problem> {
    match spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| storage(&error)),
        Err(_) => Err(Problem::busy("the service is stopping")),
    }
}

/// The files of one submission. Dropping this removes them.
pub(super) struct UploadBatch {
    /// The parent of all batches.
    parent: PathBuf,
    /// The directory of this batch, once there is a file.
    dir: Option<PathBuf>,
    uploads: Vec<Upload>,
    /// Digest of each file's name and contents; only needed with an idempotency key.
    digests: Option<Vec<[u8; 32]>>,
}

impl UploadBatch {
    pub(super) fn new(parent: &Path, with_digests: bool) -> Self {
        let digests = with_digests.then(Vec::new);
        Self { parent: parent.to_owned(), dir: None, uploads: Vec::new(), digests }
    }

    /// Starts a file.
    ///
    /// # Errors
    /// If the file cannot be created, or there are too many.
    pub(super) async fn file(&mut self, name: &str) -> Result<OpenFile<'_>, Problem> {
        if self.uploads.len() >= FILES_MAX {
            let detail = format_args!("the submission has more than {FILES_MAX} files");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
        let dir = match &self.dir {
            Some(dir) => dir.clone(),
            None => {
                let dir = self.parent.join(format!("{:016x}", fastrand::u64(..)));
                let made = dir.clone();
                on_disk(move || DirBuilder::new().mode(0o700).create(made)).await?;
                self.dir.insert(dir).clone()
            }
        };
        let name = plain(name);
        let path = dir.join(format!("{}-{name}", self.uploads.len()));
        let made = path.clone();
        let create =
            move || OpenOptions::new().write(true).create_new(true).mode(0o600).open(made).map(Arc::new);
        let file = on_disk(create).await?;
        let digest = self.digests.is_some().then(|| {
            let mut digest = Context::new(&SHA256);
            digest.update(&(name.len() as u64).to_le_bytes());
            digest.update(name.as_bytes());
            digest
        });
        Ok(OpenFile { batch: self, upload: Upload { path, name }, file, digest, waiting: Vec::new() })
    }

    /// Digest of the document and the files, for an idempotency key.
    pub(super) fn digest(&self, document: &[u8]) -> [u8; 32] {
        let mut digest = Context::new(&SHA256);
        digest.update(&(document.len() as u64).to_le_bytes());
        digest.update(document);
        self.digests.iter().flatten().for_each(|file| digest.update(file));
        bytes_of(digest)
    }

    /// Ensures that everything is on disk. Returns the files for the state loop.
    ///
    /// # Errors
    /// If syncing fails.
    pub(super) async fn sync(&self) -> Result<Vec<Upload>, Problem> {
        let uploads = self.uploads.clone();
        let Some(dir) = self.dir.clone() else { return Ok(uploads) };
        on_disk(move || {
            let dir = File::open(dir)?;
            if uploads.len() > SYNCED_ALONE {
                rustix::fs::syncfs(&dir)?;
            } else {
                uploads.iter().try_for_each(|upload| File::open(&upload.path)?.sync_all())?;
                dir.sync_all()?;
            }
            Ok(uploads)
        })
        .await
    }

    /// Keeps the files: they now belong to a job.
    pub(super) fn keep(mut self) {
        self.dir = None;
    }
}

impl Drop for UploadBatch {
    fn drop(&mut self) {
        let Some(dir) = self.dir.take() else { return };
        let remove = move || {
            if let Err(error) = fs::remove_dir_all(&dir)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(%error, dir = %dir.display(), "an upload could not be removed");
            }
        };
        // There may be many files, and the event loop must not block.
        match tokio::runtime::Handle::try_current() {
            Ok(handle) => drop(handle.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

/// A file that is being written.
pub(super) struct OpenFile<'a> {
    batch: &'a mut UploadBatch,
    upload: Upload,
    file: Arc<File>,
    digest: Option<Context>,
    waiting: Vec<u8>,
}

impl OpenFile<'_> {
    /// Appends bytes.
    ///
    /// # Errors
    /// If the bytes cannot be written.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= WRITE_BYTES { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Problem> {
        let (bytes, file) = (std::mem::take(&mut self.waiting), Arc::clone(&self.file));
        let mut digest = self.digest.take();
        let write = move || {
            (&*file).write_all(&bytes)?;
            if let Some(digest) = &mut digest {
                digest.update(&bytes);
            }
            Ok((bytes, digest))
        };
        let (mut bytes, digest) = on_disk(write).await?;
        bytes.clear();
        (self.waiting, self.digest) = (bytes, digest);
        Ok(())
    }

    /// Finishes the file.
    ///
    /// # Errors
    /// If its last bytes cannot be written.
    pub(super) async fn end(mut self) -> Result<(), Problem> {
        if !self.waiting.is_empty() {
            self.flush().await?;
        }
        let Self { batch, upload, digest, .. } = self;
        batch.uploads.push(upload);
        if let (Some(digests), Some(digest)) = (&mut batch.digests, digest) {
            digests.push(bytes_of(digest));
        }
        Ok(())
    }
}

fn bytes_of(digest: Context) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.finish().as_ref());
    bytes
}

/// Returns a short name without directories.
fn plain(name: &str) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = name.chars().filter(|letter| !letter.is_control()).collect();
    let cut = (name.len().saturating_sub(NAME_BYTES_MAX)..=name.len()).find(|at| name.is_char_boundary(*at));
    match name.get(cut.unwrap_or(0)..).unwrap_or_default().trim() {
        "" | "." | ".." => "input".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_directories_and_keep_their_extension() {
        for (name, want) in [
            ("urls.csv.gz", "urls.csv.gz"),
            ("../../etc/passwd", "passwd"),
            ("C:\\pages\\a b.html", "a b.html"),
            ("..", "input"),
            ("", "input"),
            ("a\0\nb", "ab"),
        ] {
            assert_eq!(plain(name), want);
        }
        let long = format!("{}é.csv", "ä".repeat(300));
        assert!(plain(&long).len() <= NAME_BYTES_MAX && plain(&long).ends_with("é.csv"));
    }

    #[tokio::test]
    async fn dropped_batches_are_removed_and_digests_cover_names_and_contents() {
        let dir = tempfile::tempdir().unwrap();
        let parent = dir.path().join("incoming");
        fs::create_dir(&parent).unwrap();
        let mut digests = Vec::new();
        for (name, contents) in [("a", "1"), ("a", "2"), ("b", "1"), ("a", "1")] {
            let mut batch = UploadBatch::new(&parent, true);
            let mut writing = batch.file(name).await.unwrap();
            writing.write(contents.as_bytes()).await.unwrap();
            writing.end().await.unwrap();
            let uploads = batch.sync().await.unwrap();
            assert_eq!(fs::read_to_string(&uploads[0].path).unwrap(), contents);
            digests.push(batch.digest(b"{}"));
            assert_ne!(batch.digest(b"{}"), batch.digest(b"[]"));
            let dir = uploads[0].path.parent().unwrap().to_owned();
            tokio::task::spawn_blocking(move || drop(batch)).await.unwrap();
            while dir.exists() {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(digests[0], digests[3]);
        assert!(digests[0] != digests[1] && digests[0] != digests[2]);
        let mut batch = UploadBatch::new(&parent, false);
        batch.file("x").await.unwrap().end().await.unwrap();
        batch.keep();
        assert_eq!(fs::read_dir(&parent).unwrap().count(), 1);
    }
}
