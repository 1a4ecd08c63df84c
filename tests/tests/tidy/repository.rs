//! The files of the repository, and how a rule says where it is broken.

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is inside the repository")
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files of the repository, as paths inside it, sorted; without what is built.
pub(crate) fn files() -> Vec<String> {
    let mut files = Vec::new();
    let mut directories = vec![repository().to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if matches!(name.as_str(), "target" | ".git" | "node_modules" | "__pycache__") {
                continue;
            }
            if path.is_dir() {
                directories.push(path);
            } else {
                let inside = path.strip_prefix(repository()).unwrap();
                files.push(inside.to_str().expect("a plain name").to_owned());
            }
        }
    }
    files.sort();
    files
}

pub(crate) fn sources() -> Vec<String> {
    files().into_iter().filter(|path| path.ends_with(".rs")).collect()
}

/// Fails with all places where a rule is broken.
#[track_caller]
pub(crate) fn broken(rule: &str, places: Vec<String>) {
    assert!(places.is_empty(), "{rule}:\n  {}", places.join("\n  "));
}

/// The files and directories that `#[cfg(test)] mod NAME;` declares in `sources`.
pub(crate) fn test_modules(sources: &[String]) -> Vec<PathBuf> {
    sources.iter().flat_map(|path| test_modules_of(path, &read(path))).collect()
}

fn test_modules_of(path: &str, text: &str) -> Vec<PathBuf> {
    let path = Path::new(path);
    let directory = match path.file_stem().and_then(|stem| stem.to_str()) {
        Some("mod" | "lib" | "main") | None => path.parent().unwrap().to_owned(),
        Some(_) => path.with_extension(""),
    };
    let mut found = Vec::new();
    let mut test_only = false;
    for line in text.lines() {
        let module = line
            .trim_start_matches("pub(crate) ")
            .strip_prefix("mod ")
            .and_then(|rest| rest.strip_suffix(';'));
        if let (true, Some(name)) = (test_only, module) {
            found.push(directory.join(format!("{name}.rs")));
            found.push(directory.join(name));
        }
        test_only = line.starts_with("#[") && (test_only || line == "#[cfg(test)]");
    }
    found
}

#[test]
fn modules_of_tests_are_told_apart() {
    let text = "mod a;\n#[cfg(test)]\nmod b;\n#[cfg(test)]\n#[expect(x)]\nmod c;\nmod d;\n";
    let found = test_modules_of("x/src/y.rs", text);
    assert_eq!(found, ["x/src/y/b.rs", "x/src/y/b", "x/src/y/c.rs", "x/src/y/c"].map(PathBuf::from));
}
