//! The job's limits and request headers, checked and prepared once per worker.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_ENCODING, HOST, HeaderName, HeaderValue, USER_AGENT};
use shared::job::FetchSpec;
use shared::login::Profile;
use shared::request_headers::{self, HeaderError, is_harmless};
use shared::robots::{ROBOTS_BYTES_MAX, ROBOTS_REDIRECTS_MAX};

use super::blocked::{HeadRules, needs_body};
use super::connect::Gate;
use super::cookies::Cookies;
use super::limits::Limits;
use super::login::LoginRules;
use super::pins::Pins;
use super::request::Sending;
use super::scope::{Distance, Scope};

/// How much a decoder may hold back of what fits: it decodes a piece at a time.
const CUT_BYTES_MAX: u64 = 64 * 1024;

/// Why requests cannot be made as the job says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SpecError {
    /// A header cannot be sent.
    #[error("--header: {0}")]
    Header(#[from] HeaderError),
    /// A rule for blocked answers is not valid.
    #[error("--blocked-if: {0}")]
    Blocked(String),
    /// A rule about logins is not valid.
    #[error("[login]: {0}")]
    Login(String),
}

/// The headers of requests, by how far their server is from home.
#[derive(Debug, Clone)]
pub(super) struct Headers {
    /// Sent to the origins that the user named.
    home: HeaderMap,
    /// Sent where the user allows it besides.
    near: HeaderMap,
    /// Sent to every other origin.
    away: HeaderMap,
}

impl Headers {
    fn new(home: HeaderMap) -> Self {
        let without = |refused: &dyn Fn(&HeaderName) -> bool| {
            let mut headers = home.clone();
            for name in home.keys().filter(|name| refused(name)) {
                headers.remove(name);
            }
            headers
        };
        let (near, away) = (without(&|name| *name == HOST), without(&|name| !is_harmless(name)));
        Self { home, near, away }
    }
}

/// Puts the headers of each profile in place of those of the job.
fn profiled(home: &HeaderMap, profiles: &[Profile]) -> Result<Arc<[Headers]>, SpecError> {
    let headers = profiles.iter().map(|profile| {
        let (mut home, mut replaced) = (home.clone(), HashSet::new());
        for (name, value) in profile.checked()? {
            if replaced.insert(name.clone()) {
                home.insert(name, value);
            } else {
                home.append(name, value);
            }
        }
        Ok(Headers::new(home))
    });
    headers.collect()
}

/// What applies to every request of a job.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) timeout: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) body_bytes_max: u64,
    /// Limits of a body that is saved, if bodies are.
    pub(super) saved: Option<Limits>,
    /// Whether a body is complete at that limit. Otherwise it is too large.
    pub(super) cuts: bool,
    pub(super) redirects_max: u32,
    pub(super) gate: Gate,
    /// The headers of each request.
    pub(super) headers: Headers,
    /// The same for each header profile, if there are any.
    pub(super) profiles: Arc<[Headers]>,
    /// The same for a login.
    pub(super) login_profiles: Arc<[Headers]>,
    /// How a login is known, if the job logs in.
    pub(super) login: Option<Arc<LoginRules>>,
    /// The same for a robots.txt, which is asked for alike whatever a job sends.
    pub(super) robots_headers: Headers,
    /// Which origins are which.
    pub(super) scope: Scope,
    /// Which heads count as blocked.
    pub(super) blocked: HeadRules,
    /// Whether the body of an error is needed, to tell whether it counts as blocked.
    pub(super) reads_errors: bool,
    /// What is sent; `None` is a GET without a body.
    pub(super) sending: Option<Arc<Sending>>,
    /// Response headers to record.
    pub(super) response_headers: Arc<[HeaderName]>,
    /// Addresses in place of those of names.
    pub(super) pins: Pins,
    /// The cookies, if the job keeps them.
    pub(super) cookies: Option<Cookies>,
}

