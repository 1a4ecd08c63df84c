//! Turns an input, or a server's `Location`, into a URL that can be fetched.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, StatusCode, Uri};
use percent_encoding::percent_decode_str;
use url::{ParseError, Position, Url};

/// Parses an input. Errors say what is wrong and, where possible, what was meant.
pub(super) fn parse(input: &str) -> Result<Url, String> {
    match Url::parse(input) {
        Ok(url) => match url.scheme() {
            "http" | "https" => Ok(url),
            // `example.com:80/x` and `localhost:80` parse as a scheme and a path.
            scheme if scheme.contains('.') || (url.cannot_be_a_base() && starts_with_port(url.path())) => {
                Err(no_scheme(input))
            }
            scheme => Err(format!("scheme {scheme}: only http and https can be fetched")),
        },
        Err(ParseError::RelativeUrlWithoutBase) => Err(no_scheme(input)),
        Err(error) => Err(error.to_string()),
    }
}

fn starts_with_port(path: &str) -> bool {
    let port = path.split('/').next().unwrap_or_default();
    !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
}

fn no_scheme(input: &str) -> String {
    let input = input.trim().trim_start_matches('/');
    if input.is_empty() {
        return "empty: write https://example.com".to_owned();
    }
    // A very long line would hide the advice.
    let shown: String = input.chars().take(100).collect();
    format!("no scheme: write https://{shown}")
}

/// Returns the URL that a redirect from `url` leads to.
pub(super) fn redirect(url: &Url, location: &HeaderValue) -> Result<Url, String> {
    // Browsers read bytes that are not UTF-8 as Latin-1, and servers rely on it.
    let location = std::str::from_utf8(location.as_bytes())
        .map_or_else(|_| location.as_bytes().iter().map(|b| char::from(*b)).collect(), ToOwned::to_owned);
    let mut next = url.join(&location).map_err(|error| format!("redirect to {location:?}: {error}"))?;
    if !matches!(next.scheme(), "http" | "https") {
        return Err(format!("redirect to {}: only http and https can be fetched", public(next)));
    }
    // RFC 9110, 10.2.2: a Location without a fragment inherits the fragment of the request.
    if next.fragment().is_none() && url.fragment().is_some() {
        next.set_fragment(url.fragment());
    }
    Ok(next)
}

/// Whether an answer with this status may lead elsewhere.
pub(super) const fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Removes the credentials from a URL, so that it can be shown.
pub(super) fn public(mut url: Url) -> Url {
    if has_credentials(&url) {
        // Neither can fail: an http(s) URL always has a host.
        let _ = url.set_username("");
        let _ = url.set_password(None);
    }
    url
}

pub(super) fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// Copies the credentials of `from` to `to`. They apply to the whole origin (RFC 7617, 2.2).
pub(super) fn copy_credentials(from: &Url, to: &mut Url) {
    // Neither can fail: an http(s) URL always has a host.
    let _ = to.set_username(from.username());
    let _ = to.set_password(from.password());
}

/// Returns the `Authorization` header for a URL with credentials.
pub(super) fn basic_auth(url: &Url) -> Option<HeaderValue> {
    if !has_credentials(url) {
        return None;
    }
    let mut pair: Vec<u8> = percent_decode_str(url.username()).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(url.password().unwrap_or_default()));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Returns the request target, without fragment and credentials.
pub(super) fn request_uri(url: &Url) -> Result<Uri, String> {
    let uri = if has_credentials(url) {
        Uri::try_from(&public(url.clone())[..Position::AfterQuery])
    } else {
        Uri::try_from(&url[..Position::AfterQuery])
    };
    uri.map_err(|error| format!("cannot request this URL: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_urls_are_explained() {
        for (input, error) in [
            ("", "empty: write https://example.com"),
            ("example.com/a?b", "no scheme: write https://example.com/a?b"),
            ("//example.com", "no scheme: write https://example.com"),
            ("example.com:8080/a", "no scheme: write https://example.com:8080/a"),
            ("localhost:8080", "no scheme: write https://localhost:8080"),
            ("ftp://example.com/", "scheme ftp: only http and https can be fetched"),
            ("mailto:a@example.com", "scheme mailto: only http and https can be fetched"),
            ("http://", "empty host"),
            ("http://[::1", "invalid IPv6 address"),
            ("http://a:99999/", "invalid port number"),
        ] {
            assert_eq!(parse(input), Err(error.to_owned()), "{input:?}");
        }
        assert_eq!(parse(" HTTP://Example.com\n").unwrap().as_str(), "http://example.com/");
    }

    #[test]
    fn a_redirect_resolves_like_a_link() {
        for (from, location, to) in [
            ("http://a/b/c?d", "e", Ok("http://a/b/e")),
            ("http://a/b/c?d", "?x", Ok("http://a/b/c?x")),
            ("http://a/b", "//h/p", Ok("http://h/p")),
            ("http://a/b", "https://a/b", Ok("https://a/b")),
            ("http://a/b#f", "/c", Ok("http://a/c#f")),
            ("http://a/b#f", "/c#g", Ok("http://a/c#g")),
            ("http://u:p@a/b", "/c", Ok("http://u:p@a/c")),
            ("http://a/", "", Ok("http://a/")),
            ("http://a/", "ftp://a/", Err("redirect to ftp://a/: only http and https can be fetched")),
            ("http://a/", "ftp://u:p@a/", Err("redirect to ftp://a/: only http and https can be fetched")),
            ("http://a/", "http://[", Err("redirect to \"http://[\": invalid IPv6 address")),
        ] {
            let got = redirect(&Url::parse(from).unwrap(), &location.parse().unwrap());
            assert_eq!(got.as_ref().map(Url::as_str).map_err(String::as_str), to, "{from} → {location}");
        }
        let latin1 = HeaderValue::from_bytes(b"/caf\xe9").unwrap();
        let got = redirect(&Url::parse("http://a/").unwrap(), &latin1).unwrap();
        assert_eq!(got.as_str(), "http://a/caf%C3%A9");
    }

    #[test]
    fn credentials_go_into_the_header_and_nowhere_else() {
        let url = Url::parse("http://us%20er:p%40ss@a:81/b?c#d").unwrap();
        assert_eq!(basic_auth(&url).unwrap(), format!("Basic {}", STANDARD.encode("us er:p@ss")));
        assert_eq!(request_uri(&url).unwrap(), "http://a:81/b?c");
        assert_eq!(public(url.clone()).as_str(), "http://a:81/b?c#d");
        assert_eq!(basic_auth(&Url::parse("http://a/").unwrap()), None);
    }
}
