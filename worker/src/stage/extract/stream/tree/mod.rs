//! Tree construction without a tree: which elements are open, in the HTML
//! standard's rules, so that every match and every text is the tree engine's own.
//!
//! What a browser would repair by moving nodes that are already in place (content
//! fostered out of a table, blocks adopted out of an inline element) cannot be
//! followed without them; neither are `<template>` and framesets. Such pages are
//! [`Stop::Irregular`] and go to the tree engine. Everything else, implied
//! elements and misnested inline markup included, is followed exactly.

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

use shared::select::{Field, Take};

use super::decode;
use super::matcher::{Above, Bits, Matcher};
use super::tag::{self, Key, Set, Tag};
use super::token::{Attributes, RawText, is_space};
use crate::stage::extract::ExtractError;
use crate::stage::extract::found::{Found, Slot, is_link};
use crate::stage::extract::links::Links;
use formatting::Formatting;

/// Open elements followed before a page counts as irregular. Far above any page
/// written by a person, and low enough that a search of the stack stays cheap.
const DEPTH_MAX: usize = 400;

/// Why streaming ends before the page does.
#[derive(Debug)]
pub(super) enum Stop {
    /// This page needs a tree.
    Irregular,
    /// A limit was passed.
    Failed(ExtractError),
}

type Step<T = ()> = Result<T, Stop>;

/// A start tag.
#[derive(Debug, Clone, Copy)]
pub(super) struct StartTag<'a> {
    pub(super) tag: Tag,
    pub(super) key: Key,
    pub(super) name: &'a [u8],
    /// Empty when the tree did not want them.
    pub(super) attributes: Attributes<'a>,
    pub(super) is_self_closing: bool,
}

/// How far the page has come before its body: the standard's insertion modes
/// that no open element tells.
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

/// Whether the page is in quirks mode, where a table stays inside a paragraph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quirks {
    Yes,
    No,
    /// A doctype whose meaning we do not look up.
    Unknown,
}

/// An open element.
#[derive(Debug)]
struct Element {
    key: Key,
    tag: Tag,
    /// Different for every element of a page.
    id: u32,
    /// Text is being collected from here.
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

/// The open elements of a page, and what they have matched.
pub(super) struct Tree<'j> {
    matcher: &'j Matcher,
    fields: &'j [Field],
    found: &'j mut Found,
    phase: Phase,
    quirks: Quirks,
    stack: Vec<Element>,
    /// Indices in `stack` of the elements in [`tag::TABLE_PARTS`].
    table_parts: Vec<usize>,
    formatting: Formatting,
    captures: Vec<Capture>,
    /// What children of `head` have above them, for those that come after it.
    in_head: Above,
    head_was_captured: bool,
    /// The form that later controls belong to: a second one inside is ignored.
    form: Option<u32>,
    next_id: u32,
    /// Open `p` elements; most blocks ask.
    paragraphs: usize,
    tables: usize,
    /// A frameset may still replace the body, with all that is in it.
    is_frameset_ok: bool,
    /// The next text loses a line feed at its start.
    skips_line_feed: bool,
    /// First-match fields that have no answer yet; `None` when some field wants every match.
    unanswered: Option<usize>,
    /// A first match was found in the body.
    answered_in_body: bool,
    /// A first match is a link whose meaning hangs on the base.
    answer_needs_base: bool,
}

impl<'j> Tree<'j> {
    pub(super) fn new(matcher: &'j Matcher, fields: &'j [Field], found: &'j mut Found) -> Self {
        let every = fields.iter().any(|field| field.every);
        Self {
            matcher,
            fields,
            found,
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
            unanswered: if every { None } else { Some(fields.len()) },
            answered_in_body: false,
            answer_needs_base: false,
        }
    }

    /// Whether a start tag's attributes must be read.
    #[inline]
    pub(super) fn wants_attributes(&self, tag: Tag, key: Key) -> bool {
        matches!(tag, Tag::Html | Tag::Body | Tag::Base | Tag::Input | Tag::Svg | Tag::Math)
            || self.is_in_foreign()
            || self.matcher.wants(key)
    }

    /// Whether every field has an answer that nothing later in the page can change.
    #[inline]
    pub(super) fn is_answered(&self) -> bool {
        self.unanswered == Some(0) && self.is_final()
    }

