//! robots.txt (RFC 9309): parsed in the worker that fetched it, judged by in the supervisor.
//!
//! The reading is as lenient as that of Google's and Scrapy's parsers: it accepts common misspellings, a missing colon,
//! any line ending and any encoding. Whatever is not a rule is skipped, so every file has a meaning; an HTML page has no
//! rules. Paths and patterns are compared in one spelling of their percent-encoding.

mod fields;
mod pattern;

use std::cmp::Reverse;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::fields::Field;
use self::pattern::{matches, normalise};

/// How much of a file is read; RFC 9309 § 2.5 asks for at least this much. The rest is ignored, with the line that it
/// cuts.
pub const ROBOTS_BYTES_MAX: u64 = 500 * 1024;

/// Redirects followed on the way to a file (RFC 9309 § 2.3.1.2).
pub const ROBOTS_REDIRECTS_MAX: u32 = 5;

/// What a worker found when it fetched a robots.txt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RobotsAnswer {
    /// The file.
    File(RobotsFile),
    /// The site has no robots.txt, so everything may be fetched.
    Missing,
    /// It may exist, but could not be fetched.
    Unreachable {
        /// Why.
        why: String,
        /// The server's `Retry-After`, in milliseconds.
        after_ms: Option<u64>,
    },
}

/// The rules of one file that apply to one product token.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RobotsFile {
    /// The rule that wins first: the longest pattern, and `Allow` before `Disallow`.
    rules: Vec<Rule>,
    crawl_delay_ms: Option<u64>,
}

/// One `Allow` or `Disallow` line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    allows: bool,
    /// Normalised.
    pattern: String,
    line: u32,
}

impl Rule {
    /// The line of the file, from 1.
    #[must_use]
    pub const fn line(&self) -> u32 {
        self.line
    }

    /// What it matches, normalised.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.pattern
    }
}

impl RobotsFile {
    /// Reads the groups of `text` for this product token, or those for all robots if it has none of its own.
    #[must_use]
    pub fn parse(text: &[u8], token: &str) -> Self {
        let fields = || fields::of(text);
        let is_own = |field, value| field == Field::Agent && names(value, token);
        let has_own = fields().any(|(_, (field, value))| is_own(field, value));
        let mut file = Self::default();
        let (mut in_agents, mut applies) = (false, false);
        for (line, (field, value)) in fields() {
            if field == Field::Agent {
                applies &= in_agents;
                applies |= if has_own { names(value, token) } else { is_any(value) };
                in_agents = true;
                continue;
            }
            in_agents = false;
            if applies {
                file.add(line, field, value);
            }
        }
        file.rules.sort_by_key(|rule| (Reverse(rule.pattern.len()), Reverse(rule.allows)));
        file
    }

    fn add(&mut self, line: u32, field: Field, value: &[u8]) {
        match field {
            // An empty value matches nothing.
            Field::Allow | Field::Disallow if !value.is_empty() => {
                let pattern = normalise(value).into_owned();
                self.rules.push(Rule { allows: field == Field::Allow, pattern, line });
            }
            Field::CrawlDelay => {
                let seconds = str::from_utf8(value).ok().and_then(|value| value.parse().ok());
                let delay = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                let ms = delay.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
                self.crawl_delay_ms = self.crawl_delay_ms.max(ms);
            }
            Field::Agent | Field::Allow | Field::Disallow => {}
        }
    }

    /// Returns the rule that disallows this path with its query; `None` if it may be fetched.
    #[must_use]
    pub fn forbids(&self, path: &str) -> Option<&Rule> {
        let path = normalise(path.as_bytes());
        let rule = self.rules.iter().find(|rule| matches(&rule.pattern, &path))?;
        Some(rule).filter(|rule| !rule.allows && path != "/robots.txt")
    }

    /// The time to leave between two requests, if the file asks for any.
    #[must_use]
    pub fn crawl_delay(&self) -> Option<Duration> {
        self.crawl_delay_ms.map(Duration::from_millis)
    }

