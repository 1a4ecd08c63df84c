//! The fields in which the links of a page are found.

use crate::select::Field;

/// Links that are followed unless the user says which. Their attributes are `href`.
const BY_HREF: &str = "a[href], area[href], link[rel~=\"next\" i][href]";

/// The same; their attributes are `src`.
const BY_SRC: &str = "iframe[src]";

/// Stands behind a selector to leave out what asks not to be followed.
const NOT_NOFOLLOW: &str = ":not([rel~=\"nofollow\" i])";

/// Returns the fields whose values are the links to follow: those of the elements that the selectors match, or of the
/// usual ones. `obeys` says that `nofollow` is obeyed.
///
/// # Errors
/// Which selector is malformed, and why.
pub fn link_fields(follow: &[String], obeys: bool) -> Result<Vec<Field>, String> {
    let not = if obeys { NOT_NOFOLLOW } else { "" };
    let usual = [(BY_HREF, "href"), (BY_SRC, "src")];
    let given = follow.iter().flat_map(|selector| [(selector.as_str(), "href"), (selector.as_str(), "src")]);
    let all: Vec<_> = if follow.is_empty() { usual.to_vec() } else { given.collect() };
    let parse = |(number, (selector, attribute)): (usize, &(&str, &str))| {
        // Alone first, so that what is wrong is told in terms of what was given.
        Field::parse(&format!("links[]={selector}::attr({attribute})"))
            .and_then(|_| Field::parse(&format!("links{number}[]=:is({selector}){not}::attr({attribute})")))
            .map_err(|error| format!("--follow '{selector}': give a CSS selector of elements: {error}"))
    };
    all.iter().enumerate().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_of_elements() {
        assert_eq!(link_fields(&[], true).unwrap().len(), 2);
        assert_eq!(link_fields(&["nav > a, .more".to_owned()], true).unwrap().len(), 2);
        for wrong in ["a::attr(href)", "//a", "$.next", "a[", "a | strip"] {
            let error = link_fields(&[wrong.to_owned()], false).unwrap_err();
            assert!(error.starts_with("--follow '"), "{error}");
        }
    }
}
