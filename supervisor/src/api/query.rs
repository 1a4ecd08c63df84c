//! Strict parsing of query strings: an unknown parameter is an error.

use http::Uri;
use url::form_urlencoded;

use super::problem::Problem;
use crate::nearest::nearest;

/// The parameters of one request.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Parses the parameters. Each must be one of `known` and occur once.
    ///
    /// # Errors
    /// The first parameter that is not.
    pub(super) fn read(uri: &Uri, known: &[&str]) -> Result<Self, Problem> {
        let pairs: Vec<(String, String)> =
            form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        for (index, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                return Err(Problem::bad(match nearest(name, known.iter().copied()) {
                    Some(near) => format!("unknown parameter {name:?}; did you mean {near:?}?"),
                    None if known.is_empty() => format!("unknown parameter {name:?}; this path takes none"),
                    None => format!("unknown parameter {name:?}; parameters are: {}", known.join(", ")),
                }));
            }
            if pairs.iter().skip(index + 1).any(|(other, _)| other == name) {
                return Err(Problem::bad(format_args!("{name} is given more than once")));
            }
        }
        Ok(Self(pairs))
    }

    /// Returns the text of a parameter.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns a parameter that is a number. Numbers beyond the integers of other languages are
    /// rejected.
    ///
    /// # Errors
    /// If the text is not a number, or too large.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse::<i64>().ok().and_then(|number| u64::try_from(number).ok()) {
            Some(number) => Ok(Some(number)),
            None => Err(Problem::bad(format_args!("{name} must be a number from 0, not {text:?}"))),
        }
    }

    /// Returns a parameter that is on or off. Without a value it is on.
    ///
    /// # Errors
    /// If the value is neither.
    pub(super) fn switch(&self, name: &str) -> Result<bool, Problem> {
        match self.text(name) {
            None | Some("0" | "false") => Ok(false),
            Some("" | "1" | "true") => Ok(true),
            Some(other) => Err(Problem::bad(format_args!("{name} must be 0 or 1, not {other:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Query, String> {
        let uri: Uri = format!("/x?{query}").parse().unwrap();
        Query::read(&uri, &["from", "follow"]).map_err(|problem| problem.detail)
    }

    #[test]
    fn what_means_nothing_is_refused() {
        assert_eq!(read("from=17").ok().unwrap().number("from").unwrap(), Some(17));
        assert!(read("").is_ok());
        assert!(read("form=17").err().unwrap().contains("did you mean \"from\"?"));
        assert!(read("limit=17").err().unwrap().contains("parameters are: from, follow"));
        assert!(read("from=1&from=2").err().unwrap().contains("more than once"));
        for wrong in ["from=-1", "from=x", "from=", "from=9223372036854775808"] {
            assert!(read(wrong).ok().unwrap().number("from").is_err(), "{wrong}");
        }
        for (query, want) in [("", false), ("follow", true), ("follow=1", true), ("follow=0", false)] {
            assert_eq!(read(query).ok().unwrap().switch("follow").unwrap(), want, "{query}");
        }
        assert!(read("follow=yes").ok().unwrap().switch("follow").is_err());
    }
}