impl Rules {
    pub(super) fn new(spec: &FetchSpec) -> Result<Self, SpecError> {
        let (_, agent) = request_headers::check(USER_AGENT.as_str(), &spec.user_agent)?;
        let mut home = HeaderMap::new();
        home.insert(USER_AGENT, agent);
        home.insert(ACCEPT, HeaderValue::from_static("*/*"));
        // The rest of a file can only be asked for if the file is what was sent.
        let codings = if spec.save.is_some() { "identity" } else { "gzip, deflate, br, zstd" };
        home.insert(ACCEPT_ENCODING, HeaderValue::from_static(codings));
        request_headers::check_together(spec.headers.iter().map(|(name, _)| name.as_str()))?;
        // A user's header replaces the default. If the user gives one twice, both are sent.
        let mut replaced = HashSet::new();
        for (name, value) in &spec.headers {
            let (name, value) = request_headers::check(name, value)?;
            if replaced.insert(name.clone()) {
                home.insert(name, value);
            } else {
                home.append(name, value);
            }
        }
        let name = |name: &String| HeaderName::from_bytes(name.as_bytes());
        let response_headers: Vec<_> =
            spec.response_headers.iter().filter_map(|given| name(given).ok()).collect();
        let sending = spec.request.as_deref().map(|request| Sending::new(request, &mut home));
        let robots_headers = Headers::new(home.clone());
        let login_profiles = profiled(&home, &spec.profiles)?;
        if let Some(sending) = &sending {
            sending.replace_defaults(&replaced, &mut home);
        }
        let login = spec.login.as_deref().map(LoginRules::new).transpose().map_err(SpecError::Login)?;
        Ok(Self {
            timeout: spec.timeout,
            connect_timeout: spec.connect_timeout,
            body_bytes_max: spec.body_bytes_max,
            saved: spec.save.as_ref().map(|save| Limits {
                bytes_max: save.bytes_max,
                held_max: Some(save.held_max),
                rest: None,
            }),
            cuts: false,
            redirects_max: spec.redirects_max,
            gate: Gate::of(spec.address_policy),
            profiles: profiled(&home, &spec.profiles)?,
            login_profiles,
            headers: Headers::new(home),
            robots_headers,
            scope: Scope::new(&spec.header_scope),
            blocked: HeadRules::new(&spec.blocked.rules).map_err(SpecError::Blocked)?,
            reads_errors: spec.blocked.rules.iter().any(needs_body)
                || login.as_ref().is_some_and(LoginRules::reads_errors),
            login: login.map(Arc::new),
            sending: sending.map(Arc::new),
            response_headers: response_headers.into(),
            pins: Pins::new(&spec.transport),
            cookies: spec.cookies.then(Cookies::default),
        })
    }

    /// The same for a robots.txt. What blocks a page says nothing about it.
    pub(super) fn of_robots(&self) -> Self {
        Self {
            body_bytes_max: ROBOTS_BYTES_MAX + CUT_BYTES_MAX,
            saved: None,
            cuts: true,
            redirects_max: ROBOTS_REDIRECTS_MAX,
            blocked: HeadRules::default(),
            reads_errors: false,
            sending: None,
            headers: self.robots_headers.clone(),
            profiles: Arc::default(),
            login: None,
            cookies: None,
            ..self.clone()
        }
    }

    /// The same for a login, which sends its own request and saves nothing.
    pub(super) fn of_login(&self) -> Self {
        Self {
            saved: None,
            sending: None,
            headers: self.robots_headers.clone(),
            profiles: Arc::clone(&self.login_profiles),
            ..self.clone()
        }
    }

