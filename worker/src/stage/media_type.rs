//! Reads `Content-Type` lines as browsers do: "extract a MIME type" of the Fetch standard and "parse a MIME type"
//! of the MIME Sniffing standard.

/// A media type, reduced to the parts used here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MediaType {
    /// Type and subtype, in lower case.
    pub(crate) essence: String,
    /// The `charset` parameter.
    pub(crate) charset: Option<String>,
}

impl MediaType {
    /// Reads a header value, or the values of several lines joined by commas. The last valid media type counts. If
    /// it has no charset, it takes the charset of an earlier one with the same essence.
    pub(crate) fn extract(header: &str) -> Option<Self> {
        let mut found: Option<Self> = None;
        for value in split(header, ',') {
            let Some(mut next) = Self::parse(value) else { continue };
            if next.essence == "*/*" {
                continue;
            }
            if let Some(before) = found.filter(|before| before.essence == next.essence) {
                next.charset = next.charset.or(before.charset);
            }
            found = Some(next);
        }
        found
    }

    fn parse(value: &str) -> Option<Self> {
        let mut parts = split(value, ';');
        let (kind, subtype) = parts.next()?.trim_matches(is_space).split_once('/')?;
        if !is_token(kind) || !is_token(subtype) {
            return None;
        }
        let mut parameters = parts.filter_map(|parameter| parameter.split_once('='));
        let charset = parameters.find_map(|(name, value)| {
            let is_charset = name.trim_matches(is_space).eq_ignore_ascii_case("charset");
            let value = if is_charset { unquoted(value.trim_matches(is_space)) } else { String::new() };
            (!value.is_empty()).then_some(value)
        });
        Some(Self { essence: format!("{kind}/{subtype}").to_ascii_lowercase(), charset })
    }
}

/// Splits a text at separators outside quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c| {
        let is_escaped = std::mem::take(&mut escaped);
        match c {
            '"' if !is_escaped => quoted = !quoted,
            '\\' if quoted => escaped = !is_escaped,
            c => return c == separator && !quoted,
        }
        false
    })
}

/// Removes the quotes around a value, and anything after the closing quote.
fn unquoted(value: &str) -> String {
    let Some(inside) = value.strip_prefix('"') else { return value.to_owned() };
    let mut text = String::new();
    let mut characters = inside.chars();
    while let Some(character) = characters.next().filter(|character| *character != '"') {
        if character == '\\' {
            text.push(characters.next().unwrap_or('\\'));
        } else {
            text.push(character);
        }
    }
    text
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_token(text: &str) -> bool {
    let is_of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_of_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_browsers_read_them() {
        for (header, want) in [
            ("text/html", Some(("text/html", None))),
            ("text/html; charset=utf-8", Some(("text/html", Some("utf-8")))),
            ("Text/HTML;CHARSET=\"Shift_JIS\"", Some(("text/html", Some("Shift_JIS")))),
            (" text/html ;\tcharset=gbk ", Some(("text/html", Some("gbk")))),
            ("text/html; boundary=x; charset = koi8-r ", Some(("text/html", Some("koi8-r")))),
            ("application/ld+json;profile=\"a;charset=gbk\"", Some(("application/ld+json", None))),
            // Parameters and separators inside quotes do not count.
            ("text/html; boundary=\"; charset=gbk\"", Some(("text/html", None))),
            ("text/html; boundary=\"; charset=gbk\"; charset=utf-8", Some(("text/html", Some("utf-8")))),
            ("text/html; title=\"a\\\"; charset=gbk\"; charset=big5", Some(("text/html", Some("big5")))),
            ("text/html; title=\"a, text/plain\"; charset=big5", Some(("text/html", Some("big5")))),
            ("text/html; charset=\"utf\\-8\"", Some(("text/html", Some("utf-8")))),
            ("text/html; charset=\"gbk\"x", Some(("text/html", Some("gbk")))),
            ("text/html; charset=\"gbk", Some(("text/html", Some("gbk")))),
            // The first charset counts. One that is empty or has no value does not.
            ("text/html; charset=gbk; charset=utf-8", Some(("text/html", Some("gbk")))),
            ("text/html; charset; charset=; charset=\"\"; charset=utf-8", Some(("text/html", Some("utf-8")))),
            ("text/html;;; charset=utf-8;", Some(("text/html", Some("utf-8")))),
            ("text/html; xcharset=utf-8", Some(("text/html", None))),
            // Several lines, or a list.
            ("text/plain, text/html; charset=gbk", Some(("text/html", Some("gbk")))),
            ("text/html; charset=gbk, text/html", Some(("text/html", Some("gbk")))),
            ("text/html; charset=gbk, text/html; x=y", Some(("text/html", Some("gbk")))),
            ("text/html; charset=gbk, TEXT/html; charset=utf-8", Some(("text/html", Some("utf-8")))),
            ("text/html; charset=gbk, text/plain", Some(("text/plain", None))),
            ("text/html; charset=gbk, text/plain, text/html", Some(("text/html", None))),
            ("text/html; charset=gbk, */*", Some(("text/html", Some("gbk")))),
            ("text/html; charset=gbk, nonsense", Some(("text/html", Some("gbk")))),
            (",text/html,", Some(("text/html", None))),
            ("text/html; x=\", application/json", Some(("text/html", None))),
            ("", None),
            ("charset=utf-8", None),
            ("text", None),
            ("text/", None),
            ("te xt/html", None),
            ("text/html charset=utf-8", None),
        ] {
            let got = MediaType::extract(header);
            let want = want.map(|(essence, charset)| MediaType {
                essence: essence.to_owned(),
                charset: charset.map(str::to_owned),
            });
            assert_eq!(got, want, "{header}");
        }
    }
}
