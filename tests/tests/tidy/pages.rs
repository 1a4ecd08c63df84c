//! What the documents say of the repository is true: the paths they name exist.

use crate::repository::{broken, files, read, repository};

/// Where a path of the repository begins.
const PLACES: [&str; 8] =
    ["supervisor/", "worker/", "shared/", "tests/", "scripts/", "docs/", ".ci/", ".config/"];

/// The paths that a page names: in backticks and beginning with a place of the repository, or
/// the target of a link, written `](target`.
fn paths_named(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for name in line.split('`').skip(1).step_by(2) {
            let word = name.split_whitespace().next().unwrap_or_default().trim_start_matches("./");
            if PLACES.iter().any(|place| word.starts_with(place)) {
                let word = word.split(':').next().unwrap_or_default();
                found.extend(expanded(word).into_iter().map(|path| (index + 1, path)));
            }
        }
        let linked = line.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        let local = linked.filter(|target| !target.is_empty() && !target.contains("://"));
        found.extend(local.map(|target| (index + 1, format!("]({target}"))));
    }
    found
}

/// `a/{b,c}` as `a/b` and `a/c`.
fn expanded(path: &str) -> Vec<String> {
    match path.split_once('{').and_then(|(head, rest)| Some((head, rest.split_once('}')?))) {
        None => vec![path.to_owned()],
        Some((head, (choices, tail))) => {
            choices.split(',').map(|choice| format!("{head}{choice}{tail}")).collect()
        }
    }
}

/// The paths that `text`, the page `page`, names and that do not exist.
fn missing(page: &str, text: &str) -> Vec<String> {
    let exists = |path: &str| match path.strip_prefix("](") {
        // A link is relative to its page.
        Some(link) => repository().join(page).with_file_name("").join(link).exists(),
        None => repository().join(path).exists(),
    };
    paths_named(text)
        .into_iter()
        .filter(|(_, path)| !exists(path))
        .map(|(line, path)| format!("{page}:{line}: {}", path.trim_start_matches("](")))
        .collect()
}

#[test]
fn every_path_a_page_names_exists() {
    let pages: Vec<_> = files().into_iter().filter(|path| path.ends_with(".md")).collect();
    let checked: usize = pages.iter().map(|page| paths_named(&read(page)).len()).sum();
    assert!(checked > 20, "only {checked} paths were found");
    let places = pages.iter().flat_map(|page| missing(page, &read(page))).collect();
    broken("a page names a path that does not exist", places);
}

#[test]
fn a_planted_path_is_found() {
    assert_eq!(
        missing("docs/A.md", "see `docs/NOPE.md:3` and `scripts/test`"),
        ["docs/A.md:1: docs/NOPE.md"]
    );
    assert_eq!(missing("docs/A.md", "\n[a](NOPE.md#part) [b](TESTING.md)"), ["docs/A.md:2: NOPE.md"]);
}

#[test]
fn paths_are_found_where_pages_name_them() {
    let named = |text: &str| paths_named(text).into_iter().map(|(_, path)| path).collect::<Vec<_>>();
    assert_eq!(named("see `docs/A.md`, `./scripts/run -x`, `a/b` and `tests`"), ["docs/A.md", "scripts/run"]);
    assert_eq!(named("`shared/{a,b}.rs` `worker/x.rs:12`"), ["shared/a.rs", "shared/b.rs", "worker/x.rs"]);
    assert_eq!(named("[a](B.md#part) [c](https://x/) [d](#here)"), ["](B.md"]);
    assert!(named("```text\n`docs/A.md`\n```").is_empty());
}
