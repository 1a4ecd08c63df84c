//! What becomes of the object and what is kept of it on this machine when a run begins.

use std::path::Path;

use supervisor_core::gather::Gather;

use super::delivery::{FAILED, RECORDS, Upload};
use super::remote::Remote;
use super::working::{Note, Working};
use crate::journal::Complete;
use crate::objects::{Object, ObjectError};
use crate::sink::whole;

/// What [`begin`] found.
#[derive(Debug)]
pub(crate) enum Begun {
    /// There is something to do, or to upload.
    Ready(Working, Box<Upload>),
    /// The object is there and whole.
    There(Box<Complete>),
}

/// What the user wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wish {
    /// An object that exists is replaced.
    pub(crate) overwrite: bool,
    /// A run that was not finished is gone on with.
    pub(crate) resume: bool,
    /// There are to be several objects under a prefix.
    pub(crate) split: bool,
    /// It is a table, which is made as a whole: what is left of a run that was killed is of no use.
    pub(crate) table: bool,
}

/// Finds out whether the object can be written, and whether it may be, before anything else is done.
/// `output` is what will be uploaded.
///
/// # Errors
/// [`ObjectError`] when it cannot, or may not.
pub(crate) fn begin(object: &Object, output: &Path, wish: Wish) -> Result<Begun, ObjectError> {
    begin_over(object, output, wish, Remote::new(object)?)
}

pub(super) fn begin_over(
    object: &Object,
    output: &Path,
    wish: Wish,
    remote: Remote,
) -> Result<Begun, ObjectError> {
    let url = object.url.to_string();
    let working = Working::open(object, output)?;
    let mut notebook = working.notebook()?;
    if notebook.note.uploaded {
        // Killed after the last word of the store: what is kept is kept twice.
        working.clear()?;
        notebook.note = Note::default();
    }
    let is_unfinished = working.is_unfinished() && !wish.table;
    if is_unfinished && !wish.resume && !wish.overwrite {
        return Err(ObjectError::Unfinished { url, directory: object.directory.clone() });
    }
    let main = if wish.split { object.url.below(whole::MANIFEST) } else { object.url.key.clone() };
    remote.probe(&main)?;
    if !is_unfinished || wish.overwrite {
        if !wish.overwrite {
            match remote.head(&main)? {
                Some(head) if wish.resume => {
                    let count = |name| head.said.get(name).and_then(|text: &String| text.parse().ok());
                    let (Some(records), Some(failed)) = (count(RECORDS), count(FAILED)) else {
                        return Err(ObjectError::Foreign { url });
                    };
                    return Ok(Begun::There(Box::new(Complete { records, failed, told: Gather::new(0) })));
                }
                Some(_) => return Err(ObjectError::Exists { url }),
                // Files without a manifest: of a run that was killed on another machine, or was not ours.
                None if wish.split && remote.list()?.iter().any(|name| whole::is_part(name)) => {
                    return Err(ObjectError::Exists { url });
                }
                None => {}
            }
        }
        // What a run that is not gone on with has begun is taken back as well, when this one uploads.
        let begun = std::mem::take(&mut notebook.note.begun);
        let endpoint = object.access.endpoint().map(str::to_owned);
        notebook.note = Note { url, endpoint, replaces: wish.overwrite, begun, ..Note::default() };
        notebook.save()?;
    }
    let upload = Upload { remote, object: object.clone(), notebook, output: output.to_owned() };
    Ok(Begun::Ready(working, Box::new(upload)))
}
