//! Fingerprints the sources that define the wire, for the handshake's build id.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let roots = ["src", "select/src", "wire/src"];
    let mut hasher = DefaultHasher::new();
    let mut directories: Vec<PathBuf> = roots.iter().map(PathBuf::from).collect();
    let mut files = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() { directories.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    for file in files {
        std::fs::read(file)?.hash(&mut hasher);
    }
    for root in roots {
        println!("cargo::rerun-if-changed={root}");
    }
    println!("cargo::rustc-env=MUSTER_BUILD_ID={}-{:016x}", env!("CARGO_PKG_VERSION"), hasher.finish());
    Ok(())
}
