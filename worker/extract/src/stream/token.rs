//! Cuts UTF-8 bytes into tags and text according to the HTML standard's tokenizer,
//! and skips what no caller needs.
//!
//! Every function reads the input from a position and returns `None` if the token
//! is incomplete. Nothing is kept between calls. The caller knows whether the input
//! ends there.

use std::ops::Range;

use memchr::{memchr, memmem};

use super::tag::Key;

/// What a `<` begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Markup {
    /// A start tag, with the range of its name. Its attributes begin where the name ends.
    Start(Range<usize>),
    /// An end tag, with the range of its name.
    End(Range<usize>),
    /// A doctype declaration: the range of the text after the word, and where the declaration ends.
    Doctype(Range<usize>, usize),
    /// `<![CDATA[`: text inside SVG and MathML, a comment elsewhere; with the end of that comment.
    Cdata(usize),
    /// A comment, or what is treated as one, with its end.
    Comment(usize),
    /// Nothing: the `<` is text.
    Text,
}

/// Reads the token that begins with the `<` at `at`.
pub(super) fn markup(data: &[u8], at: usize) -> Option<Markup> {
    let rest = data.get(at + 1..)?;
    Some(match rest.first()? {
        b'a'..=b'z' | b'A'..=b'Z' => Markup::Start(name(data, at + 1)?),
        b'/' => match rest.get(1)? {
            b'a'..=b'z' | b'A'..=b'Z' => Markup::End(name(data, at + 2)?),
            _ => Markup::Comment(at + 1 + memchr(b'>', rest)? + 1),
        },
        b'!' => return declaration(data, at),
        b'?' => Markup::Comment(at + 1 + memchr(b'>', rest)? + 1),
        _ => Markup::Text,
    })
}

fn name(data: &[u8], start: usize) -> Option<Range<usize>> {
    let rest = data.get(start..)?;
    Some(start..start + rest.iter().position(|byte| ends_name(*byte))?)
}

#[inline]
fn ends_name(byte: u8) -> bool {
    matches!(byte, b'>' | b'/') || is_space(byte)
}

/// White space in the sense of the HTML standard.
#[inline]
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\t' | b'\r' | b'\x0C')
}

fn declaration(data: &[u8], at: usize) -> Option<Markup> {
    let start = at + 2;
    let rest = data.get(start..)?;
    if let Some(comment) = rest.strip_prefix(b"--") {
        return Some(Markup::Comment(start + 2 + comment_end(comment)?));
    }
    let end = memchr(b'>', rest)?;
    if rest.get(..7).is_some_and(|word| word.eq_ignore_ascii_case(b"doctype")) {
        // The word may end with `>`, but not contain it.
        return Some(Markup::Doctype(start + 7..start + end, start + end + 1));
    }
    if rest.starts_with(b"[CDATA[") {
        return Some(Markup::Cdata(start + end + 1));
    }
    Some(Markup::Comment(start + end + 1))
}

/// The end of the comment whose content starts at the beginning of `comment`.
fn comment_end(comment: &[u8]) -> Option<usize> {
    if comment.starts_with(b">") {
        return Some(1);
    }
    if comment.starts_with(b"->") {
        return Some(2);
    }
    let mut at = 0;
    loop {
        at += memmem::find(comment.get(at..)?, b"--")? + 2;
        match comment.get(at..)? {
            [b'>', ..] => return Some(at + 1),
            [b'!', b'>', ..] => return Some(at + 2),
            [b'!'] | [] => return None,
            // A third dash may be the second one of the end of the comment.
            _ => at -= 1,
        }
    }
}

