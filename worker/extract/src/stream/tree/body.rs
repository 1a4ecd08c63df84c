//! Start tags in the body.

use super::{Quirks, RawText, StartTag, Step, Stop, Tag, Tree, tag};

impl Tree<'_> {
    pub(super) fn start_in_body(&mut self, start: &StartTag<'_>) -> Step<Option<RawText>> {
        if start.tag.is_in(tag::BLOCKS) {
            self.close_paragraph()?;
            return self.push(start).map(|()| None);
        }
        match start.tag {
            Tag::Other | Tag::Span => self.start_inline(start)?,
            Tag::A => {
                self.end_outer_link()?;
                self.reconstruct_formatting()?;
                self.push_formatting(start)?;
            }
            Tag::Nobr => {
                self.reconstruct_formatting()?;
                self.end_outer_nobr()?;
                self.push_formatting(start)?;
            }
            _ if start.tag.is_in(tag::FORMATTING) => {
                self.reconstruct_formatting()?;
                self.push_formatting(start)?;
            }
            Tag::Li | Tag::Dd | Tag::Dt => self.start_item(start)?,
            Tag::Area | Tag::Br | Tag::Embed | Tag::Img | Tag::Keygen | Tag::Wbr => {
                self.reconstruct_formatting()?;
                self.pass(start)?;
                self.is_frameset_ok = false;
            }
            Tag::Table => self.start_table(start)?,
            Tag::Pre | Tag::Listing => {
                self.close_paragraph()?;
                self.push(start)?;
                self.skips_line_feed = true;
                self.is_frameset_ok = false;
            }
            _ if start.tag.is_in(tag::HEADINGS) => {
                self.close_paragraph()?;
                if self.current().is_in(tag::HEADINGS) {
                    self.pop()?;
                }
                self.push(start)?;
            }
            Tag::Hr => self.start_rule(start)?,
            Tag::Form | Tag::Button | Tag::Input | Tag::Select | Tag::Option | Tag::Optgroup => {
                self.start_control(start)?;
            }
            _ => return self.start_rare(start),
        }
        Ok(None)
    }

    fn start_inline(&mut self, start: &StartTag<'_>) -> Step {
        self.reconstruct_formatting()?;
        self.push(start)
    }

    /// Start tags that are rare in a body.
    fn start_rare(&mut self, start: &StartTag<'_>) -> Step<Option<RawText>> {
        match start.tag {
            Tag::Html => return self.ignore_unless_attributes(start),
            Tag::Body => {
                self.is_frameset_ok = false;
                return self.ignore_unless_attributes(start);
            }
            Tag::Base
            | Tag::Basefont
            | Tag::Bgsound
            | Tag::Link
            | Tag::Meta
            | Tag::Title
            | Tag::Noframes
            | Tag::Style
            | Tag::Script => return self.start_head_element(start),
            Tag::Template | Tag::Plaintext => return Err(Stop::Irregular),
            Tag::Frameset if self.is_frameset_ok => return Err(Stop::Irregular),
            Tag::Textarea => {
                self.skips_line_feed = true;
                self.is_frameset_ok = false;
                self.push(start)?;
                return Ok(Some(RawText::WithEntities));
            }
            Tag::Xmp | Tag::Iframe | Tag::Noembed => {
                if start.tag == Tag::Xmp {
                    self.close_paragraph()?;
                    self.reconstruct_formatting()?;
                }
                self.is_frameset_ok &= start.tag == Tag::Noembed;
                self.push(start)?;
                return Ok(Some(RawText::Plain));
            }
            Tag::Applet | Tag::Marquee | Tag::Object => {
                self.start_inline(start)?;
                self.formatting.mark();
                self.is_frameset_ok = false;
            }
            Tag::Param | Tag::Source | Tag::Track => self.pass(start)?,
            Tag::Rb | Tag::Rtc | Tag::Rp | Tag::Rt => {
                if self.in_scope(Tag::Ruby, tag::SCOPE) {
                    let except = matches!(start.tag, Tag::Rp | Tag::Rt).then_some(Tag::Rtc);
                    self.close_implied(except)?;
                }
                self.push(start)?;
            }
            Tag::Math | Tag::Svg => self.enter_foreign(start)?,
            Tag::Caption | Tag::Col | Tag::Colgroup | Tag::Frame | Tag::Frameset | Tag::Head => {}
            Tag::Tbody | Tag::Td | Tag::Tfoot | Tag::Th | Tag::Thead | Tag::Tr => {}
            _ => self.start_inline(start)?,
        }
        Ok(None)
    }

    /// A list item closes the previous one.
    fn start_item(&mut self, start: &StartTag<'_>) -> Step {
        self.is_frameset_ok = false;
        let closes = |tag: Tag| match start.tag {
            Tag::Li => tag == Tag::Li,
            _ => matches!(tag, Tag::Dd | Tag::Dt),
        };
        for (depth, element) in self.stack.iter().enumerate().rev() {
            if closes(element.tag) {
                self.truncate(depth)?;
                break;
            }
            if element.tag.is_in(tag::SPECIAL_TO_ITEMS) {
                break;
            }
        }
        self.close_paragraph()?;
        self.push(start)
    }

    fn start_table(&mut self, start: &StartTag<'_>) -> Step {
        if self.paragraphs > 0 && self.in_scope(Tag::P, tag::BUTTON_SCOPE) {
            match self.quirks {
                Quirks::Yes => {}
                Quirks::No => self.close_paragraph()?,
            }
        }
        self.push(start)?;
        self.is_frameset_ok = false;
        Ok(())
    }

    fn start_rule(&mut self, start: &StartTag<'_>) -> Step {
        self.close_paragraph()?;
        if self.in_scope(Tag::Select, tag::SCOPE) {
            self.close_implied(None)?;
        }
        self.pass(start)?;
        self.is_frameset_ok = false;
        Ok(())
    }

    fn start_control(&mut self, start: &StartTag<'_>) -> Step {
        let in_select = self.in_scope(Tag::Select, tag::SCOPE);
        match start.tag {
            Tag::Form => {
                if self.form.is_none() {
                    self.close_paragraph()?;
                    self.form = Some(self.next_id);
                    self.push(start)?;
                }
                return Ok(());
            }
            Tag::Button => {
                if self.in_scope(Tag::Button, tag::SCOPE) {
                    self.close_through(|tag| tag == Tag::Button)?;
                }
                self.is_frameset_ok = false;
            }
            Tag::Input => {
                if in_select {
                    self.close_through(|tag| tag == Tag::Select)?;
                }
                self.is_frameset_ok &= super::table::is_hidden(start);
                self.reconstruct_formatting()?;
                return self.pass(start);
            }
            Tag::Select => {
                if in_select {
                    return self.close_through(|tag| tag == Tag::Select);
                }
                self.is_frameset_ok = false;
            }
            _ if in_select => self.close_implied((start.tag == Tag::Option).then_some(Tag::Optgroup))?,
            _ if self.current() == Tag::Option => self.pop()?,
            _ => {}
        }
        self.start_inline(start)
    }
}
