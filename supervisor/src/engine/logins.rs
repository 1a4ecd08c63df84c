//! The session of a job: what its first requests show, and what the pool is told of its logins.

use std::path::Path;
use std::sync::Arc;

use shared::job::FetchSpec;
use shared::login::Profile;
use shared::request::RequestSpec;
use supervisor_core::pool::SessionsConfig;
use url::Url;

use super::RunContext;
use crate::kinds;
use crate::plan::{HostKey, Plan};
use crate::runtime::login as login_step;
use crate::session::Session;
use crate::summary::LoginSummary;

/// Begins the session of a job, or goes on with the one that is kept in `file`. Returns the plan with the header profile
/// of the session, if there is only one.
pub(super) fn begin(plan: &Plan, file: Option<&Path>, context: &mut RunContext<'_>) -> Plan {
    let mut plan = plan.clone();
    let Some(spec) = kinds::fetched_mut(&mut plan.work) else { return plan };
    context.session = Session::open(spec, file);
    let Some(session) = &context.session else { return plan };
    let profile = session.profile();
    if spec.login.is_none() {
        // It is the only session of the job.
        if let Some(profile) = spec.profiles.get(usize::from(profile)).cloned() {
            wear(spec, profile);
        }
        spec.profiles.clear();
    } else if let Some(cookies) = &context.cookies {
        cookies.begin_session(session.start().number, profile, true);
    }
    plan
}

/// Puts the headers of a profile in place of those of the job.
fn wear(spec: &mut FetchSpec, profile: Profile) {
    let Profile { user_agent, headers } = profile;
    let is_replaced = |name: &str| headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
    spec.headers.retain(|(name, _)| !is_replaced(name));
    spec.headers.extend(headers);
    if let Some(agent) = user_agent {
        spec.user_agent = agent;
    }
}

/// Returns what the pool is told; `None` if the job does not log in.
pub(super) fn config(plan: &Plan, session: Option<&Session>) -> Option<SessionsConfig> {
    let (spec, session) = (kinds::fetched(&plan.work)?, session?);
    let login = spec.login.as_deref()?;
    let key: HostKey = plan.host_key;
    let first = if login.needs_page() {
        login_step::page(&login.url, key)
    } else {
        login_step::step(&login.fill(None, Vec::new(), None).ok()?, key)
    };
    let known = login.clone();
    let covers = move |input: &[u8]| {
        let url = str::from_utf8(input).ok().and_then(|input| Url::parse(input).ok());
        url.is_some_and(|url| known.covers(&url))
    };
    Some(SessionsConfig {
        login: first?,
        check: login.check.as_ref().and_then(|url| login_step::page(url, key)),
        may_repeat: !spec.request.as_deref().is_some_and(RequestSpec::is_sent),
        covers: Arc::new(covers),
        profiles: u16::try_from(spec.profiles.len()).unwrap_or(u16::MAX),
        start: session.start(),
    })
}

/// Returns what the summary says.
pub(super) fn summarize(ended: &crate::runtime::Ended) -> Option<LoginSummary> {
    ended.logins.map(|counts| LoginSummary {
        logins: counts.logins,
        logged_out: counts.logged_out,
        failed: counts.failed,
    })
}