/// The position of the first `needle`. Most texts and values are so short that a call
/// of `memchr` would cost more.
#[inline]
pub(super) fn find(needle: u8, haystack: &[u8]) -> Option<usize> {
    const NEAR: usize = 32;
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let wanted = ONES * u64::from(needle);
    let mut at = 0;
    while at < NEAR {
        let Some(bytes) = haystack.get(at..).and_then(<[u8]>::first_chunk) else {
            break;
        };
        // A byte of `different` is zero where the needle is. The lowest such byte sets its top bit in `hits`.
        let different = u64::from_le_bytes(*bytes) ^ wanted;
        let hits = different.wrapping_sub(ONES) & !different & (ONES << 7);
        if hits != 0 {
            return Some(at + hits.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    memchr(needle, haystack.get(at..)?).map(|found| at + found)
}

/// One attribute of a start tag, as ranges of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attribute {
    name: Range<usize>,
    value: Range<usize>,
}

/// The attributes of the current start tag.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes<'a> {
    pub(super) data: &'a [u8],
    pub(super) list: &'a [Attribute],
}

impl<'a> Attributes<'a> {
    /// The attributes of an element without a tag.
    pub(super) const NONE: Attributes<'static> = Attributes { data: &[], list: &[] };

    pub(super) fn is_empty(self) -> bool {
        self.list.is_empty()
    }

    /// The raw value of an attribute, by its name in lower case. Of two with
    /// the same name the first counts.
    pub(super) fn get(self, name: &str) -> Option<&'a [u8]> {
        self.list
            .iter()
            .find(|attribute| {
                let written = self.data.get(attribute.name.clone());
                written.is_some_and(|written| written.eq_ignore_ascii_case(name.as_bytes()))
            })
            .and_then(|attribute| self.data.get(attribute.value.clone()))
    }
}

/// The end of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TagEnd {
    /// The position after the `>`.
    pub(super) at: usize,
    /// The tag ended with `/>`.
    pub(super) is_self_closing: bool,
}

/// Finds the end of the tag whose name ends at `at`, whatever its attributes are.
#[inline]
pub(super) fn skip_attributes(data: &[u8], at: usize) -> Option<usize> {
    if data.get(at) == Some(&b'>') {
        return Some(at + 1);
    }
    attributes(data, at, &mut |_| {}).map(|end| end.at)
}

/// Reads the attributes of the tag whose name ends at `at`, and finds its end.
pub(super) fn attributes(data: &[u8], mut at: usize, each: &mut impl FnMut(Attribute)) -> Option<TagEnd> {
    loop {
        at = skip_spaces(data, at)?;
        match data.get(at)? {
            b'>' => {
                return Some(TagEnd { at: at + 1, is_self_closing: false });
            }
            b'/' => {
                at += 1;
                if data.get(at)? == &b'>' {
                    return Some(TagEnd { at: at + 1, is_self_closing: true });
                }
                continue;
            }
            _ => {}
        }
        // A name may start with `=`, so its first byte is not checked.
        let rest = data.get(at + 1..)?;
        let name = at..at + 1 + rest.iter().position(|byte| ends_name(*byte) || *byte == b'=')?;
        at = skip_spaces(data, name.end)?;
        if data.get(at)? != &b'=' {
            each(Attribute { value: name.end..name.end, name });
            continue;
        }
        at = skip_spaces(data, at + 1)?;
        let (value, end) = match data.get(at)? {
            quote @ (b'"' | b'\'') => {
                let end = at + 1 + find(*quote, data.get(at + 1..)?)?;
                (at + 1..end, end + 1)
            }
            b'>' => (at..at, at),
            _ => {
                let rest = data.get(at..)?;
                let end = at + rest.iter().position(|byte| *byte == b'>' || is_space(*byte))?;
                (at..end, end)
            }
        };
        each(Attribute { name, value });
        at = end;
    }
}

fn skip_spaces(data: &[u8], at: usize) -> Option<usize> {
    Some(at + data.get(at..)?.iter().position(|byte| !is_space(*byte))?)
}

/// Elements whose content is not markup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RawText {
    /// `title`, `textarea`: entities are decoded.
    WithEntities,
    /// `style`, `xmp`, `iframe`, `noembed`, `noframes`.
    Plain,
    /// `script`.
    Script,
}

/// The end of raw text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RawEnd {
    /// The position where the text ends and its end tag starts.
    pub(super) text: usize,
    /// The position where the name of the end tag ends.
    pub(super) name: usize,
}

