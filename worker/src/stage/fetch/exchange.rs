//! Takes one target from its URL to its outcome, including redirects. Uses no socket and no clock.
//!
//! Calling contract, the same for both clients:
//!
//! ```text
//! Exchange::new(rules, url, wanted, kept, recording)
//! loop  turn() → Done(outcome): the end.   turn() → Request(r): send it, then
//!         on_fault(f)                       if there is no response head, else
//!         on_head(head, first_byte), and while it and on_chunk(bytes) return Flow::Read:
//!           on_chunk(bytes) … then on_end() or on_fault(f)
//!           while that returns Flow::Work: go_on(), or on_fault(f) if the time is over
//! ```
//! After [`Flow::Stop`] the rest of the response is not needed: drop it and take a turn.

use std::mem;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, LOCATION, TRANSFER_ENCODING};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use shared::kept::Kept;
use shared::protocol::ExitFault;
use shared::record::ErrorKind;

use super::body::{Body, content_type};
use super::cookies::Cookies;
use super::fault::Fault;
use super::hop::CurrentHop;
use super::limits::Limits;
use super::recording::{Recording, Truncated};
use super::repair::{HEAD_BYTES_MAX, HEADERS_MAX};
use super::request::{Sent, leaves_undone};
use super::rules::Rules;
use super::scope::{Distance, Homes};
use super::since::Change;
use super::{ErrorPage, Failure, Fetched, Outcome, Wanted, login, target};
use crate::stage::content_length::content_length;
use crate::stage::decode::{DecodeError, Progress};
use crate::stage::save::FileSlot;

/// How much to read of a body that is not needed (of a redirect or an error), so that its connection can serve the
/// next request.
const DRAIN_BYTES_MAX: u64 = 64 * 1024;

/// Maximum dead pooled connections to skip before the next one counts as an error. A server may close several
/// pooled connections at once.
const STALE_MAX: u32 = 8;

/// What the client must do next.
pub(super) enum Turn {
    /// Send this request.
    Request(Request<Bytes>),
    /// Stop: the target has its outcome.
    Done(Outcome),
}

/// Whether the exchange needs more of the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Flow {
    Read,
    /// It has work left: go on before the next piece, unless the time is over.
    Work,
    Stop,
}

enum Phase {
    /// No request is under way.
    Idle(Next),
    /// A request is under way, and its head has not arrived.
    Head,
    Body(Box<Body>),
    /// The body is read only to keep the connection.
    Drain {
        left: u64,
        next: Next,
    },
}

enum Next {
    Request,
    Done(Outcome),
}

/// One target under way.
pub(super) struct Exchange<'a> {
    hop: CurrentHop<'a>,
    /// What is sent at this hop besides its URL; `None` is a GET without a body.
    sent: Option<Box<Sent>>,
    /// The session that it belongs to, and its header profile.
    session: u32,
    profile: u16,
    /// Whether it is a request of a login.
    is_login: bool,
    homes: Homes<'a>,
    distance: Distance,
    redirects: u32,
    stale: u32,
    /// This hop has been repeated over HTTP/1.1.
    downgraded: bool,
    /// What a status of 400 or above comes to, while its page is read for the rules about blocked pages.
    refusal: Option<Box<Failure>>,
    phase: Phase,
    /// Records what is sent and received, if it is on.
    recording: &'a mut Recording,
}

