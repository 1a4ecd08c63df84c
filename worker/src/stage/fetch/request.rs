//! What is sent for a target besides its URL: the method, a body, and headers made from its row.
//!
//! Follows what browsers do with a redirect (the Fetch standard, "HTTP-redirect fetch"): after 303, and after 301 or 302
//! to a POST, a GET without the body follows; after 307 and 308, the same request, also to another origin. The headers
//! that describe a body go where it goes, and nowhere else.

use bytes::Bytes;
use http::header::{
    CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, HOST,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use shared::job::FetchSpec;
use shared::kept::Kept;
use shared::request::{self, RequestSpec, is_idempotent};
use shared::request_headers::{self, is_harmless};
use shared::template::Template;

use super::rules::SpecError;
use super::scope::Distance;

/// The headers that describe a body (the Fetch standard, "request-body-header name").
const ABOUT_BODY: [HeaderName; 4] = [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION];

/// The header by which a server recognizes a request that it gets twice.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What the requests of a job send, prepared once per worker.
#[derive(Debug)]
pub(super) struct Sending {
    method: Option<Template>,
    body: Option<Template>,
    /// The headers that describe the body.
    about_body: HeaderMap,
    headers: Vec<(HeaderName, Template)>,
    /// Whether any request may be sent twice.
    may_repeat: bool,
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
    may_repeat: bool,
}

/// Whether a header describes the body of a request.
pub(super) fn is_about_body(name: &HeaderName) -> bool {
    *name == CONTENT_LENGTH || ABOUT_BODY.contains(name)
}

/// Returns the `Accept` header of a job, if the user gives none.
pub(super) fn accept(spec: &FetchSpec) -> &'static str {
    let body = spec.request.as_ref().and_then(|request| request.body.as_ref());
    if body.is_some_and(|body| body.is_json) { "application/json" } else { "*/*" }
}

impl Sending {
    /// Takes the headers that describe the body out of `headers`, which go with each request.
    pub(super) fn new(spec: &RequestSpec, headers: &mut HeaderMap) -> Result<Self, SpecError> {
        let mut about_body = HeaderMap::new();
        if let Some(body) = &spec.body {
            about_body.insert(CONTENT_TYPE, HeaderValue::from_static(body.content_type()));
            for name in ABOUT_BODY {
                let given: Vec<HeaderValue> = headers.get_all(&name).iter().cloned().collect();
                for (number, value) in given.into_iter().enumerate() {
                    if number == 0 {
                        about_body.insert(&name, value);
                    } else {
                        about_body.append(&name, value);
                    }
                }
                headers.remove(&name);
            }
        }
        let mut filled = Vec::new();
        for (name, template) in &spec.headers {
            let (name, _) = request_headers::check(name, "")?;
            headers.remove(&name);
            filled.push((name, template.clone()));
        }
        let has_key =
            headers.contains_key(IDEMPOTENCY_KEY) || filled.iter().any(|(name, _)| *name == IDEMPOTENCY_KEY);
        if let Some(name) = spec.method.as_ref().and_then(Template::constant) {
            request::method(name).map_err(SpecError::Method)?;
        }
        Ok(Self {
            method: spec.method.clone(),
            body: spec.body.as_ref().map(|body| body.text.clone()),
            about_body,
            headers: filled,
            may_repeat: spec.retries_unsafe || has_key,
        })
    }

    /// Makes what is sent for a row.
    ///
    /// # Errors
    /// Why nothing can be made from this row.
    pub(super) fn fill(&self, kept: Kept<'_>) -> Result<Sent, String> {
        let fill = |flag: &str, template: &Template| {
            template.fill(|name| kept.find(name)).map_err(|why| format!("{flag}: {why}"))
        };
        let body = self.body.as_ref().map(|body| fill("the request's body", body)).transpose()?;
        let method = match &self.method {
            Some(method) => {
                request::method(&fill("--method", method)?).map_err(|why| format!("--method: {why}"))?
            }
            None if body.is_some() => Method::POST,
            None => Method::GET,
        };
        if method == Method::HEAD && body.is_some() {
            return Err("a HEAD request has no body; leave out --data and --json".to_owned());
        }
        let mut headers = HeaderMap::new();
        for (name, template) in &self.headers {
            let value = String::from_utf8(fill("--header", template)?);
            let (name, value) = value
                .map_err(|error| error.to_string())
                .and_then(|value| {
                    request_headers::check(name.as_str(), &value).map_err(|error| error.to_string())
                })
                .map_err(|why| format!("--header {name}: {why}"))?;
            headers.append(name, value);
        }
        let mut about_body = self.about_body.clone();
        let expects_body = [Method::POST, Method::PUT, Method::PATCH].contains(&method);
        if body.is_some() || expects_body {
            let bytes = body.as_ref().map_or(0, Vec::len);
            about_body.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
        }
        Ok(Sent { method, body: body.map(Bytes::from), about_body, headers, may_repeat: self.may_repeat })
    }
}

impl Sent {
    /// Adds it to a request to a server this far from home.
    pub(super) fn apply(&self, distance: Distance, request: &mut Request<Bytes>) {
        request.method_mut().clone_from(&self.method);
        let headers = request.headers_mut();
        for (name, value) in &self.headers {
            let is_sent = match distance {
                Distance::Home => true,
                Distance::Near => *name != HOST,
                Distance::Away => is_harmless(name),
            };
            if is_sent {
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

    /// Returns the method, if the request must not be sent twice.
    pub(super) fn only_once(&self) -> Option<&Method> {
        Some(&self.method).filter(|method| !self.may_repeat && !is_idempotent(method))
    }
}