    /// Returns the headers of a session with this profile for an origin this far from home.
    pub(super) fn headers(&self, distance: Distance, profile: u16) -> &HeaderMap {
        let headers = self.profiles.get(usize::from(profile)).unwrap_or(&self.headers);
        match distance {
            Distance::Home => &headers.home,
            Distance::Near => &headers.near,
            Distance::Away => &headers.away,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use http::header::CONTENT_TYPE;
    use shared::address::AddressPolicy;
    use shared::proxy::ProxySpec;
    use shared::request::{BodySpec, RequestSpec};
    use shared::request_headers::HeaderScope;
    use shared::select::blocked::BlockedRules;
    use shared::template::{Form, Template};
    use shared::transport::TransportSpec;

    use super::*;

    pub(crate) fn spec() -> FetchSpec {
        FetchSpec {
            timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            body_bytes_max: 1 << 20,
            redirects_max: 5,
            headers: Vec::new(),
            header_scope: HeaderScope::default(),
            user_agent: "muster-test".into(),
            address_policy: AddressPolicy::Any,
            blocked: BlockedRules::of(Vec::new()),
            save: None,
            request: None,
            transport: TransportSpec::default(),
            response_headers: Vec::new(),
            cookies: false,
            proxies: ProxySpec::default(),
            since: None,
            login: None,
            profiles: Vec::new(),
            next: None,
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
        assert_eq!(values(rules.headers(Distance::Home, 0), ACCEPT), ["text/html"]);
        assert_eq!(values(rules.headers(Distance::Home, 0), USER_AGENT), ["me"]);
        assert_eq!(values(rules.headers(Distance::Home, 0), ACCEPT_ENCODING), ["gzip, deflate, br, zstd"]);
        assert_eq!(values(rules.headers(Distance::Home, 0), HeaderName::from_static("x-a")), ["1", "2"]);
    }

    #[test]
    fn only_harmless_headers_are_sent_everywhere() {
        let given = [
            ("authorization", "a"),
            ("cookie", "b"),
            ("host", "c"),
            ("x-key", "d"),
            ("accept-language", "e"),
        ];
        let rules = with(&given).unwrap();
        let names = |distance| {
            let mut names: Vec<_> = rules.headers(distance, 0).keys().map(HeaderName::as_str).collect();
            names.sort_unstable();
            names.join(" ")
        };
        let all = "accept accept-encoding accept-language authorization cookie host user-agent x-key";
        assert_eq!(names(Distance::Home), all);
        assert_eq!(names(Distance::Near), all.replace("host ", ""));
        assert_eq!(names(Distance::Away), "accept accept-encoding accept-language user-agent");
    }

    #[test]
    fn a_robots_txt_is_asked_for_as_in_any_job() {
        let template = |text: &str, form| Template::parse(text.as_bytes(), form);
        let request = RequestSpec {
            body: Some(BodySpec { text: template("{}", Form::Json), is_json: true }),
            headers: vec![("user-agent".to_owned(), template("{agent}", Form::Word))],
            ..RequestSpec::default()
        };
        let headers = vec![("content-type".to_owned(), "a/b".to_owned())];
        let rules = Rules::new(&FetchSpec { request: Some(Box::new(request)), headers, ..spec() }).unwrap();
        let home = rules.headers(Distance::Home, 0);
        assert_eq!(values(home, ACCEPT), ["application/json"]);
        assert!(!home.contains_key(USER_AGENT) && !home.contains_key(CONTENT_TYPE));
        let robots = rules.of_robots();
        let robots = robots.headers(Distance::Home, 0);
        assert_eq!((values(robots, ACCEPT), values(robots, USER_AGENT)), (vec!["*/*"], vec!["muster-test"]));
        assert!(!robots.contains_key(CONTENT_TYPE));
    }

    #[test]
    fn headers_that_cannot_be_sent_are_named() {
        for (headers, says) in [
            (&[("a b", "1")][..], "is not a header name"),
            (&[("x-a", "1\n2")], "on one line"),
            (&[("Content-Length", "5")], "Content-Length cannot be set"),
            (&[("Host", "a"), ("host", "b")], "Host is given twice"),
        ] {
            let error = with(headers).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
