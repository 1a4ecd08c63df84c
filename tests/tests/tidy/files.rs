//! Rules for single files: their length, their names, their first line, what must not stay in them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::repository::{broken, files, read, repository, sources};

/// A file longer than this holds more than one concept.
const LINES_MAX: usize = 600;

/// Signs that somebody meant to come back. Cut in two, so that this file does not break its own rule.
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

fn too_long(path: &str, text: &[u8]) -> Option<String> {
    let lines = text.iter().filter(|byte| **byte == b'\n').count();
    (lines > LINES_MAX).then(|| format!("{path}: {lines}"))
}

#[test]
fn no_file_is_too_long() {
    // Lock files and drawings come from programs.
    let made = ["Cargo.lock", "package-lock.json", ".svg"];
    let written = |path: &String| !made.iter().any(|end| path.ends_with(end));
    let long = |path: String| too_long(&path, &fs::read(repository().join(&path)).unwrap());
    broken(
        "a file of more than 600 lines: split it by concept",
        files().into_iter().filter(written).filter_map(long).collect(),
    );
    assert!(too_long("a.rs", &[b'\n'; 601]).is_some() && too_long("a.rs", &[b'\n'; 600]).is_none());
}

fn left_behind(path: &str, text: &str) -> Vec<String> {
    let find = |line: &str| LEFT_BEHIND.iter().find(|left| line.contains(**left));
    text.lines()
        .enumerate()
        .filter_map(|(index, line)| Some(format!("{path}:{}: {}", index + 1, find(line)?)))
        .collect()
}

#[test]
fn nothing_is_left_behind() {
    let is_code = |path: &String| !path.ends_with(".md") && !path.ends_with("Cargo.lock");
    let places = files().into_iter().filter(is_code).flat_map(|path| {
        let bytes = fs::read(repository().join(&path)).unwrap();
        left_behind(&path, &String::from_utf8_lossy(&bytes))
    });
    broken("left behind", places.collect());
    for left in LEFT_BEHIND {
        assert_eq!(left_behind("a.rs", &format!("fn f() {{\n    {left}\n}}")), [format!("a.rs:2: {left}")]);
    }
}

fn has_empty_name(path: &str) -> bool {
    path.split('/').any(|part| EMPTY_NAMES.contains(&part.split('.').next().unwrap_or_default()))
}

#[test]
fn modules_are_named_after_what_they_hold() {
    broken("a name that says nothing", files().into_iter().filter(|path| has_empty_name(path)).collect());
    assert!(has_empty_name("worker/src/utils.rs") && has_empty_name("common/src/lib.rs"));
    assert!(!has_empty_name("worker/src/commonplace.rs"));
}

/// `tests.rs` needs no description: it holds the tests of the module beside it.
fn is_silent(path: &str, text: &str) -> bool {
    !path.ends_with("/tests.rs") && !text.starts_with("//!")
}

#[test]
fn every_source_says_what_it_is_for() {
    let silent = sources().into_iter().filter(|path| is_silent(path, &read(path)));
    broken("a source that does not begin with //!", silent.collect());
    assert!(
        is_silent("a/b.rs", "use x;\n//! late")
            && !is_silent("a/b.rs", "//! B.")
            && !is_silent("a/tests.rs", "")
    );
}

fn wrong_run_bit(path: &str, text: &[u8], runs: bool) -> Option<String> {
    match (text.starts_with(b"#!/"), runs) {
        (true, false) => Some(format!("{path}: begins with #! but is not executable")),
        (false, true) => Some(format!("{path}: is executable but does not begin with #!")),
        (true, true) | (false, false) => None,
    }
}

#[test]
fn scripts_are_executable_and_nothing_else_is() {
    let wrong = |path: String| {
        let full = repository().join(&path);
        let runs = fs::metadata(&full).unwrap().permissions().mode() & 0o111 != 0;
        wrong_run_bit(&path, &fs::read(&full).unwrap(), runs)
    };
    broken("run bits", files().into_iter().filter_map(wrong).collect());
    assert!(wrong_run_bit("a", b"#!/bin/sh", false).is_some() && wrong_run_bit("a", b"text", true).is_some());
    assert!(wrong_run_bit("a", b"#!/bin/sh", true).is_none() && wrong_run_bit("a", b"text", false).is_none());
}

fn lacks_lints(manifest: &str) -> bool {
    !manifest.contains("\n[lints]\nworkspace = true\n")
}

#[test]
fn every_member_has_the_lints() {
    let root = read("Cargo.toml");
    let members = root.lines().find_map(|line| line.strip_prefix("members = ")).expect("members on one line");
    let members: Vec<&str> = members.split('"').skip(1).step_by(2).collect();
    assert!(members.len() >= 4, "{members:?}");
    let without = members.iter().filter(|member| lacks_lints(&read(&format!("{member}/Cargo.toml"))));
    broken("a member without [lints] workspace = true", without.map(|member| (*member).to_owned()).collect());
    assert!(lacks_lints("[package]\n[lints]\n[dependencies]\n"));
}

fn lacks_unreleased(changelog: &str) -> bool {
    !changelog.lines().any(|line| line == "## [Unreleased]")
}

#[test]
fn the_changelog_has_an_unreleased_section() {
    assert!(!lacks_unreleased(&read("CHANGELOG.md")), "CHANGELOG.md has no ## [Unreleased] section");
    assert!(lacks_unreleased("# Changelog\n## [0.1.0]\n"));
}
