//! What is sent for a target besides its URL: the method, a body, and headers made from its row.
//!
//! Follows what browsers do with a redirect (the Fetch standard, "HTTP-redirect fetch"): after 303, and after 301 or 302
//! to a POST, a GET without the body follows; after 307 and 308, the same request, also to another origin. The headers
//! that describe a body go where it goes, and nowhere else.

use std::collections::HashSet;

use bytes::Bytes;
use http::header::{
    ACCEPT, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, LOCATION,
};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use shared::kept::Kept;
use shared::login::LoginRequest;
use shared::request::{self, BODY_BYTES_MAX, BodySpec, LINE_BYTES_MAX, RequestSpec, is_idempotent};
use shared::request_headers::{self, is_harmless};
use shared::template::Template;

use super::scope::Distance;

/// The headers that describe a body (the Fetch standard, "request-body-header name").
const ABOUT_BODY: [HeaderName; 4] = [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION];

/// The header by which a server recognizes a request that it gets twice.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What the requests of a job send, prepared once per worker.
#[derive(Debug)]
pub(super) struct Sending {
    method: Option<Template>,
    body: Option<BodySpec>,
    /// The body, if it is the same for all rows: each request shares it.
    constant: Option<Bytes>,
    /// The headers that describe the body.
    about_body: HeaderMap,
    headers: Vec<(String, Template)>,
    /// Whether a request may be sent twice although the server may act on both.
    retries_unsafe: bool,
    /// Whether each request has a key by which the server recognizes it.
    has_key: bool,
}

/// What one request sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) method: Method,
    body: Option<Bytes>,
    /// The headers that describe the body, and its length.
    about_body: HeaderMap,
    /// Headers made from the row.
    headers: HeaderMap,
    retries_unsafe: bool,
    /// Whether it has a key by which servers recognize it, if they get that.
    has_key: bool,
}

/// Whether a server says that it has not acted on the request: it refuses for now, because of too many requests, or the
/// same request is to be sent elsewhere.
pub(super) fn leaves_undone(head: &Parts) -> bool {
    match head.status {
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => {
            head.headers.contains_key(LOCATION)
        }
        _ => false,
    }
}

/// Whether a header describes the body of a request.
pub(super) fn is_about_body(name: &HeaderName) -> bool {
    *name == CONTENT_LENGTH || ABOUT_BODY.contains(name)
}

/// Whether a header names the request. An empty one is that of other rows too.
fn names_request(headers: &HeaderMap) -> bool {
    headers.get(IDEMPOTENCY_KEY).is_some_and(|key| !key.is_empty())
}

impl Sending {
    /// Takes the headers that describe the body out of `headers`, which go with each request.
    pub(super) fn new(spec: &RequestSpec, headers: &mut HeaderMap) -> Self {
        let mut about_body = HeaderMap::new();
        for name in ABOUT_BODY {
            for value in headers.get_all(&name) {
                about_body.append(&name, value.clone());
            }
            headers.remove(&name);
        }
        Self {
            method: spec.method.clone(),
            body: spec.body.clone(),
            constant: spec.body.as_ref().and_then(|body| body.text.constant()).map(Bytes::copy_from_slice),
            about_body,
            headers: spec.headers.clone(),
            retries_unsafe: spec.retries_unsafe,
            has_key: names_request(headers),
        }
    }

    /// Replaces those headers that are not `given` by the user.
    pub(super) fn replace_defaults(&self, given: &HashSet<HeaderName>, headers: &mut HeaderMap) {
        if self.body.as_ref().is_some_and(|body| body.is_json) && !given.contains(&ACCEPT) {
            headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        }
        for (name, _) in &self.headers {
            if !given.iter().any(|given| *given == name.as_str()) {
                headers.remove(name.as_str());
            }
        }
    }

