//! Resolves the flags of `serve` to a [`ServiceConfig`], with its default paths.

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use super::Environment;
use super::flags::{PoolFlags, ServeFlags};
use super::problem::Problem;
use crate::config::{Allowed, ApiConfig, ServiceConfig, TlsFiles, Unprotected};

/// Flags that each job sets for itself.
const JOB_FLAGS: [&str; 4] = ["mode", "concurrency", "recycle", "sandbox"];

/// Resolves the flags of `serve`. `typed` returns whether a flag is on the command line.
pub(super) fn config(
    pool: &PoolFlags,
    flags: ServeFlags,
    typed: &dyn Fn(&str) -> bool,
    env: &Environment<'_>,
) -> Result<ServiceConfig, Problem> {
    if let Some(flag) = JOB_FLAGS.iter().find(|flag| typed(flag)) {
        return Err(Problem::Usage(format!(
            "serve does not take --{flag}; each job sets it in its document"
        )));
    }
    if pool.job.is_some() {
        return Err(Problem::Usage(
            "serve does not take --job; submit the job to the service instead".to_owned(),
        ));
    }
    let tls = tls(&flags)?;
    let state_dir = match flags.state_dir {
        Some(directory) => directory,
        None => state_directory(env)?,
    };
    let socket = match flags.socket {
        Some(path) if path == Path::new("none") => None,
        Some(path) => Some(path),
        None => Some(socket(env, &state_dir)),
    };
    if socket.is_none() && flags.listen.is_empty() {
        return Err(Problem::Usage(
            "with --socket none the service needs --listen, or nobody can reach it".to_owned(),
        ));
    }
    Ok(ServiceConfig {
        workers: pool.workers.0,
        // No limit here: the number of workers is the limit.
        jobs_max: flags.jobs_max.0.unwrap_or(NonZeroU32::MAX),
        queue_max: u64::from(flags.queue_max.get()),
        keep_for: flags.keep_for,
        keep_bytes: flags.keep_bytes,
        allowed: Allowed {
            paths: flags.allow_path,
            programs: flags.allow_programs,
            private_addresses: flags.allow_private_addresses,
            isolates_lists: true,
        },
        worker_memory_bytes: pool.worker_memory,
        api: ApiConfig {
            socket,
            listen: flags.listen,
            token_file: flags.token_file,
            tls,
            trusted_proxies: flags.trusted_proxy,
            body_bytes_max: flags.body_max,
            connections_max: flags.connections_max.get(),
        },
        state_dir,
    })
}

fn set(env: &Environment<'_>, name: &str) -> Option<OsString> {
    (env.variable)(name).filter(|value| !value.is_empty())
}

/// Resolves the certificate and its key: both or neither. Both are required to listen on an
/// address that other machines can reach.
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

/// The default state directory: systemd's for the service, else the user's.
pub(super) fn state_directory(env: &Environment<'_>) -> Result<PathBuf, Problem> {
    if let Some(given) = set(env, "STATE_DIRECTORY") {
        return Ok(first(&given));
    }
    if let Some(home) = set(env, "XDG_STATE_HOME") {
        return Ok(Path::new(&home).join("muster"));
    }
    match set(env, "HOME") {
        Some(home) => Ok(Path::new(&home).join(".local/state/muster")),
        None => Err(Problem::Usage("no directory to keep jobs in; name one with --state-dir".to_owned())),
    }
}

/// The default socket of the service, where clients look for it.
pub(super) fn socket(env: &Environment<'_>, state_dir: &Path) -> PathBuf {
    if let Some(given) = set(env, "RUNTIME_DIRECTORY") {
        return first(&given).join("api.sock");
    }
    match set(env, "XDG_RUNTIME_DIR") {
        Some(runtime) => Path::new(&runtime).join("muster/api.sock"),
        None => state_dir.join("api.sock"),
    }
}

/// The first directory of a list; systemd separates them by colons.
fn first(directories: &OsString) -> PathBuf {
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    let first = directories.as_bytes().split(|byte| *byte == b':').next().unwrap_or_default();
    PathBuf::from(OsString::from_vec(first.to_vec()))
}
