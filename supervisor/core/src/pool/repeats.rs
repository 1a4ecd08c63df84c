//! Pages that a host answers many URLs with count as blocked. The first of them cannot be told from others, so those
//! that may repeat are *held*: their records wait until it is clear, for a few seconds at most.
//!
//! A held target is with no worker and not in the frontier. It ends with [`Command::Accept`] or [`Command::Reject`].

use std::collections::VecDeque;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::{FxBuildHasher, FxHashMap};
use wire::protocol::{OWN_IDS, Outcome, PageMark, Verdict};

use super::{Command, Notice, Pool};
use crate::frontier::{Answer, HostId};
use crate::load::repetition::{Repetition, Sighting};

/// Longest time for which a record is held. A host that gives less than a page a second is not judged by then, and its
/// records are not kept from their readers for longer.
const HELD_FOR: Duration = Duration::from_secs(10);

/// Limits of what is held; beyond them, the oldest records are let go.
const HELD_MAX: usize = 1024;
const HELD_BYTES_MAX: u64 = 16 << 20;

/// Hosts whose pages are counted: the half that was not asked for longest is forgotten beyond that. A host needs up to
/// a kilobyte.
const HOSTS_MAX: usize = 4096;

/// The pages of all hosts, if they are watched.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    hosts: FxHashMap<Arc<str>, Watched>,
    /// Number of pages seen, which dates the use of hosts.
    seen: u64,
    /// In the order in which they are let go.
    held: VecDeque<Held>,
    held_bytes: u64,
}

#[derive(Debug, Default)]
struct Watched {
    pages: Repetition,
    seen: u64,
    /// Whether the user was told.
    told: bool,
}

#[derive(Debug)]
struct Held {
    id: u64,
    host: Arc<str>,
    page: u64,
    /// Whether it speaks of a challenge.
    challenges: bool,
    until: Instant,
    bytes: u64,
}

/// A page that repeats, or may.
#[derive(Debug)]
pub(super) struct Repeated {
    host: Arc<str>,
    page: PageMark,
    sighting: Sighting,
}

impl Repeated {
    /// Whether it counts as blocked.
    pub(super) const fn is_blocked(&self) -> bool {
        matches!(self.sighting, Sighting::Alarm { .. } | Sighting::Blocked)
    }
}

/// A held target whose page counts as blocked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Position of the input.
    pub id: u64,
    /// What its record says; `None` if it is tried again.
    pub last: Option<RejectedRecord>,
}

/// The record of a target whose page counts as blocked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedRecord {
    /// The input.
    pub input: Vec<u8>,
    /// Data carried along into its record.
    pub kept: Vec<u8>,
    /// Attempts made.
    pub attempts: u32,
    /// Explanation, one sentence.
    pub message: String,
}

impl Repeats {
    fn see(&mut self, host: &Arc<str>, page: PageMark, input: u64) -> Sighting {
        self.seen += 1;
        if let Some(watched) = self.hosts.get_mut(host) {
            watched.seen = self.seen;
            return watched.pages.see(page, input);
        }
        if self.hosts.len() >= HOSTS_MAX {
            let mut dates: Vec<u64> = self.hosts.values().map(|watched| watched.seen).collect();
            let (_, median, _) = dates.select_nth_unstable(HOSTS_MAX / 2);
            let median = *median;
            self.hosts.retain(|_, watched| watched.seen > median);
        }
        let mut watched = Watched { seen: self.seen, ..Watched::default() };
        let sighting = watched.pages.see(page, input);
        self.hosts.insert(Arc::clone(host), watched);
        sighting
    }

    /// When the next record is let go.
    pub(super) fn due(&self) -> Option<Instant> {
        self.held.front().map(|held| held.until)
    }

    fn push(&mut self, held: Held) {
        self.held_bytes += held.bytes;
        self.held.push_back(held);
    }

    /// Takes the next record that must not be held any longer.
    fn pop(&mut self, now: Instant, all: bool) -> Option<u64> {
        let overfull = self.held.len() > HELD_MAX || self.held_bytes > HELD_BYTES_MAX;
        let held = self.held.pop_front_if(|held| all || overfull || held.until <= now)?;
        self.held_bytes -= held.bytes;
        Some(held.id)
    }

    /// Takes everything that is held because of this page.
    fn take(&mut self, host: &str, page: u64) -> Vec<u64> {
        let (taken, left) = std::mem::take(&mut self.held)
            .into_iter()
            .partition::<Vec<_>, _>(|held| held.page == page && *held.host == *host);
        self.held = left.into();
        self.held_bytes -= taken.iter().map(|held| held.bytes).sum::<u64>();
        taken.into_iter().map(|held| held.id).collect()
    }

