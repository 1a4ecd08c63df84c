//! The configuration of a service, resolved from flags, environment and the config file.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

/// The configuration of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceConfig {
    /// Directory of jobs, their records and journals: `--state-dir`, `$STATE_DIRECTORY`,
    /// `$XDG_STATE_HOME/muster`.
    pub state_dir: PathBuf,
    /// Worker processes; `None` means one per usable CPU.
    pub workers: Option<NonZeroU32>,
    /// Maximum concurrent jobs; never more than workers.
    pub jobs_max: NonZeroU32,
    /// Maximum queued jobs.
    pub queue_max: u64,
    /// How long an ended job is kept.
    pub keep_for: Duration,
    /// Maximum bytes of ended jobs; the oldest are removed first.
    pub keep_bytes: u64,
    /// What jobs may do.
    pub allowed: Allowed,
    /// Maximum memory that one worker may allocate.
    pub worker_memory_bytes: Option<u64>,
    /// The API.
    pub api: ApiConfig,
}

impl ServiceConfig {
    /// Returns the names of the settings that differ in `new` but only change at the next start.
    #[must_use]
    pub fn fixed_changes(&self, new: &Self) -> Vec<&'static str> {
        let (was, is) = (&self.api, &new.api);
        [
            ("state-dir", self.state_dir != new.state_dir),
            ("worker-memory", self.worker_memory_bytes != new.worker_memory_bytes),
            ("socket", was.socket != is.socket),
            ("listen", was.listen != is.listen),
            ("token-file", was.token_file != is.token_file),
            (
                "tls-cert",
                was.tls.as_ref().map(|tls| &tls.certificates) != is.tls.as_ref().map(|tls| &tls.certificates),
            ),
            ("tls-key", was.tls.as_ref().map(|tls| &tls.key) != is.tls.as_ref().map(|tls| &tls.key)),
            ("trusted-proxy", was.trusted_proxies != is.trusted_proxies),
            ("body-max", was.body_bytes_max != is.body_bytes_max),
            ("connections-max", was.connections_max != is.connections_max),
        ]
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
    }

    /// Applies the settings of `new` that can change while the service runs, and returns the
    /// previous configuration.
    pub fn take_changes(&mut self, new: Self) -> Self {
        let Self { workers, jobs_max, queue_max, keep_for, keep_bytes, allowed, .. } = new;
        let old = self.clone();
        *self = Self { workers, jobs_max, queue_max, keep_for, keep_bytes, allowed, ..old.clone() };
        old
    }
}

/// What a job may do that its sender could not do without the service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Directories of this machine whose files jobs may name. Uploads are always allowed.
    pub paths: Vec<PathBuf>,
    /// Whether jobs may run programs (`map`, `--map`).
    pub programs: bool,
    /// Whether jobs may reach private addresses.
    pub private_addresses: bool,
    /// Whether lists are read in processes of their own, which are this executable again. Off only where it is
    /// another one, as in tests.
    pub isolates_lists: bool,
}

/// An address that others can reach is not protected.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0} can be reached from other machines, which requires --token-file, and --tls-cert with --tls-key; \
     without these, listen on 127.0.0.1"
)]
pub struct Unprotected(pub SocketAddr);

/// Configuration of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiConfig {
    /// The Unix socket; `None` disables it.
    pub socket: Option<PathBuf>,
    /// TCP addresses.
    pub listen: Vec<SocketAddr>,
    /// The file with the bearer token; required for any address that is not loopback.
    pub token_file: Option<PathBuf>,
    /// Certificate chain and key, PEM; required for any address that is not loopback.
    pub tls: Option<TlsFiles>,
    /// Reverse proxies on TCP that are believed when they name a client.
    pub trusted_proxies: Vec<IpNet>,
    /// Maximum size of a request body in bytes.
    pub body_bytes_max: u64,
    /// Maximum concurrent connections.
    pub connections_max: u32,
}

/// The files for TLS; read again on SIGHUP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain.
    pub certificates: PathBuf,
    /// Private key.
    pub key: PathBuf,
}
