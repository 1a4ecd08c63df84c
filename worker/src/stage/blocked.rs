//! The rules about blocked answers that need the body, decoded; and the mark by which the supervisor notices a host
//! that gives one page for many URLs.
//!
//! They run while a page is computed, not while it is received, so that the black box says what a worker died of.

use std::io::Cursor;
use std::time::Duration;

use extract::{ExtractError, Extractor, Kind, Page};
use regex::bytes::Regex;
use shared::job::FetchSpec;
use shared::protocol::PageMark;
use shared::record::{ErrorKind, FieldValue};
use shared::select::blocked::Rule;
use shared::select::{Field, Source, Take, byte_regex};
use twox_hash::XxHash3_64;
use url::Url;

use super::fetch::login::about_answers;
use super::fetch::recording::Recording;
use super::fetch::{Failure, Fetched, Outcome, blocked_message, logged_out_message};
use super::findings::{Findings, Problem, Product};
use super::media_type::MediaType;

/// Largest page in which words about a challenge are looked for. Pages that are nothing else are short: those of the
/// known vendors have 1 to 10 KB.
const CHALLENGE_BYTES_MAX: usize = 16 * 1024;

/// Words of pages that want to know whether a person asks. They alone block nothing. Plain words, so that a search
/// takes a few microseconds.
const CHALLENGE_WORDS: &str = "aptcha|APTCHA|e human|E HUMAN|a robot|A ROBOT|nusual traffic|ecurity check";

/// Runs of letters and digits from this length on are tokens, not words, in the page of a challenge.
const TOKEN_MIN: usize = 16;

/// The rules of one job, compiled.
pub(super) struct PageRules {
    blocked: Matcher,
    /// Which pages are those for somebody who is not logged in, if the job logs in.
    logged_out: Matcher,
    /// Finds words about a challenge, if pages that repeat are to be noticed.
    challenge: Option<Regex>,
}

/// Rules about pages, of which one must match.
pub(super) struct Matcher {
    bodies: Vec<(Regex, String)>,
    /// Finds all elements in one pass, and the rules in the order of its fields.
    css: Option<(Extractor, Vec<String>)>,
    parse_timeout: Duration,
}

/// The rule that a page matches.
#[derive(Debug)]
pub(super) enum Matched {
    /// It counts as blocked.
    Blocked(String),
    /// It is for somebody who is not logged in.
    LoggedOut(String),
}

/// A page, as far as the rules are concerned.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    body: &'a [u8],
    content_type: Option<&'a str>,
    url: Option<&'a Url>,
}

impl<'a> From<&'a Fetched> for Seen<'a> {
    fn from(fetched: &'a Fetched) -> Self {
        let content_type = fetched.content_type.as_deref();
        Self { body: &fetched.body, content_type, url: Some(&fetched.final_url) }
    }
}

/// Which rule matches a page, if one does, or why that is not known.
pub(super) type Judgement = Result<Option<Matched>, ExtractError>;

impl PageRules {
    pub(super) fn new(spec: &FetchSpec, parse_timeout: Duration) -> anyhow::Result<Self> {
        let logged_out = spec.login.as_ref().map(|login| about_answers(&login.logged_out));
        let challenge = if spec.blocked.repeats { Some(byte_regex(CHALLENGE_WORDS)?) } else { None };
        Ok(Self {
            blocked: Matcher::new(&spec.blocked.rules, parse_timeout)?,
            logged_out: Matcher::new(&logged_out.unwrap_or_default(), parse_timeout)?,
            challenge,
        })
    }

    /// Returns the rule by which the page of a login's answer is one for somebody who is not logged in.
    pub(super) fn logged_out(&self, fetched: &Fetched) -> Option<&str> {
        self.logged_out.matching(fetched.into()).ok().flatten()
    }

