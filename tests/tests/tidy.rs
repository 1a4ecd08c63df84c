//! House rules that no compiler and no lint holds.
//!
//! Each test names the files that break its rule, all at once. A rule that must
//! be broken somewhere has a list of the places here, with the reason.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where and stop"
)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// What decides: it is given the time and what happened, and touches nothing.
const PURE: [&str; 5] = [
    "supervisor/src/pool",
    "supervisor/src/frontier",
    "supervisor/src/gather",
    "supervisor/src/auto.rs",
    "supervisor/src/service/schedule.rs",
];

/// Ways out of a pure module, and the clock.
const IMPURE: [&str; 11] = [
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "std::env",
    "tokio",
    "nix::unistd",
    "nix::sys::wait",
    "Instant::now",
    "SystemTime::now",
    "clock::",
];

/// A file longer than this holds more than one concept.
const LINES_MAX: usize = 600;

/// Files that are longer, and why each is still one concept.
const LONG: [(&str, &str); 0] = [];

/// Left behind by somebody who meant to come back. Cut in two, so that this file does not break its own rule.
const LEFT_BEHIND: [&str; 6] = [
    concat!("thread::", "sleep("),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("#[ig", "nore"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 6] = ["util", "utils", "helper", "helpers", "common", "misc"];

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is inside the repository")
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files of the repository, as paths inside it, sorted; without what is built.
fn files() -> Vec<String> {
    let mut files = Vec::new();
    let mut directories = vec![repository().to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if matches!(name.as_str(), "target" | ".git") {
                continue;
            }
            if path.is_dir() {
                directories.push(path);
            } else {
                files.push(
                    path.strip_prefix(repository()).unwrap().to_str().expect("a plain name").to_owned(),
                );
            }
        }
    }
    files.sort();
    files
}

fn sources() -> Vec<String> {
    files().into_iter().filter(|path| path.ends_with(".rs")).collect()
}

#[track_caller]
fn none(rule: &str, broken: Vec<String>) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

/// The code of a source without its comments, its tests, and what lies under `#[cfg(test)]`.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// The files and directories that `#[cfg(test)] mod NAME;` declares.
fn test_modules(sources: &[String]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in sources {
        let text = read(path);
        let mut test_only = false;
        for line in text.lines() {
            let module = line
                .trim_start_matches("pub(crate) ")
                .strip_prefix("mod ")
                .and_then(|rest| rest.strip_suffix(';'));
            if let (true, Some(name)) = (test_only, module) {
                let path = Path::new(path);
                let directory = match path.file_stem().and_then(|stem| stem.to_str()) {
                    Some("mod" | "lib" | "main") | None => path.parent().unwrap().to_owned(),
                    Some(_) => path.with_extension(""),
                };
                found.push(directory.join(format!("{name}.rs")));
                found.push(directory.join(name));
            }
            test_only = line.starts_with("#[") && (test_only || line == "#[cfg(test)]");
        }
    }
    found
}

#[test]
fn what_decides_is_pure() {
    let sources = sources();
    let tests = test_modules(&sources);
    let is_pure = |path: &&String| {
        PURE.iter().any(|pure| Path::new(path.as_str()).starts_with(pure))
            && !tests.iter().any(|test| Path::new(path.as_str()).starts_with(test))
    };
    let pure: Vec<_> = sources.iter().filter(is_pure).collect();
    assert!(pure.len() > 10, "the pure modules have moved: {pure:?}");
    let mut broken = Vec::new();
    for path in pure {
        let text = read(path);
        // `use std::{fs, io}` names it as well.
        let grouped = |line: &str, way: &str| {
            way.rsplit_once("::").is_some_and(|(parent, name)| {
                line.trim_start().starts_with(&format!("use {parent}::{{"))
                    && line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name)
            })
        };
        for (number, line) in code(&text) {
            if let Some(way) = IMPURE.iter().find(|way| line.contains(*way) || grouped(line, way)) {
                broken.push(format!("{path}:{number}: {way}"));
            }
        }
    }
    none("a module that decides reads no clock and touches nothing", broken);
}