impl<'a> Exchange<'a> {
    /// Begins the exchange for one input.
    pub(super) fn new(
        rules: &'a Rules,
        input: &str,
        wanted: Wanted,
        kept: Kept<'_>,
        recording: &'a mut Recording,
    ) -> Result<Self, Box<Failure>> {
        let mut url = target::parse(input).map_err(CurrentHop::nowhere)?;
        let (session, profile) = rules.cookies.as_ref().map(Cookies::session).unwrap_or_default();
        if let Some(login) = &rules.login
            && recording.enter(session, wanted != Wanted::Login && login.covers(&url))
        {
            return Err(CurrentHop::unsent());
        }
        let sent = match wanted {
            Wanted::Login => login::sent(kept),
            Wanted::Check => Ok(None),
            Wanted::Page | Wanted::Listed | Wanted::Robots { .. } => {
                rules.sending.as_ref().map(|sending| sending.fill(kept)).transpose()
            }
        };
        let sent = sent.map_err(CurrentHop::nowhere)?;
        let (homes, distance) = Homes::begin(&rules.scope, wanted, &mut url);
        Ok(Self {
            hop: CurrentHop { rules, url, status: None },
            sent: sent.map(Box::new),
            session,
            profile,
            is_login: wanted == Wanted::Login,
            homes,
            distance,
            redirects: 0,
            stale: 0,
            downgraded: false,
            refusal: None,
            phase: Phase::Idle(Next::Request),
            recording,
        })
    }

    /// Returns what to do next.
    pub(super) fn turn(&mut self) -> Turn {
        match mem::replace(&mut self.phase, Phase::Head) {
            // An error stays that error, whatever becomes of its page.
            Phase::Idle(Next::Done(outcome)) => Turn::Done(self.refusal.take().map_or(outcome, Err)),
            Phase::Idle(Next::Request) => match self.request() {
                Ok(request) => Turn::Request(request),
                Err(message) => Turn::Done(Err(self.hop.failure(ErrorKind::InvalidUrl, message, false))),
            },
            // The client broke the contract: it stopped without reporting why.
            Phase::Head | Phase::Body(_) | Phase::Drain { .. } => {
                Turn::Done(Err(self.hop.explain(&Fault::Closed, None)))
            }
        }
    }

