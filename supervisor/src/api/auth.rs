//! Access control. On the Unix socket, anyone who can open it has access. On TCP, a client needs
//! the token. Without a configured token, only clients on this machine have access, and no page of
//! another site.

use std::fmt;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use http::{HeaderMap, Method, StatusCode, header, request};
use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq as _;

use super::ApiError;
use super::problem::Problem;

/// Minimum bytes of a token. 16 random bytes in hexadecimal are twice as long.
const TOKEN_BYTES_MIN: usize = 16;

/// Maximum bytes of a token, the most that a header line can hold.
const TOKEN_BYTES_MAX: usize = 4_096;

/// The client of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Peer {
    /// A client on the Unix socket.
    Unix {
        /// User id of the client.
        uid: u32,
        /// Process id, if the kernel reports it.
        pid: Option<i32>,
    },
    /// A client on TCP.
    Tcp(SocketAddr),
    /// A trusted reverse proxy on TCP, before it has named a client.
    Proxy(SocketAddr),
    /// A client behind a trusted reverse proxy.
    Forwarded {
        /// The client's address, or the proxy's own if it named none.
        client: IpAddr,
        /// The proxy.
        proxy: SocketAddr,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { uid, pid: Some(pid) } => write!(f, "uid {uid}, pid {pid}"),
            Self::Unix { uid, pid: None } => write!(f, "uid {uid}"),
            Self::Tcp(address) | Self::Proxy(address) => address.fmt(f),
            Self::Forwarded { client, proxy } => write!(f, "{client} via {proxy}"),
        }
    }
}

/// Digest of the bearer token. Comparing digests leaks nothing through timing, not even the token's
/// length.
pub(super) struct Token([u8; 32]);

impl Token {
    /// Reads the token from the first line of a file.
    ///
    /// # Errors
    /// If the file cannot be read, or its token is too weak to be a secret.
    pub(super) fn read(path: &Path) -> Result<Self, ApiError> {
        let refuse = |why: String| ApiError::Token { path: path.to_owned(), why };
        let text = fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
        let token = text.lines().next().unwrap_or_default().trim();
        if token.len() < TOKEN_BYTES_MIN || token.len() > TOKEN_BYTES_MAX {
            return Err(refuse(format!(
                "it has {} characters, but must have {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX}; create one with: openssl rand -hex 32",
                token.len()
            )));
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(refuse("it contains other than visible ASCII characters".to_owned()));
        }
        Ok(Self::of(token.as_bytes()))
    }

    fn of(token: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, token).as_ref());
        Self(bytes)
    }

    fn is(&self, presented: &[u8]) -> bool {
        self.0.ct_eq(&Self::of(presented).0).into()
    }
}

/// Checks that a request is allowed at all.
///
/// # Errors
/// The problem document to answer with.
pub(super) fn admit(request: &request::Parts, peer: &Peer, token: Option<&Token>) -> Result<(), Problem> {
    check_one_host(&request.headers)?;
    if !matches!(peer, Peer::Unix { .. }) {
        match token {
            Some(token) if !is_public(request.uri.path()) => check_token(&request.headers, token)?,
            Some(_) => {}
            None => check_host(request)?,
        }
    }
    check_site(request)
}

/// Whether a path needs no token because it holds no data: the dashboard, which asks for the token
/// itself, and the health checks.
fn is_public(path: &str) -> bool {
    path != "/metrics" && path != "/v1" && !path.starts_with("/v1/")
}

fn check_token(headers: &HeaderMap, token: &Token) -> Result<(), Problem> {
    let Some(given) = headers.get(header::AUTHORIZATION) else {
        return Err(Problem::unauthorized("a token is required: send Authorization: Bearer …"));
    };
    let bytes = given.as_bytes();
    let presented = match bytes.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token.trim_ascii(),
        Some(_) | None => {
            return Err(Problem::unauthorized(
                "only Bearer tokens are accepted: send Authorization: Bearer …",
            ));
        }
    };
    if token.is(presented) { Ok(()) } else { Err(Problem::unauthorized("the token is wrong")) }
}

