//! What the requests of a job send besides their URL: the method, a body, headers of their own.
//!
//! Both processes ask this module: the supervisor when it reads flags and the columns that they need, the worker when it
//! makes a request.

use http::Method;
use serde::{Deserialize, Serialize};

use crate::template::Template;

/// Largest body, before and after its columns are filled in.
pub const BODY_BYTES_MAX: usize = 8 << 20;

/// Largest method or value of a header with columns in it.
pub const LINE_BYTES_MAX: usize = 32 << 10;

/// How the requests of a job differ from a GET without a body.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestSpec {
    /// What the URL of a row is made from; `None` is a column that holds it. Only the supervisor uses it.
    pub url: Option<Template>,
    /// The method; `None` is POST with a body, and GET without one.
    pub method: Option<Template>,
    /// The body.
    pub body: Option<BodySpec>,
    /// Headers with columns in them, in order.
    pub headers: Vec<(String, Template)>,
    /// Whether a request is sent again although the server may have acted on it.
    pub retries_unsafe: bool,
    /// Whether a request that may have been sent before a crash is never sent again.
    pub at_most_once: bool,
}

/// The body of each request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodySpec {
    /// What it is made from.
    pub text: Template,
    /// Whether it is JSON, and not data of a form.
    pub is_json: bool,
}

impl RequestSpec {
    /// Returns the columns that a row needs for its request, each once.
    #[must_use]
    pub fn columns(&self) -> Vec<String> {
        let mut columns: Vec<String> = Vec::new();
        for (_, template) in self.templates() {
            for name in template.columns() {
                if !columns.iter().any(|known| known == name) {
                    columns.push(name.to_owned());
                }
            }
        }
        columns
    }

    /// The flags and what they are made from.
    pub fn templates(&self) -> impl Iterator<Item = (&'static str, &Template)> {
        let body = self.body.iter().map(|body| (body.flag(), &body.text));
        let headers = self.headers.iter().map(|(_, template)| ("--header", template));
        let url = self.url.iter().map(|template| ("--url", template));
        url.chain(self.method.iter().map(|template| ("--method", template))).chain(body).chain(headers)
    }

    /// Whether a request is more than a GET of its URL.
    #[must_use]
    pub const fn is_sent(&self) -> bool {
        self.method.is_some() || self.body.is_some()
    }

    /// Whether a server may act twice on a request that it gets twice, which the user has not allowed.
    #[must_use]
    pub fn has_effect(&self) -> bool {
        let is_idempotent = |name: &[u8]| method(name).is_ok_and(|method| is_idempotent(&method));
        let has_effect = match &self.method {
            Some(method) => !method.constant().is_some_and(is_idempotent),
            None => self.body.is_some(),
        };
        has_effect && !self.retries_unsafe
    }
}

impl BodySpec {
    /// The flag that it comes from.
    #[must_use]
    pub const fn flag(&self) -> &'static str {
        if self.is_json { "--json" } else { "--data" }
    }

    /// The `Content-Type` if the user gives none.
    #[must_use]
    pub const fn content_type(&self) -> &'static str {
        if self.is_json { "application/json" } else { "application/x-www-form-urlencoded" }
    }
}

/// Reads the name of a method. It may be written in lower case: no method in use is.
///
/// # Errors
/// It is not a method, or not one that can be sent.
pub fn method(name: &[u8]) -> Result<Method, String> {
    match Method::from_bytes(&name.to_ascii_uppercase()) {
        Ok(Method::CONNECT) => Err("CONNECT is for proxies, and cannot be sent".to_owned()),
        Ok(method) => Ok(method),
        Err(_) => Err(format!(
            "{:?} is not a method: give a word such as POST, of letters and digits",
            String::from_utf8_lossy(name)
        )),
    }
}

/// Checks that a request of this method may have a body.
///
/// # Errors
/// It may not.
pub fn check_body(method: &Method) -> Result<(), String> {
    if [Method::HEAD, Method::TRACE].contains(method) {
        return Err(format!("a {method} request has no body; leave out --data and --json"));
    }
    Ok(())
}

/// Whether a request may be sent again without a further effect (RFC 9110, 9.2.2).
#[must_use]
pub fn is_idempotent(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::PUT, Method::DELETE].contains(method)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Form;

    #[test]
    fn a_request_has_an_effect_unless_its_method_says_otherwise() {
        let method = |name: &str| Some(Template::parse(name.as_bytes(), Form::Data));
        let body = || Some(BodySpec { text: Template::parse(b"a", Form::Data), is_json: false });
        for (method, body, retries_unsafe, has_effect) in [
            (None, None, false, false),
            (None, body(), false, true),
            (None, body(), true, false),
            (method("PUT"), body(), false, false),
            (method("POST"), None, false, true),
            (method("{verb}"), None, false, true),
        ] {
            let spec = RequestSpec { method, body, retries_unsafe, ..RequestSpec::default() };
            assert_eq!(spec.has_effect(), has_effect, "{spec:?}");
        }
    }

    #[test]
    fn methods_are_words() {
        for (name, want) in
            [("GET", true), ("PROPFIND", true), ("CONNECT", false), ("A B", false), ("", false)]
        {
            assert_eq!(method(name.as_bytes()).is_ok(), want, "{name}");
        }
        assert!(is_idempotent(&Method::PUT) && !is_idempotent(&Method::PATCH));
        assert!(!is_idempotent(&Method::from_bytes(b"REPORT").unwrap()));
    }

    #[test]
    fn a_request_needs_each_column_once() {
        let of = |text: &str, form| Template::parse(text.as_bytes(), form);
        let spec = RequestSpec {
            url: Some(of("http://a/{id}", Form::Url)),
            method: Some(of("{verb}", Form::Word)),
            body: Some(BodySpec { text: of(r#"{"a":"{id}{name}"}"#, Form::Json), is_json: true }),
            headers: vec![("idempotency-key".to_owned(), of("{id}-{key}", Form::Word))],
            retries_unsafe: false,
            at_most_once: false,
        };
        assert_eq!(spec.columns(), ["id", "verb", "name", "key"]);
        let flags: Vec<_> = spec.templates().map(|(flag, _)| flag).collect();
        assert_eq!(flags, ["--url", "--method", "--json", "--header"]);
    }
}
