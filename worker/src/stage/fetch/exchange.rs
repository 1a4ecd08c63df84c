//! One target from its URL to its outcome, redirects included. No socket, no clock.
//!
//! Calling contract, the same for both clients:
//!
//! ```text
//! Exchange::new(rules, url)
//! loop  turn() → Done(outcome): the end.   turn() → Request(r): send it, then
//!         on_fault(f)                       if there is no response head, else
//!         on_head(head), and while it and on_chunk(bytes) return Flow::Read:
//!           on_chunk(bytes) … then on_end() or on_fault(f)
//! ```
//! After [`Flow::Stop`] the rest of the response is not wanted: drop it, take a turn.

use std::mem;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION, TRANSFER_ENCODING};
use http::response::Parts;
use http::{HeaderMap, Request, StatusCode, Version};
use shared::clock;
use shared::record::ErrorKind;
use url::{Origin, Url};

use super::fault::{Fault, human};
use super::retry_after::retry_after;
use super::rules::Rules;
use super::{Failure, Fetched, Outcome, target};
use crate::stage::decode::{DecodeError, Decoder, codings};

/// Bodies nobody reads (of redirects and errors) are still worth reading up to here:
/// it keeps the connection for the next request.
const DRAIN_BYTES_MAX: u64 = 64 * 1024;

/// Headers a response may have; hyper's own limit, held for both clients.
const HEADERS_MAX: usize = 100;

/// Size of a response's head, as both clients are configured.
pub(super) const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Dead pooled connections passed over before the next one counts as an error. A pool
/// can hold several that the server closed at the same moment.
const STALE_MAX: u32 = 8;

/// Room made for a body on the word of its `Content-Length` alone.
const BODY_RESERVE_MAX: u64 = 256 * 1024;

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

struct Body {
    received: u64,
    length: Option<u64>,
    decoder: Option<Decoder>,
    bytes: Vec<u8>,
    content_type: Option<String>,
}

/// One target on its way.
pub(super) struct Exchange<'a> {
    rules: &'a Rules,
    /// The hop we are at, credentials and fragment included.
    url: Url,
    /// The first URL's origin, once a redirect made it matter.
    home: Option<Origin>,
    away: bool,
    redirects: u32,
    stale: u32,
    status: Option<u16>,
    phase: Phase,
}

impl<'a> Exchange<'a> {
    /// For one input.
    pub(super) fn new(rules: &'a Rules, input: &str) -> Result<Self, Box<Failure>> {
        let url = target::parse(input).map_err(|message| {
            Box::new(Failure {
                kind: ErrorKind::InvalidUrl,
                message,
                final_url: None,
                status: None,
                bytes: 0,
                may_pass: false,
                retry_after: None,
            })
        })?;
        Ok(Self {
            rules,
            url,
            home: None,
            away: false,
            redirects: 0,
            stale: 0,
            status: None,
            phase: Phase::Idle(Next::Request),
        })
    }

    /// What to do now.
    pub(super) fn turn(&mut self) -> Turn {
        match mem::replace(&mut self.phase, Phase::Head) {
            Phase::Idle(Next::Done(outcome)) => Turn::Done(outcome),
            Phase::Idle(Next::Request) => match self.request() {
                Ok(request) => Turn::Request(request),
                Err(message) => Turn::Done(Err(self.failure(ErrorKind::InvalidUrl, message, false))),
            },
            // Out of turn: the client stopped without saying why.
            Phase::Head | Phase::Body(_) | Phase::Drain { .. } => {
                Turn::Done(Err(self.explain(&Fault::Closed, None)))
            }
        }
    }

    fn request(&mut self) -> Result<Request<()>, String> {
        let mut request = Request::new(());
        *request.uri_mut() = target::request_uri(&self.url)?;
        let headers = if self.away {
            &self.rules.headers_away
        } else {
            &self.rules.headers_home
        };
        headers.clone_into(request.headers_mut());
        if let Some(value) = target::basic_auth(&self.url) {
            // What the user said in a header counts for more than what the URL says.
            request
                .headers_mut()
                .entry(http::header::AUTHORIZATION)
                .or_insert(value);
        }
        self.status = None;
        Ok(request)
    }

