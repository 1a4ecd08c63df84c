//! Finds the name that a user probably meant, for suggestions in errors.

/// Smallest similarity of a suggestion (strsim's normalised Damerau–Levenshtein). Below it, suggestions are
/// noise: `url` would be suggested for `id`.
const SIMILARITY_MIN: f64 = 0.5;

/// Longest name that is compared. The time that it takes grows with the product of both lengths, and nobody mistypes
/// a name like that.
const COMPARED_BYTES_MAX: usize = 256;

/// Letters of a name that a list of names shows.
const SHOWN_LETTERS: usize = 64;

/// Returns the candidate closest to `word`, if one is close enough.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > COMPARED_BYTES_MAX {
        return None;
    }
    let folded = word.to_lowercase();
    candidates
        .into_iter()
        .filter(|name| name.len() <= COMPARED_BYTES_MAX)
        .map(|name| (strsim::normalized_damerau_levenshtein(&folded, &name.to_lowercase()), name))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// Lists the first names of a header, quoted because a name may be empty or contain a comma.
pub(crate) fn listed(names: &[String]) -> String {
    let quoted = names.iter().take(20).map(|name| match name.char_indices().nth(SHOWN_LETTERS) {
        Some((end, _)) => format!("{:?}…", name.get(..end).unwrap_or_default()),
        None => format!("{name:?}"),
    });
    quoted.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::{listed, nearest};

    #[test]
    fn a_name_of_megabytes_is_neither_compared_nor_shown() {
        let long = "x".repeat(4 << 20);
        assert_eq!(nearest(&long, [long.as_str(), "x"]), None);
        assert_eq!(nearest("x", [long.as_str()]), None);
        assert_eq!(listed(&[long, "y".to_owned()]), format!("\"{}\"…, \"y\"", "x".repeat(64)));
    }

    #[test]
    fn only_a_close_name_is_offered() {
        let names = ["timeout", "connect-timeout", "per-host", "URL"];
        let check = |word, want| assert_eq!(nearest(word, names), want, "{word}");
        check("tiemout", Some("timeout"));
        check("conect-timeout", Some("connect-timeout"));
        check("perhost", Some("per-host"));
        check("url", Some("URL"));
        check("colour", None);
    }
}
