//! The rules about logins that need no more than a response head, and what the request of a login sends.

use http::HeaderValue;
use http::header::LOCATION;
use http::response::Parts;
use shared::framed;
use shared::kept::Kept;
use shared::login::{LoginRequest, LoginRule, LoginSpec};
use shared::select::blocked::Rule;
use url::Url;

use super::blocked::{HeadRules, needs_body};
use super::request::Sent;
use super::target;

/// How a login is known, compiled.
#[derive(Debug)]
pub(super) struct LoginRules {
    spec: LoginSpec,
    logged_out: Heads,
    success: Heads,
}

/// Rules about heads.
#[derive(Debug)]
struct Heads {
    answers: HeadRules,
    redirects: Vec<LoginRule>,
}

/// What the heads of a login's answers show: the rule of each kind that matched.
#[derive(Debug, Default)]
pub(crate) struct LoginSeen {
    /// That somebody is not logged in.
    pub(crate) logged_out: Option<String>,
    /// That the login succeeded.
    pub(crate) success: bool,
}

/// Returns those rules that other answers have too.
pub(crate) fn about_answers(rules: &[LoginRule]) -> Vec<Rule> {
    let answer = |rule: &LoginRule| match rule {
        LoginRule::Answer(rule) => Some(rule.clone()),
        LoginRule::Redirect(_) => None,
    };
    rules.iter().filter_map(answer).collect()
}

/// Returns what a request of a login sends: what it carries along, if anything.
pub(super) fn sent(kept: Kept<'_>) -> Result<Option<Sent>, String> {
    if kept.0.is_empty() {
        return Ok(None);
    }
    let (request, _) = framed::first::<LoginRequest>(kept.0).ok_or("the login cannot be read")?;
    Sent::of_login(&request).map(Some)
}

impl LoginRules {
    /// Compiles the rules, or says what is wrong with one.
    pub(super) fn new(spec: &LoginSpec) -> Result<Self, String> {
        Ok(Self {
            logged_out: Heads::new(&spec.logged_out)?,
            success: Heads::new(&spec.success)?,
            spec: spec.clone(),
        })
    }

    /// Whether the pages of errors are needed.
    pub(super) fn reads_errors(&self) -> bool {
        about_answers(&self.spec.logged_out).iter().any(needs_body)
    }

    /// Whether a page needs the login.
    pub(super) fn covers(&self, url: &Url) -> bool {
        self.spec.covers(url)
    }

    /// Returns the rule by which an answer is one to somebody who is not logged in.
    pub(super) fn logged_out(&self, url: &Url, head: &Parts) -> Option<String> {
        self.logged_out.matching(url, head)
    }

    /// Notes what an answer to a login shows.
    pub(super) fn note(&self, url: &Url, head: &Parts, seen: &mut LoginSeen) {
        seen.success |= self.success.matching(url, head).is_some();
        if let Some(rule) = self.logged_out.matching(url, head) {
            seen.logged_out.get_or_insert(rule);
        }
    }
}

impl Heads {
    fn new(rules: &[LoginRule]) -> Result<Self, String> {
        let redirects = rules.iter().filter(|rule| matches!(rule, LoginRule::Redirect(_))).cloned();
        Ok(Self { answers: HeadRules::new(&about_answers(rules))?, redirects: redirects.collect() })
    }

    fn matching(&self, url: &Url, head: &Parts) -> Option<String> {
        if let Some(rule) = self.answers.matching(head) {
            return Some(rule.to_owned());
        }
        let location: &HeaderValue =
            head.headers.get(LOCATION).filter(|_| target::is_redirect(head.status))?;
        let next = target::redirect(url, location).ok()?;
        self.redirects.iter().find(|rule| rule.is_redirect_to(&next)).map(ToString::to_string)
    }
}
