//! Fingerprints the sources that define the wire, for the handshake's build id.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::path::Path;

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=src");
    let mut hasher = DefaultHasher::new();
    let mut files: Vec<_> = std::fs::read_dir(Path::new("src"))?.collect::<Result<_, _>>()?;
    files.sort_by_key(std::fs::DirEntry::file_name);
    for file in files {
        std::fs::read(file.path())?.hash(&mut hasher);
    }
    println!("cargo::rustc-env=MUSTER_BUILD_ID={}-{:016x}", env!("CARGO_PKG_VERSION"), hasher.finish());
    Ok(())
}
