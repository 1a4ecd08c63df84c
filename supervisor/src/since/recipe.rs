//! What decides the fields of a page, besides the page. If any of that has changed, an earlier run's fields are not
//! those that this run would find, and every page is fetched whole.

use serde::Serialize;
use shared::job::FetchSpec;
use shared::proxy::ProxySpec;
use shared::transport::TransportSpec;

use crate::journal::changes;
use crate::kinds::{self, Fact};
use crate::plan::Plan;

/// The facts about a job that decide neither which page a server sends, nor what is taken out of it. A page within
/// limits is the same page without them. What is not named here counts.
const INDIFFERENT: [&str; 7] =
    ["--body-bytes-max", "--redirects-max", "--since", "--url", "--encoding", "--delimiter", "--ordered"];

/// What decides the fields of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recipe(pub(super) Vec<Fact>);

/// Returns the recipe of a job.
pub(super) fn of(plan: &Plan) -> Recipe {
    let mut facts = kinds::of(&plan.work).facts(plan);
    facts.retain(|fact| !INDIFFERENT.contains(&fact.flag.as_str()));
    facts.extend(kinds::fetched(&plan.work).into_iter().flat_map(of_requests));
    // Another version may find more in the same page.
    facts.push(Fact::new("the version of supervisor", env!("CARGO_PKG_VERSION")));
    Recipe(facts)
}

/// Returns what decides whose page a server sends. A job that is resumed may change all of it, because its user may find
/// out what is needed; but a server that says "as you have it" must mean what this run would get.
fn of_requests(spec: &FetchSpec) -> Vec<Fact> {
    // Names every field, so that a new one is not forgotten here.
    let FetchSpec {
        // These decide whether there is a page.
        timeout: _,
        connect_timeout: _,
        body_bytes_max: _,
        redirects_max: _,
        address_policy: _,
        // These are among the facts of the job.
        headers: _,
        user_agent: _,
        request: _,
        response_headers: _,
        profiles: _,
        // Not combined with it.
        save: _,
        since: _,
        next: _,
        header_scope,
        blocked,
        transport,
        cookies,
        proxies,
        login,
    } = spec;
    let TransportSpec { pins, ca, insecure, http1: _, identity } = transport;
    let ProxySpec { list, tiers, sticky, bypass, policy: _ } = proxies;
    let mut facts = Vec::new();
    // What was a page under the rules of then may be a blocked one now.
    let mut rules: Vec<_> = blocked.rules.iter().map(|rule| format!("'{rule}'")).collect();
    rules.extend(blocked.repeats.then(|| "repeats".to_owned()));
    let rules = if rules.is_empty() { "none".to_owned() } else { rules.join(" ") };
    facts.push(Fact::new("--blocked-if", rules));
    // The sitemaps of a job are homes too, and may be others each day.
    let homes = header_scope.only_these.then_some(&header_scope.homes);
    facts.push(Fact::new("--header-scope", hash(&(header_scope.reach, homes))));
    facts.push(Fact::new("--cookies", if *cookies { "kept" } else { "not kept" }));
    // Left out if not given, so that notes of earlier versions still fit.
    if let Some(login) = login {
        facts.push(Fact::new("--login", hash(login)));
    }
    facts.push(Fact::new("--resolve", hash(pins)));
    let certificate = identity.as_ref().map(|identity| &identity.certificate);
    facts.push(Fact::new("--ca, --insecure or --cert", hash(&(ca, insecure, certificate))));
    facts.push(Fact::new("--proxy", hash(&(list, tiers, sticky, bypass))));
    facts
}

/// These may be secrets, and lists may be long.
fn hash(value: &impl Serialize) -> String {
    // Plain data: this does not fail.
    let text = serde_json::to_string(value).unwrap_or_default();
    kinds::hashed(text.as_bytes())
}

impl Recipe {
    /// As it is kept.
    pub(super) fn text(&self) -> String {
        // Plain data: this does not fail.
        serde_json::to_string(&self.0).unwrap_or_default()
    }
}

/// Returns what differs between a recipe that was kept and this one, in words; `None` if nothing does.
pub(super) fn differences(then: &str, now: &Recipe) -> Option<String> {
    let Ok(then) = serde_json::from_str::<Vec<Fact>>(then) else {
        return Some("it does not say how its fields were found".to_owned());
    };
    let changes = changes(&then, &now.0);
    (!changes.is_empty()).then(|| changes.join("; "))
}
