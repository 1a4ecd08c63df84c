//! What a crawl knows: every page, which have ended, and what was found in them. The writer's thread takes in what was
//! found, in the order in which it commits it; the source's thread takes the pages that come next.
//!
//! Invariant: a page's links count when all pages before it have ended. So what is known depends on the pages alone, and
//! not on which came back first.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roaring::RoaringTreemap;
use serde::{Deserialize, Serialize};
use shared::crawl::shape::{self, repeats};
use shared::crawl::{FOUND_BYTES_MAX, FollowSpec, Found, LINK_BYTES_MAX, Reason, Strip, home};
use supervisor_core::crawl::{Lanes, Levels, Seen, Shapes};
use url::Url;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::log::{Frame, Log, LookUp};
use super::report::{CrawlSummary, Trap};
use crate::journal::{Finished, JournalError};
use crate::kinds::Homes;
use crate::source::HostFinder;

/// Most bytes of what a worker has found in one page: links, and what stands beside them.
const WORKERS_BYTES_MAX: usize = FOUND_BYTES_MAX + (1 << 20);

/// Most traps that are listed: the state of a crawl is written at each commit.
const TRAPS_MAX: usize = 256;

/// How long the source waits for pages before it shows that it is there.
const PATIENCE: Duration = Duration::from_millis(250);

/// What workers have found: the pages, and their links as a worker encoded them.
pub(crate) type FoundLinks = Vec<(u64, Vec<u8>)>;

/// What a crawl knows.
#[derive(Debug)]
pub(crate) struct Book {
    known: Mutex<Known>,
    /// The source waits here for pages.
    changed: Condvar,
    /// The file, for messages.
    path: PathBuf,
}

/// What comes next.
pub(super) enum Next {
    /// These pages, in order of their ids, and where they are.
    Pages(Vec<u64>, LookUp, Vec<u32>),
    /// Nothing yet.
    Later,
    /// Nothing: all pages have ended, or the run has.
    End,
}

/// The state that is written at each commit.
#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    levels: Levels,
    cut: BTreeMap<Reason, u64>,
    traps: Vec<Trap>,
}

#[derive(Debug)]
struct Known {
    log: Log,
    state: State,
    seen: Seen,
    /// Makes hashes differ from run to run, so that no site can prepare two URLs with one hash.
    seed: u64,
    lanes: Lanes,
    shapes: Shapes,
    /// Pages that have the shape of the page that they were found on.
    chained: RoaringTreemap,
    hosts: HostFinder,
    /// Pages that have ended before an earlier one, and where in the log their links are.
    ended: BTreeMap<u64, Option<u64>>,
    limits: Limits,
    is_closed: bool,
}

#[derive(Debug)]
struct Limits {
    depth_max: u32,
    pages_max: u64,
    host_pages_max: u64,
    strip: Strip,
    scope: shared::crawl::Scope,
}

impl Limits {
    fn of(spec: &FollowSpec) -> Self {
        Self {
            depth_max: spec.depth_max.unwrap_or(u32::MAX),
            pages_max: spec.pages_max.unwrap_or(u64::MAX),
            host_pages_max: spec.host_pages_max.unwrap_or(u64::MAX),
            strip: Strip::new(&spec.strip),
            scope: spec.scope,
        }
    }
}

impl Book {
    /// Begins a book in a new file, or in one that nobody else sees.
    pub(super) fn create(spec: &FollowSpec, path: Option<PathBuf>) -> io::Result<Self> {
        let log = match &path {
            Some(path) => {
                // Left by a run that was killed before its first commit.
                match fs::remove_file(path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    Ok(()) | Err(_) => {}
                }
                Log::create(path)?
            }
            None => Log::temporary()?,
        };
        Ok(Self::new(Known::new(spec, log), path))
    }

