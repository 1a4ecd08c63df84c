//! Parsers of flag values. Clap calls them for flags, environment and files alike. Their errors name the
//! accepted forms.
//!
//! Zero and absurdly large numbers are refused here, so later code does not check again.

use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser};
use ipnet::IpNet;

use shared::request_headers::{self, HeaderScope, Reach};
use shared::select::blocked::BlockedIf;
use shared::select::{Each, Field, SelectError};
use url::Url;

use crate::objects;

/// `auto` or a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AutoOr(pub(super) Option<NonZeroU32>);

/// `auto`, `auto:N`, a number, or `unlimited`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    Auto,
    AutoUpTo(NonZeroU32),
    AtMost(NonZeroU32),
    Unlimited,
}

/// A number, or `unlimited`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Many(pub(super) Option<u64>);

/// Parses a number, or `unlimited`.
pub(super) fn number_or_unlimited(text: &str) -> Result<Many, String> {
    match text.parse::<NonZeroU64>() {
        _ if text == "unlimited" => Ok(Many(None)),
        Ok(number) => Ok(Many(Some(number.get()))),
        Err(_) => Err("give a whole number, at least 1, or unlimited".to_owned()),
    }
}

/// A request header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: String,
    pub(super) value: String,
}

/// Parses an output: a path, a `file://` URL, or the URL of an object.
pub(super) fn output() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(objects::located)
}

/// Parses an address, or a network as ADDRESS/BITS.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    let network = text.parse::<IpNet>().or_else(|_| address()).map(canonical);
    let network =
        network.map_err(|_| "give an address or a network, such as 10.0.0.7 or 10.0.0.0/8".to_owned())?;
    if network.addr() == network.network() {
        return Ok(network);
    }
    let (first, bits, address) = (network.network(), network.prefix_len(), network.addr());
    Err(format!("{address} is not the first address of its network; give {first}/{bits} or {address}"))
}

/// Returns a network of IPv4 addresses that are written as IPv6 addresses as what it is.
fn canonical(network: IpNet) -> IpNet {
    let bits = network.prefix_len().checked_sub(96);
    match (network.addr().to_canonical(), bits) {
        (address @ IpAddr::V4(_), Some(bits)) => IpNet::new(address, bits).unwrap_or(network),
        (IpAddr::V4(_) | IpAddr::V6(_), _) => network,
    }
}

/// Parses `auto` or 1 to `max`.
pub(super) fn auto_or(max: u32) -> impl Fn(&str) -> Result<AutoOr, String> + Clone + Send + Sync + 'static {
    move |text| match text {
        "auto" => Ok(AutoOr(None)),
        number => count(number, max)
            .map(|n| AutoOr(Some(n)))
            .ok_or_else(|| format!("give auto, or a whole number from 1 to {max}")),
    }
}

/// Parses `auto`, `unlimited`, or 1 to `max` with or without `auto:` before it.
pub(super) fn limit(max: u32) -> impl Fn(&str) -> Result<Limit, String> + Clone + Send + Sync + 'static {
    move |text| match text {
        "auto" => Ok(Limit::Auto),
        "unlimited" => Ok(Limit::Unlimited),
        other => match other.strip_prefix("auto:") {
            Some(number) => count(number, max).map(Limit::AutoUpTo),
            None => count(other, max).map(Limit::AtMost),
        }
        .ok_or_else(|| {
            format!("give auto, auto:N, unlimited or N, where N is a whole number from 1 to {max}")
        }),
    }
}

fn count(text: &str, max: u32) -> Option<NonZeroU32> {
    text.parse().ok().filter(|n: &NonZeroU32| n.get() <= max)
}

/// Parses a number from 1 to `max`.
pub(super) fn batch(max: u32) -> impl Fn(&str) -> Result<NonZeroU32, String> + Clone + Send + Sync + 'static {
    move |text| count(text, max).ok_or_else(|| format!("give a whole number from 1 to {max}"))
}

