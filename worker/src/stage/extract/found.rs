//! What the engines have found so far on one page, and the limits on finding.
//!
//! Values stay in one buffer until the page is done: only then is the base of
//! its links known, since `<base>` may come last.

use std::time::Duration;

use shared::clock;
use shared::record::FieldValue;
use shared::select::{Field, Take};
use url::Url;

use super::ExtractError;
use super::links::Links;

/// Most bytes the fields of one page may come to. Nested elements repeat the
/// text inside them: a megabyte in a thousand nested `div`s would be a gigabyte.
const FOUND_BYTES_MAX: usize = 64 * 1024 * 1024;

/// When a page's share of CPU time ends.
pub(super) struct Deadline {
    end: Duration,
    limit: Duration,
}

impl Deadline {
    pub(super) fn after(limit: Duration) -> Self {
        Self { end: clock::thread_cpu().saturating_add(limit), limit }
    }

    /// # Errors
    /// When the time is over.
    pub(super) fn check(&self) -> Result<(), ExtractError> {
        if clock::thread_cpu() > self.end {
            return Err(ExtractError::Deadline { limit: self.limit });
        }
        Ok(())
    }
}

/// The values found on one page, by field, in document order.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Every value, one after the other, as bytes: UTF-8 unless the page was not.
    bytes: Vec<u8>,
    /// For each field, where its values are in `bytes`.
    values: Vec<Vec<(usize, usize)>>,
    base_href: Option<String>,
    /// Bytes found, those of values still growing included.
    total: usize,
}

/// The place of a value among its field's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    field: usize,
    place: usize,
}

impl Found {
    pub(super) fn new(fields: usize) -> Self {
        Self { values: vec![Vec::new(); fields], ..Self::default() }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.values.iter_mut().for_each(Vec::clear);
        self.base_href = None;
        self.total = 0;
    }

    pub(super) fn has_base(&self) -> bool {
        self.base_href.is_some()
    }

    pub(super) fn set_base(&mut self, href: &str) {
        self.base_href = Some(href.to_owned());
    }

    pub(super) fn is_answered(&self, field: usize) -> bool {
        self.values.get(field).is_some_and(|values| !values.is_empty())
    }

    /// Adds one value to a field.
    ///
    /// # Errors
    /// When the page's fields have grown past their limit.
    pub(super) fn push(&mut self, field: usize, value: &[u8]) -> Result<(), ExtractError> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.close(field, start)
    }

    /// Adds the pieces of a text to a field, trimmed as a whole.
    ///
    /// # Errors
    /// When the page's fields have grown past their limit.
    pub(super) fn push_text<'a>(
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

    /// Notes the place, in document order, of a value that is still growing.
    pub(super) fn reserve(&mut self, field: usize) -> Slot {
        let place = self.values.get_mut(field).map_or(0, |values| {
            values.push((0, 0));
            values.len() - 1
        });
        Slot { field, place }
    }

    /// Counts bytes that a reserved value has grown by.
    ///
    /// # Errors
    /// When the page's fields have grown past their limit.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), ExtractError> {
        self.total += bytes;
        if self.total > FOUND_BYTES_MAX {
            return Err(ExtractError::TooMuch { limit_bytes: FOUND_BYTES_MAX });
        }
        Ok(())
    }

    /// Gives a reserved value its text, whose bytes have been counted.
    pub(super) fn fill(&mut self, slot: Slot, text: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(text);
        if let Some(value) = self.values.get_mut(slot.field).and_then(|values| values.get_mut(slot.place)) {
            *value = (start, self.bytes.len());
        }
    }

    fn close(&mut self, field: usize, start: usize) -> Result<(), ExtractError> {
        if let Some(values) = self.values.get_mut(field) {
            values.push((start, self.bytes.len()));
        }
        self.grow(self.bytes.len() - start)
    }

    /// The finished values: text trimmed, links made absolute.
    pub(super) fn finish(&self, fields: &[Field], page: Option<&Url>) -> Vec<FieldValue> {
        let mut links = None;
        let text = std::str::from_utf8(&self.bytes).ok();
        let finish = |(field, values): (&Field, &Vec<(usize, usize)>)| {
            let is_link = matches!(&field.take, Take::Attribute(name) if is_link(name));
            let is_text = field.take == Take::Text;
            let mut one = |&(start, end): &(usize, usize)| {
                let lossy;
                let value = match text.and_then(|text| text.get(start..end)) {
                    Some(value) => value,
                    None => {
                        lossy = String::from_utf8_lossy(self.bytes.get(start..end).unwrap_or_default());
                        &lossy
                    }
                };
                if is_link {
                    links.get_or_insert_with(|| Links::new(page, self.base_href.as_deref())).resolve(value)
                } else if is_text {
                    value.trim_matches(|c: char| c.is_ascii_whitespace()).to_owned()
                } else {
                    value.to_owned()
                }
            };
            if field.every {
                FieldValue::Every(values.iter().map(one).collect())
            } else {
                FieldValue::First(values.first().map(&mut one))
            }
        };
        fields.iter().zip(&self.values).map(finish).collect()
    }
}

/// Whether values of this attribute are links.
pub(super) fn is_link(attribute: &str) -> bool {
    matches!(attribute, "href" | "src")
}