/// Finds the end tag of the raw text that starts at `at`.
pub(super) fn raw_text_end(
    data: &[u8],
    at: usize,
    kind: RawText,
    key: Key,
    name_len: usize,
) -> Option<RawEnd> {
    if kind == RawText::Script {
        return script_end(data, at);
    }
    let mut from = at;
    loop {
        from += memchr(b'<', data.get(from..)?)?;
        if let Some(name) = end_tag_named(data, from, key, name_len) {
            return Some(RawEnd { text: from, name });
        }
        from += 1;
    }
}

/// If `</name` and a byte that ends the name are at `at`: the position after the name.
fn end_tag_named(data: &[u8], at: usize, key: Key, name_len: usize) -> Option<usize> {
    let name = data.get(at..)?.strip_prefix(b"</")?;
    let written = name.get(..name_len)?;
    (ends_name(*name.get(name_len)?) && Key::of(written) == key).then_some(at + 2 + name_len)
}

/// A script may be inside a comment, and there contain `<script>…</script>` as text.
fn script_end(data: &[u8], at: usize) -> Option<RawEnd> {
    const NAME: &[u8] = b"script";
    const KEY: Key = Key::of(NAME);
    let mut from = at;
    let (mut in_comment, mut in_inner) = (false, false);
    loop {
        let rest = data.get(from..)?;
        let open = memchr(b'<', rest)?;
        if in_comment && let Some(close) = memmem::find(rest.get(..open)?, b"-->") {
            (in_comment, in_inner) = (false, false);
            from += close + 3;
            continue;
        }
        let start = from + open;
        // The dashes of `<!--` may also be the dashes of the `-->` that closes it.
        if !in_comment && data.get(start..)?.starts_with(b"<!--") {
            in_comment = true;
            from = start + 2;
        } else if let Some(name) = end_tag_named(data, start, KEY, NAME.len()) {
            if !in_inner {
                return Some(RawEnd { text: start, name });
            }
            in_inner = false;
            from = name + 1;
        } else {
            let inner = data.get(start + 1..start + 1 + NAME.len()).is_some_and(|name| Key::of(name) == KEY);
            if in_comment && inner && data.get(start + 1 + NAME.len()).copied().is_some_and(ends_name) {
                in_inner = true;
            }
            from = start + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_cut_as_the_standard_says() {
        for (data, expected) in [
            ("<a>", Some(Markup::Start(1..2))),
            ("<A/>", Some(Markup::Start(1..2))),
            ("<a\"b c>", Some(Markup::Start(1..4))),
            ("</a >", Some(Markup::End(2..3))),
            ("<a", None),
            ("<", None),
            ("</", None),
            ("< a>", Some(Markup::Text)),
            ("<3>", Some(Markup::Text)),
            ("<>", Some(Markup::Text)),
            ("</>", Some(Markup::Comment(3))),
            ("</ a>x", Some(Markup::Comment(5))),
            ("<?php \">\"?>", Some(Markup::Comment(8))),
            ("<!-->x", Some(Markup::Comment(5))),
            ("<!--->x", Some(Markup::Comment(6))),
            ("<!---->x", Some(Markup::Comment(7))),
            ("<!--a--!>x", Some(Markup::Comment(9))),
            ("<!--a--->x", Some(Markup::Comment(9))),
            ("<!--a-->b-->", Some(Markup::Comment(8))),
            ("<!--a- ->b-->", Some(Markup::Comment(13))),
            ("<!--!>-->", Some(Markup::Comment(9))),
            ("<!--a--", None),
            ("<!--a--!", None),
            ("<!-a>", Some(Markup::Comment(5))),
            ("<!DocType html>x", Some(Markup::Doctype(9..14, 15))),
            ("<!doctype>", Some(Markup::Doctype(9..9, 10))),
            ("<!doc>", Some(Markup::Comment(6))),
            ("<![CDATA[a>b]]>", Some(Markup::Cdata(11))),
            ("<![cdata[a>b]]>", Some(Markup::Comment(11))),
        ] {
            assert_eq!(markup(data.as_bytes(), 0), expected, "{data}");
        }
    }

    #[test]
    fn attributes_are_read_as_the_standard_says() {
        // (what follows the name, the attributes, what is left, self-closing)
        type Pairs = &'static [(&'static str, &'static str)];
        let cases: &[(&str, Pairs, &str, bool)] = &[
            (">x", &[], "x", false),
            ("/>x", &[], "x", true),
            (" />x", &[], "x", true),
            (" / >x", &[], "x", false),
            (" a=1 B='2' c=\"3\" d>x", &[("a", "1"), ("B", "2"), ("c", "3"), ("d", "")], "x", false),
            ("/a=1/b>x", &[("a", "1/b")], "x", false),
            (" a/b>x", &[("a", ""), ("b", "")], "x", false),
            (" a = 1>x", &[("a", "1")], "x", false),
            (" a=>x", &[("a", "")], "x", false),
            (" a= >x", &[("a", "")], "x", false),
            (" =a=b>x", &[("=a", "b")], "x", false),
            (" a='>'>x", &[("a", ">")], "x", false),
            (" a=b'>'>x", &[("a", "b'")], "'>x", false),
            (" 'a>'>x", &[("'a", "")], "'>x", false),
            (" a=\"1\"b=2>x", &[("a", "1"), ("b", "2")], "x", false),
            (" a=/>x", &[("a", "/")], "x", false),
        ];
        for (tag, expected, left, is_self_closing) in cases {
            let data = tag.as_bytes();
            let mut list = Vec::new();
            let end = attributes(data, 0, &mut |attribute| list.push(attribute)).unwrap();
            let text = |range: &Range<usize>| std::str::from_utf8(&data[range.clone()]).unwrap();
            let found: Vec<_> = list.iter().map(|one| (text(&one.name), text(&one.value))).collect();
            assert_eq!(&found, expected, "{tag}");
            assert_eq!((&tag[end.at..], end.is_self_closing), (*left, *is_self_closing), "{tag}");
            assert_eq!(skip_attributes(data, 0), Some(end.at), "{tag}");
            for cut in 0..end.at {
                assert_eq!(attributes(&data[..cut], 0, &mut |_| {}), None, "{tag} cut at {cut}");
                assert_eq!(skip_attributes(&data[..cut], 0), None, "{tag} cut at {cut}");
            }
        }
    }

    #[test]
    fn the_first_of_two_attributes_counts() {
        let data = b" HREF=1 href=2>";
        let mut list = Vec::new();
        attributes(data, 0, &mut |attribute| list.push(attribute)).unwrap();
        assert_eq!(Attributes { data, list: &list }.get("href"), Some(&b"1"[..]));
    }

    #[test]
    fn raw_text_ends_at_its_own_end_tag() {
        for (name, kind, data, text) in [
            ("title", RawText::WithEntities, "a<b>c</title>", "a<b>c"),
            ("title", RawText::WithEntities, "a</titles></TITLE >", "a</titles>"),
            ("style", RawText::Plain, "<!--</style>-->", "<!--"),
            ("script", RawText::Script, "a</script>", "a"),
            ("script", RawText::Script, "<!--</script>", "<!--"),
            ("script", RawText::Script, "<!--<script></script>x</script>", "<!--<script></script>x"),
            ("script", RawText::Script, "<!--<script>--></script>", "<!--<script>-->"),
            ("script", RawText::Script, "<!--><script></script>", "<!--><script>"),
            ("script", RawText::Script, "<script></script>", "<script>"),
            ("script", RawText::Script, "<!--<scripts></script>", "<!--<scripts>"),
        ] {
            let end = raw_text_end(data.as_bytes(), 0, kind, Key::of(name.as_bytes()), name.len()).unwrap();
            assert_eq!(&data[..end.text], text, "{data}");
            assert_eq!(end.name, end.text + 2 + name.len(), "{data}");
        }
        let open = b"a</titl";
        assert_eq!(raw_text_end(open, 0, RawText::WithEntities, Key::of(b"title"), 5), None);
    }
}
