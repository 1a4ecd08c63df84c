//! Takes secrets out of what is shown or passed on: reports, archives, logs, messages, error documents.
//! Everything that may name a flag, a URL or a header of the user's goes through here.
//!
//! Secrets are what a URL has before an `@` in its authority, the values of headers, parameters and flags
//! whose names say so, and what follows `Bearer` or `Basic`. A secret may be anywhere in a text, and the
//! text around it may be malformed: a URL that cannot be parsed is where people look first.
//!
//! Invariant: in doubt, more is taken out than needed. Nothing here fails.

mod quote;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use url::Url;

use self::quote::{Quote, unquoted};

/// What stands in place of a secret.
const HIDDEN: &str = "***";

/// Parts of names whose values are secret, without `-`, `_` and `.`.
const SECRET_PARTS: [&str; 16] = [
    "token",
    "secret",
    "passw",
    "passphrase",
    "pwd",
    "apikey",
    "accesskey",
    "authkey",
    "privatekey",
    "credential",
    "signature",
    "authorization",
    "cookie",
    "session",
    "bearer",
    "jwt",
];

/// Whole names of that kind.
const SECRET_NAMES: [&str; 6] = ["auth", "key", "sig", "sid", "pass", "xauth"];

/// Names of files and directories are shown, also of those that hold a secret.
const PATH_ENDINGS: [&str; 3] = ["file", "path", "dir"];

/// Headers whose values are shown. Any other value may be a secret, whatever its name.
const SHOWN_HEADERS: [&str; 9] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "content-type",
    "origin",
    "pragma",
    "referer",
    "user-agent",
];

/// Schemes of `Authorization`, as they are written. Other spellings are words of prose.
const SCHEMES: [&str; 3] = ["Bearer", "bearer", "Basic"];

/// Schemes of URLs with credentials. Behind any other one, `@` may be part of an expression.
const URL_SCHEMES: [&str; 7] = ["http", "https", "ftp", "socks5", "socks5h", "ws", "wss"];

/// Schemes of addresses, which have an `@` but no credentials.
const ADDRESS_SCHEMES: [&str; 5] = ["acct", "mailto", "sip", "sips", "xmpp"];

/// Digits of the highest port.
const PORT_DIGITS_MAX: usize = 5;

/// Returns one URL, or an input that was meant to be one, with `***` in place of credentials. What has none stays
/// as it is, byte for byte.
#[must_use]
pub fn url(input: &str) -> Cow<'_, str> {
    match Url::parse(input) {
        Ok(url) if url.has_host() && ["", HIDDEN].contains(&url.username()) && url.password().is_none() => {
            Cow::Borrowed(input)
        }
        Ok(mut url) if url.has_host() => {
            // Neither call can fail: the URL has a host.
            let _ = url.set_username(HIDDEN);
            let _ = url.set_password(None);
            Cow::Owned(url.into())
        }
        Ok(_) | Err(_) => match credentials(input) {
            Some((before, host)) => Cow::Owned(format!("{before}{HIDDEN}@{host}")),
            None => Cow::Borrowed(input),
        },
    }
}

/// Finds the credentials of a URL that cannot be parsed. Returns what stands before them, and what stands behind
/// their `@`.
fn credentials(input: &str) -> Option<(&str, &str)> {
    let begins = match input.find(":/") {
        Some(colon) => colon + 1,
        None if input.starts_with("//") => 0,
        None => return of_user("", input),
    };
    let rest = input.get(begins..)?.trim_start_matches('/');
    let (before, _) = input.split_at(input.len() - rest.len());
    let scheme = before.trim_end_matches(['/', ':']).to_ascii_lowercase();
    if !URL_SCHEMES.iter().any(|known| scheme.ends_with(known)) {
        return of_user(before, rest);
    }
    let authority = authority(rest);
    let user = match authority.rsplit_once('@') {
        Some((user, _)) => user,
        // `user:a/b@host`: the text after the colon is not a port, so it is a password with a `/`.
        None if has_port(authority) => return None,
        None => rest.rsplit_once('@')?.0,
    };
    Some((before, rest.get(user.len() + 1..)?))
}

/// Divides what may be an authority without a known scheme. Only a user with a password is meant by it.
fn of_user<'a>(before: &'a str, rest: &'a str) -> Option<(&'a str, &'a str)> {
    let (user, _) = authority(rest).rsplit_once('@')?;
    has_password(user).then_some((before, rest.get(user.len() + 1..)?))
}

/// Returns what stands before the path, the query and the fragment.
fn authority(rest: &str) -> &str {
    rest.find(['/', '?', '#']).and_then(|end| rest.get(..end)).unwrap_or(rest)
}

