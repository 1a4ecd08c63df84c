//! The manifest beside an output: it is there only while the output is complete.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::journal::Complete;
use crate::plan::{Output, Plan};
use crate::sink::whole::{self, Totals};

/// A manifest cannot be written or removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManifestError {
    /// It cannot be written.
    #[error("cannot write {}: {cause}", path.display())]
    Write {
        /// The manifest.
        path: PathBuf,
        /// Error of the system.
        cause: io::Error,
    },
    /// That of an earlier run cannot be removed.
    #[error("cannot remove {}: {cause}", path.display())]
    Remove {
        /// The manifest.
        path: PathBuf,
        /// Error of the system.
        cause: io::Error,
    },
}

/// Writes what is in a complete output, if the user asked for it. A directory has its manifest already.
pub(super) fn write(plan: &Plan, totals: Totals) -> Result<(), ManifestError> {
    let (Some(manifest), Output::File { path, .. }) = (&plan.manifest, &plan.output) else { return Ok(()) };
    let records = totals.ok + totals.failed;
    whole::Manifest::of(plan.format, totals, [(path.as_path(), records)])
        .and_then(|contents| whole::write_manifest(manifest, path, &contents))
        .map_err(|cause| ManifestError::Write { path: manifest.clone(), cause })
}

/// Removes the manifest of an earlier run, because the output is about to change.
pub(super) fn remove(plan: &Plan) -> Result<(), ManifestError> {
    let is_file = |path: &&PathBuf| fs::metadata(path).is_ok_and(|found| found.is_file());
    let Some(manifest) = plan.manifest.as_ref().filter(is_file) else { return Ok(()) };
    fs::remove_file(manifest).map_err(|cause| ManifestError::Remove { path: manifest.clone(), cause })
}

/// Returns how the records of a complete output ended.
pub(super) const fn totals(complete: &Complete) -> Totals {
    Totals { ok: complete.records - complete.failed, failed: complete.failed }
}