/// Parses a command into words as a shell would. No shell runs it.
pub(super) fn command_line(text: &str) -> Result<String, String> {
    match words(text) {
        None => Err("a quote is not closed".to_owned()),
        Some(words) if words.is_empty() => Err("give a command, such as 'jq -c .fields'".to_owned()),
        Some(_) => Ok(text.to_owned()),
    }
}

/// Splits a command line into words. `None` if a quote is not closed.
pub(super) fn words(text: &str) -> Option<Vec<String>> {
    shlex::split(text)
}

/// Parses the number of records per file.
pub(super) fn rows(text: &str) -> Result<NonZeroU64, String> {
    text.replace(['_', ','], "")
        .parse()
        .map_err(|_| "give a whole number from 1 up, such as 100_000".to_owned())
}

/// Parses the maximum number of groups.
pub(super) fn groups(text: &str) -> Result<u64, String> {
    let number = text.replace(['_', ','], "").parse().ok();
    number
        .filter(|n| (1..=u64::from(u32::MAX)).contains(n))
        .ok_or_else(|| format!("give a whole number from 1 to {}", u32::MAX))
}

/// Parses the character between two cells.
pub(super) fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        [byte @ (b'\t' | b' '..=b'~')] if *byte != b'"' && !byte.is_ascii_alphanumeric() => Ok(*byte),
        _ => Err("give one character such as , or ; or | or tab; letters, digits and quotes are not allowed"
            .to_owned()),
    }
}

/// Parses a number of at least 1.
pub(super) fn sample(text: &str) -> Result<NonZeroU64, String> {
    text.parse().map_err(|_| "give a whole number, at least 1".to_owned())
}

/// Parses `Name: value`.
pub(super) fn header(text: &str) -> Result<Header, String> {
    let Some((name, value)) = text.split_once(':') else {
        return Err("give NAME: VALUE, with a colon".to_owned());
    };
    let (name, value) = (name.trim(), value.trim());
    if name.eq_ignore_ascii_case("host") && value.contains('{') {
        return Err("Host cannot have columns".to_owned());
    }
    request_headers::check(name, value).map_err(|error| error.to_string())?;
    Ok(Header { name: name.to_owned(), value: value.to_owned() })
}

/// Parses the name of a header, and returns it in lower case.
pub(super) fn header_name(text: &str) -> Result<String, String> {
    let name = http::HeaderName::from_bytes(text.as_bytes());
    name.map(|name| name.as_str().to_owned())
        .map_err(|_| "give the name of a header, such as ETag".to_owned())
}

