//! Facts about a job that decide the contents of its records.
//!
//! A run resumed with another selector would leave half of the output with other fields, so what
//! decides a record's contents must be the same. What decides only when a record is made may change:
//! workers, mode, concurrency and pace, and also timeouts and retries, because a user who stops a run
//! over wrong timeouts wants to continue it with better ones.

use serde::{Deserialize, Serialize};
use shared::job::MapSpec;
use xxhash_rust::xxh3::xxh3_128;

use crate::plan::{ListReading, Plan};

/// Stands in place of a flag for the command itself.
pub(crate) const COMMAND: &str = "the command";

/// One flag, with its value in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// The flag, as the user types it.
    pub flag: String,
    /// Its value; never a secret.
    pub value: String,
}

impl Fact {
    pub(crate) fn new(flag: &str, value: impl ToString) -> Self {
        Self { flag: flag.to_owned(), value: value.to_string() }
    }
}

/// Returns a value in words that may be a secret, or long.
pub(crate) fn hashed(value: &[u8]) -> String {
    format!("hash {:08x}", xxh3_128(value) >> 96)
}

/// Returns the facts about what is extracted from a page.
pub(super) fn of_extraction(plan: &Plan) -> Vec<Fact> {
    let mut facts = Vec::new();
    if let Some(then) = &plan.then {
        facts.push(Fact::new("--map", command_line(then)));
    }
    let fields: Vec<String> = plan.fields.iter().map(|field| format!("'{field}'")).collect();
    facts
        .push(Fact::new("--select", if fields.is_empty() { "nothing".to_owned() } else { fields.join(" ") }));
    // Left out if not given, so that journals of earlier versions still fit.
    if let Some(each) = &plan.each {
        facts.push(Fact::new("--each", format!("'{each}'")));
    }
    if !plan.presets.is_empty() {
        let names: Vec<&str> = plan.presets.iter().map(|preset| preset.name()).collect();
        facts.push(Fact::new("--preset", names.join(" ")));
    }
    let ListReading { encoding, delimiter, isolated: _ } = plan.lists;
    facts.extend(encoding.map(|encoding| Fact::new("--encoding", encoding.name())));
    facts.extend(delimiter.map(|delimiter| Fact::new("--delimiter", format!("{:?}", char::from(delimiter)))));
    facts.push(Fact::new("--ordered", plan.ordered));
    facts
}

/// Returns what decides a program's answers. The number of lines it is given at once does not.
pub(super) fn command_line(spec: &MapSpec) -> String {
    let words: Vec<_> = spec.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
}
