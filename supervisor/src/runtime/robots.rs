//! Obeys robots.txt: keeps targets until it is known what their authority allows, and has workers fetch that.
//!
//! A robots.txt is a target of its own, with an id beyond those of inputs. So it takes part in its host's budget, and
//! goes to another worker if its own dies.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use shared::clock;
use shared::framed;
use shared::kept;
use shared::protocol::OWN_IDS;
use shared::record::ErrorKind;
use shared::robots::{RobotsAnswer, RobotsFile};
use supervisor_core::frontier::HostRef;
use supervisor_core::pool::{Abandoned, Quarantined};
use supervisor_core::robots::{Answer, CRAWL_DELAY_MAX, Decision, HOLD_CROWDED, HOLD_MAX, Kept, Robots};
use url::{Position, Url};

use super::Runtime;
use super::records::Given;
use crate::robots::{Askers, Claim, RobotsCache};
use crate::source::{Host, SourceItem};
use crate::units;

/// Targets that wait for a robots.txt beyond which those that fail are given up sooner: so many that few others can be
/// read.
const CROWDED: usize = 32_768;

/// Authorities without an answer up to which all are kept.
const UNANSWERED_MIN: usize = 1024;

/// Most authorities of which it is said that their targets wait.
const FAILURES_TOLD_MAX: u32 = 10;

/// The robots.txt of all authorities in a run, and the targets that wait for them.
#[derive(Debug)]
pub(super) struct RobotsGate {
    robots: Robots<Arc<RobotsFile>>,
    cache: RobotsCache,
    askers: Askers,
    held: FxHashMap<u64, SourceItem>,
    held_bytes: usize,
    /// Authorities without an answer.
    unanswered: FxHashMap<Arc<str>, Unanswered>,
    /// Number of them at which those are dropped that are forgotten elsewhere.
    unanswered_max: usize,
    /// Fetches under way, by their ids.
    fetches: FxHashMap<u64, Fetch>,
    /// Fetches so far.
    fetched: u64,
    /// Whether it was said that a delay is shortened.
    told: bool,
    /// Authorities of which it was said that their targets wait.
    failures_told: u32,
}

/// An authority without an answer.
#[derive(Debug)]
struct Unanswered {
    host: Host,
    /// Whether all of its targets were found on the way, and none was named by the user.
    found: bool,
    /// Why the last fetch failed.
    why: String,
}

impl Unanswered {
    /// What the target of its robots.txt carries along: the mark, so that it gets the secrets that its pages may get.
    fn mark(&self) -> Vec<u8> {
        let mut mark = Vec::new();
        if self.found {
            kept::push_found(&mut mark);
        }
        mark
    }
}

/// A fetch under way.
#[derive(Debug)]
struct Fetch {
    authority: Arc<str>,
    /// Whether its request is marked as found.
    found: bool,
    /// Released once its answer is in the cache, or with the run.
    _claim: Claim,
}

/// What to do with a target.
enum Judged {
    Fetch(Option<Duration>),
    Refuse(String),
    Wait(Arc<str>),
}

impl RobotsGate {
    pub(super) fn new(cache: RobotsCache, askers: Askers) -> Self {
        Self {
            robots: Robots::new(clock::monotonic_us()),
            cache,
            askers,
            held: FxHashMap::default(),
            held_bytes: 0,
            unanswered: FxHashMap::default(),
            unanswered_max: UNANSWERED_MIN,
            fetches: FxHashMap::default(),
            fetched: 0,
            told: false,
            failures_told: 0,
        }
    }

    /// How many targets wait, and how many bytes they have.
    pub(super) fn held(&self) -> (u64, usize) {
        (self.held.len() as u64, self.held_bytes)
    }

    pub(super) fn holds_any(&self) -> bool {
        !self.held.is_empty()
    }

    fn judge(&mut self, now: Instant, id: u64, url: &Url) -> Judged {
        let authority = url.origin().ascii_serialization();
        match self.robots.offer(now, &authority, id) {
            Decision::Allow => Judged::Fetch(None),
            Decision::Judge(file) => match file.forbids(&url[Position::BeforePath..Position::AfterQuery]) {
                None => Judged::Fetch(file.crawl_delay()),
                Some(rule) => Judged::Refuse(format!(
                    "{authority}/robots.txt disallows it: line {}, {}",
                    rule.line(),
                    rule.pattern()
                )),
            },
            Decision::Refuse => Judged::Refuse(self.unreachable(&authority)),
            Decision::Kept => Judged::Wait(authority.into()),
        }
    }

