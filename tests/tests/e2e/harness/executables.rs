//! Where the executables are, under the names users know them by.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// `supervisor`, with `worker` beside it.
pub(crate) fn supervisor_path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bin");
        fs::create_dir_all(&directory).unwrap();
        link_executable(worker_path(), &directory.join("worker"));
        let supervisor = directory.join("supervisor");
        link_executable(Path::new(env!("CARGO_BIN_EXE_e2e-supervisor")), &supervisor);
        supervisor
    })
}

/// The worker as it was built, under a name that the supervisor does not look for.
pub(crate) fn worker_path() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_e2e-worker"))
}

/// Gives `original` a second name.
///
/// A link, because a copy that another thread still writes to cannot be started; renamed
/// into place, because another test process may be starting what is there.
pub(crate) fn link_executable(original: &Path, name: &Path) {
    let temporary = name.with_extension(std::process::id().to_string());
    match fs::hard_link(original, &temporary) {
        Ok(()) => {}
        // Left by an earlier process of the same id.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            fs::remove_file(&temporary).unwrap();
            fs::hard_link(original, &temporary).unwrap();
        }
        Err(error) => panic!("cannot link {} to {}: {error}", original.display(), temporary.display()),
    }
    fs::rename(&temporary, name).unwrap();
    // Renaming a link over another link to the same file does nothing, so the first name stays.
    let _ = fs::remove_file(&temporary);
}
