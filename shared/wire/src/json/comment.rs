//! Comments, and markers that hide a script from old browsers or from XML.

use memchr::memchr;

/// The end of an HTML comment. It is kept, since many beginnings may stand before one end, and a search for each
/// would take time quadratic in the size of the script.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CommentEnd {
    /// Where `-->` stands; the end of the text if there is none.
    at: usize,
    /// Whether values begin behind it.
    values_follow: bool,
}

impl CommentEnd {
    /// Moves to the first end at `from` or behind it.
    fn seek(&mut self, text: &str, from: usize) {
        if self.at < from {
            let inside = text.get(from..).unwrap_or_default();
            let (inside, behind) = inside.split_once("-->").unwrap_or((inside, ""));
            *self = Self { at: from + inside.len(), values_follow: begins_with_any(behind, &["{", "["]) };
        }
    }
}

/// How long the comment is that stands at `at`, or the beginning or end of what hides a script from old browsers.
pub(super) fn comment(text: &str, at: usize, end: &mut CommentEnd) -> usize {
    const MARKERS: [&str; 3] = ["<![CDATA[", "]]>", "-->"];
    const OPEN: &str = "<!--";
    let rest = text.get(at..).unwrap_or_default();
    if let Some(marker) = MARKERS.iter().find(|marker| rest.starts_with(**marker)) {
        return marker.len();
    }
    if let Some(inside) = rest.strip_prefix(OPEN) {
        end.seek(text, at + OPEN.len());
        // It stands around the values, and not before them.
        let is_around = begins_with_any(inside, &["{", "[", "//", "/*", "<![CDATA["]) && !end.values_follow;
        return if is_around { OPEN.len() } else { (end.at + "-->".len()).min(text.len()) - at };
    }
    if let Some(line) = rest.strip_prefix("//") {
        let spaces = line.len() - line.trim_start_matches([' ', '\t']).len();
        let marked = line.get(spaces..).unwrap_or_default();
        // The rest of the line is not hidden by what hides the marker from JavaScript.
        if marked.starts_with(OPEN) || MARKERS.iter().any(|marker| marked.starts_with(marker)) {
            return 2 + spaces;
        }
        return 2 + memchr(b'\n', line.as_bytes()).unwrap_or(line.len());
    }
    rest.strip_prefix("/*")
        .map_or(0, |inside| 2 + inside.find("*/").map_or(inside.len(), |at| at + "*/".len()))
}

/// Whether a text begins with one of these, behind white space.
fn begins_with_any(text: &str, with: &[&str]) -> bool {
    let text = text.trim_start();
    with.iter().any(|with| text.starts_with(with))
}
