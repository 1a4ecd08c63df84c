//! What is known of a target once everything is computed, and how that ends it.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use http::Method;
use shared::crawl::Found;
use shared::login::LoginAnswer;
use shared::pages::NextPage;
use shared::protocol::{ExitFault, ExitUse, Target, Verdict};
use shared::record::{ErrorKind, FieldValue};
use shared::robots::RobotsAnswer;
use shared::sitemap::Listing;
use url::Url;

use super::fetch::since::Unchanged;
use super::fetch::{Failure, Fetched};

/// What a record is made from.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) final_url: Option<Url>,
    pub(super) status: Option<u16>,
    pub(super) bytes: Option<u64>,
    pub(super) charset: Option<Cow<'static, str>>,
    pub(super) product: Product,
    /// Its links, for a crawl.
    pub(super) found: Option<Box<Found>>,
    /// What the page says about the next one of its list, if pages are followed.
    pub(super) next: Option<NextPage>,
}

/// What became of a target.
#[derive(Debug)]
pub(super) enum Product {
    /// The values of its fields.
    Fields(Vec<FieldValue>),
    /// What a sitemap lists; takes the place of the record.
    Listing(Listing),
    /// What a robots.txt says, and the kind of error if it cannot be fetched; takes the place of the record.
    Robots(RobotsAnswer, Option<ErrorKind>),
    /// What came of a step of a login, and why it failed if it did; takes the place of the record.
    Login(LoginAnswer, Option<Problem>),
    /// Nothing: why.
    Problem(Problem),
}

#[derive(Debug)]
pub(super) struct Problem {
    pub(super) kind: ErrorKind,
    pub(super) message: String,
    /// Whether another attempt could end differently.
    pub(super) may_pass: bool,
    pub(super) retry_after: Option<Duration>,
}

impl Default for Product {
    fn default() -> Self {
        Self::Fields(Vec::new())
    }
}

impl Product {
    /// A problem that another attempt would meet again.
    pub(super) const fn problem(kind: ErrorKind, message: String) -> Self {
        Self::Problem(Problem { kind, message, may_pass: false, retry_after: None })
    }
}

impl Findings {
    /// What was made of a response.
    pub(super) fn of_response(fetched: Fetched, charset: Option<&'static str>, product: Product) -> Self {
        Self {
            final_url: Some(fetched.final_url),
            status: Some(fetched.status),
            bytes: Some(fetched.body.len() as u64),
            charset: charset.map(Cow::Borrowed),
            product,
            found: None,
            next: None,
        }
    }

    /// What is known of a page that is as an earlier run has found it.
    pub(super) fn unchanged(fetched: &Fetched, unchanged: Unchanged) -> Self {
        Self {
            final_url: Some(fetched.final_url.clone()),
            status: Some(fetched.status),
            bytes: Some(0),
            charset: unchanged.charset.map(Cow::Owned),
            product: Product::Fields(unchanged.fields),
            found: None,
            next: None,
        }
    }

    /// How the attempt ends. A failure that `is_excused`, or that `leaves_exit`, its proxy, does not count as an attempt.
    pub(super) fn verdict(&self, target: &Target, is_excused: bool, leaves_exit: bool) -> Verdict {
        match &self.product {
            Product::Fields(_) | Product::Listing(_) | Product::Robots(_, None) | Product::Login(_, None) => {
                Verdict::Ok
            }
            // A server that does not know who asks has refused the request.
            Product::Problem(problem) if problem.kind == ErrorKind::Login => {
                Verdict::Retry { kind: problem.kind }
            }
            Product::Robots(_, Some(kind)) if leaves_exit => Verdict::Retry { kind: *kind },
            // The supervisor decides when it is fetched again.
            Product::Robots(_, Some(kind)) => Verdict::Failed(*kind),
            Product::Problem(problem) | Product::Login(_, Some(problem))
                if problem.may_pass && (target.may_retry || is_excused || leaves_exit) =>
            {
                Verdict::Retry { kind: problem.kind }
            }
            Product::Problem(problem) | Product::Login(_, Some(problem)) => Verdict::Failed(problem.kind),
        }
    }

    /// Adds what a blocked answer says about the proxy that it came through.
    pub(super) fn judge_exit(&self, used: ExitUse) -> ExitUse {
        let is_blocked = self.problem().is_some_and(|problem| problem.kind == ErrorKind::Blocked);
        ExitUse { fault: used.fault.or(is_blocked.then_some(ExitFault::Blocked)), ..used }
    }

    /// The server's `Retry-After`, if it failed with one.
    pub(super) fn retry_after_ms(&self) -> Option<u64> {
        let after = self.problem()?.retry_after?;
        Some(u64::try_from(after.as_millis()).unwrap_or(u64::MAX))
    }

    /// Why it failed, if it did.
    const fn problem(&self) -> Option<&Problem> {
        match &self.product {
            Product::Problem(problem) | Product::Login(_, Some(problem)) => Some(problem),
            Product::Login(_, None) | Product::Fields(_) | Product::Listing(_) | Product::Robots(..) => None,
        }
    }

    /// Whether the answer is one to somebody who is not logged in.
    pub(super) fn is_logged_out(&self) -> bool {
        matches!(&self.product, Product::Problem(problem) if problem.kind == ErrorKind::Login)
    }

    /// Makes a failure final if the server may have acted on a request that must not be sent twice. Says so if it
    /// `would_retry` otherwise.
    pub(super) fn end_if_spent(&mut self, spent: Option<&Method>, would_retry: bool) {
        if let (Product::Problem(problem), Some(method)) = (&mut self.product, spent)
            && problem.may_pass
        {
            problem.may_pass = false;
            if would_retry {
                let _infallible = write!(
                    problem.message,
                    "; not retried, for the server may have acted on the {method}; --retry-non-idempotent would"
                );
            }
        }
    }

    /// Says so if only the retry budget of its host makes a failure final, and returns whether it does.
    pub(super) fn end_over_budget(&mut self, target: &Target, verdict: &Verdict) -> bool {
        match (&mut self.product, verdict) {
            (Product::Problem(problem), Verdict::Failed(_)) if problem.may_pass && target.over_budget => {
                problem.message.push_str("; not retried, for the retry budget of its host is used up");
                true
            }
            (_, _) => false,
        }
    }
}

impl From<Failure> for Findings {
    fn from(failure: Failure) -> Self {
        Self {
            final_url: failure.final_url,
            status: failure.status,
            bytes: Some(failure.bytes),
            charset: None,
            product: Product::Problem(Problem {
                kind: failure.kind,
                message: failure.message,
                may_pass: failure.may_pass,
                retry_after: failure.retry_after,
            }),
            found: None,
            next: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_robots_txt_that_a_proxy_did_not_deliver_is_fetched_through_another() {
        let target = Target { attempt: 1, ..Target::default() };
        let kind = ErrorKind::Proxy;
        let answer = RobotsAnswer::Unreachable { why: String::new(), after_ms: None };
        let product = Product::Robots(answer, Some(kind));
        let findings = Findings { product, ..Findings::default() };
        assert_eq!(findings.verdict(&target, false, true), Verdict::Retry { kind });
        assert_eq!(findings.verdict(&target, true, false), Verdict::Failed(kind));
    }
}
