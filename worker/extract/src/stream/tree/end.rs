//! End tags in the body.

use super::{Key, Step, Stop, Tag, Tree, tag};

impl Tree<'_> {
    pub(super) fn end_in_body(&mut self, tag: Tag, key: Key) -> Step {
        if tag.is_in(tag::FORMATTING) {
            return self.end_formatting(tag, key);
        }
        if tag.is_in(tag::CLOSED_AS_BLOCKS) {
            return self.end_block(tag);
        }
        match tag {
            Tag::P => {
                if self.paragraphs == 0 || !self.in_scope(Tag::P, tag::BUTTON_SCOPE) {
                    self.push_implied(Tag::P)?;
                }
                self.close_through(|tag| tag == Tag::P)
            }
            Tag::Li | Tag::Dd | Tag::Dt => {
                let scope = if tag == Tag::Li { tag::LIST_ITEM_SCOPE } else { tag::SCOPE };
                if self.in_scope(tag, scope) { self.close_through(|open| open == tag) } else { Ok(()) }
            }
            _ if tag.is_in(tag::HEADINGS) => {
                if self.any_in_scope(|element| element.tag.is_in(tag::HEADINGS), tag::SCOPE) {
                    return self.close_through(|open| open.is_in(tag::HEADINGS));
                }
                Ok(())
            }
            Tag::Form => self.end_form(),
            Tag::Applet | Tag::Marquee | Tag::Object => {
                if self.in_scope(tag, tag::SCOPE) {
                    self.close_through(|open| open == tag)?;
                    self.formatting.clear_to_marker();
                }
                Ok(())
            }
            Tag::Br => {
                self.reconstruct_formatting()?;
                self.pass(&super::implied(Tag::Br))?;
                self.is_frameset_ok = false;
                Ok(())
            }
            // The body stays open: content after its end tag goes into it.
            Tag::Body | Tag::Html => Ok(()),
            _ => self.end_other(tag, key),
        }
    }

    fn end_block(&mut self, tag: Tag) -> Step {
        if self.in_scope(tag, tag::SCOPE) { self.close_through(|open| open == tag) } else { Ok(()) }
    }

    /// Removes the form from the stack, and leaves the elements inside it open.
    fn end_form(&mut self) -> Step {
        let Some(form) = self.form.take() else {
            return Ok(());
        };
        if !self.any_in_scope(|element| element.id == form, tag::SCOPE) {
            return Ok(());
        }
        self.close_implied(None)?;
        let Some(depth) = self.depth_of(form) else {
            return Ok(());
        };
        if depth + 1 == self.stack.len() {
            return self.pop();
        }
        // Text continues inside the form, but no open element stands for the form.
        if self.captures.iter().any(|capture| capture.depth >= depth) {
            return Err(Stop::Irregular);
        }
        self.stack.remove(depth);
        Ok(())
    }

    /// The end tag of an element without its own rules.
    pub(super) fn end_other(&mut self, tag: Tag, key: Key) -> Step {
        for (depth, element) in self.stack.iter().enumerate().rev() {
            if element.tag == tag && element.key == key {
                return self.truncate(depth);
            }
            if element.tag.is_in(tag::SPECIAL) {
                return Ok(());
            }
        }
        Ok(())
    }
}