    /// Computes what a target's outcome comes to: `read` does for pages that are not blocked. A page that was `judged`
    /// is not judged again.
    pub(super) fn apply(
        &self,
        outcome: Outcome,
        judged: Option<Judgement>,
        recording: &mut Recording,
        read: impl FnOnce(Fetched) -> Findings,
    ) -> Findings {
        match outcome {
            Ok(fetched) => {
                let judged = judged.unwrap_or_else(|| self.judge(&fetched, recording));
                self.apply_to_page(fetched, judged, recording, read)
            }
            Err(mut failure) => {
                if let Some(rule) = self.logged_out_error(&failure, recording) {
                    let status = http::StatusCode::from_u16(failure.status.unwrap_or_default());
                    let message = logged_out_message(status.unwrap_or_default(), rule);
                    *failure = Failure { kind: ErrorKind::Login, message, may_pass: true, ..*failure };
                } else if let Some(rule) = matching_error(&self.blocked, &failure) {
                    recording.refused();
                    let message = blocked(failure.status.unwrap_or_default(), rule);
                    *failure = Failure { kind: ErrorKind::Blocked, message, may_pass: true, ..*failure };
                }
                Findings::from(*failure)
            }
        }
    }

    /// Applies the rules to the page of a response.
    pub(super) fn judge(&self, fetched: &Fetched, recording: &Recording) -> Judgement {
        if recording.needs_login()
            && let Some(rule) = self.logged_out(fetched)
        {
            return Ok(Some(Matched::LoggedOut(rule.to_owned())));
        }
        Ok(self.blocked.matching(fetched.into())?.map(|rule| Matched::Blocked(rule.to_owned())))
    }

    /// Returns the rule by which the page of an error is one for somebody who is not logged in.
    fn logged_out_error(&self, failure: &Failure, recording: &Recording) -> Option<&str> {
        if recording.needs_login() { matching_error(&self.logged_out, failure) } else { None }
    }

    fn apply_to_page(
        &self,
        fetched: Fetched,
        judged: Judgement,
        recording: &mut Recording,
        read: impl FnOnce(Fetched) -> Findings,
    ) -> Findings {
        let product = match judged {
            Ok(None) => {
                if let Some(challenge) = &self.challenge {
                    recording.page(mark(challenge, &fetched.body));
                }
                return read(fetched);
            }
            Ok(Some(Matched::LoggedOut(rule))) => {
                let status = http::StatusCode::from_u16(fetched.status).unwrap_or_default();
                let message = logged_out_message(status, &rule);
                let kind = ErrorKind::Login;
                Product::Problem(Problem { kind, message, may_pass: true, retry_after: None })
            }
            Ok(Some(Matched::Blocked(rule))) => {
                recording.refused();
                let message = blocked(fetched.status, &rule);
                let kind = ErrorKind::Blocked;
                Product::Problem(Problem { kind, message, may_pass: true, retry_after: None })
            }
            Err(error) => Product::problem(error.kind(), format!("cannot apply --blocked-if: {error}")),
        };
        Findings::of_response(fetched, None, product)
    }
}

/// Returns the rule that the page of an error matches. A page that cannot be read matches none: it is an error in any
/// case.
fn matching_error<'a>(rules: &'a Matcher, failure: &Failure) -> Option<&'a str> {
    let page = failure.page.as_ref()?;
    let content_type = page.content_type.as_deref();
    let seen = Seen { body: &page.body, content_type, url: failure.final_url.as_ref() };
    rules.matching(seen).ok().flatten()
}

impl Matcher {
    /// Compiles the rules about pages among these.
    pub(super) fn new(rules: &[Rule], parse_timeout: Duration) -> anyhow::Result<Self> {
        let (mut bodies, mut fields, mut selectors) = (Vec::new(), Vec::new(), Vec::new());
        for rule in rules {
            match rule {
                Rule::Body(pattern) => bodies.push((byte_regex(pattern)?, rule.to_string())),
                Rule::Css(selector) => {
                    fields.push(field(selector));
                    selectors.push(rule.to_string());
                }
                Rule::Status(_) | Rule::Header { .. } => {}
            }
        }
        let css =
            if fields.is_empty() { None } else { Some((Extractor::new(&fields, None, &[])?, selectors)) };
        Ok(Self { bodies, css, parse_timeout })
    }