    fn unreachable(&self, authority: &str) -> String {
        let why = self.unanswered.get(authority).map_or("", |unanswered| &unanswered.why);
        format!("{authority}/robots.txt cannot be fetched, so it is not known what may be: {why}")
    }

    fn hold(&mut self, authority: Arc<str>, item: SourceItem) {
        let found = kept::Kept(&item.kept).is_found();
        if let Some(unanswered) = self.unanswered.get_mut(&authority) {
            unanswered.found &= found;
        } else if let Some(host) = &item.host {
            if self.unanswered.len() >= self.unanswered_max {
                self.unanswered.retain(|authority, _| self.robots.knows(authority));
                self.unanswered_max = (2 * self.unanswered.len()).max(UNANSWERED_MIN);
            }
            self.unanswered.insert(authority, Unanswered { host: host.clone(), found, why: String::new() });
        }
        self.held_bytes += item.input.len();
        self.held.insert(item.id, item);
    }

    fn take(&mut self, id: u64) -> Option<SourceItem> {
        let item = self.held.remove(&id)?;
        self.held_bytes -= item.input.len();
        Some(item)
    }

    /// Says that targets have to wait, if this answer is why.
    fn first_failure(&mut self, authority: &Arc<str>, answer: &RobotsAnswer) -> Option<String> {
        let RobotsAnswer::Unreachable { why, .. } = answer else { return None };
        let is_first = self.unanswered.get(authority).is_some_and(|unanswered| unanswered.why.is_empty());
        if !is_first || self.failures_told == FAILURES_TOLD_MAX {
            return None;
        }
        self.failures_told += 1;
        let most = units::duration(HOLD_MAX);
        Some(format!("{authority}/robots.txt cannot be fetched: {why}; its targets wait, for {most} at most"))
    }

    /// Records what is known of an authority now, and returns the targets that waited for it.
    fn learn(&mut self, now: Instant, fetch: &Fetch, answer: RobotsAnswer) -> Kept {
        let authority = &fetch.authority;
        let file = match answer {
            RobotsAnswer::File(file) => Some(Arc::new(file)),
            RobotsAnswer::Missing => None,
            RobotsAnswer::Unreachable { why, after_ms } => {
                if let Some(unanswered) = self.unanswered.get_mut(authority) {
                    unanswered.why = why;
                }
                let patience = if self.held.len() >= CROWDED { HOLD_CROWDED } else { HOLD_MAX };
                let answer = Answer::Unreachable(after_ms.map(Duration::from_millis));
                return self.robots.handle_answer(now, authority, answer, patience);
            }
        };
        self.cache.put(self.askers.of(fetch.found), authority, file.clone());
        self.know(now, authority, file, now)
    }

    fn know(
        &mut self,
        now: Instant,
        authority: &Arc<str>,
        file: Option<Arc<RobotsFile>>,
        at: Instant,
    ) -> Kept {
        self.unanswered.remove(authority);
        let answer = file.map_or(Answer::Missing(at), |file| Answer::Rules(file, at));
        self.robots.handle_answer(now, authority, answer, HOLD_MAX)
    }
}

