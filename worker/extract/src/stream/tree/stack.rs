//! The stack of open elements: opens and closes elements, and matches them.

use super::{
    Above, Attributes, Bits, Capture, Element, Phase, StartTag, Step, Stop, Tag, Tree, decode, implied, tag,
};
use super::{DEPTH_MAX, Links, NeedsBase, Set, Take};

impl Tree<'_> {
    pub(super) fn current(&self) -> Tag {
        self.stack.last().map_or(Tag::Other, |top| top.tag)
    }

    pub(super) fn above(&self) -> Above {
        self.stack
            .last()
            .map_or_else(Above::default, |top| Above { parent: top.reached, any: top.above | top.reached })
    }

    /// Whether an element is open, in its scope.
    pub(super) fn in_scope(&self, tag: Tag, boundary: Set) -> bool {
        self.any_in_scope(|element| element.tag == tag, boundary)
    }

    pub(super) fn any_in_scope(&self, wanted: impl Fn(&Element) -> bool, boundary: Set) -> bool {
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
    pub(super) fn push(&mut self, tag: &StartTag<'_>) -> Step {
        let above = self.above();
        self.push_below(tag, above)
    }

    /// Opens an element that has no tag in the page.
    pub(super) fn push_implied(&mut self, tag: Tag) -> Step {
        let implied = implied(tag);
        self.push(&implied)
    }

    pub(super) fn push_below(&mut self, tag: &StartTag<'_>, above: Above) -> Step {
        if self.stack.len() >= DEPTH_MAX {
            return Err(Stop::Irregular);
        }
        let passed = self.passes(tag);
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

    /// The steps whose own tests a new element passes.
    pub(super) fn passes(&self, tag: &StartTag<'_>) -> Bits {
        self.matcher.passes(tag.key, tag.name, tag.attributes, self.quirks.case())
    }

    /// Handles an element that is closed as soon as it is opened.
    pub(super) fn pass(&mut self, tag: &StartTag<'_>) -> Step {
        let above = self.above();
        self.pass_below(tag, above)
    }

    pub(super) fn pass_below(&mut self, tag: &StartTag<'_>, above: Above) -> Step {
        let passed = self.passes(tag);
        let reached = self.matcher.reaches(passed, above);
        self.record(reached, tag.attributes, None).map(|_| ())
    }

    /// Notes what an element matches, and returns whether its text is collected. With `depth`, its text
    /// is collected from there; without `depth`, it has no text.
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
            let Some(pick) = self.picks.get(n) else { continue };
            if !pick.every && self.found.is_answered(n) {
                continue;
            }
            match &pick.take {
                Take::Attribute(name) => {
                    let Some(raw) = attributes.get(name) else { continue };
                    let value = decode::attribute_bytes(raw);
                    self.found.push(n, &value).map_err(Stop::Failed)?;
                    if !pick.every {
                        self.answer_needs_base |= match pick.needs_base {
                            NeedsBase::No => false,
                            NeedsBase::IfRelative => !Links::is_independent(&String::from_utf8_lossy(&value)),
                            NeedsBase::Yes => true,
                        };
                    }
                }
                Take::Pair(keys) => {
                    let key = keys.iter().find_map(|key| attributes.get(key));
                    let (Some(key), Some(content)) = (key, attributes.get("content")) else { continue };
                    let (key, content) = (decode::attribute_bytes(key), decode::attribute_bytes(content));
                    self.found.push(n, &[&*key, b"\0", &*content].concat()).map_err(Stop::Failed)?;
                }
                Take::Text => {
                    self.answer_needs_base |= !pick.every && pick.needs_base != NeedsBase::No;
                    let slot = self.found.reserve(n);
                    if let Some(depth) = depth {
                        is_captured = true;
                        self.captures.push(Capture { depth, slot, text: Vec::new() });
                        // The value is complete when the element is closed.
                        continue;
                    }
                }
                // A job with such a field is not streamed.
                Take::Html => return Err(Stop::Irregular),
            }
            self.answered();
        }
        Ok(is_captured)
    }

    fn answered(&mut self) {
        self.answered_in_body |= self.phase == Phase::InBody;
        if let Some(unanswered) = &mut self.unanswered {
            *unanswered = unanswered.saturating_sub(1);
            self.answer_is_ascii = *unanswered == 0 && self.found.is_ascii();
        }
    }

    /// Closes the innermost element.
    pub(super) fn pop(&mut self) -> Step {
        self.truncate(self.stack.len().saturating_sub(1))
    }

    /// Closes elements until `len` are open.
    #[inline]
    pub(super) fn truncate(&mut self, len: usize) -> Step {
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

    /// Closes elements whose end is implied, except those with one name.
    pub(super) fn close_implied(&mut self, except: Option<Tag>) -> Step {
        while self.current().is_in(tag::IMPLIED_END) && Some(self.current()) != except {
            self.pop()?;
        }
        Ok(())
    }

    /// Closes elements up to and including the innermost one in `set`.
    pub(super) fn close_through(&mut self, wanted: impl Fn(Tag) -> bool) -> Step {
        match self.stack.iter().rposition(|element| wanted(element.tag)) {
            Some(index) => self.truncate(index),
            None => Ok(()),
        }
    }

    pub(super) fn close_paragraph(&mut self) -> Step {
        if self.paragraphs > 0 && self.in_scope(Tag::P, tag::BUTTON_SCOPE) {
            return self.close_through(|tag| tag == Tag::P);
        }
        Ok(())
    }
}
