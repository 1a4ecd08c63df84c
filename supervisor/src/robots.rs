//! What is known of robots.txt files, for a day: over workers, jobs and restarts.
//!
//! In memory, and in a file to which each answer is appended. A file that is damaged or cannot be written costs
//! requests and nothing else, so that is no error.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};
use shared::clock;
use shared::robots::RobotsFile;
use supervisor_core::robots::FRESH;

use crate::journal;

/// Most memory that files take: those of some 30,000 sites. Beyond it, the oldest are forgotten.
const BYTES_MAX: usize = 64 << 20;

/// Most bytes that are read of the file on disk. Its encoding takes more room than memory does.
const FILE_BYTES_MAX: u64 = 4 * BYTES_MAX as u64;

/// Answers in the file on disk that no longer count before it is written anew.
const DEAD_MAX: usize = 1024;

/// What is known. Copies share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct RobotsCache(Arc<Mutex<Known>>);

/// A product token and an authority.
type Key = (Arc<str>, Arc<str>);

#[derive(Debug, Default)]
struct Known {
    answers: FxHashMap<Key, Answered>,
    /// Those that a run is fetching.
    claimed: FxHashSet<Key>,
    bytes: usize,
    log: Option<Log>,
}

/// One answer; without a file if there is none.
#[derive(Debug, Clone)]
struct Answered {
    file: Option<Arc<RobotsFile>>,
    at: SystemTime,
}

impl Answered {
    fn age(&self, now: SystemTime) -> Option<Duration> {
        // An answer from the future is one of a wrong clock.
        now.duration_since(self.at).ok().filter(|age| *age < FRESH)
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.file.as_ref().map_or(0, |file| file.bytes())
    }
}

/// One line of the file on disk.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    token: Arc<str>,
    authority: Arc<str>,
    /// Seconds since 1970.
    fetched_at: u64,
    file: Option<Arc<RobotsFile>>,
}

#[derive(Debug)]
struct Log {
    path: PathBuf,
    file: File,
    lines: usize,
}

impl RobotsCache {
    /// Begins with what is in the file at `path`, and appends to it.
    pub(crate) fn kept_at(path: &Path) -> Self {
        let mut known = Known::default();
        known.load(path);
        known.rewrite(path);
        Self(Arc::new(Mutex::new(known)))
    }

    /// Returns the answer of an authority for a product token, if one is fresh, and when it was given.
    pub(crate) fn get(
        &self,
        now: Instant,
        token: &str,
        authority: &Arc<str>,
    ) -> Option<(Option<Arc<RobotsFile>>, Instant)> {
        let known = self.known();
        let answered = known.answers.get(&(token.into(), Arc::clone(authority)))?;
        Some((answered.file.clone(), now.checked_sub(answered.age(clock::wall())?)?))
    }

    /// Keeps an answer that was just given.
    pub(crate) fn put(&self, token: &str, authority: &Arc<str>, file: Option<Arc<RobotsFile>>) {
        let mut known = self.known();
        let answered = Answered { file, at: clock::wall() };
        known.append(&line(token, authority, &answered));
        known.insert(token.into(), Arc::clone(authority), answered);
    }

    /// Claims the fetch of an authority's robots.txt, until the claim is dropped. `None` if another run is at it.
    pub(crate) fn claim(&self, token: &str, authority: &Arc<str>) -> Option<Claim> {
        let key: Key = (token.into(), Arc::clone(authority));
        let is_first = self.known().claimed.insert(key.clone());
        is_first.then(|| Claim { cache: self.clone(), key })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fetch that no other run makes meanwhile.
#[derive(Debug)]
pub(crate) struct Claim {
    cache: RobotsCache,
    key: Key,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.cache.known().claimed.remove(&self.key);
    }
}

impl Known {
    fn insert(&mut self, token: Arc<str>, authority: Arc<str>, answered: Answered) {
        self.bytes += answered.bytes();
        if let Some(old) = self.answers.insert((token, authority), answered) {
            self.bytes -= old.bytes();
        }
        if self.bytes > BYTES_MAX {
            self.forget_oldest();
        }
    }

    /// Forgets the older half.
    fn forget_oldest(&mut self) {
        let mut times: Vec<_> = self.answers.values().map(|answered| answered.at).collect();
        let middle = times.len() / 2;
        let (_, newest_forgotten, _) = times.select_nth_unstable(middle);
        let limit = *newest_forgotten;
        self.answers.retain(|_, answered| answered.at > limit);
        self.bytes = self.answers.values().map(Answered::bytes).sum();
    }

    fn load(&mut self, path: &Path) {
        let Ok(file) = File::open(path) else { return };
        let now = clock::wall();
        for text in BufReader::new(file.take(FILE_BYTES_MAX)).split(b'\n') {
            let Ok(text) = text else { return };
            // The last line may be cut.
            let Ok(Line { token, authority, fetched_at, file }) = serde_json::from_slice(&text) else {
                continue;
            };
            let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(fetched_at));
            let answered = at.map(|at| Answered { file, at });
            if let Some(answered) = answered.filter(|answered| answered.age(now).is_some()) {
                self.insert(token, authority, answered);
            }
        }
    }

