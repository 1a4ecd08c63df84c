//! What a source file says in production code: the paths it names, read off its tokens.
//!
//! Reading tokens instead of lines means that comments and strings are never
//! mistaken for code, and that a rule looks behind a `#[cfg(test)]` item as well as before it.

use std::iter::Peekable;
use std::path::Path;
use std::str::FromStr as _;

use proc_macro2::token_stream::IntoIter;
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// A path that production code names, such as `std::fs::read` or one branch of a `use`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mention {
    pub(crate) line: usize,
    /// The module it stands in, from the crate's root.
    pub(crate) module: Vec<String>,
    /// Its segments; a glob import ends with `*`.
    pub(crate) path: Vec<String>,
}

/// Every path of one segment or more in `text` outside `#[cfg(test)]`, in order.
///
/// # Panics
/// `text` is not Rust.
pub(crate) fn mentions(module: &[String], text: &str) -> Vec<Mention> {
    let tokens = TokenStream::from_str(text).expect("a source that compiles is made of tokens");
    let mut reader = Reader { module: module.to_vec(), found: Vec::new() };
    reader.read(tokens);
    reader.found
}

/// The module that a file holds: `["pool", "slot"]` for `supervisor/core/src/pool/slot.rs`.
pub(crate) fn module_of(source: &str) -> Vec<String> {
    let path = Path::new(source);
    let inside = path.components().skip_while(|part| part.as_os_str() != "src").skip(1);
    let mut module: Vec<String> =
        inside.map(|part| part.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()).collect();
    module.pop_if(|last| matches!(last.as_str(), "mod" | "lib" | "main"));
    module
}

struct Reader {
    module: Vec<String>,
    found: Vec<Mention>,
}

type Tokens = Peekable<IntoIter>;

impl Reader {
    fn read(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == '#' => self.attribute(&mut tokens),
                TokenTree::Ident(word) if word == "mod" => self.module(&mut tokens),
                TokenTree::Ident(first) => {
                    let line = first.span().start().line;
                    self.path(line, vec![first.to_string()], &mut tokens);
                }
                TokenTree::Group(group) => self.read(group.stream()),
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }

    /// Skips the item behind `#[cfg(test)]`; paths inside other attributes count.
    fn attribute(&mut self, tokens: &mut Tokens) {
        tokens.next_if(|token| is_punct(token, '!'));
        let Some(TokenTree::Group(attribute)) = tokens.next() else { return };
        if is_test_only(&attribute) {
            skip_item(tokens);
        } else if !first_word_is(&attribute, "doc") {
            self.read(attribute.stream());
        }
    }

    /// Follows `mod name { … }` with the module's name known.
    fn module(&mut self, tokens: &mut Tokens) {
        let Some(TokenTree::Ident(name)) = tokens.next() else { return };
        let body = tokens.next_if(is_braced);
        if let Some(TokenTree::Group(body)) = body {
            self.module.push(name.to_string());
            self.read(body.stream());
            self.module.pop();
        }
    }

    /// Reads on behind the first segments of a path: `::more`, `::{a, b::c}` or `::*`.
    fn path(&mut self, line: usize, mut path: Vec<String>, tokens: &mut Tokens) {
        while tokens.next_if(|token| is_punct(token, ':')).is_some() {
            if tokens.next_if(|token| is_punct(token, ':')).is_none() {
                break;
            }
            match tokens.peek() {
                Some(TokenTree::Ident(_)) => path.extend(tokens.next().map(|word| word.to_string())),
                Some(TokenTree::Punct(star)) if star.as_char() == '*' => {
                    tokens.next();
                    path.push("*".to_owned());
                }
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                    let group = group.stream();
                    tokens.next();
                    return self.branches(line, &path, group);
                }
                // A generic argument: what is in it is read on its own.
                _ => break,
            }
        }
        self.found.push(Mention { line, module: self.module.clone(), path });
    }

    fn branches(&mut self, line: usize, stem: &[String], group: TokenStream) {
        let mut tokens = group.into_iter().peekable();
        while let Some(token) = tokens.next() {
            let line = if let TokenTree::Ident(word) = &token { word.span().start().line } else { line };
            let last = match token {
                TokenTree::Ident(word) if word == "self" => None,
                TokenTree::Ident(word) => Some(word.to_string()),
                TokenTree::Punct(star) if star.as_char() == '*' => Some("*".to_owned()),
                TokenTree::Punct(_) | TokenTree::Group(_) | TokenTree::Literal(_) => continue,
            };
            self.path(line, stem.iter().cloned().chain(last).collect(), &mut tokens);
            // `as name` is no branch.
            while tokens.next_if(|token| !is_punct(token, ',')).is_some() {}
        }
    }
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