    /// About how much memory it takes, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let rules = self.rules.iter().map(|rule| size_of::<Rule>() + rule.pattern.len());
        size_of::<Self>() + rules.sum::<usize>()
    }
}

/// Returns the product token of a `User-Agent` (RFC 9309 § 2.2.1): the name of its first product, or of the one after
/// `compatible;` if it poses as a browser. Empty if it names none; then only groups for all robots apply.
#[must_use]
pub fn product_token(user_agent: &str) -> &str {
    let compatible = user_agent.split_once("compatible;").filter(|_| user_agent.starts_with("Mozilla/"));
    let product = compatible.map_or(user_agent, |(_, product)| product).trim_start();
    str::from_utf8(token(product.as_bytes())).unwrap_or_default()
}

/// The start of a name that counts. The RFC has letters, `_` and `-`; robots such as `MJ12bot` have digits too.
fn token(name: &[u8]) -> &[u8] {
    let counts = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let end = name.iter().position(|byte| !counts(byte)).unwrap_or(name.len());
    name.get(..end).unwrap_or_default()
}

/// Whether the value of a `User-agent` line is this product token.
fn names(value: &[u8], product: &str) -> bool {
    !product.is_empty() && token(value).eq_ignore_ascii_case(product.as_bytes())
}

/// Whether the value of a `User-agent` line stands for all robots.
fn is_any(value: &[u8]) -> bool {
    value.strip_prefix(b"*").is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The line of the rule that forbids `path`, or 0.
    fn check(text: &str, token: &str, path: &str, line: u32) {
        let file = RobotsFile::parse(text.as_bytes(), token);
        assert_eq!(file.forbids(path).map_or(0, Rule::line), line, "{path} for {token} by {text:?}");
    }

    #[test]
    fn the_group_of_the_token_applies_and_else_that_of_all() {
        let text = "User-agent: *\nDisallow: /a\n\nUser-Agent: Muster/2.0\nUser-agent: other\nDisallow: /b\n\
                    User-agent: third\nDisallow: /c\nuser-agent: MUSTER\nDisallow: /d";
        for (token, path, line) in [
            ("muster", "/a", 0),
            ("muster", "/b/x", 6),
            ("muster", "/c", 0),
            ("muster", "/d", 10),
            ("Other", "/b", 6),
            ("must", "/a", 2),
            ("must", "/b", 0),
            ("", "/a", 2),
        ] {
            check(text, token, path, line);
        }
        check("Disallow: /\n", "muster", "/a", 0);
        check("User-agent: a\nUser-agent: *\nCrawl-delay: 1\nDisallow: /\n", "muster", "/", 4);
        check("User-agent: *\nSitemap: x\nDisallow: /\n", "muster", "/", 3);
        check("User-agent: *\nSitemap: x\nUser-agent: muster\nDisallow: /\n", "b", "/", 4);
        check("User-agent: a\nCrawl-delay: 1\nUser-agent: b\nDisallow: /\n", "a", "/", 0);
    }

    #[test]
    fn the_longest_pattern_wins_and_allow_wins_a_tie() {
        let text = "user-agent:*\ndisallow:/p\nallow:/p/x\ndisallow:/p/x/y\nallow:/tie\ndisallow:/tie\n";
        for (path, line) in [("/p", 2), ("/p/x", 0), ("/p/x/y", 4), ("/tie", 0), ("/other", 0)] {
            check(text, "muster", path, line);
        }
        check("user-agent: *\ndisallow: /\n", "muster", "/robots.txt", 0);
        check("user-agent: *\ndisallow:\n", "muster", "/", 0);
    }

    #[test]
    fn stars_and_the_end() {
        for (pattern, path, matches) in [
            ("/*.php$", "/a/b.php", true),
            ("/*.php$", "/b.php?x", false),
            ("/*.php", "/b.php?x", true),
            ("*/mail", "/mail", true),
            ("*/mail", "/a/mail/b", true),
            ("/a*b*a$", "/aba", true),
            ("/a*ba*a$", "/aba", false),
            ("/a$", "/a", true),
            ("/a$", "/ab", false),
            ("/a$b", "/a$bc", true),
            ("/fish*", "/fish", true),
            ("/**", "/", true),
            ("/*$", "/x", true),
            ("*", "/", true),
            ("$", "/", false),
            ("a", "/a", false),
        ] {
            let line = if matches { 2 } else { 0 };
            check(&format!("User-agent: *\nDisallow: {pattern}"), "muster", path, line);
        }
    }

    #[test]
    fn one_spelling_of_percent_encoding() {
        for (pattern, path, matches) in [
            ("/ä", "/%C3%A4", true),
            ("/%c3%a4", "/%C3%A4/x", true),
            ("/%61", "/a", true),
            ("/a%2fb", "/a%2Fb", true),
            ("/a%2fb", "/a/b", false),
            ("/a b", "/a%20b", true),
            ("/100%", "/100%", true),
            ("/{x}", "/%7Bx%7D", true),
        ] {
            let line = if matches { 2 } else { 0 };
            check(&format!("User-agent: *\nDisallow: {pattern}"), "muster", path, line);
        }
        let latin1 = RobotsFile::parse(b"User-agent: *\nDisallow: /\xe4", "muster");
        assert_eq!(latin1.forbids("/%E4").map(Rule::pattern), Some("/%E4"));
    }

    #[test]
    fn untidy_files_are_read() {
        for text in [
            "\u{feff}User-agent: *\nDisallow: /x",
            "User-agent: *\rDisallow: /x\r",
            "User-agent: *\r\nDisallow: /x\r\n",
            "  useragent :  *  # all\n\tDISALLOW /x # this",
            "User-agent: *\nDissallow: /x",
            "User-agent: * \nDisallow:/x ",
        ] {
            check(text, "muster", "/x/y", 2);
        }
        let html = "<!DOCTYPE html><html><head>\n<title>User-agent: *</title>\n<p>Disallow: /</p></html>";
        check(html, "muster", "/", 0);
    }

    #[test]
    fn a_delay_is_read_in_seconds() {
        for (value, ms) in [("5", Some(5000)), ("0.5", Some(500)), ("-1", None), ("x", None), ("1e300", None)]
        {
            let file = RobotsFile::parse(format!("User-agent: *\nCrawl-delay: {value}").as_bytes(), "muster");
            assert_eq!(file.crawl_delay(), ms.map(Duration::from_millis), "{value}");
        }
    }

    #[test]
    fn a_file_is_read_to_its_limit_and_not_to_the_middle_of_a_line() {
        let max = usize::try_from(ROBOTS_BYTES_MAX).unwrap();
        let mut text = b"User-agent: *\nDisallow: /x\n#".to_vec();
        text.resize(max - 12, b'#');
        text.extend_from_slice(b"\nDisallow: /y-and-more\n");
        let file = RobotsFile::parse(&text, "muster");
        assert!(file.forbids("/x").is_some() && file.forbids("/y").is_none());
    }

    #[test]
    fn the_product_token_of_a_user_agent() {
        for (agent, token) in [
            ("muster/0.1.0", "muster"),
            ("MyBot", "MyBot"),
            ("my-bot_2 (+https://example.com)", "my-bot_2"),
            ("Mozilla/5.0 (compatible; ExampleBot/0.1; https://example.com)", "ExampleBot"),
            ("Mozilla/5.0 (X11; Linux x86_64) Firefox/130", "Mozilla"),
            ("", ""),
            ("(nothing)", ""),
        ] {
            assert_eq!(product_token(agent), token, "{agent}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_file(text in proptest::collection::vec(any::<u8>(), 0..400), path in "/[a-z%*$]{0,20}") {
            let _ = RobotsFile::parse(&text, "muster").forbids(&path);
            let mut file = b"User-agent: *\nDisallow: /".to_vec();
            file.extend(text.iter().filter(|byte| !matches!(byte, b'\n' | b'\r' | b'#')));
            let _ = RobotsFile::parse(&file, "muster").forbids(&path);
        }
    }
}
