//! Tree construction without a tree: keeps the open elements according to the HTML
//! standard, so that matches and texts are those of the tree engine.
//!
//! Some repairs of a browser move nodes that are already in place, such as content
//! fostered out of a table, or blocks adopted out of an inline element. These cannot be
//! followed without a tree, and neither can `<template>` and framesets. Such pages are
//! [`Stop::Irregular`] and go to the tree engine. Everything else is followed exactly,
//! including implied elements and misnested inline markup.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a rule names the tags it is about; the hundred others take the default"
)]

mod body;
mod end;
mod foreign;
mod formatting;
mod head;
mod stack;
mod table;
mod text;

use encoding_rs::Encoding;

use super::decode;
use super::matcher::{Above, Bits, Matcher};
use super::tag::{self, Key, Set, Tag};
use super::token::{Attributes, RawText, is_space};
use crate::ExtractError;
use crate::charset::Charset;
use crate::found::{Found, Slot};
use crate::links::Links;
use crate::pick::{NeedsBase, Pick, Take};
use formatting::Formatting;

/// Maximum open elements, beyond which a page counts as irregular. No page written
/// by a person comes near it, and a search of the stack stays cheap.
const DEPTH_MAX: usize = 400;

/// Why streaming ends before the page does.
#[derive(Debug)]
pub(super) enum Stop {
    /// The page needs a tree.
    Irregular,
    /// The page is in another encoding.
    Redecode(&'static Encoding),
    /// The page exceeds a limit.
    Failed(ExtractError),
}

type Step<T = ()> = Result<T, Stop>;

/// A start tag.
#[derive(Debug, Clone, Copy)]
pub(super) struct StartTag<'a> {
    pub(super) tag: Tag,
    pub(super) key: Key,
    pub(super) name: &'a [u8],
    /// Empty if the tree does not need them.
    pub(super) attributes: Attributes<'a>,
    pub(super) is_self_closing: bool,
}

/// How far the page is before its body: the standard's insertion modes
/// that no open element shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Initial,
    BeforeHtml,
    BeforeHead,
    InHead,
    InHeadNoscript,
    AfterHead,
    InBody,
}

/// Whether the page is in quirks mode, where a table stays inside a paragraph, and
/// classes and ids ignore case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quirks {
    Yes,
    No,
}

/// An open element.
#[derive(Debug)]
struct Element {
    key: Key,
    tag: Tag,
    /// Different for every element of a page.
    id: u32,
    /// Text is collected from here.
    is_captured: bool,
    /// SVG content in which HTML may start again.
    is_integration_point: bool,
    reached: Bits,
    above: Bits,
}

/// Text being collected for a field.
#[derive(Debug)]
struct Capture {
    /// Index of its element on the stack.
    depth: usize,
    slot: Slot,
    text: Vec<u8>,
}

/// The open elements of a page, and the steps that they reach.
pub(super) struct Tree<'j> {
    matcher: &'j Matcher,
    picks: &'j [Pick],
    found: &'j mut Found,
    charset: Charset,
    phase: Phase,
    quirks: Quirks,
    stack: Vec<Element>,
    /// Indices in `stack` of the elements in [`tag::TABLE_PARTS`].
    table_parts: Vec<usize>,
    formatting: Formatting,
    captures: Vec<Capture>,
    /// The steps above the children of `head`, for those that come after it.
    in_head: Above,
    head_was_captured: bool,
    /// The form that later controls belong to; a form inside it is ignored.
    form: Option<u32>,
    next_id: u32,
    /// The number of open `p` elements; most blocks need to know.
    paragraphs: usize,
    tables: usize,
    /// A frameset may still replace the body and its content.
    is_frameset_ok: bool,
    /// The next text loses a line feed at its start.
    skips_line_feed: bool,
    /// Fields for the first match that have no answer yet; `None` if some field takes every match.
    unanswered: Option<usize>,
    /// A first match was found in the body.
    answered_in_body: bool,
    /// A first match is a link that depends on the base.
    answer_needs_base: bool,
    /// The first matches are the same in every encoding.
    answer_is_ascii: bool,
}