/// Parses the value of `--user-agent`.
pub(super) fn user_agent(text: &str) -> Result<String, String> {
    request_headers::check("user-agent", text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

/// Parses `--header-scope`.
pub(super) fn header_scope(text: &str) -> Result<HeaderScope, String> {
    let of = |reach| HeaderScope { reach, ..HeaderScope::default() };
    match text {
        "origin" => return Ok(of(Reach::Origin)),
        "domain" => return Ok(of(Reach::Domain)),
        "any" => return Ok(of(Reach::Any)),
        _ => {}
    }
    let homes: Vec<String> = text.split(',').map(|url| url.trim().to_owned()).collect();
    let is_home = |url: &String| Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    if homes.iter().all(is_home) {
        return Ok(HeaderScope { homes, only_these: true, ..HeaderScope::default() });
    }
    Err("give origin, domain, any, or the origins themselves, such as https://example.com".to_owned())
}

/// Checks one `--select` where its flag or file is still known. All of them are parsed together later, when
/// their names can be compared.
pub(super) fn select(text: &str) -> Result<String, String> {
    Field::parse(text).map(|_| text.to_owned()).map_err(|error| reason(&error))
}

/// Parses `--each`.
pub(super) fn each(text: &str) -> Result<Each, String> {
    Each::parse(text).map_err(|error| reason(&error))
}

/// Parses `--blocked-if`.
pub(super) fn blocked_if(text: &str) -> Result<BlockedIf, String> {
    BlockedIf::parse(text).map_err(|error| reason(&error))
}

/// What is wrong with a value, without the flag and the value itself, which clap names.
fn reason(error: &SelectError) -> String {
    format!("{}, at character {}; {}", error.problem, error.position, error.fix)
}

/// Parses a column's name.
pub(super) fn column(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("give the column's name".to_owned()) } else { Ok(text.to_owned()) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::cli) fn check<T: std::fmt::Debug + PartialEq>(
        parse: impl Fn(&str) -> Result<T, String>,
        good: &[(&str, T)],
        bad: &[(&str, &str)],
    ) {
        for (text, want) in good {
            assert_eq!(parse(text).as_ref(), Ok(want), "{text}");
        }
        for (text, want) in bad {
            let error = parse(text).expect_err(text);
            assert!(error.contains(want), "{text}: {error}");
        }
    }

    fn n(n: u32) -> NonZeroU32 {
        NonZeroU32::new(n).unwrap()
    }

    #[test]
    fn counts() {
        let range = "from 1 to 64";
        check(
            auto_or(64),
            &[("auto", AutoOr(None)), ("1", AutoOr(Some(n(1)))), ("64", AutoOr(Some(n(64))))],
            &[("0", range), ("65", range), ("-1", range), ("1.5", range), ("", range), ("many", range)],
        );
        check(
            limit(64),
            &[
                ("auto", Limit::Auto),
                ("unlimited", Limit::Unlimited),
                ("8", Limit::AtMost(n(8))),
                ("auto:8", Limit::AutoUpTo(n(8))),
            ],
            &[
                ("0", "unlimited"),
                ("none", "unlimited"),
                ("auto:", "auto:N"),
                ("auto:0", "auto:N"),
                ("auto:65", range),
            ],
        );
        check(sample, &[("5", NonZeroU64::new(5).unwrap())], &[("0", "at least 1"), ("x", "at least 1")]);
    }

    #[test]
    fn headers() {
        let good = |name: &str, value: &str| Header { name: name.to_owned(), value: value.to_owned() };
        check(
            header,
            &[
                ("Accept: text/html", good("Accept", "text/html")),
                ("X-Empty:", good("X-Empty", "")),
                ("A:b:c", good("A", "b:c")),
            ],
            &[
                ("Accept", "with a colon"),
                (": x", "not a header name"),
                ("A b: x", "not a header name"),
                ("A: x\r\nB: y", "on one line"),
                ("A: é", "ASCII"),
                ("content-length: 5", "leave it out"),
                ("Transfer-Encoding: chunked", "leave it out"),
                ("Expect: 100-continue", "wait for a permission"),
                ("Upgrade: websocket", "leave it out"),
            ],
        );
        let only = |homes: &[&str]| HeaderScope {
            homes: homes.iter().map(|&home| home.to_owned()).collect(),
            only_these: true,
            ..HeaderScope::default()
        };
        check(
            header_scope,
            &[
                ("origin", HeaderScope::default()),
                ("any", HeaderScope { reach: Reach::Any, ..HeaderScope::default() }),
                ("https://a, http://b:81/c", only(&["https://a", "http://b:81/c"])),
            ],
            &[
                ("none", "give origin"),
                ("example.com", "https://"),
                ("https://a,", "give origin"),
                ("", "any"),
            ],
        );
    }

    #[test]
    fn commands() {
        check(
            command_line,
            &[("jq -c '.a b'", "jq -c '.a b'".to_owned())],
            &[("", "give a command"), ("  ", "give a command"), ("jq '.a", "not closed")],
        );
        assert_eq!(words("a 'b c' d\\ e").unwrap(), ["a", "b c", "d e"]);
        check(batch(9), &[("9", n(9))], &[("0", "from 1 to 9"), ("10", "from 1 to 9")]);
    }

    #[test]
    fn selectors() {
        check(each, &[("$.a", Each::JsonPath("$.a".to_owned()))], &[("h1::text", "at character 3")]);
        check(select, &[("t=h1", "t=h1".to_owned())], &[("h1", "at character"), ("t=h1[", "at character")]);
        check(column, &[("url", "url".to_owned())], &[("", "name")]);
    }
}