    /// Returns the first rule that matches, as its user wrote it.
    pub(super) fn matching(&self, seen: Seen<'_>) -> Result<Option<&str>, ExtractError> {
        if let Some((_, rule)) = self.bodies.iter().find(|(regex, _)| regex.is_match(seen.body)) {
            return Ok(Some(rule));
        }
        let Some((extractor, rules)) = &self.css else { return Ok(None) };
        let media_type = seen.content_type.and_then(MediaType::extract);
        let media_type = media_type.as_ref();
        let page = Page {
            kind: Kind::of_content_type(media_type.map(|media_type| media_type.essence.as_str())),
            content_type_charset: media_type.and_then(|media_type| media_type.charset.as_deref()),
            url: seen.url,
            parse_timeout: self.parse_timeout,
        };
        let found = extractor.extract(page, &mut Cursor::new(seen.body))?.values;
        let matched = found.iter().zip(rules).find(|(value, _)| **value != FieldValue::Null);
        Ok(matched.map(|(_, rule)| rule.as_str()))
    }
}

fn field(selector: &str) -> Field {
    Field {
        name: String::new(),
        source: Source::Css { selector: selector.to_owned(), take: Take::Text },
        every: false,
        pipes: Vec::new(),
    }
}

fn blocked(status: u16, rule: &str) -> String {
    blocked_message(http::StatusCode::from_u16(status).unwrap_or_default(), rule)
}

/// Marks a page. One that speaks of a challenge often holds a number of its own for each request, which must not make
/// it another page.
fn mark(challenge: &Regex, body: &[u8]) -> PageMark {
    if body.len() <= CHALLENGE_BYTES_MAX && challenge.is_match(body) {
        PageMark { hash: XxHash3_64::oneshot(&without_tokens(body)), challenges: true }
    } else {
        PageMark { hash: XxHash3_64::oneshot(body), challenges: false }
    }
}

/// Removes numbers, words with digits in them, and words too long for a language.
fn without_tokens(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    for part in body.split_inclusive(|byte| !byte.is_ascii_alphanumeric()) {
        let (word, end) = match part.split_last() {
            Some((last, word)) if !last.is_ascii_alphanumeric() => (word, Some(*last)),
            Some(_) | None => (part, None),
        };
        if word.len() < TOKEN_MIN && !word.iter().any(u8::is_ascii_digit) {
            out.extend_from_slice(word);
        }
        out.extend(end);
    }
    out
}

#[cfg(test)]
mod tests {
    use shared::protocol::Reply;
    use shared::select::blocked::{BlockedIf, BlockedRules};

    use super::super::fetch::{ErrorPage, fetch_spec};
    use super::*;

    fn fetched(content_type: &str, body: &str) -> Outcome {
        Ok(Fetched {
            final_url: Url::parse("http://a/").unwrap(),
            status: 200,
            body: body.into(),
            content_type: Some(content_type.to_owned()),
        })
    }

    fn forbidden(body: &str) -> Outcome {
        Err(Box::new(Failure {
            kind: ErrorKind::HttpStatus,
            message: "403 Forbidden".to_owned(),
            final_url: None,
            status: Some(403),
            bytes: 0,
            may_pass: false,
            retry_after: None,
            page: Some(ErrorPage { body: body.into(), content_type: None }),
        }))
    }

    /// Applies the rules. Returns the error, if there is one, and what the supervisor is told about the answer.
    fn apply(flags: &[&str], outcome: Outcome) -> (Option<(ErrorKind, String, bool)>, Reply) {
        let rules = flags.iter().map(|flag| BlockedIf::parse(flag).unwrap()).collect();
        let spec = FetchSpec { blocked: BlockedRules::of(rules), ..fetch_spec() };
        let rules = PageRules::new(&spec, Duration::from_secs(5)).unwrap();
        let mut recording = Recording::new(false);
        recording.answered(200, Duration::ZERO);
        let findings = rules.apply(outcome, None, &mut recording, |_| Findings::default());
        let problem = match findings.product {
            Product::Problem(problem) => Some((problem.kind, problem.message, problem.may_pass)),
            Product::Fields(_) | Product::Listing(_) | Product::Robots(..) | Product::Login(..) => None,
        };
        (problem, recording.reply().unwrap())
    }

