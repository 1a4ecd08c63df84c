//! The modules of each crate depend on each other in one direction.
//!
//! Whatever `use` line or inline path names a module of the same crate is an edge. Modules
//! with the same parent are compared: what a module's own children do among themselves is
//! a question one level down, and a child may name its parent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use crate::repository::{broken, read, sources, test_modules};
use crate::source::{Mention, mentions, module_of};

/// Where one module names another: `path:line`.
type Edges = BTreeMap<String, BTreeMap<String, String>>;

/// The modules of one crate, and who names whom.
#[derive(Default)]
struct Crate {
    modules: BTreeSet<Vec<String>>,
    mentions: Vec<(String, Mention)>,
}

impl Crate {
    fn add(&mut self, path: &str, text: &str) {
        let module = module_of(path);
        for depth in 0..=module.len() {
            self.modules.insert(module[..depth].to_vec());
        }
        self.mentions.extend(mentions(&module, text).into_iter().map(|mention| (path.to_owned(), mention)));
    }

    /// The module a path leads to, as far as this crate has modules by those names.
    fn target(&self, mention: &Mention) -> Option<Vec<String>> {
        let mut at = mention.module.clone();
        let mut rest = mention.path.as_slice();
        match rest.first()?.as_str() {
            "crate" => {
                at.clear();
                rest = &rest[1..];
            }
            "self" => rest = &rest[1..],
            "super" => {}
            _ => {
                at.push(rest[0].clone());
                if !self.modules.contains(&at) {
                    return None;
                }
                rest = &rest[1..];
            }
        }
        for segment in rest {
            if segment == "super" {
                at.pop();
                continue;
            }
            at.push(segment.clone());
            if !self.modules.contains(&at) {
                at.pop();
                break;
            }
        }
        Some(at)
    }

    /// For each parent with more than one child, which children name which.
    fn levels(&self) -> BTreeMap<Vec<String>, Edges> {
        let mut levels: BTreeMap<Vec<String>, Edges> = BTreeMap::new();
        for (path, mention) in &self.mentions {
            let Some(target) = self.target(mention) else { continue };
            let shared = mention.module.iter().zip(&target).take_while(|(one, other)| one == other).count();
            if let (Some(from), Some(to)) = (mention.module.get(shared), target.get(shared)) {
                let edges = levels.entry(target[..shared].to_vec()).or_default();
                let to_edges = edges.entry(from.clone()).or_default();
                to_edges.entry(to.clone()).or_insert_with(|| format!("{path}:{}", mention.line));
            }
        }
        levels
    }
}

/// The shortest way from a module back to itself, with the place of each step.
fn shortest_cycle(edges: &Edges) -> Option<Vec<String>> {
    edges.keys().filter_map(|start| way_back(edges, start)).min_by_key(Vec::len)
}

fn way_back(edges: &Edges, start: &str) -> Option<Vec<String>> {
    let mut steps: BTreeMap<&str, &str> = BTreeMap::new();
    let mut waiting = VecDeque::from([start]);
    while let Some(from) = waiting.pop_front() {
        for to in edges.get(from).into_iter().flat_map(BTreeMap::keys) {
            if to == start {
                return Some(written(edges, &steps, start, from));
            }
            if !steps.contains_key(to.as_str()) {
                steps.insert(to, from);
                waiting.push_back(to);
            }
        }
    }
    None
}

fn written(edges: &Edges, steps: &BTreeMap<&str, &str>, start: &str, last: &str) -> Vec<String> {
    let (mut to, mut from) = (start, last);
    let mut cycle = Vec::new();
    loop {
        cycle.push(format!("{from} -> {to} ({})", edges[from][to]));
        if from == start {
            cycle.reverse();
            return cycle;
        }
        (to, from) = (from, steps[from]);
    }
}

fn cycles(sources: &[(String, String)]) -> Vec<String> {
    let mut graph = Crate::default();
    for (path, text) in sources {
        graph.add(path, text);
    }
    graph.levels().values().filter_map(shortest_cycle).map(|cycle| cycle.join(", ")).collect()
}

#[test]
fn modules_depend_on_each_other_in_one_direction() {
    let sources = sources();
    let tests = test_modules(&sources);
    let mut crates: BTreeMap<&str, Vec<(String, String)>> = BTreeMap::new();
    for path in &sources {
        let is_test = tests.iter().any(|test| Path::new(path).starts_with(test));
        if let (Some((name, _)), false) = (path.split_once("/src/"), is_test) {
            crates.entry(name).or_default().push((path.clone(), read(path)));
        }
    }
    assert!(crates.len() >= 4, "{:?}", crates.keys());
    broken(
        "modules that depend on each other",
        crates.values().flat_map(|sources| cycles(sources)).collect(),
    );
}

#[test]
fn a_planted_cycle_is_found_and_the_shortest_is_shown() {
    let source = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let tree = [
        source("x/src/lib.rs", "mod a; mod b; mod c; use a::A;"),
        source("x/src/a.rs", "use crate::b::B;"),
        source("x/src/b/mod.rs", "mod one; mod two; use one::One;"),
        source("x/src/b/one.rs", "use super::two::Two; use super::Inner;"),
        source("x/src/b/two.rs", "fn f() { crate::c::g() }"),
        source("x/src/c.rs", "#[cfg(test)]\nuse crate::b;"),
    ];
    assert!(cycles(&tree).is_empty(), "{:?}", cycles(&tree));

    let with = |path: &str, text: &str| {
        let mut tree = tree.to_vec();
        tree.push(source(path, text));
        cycles(&tree)
    };
    assert_eq!(
        with("x/src/c.rs", "\nuse crate::a::A;"),
        ["a -> b (x/src/a.rs:1), b -> c (x/src/b/two.rs:1), c -> a (x/src/c.rs:2)"]
    );
    assert_eq!(
        with("x/src/b/two.rs", "fn g() { super::one::h(); }"),
        ["one -> two (x/src/b/one.rs:1), two -> one (x/src/b/two.rs:1)"]
    );
}