    /// Whether the user is to be told about this host: once.
    fn tell(&mut self, host: &str) -> bool {
        self.hosts.get_mut(host).is_some_and(|watched| !std::mem::replace(&mut watched.told, true))
    }
}

impl Pool {
    /// Counts a page as blocked that a host gives for many different targets. The outcomes must carry marks of pages.
    #[must_use]
    pub fn watching_repeats(self) -> Self {
        Self { repeats: Some(Repeats::default()), ..self }
    }

    /// Looks at the page of an outcome. If it repeats, or may, [`Self::take_over`] its target.
    pub(super) fn sight(&mut self, host: HostId, outcome: &Outcome) -> Option<Repeated> {
        let page = outcome.reply.and_then(|reply| reply.page).filter(|_| outcome.id < OWN_IDS);
        let (Some(repeats), Some(page), Verdict::Ok) = (&mut self.repeats, page, &outcome.verdict) else {
            return None;
        };
        let name = self.frontier.name(host)?;
        let input = FxBuildHasher.hash_one(self.ledger.input(outcome.id));
        let sighting = repeats.see(name, page, input);
        (sighting != Sighting::Usual).then(|| Repeated { host: Arc::clone(name), page, sighting })
    }

    /// Takes the target of an outcome over: its record is held, or rejected.
    pub(super) fn take_over(
        &mut self,
        now: Instant,
        id: HostId,
        outcome: &Outcome,
        answer: Answer,
        repeated: Repeated,
    ) {
        let Repeated { host, page, sighting } = repeated;
        self.ledger.hold(outcome.id);
        match sighting {
            Sighting::Usual | Sighting::Suspicious => {
                let (until, bytes) = (now + HELD_FOR, outcome.line_bytes);
                if let Some(repeats) = &mut self.repeats {
                    let PageMark { hash, challenges } = page;
                    repeats.push(Held { id: outcome.id, host, page: hash, challenges, until, bytes });
                }
            }
            Sighting::Alarm { count } => {
                let held = self.repeats.as_mut().map(|repeats| repeats.take(&host, page.hash));
                for target in held.unwrap_or_default() {
                    self.reject(now, target, id, &host);
                }
                self.raise_alarm(&host, count);
                self.reject(now, outcome.id, id, &host);
            }
            Sighting::Blocked => self.reject(now, outcome.id, id, &host),
        }
        // Last: a host without permits is forgotten.
        self.frontier.release(now, id, answer);
    }

    fn raise_alarm(&mut self, host: &str, count: u32) {
        if self.repeats.as_mut().is_some_and(|repeats| repeats.tell(host)) {
            let text = format!(
                "{host} now answers different URLs with the same page ({count} so far): it counts as blocked, and the \
                 host is asked more slowly; to accept such pages, give --blocked-if none"
            );
            self.commands.push_back(Command::Notice(Notice { is_trouble: true, ..Notice::new(text) }));
        }
    }

    /// Rejects the page of a held target, which is tried again if it may be.
    fn reject(&mut self, now: Instant, id: u64, host: HostId, name: &str) {
        let retries_max = if self.frontier.may_retry(host) { self.config.retries } else { 0 };
        let last = if let Some(counts) = self.ledger.recall(id, retries_max) {
            if counts {
                self.frontier.count_retry(host);
            }
            self.frontier.requeue(now, id, host);
            None
        } else {
            self.ledger.accept(id).map(|live| RejectedRecord {
                attempts: live.attempt(),
                input: live.input.into_vec(),
                kept: live.kept.into_vec(),
                message: format!("{name} answered other URLs with the same page; see --blocked-if repeats"),
            })
        };
        self.commands.push_back(Command::Reject(Box::new(Rejected { id, last })));
    }

    /// Ends the holding, because the run ends. Pages that speak of a challenge are not done.
    pub(super) fn let_go(&mut self, now: Instant) {
        let Some(repeats) = &mut self.repeats else { return };
        repeats.held_bytes = 0;
        for held in std::mem::take(&mut repeats.held) {
            if held.challenges && self.ledger.take_back(held.id) {
                self.frontier.give_back(now, held.id, HostId::NONE);
                self.commands.push_back(Command::Reject(Box::new(Rejected { id: held.id, last: None })));
            } else if self.ledger.accept(held.id).is_some() {
                self.commands.push_back(Command::Accept(held.id));
            }
        }
    }

    /// Lets go of the records that were held long enough, or of all.
    pub(super) fn accept_held(&mut self, now: Instant, all: bool) {
        while let Some(id) = self.repeats.as_mut().and_then(|repeats| repeats.pop(now, all)) {
            if self.ledger.accept(id).is_some() {
                self.commands.push_back(Command::Accept(id));
            }
        }
    }
}
