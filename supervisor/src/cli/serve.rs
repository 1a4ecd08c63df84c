//! From the flags of `serve` to a [`ServiceConfig`]: where things are unless the user says otherwise.

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use super::Surroundings;
use super::flags::{PoolFlags, ServeFlags};
use super::problem::Problem;
use crate::config::{Allowed, ApiConfig, ServiceConfig, TlsFiles, Unprotected};

/// Flags that say how one job works, which here each job says for itself.
const OF_JOBS: [&str; 4] = ["mode", "concurrency", "recycle", "sandbox"];

/// A service as it is to be run. `typed` tells which flags stood on the command line.
pub(super) fn config(
    pool: &PoolFlags,
    flags: ServeFlags,
    typed: &dyn Fn(&str) -> bool,
    around: &Surroundings<'_>,
) -> Result<ServiceConfig, Problem> {
    if let Some(flag) = OF_JOBS.iter().find(|flag| typed(flag)) {
        return Err(Problem::Usage(format!(
            "--{flag} is for each job to say, in its document; leave it out"
        )));
    }
    if pool.job.is_some() {
        return Err(Problem::Usage(
            "serve takes jobs from those who submit them; leave out --job".to_owned(),
        ));
    }
    let tls = tls(&flags)?;
    let state_dir = match flags.state_dir {
        Some(directory) => directory,
        None => state_directory(around)?,
    };
    let socket = match flags.socket {
        Some(path) if path == Path::new("none") => None,
        Some(path) => Some(path),
        None => Some(socket(around, &state_dir)),
    };
    if socket.is_none() && flags.listen.is_empty() {
        return Err(Problem::Usage(
            "--socket none, and no --listen: nobody could reach the service".to_owned(),
        ));
    }
    Ok(ServiceConfig {
        workers: pool.workers.0,
        // One for each worker, however many those are.
        jobs_max: flags.jobs_max.0.unwrap_or(NonZeroU32::MAX),
        queue_max: u64::from(flags.queue_max.get()),
        keep_for: flags.keep_for,
        keep_bytes: flags.keep_bytes,
        allowed: Allowed {
            paths: flags.allow_path,
            programs: flags.allow_programs,
            private_addresses: flags.allow_private_addresses,
        },
        worker_memory_bytes: pool.worker_memory,
        api: ApiConfig {
            socket,
            listen: flags.listen,
            token_file: flags.token_file,
            tls,
            body_bytes_max: flags.body_max,
            connections_max: flags.connections_max.get(),
        },
        state_dir,
    })
}

fn set(around: &Surroundings<'_>, name: &str) -> Option<OsString> {
    (around.variable)(name).filter(|value| !value.is_empty())
}

/// The certificate and its key: both or neither, and both where others can reach the service.
fn tls(flags: &ServeFlags) -> Result<Option<TlsFiles>, Problem> {
    let tls = match (&flags.tls_cert, &flags.tls_key) {
        (Some(certificates), Some(key)) => {
            Some(TlsFiles { certificates: certificates.clone(), key: key.clone() })
        }
        (None, None) => None,
        (Some(_), None) => return Err(Problem::Usage("--tls-cert needs --tls-key".to_owned())),
        (None, Some(_)) => return Err(Problem::Usage("--tls-key needs --tls-cert".to_owned())),
    };
    let is_protected = flags.token_file.is_some() && tls.is_some();
    match flags.listen.iter().find(|address| !is_protected && !address.ip().is_loopback()) {
        Some(open) => Err(Problem::Usage(Unprotected(*open).to_string())),
        None => Ok(tls),
    }
}

/// What systemd made for the service, else what is the user's.
pub(super) fn state_directory(around: &Surroundings<'_>) -> Result<PathBuf, Problem> {
    if let Some(given) = set(around, "STATE_DIRECTORY") {
        return Ok(first(&given));
    }
    if let Some(home) = set(around, "XDG_STATE_HOME") {
        return Ok(Path::new(&home).join("muster"));
    }
    match set(around, "HOME") {
        Some(home) => Ok(Path::new(&home).join(".local/state/muster")),
        None => {
            Err(Problem::Usage("where are jobs to be kept? Name a directory with --state-dir".to_owned()))
        }
    }
}

/// Where the service listens, and where those look who talk to it.
pub(super) fn socket(around: &Surroundings<'_>, state_dir: &Path) -> PathBuf {
    if let Some(given) = set(around, "RUNTIME_DIRECTORY") {
        return first(&given).join("api.sock");
    }
    match set(around, "XDG_RUNTIME_DIR") {
        Some(runtime) => Path::new(&runtime).join("muster/api.sock"),
        None => state_dir.join("api.sock"),
    }
}

/// systemd puts colons between several.
fn first(directories: &OsString) -> PathBuf {
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    let first = directories.as_bytes().split(|byte| *byte == b':').next().unwrap_or_default();
    PathBuf::from(OsString::from_vec(first.to_vec()))
}
