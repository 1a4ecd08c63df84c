//! What differs between kinds of jobs is told apart in one place.

use std::path::Path;

use crate::repository::{broken, read, sources, test_modules};
use crate::source::{mentions, module_of};

/// Where a job's work may be told apart: where kinds are described, and where flags become a job.
const ALLOWED: [&str; 2] = ["supervisor/src/kinds", "supervisor/src/cli"];

/// Where `text` names a variant of `Work`, as `path:line`.
fn kinds_told_apart(path: &str, text: &str) -> Vec<String> {
    let names_variant = |path: &[String]| path.windows(2).any(|part| part[0] == "Work");
    mentions(&module_of(path), text)
        .iter()
        .filter(|mention| names_variant(&mention.path))
        .map(|mention| format!("{path}:{}: {}", mention.line, mention.path.join("::")))
        .collect()
}

#[test]
fn kinds_of_jobs_are_told_apart_in_one_place() {
    let sources = sources();
    let tests = test_modules(&sources);
    let is_bound = |path: &&String| {
        let is_below = |place: &str| Path::new(path.as_str()).starts_with(place);
        is_below("supervisor/src")
            && !ALLOWED.iter().any(|place| is_below(place))
            && !tests.iter().any(|test| Path::new(path.as_str()).starts_with(test))
    };
    for place in ALLOWED {
        let told_apart = |path: &String| {
            Path::new(path).starts_with(place) && !kinds_told_apart(path, &read(path)).is_empty()
        };
        assert!(sources.iter().any(told_apart), "{place} has moved");
    }
    let found = sources.iter().filter(is_bound).flat_map(|path| kinds_told_apart(path, &read(path)));
    broken("a kind of job told apart outside of supervisor/src/kinds: ask kinds::of", found.collect());
}

#[test]
fn a_planted_match_is_found() {
    for planted in [
        "fn f(work: &Work) -> bool { matches!(work, Work::Map(_)) }",
        "fn f(work: &Work) { match work { shared::job::Work::Csv(_) => {} _ => {} } }",
        "use shared::job::Work::*;",
        "use shared::job::Work::{Fetch, self};",
    ] {
        assert!(!kinds_told_apart("supervisor/src/engine.rs", planted).is_empty(), "{planted}");
    }
    for clean in [
        "use shared::job::Work;\nfn f(work: &Work) -> Work { work.clone() }",
        "/// Not for [`Work::Map`].\nconst A: &str = \"Work::Map\";",
        "#[cfg(test)]\nmod tests { fn f() -> Work { Work::Map(spec()) } }",
    ] {
        assert!(kinds_told_apart("supervisor/src/engine.rs", clean).is_empty(), "{clean}");
    }
}
