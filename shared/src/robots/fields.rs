//! The lines of a robots.txt, and what each of them says.

use super::ROBOTS_BYTES_MAX;

/// The lines of a file that mean something: their numbers, and what they say.
pub(super) fn of(text: &[u8]) -> impl Iterator<Item = (u32, (Field, &[u8]))> {
    lines(whole_lines(text)).filter_map(|(number, line)| Some((number, field(line)?)))
}

/// The part that is read, without a line that is cut.
fn whole_lines(text: &[u8]) -> &[u8] {
    let max = usize::try_from(ROBOTS_BYTES_MAX).unwrap_or(usize::MAX);
    let read = match text.get(..max) {
        Some(start) => {
            let end = start.iter().rposition(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(0);
            start.get(..end).unwrap_or_default()
        }
        None => text,
    };
    read.strip_prefix(b"\xef\xbb\xbf").unwrap_or(read)
}

/// The lines of a file with their numbers. They end with `\n`, `\r` or both.
fn lines(text: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let mut rest = Some(text);
    let mut number = 0;
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let end = memchr::memchr2(b'\n', b'\r', text).unwrap_or(text.len());
        let (line, after) = text.split_at(end);
        rest = after.strip_prefix(b"\r\n").or_else(|| after.get(1..));
        number += 1;
        Some((number, line))
    })
}

/// What a line that means something says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Agent,
    Allow,
    Disallow,
    CrawlDelay,
}

/// Names of fields, with the misspellings that Google's and Scrapy's parsers accept.
const FIELDS: [(&str, Field); 13] = [
    ("user-agent", Field::Agent),
    ("useragent", Field::Agent),
    ("user agent", Field::Agent),
    ("allow", Field::Allow),
    ("disallow", Field::Disallow),
    ("dissallow", Field::Disallow),
    ("dissalow", Field::Disallow),
    ("disalow", Field::Disallow),
    ("diasllow", Field::Disallow),
    ("disallaw", Field::Disallow),
    ("crawl-delay", Field::CrawlDelay),
    ("crawldelay", Field::CrawlDelay),
    ("crawl delay", Field::CrawlDelay),
];

/// Reads `name: value # comment`, or `name value`.
fn field(line: &[u8]) -> Option<(Field, &[u8])> {
    let end = memchr::memchr(b'#', line).unwrap_or(line.len());
    let line = line.get(..end)?.trim_ascii();
    FIELDS.iter().find_map(|(name, field)| {
        let (head, rest) = line.split_at_checked(name.len())?;
        if !head.eq_ignore_ascii_case(name.as_bytes()) {
            return None;
        }
        let value = rest.trim_ascii_start();
        match value.strip_prefix(b":") {
            Some(value) => Some((*field, value.trim_ascii_start())),
            None => (value.len() < rest.len()).then_some((*field, value)),
        }
    })
}
