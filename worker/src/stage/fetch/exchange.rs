//! One target from its URL to its outcome, redirects included. No socket, no clock.
//!
//! Calling contract, the same for both clients:
//!
//! ```text
//! Exchange::new(rules, url, tape)
//! loop  turn() → Done(outcome): the end.   turn() → Request(r): send it, then
//!         on_fault(f)                       if there is no response head, else
//!         on_head(head), and while it and on_chunk(bytes) return Flow::Read:
//!           on_chunk(bytes) … then on_end() or on_fault(f)
//! ```
//! After [`Flow::Stop`] the rest of the response is not wanted: drop it, take a turn.

use std::mem;

use http::header::{AUTHORIZATION, LOCATION, TRANSFER_ENCODING};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use shared::record::ErrorKind;
use url::Url;

use super::body::{Body, content_length};
use super::fault::Fault;
use super::place::Place;
use super::rules::Rules;
use super::tape::{Tape, Truncated};
use super::wire::{HEAD_BYTES_MAX, HEADERS_MAX};
use super::{Failure, Fetched, Outcome, target};
use crate::stage::decode::DecodeError;

/// Bodies nobody reads (of redirects and errors) are still worth reading up to here:
/// it keeps the connection for the next request.
const DRAIN_BYTES_MAX: u64 = 64 * 1024;

/// Dead pooled connections passed over before the next one counts as an error. A pool
/// can hold several that the server closed at the same moment.
const STALE_MAX: u32 = 8;

/// What [`Exchange::turn`] wants next.
pub(super) enum Turn {
    /// Send this.
    Request(Request<()>),
    /// It is over.
    Done(Outcome),
}

/// Whether more of the response is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Flow {
    Read,
    Stop,
}

enum Phase {
    /// No request is out.
    Idle(Next),
    /// A request is out, no head is in.
    Head,
    Body(Box<Body>),
    /// The body does not matter, only the connection does.
    Drain {
        left: u64,
        next: Next,
    },
}

enum Next {
    Request,
    Done(Outcome),
}

/// One target on its way.
pub(super) struct Exchange<'a> {
    place: Place<'a>,
    /// The first URL, once a redirect made it matter, with the credentials for its origin.
    home: Option<Url>,
    away: bool,
    redirects: u32,
    stale: u32,
    /// This hop has been asked for again, over HTTP/1.1.
    downgraded: bool,
    phase: Phase,
    /// Keeps what passes, if it is to be kept.
    tape: &'a mut Tape,
}

impl<'a> Exchange<'a> {
    /// For one input.
    pub(super) fn new(rules: &'a Rules, input: &str, tape: &'a mut Tape) -> Result<Self, Box<Failure>> {
        let url = target::parse(input).map_err(Place::nowhere)?;
        Ok(Self {
            place: Place { rules, url, status: None },
            home: None,
            away: false,
            redirects: 0,
            stale: 0,
            downgraded: false,
            phase: Phase::Idle(Next::Request),
            tape,
        })
    }

    /// What to do now.
    pub(super) fn turn(&mut self) -> Turn {
        match mem::replace(&mut self.phase, Phase::Head) {
            Phase::Idle(Next::Done(outcome)) => Turn::Done(outcome),
            Phase::Idle(Next::Request) => match self.request() {
                Ok(request) => Turn::Request(request),
                Err(message) => Turn::Done(Err(self.place.failure(ErrorKind::InvalidUrl, message, false))),
            },
            // Out of turn: the client stopped without saying why.
            Phase::Head | Phase::Body(_) | Phase::Drain { .. } => {
                Turn::Done(Err(self.place.explain(&Fault::Closed, None)))
            }
        }
    }

