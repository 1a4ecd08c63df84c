//! Text: which element it belongs to, and which fields collect it.

use super::{Phase, RawText, Step, Stop, Tag, Tree, decode, is_space};

impl Tree<'_> {
    /// Text between tags, up to the next `<` or the end.
    #[inline]
    pub(in crate::stream) fn text(&mut self, raw: &[u8]) -> Step {
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
        // The position of a NUL matters, except in plain text, where it is only dropped.
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

    /// Handles the whole content of the element just opened, which is not markup, and closes the element.
    pub(in crate::stream) fn raw_text(&mut self, raw: &[u8], kind: RawText) -> Step {
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

    pub(super) fn append(&mut self, text: &[u8]) -> Step {
        for capture in &mut self.captures {
            self.found.grow(text.len()).map_err(Stop::Failed)?;
            capture.text.extend_from_slice(text);
        }
        Ok(())
    }
}
