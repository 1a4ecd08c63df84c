//! Records requests and responses for a web archive: the heads and bodies of every hop, before decoding. Filled by
//! [`super::exchange`], read by [`crate::stage::warc`]. When it is off, only the last answer's [`Reply`] is kept.
//!
//! It holds no more than the exchange reads: a body up to its limit, and up to 64 KiB of the body of a redirect or
//! an error.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, HOST, SET_COOKIE, TRANSFER_ENCODING};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version};
use shared::clock;
use shared::protocol::{ExitFault, ExitUse, PageMark, Reply, SessionMark};
use shared::record::FieldValue;
use shared::request_headers;
use url::Url;

use super::body::announced;
use super::is_refusal;
use super::login::LoginSeen;
use super::request::is_about_body;
use super::since::{Condition, Unchanged};
use crate::stage::save::{FileSlot, Saved};

/// Archived name of `Transfer-Encoding`, which no longer describes the body as archived.
const TRANSFER_ENCODING_RENAMED: &str = "x-archive-orig-transfer-encoding";

/// What a page says to robots, in its head.
const X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");

/// Most lines of it that are kept.
const ROBOTS_TAGS_MAX: usize = 16;

/// The address that a response came from. A client puts it into the extensions of the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Why an archived body ends early: the values of `WARC-Truncated`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Truncated {
    /// A size limit.
    Length,
    /// A time limit.
    Time,
    /// The connection ended.
    Disconnect,
    /// Any other reason.
    Unspecified,
}

impl Truncated {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Time => "time",
            Self::Disconnect => "disconnect",
            Self::Unspecified => "unspecified",
        }
    }
}

/// One request, and its response once it arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hop {
    /// Without credentials and fragment.
    pub(crate) url: Url,
    pub(crate) sent: SystemTime,
    /// The request head, and the body after it.
    pub(crate) request: Vec<u8>,
    pub(crate) response: Option<Response>,
}

/// One response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) head: Vec<u8>,
    /// The body as received, without the transfer framing.
    pub(crate) body: Vec<u8>,
    pub(crate) truncated: Option<Truncated>,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) is_http2: bool,
    /// Headers of the response. They say whether the content is compressed.
    pub(crate) headers: HeaderMap,
}

/// The recorded hops of one target.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    hops: Option<Vec<Hop>>,
    /// What the answer to the last request says about the load of its server.
    reply: Option<Reply>,
    /// Requests so far.
    requests: u16,
    /// Why the target must not be tried again: the server may have acted on a request.
    spent: Option<Method>,
    /// The headers of the last response that go into the record: one object, if any are wanted.
    headers: Option<Box<FieldValue>>,
    /// What the last response says to robots, a line each.
    robots_tags: Vec<String>,
    /// What the last request says about its proxy.
    exit_use: Option<ExitUse>,
    /// The file that the body is saved as, if bodies are saved.
    pub(in crate::stage) file: Option<Box<FileSlot>>,
    /// The session that the target is asked in.
    pub(in crate::stage) session: u32,
    /// Whether its answer says something about the session.
    is_judged: bool,
    /// What the heads of a login's answers show: the rule of each kind that matched.
    pub(in crate::stage) login: LoginSeen,
    /// What is asked and noted of the page, if the job compares pages with those of an earlier run.
    pub(in crate::stage) condition: Option<Box<Condition>>,
}

impl Recording {
    /// Creates a recorder, which keeps no hops unless it is on.
    pub(crate) fn new(on: bool) -> Self {
        Self {
            hops: on.then(Vec::new),
            reply: None,
            requests: 0,
            spent: None,
            headers: None,
            robots_tags: Vec::new(),
            exit_use: None,
            file: None,
            condition: None,
            session: 0,
            is_judged: false,
            login: LoginSeen::default(),
        }
    }

    /// Begins a target of a job that logs in, whose worker is in this session. Returns whether that of the target is over.
    pub(super) const fn enter(&mut self, session: u32, needs_login: bool) -> bool {
        let is_over = self.session != session;
        self.is_judged = is_over || needs_login;
        is_over
    }

    /// A redirect has led to a page that needs the login.
    pub(super) const fn needs_login_now(&mut self) {
        self.is_judged = true;
    }

    /// Whether the page is one that needs the login.
    pub(in crate::stage) const fn needs_login(&self) -> bool {
        self.is_judged
    }

    /// What the answer says about the session, if it is the one to somebody who is not logged in, or is not.
    pub(in crate::stage) fn session_mark(&self, is_out: bool) -> Option<SessionMark> {
        let is_known = self.is_judged && (is_out || self.reply.is_some());
        is_known.then_some(SessionMark { number: self.session, is_out })
    }

