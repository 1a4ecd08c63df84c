//! `--blocked-if`: which answers count as blocked. A page that only says "prove that you are human" is not a result, and
//! its host wants fewer requests.
//!
//! The supervisor parses the rules; the workers apply them. A [`Rule`] that was parsed here always compiles there.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::SelectError;
use crate::css;
use crate::pipe::check_byte_regex;
use crate::refusal::Refusal;

/// Rules that apply unless the user says otherwise. Each is a header that its vendor sets on challenges and on nothing
/// else, so no rule can match a normal page.
const DEFAULTS: [(&str, &str); 2] = [
    // "the Challenge Page response […] will have the cf-mitigated header present and set to challenge":
    // https://developers.cloudflare.com/cloudflare-challenges/challenge-types/challenge-pages/detect-response/
    ("cf-mitigated", "^challenge$"),
    // "the header x-amzn-waf-action with a value of challenge" (status 202) or "captcha" (status 405):
    // https://docs.aws.amazon.com/waf/latest/developerguide/waf-captcha-and-challenge-actions.html
    ("x-amzn-waf-action", "^(challenge|captcha)$"),
];

/// What a rule looks like, for errors.
const SHAPE: &str =
    "write status:403, header:NAME~REGEX, css:SELECTOR, body~REGEX, or one of none, vendors and repeats";

/// One rule. An answer that matches it is blocked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rule {
    /// The answer has this status.
    Status(u16),
    /// A header of this name has a value that matches the regular expression.
    Header {
        /// Name in lower case.
        name: String,
        /// Regular expression for bytes.
        pattern: String,
    },
    /// The page has an element that matches this CSS selector.
    Css(String),
    /// The body, decompressed, matches this regular expression for bytes.
    Body(String),
}

/// The rule as a user would write it.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status:{status}"),
            Self::Header { name, pattern } => write!(f, "header:{name}~{pattern}"),
            Self::Css(selector) => write!(f, "css:{selector}"),
            Self::Body(pattern) => write!(f, "body~{pattern}"),
        }
    }
}

impl Rule {
    /// Parses a rule that another flag or key, `name`, has in common with `--blocked-if`.
    ///
    /// # Errors
    /// Fails if it is not a rule, or if its selector or regular expression is not valid.
    pub fn parse(name: &'static str, text: &str) -> Result<Self, SelectError> {
        let shape = "write status:401, header:NAME~REGEX, css:SELECTOR or body~REGEX";
        let rule = match parse(text) {
            Ok(BlockedIf::Rule(rule)) => Ok(rule),
            Ok(BlockedIf::None | BlockedIf::Vendors | BlockedIf::Repeats) => {
                Err(Refusal::new(0, "this is not a rule", shape))
            }
            Err(refusal) => Err(refusal),
        };
        rule.map_err(|refusal| refusal.in_flag(name, text))
    }
}

/// The value of one `--blocked-if`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockedIf {
    /// A rule besides the others.
    Rule(Rule),
    /// No defaults.
    None,
    /// The default rules for headers of vendors.
    Vendors,
    /// A host answers different URLs with the same page.
    Repeats,
}

impl BlockedIf {
    /// Parses the value of a `--blocked-if`.
    ///
    /// # Errors
    /// Fails if it is not a rule, or if its selector or regular expression is not valid.
    pub fn parse(flag: &str) -> Result<Self, SelectError> {
        parse(flag).map_err(|refusal| refusal.in_flag("--blocked-if", flag))
    }
}

/// Which answers of a job count as blocked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockedRules {
    /// The rules, of which one must match.
    pub rules: Vec<Rule>,
    /// Whether a page counts as blocked that the host has also given for many other URLs.
    pub repeats: bool,
}

impl BlockedRules {
    /// Puts together what several `--blocked-if` say. The defaults apply as well, unless one of them is `none`.
    #[must_use]
    pub fn of(flags: Vec<BlockedIf>) -> Self {
        let defaults = !flags.contains(&BlockedIf::None);
        let vendors = defaults || flags.contains(&BlockedIf::Vendors);
        let repeats = defaults || flags.contains(&BlockedIf::Repeats);
        let mut rules = Vec::new();
        if vendors {
            rules.extend(
                DEFAULTS.map(|(name, pattern)| Rule::Header {
                    name: name.to_owned(),
                    pattern: pattern.to_owned(),
                }),
            );
        }
        rules.extend(flags.into_iter().filter_map(|flag| match flag {
            BlockedIf::Rule(rule) => Some(rule),
            BlockedIf::None | BlockedIf::Vendors | BlockedIf::Repeats => None,
        }));
        Self { rules, repeats }
    }
}

