//! The pages of a crawl as a source of targets. It ends when every page that is known has ended.

use std::sync::Arc;

use shared::crawl::{LINK_BYTES_MAX, Place};

use super::Book;
use super::book::Next;
use crate::plan::HostKey;
use crate::source::{HostFinder, Progress, SourceError, SourceItem, Targets};

/// Pages of a crawl, those that may begin.
pub(crate) struct Pages {
    book: Arc<Book>,
    hosts: HostFinder,
}

impl Pages {
    /// Returns the pages of a book, with the hosts whose budgets they use.
    pub(crate) fn new(book: Arc<Book>, key: HostKey) -> Self {
        Self { book, hosts: HostFinder::keyed(key) }
    }
}

impl Targets for Pages {
    fn next_batch(&mut self, out: &mut Vec<SourceItem>, max: usize) -> Result<bool, SourceError> {
        let lost = |error| SourceError::Pages { error };
        let (ids, look_up, depths) = match self.book.next(max).map_err(lost)? {
            Next::Pages(ids, look_up, depths) => (ids, look_up, depths),
            Next::Later => return Ok(true),
            Next::End => return Ok(false),
        };
        let pages = look_up.read(&ids).map_err(lost)?;
        for ((id, depth), (parent, input)) in ids.into_iter().zip(depths).zip(pages) {
            let host = self.hosts.find(&input);
            let kept = Place { depth, parent }.to_kept();
            out.push(SourceItem { id, inputs: 1, input, kept, host, refused: None });
        }
        Ok(true)
    }

    fn position(&self) -> Progress {
        Progress { items: self.book.pages(), items_total: None, bytes_read: 0, bytes_total: None }
    }
}

/// A found link with its place fits into a message to a worker.
const _: () = assert!(LINK_BYTES_MAX + 128 < crate::source::TARGET_BYTES_MAX);
