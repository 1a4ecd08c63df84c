//! What is known of robots.txt files, for a day: over workers, jobs and restarts.
//!
//! In memory, and in a file to which each answer is appended. A file that is damaged or cannot be written costs
//! requests and nothing else, so that is no error.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher as _, RandomState};
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

/// Who asks. Another may get another answer: rules for another robot, or no answer without the user's secrets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Asker {
    /// The product token that the files name the job by.
    token: Arc<str>,
    /// The secrets of a job that has any, as a number that means nothing outside this process.
    secrets: Option<u64>,
}

/// Those who ask in one job.
#[derive(Debug, Clone)]
pub(crate) struct Askers {
    named: Asker,
    found: Asker,
}

impl Askers {
    /// Returns who asks an authority. `found` means that the user named none of its targets, so that it may get no
    /// secrets.
    pub(crate) const fn of(&self, found: bool) -> &Asker {
        if found { &self.found } else { &self.named }
    }
}

/// Who asks whom.
type Key = (Asker, Arc<str>);

#[derive(Debug, Default)]
struct Known {
    answers: FxHashMap<Key, Answered>,
    /// Turns secrets into numbers.
    hasher: RandomState,
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

    /// Returns those who ask in a job with this product token. `secrets` is what its requests may carry of them.
    pub(crate) fn askers(&self, token: &str, secrets: Option<&str>) -> Askers {
        let known = self.known();
        let asker = |found: bool| Asker {
            token: token.into(),
            secrets: secrets.map(|secrets| known.hasher.hash_one((secrets, found))),
        };
        Askers { named: asker(false), found: asker(true) }
    }

    /// Returns the answer of an authority, if one is fresh, and when it was given.
    pub(crate) fn get(
        &self,
        now: Instant,
        asker: &Asker,
        authority: &Arc<str>,
    ) -> Option<(Option<Arc<RobotsFile>>, Instant)> {
        let known = self.known();
        let answered = known.answers.get(&(asker.clone(), Arc::clone(authority)))?;
        Some((answered.file.clone(), now.checked_sub(answered.age(clock::wall())?)?))
    }

    /// Keeps an answer that was just given. One to a job with secrets is kept in memory only.
    pub(crate) fn put(&self, asker: &Asker, authority: &Arc<str>, file: Option<Arc<RobotsFile>>) {
        let mut known = self.known();
        let answered = Answered { file, at: clock::wall() };
        let key = (asker.clone(), Arc::clone(authority));
        if let Some(line) = line(&key, &answered) {
            known.append(&line);
        }
        known.insert(key, answered);
    }

    /// Claims the fetch of an authority's robots.txt, until the claim is dropped. `None` if another run is at it.
    pub(crate) fn claim(&self, asker: &Asker, authority: &Arc<str>) -> Option<Claim> {
        let key: Key = (asker.clone(), Arc::clone(authority));
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
    fn insert(&mut self, key: Key, answered: Answered) {
        self.bytes += answered.bytes();
        if let Some(old) = self.answers.insert(key, answered) {
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
                self.insert((Asker { token, secrets: None }, authority), answered);
            }
        }
    }