/// Returns the host that the request names.
fn host(request: &request::Parts) -> Option<&str> {
    let named = || request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    request.uri.authority().map(http::uri::Authority::as_str).or_else(named)
}

/// A proxy in front of the service may have decided by the one, and the service would by the other (RFC 9112, 3.2).
fn check_one_host(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.get_all(header::HOST).iter().nth(1).is_none() {
        return Ok(());
    }
    Err(Problem::new(StatusCode::BAD_REQUEST, "the request has two Host headers; send one"))
}

/// Prevents DNS rebinding. A page of another site can point its own name at 127.0.0.1, and would
/// then be of the same origin as the service. But its requests still carry that name. An address
/// cannot be redirected this way.
fn check_host(request: &request::Parts) -> Result<(), Problem> {
    let name = host(request).unwrap_or_default();
    let name = match name.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => name,
    };
    let is_local = name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
        || name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    if is_local {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::MISDIRECTED_REQUEST,
        format_args!("the host {name:?} is not allowed; without a token, use localhost or an IP address"),
    ))
}

/// Refuses the requests of other sites' pages. Such a page cannot read a response, but it may send a
/// form, and each of its requests for events holds a place.
///
/// A browser says in `Sec-Fetch-Site` whose page a request is from, and in `Origin` if the method
/// changes something or a script reads the response. An old one may say it in `Referer` alone, and
/// programs say none of it.
fn check_site(request: &request::Parts) -> Result<(), Problem> {
    let text = |name: &str| request.headers.get(name).map(|value| value.to_str().unwrap_or("null"));
    let refuse = |from: &str| {
        let detail = format_args!("a page of another site ({from}) has no access here");
        Err(Problem::new(StatusCode::FORBIDDEN, detail))
    };
    let is_own = |url: &str| {
        let authority = url.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or_default());
        authority.is_some() && authority == host(request)
    };
    match (text("sec-fetch-site"), text("origin"), text("referer")) {
        (Some("same-origin" | "none"), ..) => Ok(()),
        (Some(_), None, _) if is_link(request) => Ok(()),
        (_, Some(origin), _) => {
            if is_own(origin) {
                Ok(())
            } else {
                refuse(origin)
            }
        }
        (Some(site), None, _) => refuse(site),
        (None, None, Some(page)) if !is_own(page) && !is_public(request.uri.path()) => refuse("its Referer"),
        (None, None, _) => Ok(()),
    }
}

