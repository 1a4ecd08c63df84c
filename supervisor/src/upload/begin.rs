//! What happens to the object, and to its files on this machine, when a run begins.

use std::path::Path;

use supervisor_core::gather::Gather;

use super::delivery::{FAILED, RECORDS, Upload};
use super::remote::Remote;
use super::working::{UploadNote, Working};
use crate::journal::Complete;
use crate::objects::{Object, ObjectError};
use crate::sink::whole;

/// The result of [`begin`].
#[derive(Debug)]
pub(crate) enum UploadStart {
    /// There is work to do, or an output to upload.
    Ready(Working, Box<Upload>),
    /// The object exists and is complete.
    Complete(Box<Complete>),
}

/// What the user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UploadOptions {
    /// Replace an existing object.
    pub(crate) overwrite: bool,
    /// Continue an unfinished run.
    pub(crate) resume: bool,
    /// Write several objects under a prefix.
    pub(crate) split: bool,
    /// The output is a table. A table is made as a whole, so the remains of a killed run are
    /// useless.
    pub(crate) table: bool,
}

/// Checks, before anything else is done, whether the object can and may be written. `output` is
/// what will be uploaded.
///
/// # Errors
/// [`ObjectError`] if it cannot or may not be written.
pub(crate) fn begin(
    object: &Object,
    output: &Path,
    options: UploadOptions,
) -> Result<UploadStart, ObjectError> {
    begin_over(object, output, options, Remote::new(object)?)
}

pub(super) fn begin_over(
    object: &Object,
    output: &Path,
    options: UploadOptions,
    remote: Remote,
) -> Result<UploadStart, ObjectError> {
    let url = object.url.to_string();
    let working = Working::open(object, output)?;
    let mut note_file = working.note_file()?;
    if note_file.note.uploaded {
        // The run was killed after the store had confirmed everything, so the local files are no
        // longer needed.
        working.clear()?;
        note_file.note = UploadNote::default();
    }
    let is_unfinished = working.is_unfinished() && !options.table;
    if is_unfinished && !options.resume && !options.overwrite {
        return Err(ObjectError::Unfinished { url, directory: object.directory.clone() });
    }
    let main = if options.split { object.url.below(whole::MANIFEST) } else { object.url.key.clone() };
    remote.probe(&main)?;
    if !is_unfinished || options.overwrite {
        if !options.overwrite {
            match remote.head(&main)? {
                Some(head) if options.resume => {
                    let count = |name| head.metadata.get(name).and_then(|text: &String| text.parse().ok());
                    let (Some(records), Some(failed)) = (count(RECORDS), count(FAILED)) else {
                        return Err(ObjectError::Foreign { url });
                    };
                    return Ok(UploadStart::Complete(Box::new(Complete {
                        records,
                        failed,
                        told: Gather::new(0),
                    })));
                }
                Some(_) => return Err(ObjectError::Exists { url }),
                // Files without a manifest: they are from a run that was killed on another machine,
                // or not from Muster.
                None if options.split && remote.list()?.iter().any(|name| whole::is_part(name)) => {
                    return Err(ObjectError::Exists { url });
                }
                None => {}
            }
        }
        // The unfinished uploads of a run that is not continued are aborted too, when this run
        // uploads.
        let begun = std::mem::take(&mut note_file.note.begun);
        let endpoint = object.access.endpoint().map(str::to_owned);
        note_file.note =
            UploadNote { url, endpoint, replaces: options.overwrite, begun, ..UploadNote::default() };
        note_file.save()?;
    }
    let upload = Upload { remote, object: object.clone(), note_file, output: output.to_owned() };
    Ok(UploadStart::Ready(working, Box::new(upload)))
}
