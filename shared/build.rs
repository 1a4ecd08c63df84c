//! Fingerprints the sources that define the wire, for the handshake's build id.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::path::Path;

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=src");
    let mut hasher = DefaultHasher::new();
    hash(Path::new("src"), &mut hasher)?;
    println!("cargo::rustc-env=MUSTER_BUILD_ID={}-{:016x}", env!("CARGO_PKG_VERSION"), hasher.finish());
    Ok(())
}

/// A file, or all files of a directory, by name.
fn hash(path: &Path, hasher: &mut DefaultHasher) -> std::io::Result<()> {
    if !path.is_dir() {
        std::fs::read(path)?.hash(hasher);
        return Ok(());
    }
    let mut entries: Vec<_> = std::fs::read_dir(path)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    entries.into_iter().try_for_each(|entry| hash(&entry.path(), hasher))
}