    /// Writes the file on disk anew, without what no longer counts.
    fn rewrite(&mut self, path: &Path) {
        let now = clock::wall();
        self.answers.retain(|_, answered| answered.age(now).is_some());
        self.bytes = self.answers.values().map(Answered::bytes).sum();
        let lines =
            self.answers.iter().map(|((token, authority), answered)| line(token, authority, answered));
        self.log = write(path, lines).ok().map(|file| Log {
            path: path.to_owned(),
            file,
            lines: self.answers.len(),
        });
    }

    fn append(&mut self, line: &[u8]) {
        let Some(log) = &mut self.log else { return };
        log.lines += 1;
        if log.file.write_all(line).is_err() {
            self.log = None;
        } else if log.lines > 2 * self.answers.len() + DEAD_MAX {
            let path = log.path.clone();
            self.rewrite(&path);
        }
    }
}

/// Replaces the file at `path`, and leaves it open to append to.
fn write(path: &Path, lines: impl Iterator<Item = Vec<u8>>) -> io::Result<File> {
    let part = journal::beside(path, ".part");
    let _ = fs::remove_file(&part);
    let mut file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&part)?;
    lines.into_iter().try_for_each(|line| file.write_all(&line))?;
    fs::rename(&part, path)?;
    Ok(file)
}

fn line(token: &str, authority: &Arc<str>, answered: &Answered) -> Vec<u8> {
    let fetched_at = answered.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let line = Line {
        token: token.into(),
        authority: Arc::clone(authority),
        fetched_at,
        file: answered.file.clone(),
    };
    // Plain data into memory: this does not fail.
    let mut text = serde_json::to_vec(&line).unwrap_or_default();
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Option<Arc<RobotsFile>> {
        Some(Arc::new(RobotsFile::parse(text.as_bytes(), "muster")))
    }

    #[test]
    fn answers_outlive_the_process_and_damage_costs_only_a_request() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("robots");
        let (a, b): (Arc<str>, Arc<str>) = ("https://a".into(), "https://b".into());
        let rules = file("User-agent: *\nDisallow: /x");
        let cache = RobotsCache::kept_at(&path);
        cache.put("muster", &a, rules.clone());
        cache.put("muster", &b, None);
        let mut text = fs::read(&path).unwrap();
        text.extend_from_slice(b"{\"token\":\"muster\",\"auth");
        fs::write(&path, &text).unwrap();
        let now = clock::now();
        let again = RobotsCache::kept_at(&path);
        assert_eq!(again.get(now, "muster", &a).unwrap().0, rules);
        assert_eq!(again.get(now, "muster", &b).unwrap().0, None);
        assert!(again.get(now, "other", &a).is_none(), "other rules may apply to another robot");
        fs::write(&path, b"\xff\n[]\n{}\n").unwrap();
        assert!(RobotsCache::kept_at(&path).get(now, "muster", &a).is_none());
        assert_eq!(fs::read(&path).unwrap(), b"", "what means nothing is gone");
    }

    #[test]
    fn a_day_later_and_from_the_future_nothing_counts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("robots");
        let now_s = clock::wall().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        for (fetched_at, counts) in
            [(now_s - 80_000, true), (now_s - 90_000, false), (now_s + 100, false), (u64::MAX, false)]
        {
            let line =
                format!(r#"{{"token":"m","authority":"https://a","fetched_at":{fetched_at},"file":null}}"#);
            fs::write(&path, line).unwrap();
            let found = RobotsCache::kept_at(&path).get(clock::now(), "m", &"https://a".into());
            assert_eq!(found.is_some(), counts, "{fetched_at}");
        }
    }

    #[test]
    fn one_run_fetches_at_a_time() {
        let (cache, authority) = (RobotsCache::default(), "https://a".into());
        let claim = cache.claim("m", &authority);
        assert!(claim.is_some() && cache.claim("m", &authority).is_none());
        assert!(cache.claim("other", &authority).is_some());
        drop(claim);
        assert!(cache.claim("m", &authority).is_some());
    }

    #[test]
    fn memory_and_disk_are_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("robots");
        let cache = RobotsCache::default();
        let large =
            file(&format!("User-agent: *\n{}", "Disallow: /xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n".repeat(9_000)));
        for n in 0..200 {
            cache.put("m", &format!("https://h{n}").into(), large.clone());
            assert!(cache.known().bytes <= BYTES_MAX);
        }
        assert!(cache.get(clock::now(), "m", &"https://h199".into()).is_some());
        let cache = RobotsCache::kept_at(&path);
        for _ in 0..5_000 {
            cache.put("m", &"https://a".into(), None);
        }
        assert!(cache.known().log.as_ref().unwrap().lines < 2_000);
    }
}
