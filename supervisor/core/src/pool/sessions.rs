//! The sessions of a job that logs in: which targets wait for a login, and the requests that the pool makes for it. What
//! an answer means is decided in [`crate::sessions`].
//!
//! A login and a check are targets of their own, with ids beyond those of inputs. So they keep the budget and the pace of
//! their host, and go to another worker if theirs dies. They go before all others of their host, which is barred
//! meanwhile; other hosts go on.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashSet;
use wire::protocol::{CHECK_IDS, LOGIN_IDS, OWN_IDS, Outcome, SessionMark, Verdict};
use wire::record::ErrorKind;

use super::credit::Load;
use super::exchange::{Command, Disposition, Notice, SessionBegun};
use super::ledger::Failure;
use super::{Pool, PoolState};
use crate::frontier::{Answer, HostId, HostRef};
use crate::proxies::Choice;
use crate::sessions::{Controls, Entry, LoginCounts, Sessions, Shown, Step};

/// What the record of a page says that the account may not see.
const REFUSED: &str = "the page looks logged out, although the job is logged in: the account may not see it";

/// Says whether an input needs the login.
pub type CoversOf = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// A host that a request of the pool's own goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginHost {
    /// What stands for it in the limits per host.
    pub name: Arc<str>,
    /// Whether it is the user's own machine or network.
    pub local: bool,
}

/// A request of the pool's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginStep {
    /// The URL.
    pub input: Vec<u8>,
    /// What the worker needs besides.
    pub kept: Vec<u8>,
    /// Its host.
    pub host: LoginHost,
}

/// The session that a run begins with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionStart {
    /// Its number.
    pub number: u32,
    /// Whether it is logged in.
    pub is_in: bool,
    /// Its proxy, if it has one.
    pub exit: Option<u16>,
}

/// How a job logs in.
#[derive(Clone)]
pub struct SessionsConfig {
    /// The first request of a login.
    pub login: LoginStep,
    /// The page that the user has named for checks, if there is one.
    pub check: Option<LoginStep>,
    /// Whether other pages can be asked for twice.
    pub may_repeat: bool,
    /// Which targets need the login.
    pub covers: CoversOf,
    /// Number of header profiles.
    pub profiles: u16,
    /// The session to begin with.
    pub start: SessionStart,
}

impl fmt::Debug for SessionsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionsConfig").field("start", &self.start).finish_non_exhaustive()
    }
}

/// The sessions of a job, and the requests under way for them.
#[derive(Debug)]
pub(super) struct PoolSessions {
    config: SessionsConfig,
    sessions: Sessions,
    /// The page that shows whether a session is alive.
    control: Option<LoginStep>,
    /// Ids of the requests under way.
    own: FxHashSet<u64>,
    /// Requests so far.
    begun: u64,
    /// Why the last login failed.
    trouble: String,
}

impl Pool {
    /// Logs in where that is needed.
    #[must_use]
    pub fn logging_in(self, config: SessionsConfig) -> Self {
        let controls = match (&config.check, config.may_repeat) {
            (Some(_), _) => Controls::Named,
            (None, true) => Controls::Seen,
            (None, false) => Controls::None,
        };
        let SessionStart { number, is_in, exit } = config.start;
        let mut pool = self.in_session(exit);
        if let Some(proxies) = pool.proxies.as_mut().filter(|_| is_in && exit.is_some()) {
            proxies.bind_session();
        }
        let sessions = PoolSessions {
            sessions: Sessions::new(number, is_in, controls),
            control: config.check.clone(),
            config,
            own: FxHashSet::default(),
            begun: 0,
            trouble: String::new(),
        };
        Self { sessions: Some(Box::new(sessions)), ..pool }
    }

    /// Begins with the proxy of an earlier run's session.
    #[must_use]
    pub fn in_session(mut self, exit: Option<u16>) -> Self {
        if let Some(proxies) = &mut self.proxies {
            proxies.begin_session(exit);
        }
        self
    }

