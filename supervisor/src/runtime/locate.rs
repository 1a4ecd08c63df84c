//! Finds the `worker` executable: beside this one, else in `../lib/muster/`,
//! else where `$MUSTER_WORKER` says.

use std::path::{Path, PathBuf};

/// Variable with the path of the worker, if it is in neither of the usual places.
pub const WORKER_VARIABLE: &str = "MUSTER_WORKER";

/// There is no worker to start.
#[derive(Debug, thiserror::Error)]
#[error("cannot find the `worker` executable; looked at {}. Install it beside `supervisor`, or set {WORKER_VARIABLE} to its path", list(.looked_at))]
pub struct NoWorker {
    looked_at: Vec<PathBuf>,
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Returns the worker that belongs to this supervisor.
///
/// # Errors
/// [`NoWorker`] if it is in none of the places, which the message names.
pub fn worker() -> Result<PathBuf, NoWorker> {
    let own = std::env::current_exe().unwrap_or_default();
    search(own.parent().unwrap_or(Path::new(".")), std::env::var_os(WORKER_VARIABLE).map(PathBuf::from))
}

fn search(own_directory: &Path, variable: Option<PathBuf>) -> Result<PathBuf, NoWorker> {
    let looked_at: Vec<PathBuf> = [own_directory.join("worker"), own_directory.join("../lib/muster/worker")]
        .into_iter()
        .chain(variable)
        .collect();
    match looked_at.iter().find(|path| path.is_file()) {
        Some(found) => Ok(found.clone()),
        None => Err(NoWorker { looked_at }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_neighbour_comes_first_and_the_variable_last() {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        let elsewhere = dir.path().join("elsewhere");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::write(&elsewhere, "").unwrap();

        let error = search(&bin, None).unwrap_err().to_string();
        assert!(error.contains("bin/worker") && error.contains(WORKER_VARIABLE), "{error}");
        assert_eq!(search(&bin, Some(elsewhere.clone())).unwrap(), elsewhere);
        std::fs::write(bin.join("worker"), "").unwrap();
        assert_eq!(search(&bin, Some(elsewhere)).unwrap(), bin.join("worker"));
    }
}