    /// Goes on with a book of which `bytes` are certain, with the records of these pages.
    pub(super) fn resume(
        spec: &FollowSpec,
        path: PathBuf,
        bytes: u64,
        finished: &Finished,
    ) -> io::Result<Self> {
        let mut known = Known::new(spec, Log::temporary()?);
        let (mut pages, mut waiting, mut state) = (0, BTreeMap::new(), State::default());
        let log = Log::resume(&path, bytes, |frame, at| {
            match frame {
                Frame::Page(_, is_alike, url) => {
                    known.chained.extend(is_alike.then_some(pages));
                    known.know(&url, pages, finished.contains(pages));
                    pages += 1;
                }
                Frame::Alias(url) => {
                    known.is_new(&url);
                }
                Frame::Waiting(id, _) => {
                    waiting.insert(id, at);
                }
                Frame::Kind(shape, contents) => known.shapes.add(shape, contents),
                Frame::State(text) => state = serde_json::from_slice(&text)?,
            }
            Ok(())
        })?;
        if state.levels.known() != pages {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not fit the journal"));
        }
        let ended = finished.iter().filter(|id| *id >= state.levels.next());
        known.ended = ended.map(|id| (id, waiting.get(&id).copied())).collect();
        known.lanes.open(state.levels.end());
        (known.log, known.state) = (log, state);
        Ok(Self::new(known, Some(path)))
    }

    fn new(known: Known, path: Option<PathBuf>) -> Self {
        let path = path.unwrap_or_else(|| PathBuf::from("a temporary file"));
        Self { known: Mutex::new(known), changed: Condvar::new(), path }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a page that the user names, unless it is known.
    pub(super) fn add_named(&self, input: &[u8]) -> io::Result<()> {
        let mut known = self.lock();
        let url = str::from_utf8(input).ok().and_then(|text| Url::parse(text).ok());
        let canonical = url.and_then(|url| known.limits.strip.canonical(url));
        known.add_named(canonical.as_ref().map_or(input, |url| url.as_str().as_bytes()))
    }

    /// Lets the first pages begin.
    pub(super) fn begin(&self) {
        self.lock().advance();
    }

    /// Returns what the named pages are in the scope; `None` if they are more than `most` different things.
    pub(super) fn homes(&self, most: usize) -> io::Result<Option<Homes>> {
        let mut known = self.lock();
        let named = known.state.levels.by_depth().first().copied().unwrap_or_default();
        let scope = known.limits.scope;
        let mut homes = Homes::default();
        let ids: Vec<u64> = (0..named).collect();
        for ids in ids.chunks(super::BATCH) {
            for (_, input) in known.log.look_up(ids)?.read(ids)? {
                let Some(url) = str::from_utf8(&input).ok().and_then(|text| Url::parse(text).ok()) else {
                    continue;
                };
                homes.of_scope.extend(home(scope, &url));
                homes.origins.insert(url.origin().ascii_serialization());
                if homes.of_scope.len() > most {
                    return Ok(None);
                }
            }
        }
        Ok(Some(homes))
    }

    /// Takes in what workers have found, and which pages have ended.
    ///
    /// # Errors
    /// If it cannot be kept.
    pub(crate) fn take_in(
        &self,
        found: FoundLinks,
        ended: impl Iterator<Item = u64>,
    ) -> Result<(), JournalError> {
        let mut found: BTreeMap<_, _> = found.into_iter().collect();
        let mut known = self.lock();
        for id in ended {
            // What a worker has made up is as good as nothing.
            let bytes = found.remove(&id).filter(|bytes| bytes.len() <= WORKERS_BYTES_MAX);
            let links = bytes.and_then(|bytes| Found::decode(&bytes));
            known.end(id, links).map_err(|cause| self.fault(&cause))?;
        }
        known.advance();
        self.changed.notify_all();
        Ok(())
    }

    /// Writes the state. Returns the length of the file with it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn settle(&self) -> Result<u64, JournalError> {
        let mut known = self.lock();
        let settled = serde_json::to_vec(&known.state).map_err(io::Error::from).and_then(|state| {
            known.log.append(&Frame::State(state))?;
            known.log.flush()
        });
        settled.map_err(|cause| self.fault(&cause))
    }

