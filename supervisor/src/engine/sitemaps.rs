//! Reads sitemaps out before the run that fetches what they list: a run of its
//! own for each level of indexes, over the same workers, limits and politeness.
//! What comes of it is spooled, so that a resumed run has the same list.
//!
//! The supervisor looks at nothing but the listings that a worker made of the XML.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use shared::job::{FetchSpec, Mode, RecordEncoding, SITEMAP_BYTES_MAX, Work};
use supervisor_core::gather::{Gather, Ordered};

use super::tree::{self, Failure, SitemapError, Tree};
use super::{EngineError, Job, Outside, Shape};
use crate::format::Format;
use crate::journal::{Gate, SpooledInput};
use crate::plan::{Input, Output, Plan, Sitemaps};
use crate::runtime::{Ended, Feed, Finished, Writer};
use crate::sink::{Outlet, Sink};
use crate::source::{Bytes, Source, TargetKind};
use crate::units;

/// Sitemaps on the way from one that was named to a page: two indexes and what they lead to.
const DEPTH_MAX: usize = 3;

/// Sitemaps that cannot be read which are named one by one.
const FAILURES_SHOWN_MAX: usize = 10;

/// What came of the sitemaps.
pub(super) enum Listed {
    /// There are none.
    Nothing,
    /// What they list, and how many of them cannot be read.
    Entries(Bytes, u64),
    /// The run was over before they were read.
    Over(Box<Ended>),
}

/// Reads the sitemaps of a plan, or takes what is kept of them.
pub(super) fn list(
    plan: &Plan,
    started_us: u64,
    outside: &mut Outside<'_>,
    kept: Option<&SpooledInput>,
) -> Result<Listed, EngineError> {
    let named = plan
        .inputs
        .iter()
        .find_map(|input| if let Input::Sitemaps(sitemaps) = input { Some(sitemaps) } else { None });
    let (Some(Sitemaps { urls, strict, .. }), Work::Fetch(spec) | Work::Sitemap(spec)) = (named, &plan.work)
    else {
        return Ok(Listed::Nothing);
    };
    if let Some(written) = kept.map(SpooledInput::listed).transpose()?.flatten() {
        return Ok(entries(written)?);
    }
    let mut tree = Tree::new(urls);
    for depth in 0.. {
        let (numbers, urls) = tree.unread();
        if urls.is_empty() {
            break;
        }
        if depth == DEPTH_MAX {
            tree.too_deep(depth);
            break;
        }
        let listings = tempfile::tempfile_in(scratch(plan))?;
        // As the pages are fetched, but for the size: that is the protocol's.
        let spec = FetchSpec { body_bytes_max: SITEMAP_BYTES_MAX, ..spec.clone() };
        let plan = Plan {
            work: Work::Sitemap(spec),
            fields: Vec::new(),
            ordered: true,
            format: Format::default(),
            split: None,
            ..plan.clone()
        };
        let ended = read(&plan, started_us, outside, urls, &listings)?;
        if !ended.is_complete() {
            return Ok(Listed::Over(Box::new(ended)));
        }
        tree.take_in(&numbers, listings)?;
        if *strict {
            tree.check(true)?;
        }
    }
    tree.check(*strict)?;
    warn(tree.failures(), outside);
    let written = match kept {
        Some(kept) => kept.keep_listed(|file| tree.write(file))?,
        None => {
            let mut file = tempfile::tempfile_in(scratch(plan))?;
            tree.write(&mut file)?;
            io::Seek::rewind(&mut file)?;
            Box::new(file)
        }
    };
    Ok(entries(written)?)
}

fn entries(written: Bytes) -> Result<Listed, SitemapError> {
    tree::read(written).map(|(failed, entries)| Listed::Entries(entries, failed))
}

/// Names what is missing; the rest is done.
fn warn(failures: &[Failure], outside: &mut Outside<'_>) {
    for Failure { url, why } in failures.iter().take(FAILURES_SHOWN_MAX) {
        outside.observer.message(&format!("cannot read the sitemap {url}: {why}; its pages are left out"));
    }
    if failures.len() > FAILURES_SHOWN_MAX {
        let all = units::counted(failures.len() as u64, "sitemap");
        outside.observer.message(&format!("{all} cannot be read, the first {FAILURES_SHOWN_MAX} above"));
    }
}

/// Where what may be large goes meanwhile: beside the output, for there the room must be anyway.
fn scratch(plan: &Plan) -> PathBuf {
    match &plan.output {
        Output::File { path, .. } => match path.parent() {
            Some(parent) if parent.is_dir() && !parent.starts_with("/dev") => parent.to_owned(),
            Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
            Some(_) | None => std::env::temp_dir(),
        },
        Output::Stdout | Output::Discard => std::env::temp_dir(),
    }
}

/// Reads one level of sitemaps; what each lists goes into `listings`, in their order.
fn read(
    plan: &Plan,
    started_us: u64,
    outside: &mut Outside<'_>,
    urls: Vec<String>,
    listings: &File,
) -> Result<Ended, EngineError> {
    let mode = plan.pool.mode;
    let mode = mode.unwrap_or(if urls.len() > 1 { Mode::Both } else { Mode::Concurrent });
    let inputs: Vec<_> = urls.into_iter().map(|url| Input::Literal(url.into_bytes())).collect();
    let shape = Shape::new(plan, mode);
    let sink = Sink::over(listings.try_clone()?, "a temporary file".to_owned());
    let outlet = Outlet::new(sink.opaque(true), None);
    let source = Source::new(&inputs, TargetKind::Url);
    let mut job = Job {
        plan,
        started_us,
        readable: Some(Vec::new()),
        encoding: RecordEncoding::Listing,
        feed: Feed::start(source, Gate::default())?,
        ordered: Some(Ordered::new(0)),
        writer: Writer::start(outlet, None)?,
        gather: Gather::new(0),
        outside,
    };
    let mut ended = job.run_shape(shape, u64::MAX);
    let Job { writer, outside, .. } = job;
    match writer.finish(false, outside.control) {
        Ok(Finished::Written(_)) => {}
        Ok(Finished::Abandoned(signal)) => ended.signal = Some(signal),
        Err(cause) => return Err(EngineError::Output { cause, resumable: false }),
    }
    Ok(ended)
}
