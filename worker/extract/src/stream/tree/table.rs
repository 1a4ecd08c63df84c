//! Tables: which parts open and close each other, and which content is out of place.

use super::{Key, RawText, StartTag, Step, Stop, Tag, Tree, decode, tag};

/// A form without an open element: it started among the parts of a table.
const NOWHERE: u32 = u32::MAX;

impl Tree<'_> {
    pub(super) fn start_in_cell_or_body(&mut self, start: &StartTag<'_>) -> Step<Option<RawText>> {
        let closes = matches!(
            start.tag,
            Tag::Caption
                | Tag::Col
                | Tag::Colgroup
                | Tag::Tbody
                | Tag::Td
                | Tag::Tfoot
                | Tag::Th
                | Tag::Thead
                | Tag::Tr
        );
        if !closes || self.table_mode().is_none() {
            return self.start_in_body(start);
        }
        self.close_cell_or_caption()?;
        self.start_in_table(start)
    }

    /// A start tag among the parts of a table.
    pub(super) fn start_in_table(&mut self, start: &StartTag<'_>) -> Step<Option<RawText>> {
        loop {
            let mode = self.table_mode();
            if mode == Some(Tag::Colgroup) {
                match start.tag {
                    Tag::Html => return self.ignore_unless_attributes(start),
                    Tag::Col => return self.pass(start).map(|()| None),
                    Tag::Template => return Err(Stop::Irregular),
                    _ => {
                        self.close_part()?;
                        continue;
                    }
                }
            }
            match (mode, start.tag) {
                (None | Some(Tag::Td | Tag::Th | Tag::Caption), _) => return self.start(start),
                (Some(Tag::Tr), Tag::Td | Tag::Th) => {
                    self.formatting.mark();
                    return self.push(start).map(|()| None);
                }
                (Some(Tag::Tr), Tag::Tr)
                | (
                    Some(Tag::Tr | Tag::Tbody | Tag::Thead | Tag::Tfoot),
                    Tag::Caption | Tag::Col | Tag::Colgroup | Tag::Tbody | Tag::Tfoot | Tag::Thead,
                ) => self.close_part()?,
                (Some(Tag::Tbody | Tag::Thead | Tag::Tfoot), Tag::Td | Tag::Th) => {
                    self.push_implied(Tag::Tr)?
                }
                (Some(Tag::Table), Tag::Td | Tag::Th | Tag::Tr) => self.push_implied(Tag::Tbody)?,
                (Some(Tag::Table), Tag::Col) => self.push_implied(Tag::Colgroup)?,
                (Some(Tag::Table), Tag::Caption) => {
                    self.formatting.mark();
                    return self.push(start).map(|()| None);
                }
                (Some(Tag::Tbody | Tag::Thead | Tag::Tfoot), Tag::Tr)
                | (Some(Tag::Table), Tag::Colgroup | Tag::Tbody | Tag::Tfoot | Tag::Thead) => {
                    return self.push(start).map(|()| None);
                }
                (Some(_), Tag::Table) => {
                    self.close_through(|tag| tag == Tag::Table)?;
                    return self.start(start);
                }
                (Some(_), _) => return self.start_out_of_place(start),
            }
        }
    }

    /// Handles content that is not a part of a table but stands among its parts.
    fn start_out_of_place(&mut self, start: &StartTag<'_>) -> Step<Option<RawText>> {
        match start.tag {
            Tag::Style | Tag::Script => self.start_head_element(start),
            Tag::Html | Tag::Body => self.ignore_unless_attributes(start),
            Tag::Head | Tag::Frame => Ok(None),
            // A table rules out a frameset.
            Tag::Frameset => Ok(None),
            Tag::Input if is_hidden(start) => self.pass(start).map(|()| None),
            Tag::Form => {
                if self.form.is_none() {
                    self.pass(start)?;
                    self.form = Some(NOWHERE);
                }
                Ok(None)
            }
            _ => Err(Stop::Irregular),
        }
    }

    /// Handles an end tag while a table is open.
    pub(super) fn end_in_table(&mut self, tag: Tag, key: Key) -> Step {
        loop {
            let Some(mode) = self.table_mode() else {
                return self.end_in_body(tag, key);
            };
            let is_part = tag.is_in(tag::TABLE_PARTS) || matches!(tag, Tag::Col | Tag::Html | Tag::Body);
            match (mode, tag) {
                (Tag::Colgroup, Tag::Col) => return Ok(()),
                (Tag::Colgroup, Tag::Colgroup) => return self.close_part(),
                (Tag::Colgroup, _) => self.close_part()?,
                (Tag::Td | Tag::Th | Tag::Caption, _) if !is_part => return self.end_in_body(tag, key),
                (Tag::Td | Tag::Th, Tag::Td | Tag::Th) => return self.end_cell(tag),
                (Tag::Td | Tag::Th, Tag::Table | Tag::Tbody | Tag::Tfoot | Tag::Thead | Tag::Tr) => {
                    if !self.in_scope(tag, tag::TABLE_SCOPE) {
                        return Ok(());
                    }
                    self.close_cell_or_caption()?;
                }
                (Tag::Caption, Tag::Caption) => return self.close_cell_or_caption(),
                (Tag::Caption, Tag::Table) => self.close_cell_or_caption()?,
                (Tag::Tr, Tag::Tr)
                | (Tag::Tbody | Tag::Tfoot | Tag::Thead, Tag::Tbody | Tag::Tfoot | Tag::Thead)
                    if self.in_scope(tag, tag::TABLE_SCOPE) =>
                {
                    return self.close_part();
                }
                (Tag::Tr, Tag::Tbody | Tag::Tfoot | Tag::Thead) if self.in_scope(tag, tag::TABLE_SCOPE) => {
                    self.close_part()?;
                }
                (Tag::Tr | Tag::Tbody | Tag::Tfoot | Tag::Thead, Tag::Table) => self.close_part()?,
                (Tag::Table, Tag::Table) => return self.close_through(|tag| tag == Tag::Table),
                _ if is_part => return Ok(()),
                // These two would open an element out of place.
                (_, Tag::P | Tag::Br) => return Err(Stop::Irregular),
                _ => return self.end_in_body(tag, key),
            }
        }
    }

    fn end_cell(&mut self, tag: Tag) -> Step {
        if self.in_scope(tag, tag::TABLE_SCOPE) {
            self.close_through(|open| open == tag)?;
            self.formatting.clear_to_marker();
        }
        Ok(())
    }

    fn close_cell_or_caption(&mut self) -> Step {
        self.close_part()?;
        self.formatting.clear_to_marker();
        Ok(())
    }

    /// Closes the innermost table part.
    fn close_part(&mut self) -> Step {
        match self.table_parts.last() {
            Some(part) => self.truncate(*part),
            None => Ok(()),
        }
    }
}

/// Whether an `input` is hidden, so that it may stand among the parts of a table.
pub(super) fn is_hidden(start: &StartTag<'_>) -> bool {
    start.attributes.get("type").is_some_and(|kind| decode::attribute(kind).eq_ignore_ascii_case("hidden"))
}
