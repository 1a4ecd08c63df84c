//! SVG and MathML inside a page, unless HTML starts again inside them.

use super::{Element, Key, StartTag, Step, Stop, Tag, Tree, tag};

/// Elements of SVG or MathML in which HTML may start again. The two are not told
/// apart: to confuse them only makes the engine give up more pages.
const INTEGRATION_POINTS: [Key; 7] = [
    Key::of(b"title"),
    Key::of(b"desc"),
    Key::of(b"mi"),
    Key::of(b"mo"),
    Key::of(b"mn"),
    Key::of(b"ms"),
    Key::of(b"mtext"),
];

/// Elements whose content is usually HTML.
const HTML_INSIDE: [Key; 2] = [Key::of(b"foreignobject"), Key::of(b"annotation-xml")];

impl Tree<'_> {
    /// `svg` or `math` in HTML.
    pub(super) fn enter_foreign(&mut self, start: &StartTag<'_>) -> Step {
        self.reconstruct_formatting()?;
        self.push_foreign(start)
    }

    pub(super) fn start_in_foreign(&mut self, start: &StartTag<'_>) -> Step {
        let is_html = self.stack.last().is_some_and(|top| top.is_integration_point)
            || start.tag.is_in(tag::BREAKS_OUT)
            || start.tag == Tag::Font
            || HTML_INSIDE.contains(&start.key);
        if is_html {
            return Err(Stop::Irregular);
        }
        self.push_foreign(start)
    }

    fn push_foreign(&mut self, start: &StartTag<'_>) -> Step {
        if self.matcher.might_match_foreign(start.key, start.attributes, self.quirks.case())
            || self.stack.len() >= super::DEPTH_MAX
        {
            return Err(Stop::Irregular);
        }
        if start.is_self_closing {
            return Ok(());
        }
        let above = self.above();
        self.stack.push(Element {
            key: start.key,
            tag: Tag::Foreign,
            id: self.next_id,
            is_captured: false,
            is_integration_point: INTEGRATION_POINTS.contains(&start.key),
            reached: 0,
            above: above.any,
        });
        self.next_id += 1;
        Ok(())
    }

    pub(super) fn end_in_foreign(&mut self, tag: Tag, key: Key) -> Step {
        if matches!(tag, Tag::P | Tag::Br) {
            return Err(Stop::Irregular);
        }
        for (depth, element) in self.stack.iter().enumerate().rev() {
            if element.tag != Tag::Foreign {
                break;
            }
            if element.key == key {
                return self.truncate(depth);
            }
            if element.is_integration_point {
                return Err(Stop::Irregular);
            }
        }
        match self.table_mode() {
            None => self.end_in_body(tag, key),
            Some(_) => self.end_in_table(tag, key),
        }
    }
}
