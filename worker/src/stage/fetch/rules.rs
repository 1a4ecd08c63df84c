//! The job's limits and request headers, checked and prepared once per worker.

use std::collections::HashSet;
use std::time::Duration;

use http::HeaderMap;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderName, HeaderValue,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};
use shared::job::FetchSpec;
use shared::robots::{ROBOTS_BYTES_MAX, ROBOTS_REDIRECTS_MAX};

use super::blocked::{HeadRules, needs_body};
use super::connect::Gate;

/// How much a decoder may hold back of what fits: it decodes a piece at a time.
const CUT_BYTES_MAX: u64 = 64 * 1024;

/// Headers about a request body or a protocol switch. A GET has neither, and a server that believes them would
/// wait for a body.
const FRAMING: [HeaderName; 6] = [CONTENT_LENGTH, TRANSFER_ENCODING, TE, TRAILER, UPGRADE, EXPECT];

/// Headers for the first URL's origin only. They are dropped when a redirect leads to another origin.
const HOME_ONLY: [HeaderName; 4] = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, HOST];

/// Why requests cannot be made as the job says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SpecError {
    /// Not a header name.
    #[error("{0:?} is not a header name")]
    Name(String),
    /// Not a header value.
    #[error("the value of header {0} contains characters that headers cannot contain")]
    Value(String),
    /// A header about a body or a protocol switch.
    #[error("header {0} cannot be set: a GET request has no body and switches no protocol")]
    Framing(String),
    /// A rule for blocked answers is not valid.
    #[error("--blocked-if: {0}")]
    Blocked(String),
}

/// What applies to every request of a job.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) timeout: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) body_bytes_max: u64,
    /// Whether a body is complete at that limit. Otherwise it is too large.
    pub(super) cuts: bool,
    pub(super) redirects_max: u32,
    pub(super) gate: Gate,
    /// Sent while the redirects stay at the first URL's origin.
    pub(super) headers_home: HeaderMap,
    /// Sent to every other origin.
    pub(super) headers_away: HeaderMap,
    /// Which heads count as blocked.
    pub(super) blocked: HeadRules,
    /// Whether the body of an error is needed, to tell whether it counts as blocked.
    pub(super) reads_errors: bool,
}

impl Rules {
    pub(super) fn new(spec: &FetchSpec) -> Result<Self, SpecError> {
        let mut home = HeaderMap::new();
        let agent = HeaderValue::from_str(&spec.user_agent);
        home.insert(USER_AGENT, agent.map_err(|_| SpecError::Value(USER_AGENT.to_string()))?);
        home.insert(ACCEPT, HeaderValue::from_static("*/*"));
        home.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate, br, zstd"));
        // A user's header replaces the default. If the user gives one twice, both are sent.
        let mut replaced = HashSet::new();
        for (name, value) in &spec.headers {
            let name = HeaderName::try_from(name.as_str()).map_err(|_| SpecError::Name(name.clone()))?;
            if FRAMING.contains(&name) {
                return Err(SpecError::Framing(name.to_string()));
            }
            let value = HeaderValue::from_str(value).map_err(|_| SpecError::Value(name.to_string()))?;
            if replaced.insert(name.clone()) {
                home.insert(name, value);
            } else {
                home.append(name, value);
            }
        }
        let mut away = home.clone();
        for name in HOME_ONLY {
            away.remove(name);
        }
        Ok(Self {
            timeout: spec.timeout,
            connect_timeout: spec.connect_timeout,
            body_bytes_max: spec.body_bytes_max,
            cuts: false,
            redirects_max: spec.redirects_max,
            gate: Gate::of(spec.address_policy),
            headers_home: home,
            headers_away: away,
            blocked: HeadRules::new(&spec.blocked.rules).map_err(SpecError::Blocked)?,
            reads_errors: spec.blocked.rules.iter().any(needs_body),
        })
    }

    /// The same for a robots.txt. What blocks a page says nothing about it.
    pub(super) fn of_robots(&self) -> Self {
        Self {
            body_bytes_max: ROBOTS_BYTES_MAX + CUT_BYTES_MAX,
            cuts: true,
            redirects_max: ROBOTS_REDIRECTS_MAX,
            blocked: HeadRules::default(),
            reads_errors: false,
            ..self.clone()
        }
    }

    /// Maximum body bytes before decoding. Incompressible data grows a little when compressed. Without this limit
    /// a server could send data for ever that decodes to nothing.
    pub(super) const fn wire_bytes_max(&self) -> u64 {
        self.body_bytes_max.saturating_add(self.body_bytes_max / 64).saturating_add(1024)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use shared::address::AddressPolicy;
    use shared::select::blocked::BlockedRules;

    use super::*;

    pub(crate) fn spec() -> FetchSpec {
        FetchSpec {
            timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            body_bytes_max: 1 << 20,
            redirects_max: 5,
            headers: Vec::new(),
            user_agent: "muster-test".into(),
            address_policy: AddressPolicy::Any,
            blocked: BlockedRules::of(Vec::new()),
        }
    }

    fn with(headers: &[(&str, &str)]) -> Result<Rules, SpecError> {
        let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Rules::new(&FetchSpec { headers, ..spec() })
    }

    fn values(headers: &HeaderMap, name: HeaderName) -> Vec<&str> {
        headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect()
    }

    #[test]
    fn user_headers_replace_the_defaults_and_may_repeat() {
        let rules =
            with(&[("Accept", "text/html"), ("x-a", "1"), ("X-A", "2"), ("user-agent", "me")]).unwrap();
        assert_eq!(values(&rules.headers_home, ACCEPT), ["text/html"]);
        assert_eq!(values(&rules.headers_home, USER_AGENT), ["me"]);
        assert_eq!(values(&rules.headers_home, ACCEPT_ENCODING), ["gzip, deflate, br, zstd"]);
        assert_eq!(values(&rules.headers_home, HeaderName::from_static("x-a")), ["1", "2"]);
    }

    #[test]
    fn secrets_are_not_sent_to_other_origins() {
        let rules = with(&[("authorization", "a"), ("cookie", "b"), ("host", "c"), ("x-d", "d")]).unwrap();
        assert_eq!(rules.headers_home.len(), rules.headers_away.len() + 3);
        assert!(rules.headers_away.contains_key("x-d"));
    }

    #[test]
    fn headers_that_cannot_be_sent_are_named() {
        for (name, value, error) in [
            ("a b", "1", SpecError::Name("a b".into())),
            ("x-a", "1\n2", SpecError::Value("x-a".into())),
            ("Content-Length", "5", SpecError::Framing("content-length".into())),
        ] {
            assert_eq!(with(&[(name, value)]).unwrap_err(), error);
        }
    }
}