/// Whether an authority without `@` is a host, perhaps with a port.
fn has_port(authority: &str) -> bool {
    authority.starts_with('[')
        || authority.split_once(':').is_none_or(|(_, port)| {
            port.len() <= PORT_DIGITS_MAX && port.bytes().all(|digit| digit.is_ascii_digit())
        })
}

/// Whether what stands before an `@` without a URL's scheme is a user with a password. `bob` is the user of an
/// address, as in `mailto:bob`; `12:30` is a time; and `a:b[` is the beginning of an XPath.
fn has_password(user: &str) -> bool {
    let Some((name, _)) = user.split_once(':') else { return false };
    let scheme = name.rsplit(|letter: char| !letter.is_ascii_alphanumeric()).next().unwrap_or_default();
    let is_address = ADDRESS_SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known));
    let is_time = user
        .split(':')
        .all(|part| matches!(part.len(), 1..=2) && part.bytes().all(|digit| digit.is_ascii_digit()));
    !is_address && !is_time && !user.ends_with(['[', '(', ' '])
}

/// Returns a text without the secrets in it.
#[must_use]
pub fn text(text: &str) -> Cow<'_, str> {
    let urls = urls_in(text);
    let shown = values_in(&urls);
    if shown == text { Cow::Borrowed(text) } else { Cow::Owned(shown) }
}

/// Returns a command line as it may be shown.
#[must_use]
pub fn command_line<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let mut shown: Vec<String> = Vec::new();
    let mut before = Before::Nothing;
    for word in words {
        let (text, next) = match before {
            Before::Header => (header(word), Before::Nothing),
            Before::Body => (body(word).into_owned(), Before::Nothing),
            Before::Secret => (HIDDEN.to_owned(), Before::Nothing),
            Before::Nothing => flag(word),
        };
        shown.push(text);
        before = next;
    }
    shown.join(" ")
}

/// What the word before asks for.
#[derive(Clone, Copy)]
enum Before {
    Nothing,
    Header,
    Body,
    Secret,
}

/// Flags whose values are bodies of requests.
const BODY_FLAGS: [&str; 6] = ["-d", "--data", "--json", "--request-json", "--login", "--profile"];

/// Returns a body as it may be shown: only the name of a file.
fn body(value: &str) -> Cow<'_, str> {
    if value.starts_with('@') { Cow::Owned(text(&url(value)).into_owned()) } else { Cow::Borrowed(HIDDEN) }
}

/// Returns a word of a command line as it may be shown, and what it says about the next word.
fn flag(word: &str) -> (String, Before) {
    if let Some(value) = word.strip_prefix("--header=") {
        return (format!("--header={}", header(value)), Before::Nothing);
    }
    match word.strip_prefix("-H") {
        Some("") => return (word.to_owned(), Before::Header),
        Some(value) => return (format!("-H{}", header(value)), Before::Nothing),
        None if word == "--header" => return (word.to_owned(), Before::Header),
        None => {}
    }
    if let Some((name, value)) = word.split_once('=')
        && BODY_FLAGS.contains(&name)
    {
        return (format!("{name}={}", body(value)), Before::Nothing);
    }
    if BODY_FLAGS.contains(&word) {
        return (word.to_owned(), Before::Body);
    }
    if let Some(value) = word.strip_prefix("-d").filter(|_| !word.starts_with("--")) {
        return (format!("-d{}", body(value)), Before::Nothing);
    }
    if word.starts_with('-') && !word.contains('=') && is_secret_name(word) {
        return (word.to_owned(), Before::Secret);
    }
    // The word as a whole first: a password may contain spaces.
    (text(&url(word)).into_owned(), Before::Nothing)
}

/// Returns the value of a field of this name as it may be shown.
#[must_use]
pub fn field<'a>(name: &str, value: &'a str) -> Cow<'a, str> {
    if is_secret_name(name) { Cow::Borrowed(HIDDEN) } else { text(value) }
}

/// Returns a header, or a text that was meant to be one, as it may be shown: often without its value.
#[must_use]
pub fn header(header: &str) -> String {
    match header.split_once(':') {
        Some((name, value)) if SHOWN_HEADERS.iter().any(|shown| name.trim().eq_ignore_ascii_case(shown)) => {
            format!("{name}:{}", text(value))
        }
        Some((name, _)) if is_header_name(name.trim()) => format!("{name}: {HIDDEN}"),
        Some(_) | None => HIDDEN.to_owned(),
    }
}

fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 40 && name.chars().all(is_name_char)
}

const fn is_name_char(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.')
}

/// Whether a header, parameter or flag of this name has a secret value.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    let name: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect();
    !PATH_ENDINGS.iter().any(|ending| name.ends_with(ending))
        && (SECRET_NAMES.contains(&name.as_str()) || SECRET_PARTS.iter().any(|part| name.contains(part)))
}

