//! A crawl: the pages that it knows, and which of them come next. Found links do not flow back into the frontier: they
//! go down with their record, into the [`Book`], and [`Pages`] reads them from there as any source reads its list.
//!
//! ```text
//! worker ─ record and found links ─→ writer ─→ output, journal
//!                                      └─────→ book ─→ pages (a source) ─→ frontier
//! ```
//! `supervisor_core::crawl` decides; `log` is the file.

mod book;
mod log;
mod pages;
mod report;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

pub(crate) use self::book::{Book, FoundLinks};
pub(crate) use self::pages::Pages;
pub(crate) use self::report::CrawlSummary;
use crate::journal::Journal;
use crate::kinds::{self, Spooled};
use crate::plan::Plan;
use crate::source::SourceError;

/// Inputs read at once.
const BATCH: usize = 1024;

/// Most hosts, domains or directories that the named pages may lie in: each worker is told them.
const HOMES_MAX: usize = 100_000;

/// Why a crawl cannot begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CrawlError {
    /// The named pages cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A named page is none.
    #[error("cannot crawl from input {number}: {why}")]
    Input {
        /// Its position, from 1.
        number: u64,
        /// Why.
        why: Box<str>,
    },
    /// There are too many different sites.
    #[error(
        "the inputs lie in more than {HOMES_MAX} different places; crawl fewer at once, or with --scope any"
    )]
    Homes,
    /// The file of known pages cannot be read or written.
    #[error("cannot keep the pages that the crawl knows in {}: {cause}", path.display())]
    Book {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

/// Begins the crawl of `plan`, or goes on with one. Returns its book, and the plan with what is known of the named pages.
///
/// # Errors
/// [`CrawlError`] if its inputs cannot be read, or what it knows not be kept.
pub(crate) fn begin(plan: &Plan, journal: Option<&Journal>) -> Result<Option<(Arc<Book>, Plan)>, CrawlError> {
    let Some(spec) = kinds::crawl(&plan.work).map(|crawl| &crawl.follow) else { return Ok(None) };
    let path = journal.map(|journal| journal.input.found().to_owned());
    let shown = path.clone().unwrap_or_else(|| PathBuf::from("a temporary file"));
    let keep = |cause| CrawlError::Book { path: shown.clone(), cause };
    let book = match (journal, path) {
        (Some(journal), Some(path)) if journal.state.found_bytes > 0 => {
            Book::resume(spec, path, journal.state.found_bytes, &journal.state.finished).map_err(keep)?
        }
        (_, path) => {
            let book = Book::create(spec, path).map_err(keep)?;
            read_inputs(plan, journal, &book, &keep)?;
            book
        }
    };
    book.begin();
    let homes = book.homes(HOMES_MAX).map_err(keep)?.ok_or(CrawlError::Homes)?;
    let work = kinds::at_home(&plan.work, homes);
    Ok(Some((Arc::new(book), Plan { work, ..plan.clone() })))
}

fn read_inputs(
    plan: &Plan,
    journal: Option<&Journal>,
    book: &Book,
    keep: &impl Fn(io::Error) -> CrawlError,
) -> Result<(), CrawlError> {
    let stdin = journal.map_or(Ok(None), |journal| journal.input.open()).map_err(keep)?;
    let mut source = kinds::of(&plan.work).targets(plan, Spooled { stdin, sitemaps: None });
    let mut items = Vec::new();
    loop {
        let more = source.next_batch(&mut items, BATCH)?;
        for item in items.drain(..) {
            if let Some(why) = item.refused {
                return Err(CrawlError::Input { number: item.id + 1, why });
            }
            book.add_named(&item.input).map_err(keep)?;
        }
        if !more {
            return Ok(());
        }
    }
}
