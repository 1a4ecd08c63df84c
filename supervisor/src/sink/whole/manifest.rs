//! What is in an output, for whoever takes it over: files, counts, checksums.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Totals;
use crate::format::Format;
use crate::whole_file::{self, Readers};

/// Bytes hashed at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// The manifest of an output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// As `--format` names it.
    pub(crate) format: String,
    /// Always: there is no manifest of an output that is not.
    pub(crate) complete: bool,
    /// Of all files.
    pub(crate) records: u64,
    /// Those with what was asked for.
    pub(crate) ok: u64,
    /// Those with an error.
    pub(crate) failed: u64,
    /// In the order of their records.
    pub(crate) files: Vec<Entry>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Without its directory.
    pub(crate) name: String,
    /// Records in it.
    pub(crate) records: u64,
    /// Its size.
    pub(crate) bytes: u64,
    /// Its SHA-256, in hex.
    pub(crate) sha256: String,
}

impl Manifest {
    /// Reads each of `files` through, which are given with their records.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(crate) fn of<'a>(
        format: Format,
        totals: Totals,
        files: impl IntoIterator<Item = (&'a Path, u64)>,
    ) -> io::Result<Self> {
        let files =
            files.into_iter().map(|(path, records)| entry(path, records)).collect::<Result<_, _>>()?;
        let Totals { ok, failed } = totals;
        Ok(Self { format: format.to_string(), complete: true, records: ok + failed, ok, failed, files })
    }
}

fn entry(path: &Path, records: u64) -> io::Result<Entry> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let mut file = File::open(path).map_err(named)?;
    let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; BUFFER_BYTES]);
    loop {
        let count = file.read(&mut buffer).map_err(named)?;
        if count == 0 {
            break;
        }
        bytes += count as u64;
        hash.update(buffer.get(..count).unwrap_or_default());
    }
    let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(Entry { name, records, bytes, sha256 })
}

/// Writes the manifest of `output`, all or nothing.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write_manifest(path: &Path, output: &Path, manifest: &Manifest) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(manifest)?;
    text.push(b'\n');
    whole_file::replace(path, Readers::Of(output), &text).map_err(|error| error.source)
}
