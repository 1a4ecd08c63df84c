//! Takes secrets out of what is shown or passed on: reports, archives, logs, messages, error documents.
//! Everything that may name a flag, a URL or a header of the user's goes through here.
//!
//! Secrets are what a URL has before an `@` in its authority, the values of headers, parameters and flags
//! whose names say so, and what follows `Bearer` or `Basic`. A secret may be anywhere in a text, and the
//! text around it may be malformed: a URL that cannot be parsed is where people look first.
//!
//! Invariant: in doubt, more is taken out than needed. Nothing here fails.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use url::Url;

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

/// Returns one URL, or an input that was meant to be one, without credentials. What has none stays as it
/// is, byte for byte.
#[must_use]
pub fn url(input: &str) -> Cow<'_, str> {
    match Url::parse(input) {
        Ok(url) if url.has_host() && url.username().is_empty() && url.password().is_none() => {
            Cow::Borrowed(input)
        }
        Ok(mut url) if url.has_host() => {
            // Neither call can fail: the URL has a host.
            let _ = url.set_username("");
            let _ = url.set_password(None);
            Cow::Owned(url.into())
        }
        Ok(_) | Err(_) => without_userinfo(input),
    }
}

/// Takes out whatever may be credentials of a URL that cannot be parsed: everything before the last `@`.
fn without_userinfo(input: &str) -> Cow<'_, str> {
    let (scheme, rest) = match input.find("//") {
        Some(at) => input.split_at(at + 2),
        None => ("", input),
    };
    let name = scheme.trim_end_matches("//").trim_end_matches(':').to_ascii_lowercase();
    let is_known = URL_SCHEMES.iter().any(|known| name.ends_with(known));
    // `example.com/@name` is a path, and `//a/@href` an XPath.
    let mut ats =
        rest.char_indices().rev().filter(|(_, letter)| *letter == '@').map(|(at, _)| rest.split_at(at));
    let divided = ats.find(|(user, _)| is_known || !user.ends_with(['/', '[', '(', ' ']));
    match divided {
        Some((_, host)) => Cow::Owned(format!("{scheme}{}", host.trim_start_matches('@'))),
        None => Cow::Borrowed(input),
    }
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
    Secret,
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
    if word.starts_with('-') && !word.contains('=') && is_secret_name(word) {
        return (word.to_owned(), Before::Secret);
    }
    // The word as a whole first: a password may contain spaces.
    let is_url = has_user(word);
    let shown = if is_url { url(word) } else { Cow::Borrowed(word) };
    (text(&shown).into_owned(), Before::Nothing)
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
        let (word, separator) = match piece.char_indices().next_back() {
            Some((at, last)) if is_separator(last) => piece.split_at(at),
            Some(_) | None => (piece, ""),
        };
        // A word without a scheme has credentials only if they have two parts; `a@b` is an address.
        let is_meant = word.contains("//") || has_user(word);
        if is_meant {
            url_in(word, &mut shown)
        } else {
            shown.push_str(word)
        }
        shown.push_str(separator);
    }
    Cow::Owned(shown)
}

/// Whether a word without a scheme seems to have credentials. Paths may have the same letters in them.
fn has_user(word: &str) -> bool {
    let user = word.split_once('@').map(|(user, _)| user);
    user.is_some_and(|user| user.contains(':')) && (word.contains("://") || !word.starts_with(['/', '.']))
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

/// Divides what follows a name into what stands before its secret value, the value, and the rest.
fn value_of<'a>(name: &str, after: &'a str) -> Option<(&'a str, &'a str, &'a str)> {
    if SCHEMES.contains(&name) {
        let value = after.strip_prefix(' ')?.trim_start_matches(' ');
        return divided(after, value, |letter| letter.is_whitespace() || is_quote(letter));
    }
    if !is_secret_name(name) {
        return None;
    }
    // `"name": "value"`, `name=value`, `Name: value`, `?name=value&…`; percent-encoded too.
    let closed = after.strip_prefix(is_quote);
    let sign = closed.unwrap_or(after).trim_start_matches(' ');
    let value = sign.strip_prefix(['=', ':']).or_else(|| strip_escaped(sign))?;
    let is_header = name.contains('-')
        || ["authorization", "cookie"].iter().any(|known| name.eq_ignore_ascii_case(known));
    if sign.starts_with(':') && closed.is_none() && !is_header {
        return None;
    }
    let value = value.trim_start_matches(' ');
    if let Some(quoted) = value.strip_prefix(is_quote) {
        let quote = value.chars().next();
        return divided(after, quoted, |letter| Some(letter) == quote);
    }
    if sign.starts_with(':') {
        // A header's value has spaces in it.
        return divided(after, value, |letter| letter == '\n' || letter == '\r' || is_quote(letter));
    }
    divided(after, value, |letter| {
        letter.is_whitespace() || is_quote(letter) || matches!(letter, '&' | ';' | '#')
    })
}

/// Removes a percent-encoded `=`.
fn strip_escaped(text: &str) -> Option<&str> {
    text.strip_prefix("%3D").or_else(|| text.strip_prefix("%3d"))
}

/// Divides `after` at the beginning of `value`, which is its end, and at the end of the value.
fn divided<'a>(
    after: &'a str,
    value: &'a str,
    is_end: impl Fn(char) -> bool,
) -> Option<(&'a str, &'a str, &'a str)> {
    let between = after.get(..after.len().checked_sub(value.len())?)?;
    let (value, end) = value.split_at(value.find(is_end).unwrap_or(value.len()));
    Some((between, value, end))
}

const fn is_quote(letter: char) -> bool {
    matches!(letter, '"' | '\'' | '`')
}
