//! The service: the same engine, running permanently. It keeps a queue of jobs in the state directory, runs
//! several at once on one set of workers, and survives a crash at any instant.
//!
//! ```text
//! api ─ requests ─→ state loop ─ starts, stops, shares ─→ one engine thread per job
//!  ↑                   │  ↑                                   │
//!  └─ board, updates ──┘  └────────────── events ←────────────┘
//! ```
//! One thread, the state loop, owns all mutable state. A change is requested by sending it a [`Request`]. The
//! state is read from the [`Board`], which only the loop writes and which never blocks it. Invariant: what
//! the loop has answered is on disk.

mod at_work;
mod board;
mod disk_thread;
mod event;
mod metrics;
mod notify;
mod request;
mod schedule;
mod state_loop;
mod store;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Sender, unbounded};

pub use board::{Board, Records, Service, Update};
pub use metrics::{Metrics, Totals};
pub use request::{Idempotency, Refused, Request, Submission, Submitted, Upload};
pub use store::StoreError;

pub use crate::view::JobAction;

use self::disk_thread::DiskThread;
use self::event::Event;
use self::state_loop::{Listeners, Parts, StateLoop};
use self::store::Store;
use crate::config::ServiceConfig;
use crate::runtime::{Signal, Signals, Workers};

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Threads or signal handlers cannot be set up.
    #[error("cannot set up threads and signals: {0}")]
    SetUp(#[from] std::io::Error),
}

/// An API server. It runs on its own threads until it is dropped.
pub trait ApiServer {
    /// Reloads the token and certificate for later connections.
    ///
    /// # Errors
    /// What is wrong with a file, for the log. Nothing changes then.
    fn reload(&self) -> Result<(), String>;
}

/// Reloads the settings, or returns what is wrong with them.
pub type ReloadSettings = fn() -> Result<ServiceConfig, String>;

/// Runs a service until it is told to stop. Calls `open` with the service's handle and configuration once it
/// accepts requests, to open the API. On SIGHUP, calls `reload_settings` for the current settings.
///
/// # Errors
/// [`StartError`] if the service cannot start, or the error of `open`.
pub fn run<E: From<StartError>>(
    config: ServiceConfig,
    reload_settings: ReloadSettings,
    workers: Workers,
    open: impl FnOnce(&Service, &ServiceConfig) -> Result<Option<Box<dyn ApiServer>>, E>,
) -> Result<(), E> {
    let store = Store::open(&config.state_dir).map_err(StartError::from)?;
    for note in store.notes() {
        tracing::warn!("{note}");
    }
    let (workers, spares) = workers.with_spares().map_err(StartError::from)?;
    let (asks_sender, requests) = unbounded();
    let (event_sender, events) = unbounded();
    let service = Service::new(asks_sender, Arc::new(Board::default()));
    let listeners = Listeners::default();
    let _signals = signals(&listeners, spares.clone(), event_sender.clone()).map_err(StartError::from)?;
    let incoming: PathBuf = config.state_dir.join("incoming");
    let disk = DiskThread::start(config.allowed.clone(), incoming, event_sender.clone())
        .map_err(StartError::from)?;
    let (handle, own_config) = (service.clone(), config.clone());
    let parts = Parts {
        config,
        reload_settings,
        service,
        store,
        requests,
        events,
        event_sender,
        listeners,
        workers,
        spares,
        disk,
    };
    let state = StateLoop::new(parts).map_err(StartError::from)?;
    // Opened only after the board is filled, so that no stored job is missing even for an instant.
    let endpoint = open(&handle, &own_config)?;
    state.run(endpoint);
    Ok(())
}

/// Forwards signals: SIGCHLD to all runs that have children, others to the state loop.
fn signals(
    listeners: &Listeners,
    spares: crate::runtime::Spares,
    event_sender: Sender<Event>,
) -> std::io::Result<Signals> {
    let listeners: Arc<Mutex<_>> = Arc::clone(listeners);
    Signals::start(move |signal| match signal {
        Signal::Child => {
            spares.child();
            // Forget the runs that have ended.
            listeners
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .retain(crate::runtime::Controller::child);
            true
        }
        Signal::Stop(_) | Signal::Renew | Signal::Grow | Signal::Shrink => {
            event_sender.send(Event::Signal(signal)).is_ok()
        }
    })
}
