//! The values found so far on one page, and the limits on them.
//!
//! Values stay in one buffer until the page ends, because `<base>` may come last, and
//! links depend on it.

use std::borrow::Cow;
use std::time::Duration;

use wire::clock;
use wire::record::FieldValue;

use crate::ExtractError;
use crate::links::Links;
use crate::pick::{Pick, Take};

/// Maximum size in bytes of all fields of one page. Nested elements repeat the text
/// inside them: a megabyte in a thousand nested `div`s would come to a gigabyte.
pub(crate) const FOUND_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The end of a page's CPU time.
pub(crate) struct Deadline {
    end: Duration,
    limit: Duration,
}

impl Deadline {
    pub(crate) fn after(limit: Duration) -> Self {
        Self { end: clock::thread_cpu().saturating_add(limit), limit }
    }

    /// # Errors
    /// Fails when the time is over.
    pub(crate) fn check(&self) -> Result<(), ExtractError> {
        if clock::thread_cpu() > self.end {
            return Err(ExtractError::Deadline { limit: self.limit });
        }
        Ok(())
    }
}

/// The values found on one page, by field, in document order.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// All values, one after the other, in UTF-8. Bytes that are not valid UTF-8 are kept.
    bytes: Vec<u8>,
    /// For each field, the ranges of its values in `bytes`.
    values: Vec<Vec<(usize, usize)>>,
    base_href: Option<String>,
    /// Bytes found, including values that are not complete.
    total: usize,
}

/// The place of a value among the values of its field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    field: usize,
    place: usize,
}

impl Found {
    pub(crate) fn new(fields: usize) -> Self {
        Self { values: vec![Vec::new(); fields], ..Self::default() }
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.values.iter_mut().for_each(Vec::clear);
        self.base_href = None;
        self.total = 0;
    }

    pub(crate) fn has_base(&self) -> bool {
        self.base_href.is_some()
    }

    pub(crate) fn set_base(&mut self, href: &str) {
        self.base_href = Some(href.to_owned());
    }

    pub(crate) fn is_answered(&self, field: usize) -> bool {
        self.values.get(field).is_some_and(|values| !values.is_empty())
    }

    /// Adds one value to a field.
    ///
    /// # Errors
    /// Fails if the fields of the page exceed their limit.
    pub(crate) fn push(&mut self, field: usize, value: &[u8]) -> Result<(), ExtractError> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.close(field, start)
    }

    /// Adds a text, given in pieces, to a field.
    ///
    /// # Errors
    /// Fails if the fields of the page exceed their limit.
    pub(crate) fn push_text<'a>(
        &mut self,
        field: usize,
        pieces: impl Iterator<Item = &'a str>,
    ) -> Result<(), ExtractError> {
        let start = self.bytes.len();
        for piece in pieces {
            self.bytes.extend_from_slice(piece.as_bytes());
        }
        self.close(field, start)
    }

    /// Reserves the place, in document order, of a value that is not complete.
    pub(crate) fn reserve(&mut self, field: usize) -> Slot {
        let place = self.values.get_mut(field).map_or(0, |values| {
            values.push((0, 0));
            values.len() - 1
        });
        Slot { field, place }
    }

    /// Counts bytes of a reserved value.
    ///
    /// # Errors
    /// Fails if the fields of the page exceed their limit.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), ExtractError> {
        self.total += bytes;
        if self.total > FOUND_BYTES_MAX {
            return Err(ExtractError::TooMuch { limit_bytes: FOUND_BYTES_MAX });
        }
        Ok(())
    }

    /// Sets the text of a reserved value. Its bytes have been counted.
    pub(crate) fn fill(&mut self, slot: Slot, text: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(text);
        if let Some(value) = self.values.get_mut(slot.field).and_then(|values| values.get_mut(slot.place)) {
            *value = (start, self.bytes.len());
        }
    }

    /// Adds what `write` appends to a field, as one value.
    ///
    /// # Errors
    /// Fails if the fields of the page exceed their limit.
    pub(crate) fn push_written(
        &mut self,
        field: usize,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), ExtractError>,
    ) -> Result<(), ExtractError> {
        let start = self.bytes.len();
        write(&mut self.bytes)?;
        self.close(field, start)
    }

    fn close(&mut self, field: usize, start: usize) -> Result<(), ExtractError> {
        if let Some(values) = self.values.get_mut(field) {
            values.push((start, self.bytes.len()));
        }
        self.grow(self.bytes.len() - start)
    }

    /// Whether the values are the same in every encoding that the page may declare. ISO-2022-JP
    /// starts text that is not ASCII with an escape character.
    pub(crate) fn is_ascii(&self) -> bool {
        self.bytes.is_ascii() && memchr::memchr(0x1B, &self.bytes).is_none()
    }

    /// The first `<base href>`, as written.
    pub(crate) fn base_href(&self) -> Option<&str> {
        self.base_href.as_deref()
    }

    /// Returns the values.
    pub(crate) fn read(&self) -> Values<'_> {
        Values { found: self, text: std::str::from_utf8(&self.bytes).ok() }
    }
}

/// The values of a page that was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Values<'f> {
    found: &'f Found,
    /// All values as text, if they are valid UTF-8.
    text: Option<&'f str>,
}

impl<'f> Values<'f> {
    /// The value of a pick: text is trimmed, links are made absolute.
    pub(crate) fn of(self, n: usize, pick: &Pick, links: &Links) -> FieldValue {
        let is_link = pick.take.is_link();
        let is_text = pick.take == Take::Text;
        let mut values = self.texts(n).map(|value| {
            FieldValue::Text(if is_link {
                links.resolve(&value)
            } else if is_text {
                trimmed(&value).to_owned()
            } else {
                value.into_owned()
            })
        });
        if pick.every {
            FieldValue::List(values.collect())
        } else {
            values.next().unwrap_or(FieldValue::Null)
        }
    }

    /// The values of a pick, unchanged.
    pub(crate) fn texts(self, n: usize) -> impl Iterator<Item = Cow<'f, str>> {
        let values = self.found.values.get(n).map(Vec::as_slice).unwrap_or_default();
        values.iter().map(move |&(start, end)| match self.text.and_then(|text| text.get(start..end)) {
            Some(value) => Cow::Borrowed(value),
            None => String::from_utf8_lossy(self.found.bytes.get(start..end).unwrap_or_default()),
        })
    }
}

/// Removes HTML's white space at both ends. A no-break space is not white space.
pub(crate) fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_ascii_whitespace())
}

/// The value of a selector whose language does not apply to the body.
pub(crate) const fn nothing(every: bool) -> FieldValue {
    if every { FieldValue::List(Vec::new()) } else { FieldValue::Null }
}
