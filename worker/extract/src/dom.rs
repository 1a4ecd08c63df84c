//! The tree engine: all of CSS, for selectors that cannot be streamed and for
//! pages whose markup is too irregular to be streamed.
//!
//! The time to build a tree is quadratic in the depth of nesting (6 s for 300 KB of
//! `<div>`). So text is fed in small pieces, and both building and matching check the
//! deadline.

use encoding_rs::Encoding;
use html5ever::tendril::{StrTendril, TendrilSink as _};
use html5ever::tokenizer::TokenizerOpts;
use html5ever::tree_builder::TreeBuilderOpts;
use html5ever::{ParseOpts, TokenizerResult, ns, parse_document};
use scraper::ElementRef;
use selectors::context::SelectorCaches;

use crate::charset::Charset;
use crate::css::Selector;
use crate::document::{Document, Language, Sink};
use crate::found::{Deadline, Found};
use crate::input::{Decoder, Input};
use crate::pick::{Pick, Take};
use crate::{ExtractError, Rejected, markup};

/// Text given to the tree builder between two checks of the deadline. Each piece
/// costs a buffer and a system call: 2 % of the parsing at this size.
const PIECE_BYTES: usize = 4 * 1024;

/// Elements matched between two checks of the deadline.
pub(crate) const ELEMENTS_PER_LOOK: usize = 64;

/// A job's selectors, ready to be matched against trees.
pub(crate) struct Dom {
    picks: Vec<(Selector, Take, bool)>,
}

/// How building a tree ended.
pub(crate) enum Built {
    Page(Document),
    /// The page declares another encoding than the one it was decoded from.
    Redecode(&'static Encoding),
}

impl Dom {
    pub(crate) fn new(picks: &[Pick]) -> Result<Self, Rejected> {
        let compile = |pick: &Pick| Ok((Selector::new(&pick.selector)?, pick.take.clone(), pick.every));
        Ok(Self { picks: picks.iter().map(compile).collect::<Result<_, Rejected>>()? })
    }

    /// Collects every pick's matches in a page, and its base.
    pub(crate) fn collect(
        &self,
        page: &Document,
        deadline: &Deadline,
        found: &mut Found,
    ) -> Result<(), ExtractError> {
        let mut caches = SelectorCaches::default();
        for (n, element) in page.elements().enumerate() {
            if n % ELEMENTS_PER_LOOK == 0 {
                deadline.check()?;
            }
            if !found.has_base()
                && element.value().name.ns == ns!(html)
                && element.value().name() == "base"
                && let Some(href) = element.attr("href")
            {
                found.set_base(href);
            }
            for (pick, (selector, take, every)) in self.picks.iter().enumerate() {
                if (!every && found.is_answered(pick)) || !selector.matches(page, element, None, &mut caches)
                {
                    continue;
                }
                collect_one(page, element, take, pick, deadline, found)?;
            }
        }
        Ok(())
    }
}

fn collect_one(
    page: &Document,
    element: ElementRef<'_>,
    take: &Take,
    pick: usize,
    deadline: &Deadline,
    found: &mut Found,
) -> Result<(), ExtractError> {
    match take {
        Take::Attribute(name) => match page.language.attribute(element, name) {
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
            found.push_written(pick, |out| markup::outer(page, element, out))
        }
    }
}

/// Reads the input to its end and builds a page's tree, unless the page declares another encoding.
pub(crate) fn build(
    input: &mut Input<'_>,
    mut charset: Charset,
    deadline: &Deadline,
) -> Result<Built, ExtractError> {
    // No scripts run, so the content for browsers without scripts counts.
    let tree_builder = TreeBuilderOpts { scripting_enabled: false, ..TreeBuilderOpts::default() };
    // The decoder's input no longer has its byte order mark; another U+FEFF is text.
    let tokenizer = TokenizerOpts { discard_bom: false, ..TokenizerOpts::default() };
    let options = ParseOpts { tree_builder, tokenizer };
    let parser = parse_document(Sink::new(Language::Html), options);
    let mut decoder = Decoder::new(charset.encoding, PIECE_BYTES);
    while let Some(text) = decoder.next(input)? {
        deadline.check()?;
        parser.input_buffer.push_back(StrTendril::from_slice(text));
        loop {
            match parser.tokenizer.feed(&parser.input_buffer) {
                TokenizerResult::Done => break,
                TokenizerResult::Script(_) => {}
                TokenizerResult::EncodingIndicator(label) => {
                    // html5ever 0.40 also reports a `charset` of `<link>`, `<base>` and their like.
                    if parser.tokenizer.sink.sink.is_at_meta()
                        && let Some(other) = charset.declare(label.as_bytes())
                    {
                        return Ok(Built::Redecode(other));
                    }
                }
            }
        }
    }
    Ok(Built::Page(parser.finish()))
}
