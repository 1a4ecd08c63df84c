//! Resolves `--since`.

use std::path::{Path, PathBuf};

use shared::job::FetchSpec;
use shared::since::SinceSpec;

use super::Environment;
use super::disk::OutputPlan;
use super::flags::SinceFlags;
use super::object::object;
use super::problem::Problem;
use super::request::is_plain_get;
use crate::format::Format;
use crate::objects::ObjectUrl;

/// Adds to `spec` which earlier run pages are compared with, if they are. `has_program` is whether records go through
/// a program.
pub(super) fn since(
    spec: FetchSpec,
    flags: Option<SinceFlags>,
    has_program: bool,
    place: &OutputPlan,
    env: &Environment<'_>,
) -> Result<FetchSpec, Problem> {
    let Some(SinceFlags { since: Some(earlier) }) = flags else { return Ok(spec) };
    let refuse = |why: &str| Err(Problem::Usage(format!("--since {why}")));
    if has_program {
        return refuse(
            "cannot be combined with --map: a program's answers are not kept; run map on the records",
        );
    }
    if spec.save.is_some() {
        return refuse(
            "cannot be combined with --save: a page that has not changed brings no body; leave one out",
        );
    }
    if let Some(request) = &spec.request {
        if !request.headers.is_empty() {
            return refuse(
                "cannot be combined with columns in --header: the page of one URL would be another for each row; \
                 leave one out",
            );
        }
        if !is_plain_get(request) {
            return refuse(
                "cannot be combined with --method, --data or --json: only the answer to a GET can be asked for \
                 again; leave one out",
            );
        }
    }
    if earlier == Path::new("-") {
        return refuse("needs the name of an earlier output; standard output keeps nothing");
    }
    let earlier = resolved(earlier, place.format, env)?;
    Ok(FetchSpec { since: Some(Box::new(SinceSpec { earlier })), ..spec })
}

/// The place beside which an earlier output has its notes: its own, or that of its records before the upload.
fn resolved(earlier: PathBuf, format: Format, env: &Environment<'_>) -> Result<PathBuf, Problem> {
    match ObjectUrl::of(&earlier) {
        Some(url) => object(url, format, true, env).map(|(object, _)| object.directory),
        // Without a trailing slash, because the name of the notes is made from this path.
        None => Ok(earlier.components().collect()),
    }
}