    /// The response's status line and headers have arrived.
    pub(super) fn on_head(&mut self, head: &Parts) -> Flow {
        if let Err(fault) = check_framing(head) {
            return self.stop(Err(self.explain(&fault, None)));
        }
        self.status = Some(head.status.as_u16());
        if let Some(location) = head.headers.get(LOCATION).filter(|_| is_redirect(head.status)) {
            let next = match self.follow(location) {
                Ok(()) => Next::Request,
                Err(failure) => Next::Done(Err(failure)),
            };
            return self.drain(&head.headers, next);
        }
        if head.status.as_u16() >= 400 {
            let failure = self.refused(head);
            return self.drain(&head.headers, Next::Done(Err(failure)));
        }
        match self.begin_body(&head.headers) {
            Ok(body) => {
                self.phase = Phase::Body(Box::new(body));
                Flow::Read
            }
            Err(failure) => self.stop(Err(failure)),
        }
    }

    /// A piece of the body has arrived.
    pub(super) fn on_chunk(&mut self, chunk: &[u8]) -> Flow {
        match &mut self.phase {
            Phase::Body(body) => match body.push(chunk, self.rules) {
                Ok(()) => Flow::Read,
                Err(error) => {
                    let received = body.received;
                    let failure = self.undecodable(&error, received);
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
        let next = match mem::replace(&mut self.phase, Phase::Head) {
            Phase::Head if *fault == Fault::Stale && self.stale < STALE_MAX => {
                self.stale += 1;
                Next::Request
            }
            Phase::Head => Next::Done(Err(self.explain(fault, None))),
            Phase::Body(body) => Next::Done(Err(self.explain(fault, Some(&body)))),
            // Nothing that mattered was lost, except time.
            Phase::Drain {
                next: Next::Request, ..
            }
            | Phase::Idle(Next::Request)
                if *fault == Fault::Timeout =>
            {
                self.status = None;
                Next::Done(Err(self.explain(fault, None)))
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
            Turn::Request(_) => Err(self.explain(&Fault::Timeout, None)),
        }
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
        self.phase = Phase::Drain {
            left: DRAIN_BYTES_MAX,
            next,
        };
        Flow::Read
    }

    fn follow(&mut self, location: &http::HeaderValue) -> Result<(), Box<Failure>> {
        let next = target::redirect(&self.url, location)
            .map_err(|message| self.failure(ErrorKind::InvalidUrl, message, false))?;
        if self.redirects >= self.rules.redirects_max {
            let shown = target::public(&next);
            let message = format!(
                "more than {} redirects, the next to {shown}",
                self.rules.redirects_max
            );
            return Err(self.failure(ErrorKind::TooManyRedirects, message, false));
        }
        self.redirects += 1;
        self.stale = 0;
        let origin = next.origin();
        let home = self.home.get_or_insert_with(|| self.url.origin());
        self.away = *home != origin;
        self.url = next;
        Ok(())
    }

    fn refused(&self, head: &Parts) -> Box<Failure> {
        let code = head.status.as_u16();
        let message = match head.status.canonical_reason() {
            Some(reason) => format!("{code} {reason}"),
            None => code.to_string(),
        };
        let may_pass = matches!(code, 408 | 425 | 429 | 500 | 502 | 503 | 504);
        let mut failure = self.failure(ErrorKind::HttpStatus, message, may_pass);
        failure.retry_after = retry_after(&head.headers, clock::wall);
        failure
    }

    fn begin_body(&self, headers: &HeaderMap) -> Result<Body, Box<Failure>> {
        let codings = codings(headers).map_err(|error| self.undecodable(&error, 0))?;
        let length = content_length(headers);
        let bytes_max = if codings.is_empty() {
            self.rules.body_bytes_max
        } else {
            self.rules.wire_bytes_max()
        };
        if length.is_some_and(|length| length > bytes_max) {
            return Err(self.undecodable(&DecodeError::TooLarge, 0));
        }
        let decoder = match codings.as_slice() {
            [] => None,
            codings => Some(Decoder::new(codings).map_err(|error| self.undecodable(&error, 0))?),
        };
        let reserve = usize::try_from(length.unwrap_or(0).min(BODY_RESERVE_MAX)).unwrap_or(0);
        let content_type = headers.get(CONTENT_TYPE);
        Ok(Body {
            received: 0,
            length,
            decoder,
            bytes: Vec::with_capacity(reserve),
            content_type: content_type.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
        })
    }

    fn conclude(&self, body: Body) -> Outcome {
        if body
            .length
            .is_some_and(|length| body.received < length && self.has_body())
        {
            return Err(self.explain(&Fault::Closed, Some(&body)));
        }
        if let Some(Err(error)) = body.decoder.as_ref().map(Decoder::finish) {
            return Err(self.undecodable(&error, body.received));
        }
        Ok(Fetched {
            final_url: target::public(&self.url),
            status: self.status.unwrap_or_default(),
            body: body.bytes,
            content_type: body.content_type,
        })
    }

    /// 204 and 304 end with their head, whatever `Content-Length` they name.
    const fn has_body(&self) -> bool {
        !matches!(self.status, Some(204 | 304))
    }

    fn undecodable(&self, error: &DecodeError, received: u64) -> Box<Failure> {
        let mut failure = if *error == DecodeError::TooLarge {
            let message = format!("body over the limit of {} bytes", self.rules.body_bytes_max);
            self.failure(ErrorKind::TooLarge, message, false)
        } else {
            self.failure(ErrorKind::Decode, error.to_string(), false)
        };
        failure.bytes = received;
        failure
    }

    fn failure(&self, kind: ErrorKind, message: String, may_pass: bool) -> Box<Failure> {
        Box::new(Failure {
            kind,
            message,
            final_url: Some(target::public(&self.url)),
            status: self.status,
            bytes: 0,
            may_pass,
            retry_after: None,
        })
    }

    fn explain(&self, fault: &Fault, body: Option<&Body>) -> Box<Failure> {
        let received = body.map_or(0, |body| body.received);
        let (kind, message, may_pass) = match fault {
            Fault::Dns { message, may_pass } => (ErrorKind::Dns, message.clone(), *may_pass),
            Fault::Connect(message) => (ErrorKind::Connect, message.clone(), true),
            Fault::ConnectTimeout => (
                ErrorKind::Timeout,
                format!("not connected within {}", human(self.rules.connect_timeout)),
                true,
            ),
            Fault::Tls { message, may_pass } => (ErrorKind::Tls, message.clone(), *may_pass),
            Fault::Timeout => {
                let within = human(self.rules.timeout);
                let message = match body {
                    None => format!("no response head within {within}"),
                    Some(_) => {
                        format!("no complete response within {within}: {received} bytes of the body so far")
                    }
                };
                (ErrorKind::Timeout, message, true)
            }
            Fault::Stale | Fault::Closed => {
                let message = match body.map(|body| body.length) {
                    None => "connection closed before the response".to_owned(),
                    Some(None) => format!("connection closed after {received} body bytes"),
                    Some(Some(length)) => {
                        format!("connection closed after {received} of {length} body bytes")
                    }
                };
                (ErrorKind::Protocol, message, true)
            }
            Fault::Head => (ErrorKind::Protocol, "malformed response head".to_owned(), false),
            Fault::HeadTooLarge => {
                let message = format!("response head over {HEAD_BYTES_MAX} bytes or {HEADERS_MAX} headers");
                (ErrorKind::Protocol, message, false)
            }
            Fault::Chunk => (
                ErrorKind::Protocol,
                "malformed chunk in the body".to_owned(),
                false,
            ),
            Fault::Protocol(message) => (ErrorKind::Protocol, message.clone(), true),
            Fault::Url(message) => (ErrorKind::InvalidUrl, message.clone(), false),
        };
        let mut failure = self.failure(kind, message, may_pass);
        failure.bytes = received;
        failure
    }
}

impl Body {
    fn push(&mut self, chunk: &[u8], rules: &Rules) -> Result<(), DecodeError> {
        self.received = self.received.saturating_add(chunk.len() as u64);
        let bytes_max = rules.body_bytes_max;
        match &mut self.decoder {
            Some(_) if self.received > rules.wire_bytes_max() => Err(DecodeError::TooLarge),
            Some(decoder) => decoder.push(chunk, &mut self.bytes, bytes_max),
            None if self.received > bytes_max => Err(DecodeError::TooLarge),
            None => {
                self.bytes.extend_from_slice(chunk);
                Ok(())
            }
        }
    }
}

const fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The length both clients go by. Repeated or contradicting ones they have judged already.
fn content_length(headers: &HeaderMap) -> Option<u64> {
    if headers.contains_key(TRANSFER_ENCODING) {
        return None;
    }
    let value = headers.get(CONTENT_LENGTH)?.to_str().ok()?;
    value.split(',').next()?.trim().parse().ok()
}

/// Refuses what the two clients would read differently.
fn check_framing(head: &Parts) -> Result<(), Fault> {
    let bytes: usize = head
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    if head.headers.len() > HEADERS_MAX || bytes > HEAD_BYTES_MAX {
        return Err(Fault::HeadTooLarge);
    }
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Fault::Protocol(
            "101 Switching Protocols, which nobody asked for".to_owned(),
        ));
    }
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(_), _) if head.version == Version::HTTP_10 => Err(Fault::Head),
        (Some(coding), None) if coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => Ok(()),
        (Some(coding), _) => {
            let coding = String::from_utf8_lossy(coding.as_bytes());
            Err(Fault::Protocol(format!(
                "transfer-encoding {coding} is not supported"
            )))
        }
    }
}