    /// Returns another handle of the file, to sync it with.
    pub(crate) fn second_handle(&self) -> io::Result<fs::File> {
        self.lock().log.second_handle()
    }

    fn fault(&self, cause: &io::Error) -> JournalError {
        let full = cause.kind() == io::ErrorKind::StorageFull;
        JournalError::Write { path: self.path.clone(), cause: cause.to_string(), full }
    }

    /// Nothing is taken in any more.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Returns up to `max` pages that come next, once there are any; waits for them for a while.
    pub(super) fn next(&self, max: usize) -> io::Result<Next> {
        let mut known = self.lock();
        loop {
            if known.is_closed || known.state.levels.is_over() {
                return Ok(Next::End);
            }
            let mut ids: Vec<_> = std::iter::from_fn(|| known.lanes.take()).take(max).collect();
            if !ids.is_empty() {
                ids.sort_unstable();
                let look_up = known.log.look_up(&ids)?;
                let depths = ids.iter().map(|id| known.state.levels.depth(*id)).collect();
                return Ok(Next::Pages(ids, look_up, depths));
            }
            let timed_out;
            (known, timed_out) = {
                let waited = self.changed.wait_timeout(known, PATIENCE);
                let (known, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                (known, timeout.timed_out())
            };
            if timed_out {
                return Ok(Next::Later);
            }
        }
    }

    /// Returns the number of known pages.
    pub(super) fn pages(&self) -> u64 {
        self.lock().state.levels.known()
    }

    /// Returns what the summary says.
    pub(crate) fn report(&self) -> CrawlSummary {
        let known = self.lock();
        let State { levels, cut, traps } = &known.state;
        CrawlSummary::new(levels, cut, traps, known.lanes.hosts())
    }
}

impl Known {
    fn new(spec: &FollowSpec, log: Log) -> Self {
        Self {
            log,
            state: State::default(),
            seen: Seen::default(),
            seed: fastrand::u64(..),
            lanes: Lanes::default(),
            shapes: Shapes::new(spec.alike_max.unwrap_or(u64::MAX)),
            chained: RoaringTreemap::new(),
            hosts: HostFinder::default(),
            ended: BTreeMap::new(),
            limits: Limits::of(spec),
            is_closed: false,
        }
    }

    fn hash(&self, url: &[u8]) -> u128 {
        xxh3_128_with_seed(url, self.seed)
    }

    /// Marks a URL as known. Returns whether it was not.
    fn is_new(&mut self, url: &[u8]) -> bool {
        let hash = self.hash(url);
        self.seen.insert(hash)
    }

    fn lane(&mut self, url: &[u8]) -> usize {
        let host = self.hosts.find(url);
        self.lanes.lane(host.as_ref().map_or("", |host| &host.name))
    }

    /// Knows a page that is in the log.
    fn know(&mut self, url: &[u8], id: u64, is_finished: bool) {
        let (hash, lane) = (self.hash(url), self.lane(url));
        self.seen.insert(hash);
        self.lanes.know(lane);
        if !is_finished {
            self.lanes.push(lane, id);
        }
    }

    fn add_named(&mut self, url: &[u8]) -> io::Result<()> {
        if self.seen.contains(self.hash(url)) {
            return Ok(());
        }
        self.add(None, false, url)
    }

    fn add(&mut self, parent: Option<u64>, is_alike: bool, url: &[u8]) -> io::Result<()> {
        self.log.append(&Frame::Page(parent, is_alike, url.to_vec()))?;
        let id = self.state.levels.add();
        self.chained.extend(is_alike.then_some(id));
        self.know(url, id, false);
        Ok(())
    }