fn parse(flag: &str) -> Result<BlockedIf, Refusal> {
    match flag.trim() {
        "none" => return Ok(BlockedIf::None),
        "vendors" => return Ok(BlockedIf::Vendors),
        "repeats" => return Ok(BlockedIf::Repeats),
        _ => {}
    }
    let rule = if let Some(status) = flag.strip_prefix("status:") {
        Rule::Status(parse_status(status)?)
    } else if let Some(rest) = flag.strip_prefix("header:") {
        parse_header(rest, "header:".len())?
    } else if let Some(selector) = flag.strip_prefix("css:") {
        Rule::Css(css::parse_elements(selector, "css:".len())?)
    } else if let Some(pattern) = flag.strip_prefix("body~") {
        Rule::Body(parse_pattern(pattern, "body~".len())?)
    } else {
        return Err(Refusal::new(0, "this is not a rule", SHAPE));
    };
    Ok(BlockedIf::Rule(rule))
}

fn parse_status(text: &str) -> Result<u16, Refusal> {
    let status = text.trim().parse().ok().filter(|status| (200..=599).contains(status));
    status.ok_or_else(|| {
        let problem = format!("`{}` is not the status of an answer", text.trim());
        Refusal::new("status:".len(), problem, "write a number from 200 to 599, and one rule for each status")
    })
}

fn parse_header(rest: &str, at: usize) -> Result<Rule, Refusal> {
    let Some((name, pattern)) = rest.split_once('~') else {
        let fix = "write header:NAME~REGEX, as in header:server~^cloudflare";
        return Err(Refusal::new(at + rest.len(), "there is no `~` after the name of the header", fix));
    };
    // RFC 9110, 5.6.2.
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|".contains(c);
    if name.is_empty() || !name.chars().all(is_token) {
        let problem = format!("`{name}` is not the name of a header");
        return Err(Refusal::new(at, problem, "names are letters, digits and -, as in header:retry-after~."));
    }
    let pattern = parse_pattern(pattern, at + name.len() + 1)?;
    Ok(Rule::Header { name: name.to_ascii_lowercase(), pattern })
}

fn parse_pattern(pattern: &str, at: usize) -> Result<String, Refusal> {
    if pattern.is_empty() {
        let fix = "write what blocked answers have; . matches any that is not empty";
        return Err(Refusal::new(at, "the regular expression is empty and matches every answer", fix));
    }
    check_byte_regex(pattern).map_err(|refusal| refusal.shifted(at))?;
    Ok(pattern.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(flags: &[&str]) -> BlockedRules {
        BlockedRules::of(flags.iter().map(|flag| BlockedIf::parse(flag).unwrap()).collect())
    }

    #[test]
    fn rules_are_shown_as_they_are_written() {
        for flag in [
            "status:403",
            "header:server~^cloudflare$",
            "header:x-a~a~b",
            "css:form#captcha, div.g-recaptcha",
            "body~(?i)are you a robot\\?",
            "body~(?-u)\\xff",
        ] {
            let BlockedIf::Rule(rule) = BlockedIf::parse(flag).unwrap() else { panic!("{flag}") };
            assert_eq!(rule.to_string(), flag);
        }
        let BlockedIf::Rule(rule) = BlockedIf::parse("header:X-Action~.").unwrap() else { panic!() };
        assert_eq!(rule.to_string(), "header:x-action~.");
    }

    #[test]
    fn the_defaults_apply_unless_they_are_switched_off() {
        assert_eq!((rules(&[]).rules.len(), rules(&[]).repeats), (2, true));
        let more = rules(&["status:403"]);
        assert_eq!((more.rules.len(), more.repeats), (3, true));
        assert_eq!(rules(&["none"]), BlockedRules::default());
        let own = rules(&["status:403", "none"]);
        assert_eq!(own, BlockedRules { rules: vec![Rule::Status(403)], repeats: false });
        assert_eq!(rules(&["none", "vendors"]), BlockedRules { repeats: false, ..rules(&[]) });
        assert_eq!(rules(&["none", "repeats"]), BlockedRules { rules: Vec::new(), repeats: true });
    }

    #[test]
    fn bad_rules_are_refused_with_their_place() {
        for (flag, position, problem) in [
            ("", 1, "not a rule"),
            ("403", 1, "not a rule"),
            ("body:captcha", 1, "not a rule"),
            ("None", 1, "not a rule"),
            ("status:", 8, "`` is not the status of an answer"),
            ("status:forbidden", 8, "`forbidden` is not the status"),
            ("status:99", 8, "`99` is not the status"),
            ("status:403,429", 8, "`403,429` is not the status"),
            ("header:server", 14, "no `~`"),
            ("header:~a", 8, "`` is not the name of a header"),
            ("header:a b~c", 8, "`a b` is not the name"),
            ("header:x~", 10, "matches every answer"),
            ("header:x~(", 10, "unclosed group"),
            ("css:", 5, "selector"),
            ("css:a[[", 7, ""),
            ("css:a::text", 6, "not allowed here"),
            ("body~", 6, "matches every answer"),
            ("body~é(?=x)", 7, "look-around"),
            ("body~((a{1000}){1000}){1000}", 6, "too large"),
        ] {
            let error = BlockedIf::parse(flag).expect_err(flag);
            assert!(error.problem.contains(problem), "{flag}: {error}");
            assert_eq!(error.position, position, "{flag}: {error}");
            assert!(error.to_string().starts_with(&format!("--blocked-if '{flag}': ")), "{error}");
        }
    }
}
