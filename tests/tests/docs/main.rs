//! Every example in the documentation, run as it stands.
//!
//! A fenced block marked `console` is run: see [`page`] for what it may hold and
//! [`diff`] for how its output is compared. A block that is not meant to be run
//! says so by being `text` or `json`; any other mark is a failure, so that an
//! example cannot escape by its spelling.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where and stop"
)]

mod diff;
#[path = "../e2e/harness/executables.rs"]
mod executables;
mod page;
mod session;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use self::page::{Block, Kind, blocks};
use self::session::Session;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is inside the repository")
}

/// The pages of the documentation, with their names and texts.
fn pages() -> Vec<(String, String)> {
    let mut paths = vec![repository().join("README.md")];
    let docs = fs::read_dir(repository().join("docs")).unwrap();
    let markdown = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md");
    paths.extend(docs.map(|entry| entry.unwrap().path()).filter(markdown));
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let name = path.strip_prefix(repository()).unwrap().display().to_string();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// What is wrong with one page; each page has a directory and a server of its own.
fn problems(name: &str, text: &str) -> Vec<String> {
    let blocks = match blocks(text) {
        Ok(blocks) => blocks,
        Err(problem) => return vec![format!("{name}:{problem}")],
    };
    let mut session = None;
    let mut found = Vec::new();
    for Block { kind, steps, numbers_vary } in &blocks {
        if *kind == Kind::Shown {
            continue;
        }
        let session = session.get_or_insert_with(Session::start);
        for (index, step) in steps.iter().enumerate() {
            let says_status = steps.get(index + 1).is_some_and(|next| next.command.starts_with("echo $?"));
            if let Err(problem) = session.run(step, *numbers_vary, says_status) {
                found.push(format!("{name}:{}: $ {}\n{problem}", step.line, step.command));
            }
        }
    }
    found
}

#[test]
fn every_example_does_what_its_page_shows() {
    let pages = pages();
    let found: Vec<String> = thread::scope(|scope| {
        let running: Vec<_> =
            pages.iter().map(|(name, text)| scope.spawn(move || problems(name, text))).collect();
        running.into_iter().flat_map(|page| page.join().unwrap()).collect()
    });
    assert!(
        found.is_empty(),
        "{} examples differ: - is the page, + what came\n\n{}",
        found.len(),
        found.join("\n\n")
    );
}

/// Guards the test above against having nothing to do.
#[test]
fn the_readme_has_examples_that_are_run() {
    let (_, readme) = pages().into_iter().find(|(name, _)| name == "README.md").expect("a README");
    let run = blocks(&readme).unwrap().into_iter().filter(|block| block.kind == Kind::Run);
    let commands: usize = run.map(|block| block.steps.len()).sum();
    assert!(commands >= 10, "{commands} commands");
}
