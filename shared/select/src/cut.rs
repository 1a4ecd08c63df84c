//! Finds where a selector ends and its steps begin: at the first `|` that is neither
//! inside quotes or brackets nor an operator of the selector's language.

use crate::Language;
use crate::pipe::name_at_start;

/// The first `|` of `text` that begins a step, as a byte offset.
pub(crate) fn first_pipe(text: &str, language: Language) -> Option<usize> {
    let mut depth = 0_usize;
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            // XPath has no escapes: a backslash in a string is a backslash.
            (_, '\\') if language != Language::XPath => {
                chars.next();
            }
            (Some(q), _) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[' | '(') => depth += 1,
            (None, ']' | ')') => depth = depth.saturating_sub(1),
            (None, '|') if depth == 0 => {
                let after = text.get(at + 1..).unwrap_or_default();
                if language != Language::XPath || !is_union(after) {
                    return Some(at);
                }
            }
            (None, _) => {}
        }
    }
    None
}

/// Whether the text after a `|` continues an XPath: it is a path, not just the name of a step.
fn is_union(after: &str) -> bool {
    let after = after.trim_start();
    let name = name_at_start(after);
    let behind = after.get(name.len()..).unwrap_or_default().trim_start();
    if name.is_empty() {
        return after.starts_with(['/', '.', '@', '*', '(', '$', '"', '\'']);
    }
    behind.starts_with(['/', ':', '['])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, selector: &str) {
        let end = first_pipe(text, Language::of(text)).unwrap_or(text.len());
        assert_eq!(&text[..end], selector, "{text}");
    }

    #[test]
    fn the_selector_ends_at_the_first_step() {
        check("h1::text | strip", "h1::text ");
        check("h1|strip", "h1");
        check("[lang|=en] | strip", "[lang|=en] ");
        check("a[title='a|b']", "a[title='a|b']");
        check("a\\|b", "a\\|b");
        check("$.a[?@.b || @.c] | int", "$.a[?@.b || @.c] ");
        check("$['a|b']|int", "$['a|b']");
        check("//h1 | //h2 | strip", "//h1 | //h2 ");
        check("//h1 | ./a | b/c | d::e | f[1] | re(x)", "//h1 | ./a | b/c | d::e | f[1] ");
        check("//a[. = '\\' ] | first", "//a[. = '\\' ] ");
        check("//a | lowr", "//a ");
        check("//h1 | (//h2)[1]", "//h1 | (//h2)[1]");
    }
}
