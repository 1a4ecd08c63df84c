//! How a service is set up, as resolved from flags, environment and the config file.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

/// A service, before it is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceConfig {
    /// Jobs, their records and journals: `--state-dir`, `$STATE_DIRECTORY`, `$XDG_STATE_HOME/muster`.
    pub state_dir: PathBuf,
    /// Worker processes; `None` is one per usable CPU.
    pub workers: Option<NonZeroU32>,
    /// Jobs that run at once, at most; never more than workers.
    pub jobs_max: NonZeroU32,
    /// Jobs that wait, at most.
    pub queue_max: u64,
    /// For how long an ended job is kept.
    pub keep_for: Duration,
    /// Bytes that ended jobs may take; the oldest go first.
    pub keep_bytes: u64,
    /// What jobs may do here.
    pub allowed: Allowed,
    /// Most memory one worker may allocate.
    pub worker_memory_bytes: Option<u64>,
    /// Where requests come in.
    pub api: ApiConfig,
}

/// What a job may do that its sender could not do without the service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Directories of this machine whose files jobs may name; uploads are always allowed.
    pub paths: Vec<PathBuf>,
    /// Whether jobs may run programs (`map`, `--map`).
    pub programs: bool,
    /// Whether jobs may reach private addresses.
    pub private_addresses: bool,
}

/// Where and how requests come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiConfig {
    /// The Unix socket; `None` is none.
    pub socket: Option<PathBuf>,
    /// TCP addresses.
    pub listen: Vec<SocketAddr>,
    /// The file that holds the bearer token; needed for any address that is not loopback.
    pub token_file: Option<PathBuf>,
    /// Certificate chain and key, PEM; needed for any address that is not loopback.
    pub tls: Option<TlsFiles>,
    /// Largest request body in bytes.
    pub body_bytes_max: u64,
    /// Connections at once, at most.
    pub connections_max: u32,
}

/// What TLS needs; read again on SIGHUP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain.
    pub certificates: PathBuf,
    /// Private key.
    pub key: PathBuf,
}
