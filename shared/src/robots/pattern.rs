//! The spelling of paths and patterns, and which patterns match a path.

use std::borrow::Cow;

/// Writes a path or a pattern in one spelling (RFC 9309 § 2.2.2): unreserved characters plain, all else that is encoded
/// in upper case, and what cannot be in a URL encoded.
pub(super) fn normalise(text: &[u8]) -> Cow<'_, str> {
    let plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'%' && !must_be_encoded(*byte);
    if text.iter().all(plain)
        && let Ok(text) = str::from_utf8(text)
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let encoded = if byte == b'%' { after.split_first_chunk().and_then(decode) } else { None };
        match encoded {
            Some((byte, after)) => {
                rest = after;
                let unreserved = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
                push(byte, !unreserved, &mut out);
            }
            None => push(byte, !byte.is_ascii_graphic() || must_be_encoded(byte), &mut out),
        }
    }
    Cow::Owned(out)
}

/// Whether the URL parser encodes this printable character in a path or a query.
const fn must_be_encoded(byte: u8) -> bool {
    matches!(byte, b'"' | b'<' | b'>' | b'`' | b'{' | b'}')
}

fn decode<'a>((digits, after): (&[u8; 2], &'a [u8])) -> Option<(u8, &'a [u8])> {
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    Some((u8::try_from(high? * 16 + low?).ok()?, after))
}

fn push(byte: u8, encoded: bool, out: &mut String) {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    if !encoded {
        return out.push(char::from(byte));
    }
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or('0');
    out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
}

/// Whether a pattern matches a path: `*` stands for any text, and `$` at the end for the end of the path. Otherwise a
/// pattern matches what it begins. Takes each part where it comes first, so it never goes back.
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, to_end) = pattern.strip_suffix('$').map_or((pattern, false), |pattern| (pattern, true));
    let Some((first, parts)) = pattern.split_once('*') else {
        return if to_end { path == pattern } else { path.starts_with(pattern) };
    };
    let Some(mut rest) = path.strip_prefix(first) else { return false };
    let (middle, last) = parts.rsplit_once('*').unwrap_or(("", parts));
    for part in middle.split('*') {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    if to_end { rest.ends_with(last) } else { rest.contains(last) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The greedy matcher finds what trying every place finds.
        #[test]
        fn matching_agrees_with_trying_everything(pattern in "/[ab*$]{0,8}", path in "/[ab$]{0,10}") {
            fn all(pattern: &[u8], path: &[u8]) -> bool {
                match pattern {
                    [] => true,
                    b"$" => path.is_empty(),
                    [b'*', rest @ ..] => (0..=path.len()).any(|at| all(rest, &path[at..])),
                    [byte, rest @ ..] => path.first() == Some(byte) && all(rest, &path[1..]),
                }
            }
            prop_assert_eq!(matches(&pattern, &path), all(pattern.as_bytes(), path.as_bytes()));
        }
    }
}
