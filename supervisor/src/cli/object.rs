//! Resolves an output that is an object in a store.

use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_128;

use super::problem::Problem;
use super::{Environment, serve};
use crate::format::Format;
use crate::objects::{Access, Object, ObjectUrl};

/// Longest name that the local file takes over from the object's key. Suffixes are added to it.
const NAME_BYTES_MAX: usize = 200;

/// Returns the object, and the local file or directory that will be uploaded.
pub(super) fn object(
    url: ObjectUrl,
    format: Format,
    is_split: bool,
    env: &Environment<'_>,
) -> Result<(Object, PathBuf), Problem> {
    if url.key.is_empty() && !is_split {
        return Err(Problem::Usage(format!(
            "{url} is a bucket; name an object in it, or give the number of records per object with --split N"
        )));
    }
    let access = Access::read(env.variable).map_err(Problem::Usage)?;
    let state = serve::state_directory(env).map_err(|_| {
        Problem::Usage(format!(
            "no directory to keep the records in until they are uploaded to {url}; set XDG_STATE_HOME to one"
        ))
    })?;
    // The same URL at another endpoint is another object.
    let identity = format!("{}\n{url}", access.endpoint().unwrap_or_default());
    let directory = state.join("outputs").join(format!("{:032x}", xxh3_128(identity.as_bytes())));
    let output = directory.join(local_name(&url, format, is_split));
    Ok((Object { url, access, directory }, output))
}

/// The local file's name: the key's, so that the file and the manifest name the object.
fn local_name(url: &ObjectUrl, format: Format, is_split: bool) -> String {
    if is_split {
        return "records".to_owned();
    }
    let name = url.name();
    // The lock and the upload note are in the same directory.
    let is_taken = ["lock", "upload.json"].contains(&name) || Path::new(name).extension().is_none();
    if is_taken || name.len() > NAME_BYTES_MAX { format!("records.{format}") } else { name.to_owned() }
}
