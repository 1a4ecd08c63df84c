//! Inline formatting elements. The HTML standard opens them again after a block has
//! closed them.

use super::{Bits, Element, Key, Step, Stop, Tag, Tree, implied, tag};

/// Entries with the same tag, beyond which only attributes decide which entry is removed.
const SAME_TAG_MAX: usize = 3;

/// The standard's list of active formatting elements.
#[derive(Debug, Default)]
pub(super) struct Formatting {
    list: Vec<Entry>,
}

#[derive(Debug)]
enum Entry {
    /// Entries before a marker are not opened again. A marker is the start of a cell, a caption or an object.
    Marker,
    Element {
        id: u32,
        tag: Tag,
        passed: Bits,
        is_open: bool,
    },
}

impl Formatting {
    /// Whether elements must be opened again before the next inline content.
    #[inline]
    pub(super) fn has_closed(&self) -> bool {
        matches!(self.list.last(), Some(Entry::Element { is_open: false, .. }))
    }

    pub(super) fn mark(&mut self) {
        self.list.push(Entry::Marker);
    }

    pub(super) fn clear_to_marker(&mut self) {
        while let Some(Entry::Element { .. }) = self.list.pop() {}
    }

    /// Notes that an element was closed, by its own end tag or otherwise.
    pub(super) fn close(&mut self, closed: u32) {
        for entry in self.list.iter_mut().rev() {
            if let Entry::Element { id, is_open, .. } = entry
                && *id == closed
            {
                *is_open = false;
                return;
            }
        }
    }

    /// The latest entry with a tag since the last marker: its index, id and whether it is open.
    fn latest(&self, wanted: Tag) -> Option<(usize, u32, bool)> {
        for (index, entry) in self.list.iter().enumerate().rev() {
            match entry {
                Entry::Marker => return None,
                Entry::Element { id, tag, is_open, .. } if *tag == wanted => {
                    return Some((index, *id, *is_open));
                }
                Entry::Element { .. } => {}
            }
        }
        None
    }

    fn contains(&self, wanted: u32) -> bool {
        self.list.iter().any(|entry| matches!(entry, Entry::Element { id, .. } if *id == wanted))
    }

    fn count(&self, wanted: Tag) -> usize {
        self.list
            .iter()
            .rev()
            .take_while(|entry| matches!(entry, Entry::Element { .. }))
            .filter(|entry| matches!(entry, Entry::Element { tag, .. } if *tag == wanted))
            .count()
    }

    fn remove(&mut self, index: usize) {
        if index < self.list.len() {
            self.list.remove(index);
        }
    }
}

impl Tree<'_> {
    /// Opens a formatting element.
    pub(super) fn push_formatting(&mut self, start: &super::StartTag<'_>) -> Step {
        if self.formatting.count(start.tag) >= SAME_TAG_MAX {
            return Err(Stop::Irregular);
        }
        let id = self.next_id;
        let passed = self.passes(start);
        self.push(start)?;
        self.formatting.list.push(Entry::Element { id, tag: start.tag, passed, is_open: true });
        Ok(())
    }

    /// Opens the elements again that a block has closed.
    #[inline]
    pub(super) fn reconstruct_formatting(&mut self) -> Step {
        if self.formatting.has_closed() { self.reconstruct_closed() } else { Ok(()) }
    }

    fn reconstruct_closed(&mut self) -> Step {
        let closed = |entry: &Entry| matches!(entry, Entry::Element { is_open: false, .. });
        let first = self.formatting.list.iter().rposition(|entry| !closed(entry)).map_or(0, |last| last + 1);
        for index in first..self.formatting.list.len() {
            let Some(Entry::Element { tag, passed, .. }) = self.formatting.list.get(index) else {
                continue;
            };
            // A second copy of an element that a selector matches would be a second match.
            if *passed != 0 {
                return Err(Stop::Irregular);
            }
            let copy = implied(*tag);
            let copy_id = self.next_id;
            self.push(&copy)?;
            if let Some(Entry::Element { id, is_open, .. }) = self.formatting.list.get_mut(index) {
                (*id, *is_open) = (copy_id, true);
            }
        }
        Ok(())
    }

    /// The end tag of a formatting element: the standard's adoption agency algorithm, unless
    /// nodes have to be moved.
    pub(super) fn end_formatting(&mut self, wanted: Tag, key: Key) -> Step {
        if let Some(top) = self.stack.last()
            && top.tag == wanted
            && !self.formatting.contains(top.id)
        {
            return self.pop();
        }
        let Some((index, id, is_open)) = self.formatting.latest(wanted) else {
            return self.end_other(wanted, key);
        };
        if !is_open {
            self.formatting.remove(index);
            return Ok(());
        }
        if !self.any_in_scope(|element| element.id == id, tag::SCOPE) {
            return Ok(());
        }
        let Some(depth) = self.depth_of(id) else {
            return Ok(());
        };
        let inside = self.stack.get(depth..).unwrap_or_default();
        if inside.iter().any(|element| element.tag.is_in(tag::SPECIAL)) {
            return Err(Stop::Irregular);
        }
        self.formatting.remove(index);
        self.truncate(depth)
    }

    pub(super) fn depth_of(&self, id: u32) -> Option<usize> {
        self.stack.iter().rposition(|element: &Element| element.id == id)
    }

    /// A link inside a link closes the outer one.
    pub(super) fn end_outer_link(&mut self) -> Step {
        let Some((_, id, is_open)) = self.formatting.latest(Tag::A) else {
            return Ok(());
        };
        if is_open && !self.any_in_scope(|element| element.id == id, tag::SCOPE) {
            return Err(Stop::Irregular);
        }
        self.end_formatting(Tag::A, Tag::A.key())
    }

    /// A `nobr` inside a `nobr` closes the outer one.
    pub(super) fn end_outer_nobr(&mut self) -> Step {
        if self.in_scope(Tag::Nobr, tag::SCOPE) {
            self.end_formatting(Tag::Nobr, Tag::Nobr.key())?;
            self.reconstruct_formatting()?;
        }
        Ok(())
    }
}
