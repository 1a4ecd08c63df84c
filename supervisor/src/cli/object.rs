//! Resolves an output that is an object in a store.

use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_128;

use super::problem::Problem;
use super::{Surroundings, serve};
use crate::format::Format;
use crate::objects::{Access, Object, ObjectUrl};

/// Longest name that the file on this machine takes over from the key; other names are put behind it.
const NAME_BYTES_MAX: usize = 200;

/// The object, and the file or directory on this machine that is uploaded.
pub(super) fn object(
    url: ObjectUrl,
    format: Format,
    is_split: bool,
    around: &Surroundings<'_>,
) -> Result<(Object, PathBuf), Problem> {
    if url.key.is_empty() && !is_split {
        return Err(Problem::Usage(format!(
            "{url} is a bucket; name an object in it, or say with --split N how many records go into each"
        )));
    }
    let access = Access::read(around.variable).map_err(Problem::Usage)?;
    let state = serve::state_directory(around).map_err(|_| {
        Problem::Usage(format!(
            "where are the records to be kept until they are uploaded to {url}? Set XDG_STATE_HOME to a directory"
        ))
    })?;
    // The same name elsewhere is another object.
    let identity = format!("{}\n{url}", access.endpoint().unwrap_or_default());
    let directory = state.join("outputs").join(format!("{:032x}", xxh3_128(identity.as_bytes())));
    let output = directory.join(local_name(&url, format, is_split));
    Ok((Object { url, access, directory }, output))
}

/// That of the key, so that what is in the file, and the manifest, say the same.
fn local_name(url: &ObjectUrl, format: Format, is_split: bool) -> String {
    if is_split {
        return "records".to_owned();
    }
    let name = url.name();
    // A journal and a note lie in the same directory.
    let is_taken = ["lock", "upload.json"].contains(&name) || Path::new(name).extension().is_none();
    if is_taken || name.len() > NAME_BYTES_MAX { format!("records.{format}") } else { name.to_owned() }
}