    /// What was done to log in; `None` if the job does not.
    #[must_use]
    pub fn login_counts(&self) -> Option<LoginCounts> {
        self.sessions.as_ref().map(|sessions| sessions.sessions.counts())
    }

    /// The proxy of the session, if it has one.
    #[must_use]
    pub fn session_exit(&self) -> Option<u16> {
        self.proxies.as_ref()?.session_exit()
    }

    /// Requests under way that are no inputs.
    #[must_use]
    pub fn logins_left(&self) -> u64 {
        self.sessions.as_ref().map_or(0, |sessions| sessions.own.len() as u64)
    }

    /// The number of the session.
    pub(super) fn session_number(&self) -> u32 {
        self.sessions.as_ref().map_or(0, |sessions| sessions.sessions.number())
    }

    /// Chooses the way of a popped target; `None` if it waits for a login, or has ended.
    pub(super) fn enter(&mut self, now: Instant, id: u64, host: HostId) -> Option<Choice> {
        self.enter_session(now, id, host).then(|| self.way(now, id, host))
    }

    /// Whether a popped target may start.
    fn enter_session(&mut self, now: Instant, id: u64, host: HostId) -> bool {
        let Some(sessions) = self.sessions.as_mut().filter(|_| id < OWN_IDS && host != HostId::NONE) else {
            return true;
        };
        if !(sessions.config.covers)(self.ledger.input(id)) {
            return true;
        }
        let (entry, step) = sessions.sessions.enter(id);
        match entry {
            Entry::Pass => return true,
            Entry::Wait => {
                self.frontier.bar(now, host);
                self.frontier.ask_again(now, id, host, Answer::Unknown);
            }
            Entry::Refuse => self.abandon_popped(now, id, host, ErrorKind::Login, REFUSED.to_owned()),
        }
        self.step(now, step);
        false
    }

    /// Learns what a result says about the session. Returns what becomes of it, if that decides.
    pub(super) fn hear_of_session(
        &mut self,
        now: Instant,
        host: HostId,
        outcome: &Outcome,
        answer: Answer,
    ) -> Option<(Load, Disposition)> {
        let id = outcome.id;
        let sessions = self.sessions.as_mut()?;
        let mark = outcome.session;
        if id >= CHECK_IDS {
            let shown = match (&outcome.verdict, mark) {
                (_, Some(SessionMark { is_out: true, .. })) => Shown::Out,
                (Verdict::Ok, Some(SessionMark { is_out: false, .. })) => Shown::In,
                (Verdict::Ok | Verdict::Failed(_), _) => Shown::Nothing,
                (Verdict::Retry { .. }, _) => return None,
            };
            let number = mark.map_or_else(|| sessions.sessions.number(), |mark| mark.number);
            sessions.own.remove(&id);
            let load = self.ledger.finish(id);
            self.forget_way(id);
            self.frontier.release(now, host, answer);
            self.check_ended(now, number, shown);
            return Some((load, Disposition::Final));
        }
        let SessionMark { number, is_out } = mark?;
        if is_out {
            let load = self.ledger.load(id);
            let step = sessions.sessions.seen_out(id, number);
            self.ledger.retry(id, Failure::Exit);
            // Also of a host that was not known to lead to such pages.
            if step != Step::Stay || sessions.sessions.is_busy() {
                self.frontier.bar(now, host);
            }
            self.frontier.ask_again(now, id, host, answer);
            self.step(now, step);
            return Some((load, Disposition::Retried));
        }
        if outcome.verdict == Verdict::Ok
            && sessions.sessions.seen_in(id, number)
            && let (Some(name), Some((input, kept))) = (self.frontier.name(host), self.ledger.content(id))
        {
            let host = LoginHost { name: Arc::clone(name), local: self.frontier.is_local(host) };
            sessions.control = Some(LoginStep { input: input.to_vec(), kept: kept.to_vec(), host });
        } else if outcome.verdict != Verdict::Ok && !matches!(outcome.verdict, Verdict::Retry { .. }) {
            sessions.sessions.forget(id);
        }
        None
    }

