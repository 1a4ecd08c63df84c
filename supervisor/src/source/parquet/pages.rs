//! Checks what the head of a page says before memory is taken for it.

use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};

/// Reads pages. A dictionary that cannot hold as many values as it says is refused: the library makes room for all of
/// them first, which for a damaged file may be hundreds of gigabytes.
pub(super) struct CheckedPages(pub(super) Box<dyn PageReader>);

fn checked(page: Option<Page>) -> Result<Option<Page>> {
    if let Some(Page::DictionaryPage { buf, num_values, .. }) = &page
        && usize::try_from(*num_values).is_ok_and(|values| values > buf.len())
    {
        let (bytes, values) = (buf.len(), num_values);
        let why = format!("it is damaged: a dictionary of {bytes} bytes cannot hold {values} values");
        return Err(ParquetError::General(why));
    }
    Ok(page)
}

impl Iterator for CheckedPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for CheckedPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        checked(self.0.get_next_page()?)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.0.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.0.skip_next_page()
    }

    fn supports_deferred_dictionary(&self) -> bool {
        self.0.supports_deferred_dictionary()
    }

    fn take_deferred_dictionary(&mut self) -> Result<Option<Page>> {
        checked(self.0.take_deferred_dictionary()?)
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.0.at_record_boundary()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use parquet::basic::Encoding;

    use super::*;

    #[test]
    fn a_dictionary_has_at_least_a_byte_for_each_value() {
        for (num_values, is_sound) in [(0, true), (8, true), (9, false), (u32::MAX, false)] {
            let page = Page::DictionaryPage {
                buf: Bytes::from_static(b"\x04\0\0\0page"),
                num_values,
                encoding: Encoding::PLAIN,
                is_sorted: false,
            };
            assert_eq!(checked(Some(page)).is_ok(), is_sound, "{num_values}");
        }
    }
}