impl<'j> Tree<'j> {
    pub(super) fn new(
        matcher: &'j Matcher,
        picks: &'j [Pick],
        charset: Charset,
        found: &'j mut Found,
    ) -> Self {
        let every = picks.iter().any(|pick| pick.every);
        Self {
            matcher,
            picks,
            found,
            charset,
            phase: Phase::Initial,
            quirks: Quirks::Yes,
            stack: Vec::with_capacity(32),
            table_parts: Vec::new(),
            formatting: Formatting::default(),
            captures: Vec::new(),
            in_head: Above::default(),
            head_was_captured: false,
            form: None,
            next_id: 0,
            paragraphs: 0,
            tables: 0,
            is_frameset_ok: true,
            skips_line_feed: false,
            unanswered: if every { None } else { Some(picks.len()) },
            answered_in_body: false,
            answer_needs_base: false,
            answer_is_ascii: false,
        }
    }

    /// Whether the attributes of a start tag must be read.
    #[inline]
    pub(super) fn wants_attributes(&self, tag: Tag, key: Key) -> bool {
        matches!(tag, Tag::Html | Tag::Body | Tag::Base | Tag::Input | Tag::Svg | Tag::Math)
            || self.is_in_foreign()
            || (tag == Tag::Meta && self.charset.is_tentative())
            || self.matcher.wants(key)
    }

    /// Whether every field has an answer that the rest of the page cannot change.
    #[inline]
    pub(super) fn is_answered(&self) -> bool {
        self.unanswered == Some(0) && self.is_final()
    }

    fn is_final(&self) -> bool {
        // Content fostered out of a table goes before it; a frameset removes the
        // body; late attributes can make `html` or `body` match; a `<base>` may follow, and so may
        // a `<meta>` with another encoding.
        self.tables == 0
            && (!self.charset.is_tentative() || self.answer_is_ascii)
            && !(self.answered_in_body && self.is_frameset_ok)
            && !self.matcher.can_match_root
            && (!self.answer_needs_base || self.found.has_base())
    }

    pub(super) fn doctype(&mut self, declaration: &[u8]) {
        self.skips_line_feed = false;
        if self.phase == Phase::Initial {
            self.quirks = head::quirks(declaration);
            self.phase = Phase::BeforeHtml;
        }
    }

    pub(super) fn comment(&mut self) {
        self.skips_line_feed = false;
    }

    /// Handles a start tag. Returns a value if its content is not markup.
    pub(super) fn start(&mut self, tag: &StartTag<'_>) -> Step<Option<RawText>> {
        self.skips_line_feed = false;
        if self.is_in_foreign() {
            return self.start_in_foreign(tag).map(|()| None);
        }
        if self.phase != Phase::InBody {
            return self.start_before_body(tag);
        }
        match self.table_mode() {
            None | Some(Tag::Td | Tag::Th | Tag::Caption) => self.start_in_cell_or_body(tag),
            Some(_) => self.start_in_table(tag),
        }
    }

    /// Handles an end tag.
    pub(super) fn end(&mut self, tag: Tag, key: Key) -> Step {
        self.skips_line_feed = false;
        if self.is_in_foreign() {
            return self.end_in_foreign(tag, key);
        }
        if self.phase != Phase::InBody {
            return self.end_before_body(tag, key);
        }
        match self.table_mode() {
            None => self.end_in_body(tag, key),
            Some(_) => self.end_in_table(tag, key),
        }
    }

    /// Handles the end of the page.
    pub(super) fn finish(&mut self) -> Step {
        self.open_body()?;
        self.truncate(0)
    }

    /// The innermost open part of a table; it decides which rules apply.
    fn table_mode(&self) -> Option<Tag> {
        let part = self.table_parts.last()?;
        self.stack.get(*part).map(|element| element.tag)
    }

    /// Whether content here would be fostered out of a table.
    fn in_table_structure(&self) -> bool {
        !matches!(self.table_mode(), None | Some(Tag::Td | Tag::Th | Tag::Caption))
    }

    pub(super) fn is_in_foreign(&self) -> bool {
        self.stack.last().is_some_and(|top| top.tag == Tag::Foreign)
    }
}

/// The start tag of an element that has no tag in the page.
fn implied(tag: Tag) -> StartTag<'static> {
    StartTag { tag, key: tag.key(), name: tag.name(), attributes: Attributes::NONE, is_self_closing: false }
}