    fn check_ended(&mut self, now: Instant, number: u32, shown: Shown) {
        let Some(sessions) = &mut self.sessions else { return };
        let step = sessions.sessions.checked(number, shown);
        self.step(now, step);
    }

    /// Continues a login: its page is there, and this is to be sent.
    pub fn continue_login(&mut self, now: Instant, id: u64, next: LoginStep) {
        let is_own = self.sessions.as_mut().is_some_and(|sessions| sessions.own.remove(&id));
        if is_own && self.state == PoolState::Running {
            self.submit_own(now, LOGIN_IDS, next);
        }
        self.settle(now);
    }

    /// Ends a login, or a check that no worker could do. `trouble` says why it failed; `None` is success.
    pub fn end_login(&mut self, now: Instant, id: u64, trouble: Option<&str>) {
        let Some(sessions) = &mut self.sessions else { return };
        sessions.own.remove(&id);
        let number = sessions.sessions.number();
        if id >= CHECK_IDS {
            self.check_ended(now, number, Shown::Nothing);
        } else {
            let step = sessions.sessions.ended(number, trouble.is_none());
            if let Some(trouble) = trouble {
                trouble.clone_into(&mut sessions.trouble);
                if step == Step::LogIn {
                    let text = format!("the login failed: {trouble}; it is tried once more");
                    self.commands
                        .push_back(Command::Notice(Notice { is_trouble: true, ..Notice::new(text) }));
                }
            } else {
                if let Some(proxies) = &mut self.proxies {
                    proxies.bind_session();
                }
                self.commands.push_back(Command::LoggedIn(self.session_exit()));
            }
            self.step(now, step);
        }
        self.settle(now);
    }

    /// Begins another session if the proxy of this one has failed and targets wait.
    pub(super) fn end_broken_session(&mut self, now: Instant) {
        let is_broken = self.proxies.as_ref().is_some_and(|proxies| proxies.is_session_broken());
        if !is_broken || self.backlog() == 0 {
            return;
        }
        let Some(sessions) = &mut self.sessions else { return };
        let step = sessions.sessions.lost();
        self.step(now, step);
    }

    fn step(&mut self, now: Instant, step: Step) {
        match step {
            Step::Stay => {}
            Step::LogIn => self.log_in(now),
            Step::Check => {
                let control = self.sessions.as_ref().and_then(|sessions| sessions.control.clone());
                match control {
                    Some(control) => self.submit_own(now, CHECK_IDS, control),
                    None => self.check_ended(now, self.session_number(), Shown::Nothing),
                }
            }
            Step::GoOn => self.frontier.unbar(now),
            Step::GiveUp => {
                let trouble = self.sessions.as_ref().map_or("", |sessions| &sessions.trouble);
                let why = format!("the login failed: {trouble}; put that right, then resume");
                self.commands.push_back(Command::LoginFailed(why));
            }
        }
    }

    /// Begins a session with a login.
    fn log_in(&mut self, now: Instant) {
        let Some(sessions) = &self.sessions else { return };
        let (number, profiles) = (sessions.sessions.number(), sessions.config.profiles);
        let login = sessions.config.login.clone();
        let profile = if profiles > 1 { self.rng.u16(..profiles) } else { 0 };
        if let Some(proxies) = &mut self.proxies {
            proxies.begin_session(None);
        }
        // Until a login has succeeded, the jar is as the user gave it.
        let is_first = sessions.sessions.counts().logins == 0 && !sessions.config.start.is_in;
        self.commands.push_back(Command::BeginSession(SessionBegun { number, profile, is_first }));
        self.submit_own(now, LOGIN_IDS, login);
    }

    fn submit_own(&mut self, now: Instant, first_id: u64, step: LoginStep) {
        let Some(sessions) = &mut self.sessions else { return };
        let id = first_id + sessions.begun;
        sessions.begun += 1;
        sessions.own.insert(id);
        let LoginStep { input, kept, host } = step;
        self.ledger.submit(id, input, kept, 1);
        self.frontier.push_login(now, id, HostRef { name: &host.name, local: host.local });
    }
}
