//! A job whose output is an object: kept on this machine until the store has it.

use super::{EngineError, JobReport, RunContext, manifest, records};
use crate::journal::{self, Opened};
use crate::kinds;
use crate::objects::{Object, ObjectError};
use crate::plan::{Output, Plan};
use crate::sink::Deliver as _;
use crate::upload::{self, Upload, UploadOptions, UploadStart, Working};

/// Runs a job whose results are records.
///
/// # Errors
/// As [`super::run_job`], or if the object must not or cannot be written.
pub(super) fn run_job(
    plan: &Plan,
    object: &Object,
    context: &mut RunContext<'_>,
) -> Result<JobReport, EngineError> {
    // Kept until the end, however that comes: it knows which files must stay.
    let (_working, upload) = match begin(plan, object)? {
        UploadStart::Ready(working, upload) => (working, upload),
        UploadStart::Complete(complete) => {
            journal::check_count(&object.url.to_string(), &complete, plan).map_err(EngineError::NotOurs)?;
            return Ok(JobReport::Complete(complete));
        }
    };
    match journal::open(plan).map_err(EngineError::output)? {
        Opened::Ready(mut destination) => {
            destination.outlet = destination.outlet.delivered_by(upload);
            records::run(plan, *destination, context)
        }
        // Its journal was removed by hand: as it is, it is what was to be uploaded.
        Opened::Complete(path) => {
            let complete = journal::check_complete(&path, plan).map_err(EngineError::NotOurs)?;
            let totals = manifest::totals(&complete);
            upload.deliver(totals).map_err(|error| EngineError::output(error.into()))?;
            manifest::write(plan, totals)?;
            Ok(JobReport::Complete(Box::new(complete)))
        }
    }
}

/// A table on its way to the store.
pub(super) struct Table {
    _working: Working,
    upload: Box<Upload>,
}

impl Table {
    /// Checks that the object can be written, before the table is computed.
    ///
    /// # Errors
    /// If it must not or cannot be written.
    pub(super) fn begin(plan: &Plan, object: &Object) -> Result<Self, EngineError> {
        match begin(plan, object)? {
            UploadStart::Ready(working, upload) => Ok(Self { _working: working, upload }),
            UploadStart::Complete(_) => Err(ObjectError::Exists { url: object.url.to_string() }.into()),
        }
    }

    /// Uploads the table that was written.
    ///
    /// # Errors
    /// If it cannot be uploaded. It stays on this machine then.
    pub(super) fn deliver(self) -> Result<(), ObjectError> {
        self.upload.table()
    }
}

fn begin(plan: &Plan, object: &Object) -> Result<UploadStart, EngineError> {
    let Output::File { path, overwrite, resume } = &plan.output else {
        let bug = format!("{} is uploaded from no file; this is a bug in the supervisor", object.url);
        return Err(EngineError::NotOurs(anyhow::Error::msg(bug)));
    };
    let table = kinds::of(&plan.work).grouping().is_some();
    let options =
        UploadOptions { overwrite: *overwrite, resume: *resume, split: plan.split.is_some(), table };
    Ok(upload::begin(object, path, options)?)
}