    /// Writes the file on disk anew, without what no longer counts.
    fn rewrite(&mut self, path: &Path) {
        let now = clock::wall();
        self.answers.retain(|_, answered| answered.age(now).is_some());
        self.bytes = self.answers.values().map(Answered::bytes).sum();
        let lines = self.answers.iter().filter_map(|(key, answered)| line(key, answered));
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

/// Returns the line of an answer; `None` if it was given to a job with secrets.
fn line((asker, authority): &Key, answered: &Answered) -> Option<Vec<u8>> {
    if asker.secrets.is_some() {
        return None;
    }
    let fetched_at = answered.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let line = Line {
        token: Arc::clone(&asker.token),
        authority: Arc::clone(authority),
        fetched_at,
        file: answered.file.clone(),
    };
    // Plain data into memory: this does not fail.
    let mut text = serde_json::to_vec(&line).unwrap_or_default();
    text.push(b'\n');
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Option<Arc<RobotsFile>> {
        Some(Arc::new(RobotsFile::parse(text.as_bytes(), "muster")))
    }

    fn anyone(cache: &RobotsCache, token: &str) -> Asker {
        cache.askers(token, None).named
    }

    #[test]
    fn answers_outlive_the_process_and_damage_costs_only_a_request() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("robots");
        let (a, b): (Arc<str>, Arc<str>) = ("https://a".into(), "https://b".into());
        let rules = file("User-agent: *\nDisallow: /x");
        let cache = RobotsCache::kept_at(&path);
        let (muster, other) = (anyone(&cache, "muster"), anyone(&cache, "other"));
        cache.put(&muster, &a, rules.clone());
        cache.put(&muster, &b, None);
        let mut text = fs::read(&path).unwrap();
        text.extend_from_slice(b"{\"token\":\"muster\",\"auth");
        fs::write(&path, &text).unwrap();
        let now = clock::now();
        let again = RobotsCache::kept_at(&path);
        assert_eq!(again.get(now, &muster, &a).unwrap().0, rules);
        assert_eq!(again.get(now, &muster, &b).unwrap().0, None);
        assert!(again.get(now, &other, &a).is_none(), "other rules may apply to another robot");
        fs::write(&path, b"\xff\n[]\n{}\n").unwrap();
        assert!(RobotsCache::kept_at(&path).get(now, &muster, &a).is_none());
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
            let cache = RobotsCache::kept_at(&path);
            let found = cache.get(clock::now(), &anyone(&cache, "m"), &"https://a".into());
            assert_eq!(found.is_some(), counts, "{fetched_at}");
        }
    }

    #[test]
    fn one_run_fetches_at_a_time() {
        let (cache, authority) = (RobotsCache::default(), "https://a".into());
        let (m, other) = (anyone(&cache, "m"), anyone(&cache, "other"));
        let claim = cache.claim(&m, &authority);
        assert!(claim.is_some() && cache.claim(&m, &authority).is_none());
        assert!(cache.claim(&other, &authority).is_some());
        drop(claim);
        assert!(cache.claim(&m, &authority).is_some());
    }

    /// A site may tell apart who asks: a login, a key, a preview of another host.
    #[test]
    fn an_answer_counts_for_jobs_with_the_same_secrets_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("robots");
        let (cache, authority) = (RobotsCache::kept_at(&path), "https://a".into());
        let askers: Vec<Asker> = [None, Some("Authorization: a"), Some("Authorization: b")]
            .into_iter()
            .map(|secrets| cache.askers("m", secrets))
            .flat_map(|askers| [askers.of(false).clone(), askers.of(true).clone()])
            .collect();
        assert_eq!(askers[0], askers[1], "without secrets, it does not matter who named a target");
        for (n, asker) in askers.iter().enumerate().skip(1) {
            assert!(cache.get(clock::now(), asker, &authority).is_none(), "{n}");
            assert!(cache.claim(asker, &authority).is_some(), "{n}");
            cache.put(asker, &authority, file(&format!("User-agent: *\nDisallow: /{n}")));
        }
        let rules = |cache: &RobotsCache, asker: &Asker| {
            let file = cache.get(clock::now(), asker, &authority)?.0?;
            Some((1..6).filter(|n| file.forbids(&format!("/{n}")).is_some()).collect::<Vec<_>>())
        };
        let known: Vec<_> = askers.iter().map(|asker| rules(&cache, asker)).collect();
        assert_eq!(known, [1, 1, 2, 3, 4, 5].map(|n| Some(vec![n])));
        // What was said to secrets is not on disk, and nor are they.
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
        let again = RobotsCache::kept_at(&path);
        assert_eq!(rules(&again, &askers[0]), Some(vec![1]));
        assert_eq!(rules(&again, again.askers("m", Some("Authorization: a")).of(false)), None);
    }

    #[test]
    fn memory_and_disk_are_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("robots");
        let cache = RobotsCache::default();
        let large =
            file(&format!("User-agent: *\n{}", "Disallow: /xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n".repeat(9_000)));
        for n in 0..200 {
            cache.put(&anyone(&cache, "m"), &format!("https://h{n}").into(), large.clone());
            assert!(cache.known().bytes <= BYTES_MAX);
        }
        assert!(cache.get(clock::now(), &anyone(&cache, "m"), &"https://h199".into()).is_some());
        let cache = RobotsCache::kept_at(&path);
        for _ in 0..5_000 {
            cache.put(&anyone(&cache, "m"), &"https://a".into(), None);
        }
        assert!(cache.known().log.as_ref().unwrap().lines < 2_000);
    }
}
