//! Full CSS over a tree: for selectors that streaming cannot answer, and for
//! pages whose markup is too irregular to be streamed.
//!
//! Building the tree takes time quadratic in the depth of nesting (300 KB of
//! `<div>` is 6 s), so text is fed a little at a time under a deadline, and
//! matching looks at the clock as well.

use encoding_rs::Encoding;
use html5ever::tendril::{StrTendril, TendrilSink as _};
use html5ever::tree_builder::TreeBuilderOpts;
use html5ever::{ParseOpts, ns, parse_document};
use scraper::{ElementRef, Html, HtmlTreeSink, Selector};

use super::found::{Deadline, Found};
use super::input::{Decoder, Input};
use super::pick::{Pick, Take};
use super::{ExtractError, SelectorRejected, markup};

/// Text given to the tree builder between two looks at the clock. Each piece
/// costs a buffer and a system call: 2 % of the parsing at this size.
const PIECE_BYTES: usize = 4 * 1024;

/// Elements looked at between two looks at the clock.
pub(super) const ELEMENTS_PER_LOOK: usize = 64;

/// A job's selectors, ready to be matched against trees.
pub(super) struct Dom {
    picks: Vec<(Selector, Take, bool)>,
    base: Option<Selector>,
}

/// Compiles a selector.
pub(super) fn selector(css: &str) -> Result<Selector, SelectorRejected> {
    Selector::parse(css).map_err(|_| SelectorRejected { selector: css.to_owned() })
}

impl Dom {
    pub(super) fn new(picks: &[Pick]) -> Result<Self, SelectorRejected> {
        let compile = |pick: &Pick| Ok((selector(&pick.selector)?, pick.take.clone(), pick.every));
        let picks = picks.iter().map(compile).collect::<Result<_, SelectorRejected>>()?;
        Ok(Self { picks, base: Selector::parse("base[href]").ok() })
    }

    /// Reads the input to its end, collects every pick's matches and the base, and
    /// hands the tree on to whoever needs more of it.
    pub(super) fn run(
        &self,
        input: &mut Input<'_>,
        encoding: &'static Encoding,
        deadline: &Deadline,
        found: &mut Found,
    ) -> Result<Html, ExtractError> {
        let page = build(input, encoding, deadline)?;
        self.collect(&page, deadline, found)?;
        Ok(page)
    }

    fn collect(&self, page: &Html, deadline: &Deadline, found: &mut Found) -> Result<(), ExtractError> {
        // `Html::select` goes by order of creation, which is not the document's
        // order once the parser has moved content out of a table.
        let elements = page.tree.root().descendants().filter_map(ElementRef::wrap);
        for (n, element) in elements.enumerate() {
            if n % ELEMENTS_PER_LOOK == 0 {
                deadline.check()?;
            }
            if let Some(base) = &self.base
                && !found.has_base()
                && element.value().name.ns == ns!(html)
                && base.matches(&element)
            {
                found.set_base(element.attr("href").unwrap_or_default());
            }
            for (pick, (selector, take, every)) in self.picks.iter().enumerate() {
                if (!every && found.is_answered(pick)) || !selector.matches(&element) {
                    continue;
                }
                collect_one(element, take, pick, deadline, found)?;
            }
        }
        Ok(())
    }
}

fn collect_one(
    element: ElementRef<'_>,
    take: &Take,
    pick: usize,
    deadline: &Deadline,
    found: &mut Found,
) -> Result<(), ExtractError> {
    match take {
        Take::Attribute(name) => match element.attr(name) {
            Some(value) => found.push(pick, value.as_bytes()),
            None => Ok(()),
        },
        Take::Pair(keys) => {
            let key = keys.iter().find_map(|key| element.attr(key));
            match (key, element.attr("content")) {
                (Some(key), Some(content)) => found.push_text(pick, [key, "\0", content].into_iter()),
                _ => Ok(()),
            }
        }
        Take::Text => {
            deadline.check()?;
            found.push_text(pick, element.text())
        }
        Take::Html => {
            deadline.check()?;
            found.push_written(pick, |out| markup::outer_html(element, out))
        }
    }
}

fn build(
    input: &mut Input<'_>,
    encoding: &'static Encoding,
    deadline: &Deadline,
) -> Result<Html, ExtractError> {
    // No script will run, so what a page offers instead of scripts is content.
    let tree_builder = TreeBuilderOpts { scripting_enabled: false, ..TreeBuilderOpts::default() };
    let options = ParseOpts { tree_builder, ..ParseOpts::default() };
    let mut parser = parse_document(HtmlTreeSink::new(Html::new_document()), options);
    let mut decoder = Decoder::new(encoding, PIECE_BYTES);
    while let Some(text) = decoder.next(input)? {
        deadline.check()?;
        parser.process(StrTendril::from_slice(text));
    }
    Ok(parser.finish())
}
