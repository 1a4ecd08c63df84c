//! Resolves `--next`.

use shared::job::{FetchSpec, NextSpec};
use shared::select::Field;

use super::flags::NextFlags;
use super::problem::Problem;
use super::request::is_plain_get;

/// Adds to `spec` how pages are followed to the next ones, if they are. `has_program` is whether records go through a
/// program, and `ordered` whether they are written in the order of the inputs.
pub(super) fn next(
    spec: FetchSpec,
    flags: Option<NextFlags>,
    has_program: bool,
    ordered: bool,
) -> Result<FetchSpec, Problem> {
    let Some(NextFlags { next: Some(selector), pages_max }) = flags else { return Ok(spec) };
    let refuse = |why: &str| Err(Problem::Usage(format!("--next {why}")));
    if has_program {
        return refuse("cannot be combined with --map; run map on the records");
    }
    if ordered {
        return refuse(
            "cannot be combined with --ordered: how many pages come before an input is not known; sort the records by \
             input (id modulo 2^40) and page",
        );
    }
    if spec.since.is_some() {
        return refuse(
            "cannot be combined with --since: a page that has not changed brings no link; leave one out",
        );
    }
    if let Some(request) = &spec.request
        && !(is_plain_get(request) && request.headers.is_empty() && !request.at_most_once)
    {
        return refuse(
            "cannot be combined with --method, --data, --json, --at-most-once or columns in --header: the next pages are \
             asked for with a plain GET; leave one out",
        );
    }
    let link = Field::parse_next(&selector).map_err(|error| Problem::Usage(error.to_string()))?;
    Ok(FetchSpec { next: Some(Box::new(NextSpec { link, pages_max })), ..spec })
}
