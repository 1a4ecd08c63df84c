//! A number in a document that comes from a constant in the code is that constant.
//!
//! A page marks such a number by a comment that names the file and the constant:
//! `28 KiB<!-- supervisor/core/src/pool/credit.rs SLICE_BYTES_MAX -->`.

use std::str::FromStr as _;

use proc_macro2::{TokenStream, TokenTree};

use crate::repository::{broken, files, read, repository};

/// What a unit is worth: bytes for sizes, milliseconds for times. A number without one is a count.
const UNITS: [(&str, f64); 6] = [
    ("KiB", 1024.0),
    ("MiB", 1024.0 * 1024.0),
    ("GiB", 1024.0 * 1024.0 * 1024.0),
    ("ms", 1.0),
    ("s", 1000.0),
    ("seconds", 1000.0),
];

/// A number that a page takes from a constant.
#[derive(Debug, PartialEq)]
struct Marked {
    line: usize,
    /// As it is printed: `28 KiB`.
    printed: String,
    file: String,
    constant: String,
}

fn marked(text: &str) -> Vec<Marked> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let parts: Vec<&str> = line.split("<!-- ").collect();
        for pair in parts.windows(2) {
            let Some((name, _)) = pair[1].split_once(" -->") else { continue };
            let Some((file, constant)) = name.split_once(' ').filter(|(file, _)| file.ends_with(".rs"))
            else {
                continue;
            };
            // The text in front may itself begin with the end of another marker.
            let before = pair[0].rsplit("-->").next().unwrap_or_default();
            let from = before.rfind(|c: char| !is_of_number(c)).map_or(0, |at| at + 1);
            let words: Vec<&str> = before.split_whitespace().collect();
            let printed = match words.as_slice() {
                [.., number, unit] if UNITS.iter().any(|(name, _)| name == unit) => {
                    format!("{number} {unit}")
                }
                _ => before[from..].to_owned(),
            };
            let printed = printed.trim_start_matches(|c: char| !c.is_ascii_digit()).to_owned();
            let (file, constant) = (file.to_owned(), constant.to_owned());
            found.push(Marked { line: index + 1, printed, file, constant });
        }
    }
    found
}

const fn is_of_number(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, ',' | '.')
}

/// What a printed number says, in the unit's own measure.
fn printed_value(printed: &str) -> Option<f64> {
    let (number, unit) = printed.split_once(' ').unwrap_or((printed, ""));
    let number: f64 = number.replace(',', "").parse().ok()?;
    let worth = UNITS.iter().find(|(name, _)| *name == unit).map_or(1.0, |(_, worth)| *worth);
    Some(number * worth)
}

/// The value of `const NAME: T = …;` in `source`: a product, shift or sum of literals, or a `Duration` of one, in milliseconds.
fn constant_value(source: &str, name: &str) -> Option<f64> {
    let mut tokens = flat(TokenStream::from_str(source).ok()?).into_iter();
    loop {
        if tokens.next()? == "const" && tokens.clone().next().as_deref() == Some(name) {
            break;
        }
    }
    let expression: Vec<String> =
        tokens.skip_while(|token| token != "=").skip(1).take_while(|token| token != ";").collect();
    match expression.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["Duration", ":", ":", "from_millis", rest @ ..] => arithmetic(rest),
        ["Duration", ":", ":", "from_secs", rest @ ..] => Some(arithmetic(rest)? * 1000.0),
        plain => arithmetic(plain),
    }
}

/// Tokens without their groups: the arithmetic of constants needs no brackets.
fn flat(tokens: TokenStream) -> Vec<String> {
    tokens
        .into_iter()
        .flat_map(|token| match token {
            TokenTree::Group(group) => flat(group.stream()),
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => vec![token.to_string()],
        })
        .collect()
}

fn arithmetic(tokens: &[&str]) -> Option<f64> {
    let literal = |token: &str| token.replace('_', "").parse::<f64>().ok();
    let mut value = literal(tokens.first()?)?;
    let mut rest = &tokens[1..];
    while !rest.is_empty() {
        (value, rest) = match rest {
            ["*", by, rest @ ..] => (value * literal(by)?, rest),
            ["+", by, rest @ ..] => (value + literal(by)?, rest),
            ["<", "<", by, rest @ ..] => (value * literal(by)?.exp2(), rest),
            _ => return None,
        };
    }
    Some(value)
}

/// Where `text`, the page `page`, prints another number than the constant's.
fn wrong(page: &str, text: &str, source: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let check = |marked: Marked| {
        let Marked { line, printed, file, constant } = marked;
        let Some(source) = source(&file) else {
            return Some(format!("{page}:{line}: {file} does not exist"));
        };
        let value = constant_value(&source, &constant);
        match (value, printed_value(&printed)) {
            (None, _) => Some(format!("{page}:{line}: {file} has no plain constant {constant}")),
            (Some(value), Some(printed)) if (value - printed).abs() < 1e-9 => None,
            (Some(value), _) => {
                Some(format!("{page}:{line}: prints \"{printed}\", but {constant} is {value}"))
            }
        }
    };
    marked(text).into_iter().filter_map(check).collect()
}

#[test]
fn numbers_in_pages_are_those_of_the_code() {
    let pages: Vec<_> = files().into_iter().filter(|path| path.ends_with(".md")).collect();
    let source = |file: &str| std::fs::read_to_string(repository().join(file)).ok();
    let count: usize = pages.iter().map(|page| marked(&read(page)).len()).sum();
    assert!(count > 30, "only {count} numbers are marked");
    broken("a number in a page", pages.iter().flat_map(|page| wrong(page, &read(page), source)).collect());
}

#[test]
fn a_planted_number_is_found() {
    let source = |file: &str| {
        let text = "const A: usize = 28 * 1024;\npub(crate) const B: Duration = Duration::from_secs(2);\n\
                    const C: u64 = 65_536; const D: usize = 8 << 20; const E: u32 = other();";
        (file == "x/a.rs").then(|| text.to_owned())
    };
    let check = |text: &str| wrong("P.md", text, source);
    for right in [
        "up to 28 KiB<!-- x/a.rs A --> of it, or 2 s<!-- x/a.rs B -->",
        "| 2000 ms<!-- x/a.rs B --> |",
        "(65,536<!-- x/a.rs C -->)",
        "of 8 MiB<!-- x/a.rs D -->.",
        "<!-- a comment -->",
    ] {
        assert_eq!(check(right), Vec::<String>::new(), "{right}");
    }
    for planted in [
        "up to 32 KiB<!-- x/a.rs A -->",
        "2 ms<!-- x/a.rs B -->",
        "\n65,535<!-- x/a.rs C -->",
        "8<!-- x/a.rs D -->",
        "1<!-- x/a.rs E -->",
        "1<!-- x/a.rs MISSING -->",
        "1<!-- x/b.rs A -->",
        "no number<!-- x/a.rs A -->",
    ] {
        assert_eq!(check(planted).len(), 1, "{planted}");
    }
}
