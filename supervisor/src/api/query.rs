//! What stands behind the `?`, read strictly: a parameter that means nothing here is a mistake worth an answer.

use std::str::FromStr;

use http::Uri;
use url::form_urlencoded;

use super::problem::Problem;
use crate::nearest::nearest;

/// The parameters of one request.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Takes the parameters, each of which must be one of `known`, and be there once.
    ///
    /// # Errors
    /// The first that is not.
    pub(super) fn read(uri: &Uri, known: &[&str]) -> Result<Self, Problem> {
        let pairs: Vec<(String, String)> =
            form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        for (index, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                return Err(Problem::bad(match nearest(name, known.iter().copied()) {
                    Some(near) => format!("there is no parameter {name:?}; did you mean {near:?}?"),
                    None if known.is_empty() => format!("there is no parameter {name:?}; this takes none"),
                    None => format!("there is no parameter {name:?}; there are: {}", known.join(", ")),
                }));
            }
            if pairs.iter().skip(index + 1).any(|(other, _)| other == name) {
                return Err(Problem::bad(format_args!("{name} is given twice")));
            }
        }
        Ok(Self(pairs))
    }

    /// The text of a parameter.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that is a number or the like.
    ///
    /// # Errors
    /// When it is not.
    pub(super) fn value<T: FromStr>(&self, name: &str, takes: &str) -> Result<Option<T>, Problem> {
        self.text(name)
            .map(|text| {
                text.parse()
                    .map_err(|_| Problem::bad(format_args!("{name} takes {takes}, which {text:?} is not")))
            })
            .transpose()
    }

    /// A parameter that is on or off; alone it is on.
    ///
    /// # Errors
    /// When it is neither.
    pub(super) fn switch(&self, name: &str) -> Result<bool, Problem> {
        match self.text(name) {
            None | Some("0" | "false") => Ok(false),
            Some("" | "1" | "true") => Ok(true),
            Some(other) => Err(Problem::bad(format_args!("{name} takes 0 or 1, which {other:?} is not"))),
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
        assert_eq!(read("from=17").ok().unwrap().value::<u64>("from", "a number").unwrap(), Some(17));
        assert!(read("").is_ok());
        assert!(read("form=17").err().unwrap().contains("did you mean \"from\"?"));
        assert!(read("limit=17").err().unwrap().contains("there are: from, follow"));
        assert!(read("from=1&from=2").err().unwrap().contains("twice"));
        assert!(read("from=-1").ok().unwrap().value::<u64>("from", "a number").is_err());
        for (query, want) in [("", false), ("follow", true), ("follow=1", true), ("follow=0", false)] {
            assert_eq!(read(query).ok().unwrap().switch("follow").unwrap(), want, "{query}");
        }
        assert!(read("follow=yes").ok().unwrap().switch("follow").is_err());
    }
}