    fn request(&mut self) -> Result<Request<Bytes>, String> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = target::request_uri(&self.hop.url)?;
        self.hop.rules.headers(self.distance, self.profile).clone_into(request.headers_mut());
        if let Some(sent) = &self.sent {
            sent.apply(self.distance, &mut request);
        }
        if let Some(value) = target::basic_auth(&self.hop.url) {
            // A header that the user set has precedence over the URL's credentials.
            request.headers_mut().entry(AUTHORIZATION).or_insert(value);
        }
        if let Some(file) = self.recording.file.as_mut() {
            file.ask_for_rest(&target::public(self.hop.url.clone()), &mut request);
        }
        if let Some(cookies) = &self.hop.rules.cookies {
            cookies.send(&self.hop.url, self.session, request.headers_mut());
        }
        if let Some(condition) = self.recording.condition.as_mut() {
            condition.ask(&self.hop.url, &mut request);
        }
        self.hop.status = None;
        self.refusal = None;
        self.recording.request(&self.hop.url, &request);
        Ok(request)
    }

    /// Notes the proxy that the request under way goes through, if it does.
    pub(super) fn goes_through(&mut self, proxy: Option<u16>) {
        self.recording.goes_through(proxy);
    }

    /// Records whose fault it may be that there is no answer.
    fn note_exit_fault(&mut self, fault: &Fault) {
        let is_ended = matches!(self.phase, Phase::Head)
            && (fault.is_timeout()
                || matches!(fault, Fault::Closed | Fault::Stale | Fault::Untouched | Fault::ConnectTimeout));
        if let Fault::Proxy(fault) = fault {
            self.recording.exit_failed(fault.kind);
        } else if is_ended {
            self.recording.exit_failed(ExitFault::Broken);
        } else if matches!(fault, Fault::Tls { .. } | Fault::Session(_)) {
            // That of the server, which only a tunnel leads to.
            self.recording.exit_worked();
        }
    }

    /// Handles the response's status line and headers, which came `first_byte` after the request was sent over an
    /// open connection.
    pub(super) fn on_head(&mut self, head: &Parts, first_byte: Duration) -> Flow {
        self.recording.answered(head.status.as_u16(), first_byte);
        if let Err(fault) = check_framing(head) {
            return self.stop(Err(self.hop.explain(&fault, None)));
        }
        let keeps_cookies = self.hop.rules.cookies.as_ref();
        if let Some(cookies) = keeps_cookies {
            cookies.keep(&self.hop.url, self.session, &head.headers);
        }
        self.recording.head(head, keeps_cookies.is_some());
        self.recording.keep_headers(&self.hop.rules.response_headers, head);
        self.recording.keep_robots_tags(&head.headers);
        if !leaves_undone(head) {
            self.spend();
        }
        let flow = self.judge(head);
        if flow == Flow::Stop && !self.is_head() {
            self.recording.cut(Truncated::Length);
        }
        flow
    }

    fn judge(&mut self, head: &Parts) -> Flow {
        self.hop.status = Some(head.status.as_u16());
        if let Some(rule) = self.judge_login(head) {
            let failure = self.hop.logged_out(head.status, &rule);
            return self.drain(&head.headers, Next::Done(Err(failure)));
        }
        if let Some(rule) = self.hop.rules.blocked.matching(head) {
            let failure = self.hop.blocked(head.status, &head.headers, rule);
            self.recording.refused();
            return self.drain(&head.headers, Next::Done(Err(failure)));
        }
        match self.recording.condition.as_mut().map_or(Change::Open, |condition| condition.answered(head)) {
            Change::Open => {}
            Change::None => {
                let fetched = self.fetched(None, Vec::new());
                return self.end_without_body(Next::Done(Ok(fetched)));
            }
            Change::Other => return self.end_without_body(Next::Request),
            Change::Unasked => {
                let message = "304 Not Modified, although the request had no condition".to_owned();
                let failure = self.hop.failure(ErrorKind::HttpStatus, message, false);
                return self.end_without_body(Next::Done(Err(failure)));
            }
        }
        if self.recording.file.as_mut().is_some_and(|file| file.refuses(head)) {
            return self.drain(&head.headers, Next::Request);
        }
        if let Some(location) = head.headers.get(LOCATION).filter(|_| target::is_redirect(head.status)) {
            let next = match self.follow(head.status, location) {
                Ok(()) => Next::Request,
                Err(failure) => Next::Done(Err(failure)),
            };
            return self.drain(&head.headers, next);
        }
        if head.status.as_u16() >= 400 {
            let failure = self.hop.refused(head.status, &head.headers);
            if !self.hop.rules.reads_errors || self.is_head() {
                return self.drain(&head.headers, Next::Done(Err(failure)));
            }
            self.refusal = Some(failure);
        }
        if self.is_head() {
            // Its head describes the body that a GET would get.
            let fetched = self.fetched(content_type(&head.headers), Vec::new());
            return self.stop(Ok(fetched));
        }
        let limits = self.limits(head);
        match Body::begin(&head.headers, self.hop.rules, limits) {
            Ok(body) => {
                if limits.held_max.is_some() {
                    self.begin_file(head, limits);
                }
                self.phase = Phase::Body(Box::new(body));
                Flow::Read
            }
            Err(error) => self.stop(Err(self.hop.undecodable(&error, 0, limits.bytes_max))),
        }
    }

    /// Returns the rule by which this is an answer to somebody who is not logged in. That of a login is only noted.
    fn judge_login(&mut self, head: &Parts) -> Option<String> {
        let login =
            self.hop.rules.login.as_ref().filter(|_| self.is_login || self.recording.needs_login())?;
        if !self.is_login {
            return login.logged_out(&self.hop.url, head);
        }
        login.note(&self.hop.url, head, &mut self.recording.login);
        None
    }

    /// The limits of the body that follows.
    fn limits(&self, head: &Parts) -> Limits {
        match (self.hop.rules.saved, &self.recording.file) {
            (Some(limits), Some(file)) if self.refusal.is_none() => {
                Limits { rest: file.rest(head), ..limits }
            }
            (_, _) => Limits { bytes_max: self.hop.rules.body_bytes_max, held_max: None, rest: None },
        }
    }

    fn begin_file(&mut self, head: &Parts, limits: Limits) {
        if let Some(file) = self.recording.file.as_mut() {
            file.begin(&target::public(self.hop.url.clone()), head);
        }
        if limits.rest.is_some() {
            // The file is as if it had come at once, and so is its record.
            self.hop.status = Some(StatusCode::OK.as_u16());
        }
    }

    /// Passes what is decoded of the body to its file, if it is saved.
    fn pass_on(&mut self, all: bool) {
        if let (Phase::Body(body), Some(file)) = (&mut self.phase, self.recording.file.as_mut()) {
            body.pass_on(all, file);
        }
    }

    /// Handles a piece of the body.
    pub(super) fn on_chunk(&mut self, chunk: &[u8]) -> Flow {
        self.recording.chunk(chunk);
        match &mut self.phase {
            Phase::Body(body) => {
                let pushed = body.push(chunk);
                self.progressed(pushed)
            }
            Phase::Drain { left, next } => {
                *left = left.saturating_sub(chunk.len() as u64);
                if *left > 0 {
                    return Flow::Read;
                }
                let next = mem::replace(next, Next::Request);
                self.phase = Phase::Idle(next);
                self.recording.cut(Truncated::Length);
                Flow::Stop
            }
            Phase::Idle(_) | Phase::Head => Flow::Stop,
        }
    }

    /// Goes on with the work that the last piece of the body left.
    pub(super) fn go_on(&mut self) -> Flow {
        let Phase::Body(body) = &mut self.phase else { return Flow::Stop };
        let pushed = body.go_on();
        self.progressed(pushed)
    }

    /// Handles what has become of a piece.
    fn progressed(&mut self, pushed: Result<Progress, DecodeError>) -> Flow {
        if self.recording.file.as_ref().is_some_and(|file| file.is_lost()) {
            // It makes no record.
            return self.stop(Err(self.hop.explain(&Fault::Closed, None)));
        }
        if let Some(error) = self.recording.file.as_ref().and_then(|file| file.too_large()) {
            let Phase::Body(body) = &self.phase else { return Flow::Stop };
            let failure = self.hop.unsavable(error, body.received);
            return self.stop(Err(failure));
        }
        self.pass_on(false);
        match pushed {
            Ok(Progress::Done) => Flow::Read,
            Ok(Progress::More) => Flow::Work,
            Err(error) => self.stop_within_body(&error),
        }
    }

    /// Ends the exchange because of what arrived of the body.
    fn stop_within_body(&mut self, error: &DecodeError) -> Flow {
        let Phase::Body(body) = mem::replace(&mut self.phase, Phase::Head) else { return Flow::Stop };
        let too_large = *error == DecodeError::TooLarge;
        self.recording.cut(if too_large { Truncated::Length } else { Truncated::Unspecified });
        if too_large && self.hop.rules.cuts {
            let content_type = body.content_type.clone();
            let fetched = self.fetched(content_type, body.cut());
            return self.stop(Ok(fetched));
        }
        let failure = self.hop.undecodable(error, body.received, body.bytes_max());
        self.stop(Err(failure))
    }

    /// Handles the end of the body, as HTTP's framing defines it.
    pub(super) fn on_end(&mut self) {
        self.pass_on(true);
        match mem::replace(&mut self.phase, Phase::Head) {
            Phase::Body(body) => {
                let outcome = self.conclude(*body);
                self.phase = Phase::Idle(Next::Done(outcome));
            }
            Phase::Drain { next, .. } | Phase::Idle(next) => self.phase = Phase::Idle(next),
            Phase::Head => {}
        }
    }

    /// Handles a fault. The connection is gone.
    pub(super) fn on_fault(&mut self, fault: &Fault) {
        self.note_exit_fault(fault);
        self.pass_on(true);
        // Draining gives up early when it takes long, so the recorded reason cannot say who ended it.
        let why = if self.draining() { Truncated::Unspecified } else { Truncated::Disconnect };
        self.recording.cut(if fault.is_timeout() { Truncated::Time } else { why });
        let may_repeat = self.may_repeat(fault);
        let next = match mem::replace(&mut self.phase, Phase::Head) {
            Phase::Head if is_stale(fault) && may_repeat && self.stale < STALE_MAX => {
                self.stale += 1;
                Next::Request
            }
            // Nothing was sent, and the client has waited.
            Phase::Head if matches!(fault, Fault::Shortage(_)) => Next::Request,
            Phase::Head | Phase::Body(_) if fault.wants_http1() && may_repeat && !self.downgraded => {
                self.downgraded = true;
                Next::Request
            }
            Phase::Head => Next::Done(Err(self.hop.explain(fault, None))),
            Phase::Body(body) => Next::Done(Err(self.hop.explain(fault, Some(&body)))),
            // Only time was lost.
            Phase::Drain { next: Next::Request, .. } | Phase::Idle(Next::Request) if fault.is_timeout() => {
                self.hop.status = None;
                Next::Done(Err(self.hop.explain(fault, None)))
            }
            Phase::Drain { next, .. } | Phase::Idle(next) => next,
        };
        self.phase = Phase::Idle(next);
    }

    /// Handles the end of the target's time: [`Fault::Timeout`], or before the request was sent,
    /// [`Fault::TimeoutUnsent`]. Returns its outcome, or how far it got.
    pub(super) fn time_out(mut self, fault: &Fault) -> Outcome {
        self.on_fault(fault);
        match self.turn() {
            Turn::Done(outcome) => outcome,
            Turn::Request(_) => Err(self.hop.explain(fault, None)),
        }
    }

    /// Ends the exchange because this machine cannot continue it.
    pub(super) fn give_up(&self, fault: &Fault) -> Outcome {
        Err(self.hop.explain(fault, None))
    }

    /// The file that the body is saved as, if so much waits for the disk that no more should be read.
    pub(super) fn file_ahead(&self) -> Option<&FileSlot> {
        self.recording.file.as_deref().filter(|file| file.is_ahead())
    }

    /// Whether the body is read only to keep the connection, which is not worth waiting for.
    pub(super) const fn draining(&self) -> bool {
        matches!(self.phase, Phase::Drain { .. })
    }

    /// Returns the method, if this request must not be sent twice.
    pub(super) fn once(&self) -> Option<&Method> {
        self.sent.as_ref().and_then(|sent| sent.only_once(self.distance))
    }

    /// Whether this request may be sent again after this fault. Notes if the server may have acted on it.
    fn may_repeat(&mut self, fault: &Fault) -> bool {
        match self.phase {
            Phase::Head => fault.is_before_request() || !self.spend(),
            // Its head has told whether the server may have acted on it.
            Phase::Body(_) | Phase::Drain { .. } | Phase::Idle(_) => self.once().is_none(),
        }
    }

    /// Notes that the server may have acted on this request. Returns whether it must not be sent again.
    fn spend(&mut self) -> bool {
        let once = self.once().cloned();
        if let Some(method) = &once {
            self.recording.spend(method);
        }
        once.is_some()
    }

    /// Whether the answer has no body because of the method.
    fn is_head(&self) -> bool {
        self.sent.as_ref().is_some_and(|sent| sent.method == Method::HEAD)
    }

    fn stop(&mut self, outcome: Outcome) -> Flow {
        self.phase = Phase::Idle(Next::Done(outcome));
        Flow::Stop
    }

    /// Goes on after a head whose `Content-Length` is that of another answer's body. The end of its own
    /// body has still to be read, to keep the connection.
    fn end_without_body(&mut self, next: Next) -> Flow {
        self.phase = Phase::Drain { left: DRAIN_BYTES_MAX, next };
        Flow::Read
    }

    fn drain(&mut self, headers: &HeaderMap, next: Next) -> Flow {
        if content_length(headers).is_some_and(|length| length > DRAIN_BYTES_MAX) {
            self.phase = Phase::Idle(next);
            return Flow::Stop;
        }
        self.phase = Phase::Drain { left: DRAIN_BYTES_MAX, next };
        Flow::Read
    }

    fn follow(&mut self, status: StatusCode, location: &HeaderValue) -> Result<(), Box<Failure>> {
        let mut next = target::redirect(&self.hop.url, location)
            .map_err(|message| self.hop.failure(ErrorKind::InvalidUrl, message, false))?;
        if self.redirects >= self.hop.rules.redirects_max {
            let shown = target::public(next.clone());
            let message =
                format!("more than {} redirects, the next to {shown}", self.hop.rules.redirects_max);
            return Err(self.hop.failure(ErrorKind::TooManyRedirects, message, false));
        }
        self.redirects += 1;
        self.stale = 0;
        self.downgraded = false;
        self.distance = self.homes.follow(&self.hop.rules.scope, &self.hop.url, &mut next);
        self.hop.url = next;
        if !self.is_login && self.hop.rules.login.as_ref().is_some_and(|login| login.covers(&self.hop.url)) {
            self.recording.needs_login_now();
        }
        if let Some(sent) = &mut self.sent {
            sent.redirect(status);
        }
        Ok(())
    }

    fn conclude(&mut self, body: Body) -> Outcome {
        if body.is_short() && self.has_body() {
            self.recording.cut(Truncated::Disconnect);
            return Err(self.hop.explain(&Fault::Closed, Some(&body)));
        }
        let (received, bytes_max, content_type) =
            (body.received, body.bytes_max(), body.content_type.clone());
        let body = body.finish().map_err(|error| self.hop.undecodable(&error, received, bytes_max))?;
        let fetched = self.fetched(content_type, body);
        match self.refusal.take() {
            None => Ok(fetched),
            Some(mut refusal) => {
                refusal.page = Some(ErrorPage { body: fetched.body, content_type: fetched.content_type });
                Err(refusal)
            }
        }
    }

    fn fetched(&self, content_type: Option<String>, body: Vec<u8>) -> Fetched {
        Fetched {
            final_url: target::public(self.hop.url.clone()),
            status: self.hop.status.unwrap_or_default(),
            body,
            content_type,
        }
    }

    /// Whether a body can follow. 204 and 304 end with their head, whatever their `Content-Length`.
    const fn has_body(&self) -> bool {
        !matches!(self.hop.status, Some(204 | 304))
    }
}

const fn is_stale(fault: &Fault) -> bool {
    matches!(fault, Fault::Stale | Fault::Untouched)
}

/// Rejects what neither client can read, and applies the limits of HTTP/1 to HTTP/2 heads.
fn check_framing(head: &Parts) -> Result<(), Fault> {
    let bytes: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if head.headers.len() > HEADERS_MAX || bytes > HEAD_BYTES_MAX {
        return Err(Fault::HeadTooLarge);
    }
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Fault::Unsupported("101 Switching Protocols, which was not requested".to_owned()));
    }
    let codings: Vec<_> = head.headers.get_all(TRANSFER_ENCODING).iter().map(HeaderValue::as_bytes).collect();
    match codings.as_slice() {
        [] => Ok(()),
        [coding] if coding.trim_ascii().eq_ignore_ascii_case(b"chunked") => Ok(()),
        codings => {
            let codings = codings.join(&b", "[..]);
            let codings = String::from_utf8_lossy(&codings);
            Err(Fault::Unsupported(format!("transfer-encoding {codings} is not supported")))
        }
    }
}

#[cfg(test)]
mod tests;