    fn request(&mut self) -> Result<Request<()>, String> {
        let mut request = Request::new(());
        *request.uri_mut() = target::request_uri(&self.place.url)?;
        let headers = if self.away { &self.place.rules.headers_away } else { &self.place.rules.headers_home };
        headers.clone_into(request.headers_mut());
        if let Some(value) = target::basic_auth(&self.place.url) {
            // What the user said in a header counts for more than what the URL says.
            request.headers_mut().entry(AUTHORIZATION).or_insert(value);
        }
        self.place.status = None;
        self.tape.request(&self.place.url, &request);
        Ok(request)
    }

    /// The response's status line and headers have arrived.
    pub(super) fn on_head(&mut self, head: &Parts) -> Flow {
        if let Err(fault) = check_framing(head) {
            return self.stop(Err(self.place.explain(&fault, None)));
        }
        self.tape.head(head);
        let flow = self.judge(head);
        if flow == Flow::Stop {
            self.tape.cut(Truncated::Length);
        }
        flow
    }

    fn judge(&mut self, head: &Parts) -> Flow {
        self.place.status = Some(head.status.as_u16());
        if let Some(location) = head.headers.get(LOCATION).filter(|_| is_redirect(head.status)) {
            let next = match self.follow(location) {
                Ok(()) => Next::Request,
                Err(failure) => Next::Done(Err(failure)),
            };
            return self.drain(&head.headers, next);
        }
        if head.status.as_u16() >= 400 {
            let failure = self.place.refused(head.status, &head.headers);
            return self.drain(&head.headers, Next::Done(Err(failure)));
        }
        match Body::begin(&head.headers, self.place.rules) {
            Ok(body) => {
                self.phase = Phase::Body(Box::new(body));
                Flow::Read
            }
            Err(error) => self.stop(Err(self.place.undecodable(&error, 0))),
        }
    }

    /// A piece of the body has arrived.
    pub(super) fn on_chunk(&mut self, chunk: &[u8]) -> Flow {
        self.tape.chunk(chunk);
        match &mut self.phase {
            Phase::Body(body) => match body.push(chunk, self.place.rules) {
                Ok(()) => Flow::Read,
                Err(error) => {
                    let too_large = error == DecodeError::TooLarge;
                    self.tape.cut(if too_large { Truncated::Length } else { Truncated::Unspecified });
                    let received = body.received;
                    let failure = self.place.undecodable(&error, received);
                    self.stop(Err(failure))
                }
            },
            Phase::Drain { left, next } => {
                *left = left.saturating_sub(chunk.len() as u64);
                if *left > 0 {
                    return Flow::Read;
                }
                let next = mem::replace(next, Next::Request);
                self.phase = Phase::Idle(next);
                self.tape.cut(Truncated::Length);
                Flow::Stop
            }
            Phase::Idle(_) | Phase::Head => Flow::Stop,
        }
    }

    /// The body is complete, as far as HTTP's framing can tell.
    pub(super) fn on_end(&mut self) {
        match mem::replace(&mut self.phase, Phase::Head) {
            Phase::Body(body) => {
                let outcome = self.conclude(*body);
                self.phase = Phase::Idle(Next::Done(outcome));
            }
            Phase::Drain { next, .. } | Phase::Idle(next) => self.phase = Phase::Idle(next),
            Phase::Head => {}
        }
    }

    /// Something went wrong; the connection is gone.
    pub(super) fn on_fault(&mut self, fault: &Fault) {
        // A body that nobody waits for is given up when it takes long; who ended it is not told apart.
        let why = if self.draining() { Truncated::Unspecified } else { Truncated::Disconnect };
        self.tape.cut(if *fault == Fault::Timeout { Truncated::Time } else { why });
        let next = match mem::replace(&mut self.phase, Phase::Head) {
            Phase::Head if *fault == Fault::Stale && self.stale < STALE_MAX => {
                self.stale += 1;
                Next::Request
            }
            // Nothing was sent, and the client has waited.
            Phase::Head if matches!(fault, Fault::Shortage(_)) => Next::Request,
            Phase::Head | Phase::Body(_) if *fault == Fault::Http1Required && !self.downgraded => {
                self.downgraded = true;
                Next::Request
            }
            Phase::Head => Next::Done(Err(self.place.explain(fault, None))),
            Phase::Body(body) => Next::Done(Err(self.place.explain(fault, Some(&body)))),
            // Nothing that mattered was lost, except time.
            Phase::Drain { next: Next::Request, .. } | Phase::Idle(Next::Request)
                if *fault == Fault::Timeout =>
            {
                self.place.status = None;
                Next::Done(Err(self.place.explain(fault, None)))
            }
            Phase::Drain { next, .. } | Phase::Idle(next) => next,
        };
        self.phase = Phase::Idle(next);
    }