    #[test]
    fn pages_that_match_a_rule_are_blocked() {
        const PAGE: &str = "<form id=captcha><input></form><p>Caf\u{e9}";
        for (rule, outcome) in [
            ("body~Caf\u{e9}", fetched("text/html", PAGE)),
            ("body~(?i)ID=CAPTCHA", fetched("text/html", PAGE)),
            ("css:#captcha", fetched("text/html", PAGE)),
            ("css:input", fetched("text/html", PAGE)),
            ("css:form:has(input)", fetched("text/html", PAGE)),
            ("css:item", fetched("application/xml", "<feed><item/></feed>")),
            ("css:#captcha", forbidden(PAGE)),
            ("body~captcha", forbidden(PAGE)),
        ] {
            let status = if outcome.is_ok() { "200 OK" } else { "403 Forbidden" };
            let (problem, reply) = apply(&["css:.other", "body~other", rule], outcome);
            let message = format!("{status}: the answer matches --blocked-if '{rule}'");
            assert_eq!(problem, Some((ErrorKind::Blocked, message, true)));
            assert!(reply.refused && reply.page.is_none(), "{reply:?}");
        }
    }

    #[test]
    fn other_pages_are_read() {
        let rules = ["css:.other", "body~other"];
        for outcome in [fetched("text/html", "<p>page"), fetched("application/json", "{}")] {
            let (problem, reply) = apply(&rules, outcome);
            assert!(problem.is_none() && !reply.refused && reply.page.is_some(), "{problem:?} {reply:?}");
        }
        let (problem, reply) = apply(&rules, forbidden("no"));
        assert_eq!(problem.unwrap().0, ErrorKind::HttpStatus);
        assert!(!reply.refused && reply.page.is_none());
        let (problem, _) = apply(&rules, fetched("application/xml", "<a>"));
        let (kind, message, _) = problem.unwrap();
        assert_eq!(kind, ErrorKind::Parse);
        assert!(message.starts_with("cannot apply --blocked-if: not well-formed XML"), "{message}");
        let (_, reply) = apply(&["none"], fetched("text/html", "<p>captcha"));
        assert_eq!(reply.page, None, "nobody looks at it");
    }

    #[test]
    fn a_challenge_is_the_same_page_whatever_its_token() {
        let challenge = byte_regex(CHALLENGE_WORDS).unwrap();
        let page = |token: &str| format!("<title>One moment</title><p>Solve the CAPTCHA {token}</p>");
        let marks = ["17", "8f14e45f", "dGhpc2lzYXRva2VudG9r", "a-1-b2"].map(|token| {
            let mark = mark(&challenge, page(token).as_bytes());
            assert!(mark.challenges);
            mark.hash
        });
        assert_eq!(marks[..3], [marks[0]; 3]);
        let other = mark(&challenge, b"<p>Solve the captcha before you write to us</p>");
        assert_ne!(other.hash, marks[0]);
        assert!(!marks.contains(&other.hash));
    }

    #[test]
    fn other_pages_are_the_same_only_byte_for_byte() {
        let challenge = byte_regex(CHALLENGE_WORDS).unwrap();
        let of = |body: &str| mark(&challenge, body.as_bytes());
        assert_eq!(of("<p>Item 17</p>"), of("<p>Item 17</p>"));
        assert_ne!(of("<p>Item 17</p>").hash, of("<p>Item 18</p>").hash);
        assert!(!of("<p>Item 17</p>").challenges);
        for words in ["Are you a robot?", "please verify you are human", "I'm not a robot", "Unusual traffic"]
        {
            assert!(of(words).challenges, "{words}");
        }
    }
}