/// What a page calls a path: in backticks, and beginning with a place of the repository.
fn paths_named(text: &str) -> Vec<(usize, String)> {
    let places = ["supervisor/", "worker/", "shared/", "tests/", "scripts/", "docs/", ".ci/", ".config/"];
    let mut found = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        let quoted = line.split('`').skip(1).step_by(2);
        let linked = line.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        let local = |target: &&str| !target.is_empty() && !target.contains("://");
        if fenced {
            continue;
        }
        for name in quoted {
            let word = name.split_whitespace().next().unwrap_or_default().trim_start_matches("./");
            if places.iter().any(|place| word.starts_with(place)) {
                let word = word.split(':').next().unwrap_or_default();
                found.extend(expanded(word).into_iter().map(|path| (index + 1, path)));
            }
        }
        found.extend(linked.filter(local).map(|target| (index + 1, format!("]({target}"))));
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

#[test]
fn every_path_a_page_names_exists() {
    let mut broken = Vec::new();
    let mut checked = 0;
    for page in files().iter().filter(|path| path.ends_with(".md")) {
        for (number, path) in paths_named(&read(page)) {
            checked += 1;
            let there = match path.strip_prefix("](") {
                // A link is relative to its page.
                Some(link) => repository().join(page).with_file_name("").join(link).exists(),
                None => repository().join(&path).exists(),
            };
            if !there {
                broken.push(format!("{page}:{number}: {}", path.trim_start_matches("](")));
            }
        }
    }
    assert!(checked > 20, "only {checked} paths were found");
    none("a page names what is not there", broken);
}

#[test]
fn paths_are_found_where_pages_name_them() {
    let named = |text: &str| paths_named(text).into_iter().map(|(_, path)| path).collect::<Vec<_>>();
    assert_eq!(named("see `docs/A.md`, `./scripts/run -x`, `a/b` and `tests`"), ["docs/A.md", "scripts/run"]);
    assert_eq!(named("`shared/{a,b}.rs` `worker/x.rs:12`"), ["shared/a.rs", "shared/b.rs", "worker/x.rs"]);
    assert_eq!(named("[a](B.md#part) [c](https://x/) [d](#here)"), ["](B.md"]);
    assert!(named("```text\n`docs/A.md`\n```").is_empty());
}

#[test]
fn every_member_has_the_lints() {
    let root = read("Cargo.toml");
    let members = root.lines().find_map(|line| line.strip_prefix("members = ")).expect("members on one line");
    let members: Vec<&str> = members.split('"').skip(1).step_by(2).collect();
    assert!(members.len() >= 4, "{members:?}");
    let without = members
        .iter()
        .filter(|member| !read(&format!("{member}/Cargo.toml")).contains("\n[lints]\nworkspace = true\n"));
    none("a member without [lints] workspace = true", without.map(|member| (*member).to_owned()).collect());
}

#[test]
fn no_file_is_too_long() {
    let mut broken = Vec::new();
    let listed: BTreeSet<&str> = LONG.iter().map(|(path, _)| *path).collect();
    let mut long = BTreeSet::new();
    for path in files().iter().filter(|path| !path.ends_with("Cargo.lock") && !path.ends_with("LICENSE")) {
        let lines = fs::read(repository().join(path)).unwrap().iter().filter(|byte| **byte == b'\n').count();
        if lines > LINES_MAX {
            long.insert(path.clone());
            if !listed.contains(path.as_str()) {
                broken.push(format!("{path}: {lines}"));
            }
        }
    }
    let stale = listed.iter().filter(|path| !long.contains(**path));
    broken.extend(stale.map(|path| format!("{path}: not so long any more, take it off the list")));
    none("a file of more than 600 lines: split it by concept, or list it with its reason", broken);
}

#[test]
fn nothing_is_left_behind() {
    let mut broken = Vec::new();
    let is_code = |path: &&String| !path.ends_with(".md") && !path.ends_with("Cargo.lock");
    for path in files().iter().filter(is_code) {
        let bytes = fs::read(repository().join(path)).unwrap();
        for (index, line) in String::from_utf8_lossy(&bytes).lines().enumerate() {
            if let Some(left) = LEFT_BEHIND.iter().find(|left| line.contains(*left)) {
                broken.push(format!("{path}:{}: {left}", index + 1));
            }
        }
    }
    none("left behind", broken);
}

#[test]
fn modules_are_named_after_what_they_hold() {
    let is_empty = |path: &String| {
        path.split('/').any(|part| EMPTY_NAMES.contains(&part.split('.').next().unwrap_or_default()))
    };
    none("a name that says nothing", files().into_iter().filter(is_empty).collect());
}

/// But for `tests.rs`, which is the tests of the module beside it.
#[test]
fn every_source_says_what_it_is_for() {
    let silent = |path: &String| !path.ends_with("/tests.rs") && !read(path).starts_with("//!");
    none("a source that does not begin with //!", sources().into_iter().filter(silent).collect());
}

#[test]
fn scripts_can_be_run_and_nothing_else_can() {
    let mut broken = Vec::new();
    for path in files() {
        let full = repository().join(&path);
        let is_script = fs::read(&full).unwrap().starts_with(b"#!/");
        let runs = fs::metadata(&full).unwrap().permissions().mode() & 0o111 != 0;
        if is_script != runs {
            broken.push(format!(
                "{path}: {}",
                if runs { "runs, without #!" } else { "#!, but not executable" }
            ));
        }
    }
    none("scripts have their bit", broken);
}

#[test]
fn the_changelog_has_a_place_for_what_comes() {
    let changelog = read("CHANGELOG.md");
    assert!(changelog.lines().any(|line| line == "## [Unreleased]"), "no Unreleased section");
}
