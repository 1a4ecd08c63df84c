//! Checks the temporary directory, in which ipc-channel makes the sockets of one-shot servers.
//! That crate panics instead of reporting errors, cuts off names that do not fit into a
//! socket's address, and assumes that names are UTF-8.

use std::io;
use std::path::{Path, PathBuf};

use tempfile::Builder;
use tempfile::env::{override_temp_dir, temp_dir};

/// Longest directory in which the names of sockets fit: the kernel has room for 107 bytes,
/// and `/.tmp` with six letters and `/socket` follow.
const DIRECTORY_BYTES_MAX: usize = 80;

/// Used when the directory's name is too long, or is not UTF-8.
const SHORT: &str = "/tmp";

/// No socket can be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make sockets for the workers in {}: {cause}; set TMPDIR to a directory that can be written to", directory.display())]
pub struct NoSockets {
    directory: PathBuf,
    cause: io::Error,
}

/// Makes sure that sockets can be made.
///
/// # Errors
/// [`NoSockets`] if the temporary directory cannot be written to.
pub fn prepare() -> Result<(), NoSockets> {
    let given = temp_dir();
    if given.as_os_str().len() > DIRECTORY_BYTES_MAX || given.to_str().is_none() {
        // Fails when it was overridden before: by us, for an earlier run of the same process.
        let _ = override_temp_dir(Path::new(SHORT));
    }
    let directory = temp_dir();
    match Builder::new().tempdir_in(&directory) {
        Ok(_) => Ok(()),
        Err(cause) => Err(NoSockets { directory, cause }),
    }
}
