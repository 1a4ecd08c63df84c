//! Resolves the flags of `crawl`, and refuses those of `fetch` that do not go with it.

use std::path::{Path, PathBuf};

use clap::Command;
use shared::crawl::{FollowSpec, Judge, TRACKERS, link_fields};
use shared::job::{CrawlSpec, FetchSpec};

use super::disk::{self, OutputPlan};
use super::flags::{FollowFlags, ListFlags, NetworkFlags, OutputFlags};
use super::problem::Problem;
use crate::plan::Output;

/// The name in place of [`TRACKERS`].
const PRESET: &str = "trackers";

/// Makes robots.txt files obeyed by default.
pub(super) fn obedient(root: Command) -> Command {
    let crawl = |command: Command| {
        command.mut_subcommand("crawl", |crawl| crawl.mut_arg("robots", |arg| arg.default_value("obey")))
    };
    crawl(root).mut_subcommand("submit", crawl)
}

/// Refuses what a crawl cannot do.
pub(super) fn check(network: &NetworkFlags, lists: &ListFlags, output: &OutputFlags) -> Result<(), Problem> {
    let request = &network.request;
    let refused = [
        (output.ordered, "--ordered", "ids depend on the pages alone, so sort the records by id instead"),
        (!lists.keep.is_empty(), "--keep", "found pages have no row; leave it out"),
        (request.url.is_some(), "--url", "found pages have no row; leave it out"),
        (request.method.is_some(), "--method", "links are followed with GET; leave it out"),
        (request.data.is_some(), "--data", "links are followed with GET; leave it out"),
        (request.json.is_some(), "--json", "links are followed with GET; leave it out"),
        (request.at_most_once, "--at-most-once", "a GET may be sent again; leave it out"),
    ];
    match refused.iter().find(|(is_given, ..)| *is_given) {
        Some((_, flag, why)) => Err(Problem::Usage(format!("{flag} does not go with crawl: {why}"))),
        None => Ok(()),
    }
}

/// Resolves `--traps`.
pub(super) fn traps(
    flags: Option<&FollowFlags>,
    place: &OutputPlan,
    inputs: &[&Path],
) -> Result<Option<PathBuf>, Problem> {
    let Some(path) = flags.and_then(|flags| flags.traps.as_ref()) else { return Ok(None) };
    disk::check_side_file("--traps", path, inputs)?;
    if let Output::File { path: output, .. } = &place.output {
        disk::check_distinct(&[("--traps", path), ("--output", output)])?;
    }
    Ok(Some(path.clone()))
}

/// Makes a crawl of what is fetched and which links are followed.
pub(super) fn spec(fetch: FetchSpec, flags: FollowFlags, obeys: bool) -> Result<CrawlSpec, Problem> {
    let FollowFlags {
        follow,
        scope,
        include,
        exclude,
        depth,
        pages_max,
        host_pages_max,
        alike_max,
        traps: _,
        strip_param,
    } = flags;
    let strip = strip_param
        .into_iter()
        .flat_map(|name| if name == PRESET { TRACKERS.map(str::to_owned).to_vec() } else { vec![name] });
    let follow = FollowSpec {
        selectors: follow,
        scope: scope.scope(),
        homes: Vec::new(),
        include,
        exclude,
        strip: strip.collect(),
        depth_max: depth,
        pages_max: pages_max.map(Into::into),
        host_pages_max: host_pages_max.map(Into::into),
        alike_max: alike_max.0,
        obeys,
    };
    link_fields(&follow.selectors, obeys).map_err(Problem::Usage)?;
    Judge::new(&follow).map_err(Problem::Usage)?;
    Ok(CrawlSpec { fetch, follow })
}
