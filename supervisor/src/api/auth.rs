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
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { uid, pid: Some(pid) } => write!(f, "uid {uid}, pid {pid}"),
            Self::Unix { uid, pid: None } => write!(f, "uid {uid}"),
            Self::Tcp(address) => address.fmt(f),
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
    if matches!(peer, Peer::Tcp(_)) {
        match token {
            Some(token) if !is_public(request.uri.path()) => check_token(&request.headers, token)?,
            Some(_) => {}
            None => check_host(request)?,
        }
    }
    if is_change(&request.method) { check_origin(request) } else { Ok(()) }
}

/// Whether a path needs no token because it holds no data: the dashboard, which asks for the token
/// itself, and the health checks.
fn is_public(path: &str) -> bool {
    path != "/metrics" && path != "/v1" && !path.starts_with("/v1/")
}

fn is_change(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
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

/// A page of another site may send a form, although it cannot read the response.
fn check_origin(request: &request::Parts) -> Result<(), Problem> {
    let text = |name: &str| request.headers.get(name).map(|value| value.to_str().unwrap_or("null"));
    let refuse = |from: &str| {
        let detail = format_args!("a page of another site ({from}) cannot change anything here");
        Err(Problem::new(StatusCode::FORBIDDEN, detail))
    };
    match (text("sec-fetch-site"), text("origin")) {
        (Some("same-origin" | "none"), _) | (None, None) => Ok(()),
        (Some(site), None) => refuse(site),
        (_, Some(origin)) => {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            if authority.is_some() && authority == host(request) { Ok(()) } else { refuse(origin) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn tcp() -> Peer {
        Peer::Tcp(([127, 0, 0, 1], 4242).into())
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
        check(&tcp(), None, "GET /v1/jobs", &[host, ("origin", "http://evil.example")], 200);
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
