//! A job whose output is an object: kept on this machine until the store has it.

use anyhow::Context as _;

use super::{nothing_left, run_to, totals, write_manifest};
use crate::journal::{self, Opened};
use crate::objects::Object;
use crate::outcome::Outcome;
use crate::plan::{Output, Plan};
use crate::sink::Deliver as _;
use crate::upload::{self, Upload, UploadOptions, UploadStart, Working};

/// Runs one job.
///
/// # Errors
/// As [`super::run`], or when the object may not or cannot be written.
pub(super) fn run(plan: &Plan, object: &Object) -> anyhow::Result<Outcome> {
    let Output::File { path, overwrite, resume } = &plan.output else {
        anyhow::bail!("{} is uploaded from no file; a bug in the supervisor", object.url)
    };
    let options =
        UploadOptions { overwrite: *overwrite, resume: *resume, split: plan.split.is_some(), table: false };
    // Until the end, however that comes: it knows what must be kept.
    let (_working, upload) = match upload::begin(object, path, options)? {
        UploadStart::Ready(working, upload) => (working, upload),
        UploadStart::Complete(complete) => {
            journal::check_count(&object.url.to_string(), &complete, plan)?;
            return Ok(nothing_left(plan, &object.url.to_string(), &complete));
        }
    };
    match journal::open(plan)? {
        Opened::Ready(mut destination) => {
            destination.outlet = destination.outlet.delivered_by(upload);
            run_to(plan, *destination)
        }
        // Its journal was taken away by hand: as it is, it is what was to be uploaded.
        Opened::Complete(path) => {
            let complete = journal::check_complete(&path, plan)?;
            upload.deliver(totals(&complete))?;
            write_manifest(plan, totals(&complete))?;
            Ok(nothing_left(plan, &object.url.to_string(), &complete))
        }
    }
}

/// A table on its way to the store.
pub(super) struct Table {
    _working: Working,
    upload: Box<Upload>,
}

/// Finds out whether the object of a table can be written, before it is worked out.
///
/// # Errors
/// When it may not or cannot be.
pub(super) fn table(plan: &Plan, object: &Object) -> anyhow::Result<Table> {
    let Output::File { path, overwrite, .. } = &plan.output else {
        anyhow::bail!("{} is uploaded from no file; a bug in the supervisor", object.url)
    };
    let options = UploadOptions { overwrite: *overwrite, resume: false, split: false, table: true };
    match upload::begin(object, path, options)? {
        UploadStart::Ready(working, upload) => Ok(Table { _working: working, upload }),
        UploadStart::Complete(_) => anyhow::bail!("{} exists", object.url),
    }
}

impl Table {
    /// Uploads what was written.
    ///
    /// # Errors
    /// When it cannot be; the table stays on this machine then.
    pub(super) fn deliver(self, plan: &Plan) -> anyhow::Result<()> {
        let Output::File { path, .. } = &plan.output else { return Ok(()) };
        self.upload.table().with_context(|| format!("the table is in {}", path.display()))
    }
}