fn is_braced(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
}

fn first_word_is(attribute: &Group, wanted: &str) -> bool {
    matches!(attribute.stream().into_iter().next(), Some(TokenTree::Ident(word)) if word == wanted)
}

/// `[cfg(test)]`, alone or as one condition of `all`.
fn is_test_only(attribute: &Group) -> bool {
    let text = attribute.stream().to_string().replace(' ', "");
    text == "cfg(test)" || text.starts_with("cfg(all(test,")
}

/// Words that begin an item. In what follows one, a comma separates arguments.
const ITEMS: [&str; 13] = [
    "const", "enum", "extern", "fn", "impl", "let", "mod", "static", "struct", "trait", "type", "union",
    "use",
];

/// Passes over one item, field, variant or statement: to its `;`, the end of its braces, or
/// the comma behind a field.
fn skip_item(tokens: &mut Tokens) {
    let mut is_item = false;
    for token in tokens {
        is_item |= matches!(&token, TokenTree::Ident(word) if ITEMS.iter().any(|item| word == item));
        if is_braced(&token) || is_punct(&token, ';') || (!is_item && is_punct(&token, ',')) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &[&str]) {
        let found: Vec<String> = mentions(&[], text).iter().map(|mention| mention.path.join("::")).collect();
        let found: Vec<&str> = found.iter().map(String::as_str).filter(|path| path.contains("::")).collect();
        assert_eq!(found, want, "{text}");
    }

    #[test]
    fn paths_are_read_off_tokens() {
        check("use std::fs;", &["std::fs"]);
        check(
            "use std::{fs, io::{self, Read as _}, net::*};",
            &["std::fs", "std::io", "std::io::Read", "std::net::*"],
        );
        check("fn f() -> a::B<c::D> { e::f(g::h!(i::j)) }", &["a::B", "c::D", "e::f", "g::h", "i::j"]);
        check("// std::fs\n/* std::fs */ const A: &str = \"std::fs\";\n/// std::fs\nfn f() {}", &[]);
    }

    #[test]
    fn what_is_only_for_tests_is_passed_over_and_reading_goes_on() {
        check("#[cfg(test)]\nmod tests { use std::fs; }\nuse std::net;", &["std::net"]);
        check("#[cfg(test)]\nuse std::fs;\nuse std::net;", &["std::net"]);
        check("#[cfg(test)]\n#[derive(Debug)]\nstruct A { b: std::fs::File }\nuse std::net;", &["std::net"]);
        check("#[cfg(test)]\nfn f<A, B>(a: std::fs::File) -> u8 { 1 }\nuse std::net;", &["std::net"]);
        check(
            "struct A {\n #[cfg(test)]\n b: std::fs::File,\n c: std::net::IpAddr,\n}",
            &["std::net::IpAddr"],
        );
        check(
            "impl A { #[cfg(test)] fn b() { std::fs::read() }\n fn c() { std::net::d() } }",
            &["std::net::d"],
        );
        check("#[cfg(all(test, unix))]\nuse std::fs;\n#[cfg(not(test))]\nuse std::net;", &["std::net"]);
    }

    #[test]
    fn a_mention_knows_its_line_and_module() {
        let found = mentions(&["pool".to_owned()], "mod inner {\n    use super::slot;\n}");
        let slot = found.iter().find(|mention| mention.path == ["super", "slot"]).expect("it is named");
        assert_eq!((slot.line, slot.module.join("::").as_str()), (2, "pool::inner"));
    }

    #[test]
    fn a_file_is_a_module() {
        for (source, module) in [
            ("supervisor/core/src/pool/slot.rs", vec!["pool", "slot"]),
            ("supervisor/core/src/pool/mod.rs", vec!["pool"]),
            ("supervisor/core/src/auto.rs", vec!["auto"]),
            ("worker/src/lib.rs", vec![]),
        ] {
            assert_eq!(module_of(source), module, "{source}");
        }
    }
}
