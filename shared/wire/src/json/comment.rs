//! Comments, and markers that hide a script from old browsers or from XML.

use memchr::memchr;

/// How long the comment is that a text begins with, or the beginning or end of what hides a script from old browsers.
pub(super) fn comment(text: &str) -> usize {
    const MARKERS: [&str; 3] = ["<![CDATA[", "]]>", "-->"];
    const OPEN: &str = "<!--";
    if let Some(marker) = MARKERS.iter().find(|marker| text.starts_with(**marker)) {
        return marker.len();
    }
    if let Some(inside) = text.strip_prefix(OPEN) {
        return OPEN.len() + if is_around(inside) { 0 } else { up_to(inside, "-->") };
    }
    if let Some(line) = text.strip_prefix("//") {
        let spaces = line.len() - line.trim_start_matches([' ', '\t']).len();
        let marked = line.get(spaces..).unwrap_or_default();
        // The rest of the line is not hidden by what hides the marker from JavaScript.
        if marked.starts_with(OPEN) || MARKERS.iter().any(|marker| marked.starts_with(marker)) {
            return 2 + spaces;
        }
        return 2 + memchr(b'\n', line.as_bytes()).unwrap_or(line.len());
    }
    text.strip_prefix("/*").map_or(0, |inside| 2 + up_to(inside, "*/"))
}

/// Whether an HTML comment stands around the values, and not before them.
fn is_around(inside: &str) -> bool {
    let begins = |text: &str, with: &[&str]| with.iter().any(|with| text.trim_start().starts_with(with));
    let behind = inside.split_once("-->").map_or("", |(_, behind)| behind);
    begins(inside, &["{", "[", "//", "/*", "<![CDATA["]) && !begins(behind, &["{", "["])
}

/// How far it is to the end of `end`; all of the text if it has none.
fn up_to(text: &str, end: &str) -> usize {
    text.find(end).map_or(text.len(), |at| at + end.len())
}