    /// A page has ended.
    fn end(&mut self, id: u64, found: Option<Found>) -> io::Result<()> {
        self.lanes.end(id);
        let mut found = found.unwrap_or_default();
        if id != self.state.levels.next() {
            found.retain(|link| !self.seen.contains(xxh3_128_with_seed(link.as_bytes(), self.seed)));
            let place = if found.is_empty() {
                None
            } else {
                let mut bytes = Vec::new();
                found.encode(&mut bytes);
                Some(self.log.append(&Frame::Waiting(id, bytes))?)
            };
            self.ended.insert(id, place);
            return Ok(());
        }
        self.take(id, &found)?;
        while let Some(place) = self.ended.remove(&self.state.levels.next()) {
            let found = match place {
                Some(place) => self.waiting(place)?,
                None => Found::default(),
            };
            self.take(self.state.levels.next(), &found)?;
        }
        Ok(())
    }

    fn waiting(&mut self, place: u64) -> io::Result<Found> {
        let found = match self.log.read_at(place)? {
            Frame::Waiting(_, bytes) => Found::decode(&bytes),
            Frame::Page(..) | Frame::Alias(_) | Frame::Kind(..) | Frame::State(_) => None,
        };
        found.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is damaged"))
    }

    /// Takes in the links of the next page in order.
    fn take(&mut self, id: u64, found: &Found) -> io::Result<()> {
        let depth = self.state.levels.depth(id).saturating_add(1);
        for (reason, count) in &found.cut {
            *self.state.cut.entry(*reason).or_default() += count;
        }
        for alias in &found.aliases {
            if self.is_new(alias.as_bytes()) {
                self.log.append(&Frame::Alias(alias.clone().into_bytes()))?;
            }
        }
        let own_shape = found.kind.map(|(shape, _)| shape);
        if let Some((shape, contents)) = found.kind.filter(|_| self.chained.contains(id)) {
            self.shapes.add(shape, contents);
            self.log.append(&Frame::Kind(shape, contents))?;
        }
        for link in found.links() {
            let url = link.as_bytes();
            if self.seen.contains(self.hash(url)) {
                continue;
            }
            let shape = shape::shape(link);
            let shape_hash = shape::hash(&shape);
            match self.refusal(url, depth).or_else(|| self.trap(link, shape, shape_hash)) {
                Some(reason) => *self.state.cut.entry(reason).or_default() += 1,
                None => self.add(Some(id), own_shape == Some(shape_hash), url)?,
            }
        }
        self.state.levels.take();
        Ok(())
    }

    /// Returns why a page that is not known is not fetched either.
    fn refusal(&mut self, url: &[u8], depth: u32) -> Option<Reason> {
        let Limits { depth_max, pages_max, host_pages_max, .. } = self.limits;
        if url.len() > LINK_BYTES_MAX {
            return Some(Reason::TooLong);
        }
        if depth > depth_max {
            return Some(Reason::Depth);
        }
        if self.state.levels.known() >= pages_max {
            return Some(Reason::PagesMax);
        }
        let is_full = host_pages_max < u64::MAX && {
            let lane = self.lane(url);
            self.lanes.known(lane) >= host_pages_max
        };
        is_full.then_some(Reason::HostPagesMax)
    }

    /// Returns the trap that a link leads into, if it is one.
    fn trap(&mut self, link: &str, shape: String, shape_hash: u64) -> Option<Reason> {
        let reason = if repeats(link) {
            Reason::Repeats
        } else if self.shapes.is_trap(shape_hash) {
            Reason::Shape
        } else {
            return None;
        };
        let traps = &mut self.state.traps;
        match traps.iter().position(|trap| trap.shape == shape && trap.reason == reason) {
            Some(known) => traps.iter_mut().skip(known).take(1).for_each(|trap| trap.links += 1),
            None if traps.len() < TRAPS_MAX => {
                traps.push(Trap { reason, shape, links: 1, example: link.to_owned() });
            }
            None => {}
        }
        Some(reason)
    }

    fn advance(&mut self) {
        if let Some(end) = self.state.levels.advance() {
            self.lanes.open(end);
        }
    }
}