/// Returns a text without the credentials of its URLs.
fn urls_in(text: &str) -> Cow<'_, str> {
    if !text.contains('@') {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for piece in text.split_inclusive(is_separator) {
        // The backslashes of an escaped quote are no part of the URL before it.
        let word = piece.trim_end_matches(is_separator).trim_end_matches('\\');
        if word.contains('@') {
            url_in(word, &mut shown)
        } else {
            shown.push_str(word)
        }
        shown.push_str(piece.get(word.len()..).unwrap_or_default());
    }
    Cow::Owned(shown)
}

/// Adds a word that has a URL in it, which need not begin it.
fn url_in(word: &str, shown: &mut String) {
    let begins = word.find("://").map_or(0, |at| {
        let (before, _) = word.split_at(at);
        before.trim_end_matches(|letter: char| letter.is_ascii_alphanumeric() || "+.-".contains(letter)).len()
    });
    let (before, rest) = word.split_at(begins);
    shown.push_str(before);
    // Punctuation behind it would become part of a path.
    shown.push_str(&url(rest));
}

const fn is_separator(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '"' | '\'' | '`' | '<' | '>' | '(' | ')' | '{' | '}')
}

/// Returns a text without the values whose names say that they are secret.
fn values_in(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let begins = rest.find(is_name_char).unwrap_or(rest.len());
        let (gap, at_name) = rest.split_at(begins);
        shown.push_str(gap);
        let ends = at_name.find(|letter| !is_name_char(letter)).unwrap_or(at_name.len());
        let (name, after) = at_name.split_at(ends);
        shown.push_str(name);
        rest = match value_of(name, after) {
            Some((between, value, end)) => {
                shown.push_str(between);
                if !value.is_empty() {
                    shown.push_str(HIDDEN);
                }
                end
            }
            None => after,
        };
    }
    shown
}

/// Divides what follows a name into what stands before its secret value, the value, and the rest. If the value ends
/// with a secret name, as it does behind a stray quote or sign, then what belongs to that name is part of the value.
fn value_of<'a>(name: &str, after: &'a str) -> Option<(&'a str, &'a str, &'a str)> {
    let (between, _, mut end) = assigned(name, after)?;
    let (_, from_value) = after.split_at(between.len());
    loop {
        let (value, _) = from_value.split_at(from_value.len() - end.len());
        let named = value.trim_end_matches(|letter| !is_name_char(letter));
        let name = named.rsplit(|letter| !is_name_char(letter)).next().unwrap_or_default();
        match from_value.get(named.len()..).and_then(|follows| assigned(name, follows)) {
            Some((_, _, rest)) if rest.len() < end.len() => end = rest,
            _ => return Some((between, value, end)),
        }
    }
}

/// Divides what follows a name as if its value ended where it seems to.
fn assigned<'a>(name: &str, after: &'a str) -> Option<(&'a str, &'a str, &'a str)> {
    if SCHEMES.contains(&name) {
        let value = after.strip_prefix(' ')?.trim_start_matches(' ');
        return divided(after, value, unquoted(value, char::is_whitespace));
    }
    if !is_secret_name(name) {
        return None;
    }
    // `"name": "value"`, `name=value`, `Name: value`, `?name=value&…`; percent-encoded too.
    let closed = Quote::at(after);
    let sign = closed.as_ref().map_or(after, |(_, rest)| rest).trim_start_matches(' ');
    let value = sign.strip_prefix(['=', ':']).or_else(|| strip_escaped(sign))?;
    let is_header = name.contains('-')
        || ["authorization", "cookie"].iter().any(|known| name.eq_ignore_ascii_case(known));
    if sign.starts_with(':') && closed.is_none() && !is_header {
        return None;
    }
    let value = value.trim_start_matches(' ');
    if let Some((quote, quoted)) = Quote::at(value) {
        return divided(after, quoted, quote.end(quoted));
    }
    let ends = if sign.starts_with(':') {
        // A header's value has spaces in it.
        unquoted(value, |letter| letter == '\n' || letter == '\r')
    } else {
        unquoted(value, |letter| letter.is_whitespace() || matches!(letter, '&' | ';' | '#'))
    };
    divided(after, value, ends)
}

/// Removes a percent-encoded `=`.
fn strip_escaped(text: &str) -> Option<&str> {
    text.strip_prefix("%3D").or_else(|| text.strip_prefix("%3d"))
}

/// Divides `after` at the beginning of `value`, which is its end, and at the end of the value.
fn divided<'a>(after: &'a str, value: &'a str, ends: usize) -> Option<(&'a str, &'a str, &'a str)> {
    let between = after.get(..after.len().checked_sub(value.len())?)?;
    Some((between, value.get(..ends)?, value.get(ends..)?))
}
