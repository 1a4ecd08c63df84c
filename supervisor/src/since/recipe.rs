//! What decides the fields of a page, besides the page. If any of that has changed, an earlier run's fields are not
//! those that this run would find, and every page is fetched whole.

use crate::journal::changes;
use crate::kinds::{self, Fact};
use crate::plan::Plan;

/// The facts about a job that decide which page a server sends, and what is taken out of it. Limits do not: a page
/// within them is the same page.
const DECISIVE: [&str; 6] =
    ["--header", "--user-agent", "--select", "--each", "--preset", "--response-header"];

/// What decides the fields of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recipe(pub(super) Vec<Fact>);

/// Returns the recipe of a job.
pub(super) fn of(plan: &Plan) -> Recipe {
    let mut facts = kinds::of(&plan.work).facts(plan);
    facts.retain(|fact| DECISIVE.contains(&fact.flag.as_str()));
    // What was a page under the rules of then may be a blocked one now.
    let rules: Vec<_> = kinds::blocked(&plan.work).iter().map(|rule| format!("'{rule}'")).collect();
    if !rules.is_empty() {
        facts.push(Fact::new("--blocked-if", rules.join(" ")));
    }
    // Another version may find more in the same page.
    facts.push(Fact::new("the version of supervisor", env!("CARGO_PKG_VERSION")));
    Recipe(facts)
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
