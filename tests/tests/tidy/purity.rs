//! Modules that decide are given the time and what happened, and touch nothing.

use std::path::Path;

use crate::repository::{broken, read, sources, test_modules};
use crate::source::{mentions, module_of};

/// The modules that decide.
const PURE: [&str; 2] = ["supervisor/core/src", "supervisor/src/service/schedule.rs"];

/// Ways out of a pure module, and the clock.
const IMPURE: [&[&str]; 11] = [
    &["std", "fs"],
    &["std", "net"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "env"],
    &["tokio"],
    &["nix", "unistd"],
    &["nix", "sys", "wait"],
    &["Instant", "now"],
    &["SystemTime", "now"],
    &["wire", "clock"],
];

/// Where `text` breaks the rule, as `path:line: what`.
fn impurities(path: &str, text: &str) -> Vec<String> {
    mentions(&module_of(path), text)
        .iter()
        .filter_map(|mention| {
            let names = |way: &&&[&str]| mention.path.windows(way.len()).any(|part| part == **way);
            let way = IMPURE.iter().find(names)?;
            Some(format!("{path}:{}: {}", mention.line, way.join("::")))
        })
        .collect()
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
    for place in PURE {
        assert!(pure.iter().any(|path| path.starts_with(place)), "{place} has moved");
    }
    let found = pure.iter().flat_map(|path| impurities(path, &read(path))).collect();
    broken("a module that decides reads no clock and touches nothing", found);
}

#[test]
fn a_planted_impurity_is_found() {
    for planted in [
        "use std::fs;",
        "use std::{fmt, thread};",
        "fn f() { let now = std::time::Instant::now(); }",
        "fn f() { tokio::spawn(async {}); }",
        "use wire::clock;",
        "#[cfg(test)]\nuse a::b;\n\nuse std::net::TcpStream;",
        "struct A;\n#[cfg(test)]\nmod tests;\nimpl A { fn f() { std::process::abort() } }",
    ] {
        assert_eq!(impurities("supervisor/core/src/pool/mod.rs", planted).len(), 1, "{planted}");
    }
    for clean in [
        "use std::time::Instant;",
        "#[cfg(test)]\nmod tests { use std::fs; }",
        "// std::fs::read\nconst A: &str = \"std::fs\";",
    ] {
        assert!(impurities("supervisor/core/src/pool/mod.rs", clean).is_empty(), "{clean}");
    }
}
