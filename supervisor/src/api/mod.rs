//! The service's HTTP API: `docs/API.md` in code.
//!
//! ```text
//! listen ─→ server ─→ pace, auth ─→ routes ─→ jobs, submit, records, events, … ─→ Service
//! ```
//! Reads use the board and never wait for the state loop. A change waits for the loop's reply on a thread of its
//! own. Everything runs on one thread, plus a few threads for files. The pace keeps a crowd of clients from taking
//! the CPUs away from the jobs.
//!
//! Invariant: whatever a client sends, or fails to send, takes a bounded amount of memory and time.

mod auth;
mod events;
mod forwarded;
mod guarded;
mod incoming;
mod jobs;
mod listen;
mod metrics;
mod openapi;
mod own;
mod pace;
mod page;
mod pools;
mod problem;
mod query;
mod records;
mod routes;
mod schema;
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
use tokio::sync::{Mutex, Semaphore, watch};

use self::auth::Token;
use self::metrics::HttpMetrics;
use self::pace::Pace;
use self::pools::Pools;
use crate::config::{ApiConfig, Unprotected};
use crate::service::{ApiServer, Service};

/// Niceness of the threads for files, relative to the jobs. The thread that answers requests uses
/// too little CPU to disturb the jobs. With a lower priority it would only be late: beside busy
/// workers the kernel delays such a thread by many milliseconds.
const NICE: i32 = 5;

/// Threads that access files and wait for the state loop.
const BLOCKING_THREADS: usize = 8;

/// Maximum changes that wait for the state loop at once. The other threads remain free for reads.
const ASKS_MAX: usize = 4;

/// Maximum concurrent uploads in each pool: on the socket, from this machine, from others.
const UPLOADS_MAX: usize = 16;

/// Maximum concurrent event listeners and record followers in each pool. Each costs a piece of JSON
/// a few times a second.
const STREAMS_MAX: usize = 128;

/// How long responses in progress may take when the service stops.
const GRACE: Duration = Duration::from_secs(3);

/// Why the API cannot be started or reloaded.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The Unix socket cannot be created.
    #[error("cannot listen on {}: {source}", path.display())]
    Socket {
        /// Path of the socket.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// Another process answers on the socket.
    #[error("another service already listens on {}; stop it, or use another --socket", .0.display())]
    InUse(PathBuf),
    /// The service cannot listen on a TCP address.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Error of the system.
        source: io::Error,
    },
    /// An address needs protection that is not configured.
    #[error(transparent)]
    Unprotected(#[from] Unprotected),
    /// The token cannot be used.
    #[error("cannot use the token in {}: {why}", path.display())]
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
    /// The service manager passed something that is not a listening socket.
    #[error("cannot use the sockets passed by the service manager: {0}")]
    Activation(io::Error),
    /// There is nothing to listen on.
    #[error("there is nothing to listen on; use --socket or --listen")]
    Nowhere,
    /// The directory for uploads cannot be prepared.
    #[error("cannot prepare {} for uploads: {source}", path.display())]
    Uploads {
        /// The directory.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// The thread or the event loop could not be started.
    #[error("cannot start the API: {0}")]
    Start(io::Error),
}

/// State shared by all requests.
struct Api {
    service: Service,
    /// Where uploads wait until they belong to a job.
    incoming: PathBuf,
    config: ApiConfig,
    token: RwLock<Option<Token>>,
    tls: RwLock<Option<Arc<ServerConfig>>>,
    pace: Pace,
    asks: Arc<Semaphore>,
    /// Held while the API looks up who holds a connection. The other threads remain free.
    look_ups: Mutex<()>,
    uploads: Pools,
    streams: Pools,
    http: HttpMetrics,
    /// Becomes true when the service stops.
    stopping: watch::Receiver<bool>,
}

impl Api {
    /// Reloads the token and the certificate; both or neither.
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

    /// Completes when the service stops.
    async fn stopped(&self) {
        // An error means that the handle is gone, and the service with it.
        let _ = self.stopping.clone().wait_for(|stopping| *stopping).await;
    }
}

/// The running API. Dropping it accepts no more connections, gives responses in progress a few
/// seconds, and removes the socket.
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
    /// Returns the TCP addresses, with the actual port where port 0 was configured.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Returns sockets and addresses, for display.
    #[must_use]
    pub fn places(&self) -> &[String] {
        &self.places
    }
}

impl ApiServer for ApiHandle {
    fn reload(&self) -> Result<(), String> {
        self.api.reload().map_err(|error| error.to_string())
    }
}

impl Drop for ApiHandle {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic in the thread has already printed its message.
            let _ = thread.join();
        }
    }
}

/// Starts listening, and answers from threads of its own.
///
/// # Errors
/// [`ApiError`] if an address, the token or the certificate cannot be used.
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
        look_ups: Mutex::new(()),
        uploads: Pools::new(UPLOADS_MAX),
        streams: Pools::new(STREAMS_MAX),
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
            // Do not wait for file operations that hang.
            runtime.shutdown_timeout(GRACE);
        })
        .map_err(ApiError::Start)?;
    Ok(ApiHandle { api, stop, addresses, places, thread: Some(thread) })
}

/// Lowers the priority of this thread. Where that is not permitted, the pace still limits the load.
fn step_back() {
    let _ = rustix::process::setpriority_process(None, NICE);
}

#[cfg(test)]
mod tests;