    /// Returns the recorded hops.
    pub(crate) fn hops(&self) -> &[Hop] {
        self.hops.as_deref().unwrap_or_default()
    }

    /// The file that the body was saved as.
    pub(in crate::stage) fn saved(&self) -> Option<&Saved> {
        self.file.as_ref()?.saved()
    }

    /// Whether the page is in memory, and not only in its file.
    pub(in crate::stage) fn holds_page(&self) -> bool {
        self.file.as_ref().is_none_or(|file| file.is_held())
    }

    /// How the server answered the last request; `None` if there was no answer.
    pub(crate) const fn reply(&self) -> Option<Reply> {
        self.reply
    }

    /// Records when the answer to the last request began: `first_byte` after it was sent over an open connection.
    pub(in crate::stage) fn answered(&mut self, status: u16, first_byte: Duration) {
        let first_byte_us = u32::try_from(first_byte.as_micros()).unwrap_or(u32::MAX);
        let refused = is_refusal(status);
        self.exit_worked();
        self.reply = Some(Reply { first_byte_us, status, refused, requests: self.requests, page: None });
    }

    /// Records that the answer counts as blocked.
    pub(crate) fn refused(&mut self) {
        if let Some(reply) = &mut self.reply {
            reply.refused = true;
        }
    }

    /// Records the proxy that the request goes through, if it does.
    pub(super) fn goes_through(&mut self, proxy: Option<u16>) {
        self.exit_use = proxy.map(|proxy| ExitUse { proxy, fault: None, worked: false });
    }

    /// Records what went wrong at the proxy, or beyond it.
    pub(super) const fn exit_failed(&mut self, fault: ExitFault) {
        if let Some(used) = &mut self.exit_use {
            used.fault = Some(fault);
        }
    }

    /// Records that the proxy did its part.
    pub(super) const fn exit_worked(&mut self) {
        if let Some(used) = &mut self.exit_use {
            used.worked = true;
        }
    }

    /// What the last request says about its proxy; `None` if it went directly.
    pub(crate) const fn exit_use(&self) -> Option<ExitUse> {
        self.exit_use
    }

    /// Records which page the answer was.
    pub(crate) fn page(&mut self, mark: PageMark) {
        if let Some(reply) = &mut self.reply {
            reply.page = Some(mark);
        }
    }

    /// Records that the server may have acted on a request of this method, which must not be sent twice.
    pub(super) fn spend(&mut self, method: &Method) {
        self.spent.get_or_insert_with(|| method.clone());
    }

    /// The method of a request that the server may have acted on, and that must not be sent twice.
    pub(in crate::stage) const fn spent(&self) -> Option<&Method> {
        self.spent.as_ref()
    }

    /// Records the wanted headers of a response. Several lines of one name are a list, because some headers, such as
    /// `Set-Cookie`, cannot be joined. Those of the rest of a file are made those of the whole.
    pub(super) fn keep_headers(&mut self, wanted: &[HeaderName], head: &Parts) {
        if wanted.is_empty() {
            return;
        }
        let rest = self.file.as_ref().and_then(|file| file.rest(head));
        let text =
            |value: &HeaderValue| FieldValue::Text(String::from_utf8_lossy(value.as_bytes()).into_owned());
        let found = wanted.iter().filter_map(|name| {
            match rest {
                Some(_) if name == CONTENT_RANGE => return None,
                Some(rest) if name == CONTENT_LENGTH => {
                    let whole = (rest.offset + rest.bytes).to_string();
                    return Some((name.as_str().to_owned(), FieldValue::Text(whole)));
                }
                Some(_) | None => {}
            }
            let mut values: Vec<_> = head.headers.get_all(name).iter().map(text).collect();
            let last = values.pop()?;
            if values.is_empty() {
                return Some((name.as_str().to_owned(), last));
            }
            values.push(last);
            Some((name.as_str().to_owned(), FieldValue::List(values)))
        });
        self.headers = Some(Box::new(FieldValue::Object(found.collect())));
    }

    /// Whether the server says that the page is as an earlier run has found it.
    pub(in crate::stage) fn is_unchanged(&self) -> bool {
        self.condition.as_ref().is_some_and(|condition| condition.is_unchanged())
    }

