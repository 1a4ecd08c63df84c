//! Traps: sites that make up addresses without end. Pages of one shape are watched together, and a path that repeats
//! itself is not followed.

use std::borrow::Cow;
use std::hash::Hasher as _;

use rustc_hash::FxHasher;

/// Characters from which on a word that is no name stands for any other.
const LONG: usize = 32;

/// Characters from which on a word of hexadecimal digits, with a number in it, stands for any other.
const HEX: usize = 8;

/// How often a part of a path may follow itself.
const REPEATS_MAX: usize = 3;

/// Returns what is alike in the addresses of one kind of page: the host, the path with numbers, identifiers and long
/// words replaced, and the names of the parameters in order.
#[must_use]
pub fn shape(url: &str) -> String {
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let (host, path) = split_host(address);
    let mut shape = host.to_owned();
    for segment in path.split('/').skip(1) {
        shape.push('/');
        shape.push_str(&general(segment));
    }
    let mut names: Vec<_> = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default()).collect();
    names.retain(|name| !name.is_empty());
    names.sort_unstable();
    names.dedup();
    if !names.is_empty() {
        shape.push('?');
        shape.push_str(&names.join("&"));
    }
    shape
}

/// Whether a part of the path, of one or more segments, follows itself three times. Numbers may.
#[must_use]
pub fn repeats(url: &str) -> bool {
    let address = url.split('?').next().unwrap_or_default();
    let (_, path) = split_host(address);
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    (1..=segments.len() / REPEATS_MAX).any(|length| {
        segments.windows(length * REPEATS_MAX).any(|window| {
            let mut parts = window.chunks(length);
            let first = parts.next().unwrap_or_default();
            let has_name = first.iter().any(|segment| segment.bytes().any(|byte| !byte.is_ascii_digit()));
            has_name && parts.all(|part| part == first)
        })
    })
}

/// Returns a hash of the words of a page, without its numbers and its markup. Two pages with one hash differ in nothing
/// that a reader would call their contents.
#[must_use]
pub fn words(page: &[u8]) -> u64 {
    let (mut hasher, mut is_markup, mut is_gap) = (FxHasher::default(), false, true);
    for byte in page {
        match byte {
            b'<' => is_markup = true,
            b'>' => is_markup = false,
            _ if is_markup => {}
            byte if byte.is_ascii_alphabetic() || !byte.is_ascii() => {
                hasher.write_u8(*byte);
                is_gap = false;
                continue;
            }
            _ => {}
        }
        if !is_gap {
            hasher.write_u8(b' ');
            is_gap = true;
        }
    }
    hasher.finish()
}

/// Returns a hash of a shape.
#[must_use]
pub fn hash(shape: &str) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(shape.as_bytes());
    hasher.finish()
}

fn split_host(address: &str) -> (&str, &str) {
    let start = address.find("://").map_or(0, |at| at + 3);
    let path = address.get(start..).and_then(|rest| rest.find('/')).map_or(address.len(), |at| start + at);
    address.split_at_checked(path).unwrap_or((address, ""))
}

/// Returns a segment with what may differ from page to page replaced.
fn general(segment: &str) -> Cow<'_, str> {
    let has_digit = segment.bytes().any(|byte| byte.is_ascii_digit());
    if segment.len() >= LONG {
        return "*".into();
    }
    if !has_digit {
        return segment.into();
    }
    if segment.len() >= HEX && segment.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') {
        return "*".into();
    }
    let mut general = String::with_capacity(segment.len());
    for letter in segment.chars() {
        match letter {
            '0'..='9' if general.ends_with('0') => {}
            '0'..='9' => general.push('0'),
            letter => general.push(letter),
        }
    }
    general.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_kind_have_one_shape() {
        for (url, want) in [
            ("http://a/", "http://a/"),
            ("http://a:81", "http://a:81"),
            ("http://a/2024/05-31/x1y22.html", "http://a/0/0-0/x0y0.html"),
            ("http://a/item/3f2a9c1e0b/show", "http://a/item/*/show"),
            ("http://a/item/deadbeef", "http://a/item/deadbeef"),
            ("http://a/x?b=1&a=2&b=3&&c", "http://a/x?a&b&c"),
            ("http://a/how-to-make-a-very-long-title-of-a-page.html", "http://a/*"),
        ] {
            assert_eq!(shape(url), want);
        }
    }

    #[test]
    fn a_path_that_repeats_itself_is_noticed() {
        for (url, want) in [
            ("http://a/x/x/x", true),
            ("http://a/b/x/y/x/y/x/y/c", true),
            ("http://a/x/x/y/x", false),
            ("http://a/1/1/1", false),
            ("http://a/x/x?p=/x/x/x", false),
            ("http://a/", false),
        ] {
            assert_eq!(repeats(url), want, "{url}");
        }
    }

    #[test]
    fn pages_that_differ_in_numbers_have_the_same_words() {
        let page = |day: u32| words(format!("<a href='/{day}'>Day {day}</a>, no event").as_bytes());
        assert_eq!(page(1), page(31));
        assert_ne!(page(1), words(b"Day 1, one event"));
    }
}