    fn is_final(&self) -> bool {
        // What is fostered out of a table lands before it; a frameset removes the
        // body; late attributes can make `html` or `body` match; `<base>` may follow.
        self.tables == 0
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

    /// A start tag; what is returned says that its content is not markup.
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

    /// An end tag.
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

<<<<<<< HEAD
    /// Text between tags, up to the next `<` or the end.
    #[inline]
    pub(super) fn text(&mut self, raw: &[u8]) -> Step {
        let indifferent = self.captures.is_empty()
            && !self.is_frameset_ok
            && !self.formatting.has_closed()
            && matches!(self.table_mode(), None | Some(Tag::Td | Tag::Th))
            && self.phase == Phase::InBody;
        if indifferent { Ok(()) } else { self.text_with_care(raw) }
    }

    fn text_with_care(&mut self, raw: &[u8]) -> Step {
        let skips_line_feed = std::mem::take(&mut self.skips_line_feed);
        let has_nul = memchr::memchr(0, raw).is_some();
        let decoded = decode::text(raw);
        let text = match decoded.strip_prefix(b"\n") {
            Some(rest) if skips_line_feed => rest,
            _ => &*decoded,
        };
        if text.is_empty() && !has_nul {
            return Ok(());
        }
        // Where a NUL stands tells more than its being dropped; only in plain text does it not.
        let nul_matters = self.phase != Phase::InBody
            || self.is_in_foreign()
            || self.is_frameset_ok
            || self.formatting.has_closed()
            || skips_line_feed
            || self.in_table_structure()
            || memchr::memchr(b'&', raw).is_some();
        if has_nul && nul_matters {
            return Err(Stop::Irregular);
        }
        let text = if self.phase == Phase::InBody { text } else { self.text_before_body(text)? };
        if text.is_empty() {
            return Ok(());
        }
        let is_blank = text.iter().all(|byte| is_space(*byte));
        if self.in_table_structure() {
            if !is_blank {
                return Err(Stop::Irregular);
            }
        } else if !self.is_in_foreign() {
            self.reconstruct_formatting()?;
        } else if self.formatting.has_closed() {
            return Err(Stop::Irregular);
        }
        if !is_blank {
            self.is_frameset_ok = false;
        }
        self.append(text)
    }

    /// The whole content of the element that was just opened, which is not markup; closes it.
    pub(super) fn raw_text(&mut self, raw: &[u8], kind: RawText) -> Step {
        let skips_line_feed = std::mem::take(&mut self.skips_line_feed);
        if !self.captures.is_empty() {
            let decoded = decode::raw_text(raw, kind == RawText::WithEntities);
            let text = match decoded.strip_prefix(b"\n") {
                Some(rest) if skips_line_feed => rest,
                _ => &*decoded,
            };
            self.append(text)?;
        }
        self.truncate(self.stack.len().saturating_sub(1))
    }

=======
>>>>>>> extract
    /// The end of the page.
    pub(super) fn finish(&mut self) -> Step {
        self.open_body()?;
        self.truncate(0)
    }

    /// The part of a table that is open innermost; it decides the rules.
    fn table_mode(&self) -> Option<Tag> {
        let part = self.table_parts.last()?;
        self.stack.get(*part).map(|element| element.tag)
    }

    /// Whether content here would be out of place in a table.
    fn in_table_structure(&self) -> bool {
        !matches!(self.table_mode(), None | Some(Tag::Td | Tag::Th | Tag::Caption))
    }

    pub(super) fn is_in_foreign(&self) -> bool {
        self.stack.last().is_some_and(|top| top.tag == Tag::Foreign)
    }
<<<<<<< HEAD

    fn current(&self) -> Tag {
        self.stack.last().map_or(Tag::Other, |top| top.tag)
    }

    fn above(&self) -> Above {
        self.stack
            .last()
            .map_or_else(Above::default, |top| Above { parent: top.reached, any: top.above | top.reached })
    }

    /// Whether a tag is open, above any of the elements that bound its scope.
    fn in_scope(&self, tag: Tag, boundary: Set) -> bool {
        self.any_in_scope(|element| element.tag == tag, boundary)
    }

    fn any_in_scope(&self, wanted: impl Fn(&Element) -> bool, boundary: Set) -> bool {
        for element in self.stack.iter().rev() {
            if wanted(element) {
                return true;
            }
            if element.tag.is_in(boundary) {
                return false;
            }
        }
        false
    }

    /// Opens an element.
    fn push(&mut self, tag: &StartTag<'_>) -> Step {
        let above = self.above();
        self.push_below(tag, above)
    }

    /// Opens an element that no tag was written for.
    fn push_implied(&mut self, tag: Tag) -> Step {
        let implied = implied(tag);
        self.push(&implied)
    }

    fn push_below(&mut self, tag: &StartTag<'_>, above: Above) -> Step {
        if self.stack.len() >= DEPTH_MAX {
            return Err(Stop::Irregular);
        }
        let passed = self.matcher.passes(tag.key, tag.name, tag.attributes);
        let reached = self.matcher.reaches(passed, above);
        let depth = self.stack.len();
        let is_captured = self.record(reached, tag.attributes, Some(depth))?;
        if tag.tag.is_in(tag::TABLE_PARTS) {
            self.table_parts.push(depth);
            self.tables += usize::from(tag.tag == Tag::Table);
        }
        self.paragraphs += usize::from(tag.tag == Tag::P);
        self.stack.push(Element {
            key: tag.key,
            tag: tag.tag,
            id: self.next_id,
            is_captured,
            is_integration_point: false,
            reached,
            above: above.any,
        });
        self.next_id += 1;
        Ok(())
    }

    /// Passes by an element that is closed as soon as it is opened.
    fn pass(&mut self, tag: &StartTag<'_>) -> Step {
        let above = self.above();
        self.pass_below(tag, above)
    }

    fn pass_below(&mut self, tag: &StartTag<'_>, above: Above) -> Step {
        let passed = self.matcher.passes(tag.key, tag.name, tag.attributes);
        let reached = self.matcher.reaches(passed, above);
        self.record(reached, tag.attributes, None).map(|_| ())
    }

    /// Notes what an element matches. With `depth`, its text is collected from
    /// there; without, it has none. Says whether text is collected.
    #[inline]
    fn record(&mut self, reached: Bits, attributes: Attributes<'_>, depth: Option<usize>) -> Step<bool> {
        if reached == 0 { Ok(false) } else { self.record_match(reached, attributes, depth) }
    }

    fn record_match(
        &mut self,
        reached: Bits,
        attributes: Attributes<'_>,
        depth: Option<usize>,
    ) -> Step<bool> {
        let mut is_captured = false;
        for n in self.matcher.fields(reached) {
            let Some(field) = self.fields.get(n) else { continue };
            if !field.every && self.found.is_answered(n) {
                continue;
            }
            match &field.take {
                Take::Attribute(name) => {
                    let Some(raw) = attributes.get(name) else { continue };
                    let value = decode::attribute_bytes(raw);
                    self.found.push(n, &value).map_err(Stop::Failed)?;
                    if !field.every && is_link(name) {
                        let link = String::from_utf8_lossy(&value);
                        self.answer_needs_base |= !Links::is_independent(&link);
                    }
                }
                Take::Text => {
                    let slot = self.found.reserve(n);
                    if let Some(depth) = depth {
                        is_captured = true;
                        self.captures.push(Capture { depth, slot, text: Vec::new() });
                        // It has its answer when it is closed.
                        continue;
                    }
                }
            }
            self.answered();
        }
        Ok(is_captured)
    }

    fn answered(&mut self) {
        self.answered_in_body |= self.phase == Phase::InBody;
        if let Some(unanswered) = &mut self.unanswered {
            *unanswered = unanswered.saturating_sub(1);
        }
    }

    /// Closes the innermost element.
    fn pop(&mut self) -> Step {
        self.truncate(self.stack.len().saturating_sub(1))
    }

    /// Closes elements until `len` are open.
    #[inline]
    fn truncate(&mut self, len: usize) -> Step {
        while self.stack.len() > len {
            let Some(element) = self.stack.pop() else { break };
            if element.tag == Tag::P {
                self.paragraphs -= 1;
            } else if element.tag.is_in(tag::FORMATTING) {
                self.formatting.close(element.id);
            } else if element.tag.is_in(tag::TABLE_PARTS) {
                self.table_parts.pop();
                self.tables -= usize::from(element.tag == Tag::Table);
            }
            if element.is_captured {
                self.end_captures();
            }
        }
        Ok(())
    }

    fn end_captures(&mut self) {
        while let Some(capture) = self.captures.pop_if(|capture| capture.depth >= self.stack.len()) {
            self.found.fill(capture.slot, &capture.text);
            self.answered();
        }
    }

    /// Closes elements whose end is implied, but for those of one name.
    fn close_implied(&mut self, except: Option<Tag>) -> Step {
        while self.current().is_in(tag::IMPLIED_END) && Some(self.current()) != except {
            self.pop()?;
        }
        Ok(())
    }

    /// Closes elements up to and including the innermost one in `set`.
    fn close_through(&mut self, wanted: impl Fn(Tag) -> bool) -> Step {
        match self.stack.iter().rposition(|element| wanted(element.tag)) {
            Some(index) => self.truncate(index),
            None => Ok(()),
        }
    }

    fn close_paragraph(&mut self) -> Step {
        if self.paragraphs > 0 && self.in_scope(Tag::P, tag::BUTTON_SCOPE) {
            return self.close_through(|tag| tag == Tag::P);
        }
        Ok(())
    }
=======
>>>>>>> extract
}

/// The start tag of an element that no tag was written for.
fn implied(tag: Tag) -> StartTag<'static> {
    StartTag { tag, key: tag.key(), name: tag.name(), attributes: Attributes::NONE, is_self_closing: false }
}