/// Whether a user follows a link to the dashboard, which a page of another site may contain.
fn is_link(request: &request::Parts) -> bool {
    let is = |name: &str, value: &str| request.headers.get(name).is_some_and(|found| found == value);
    request.method == Method::GET
        && is_public(request.uri.path())
        && is("sec-fetch-mode", "navigate")
        && is("sec-fetch-dest", "document")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn tcp() -> Peer {
        Peer::Tcp(([127, 0, 0, 1], 4242).into())
    }

    #[test]
    fn a_client_behind_a_proxy_needs_the_token_too() {
        let (client, proxy) = ([192, 0, 2, 1].into(), ([10, 0, 0, 1], 4242).into());
        for peer in [Peer::Proxy(proxy), Peer::Forwarded { client, proxy }] {
            check(&peer, Some(TOKEN), "GET /v1/jobs", &[], 401);
            check(&peer, None, "GET /v1/jobs", &[("host", "evil.example")], 421);
        }
        assert_eq!(Peer::Forwarded { client, proxy }.to_string(), "192.0.2.1 via 10.0.0.1:4242");
    }

    fn request(line: &str, headers: &[(&str, &str)]) -> request::Parts {
        let (method, uri) = line.split_once(' ').unwrap();
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[track_caller]
    fn check(peer: &Peer, token: Option<&str>, line: &str, headers: &[(&str, &str)], want: u16) {
        let token = token.map(|token| Token::of(token.as_bytes()));
        let got = admit(&request(line, headers), peer, token.as_ref());
        let got = got.err().map_or(200, |problem| problem.status.as_u16());
        assert_eq!(got, want, "{line} {headers:?}");
    }

    #[test]
    fn on_tcp_the_token_is_needed_where_one_is_set() {
        let with = |value: &str, want| {
            check(&tcp(), Some(TOKEN), "GET /v1/jobs", &[("authorization", value)], want);
        };
        with(&format!("Bearer {TOKEN}"), 200);
        with(&format!("bearer  {TOKEN}"), 200);
        with("Bearer", 401);
        with("Bearer ", 401);
        with(TOKEN, 401);
        with(&format!("Basic {TOKEN}"), 401);
        with(&format!("Bearer {}", &TOKEN[1..]), 401);
        with(&format!("Bearer {TOKEN}0"), 401);
        check(&tcp(), Some(TOKEN), "GET /metrics", &[], 401);
        for path in ["/", "/healthz", "/readyz", "/openapi.json"] {
            check(&tcp(), Some(TOKEN), &format!("GET {path}"), &[], 200);
        }
        check(&Peer::Unix { uid: 0, pid: None }, Some(TOKEN), "GET /v1/jobs", &[], 200);
    }

    #[test]
    fn without_a_token_only_local_host_names_are_allowed() {
        for (host, want) in [
            ("localhost", 200),
            ("LOCALHOST:8080", 200),
            ("muster.localhost", 200),
            ("127.0.0.1:8080", 200),
            ("[::1]:8080", 200),
            ("[::1]", 200),
            ("evil.example:8080", 421),
            ("localhost.evil.example", 421),
            ("127.0.0.1.evil.example", 421),
            ("", 421),
        ] {
            check(&tcp(), None, "GET /v1/jobs", &[("host", host)], want);
        }
        check(&tcp(), None, "GET /v1/jobs", &[], 421);
        // With the token any host name is allowed, because no page of another site has the token.
        let authorization = format!("Bearer {TOKEN}");
        let headers = [("host", "muster.example"), ("authorization", authorization.as_str())];
        check(&tcp(), Some(TOKEN), "GET /v1/jobs", &headers, 200);
    }

    #[test]
    fn a_request_has_one_host() {
        let twice = [("host", "localhost"), ("host", "evil.example")];
        check(&tcp(), None, "GET /v1/jobs", &twice, 400);
        check(&Peer::Unix { uid: 0, pid: None }, None, "GET /healthz", &[twice[0], twice[0]], 400);
    }

    #[test]
    fn a_page_of_another_site_changes_nothing() {
        let host = ("host", "127.0.0.1:80");
        let post = |headers: &[(&str, &str)], want| {
            let headers: Vec<_> = std::iter::once(host).chain(headers.iter().copied()).collect();
            check(&tcp(), None, "POST /v1/jobs", &headers, want);
            check(&Peer::Unix { uid: 0, pid: None }, None, "DELETE /v1/jobs/1", &headers, want);
        };
        post(&[], 200);
        post(&[("sec-fetch-site", "same-origin"), ("origin", "https://proxy.example")], 200);
        post(&[("sec-fetch-site", "none")], 200);
        post(&[("origin", "http://127.0.0.1:80")], 200);
        post(&[("origin", "http://evil.example")], 403);
        post(&[("origin", "http://127.0.0.1:81")], 403);
        post(&[("origin", "null")], 403);
        post(&[("sec-fetch-site", "cross-site")], 403);
        post(&[("sec-fetch-site", "same-site"), ("origin", "http://evil.localhost")], 403);
    }

    /// A path, the headers of the request, and the status of the answer.
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], u16);

    /// What browsers send with each way in which a page can ask for something.
    #[test]
    fn a_page_of_another_site_gets_nothing() {
        let (origin, referer) = (("origin", "https://evil.example"), ("referer", "https://evil.example/"));
        let site = |site| ("sec-fetch-site", site);
        let (cors, no_cors) = (("sec-fetch-mode", "cors"), ("sec-fetch-mode", "no-cors"));
        let (navigate, empty) = (("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "empty"));
        let (document, image) = (("sec-fetch-dest", "document"), ("sec-fetch-dest", "image"));
        let own = ("referer", "http://h7.localhost:80/");
        let table: [Case<'_>; 22] = [
            // `new EventSource(…)` and `fetch(…)`: Chromium and Firefox, then Safari before 16.4.
            ("/v1/events", &[site("cross-site"), cors, empty, origin, referer], 403),
            ("/v1/events", &[site("cross-site"), cors, empty, ("origin", "null")], 403),
            ("/v1/events", &[site("same-site"), cors, empty, ("origin", "http://h8.localhost:80")], 403),
            ("/v1/events", &[site("same-site"), cors, empty, ("origin", "http://h7.localhost:81")], 403),
            ("/v1/events", &[origin, referer], 403),
            ("/v1/events", &[("origin", "null")], 403),
            // `<img src=…>`, `<script src=…>`, `fetch(…, {mode: "no-cors"})`.
            ("/v1/events", &[site("cross-site"), no_cors, image, referer], 403),
            ("/v1/jobs/1/records?follow=1", &[site("same-site"), no_cors, empty], 403),
            ("/healthz", &[site("cross-site"), no_cors, image], 403),
            ("/v1/events", &[referer], 403),
            // A frame, and a link or a window.
            ("/", &[site("cross-site"), navigate, ("sec-fetch-dest", "iframe")], 403),
            ("/v1/events", &[site("cross-site"), navigate, document, ("sec-fetch-user", "?1"), referer], 403),
            ("/", &[site("cross-site"), navigate, document, ("sec-fetch-user", "?1"), referer], 200),
            ("/", &[referer], 200),
            // The dashboard: the page, its script and its requests; with and without `Sec-Fetch-Site`.
            ("/", &[site("none"), navigate, document, ("sec-fetch-user", "?1")], 200),
            ("/app.js", &[site("same-origin"), no_cors, ("sec-fetch-dest", "script"), own], 200),
            ("/v1/events", &[site("same-origin"), cors, empty, own], 200),
            ("/v1/events", &[site("same-origin"), cors, empty, ("origin", "https://proxy.example")], 200),
            ("/v1/events", &[own], 200),
            ("/v1/jobs/1/records", &[site("none"), navigate, document], 200),
            // Programs.
            ("/v1/events", &[], 200),
            ("/v1/events", &[("user-agent", "curl/8.10.1"), ("accept", "*/*")], 200),
        ];
        for (path, headers, want) in table {
            let headers: Vec<_> =
                std::iter::once(("host", "h7.localhost:80")).chain(headers.iter().copied()).collect();
            check(&tcp(), None, &format!("GET {path}"), &headers, want);
            check(&Peer::Unix { uid: 0, pid: None }, None, &format!("GET {path}"), &headers, want);
            let method = if want == 403 { "HEAD" } else { "GET" };
            check(&tcp(), None, &format!("{method} {path}"), &headers, want);
        }
        // The request that asks whether a page may send another one.
        let asks = [("host", "h7.localhost:80"), site("cross-site"), cors, empty, origin];
        check(&tcp(), None, "OPTIONS /v1/jobs", &asks, 403);
    }

    #[test]
    fn a_weak_token_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (text, why) in [("", "has 0"), ("short\n", "has 5"), ("0123456789 abcdefgh", "visible ASCII")] {
            fs::write(file.path(), text).unwrap();
            let error = Token::read(file.path()).err().unwrap().to_string();
            assert!(error.contains(why), "{error}");
        }
        fs::write(file.path(), format!("{TOKEN}\n")).unwrap();
        assert!(Token::read(file.path()).unwrap().is(TOKEN.as_bytes()));
        assert!(Token::read(Path::new("/nonexistent")).is_err());
    }
}
