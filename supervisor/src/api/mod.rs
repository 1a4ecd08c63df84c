//! The service's HTTP API: `docs/API.md` in code.
//!
//! ```text
//! listen ─→ server ─→ pace, auth ─→ routes ─→ jobs, submit, records, events, … ─→ Service
//! ```
//! Looking reads the board and never waits for the state loop. Asking for a
//! change waits for its answer on a thread of its own. Everything runs on one
//! thread, and a few more of low priority for files. What keeps a crowd of
//! clients from taking the CPUs from the jobs is the pace. Invariant: whatever a
//! client sends, or does not send, takes a bounded amount of memory and time.

mod auth;
mod events;
mod guarded;
mod incoming;
mod jobs;
mod listen;
mod metrics;
mod openapi;
mod pace;
mod page;
mod problem;
mod query;
mod records;
mod routes;
mod server;
mod submit;
mod tls;
mod views;
mod watched;

use std::fs::DirBuilder;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::ServerConfig;
use shared::clock;
use tokio::sync::{Semaphore, watch};

use self::auth::Token;
use self::metrics::HttpMetrics;
use self::pace::Pace;
use crate::service::Service;
use crate::service::config::ApiConfig;

/// How much less than the jobs the threads for files matter to the kernel. The one that answers does too little to be in the
/// way, and would only be late: beside busy workers the kernel lets a thread of lower priority wait for many milliseconds.
const NICE: i32 = 5;

/// Threads that read and write files and wait for the state loop.
const BLOCKING_THREADS: usize = 8;

/// Changes that wait for the state loop at once; the rest of the threads is left to reading.
const ASKS_MAX: usize = 4;

/// Uploads at once.
const UPLOADS_MAX: usize = 16;

/// Listeners to events, and followers of records, at once. Each costs a piece of JSON a few times a second.
const STREAMS_MAX: usize = 128;

/// Longest time that answers which have begun are given when the service stops.
const GRACE: Duration = Duration::from_secs(3);

/// Why the API cannot be started, or not be set anew.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The Unix socket cannot be made.
    #[error("cannot listen on {}: {source}", path.display())]
    Socket {
        /// Where it was to be.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody answers on the socket.
    #[error("a service listens on {} already; stop it, or give this one another --socket", .0.display())]
    InUse(PathBuf),
    /// A TCP address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// An address that others can reach, without what keeps them out.
    #[error(
        "{0} can be reached from other machines: that takes --token-file, and --tls-cert with --tls-key; \
         without them listen on 127.0.0.1"
    )]
    Unprotected(SocketAddr),
    /// The token cannot be used.
    #[error("the token in {}: {why}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The certificate or its key cannot be used.
    #[error("{}: {why}", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// What the service manager handed over is no socket to listen on.
    #[error("the sockets that the service manager passed cannot be used: {0}")]
    Activation(io::Error),
    /// There is nothing to listen on.
    #[error("there is nothing to listen on: give --socket or --listen")]
    Nowhere,
    /// The directory for uploads cannot be made ready.
    #[error("cannot make {} ready for uploads: {source}", path.display())]
    Uploads {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No thread, or no event loop.
    #[error("cannot start the API: {0}")]
    Start(io::Error),
}

/// What every request may need.
struct Api {
    service: Service,
    /// Where uploads wait to become a job's.
    incoming: PathBuf,
    config: ApiConfig,
    token: RwLock<Option<Token>>,
    tls: RwLock<Option<Arc<ServerConfig>>>,
    pace: Pace,
    asks: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    http: HttpMetrics,
    /// Turns true when the service stops.
    stopping: watch::Receiver<bool>,
}

impl Api {
    /// Reads the token and the certificate again; both or neither.
    fn reload(&self) -> Result<(), ApiError> {
        let token = self.config.token_file.as_deref().map(Token::read).transpose()?;
        let tls = self.config.tls.as_ref().map(tls::load).transpose()?;
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = token;
        *self.tls.write().unwrap_or_else(PoisonError::into_inner) = tls;
        Ok(())
    }

    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Ends when the service stops.
    async fn stopped(&self) {
        // An error is a handle that is gone, and the service with it.
        let _ = self.stopping.clone().wait_for(|stopping| *stopping).await;
    }
}

/// The running API. Dropping it stops it.
#[derive(Debug)]
pub struct ApiHandle {
    api: Arc<Api>,
    stop: watch::Sender<bool>,
    addresses: Vec<SocketAddr>,
    places: Vec<String>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("config", &self.config).finish_non_exhaustive()
    }
}

impl ApiHandle {
    /// The TCP addresses, with the ports that were chosen where 0 was asked for.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Sockets and addresses, for a person.
    #[must_use]
    pub fn places(&self) -> &[String] {
        &self.places
    }

    /// Reads the token and the certificate again, for connections that come from now on.
    ///
    /// # Errors
    /// What is wrong with a file; all stays as it was then.
    pub fn reload(&self) -> Result<(), ApiError> {
        self.api.reload()
    }

    /// Takes no more connections, gives the answers that have begun a few seconds, and removes the socket.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for ApiHandle {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // What a panic there was about has been said by it.
            let _ = thread.join();
        }
    }
}

/// Listens, and answers from threads of its own.
///
/// # Errors
/// [`ApiError`] when an address, the token or the certificate will not do.
pub fn start(service: Service, config: &ApiConfig, state_dir: &Path) -> Result<ApiHandle, ApiError> {
    let bound = listen::bind(config)?;
    let incoming = state_dir.join("incoming");
    // What is in it is the store's to sweep.
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&incoming);
    made.map_err(|source| ApiError::Uploads { path: incoming.clone(), source })?;
    let (stop, stopping) = watch::channel(false);
    let api = Arc::new(Api {
        service,
        incoming,
        config: config.clone(),
        token: RwLock::new(None),
        tls: RwLock::new(None),
        pace: Pace::new(clock::now()),
        asks: Arc::new(Semaphore::new(ASKS_MAX)),
        uploads: Arc::new(Semaphore::new(UPLOADS_MAX)),
        streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        http: HttpMetrics::default(),
        stopping,
    });
    api.reload()?;
    let (addresses, places) = (bound.addresses(), bound.places());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name("api-files")
        .on_thread_start(step_back)
        .build()
        .map_err(ApiError::Start)?;
    let listeners = {
        let _inside = runtime.enter();
        bound.listeners.into_iter().map(server::Listener::new).collect::<io::Result<Vec<_>>>()
    };
    let (listeners, socket) = (listeners.map_err(ApiError::Start)?, bound.socket);
    let serving = Arc::clone(&api);
    let thread = thread::Builder::new()
        .name("api".to_owned())
        .spawn(move || {
            runtime.block_on(server::run(&serving, listeners));
            drop(socket);
            // A file that does not answer is not waited for.
            runtime.shutdown_timeout(GRACE);
        })
        .map_err(ApiError::Start)?;
    Ok(ApiHandle { api, stop, addresses, places, thread: Some(thread) })
}

/// Lowers the priority of this thread. Where that is not allowed the pace still holds.
fn step_back() {
    let _ = rustix::process::setpriority_process(None, NICE);
}

#[cfg(test)]
mod tests;
