//! Carries out what the pool decides about logins: takes in what workers make of them, tells the jar of each session, and
//! keeps what a later run needs.

use std::time::Instant;

use shared::clock;
use shared::framed;
use shared::login::{LoginAnswer, LoginRequest};
use supervisor_core::pool::{Event, LoginHost, LoginStep, SessionBegun};

use super::Runtime;
use crate::plan::HostKey;
use crate::source::Host;

/// Returns the target of a request of a login; `None` if its URL has no host.
pub(crate) fn step(request: &LoginRequest, key: HostKey) -> Option<LoginStep> {
    let mut kept = Vec::new();
    framed::push(request, &mut kept);
    Some(LoginStep { kept, ..page(&request.url, key)? })
}

/// Returns the target of a page that a login needs; `None` if its URL has no host.
pub(crate) fn page(url: &str, key: HostKey) -> Option<LoginStep> {
    let Host { name, local } = Host::of_url(url.as_bytes(), key)?;
    Some(LoginStep { input: url.as_bytes().to_vec(), kept: Vec::new(), host: LoginHost { name, local } })
}

impl Runtime<'_> {
    /// Takes in what a worker made of a request of a login.
    pub(super) fn take_login(&mut self, now: Instant, id: u64, line: &[u8]) {
        match framed::first::<LoginAnswer>(line).map(|(answer, _)| answer) {
            Some(LoginAnswer::Send(request)) => match step(&request, self.host_key) {
                Some(next) => self.pool.continue_login(now, id, next),
                None => self.pool.end_login(now, id, Some("its form leads to no address")),
            },
            Some(LoginAnswer::Done) => self.pool.end_login(now, id, None),
            Some(LoginAnswer::Failed(why)) => self.pool.end_login(now, id, Some(&why)),
            None => self.pool.end_login(now, id, Some("its worker sent no answer")),
        }
    }

    /// Begins a session. Workers learn of it before they get more targets.
    pub(super) fn begin_session(&mut self, begun: SessionBegun) {
        let SessionBegun { number, profile, is_first } = begun;
        if let Some(cookies) = &self.cookies {
            cookies.begin_session(number, profile, is_first);
        }
        self.copies.begin_session();
        self.keep_session(|session| session.begin(number, profile));
    }

    /// Keeps the session that is logged in, before anything is asked in it.
    pub(super) fn logged_in(&mut self, exit: Option<u16>) {
        self.write_cookies();
        self.keep_session(|session| session.logged_in(exit));
    }

    /// Keeps the proxy of a session that has moved to another one.
    pub(super) fn keep_exit(&mut self) {
        let exit = self.pool.session_exit();
        self.keep_session(|session| session.moved(exit));
    }

    /// Ends the run, because logins fail. What has begun at other hosts is finished.
    pub(super) fn login_failed(&mut self, why: String) {
        if self.ended.failure.is_none() {
            (self.ended.failure, self.ended.lacks_login) = (Some(why), true);
        }
        self.pool.handle_event(clock::now(), Event::Drain);
    }

    fn keep_session(
        &mut self,
        change: impl FnOnce(&crate::session::Session) -> Result<(), crate::whole_file::WriteError>,
    ) {
        if let Some(Err(error)) = self.session.as_ref().map(change) {
            self.parts.observer.message(&format!("the session is not kept: {error}"));
        }
    }
}
