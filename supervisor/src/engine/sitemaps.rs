//! Reads the sitemaps of a fetch job before the pages that they list: one pass for each level of
//! indexes, with the workers, limits and politeness of the job. The pages are spooled, so that a
//! resumed run has the same list.
//!
//! The supervisor sees only what workers made of the XML.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use shared::job::RecordEncoding;
use supervisor_core::gather::Gather;

use super::clocks::Started;
use super::passes::{self, Consumer, Next, Pass, PassEnd, Start};
use super::tree::{self, Failure, SitemapError, Tree};
use super::{EngineError, RunContext};
use crate::journal::{SpooledInput, Store};
use crate::kinds;
use crate::plan::{Input, Output, Plan};
use crate::runtime::{Ended, Finished, Writer};
use crate::sink::{Outlet, Sink};
use crate::source::{Bytes, Source, TargetKind};
use crate::units;

/// Most sitemaps on the way from a named one to a page: two indexes and what they lead to.
const DEPTH_MAX: usize = 3;

/// Most unreadable sitemaps that are named one by one.
const FAILURES_SHOWN_MAX: usize = 10;

/// The result of reading sitemaps.
pub(super) enum Listed {
    /// There are none.
    Nothing,
    /// The pages that they list, and how many of them cannot be read.
    Entries(Bytes, u64),
    /// The run ended before they were read.
    Over(Box<Ended>),
}

/// Reads the sitemaps of a plan, or the list that an earlier run kept.
pub(super) fn list(
    plan: &Plan,
    context: &mut RunContext<'_>,
    kept: Option<&SpooledInput>,
) -> Result<Listed, EngineError> {
    let Some((reading, sitemaps)) = kinds::reading_sitemaps(plan) else { return Ok(Listed::Nothing) };
    if let Some(written) = kept.map(SpooledInput::listed).transpose()?.flatten() {
        return Ok(entries(written)?);
    }
    let mut tree = Tree::new(&sitemaps.urls);
    if let Some(ended) = read(&reading, &mut tree, sitemaps.strict, context)? {
        return Ok(Listed::Over(Box::new(ended)));
    }
    tree.check(sitemaps.strict)?;
    warn(tree.failures(), context);
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

/// Names the sitemaps that cannot be read. The pages of the others are fetched.
fn warn(failures: &[Failure], context: &mut RunContext<'_>) {
    for Failure { url, why } in failures.iter().take(FAILURES_SHOWN_MAX) {
        context.observer.message(&format!("cannot read the sitemap {url}: {why}; its pages are left out"));
    }
    if failures.len() > FAILURES_SHOWN_MAX {
        let all = units::counted(failures.len() as u64, "sitemap");
        context.observer.message(&format!("{all} cannot be read, the first {FAILURES_SHOWN_MAX} above"));
    }
}

/// The directory for what may be large: that of the output, because there must be room in it anyway.
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

/// Reads all sitemaps into `tree`, unless the run ends before that; how it ended then.
fn read(
    plan: &Plan,
    tree: &mut Tree,
    strict: bool,
    context: &mut RunContext<'_>,
) -> Result<Option<Ended>, EngineError> {
    let mut level = Level { plan, tree, strict, depth: 0, numbers: Vec::new(), listings: None };
    let Some(pass) = level.next_pass()? else { return Ok(None) };
    let start = Start {
        started: Started::now(context.control),
        encoding: RecordEncoding::Listing,
        gather: Gather::new(0),
        targets_max: u64::MAX,
        learned: Vec::new(),
        pass,
    };
    let ended = passes::run(plan, start, &mut level, context)?.ended;
    Ok(if ended.is_complete() { None } else { Some(ended) })
}

/// Lists the sitemaps of one level of indexes after another.
struct Level<'a> {
    plan: &'a Plan,
    tree: &'a mut Tree,
    /// Whether all sitemaps must be readable.
    strict: bool,
    /// Levels above this one.
    depth: usize,
    /// The sitemaps of this level, by their numbers in the tree.
    numbers: Vec<usize>,
    /// What each of them lists, in the same order, once they are read.
    listings: Option<File>,
}

impl Level<'_> {
    /// Begins the next level, if there is one.
    fn next_pass(&mut self) -> Result<Option<Pass<Option<Store>>>, EngineError> {
        let (numbers, urls) = self.tree.unread();
        if urls.is_empty() {
            return Ok(None);
        }
        if self.depth == DEPTH_MAX {
            self.tree.too_deep(self.depth);
            return Ok(None);
        }
        let listings = tempfile::tempfile_in(scratch(self.plan))?;
        let sink = Sink::over(listings.try_clone()?, "a temporary file".to_owned());
        (self.depth, self.numbers, self.listings) = (self.depth + 1, numbers, Some(listings));
        let urls: Vec<_> = urls.into_iter().map(|url| Input::Literal(url.into_bytes())).collect();
        let targets = Box::new(Source::new(&urls, TargetKind::Url));
        Ok(Some(Pass::over(
            targets,
            Writer::appending(Outlet::new(sink.opaque(true), None), None, None, None)?,
        )))
    }
}

impl Consumer for Level<'_> {
    type Left = Option<Store>;

    fn end_pass(
        &mut self,
        writer: Writer<Option<Store>>,
        end: &mut PassEnd<'_>,
        _: &mut RunContext<'_>,
    ) -> Result<Next<Option<Store>>, EngineError> {
        match end.finish(writer, false).map_err(EngineError::output)? {
            Finished::Written(_) => {}
            Finished::Abandoned(signal) => end.ended.signal = Some(signal),
        }
        if !end.ended.is_complete() {
            return Ok(Next::End);
        }
        if let Some(listings) = self.listings.take() {
            self.tree.take_in(&self.numbers, listings)?;
        }
        if self.strict {
            self.tree.check(true)?;
        }
        Ok(self.next_pass()?.map_or(Next::End, |pass| Next::Pass(Box::new(pass))))
    }
}