    /// Makes what is sent for a row.
    ///
    /// # Errors
    /// Why nothing can be made from this row.
    pub(super) fn fill(&self, kept: Kept<'_>) -> Result<Sent, String> {
        let fill = |flag: &str, template: &Template, bytes_max| {
            template.fill(bytes_max, |name| kept.find(name)).map_err(|why| format!("{flag}: {why}"))
        };
        let body = match (&self.constant, &self.body) {
            (Some(constant), _) => Some(constant.clone()),
            (None, Some(body)) => Some(fill("the request's body", &body.text, BODY_BYTES_MAX)?.into()),
            (None, None) => None,
        };
        let method = match &self.method {
            Some(method) => request::method(&fill("--method", method, LINE_BYTES_MAX)?)
                .map_err(|why| format!("--method: {why}"))?,
            None if body.is_some() => Method::POST,
            None => Method::GET,
        };
        if body.is_some() {
            request::check_body(&method)?;
        }
        let (mut headers, mut about_body) = (HeaderMap::new(), self.about_body.clone());
        for (name, template) in &self.headers {
            let value = fill("--header", template, LINE_BYTES_MAX)?;
            let (name, value) = request_headers::check(name, &String::from_utf8_lossy(&value))
                .map_err(|why| format!("--header {name}: {why}"))?;
            let to = if is_about_body(&name) { &mut about_body } else { &mut headers };
            to.append(name, value);
        }
        if let Some(body) = &self.body
            && !about_body.contains_key(CONTENT_TYPE)
        {
            about_body.insert(CONTENT_TYPE, HeaderValue::from_static(body.content_type()));
        }
        let expects_body = [Method::POST, Method::PUT, Method::PATCH].contains(&method);
        if body.is_some() || expects_body {
            let bytes = body.as_ref().map_or(0, Bytes::len);
            about_body.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
        }
        let has_key = self.has_key || names_request(&headers);
        Ok(Sent { method, body, about_body, headers, retries_unsafe: self.retries_unsafe, has_key })
    }
}

impl Sent {
    /// What the request of a login sends. It may be sent twice: that only begins another session.
    ///
    /// # Errors
    /// Why it cannot be sent.
    pub(super) fn of_login(login: &LoginRequest) -> Result<Self, String> {
        let method = request::method(login.method.as_bytes())?;
        let (mut headers, mut about_body) = (HeaderMap::new(), HeaderMap::new());
        for (name, value) in &login.headers {
            let (name, value) = request_headers::check(name, value).map_err(|why| why.to_string())?;
            headers.append(name, value);
        }
        let body = login.body.as_ref().map(|(text, _)| Bytes::from(text.clone()));
        if let Some((text, content_type)) = &login.body {
            request::check_body(&method)?;
            about_body.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
            let content_type = HeaderValue::try_from(content_type).map_err(|why| why.to_string())?;
            about_body.insert(CONTENT_TYPE, content_type);
        }
        Ok(Self { method, body, about_body, headers, retries_unsafe: true, has_key: false })
    }

    /// Adds it to a request to a server this far from home.
    pub(super) fn apply(&self, distance: Distance, request: &mut Request<Bytes>) {
        request.method_mut().clone_from(&self.method);
        let headers = request.headers_mut();
        for (name, value) in &self.headers {
            if distance != Distance::Away || is_harmless(name) {
                headers.append(name, value.clone());
            }
        }
        headers.extend(self.about_body.clone());
        if let Some(body) = &self.body {
            *request.body_mut() = body.clone();
        }
    }

    /// Handles a redirect with this status: what follows may be another request.
    pub(super) fn redirect(&mut self, status: StatusCode) {
        let is_get = match status {
            StatusCode::SEE_OTHER => self.method != Method::HEAD,
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => self.method == Method::POST,
            _ => false,
        };
        if is_get {
            self.method = Method::GET;
            self.body = None;
            self.about_body.clear();
        }
    }

    /// Returns the method, if a request to a server this far from home must not be sent twice.
    pub(super) fn only_once(&self, distance: Distance) -> Option<&Method> {
        let shows_key = self.has_key && distance != Distance::Away;
        let may_repeat = self.retries_unsafe || shows_key || is_idempotent(&self.method);
        Some(&self.method).filter(|_| !may_repeat)
    }
}