impl Runtime<'_> {
    /// Fetches a target if its robots.txt allows it. Keeps it while that is not known.
    pub(super) fn ask_robots(&mut self, now: Instant, item: SourceItem) {
        let url = str::from_utf8(&item.input).ok().and_then(|input| Url::parse(input).ok());
        let (Some(gate), Some(url), Some(host)) = (&mut self.robots, url, item.host.clone()) else {
            return self.submit(now, item);
        };
        match gate.judge(now, item.id, &url) {
            Judged::Wait(authority) => gate.hold(authority, item),
            Judged::Refuse(why) => self.refuse_robots(&item, &why),
            Judged::Fetch(delay) => {
                self.submit(now, item);
                if let Some(delay) = delay {
                    self.keep_delay(now, &host, delay);
                }
            }
        }
    }

    fn refuse_robots(&mut self, item: &SourceItem, why: &str) {
        let given = Given { input: &item.input, kept: &item.kept };
        self.refuse(item.id, given, ErrorKind::Robots, why);
    }

    /// Keeps a `Crawl-delay`. A host is forgotten with its last target, so this is said with each.
    fn keep_delay(&mut self, now: Instant, host: &Host, delay: Duration) {
        if let Some(gate) = self.robots.as_mut().filter(|gate| !gate.told && delay > CRAWL_DELAY_MAX) {
            gate.told = true;
            let (asked, kept) = (units::duration(delay), units::duration(CRAWL_DELAY_MAX));
            self.parts
                .observer
                .message(&format!("{} asks for a crawl delay of {asked}; {kept} is kept", host.name));
        }
        let host = HostRef { name: &host.name, local: host.local };
        self.pool.set_delay(now, host, delay.min(CRAWL_DELAY_MAX));
    }

    /// Has workers fetch what targets wait for. Returns whether the pool got anything.
    pub(super) fn ask_for_robots(&mut self, now: Instant) -> bool {
        let mut any = false;
        // A run that was stopped starts nothing.
        while self.ended.signal.is_none()
            && !self.source_told
            && let Some(gate) = &mut self.robots
            && let Some(authority) = gate.robots.poll_fetch(now)
        {
            any = true;
            let found = gate.unanswered.get(&authority).is_some_and(|unanswered| unanswered.found);
            let asker = gate.askers.of(found);
            if let Some((file, at)) = gate.cache.get(now, asker, &authority) {
                let kept = gate.know(now, &authority, file, at);
                self.release(now, &authority, kept);
                continue;
            }
            let Some(claim) = gate.cache.claim(asker, &authority) else {
                gate.robots.put_off(now, &authority);
                continue;
            };
            let Some(unanswered) = gate.unanswered.get(&authority) else { continue };
            let id = OWN_IDS + gate.fetched;
            gate.fetched += 1;
            gate.fetches.insert(id, Fetch { authority: Arc::clone(&authority), found, _claim: claim });
            let host = HostRef { name: &unanswered.host.name, local: unanswered.host.local };
            let url = format!("{authority}/robots.txt").into_bytes();
            self.pool.submit(now, id, url, unanswered.mark(), Some(host));
        }
        any
    }

    /// Takes in what a worker found.
    pub(super) fn take_robots(&mut self, now: Instant, id: u64, line: &[u8]) {
        let answer = framed::first(line).map(|(answer, _)| answer);
        let broken =
            || RobotsAnswer::Unreachable { why: "its worker sent no answer".to_owned(), after_ms: None };
        self.conclude_robots(now, id, answer.unwrap_or_else(broken));
    }

    /// Takes in that workers die of it.
    pub(super) fn lose_robots(&mut self, quarantined: &Quarantined) {
        self.parts.observer.set_aside(quarantined);
        let answer = RobotsAnswer::Unreachable { why: quarantined.message.clone(), after_ms: None };
        self.conclude_robots(clock::now(), quarantined.id, answer);
    }

    /// Takes in that its host was given up.
    pub(super) fn abandon_robots(&mut self, abandoned: &Abandoned) {
        let answer = RobotsAnswer::Unreachable { why: abandoned.message.clone(), after_ms: None };
        self.conclude_robots(clock::now(), abandoned.id, answer);
    }

    fn conclude_robots(&mut self, now: Instant, id: u64, answer: RobotsAnswer) {
        let Some(gate) = &mut self.robots else { return };
        let Some(fetch) = gate.fetches.remove(&id) else { return };
        if let Some(failure) = gate.first_failure(&fetch.authority, &answer) {
            self.parts.observer.message(&failure);
        }
        let kept = gate.learn(now, &fetch, answer);
        self.release(now, &fetch.authority, kept);
        self.pool.handle_timeout(now);
    }

    /// Goes on with targets that waited.
    fn release(&mut self, now: Instant, authority: &str, kept: Kept) {
        let Kept { targets, refused } = kept;
        let why = self.robots.as_ref().filter(|_| refused).map(|gate| gate.unreachable(authority));
        for id in targets {
            let Some(item) = self.robots.as_mut().and_then(|gate| gate.take(id)) else { continue };
            match &why {
                Some(why) => self.refuse_robots(&item, why),
                None => self.ask_robots(now, item),
            }
        }
    }

    /// When the next robots.txt is to be fetched.
    pub(super) fn robots_due(&self) -> Option<Instant> {
        let gate = self.robots.as_ref().filter(|_| self.ended.signal.is_none() && !self.source_told)?;
        gate.robots.next_due()
    }

    /// Inputs without a record. A robots.txt is none, and neither is a login.
    pub(super) fn inputs_left(&self) -> u64 {
        let (held, fetches) =
            self.robots.as_ref().map_or((0, 0), |gate| (gate.held().0, gate.fetches.len() as u64));
        (self.pool.inputs_left() + held).saturating_sub(fetches + self.pool.logins_left())
    }
}
