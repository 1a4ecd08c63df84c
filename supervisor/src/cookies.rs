//! The jar of a job that keeps cookies: the one that counts, over all of its workers, passes and restarts.
//!
//! In memory, and in the user's `cookies.txt` if there is one. Values are in no journal, record, log or message.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shared::clock;
use shared::cookies::{Cookie, Jar, is_settable, parse_netscape, write_netscape};

use crate::whole_file::{self, Readers, WriteError};

/// How often the file is written while cookies change. A kill loses no more than that: a change after a longer pause
/// is written before the outcome that brought it.
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
    /// The session that the cookies belong to, and its header profile.
    session: u32,
    profile: u16,
    jar: Jar,
    file: Option<PathBuf>,
    /// Whether the file lacks a change.
    is_behind: bool,
    /// When it was last tried to write a change.
    tried: Option<Instant>,
    /// Whether that failed.
    failed: bool,
}

impl Cookies {
    /// Begins with the cookies in a file, and leaves the file as it is. It need not exist.
    pub(crate) fn read_from(path: &Path) -> Result<Self, JarError> {
        let mut kept = Kept::default();
        let now = clock::wall_s();
        for cookie in read(path)? {
            kept.jar.set(cookie, now);
        }
        Ok(Self(Arc::new(Mutex::new(kept))))
    }

    /// Begins with the cookies in a file, and keeps them there. The file need not exist, but it must be possible to
    /// write it.
    pub(crate) fn kept_at(path: &Path) -> Result<Self, JarError> {
        let cookies = Self::read_from(path)?;
        let mut kept = cookies.lock();
        kept.file = Some(path.to_owned());
        kept.replace_file()?;
        drop(kept);
        Ok(cookies)
    }

    /// Begins a session with this header profile. It forgets the cookies of the one before, unless it is to keep them.
    pub(crate) fn begin_session(&self, session: u32, profile: u16, keeps: bool) {
        let mut kept = self.lock();
        (kept.session, kept.profile) = (session, profile);
        if !keeps {
            kept.jar = Jar::default();
            kept.is_behind = true;
        }
    }

    /// The session that the cookies belong to, and its header profile.
    pub(crate) fn session(&self) -> (u32, u16) {
        let kept = self.lock();
        (kept.session, kept.profile)
    }

    /// Returns all cookies, for a worker that has none yet.
    pub(crate) fn all(&self) -> Vec<Cookie> {
        self.lock().jar.iter().cloned().collect()
    }

    /// Takes in what a worker has changed. Returns what the other workers must know.
    ///
    /// # Errors
    /// What is wrong with a cookie that no server may set. No worker of ours sends one.
    pub(crate) fn take_in(&self, changes: Vec<Cookie>) -> Result<Vec<Cookie>, String> {
        if let Some(wrong) = changes.iter().find(|change| !is_settable(change)) {
            return Err(format!("it sent a cookie of {:?} that no server may set", wrong.domain));
        }
        let now = clock::wall_s();
        let mut kept = self.lock();
        let changes: Vec<Cookie> =
            changes.into_iter().filter(|change| kept.jar.set(change.clone(), now)).collect();
        kept.is_behind |= !changes.is_empty();
        Ok(changes)
    }

    /// Returns when the file is to be written, if it lacks something.
    pub(crate) fn due(&self) -> Option<Instant> {
        let kept = self.lock();
        let is_due = kept.is_behind && kept.file.is_some();
        is_due.then(|| kept.tried.map_or_else(clock::now, |tried| tried + WRITE_EVERY))
    }

    /// Writes the file, if that is due. A failure is returned once, and tried again later.
    pub(crate) fn write_if_due(&self, now: Instant) -> Result<(), JarError> {
        let mut kept = self.lock();
        if kept.tried.is_some_and(|tried| now.duration_since(tried) < WRITE_EVERY) {
            return Ok(());
        }
        let is_told = kept.failed;
        kept.write_changes(now).or_else(|error| if is_told { Ok(()) } else { Err(error) })
    }

    /// Writes the file, if it lacks something.
    pub(crate) fn write(&self) -> Result<(), JarError> {
        self.lock().write_changes(clock::now())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn write_changes(&mut self, now: Instant) -> Result<(), JarError> {
        if !self.is_behind || self.file.is_none() {
            return Ok(());
        }
        self.tried = Some(now);
        let written = self.replace_file();
        self.failed = written.is_err();
        self.is_behind = self.failed;
        written
    }

    fn replace_file(&self) -> Result<(), JarError> {
        let Some(path) = &self.file else { return Ok(()) };
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
        let names = || -> Vec<String> {
            Cookies::read_from(&path).unwrap().all().into_iter().map(|cookie| cookie.name).collect()
        };
        let take_in = |change: Cookie| cookies.take_in(vec![change]).unwrap().len();
        let start = clock::now();
        assert_eq!(cookies.due(), None);
        assert_eq!(take_in(cookie("sid", None)), 1);
        assert_eq!(take_in(cookie("sid", None)), 0, "it is known");
        assert!(cookies.due().is_some());
        cookies.write_if_due(start).unwrap();
        assert_eq!(names(), ["old", "sid"], "the first change is written at once");
        assert_eq!((take_in(cookie("csrf", None)), cookies.due()), (1, Some(start + WRITE_EVERY)));
        cookies.write_if_due(start).unwrap();
        assert_eq!(names(), ["old", "sid"], "it was written just now");
        cookies.write_if_due(start + WRITE_EVERY).unwrap();
        assert_eq!((names(), cookies.due()), (["old", "sid", "csrf"].map(str::to_owned).to_vec(), None));
        assert_eq!(take_in(cookie("sid", Some(1))), 1);
        cookies.write().unwrap();
        assert_eq!(names(), ["old", "csrf"], "it is deleted");
    }

    #[test]
    fn a_write_that_failed_is_told_once_and_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("below/cookies.txt");
        fs::create_dir(path.parent().unwrap()).unwrap();
        let cookies = Cookies::kept_at(&path).unwrap();
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
        cookies.take_in(vec![cookie("sid", None)]).unwrap();
        let start = clock::now();
        assert!(cookies.write_if_due(start).is_err());
        cookies.write_if_due(start + WRITE_EVERY).unwrap();
        assert_eq!(cookies.due(), Some(start + WRITE_EVERY * 2));
        assert!(cookies.write().is_err(), "at the end it is told again");
        fs::create_dir(path.parent().unwrap()).unwrap();
        cookies.write().unwrap();
        assert_eq!(Cookies::read_from(&path).unwrap().all().len(), 1);
    }

    #[test]
    fn what_no_server_may_set_is_refused_whole() {
        let cookies = Cookies::default();
        let wide = Cookie { domain: "co.uk".to_owned(), host_only: false, ..cookie("a", None) };
        let error = cookies.take_in(vec![cookie("b", None), wide]).unwrap_err();
        assert_eq!(error, "it sent a cookie of \"co.uk\" that no server may set");
        assert!(cookies.all().is_empty());
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