    /// The page as an earlier run has found it, if the server says that it is still so. Headers that this answer lacks
    /// are those of then (RFC 9111, 4.3.4).
    pub(in crate::stage) fn unchanged(&mut self) -> Option<Unchanged> {
        let mut unchanged = self.condition.as_ref()?.unchanged()?;
        if let (Some(FieldValue::Object(mut then)), Some(FieldValue::Object(now))) =
            (unchanged.headers.take(), self.headers.as_deref_mut())
        {
            for (name, value) in now.drain(..) {
                match then.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, place)) => *place = value,
                    None => then.push((name, value)),
                }
            }
            *now = then;
        }
        Some(unchanged)
    }

    /// Keeps what a response says to robots.
    pub(super) fn keep_robots_tags(&mut self, headers: &HeaderMap) {
        let lines = headers.get_all(X_ROBOTS_TAG).iter().take(ROBOTS_TAGS_MAX);
        self.robots_tags.extend(lines.filter_map(|line| line.to_str().ok().map(str::to_owned)));
    }

    /// What the last response says to robots, a line each.
    pub(in crate::stage) fn take_robots_tags(&mut self) -> Vec<String> {
        std::mem::take(&mut self.robots_tags)
    }

    /// The headers of the last response that go into the record.
    pub(in crate::stage) fn headers(&self) -> Option<&FieldValue> {
        self.headers.as_deref()
    }

    /// Records a request to `url`.
    pub(super) fn request(&mut self, url: &Url, request: &Request<Bytes>) {
        (self.reply, self.headers, self.exit_use) = (None, None, None);
        self.robots_tags.clear();
        self.requests = self.requests.saturating_add(1);
        let Some(hops) = &mut self.hops else { return };
        // The earlier attempt went to a dead connection, so this one replaces it.
        hops.pop_if(|hop| hop.response.is_none());
        let mut url = super::target::public(url.clone());
        url.set_fragment(None);
        hops.push(Hop { url, sent: clock::wall(), request: request_bytes(request), response: None });
    }

    /// Records a response head. Cookies that the job sends back are secrets, and are left out.
    pub(super) fn head(&mut self, head: &Parts, hides_cookies: bool) {
        let Some(hop) = self.hops.as_mut().and_then(|hops| hops.last_mut()) else { return };
        hop.response = Some(Response {
            head: response_head(head, hides_cookies),
            body: Vec::with_capacity(announced(&head.headers)),
            truncated: None,
            peer: head.extensions.get::<Peer>().map(|peer| peer.0),
            is_http2: head.version == Version::HTTP_2,
            headers: head.headers.clone(),
        });
    }

    /// Records a piece of the response body.
    pub(super) fn chunk(&mut self, chunk: &[u8]) {
        if let Some(response) = self.response() {
            response.body.extend_from_slice(chunk);
        }
    }

    /// Notes that the rest of the body will not be recorded.
    pub(super) fn cut(&mut self, why: Truncated) {
        if let Some(response) = self.response() {
            response.truncated.get_or_insert(why);
        }
    }

    fn response(&mut self) -> Option<&mut Response> {
        self.hops.as_mut()?.last_mut()?.response.as_mut()
    }
}

fn request_bytes(request: &Request<Bytes>) -> Vec<u8> {
    let uri = request.uri();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut head = format!("{} {path} HTTP/1.1\r\n", request.method()).into_bytes();
    if !request.headers().contains_key(HOST)
        && let Some(authority) = uri.authority()
    {
        push(&mut head, HOST.as_str(), authority.as_str().as_bytes());
    }
    for (name, value) in request.headers() {
        // Archives are passed on to others, so no header is in one that may be a secret of the user's.
        if request_headers::is_harmless(name) || name == HOST || is_about_body(name) {
            push(&mut head, name.as_str(), value.as_bytes());
        }
    }
    head.extend_from_slice(b"\r\n");
    head.extend_from_slice(request.body());
    head
}

fn response_head(parts: &Parts, hides_cookies: bool) -> Vec<u8> {
    let version = if parts.version == Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" };
    let mut head = format!("{version} {} ", parts.status.as_str()).into_bytes();
    // Use the standard reason phrase, because only one of the two clients passes on the server's.
    head.extend_from_slice(parts.status.canonical_reason().unwrap_or_default().as_bytes());
    head.extend_from_slice(b"\r\n");
    for (name, value) in &parts.headers {
        if hides_cookies && *name == SET_COOKIE {
            continue;
        }
        // The chunks are joined, and a reader that saw the original header would look for them.
        let renamed = *name == TRANSFER_ENCODING;
        push(&mut head, if renamed { TRANSFER_ENCODING_RENAMED } else { name.as_str() }, value.as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    head
}

fn push(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}
