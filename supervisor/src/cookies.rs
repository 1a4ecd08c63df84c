//! The jar of a job that keeps cookies: the one that counts, over all of its workers, passes and restarts.
//!
//! In memory, and in the user's `cookies.txt` if there is one. Values are in no journal, record, log or message.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shared::clock;
use shared::cookies::{Cookie, Jar, parse_netscape, write_netscape};

use crate::whole_file::{self, Readers, WriteError};

/// How often the file is written while cookies change. A kill loses no more than that.
const WRITE_EVERY: Duration = Duration::from_secs(10);

/// Largest file that is read: a full jar of the largest cookies.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Why a job cannot keep its cookies.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JarError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// The file is not a cookie jar.
    #[error("{} is not a cookies.txt: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Its first line that is wrong.
        why: String,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// The cookies of a job. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cookies(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    jar: Jar,
    file: Option<PathBuf>,
    /// Whether the file lacks a change.
    is_behind: bool,
    written: Option<Instant>,
}

impl Cookies {
    /// Begins with the cookies in a file, and keeps them there. The file need not exist, but it must be possible to
    /// write it.
    pub(crate) fn kept_at(path: &Path) -> Result<Self, JarError> {
        let mut kept = Kept { file: Some(path.to_owned()), ..Kept::default() };
        let now = clock::wall_s();
        for cookie in read(path)? {
            kept.jar.set(cookie, now);
        }
        kept.write()?;
        Ok(Self(Arc::new(Mutex::new(kept))))
    }

    /// Returns all cookies, for a worker that has none yet.
    pub(crate) fn all(&self) -> Vec<Cookie> {
        self.lock().jar.iter().cloned().collect()
    }

    /// Takes in what a worker has changed. Returns what the other workers must know.
    pub(crate) fn take_in(&self, changes: Vec<Cookie>) -> Vec<Cookie> {
        let now = clock::wall_s();
        let mut kept = self.lock();
        let changes: Vec<Cookie> =
            changes.into_iter().filter(|change| kept.jar.set(change.clone(), now)).collect();
        kept.is_behind |= !changes.is_empty();
        changes
    }

    /// Writes the file, if it lacks something and was not written just now.
    pub(crate) fn write_if_due(&self, now: Instant) -> Result<(), JarError> {
        let mut kept = self.lock();
        let is_due = kept.written.is_none_or(|written| now.duration_since(written) >= WRITE_EVERY);
        if is_due { kept.write_changes() } else { Ok(()) }
    }

    /// Writes the file, if it lacks something.
    pub(crate) fn write(&self) -> Result<(), JarError> {
        self.lock().write_changes()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn write_changes(&mut self) -> Result<(), JarError> {
        if self.is_behind { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), JarError> {
        let Some(path) = &self.file else { return Ok(()) };
        // Also after a failure, which is told once and not with every change.
        self.written = Some(clock::now());
        self.is_behind = false;
        let text = write_netscape(self.jar.iter(), clock::wall_s());
        Ok(whole_file::replace(path, Readers::OwnerAlone, text.as_bytes())?)
    }
}

fn read(path: &Path) -> Result<Vec<Cookie>, JarError> {
    let failed = |source| JarError::Read { path: path.to_owned(), source };
    let bytes = match fs::metadata(path) {
        Ok(found) if found.len() > FILE_BYTES_MAX => {
            return Err(failed(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes"))));
        }
        Ok(_) => fs::read(path).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    parse_netscape(&bytes)
        .map_err(|error| JarError::Malformed { path: path.to_owned(), why: error.to_string() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn cookie(name: &str, expires: Option<u64>) -> Cookie {
        Cookie {
            domain: "a.example".to_owned(),
            host_only: true,
            path: "/".to_owned(),
            secure: false,
            http_only: true,
            expires,
            name: name.to_owned(),
            value: "secret".to_owned(),
        }
    }

    #[test]
    fn a_jar_outlives_the_process_and_is_the_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cookies.txt");
        fs::write(&path, "a.example\tFALSE\t/\tFALSE\t0\told\t1\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let cookies = Cookies::kept_at(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let change = vec![cookie("sid", None)];
        assert_eq!(cookies.take_in(change.clone()), change);
        assert!(cookies.take_in(change).is_empty(), "it is known");
        cookies.write_if_due(clock::now()).unwrap();
        let names = || -> Vec<String> {
            Cookies::kept_at(&path).unwrap().all().into_iter().map(|cookie| cookie.name).collect()
        };
        assert_eq!(names(), ["old"], "it was written just now");
        cookies.write().unwrap();
        assert_eq!(names(), ["old", "sid"]);
        assert_eq!(cookies.take_in(vec![cookie("sid", Some(1))]), [cookie("sid", Some(1))]);
        cookies.write_if_due(clock::now() + WRITE_EVERY).unwrap();
        assert_eq!(names(), ["old"], "it is deleted");
    }

    #[test]
    fn a_file_that_cannot_be_a_jar_is_refused_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cookies.txt");
        fs::write(&path, "{\"cookies\": []}\n").unwrap();
        let error = Cookies::kept_at(&path).unwrap_err().to_string();
        assert!(error.ends_with(
            "cookies.txt is not a cookies.txt: line 1: a cookie has seven fields with tabs between"
        ));
        assert_eq!(fs::read(&path).unwrap(), b"{\"cookies\": []}\n");
        let missing = directory.path().join("none/cookies.txt");
        assert!(matches!(Cookies::kept_at(&missing), Err(JarError::Write(_))));
    }
}
