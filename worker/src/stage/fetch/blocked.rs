//! The rules about blocked answers that need no more than a response head.

use http::HeaderName;
use http::response::Parts;
use regex::bytes::Regex;
use shared::select::blocked::Rule;
use shared::select::byte_regex;

/// Whether a rule needs the body of an answer.
pub(super) const fn needs_body(rule: &Rule) -> bool {
    matches!(rule, Rule::Css(_) | Rule::Body(_))
}

/// Rules about heads, compiled, each with its text. The others are in [`crate::stage::blocked`].
#[derive(Debug, Clone, Default)]
pub(super) struct HeadRules(Vec<(Test, String)>);

#[derive(Debug, Clone)]
enum Test {
    Status(u16),
    Header(HeaderName, Regex),
}

impl HeadRules {
    /// Compiles the rules, or says what is wrong with one.
    pub(super) fn new(rules: &[Rule]) -> Result<Self, String> {
        let mut tests = Vec::new();
        for rule in rules {
            let test = match rule {
                Rule::Status(status) => Test::Status(*status),
                Rule::Header { name, pattern } => {
                    let name = HeaderName::try_from(name).map_err(|error| error.to_string())?;
                    Test::Header(name, byte_regex(pattern).map_err(|error| error.to_string())?)
                }
                Rule::Css(_) | Rule::Body(_) => continue,
            };
            tests.push((test, rule.to_string()));
        }
        Ok(Self(tests))
    }

    /// Returns the first rule that matches, as its user wrote it.
    pub(super) fn matching(&self, head: &Parts) -> Option<&str> {
        let matches = |test: &Test| match test {
            Test::Status(status) => head.status.as_u16() == *status,
            // Few answers have the header. To compare the names costs less than to hash one for a lookup.
            Test::Header(name, regex) => {
                head.headers.keys().any(|key| key == name)
                    && head.headers.get_all(name).iter().any(|value| regex.is_match(value.as_bytes()))
            }
        };
        self.0.iter().find(|(test, _)| matches(test)).map(|(_, rule)| rule.as_str())
    }
}