    /// The whole target's time is over: how it ended, or how far it got.
    pub(super) fn time_out(mut self) -> Outcome {
        self.on_fault(&Fault::Timeout);
        match self.turn() {
            Turn::Done(outcome) => outcome,
            Turn::Request(_) => Err(self.place.explain(&Fault::Timeout, None)),
        }
    }

    /// It cannot be gone on with on this machine.
    pub(super) fn give_up(&self, fault: &Fault) -> Outcome {
        Err(self.place.explain(fault, None))
    }

    /// Whether what is being read only serves to keep the connection. Not worth waiting for.
    pub(super) const fn draining(&self) -> bool {
        matches!(self.phase, Phase::Drain { .. })
    }

    fn stop(&mut self, outcome: Outcome) -> Flow {
        self.phase = Phase::Idle(Next::Done(outcome));
        Flow::Stop
    }

    fn drain(&mut self, headers: &HeaderMap, next: Next) -> Flow {
        if content_length(headers).is_some_and(|length| length > DRAIN_BYTES_MAX) {
            self.phase = Phase::Idle(next);
            return Flow::Stop;
        }
        self.phase = Phase::Drain { left: DRAIN_BYTES_MAX, next };
        Flow::Read
    }

    fn follow(&mut self, location: &HeaderValue) -> Result<(), Box<Failure>> {
        let mut next = target::redirect(&self.place.url, location)
            .map_err(|message| self.place.failure(ErrorKind::InvalidUrl, message, false))?;
        if self.redirects >= self.place.rules.redirects_max {
            let shown = target::public(next.clone());
            let message =
                format!("more than {} redirects, the next to {shown}", self.place.rules.redirects_max);
            return Err(self.place.failure(ErrorKind::TooManyRedirects, message, false));
        }
        self.redirects += 1;
        self.stale = 0;
        self.downgraded = false;
        let home = self.home.get_or_insert_with(|| self.place.url.clone());
        self.away = home.origin() != next.origin();
        if self.away {
            // What a server names for another origin is its own affair; curl does not send it either.
            next = target::public(next);
        } else if target::has_credentials(&next) {
            home.clone_from(&next);
        } else {
            target::copy_credentials(home, &mut next);
        }
        self.place.url = next;
        Ok(())
    }

    fn conclude(&mut self, body: Body) -> Outcome {
        if body.is_short() && self.has_body() {
            self.tape.cut(Truncated::Disconnect);
            return Err(self.place.explain(&Fault::Closed, Some(&body)));
        }
        let (received, content_type) = (body.received, body.content_type.clone());
        let body = body.finish().map_err(|error| self.place.undecodable(&error, received))?;
        Ok(Fetched {
            final_url: target::public(self.place.url.clone()),
            status: self.place.status.unwrap_or_default(),
            body,
            content_type,
        })
    }

    /// 204 and 304 end with their head, whatever `Content-Length` they name.
    const fn has_body(&self) -> bool {
        !matches!(self.place.status, Some(204 | 304))
    }
}

const fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Refuses what neither client can read, and holds HTTP/2 to the limits of HTTP/1.
fn check_framing(head: &Parts) -> Result<(), Fault> {
    let bytes: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if head.headers.len() > HEADERS_MAX || bytes > HEAD_BYTES_MAX {
        return Err(Fault::HeadTooLarge);
    }
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Fault::Unsupported("101 Switching Protocols, which nobody asked for".to_owned()));
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
