//! The service: the same engine, always on. It keeps a queue of jobs in the
//! state directory, runs several at once on one set of workers, and survives
//! its own death at any instant.
//!
//! ```text
//! api ─ asks ─→ state loop ─ starts, stops, shares ─→ one engine thread a job
//!  ↑                │  ↑                                   │
//!  └── board, events┘  └────────────── news ←──────────────┘
//! ```
//! One thread owns everything that can change, the state loop. Whoever wants a
//! change sends it an [`Ask`]; whoever wants to look reads the [`Board`], which
//! the loop writes and nobody waits for. Invariant: what the loop has answered
//! is on the disk.

mod ask;
mod at_work;
mod board;
mod clerk;
mod metrics;
mod news;
mod notify;
mod schedule;
mod state_loop;
mod store;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Sender, unbounded};

pub use ask::{Ask, Idempotency, Refused, Submission, Submitted, Upload, Verb};
pub use board::{Board, Event, Records, Service};
pub use metrics::{Metrics, Totals};
pub use store::StoreError;

use self::clerk::Clerk;
use self::news::News;
use self::state_loop::{Listeners, Parts, StateLoop};
use self::store::Store;
use crate::config::ServiceConfig;
use crate::runtime::{Signal, Signals, Workers};

/// Why the service cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Threads or signal handlers cannot be set up.
    #[error("cannot set up threads and signals: {0}")]
    SetUp(#[from] std::io::Error),
}

/// Serves requests to the service, on threads of its own, until it is dropped.
pub trait Endpoint {
    /// Reads its token and certificate again, for connections that come from now on.
    ///
    /// # Errors
    /// What is wrong with a file, for a log; everything stays as it was then.
    fn reload(&self) -> Result<(), String>;
}

/// Reads the settings again; or says what is wrong with them.
pub type Again = fn() -> Result<ServiceConfig, String>;

/// Runs a service with these workers until it is told to stop. `open` is called with it and its
/// configuration once it can be asked, and opens the way in, if there is to be one. On SIGHUP `again`
/// is called for the settings as they are then.
///
/// # Errors
/// [`StartError`], before anything has run; or what `open` says.
pub fn run<E: From<StartError>>(
    config: ServiceConfig,
    again: Again,
    workers: Workers,
    open: impl FnOnce(&Service, &ServiceConfig) -> Result<Option<Box<dyn Endpoint>>, E>,
) -> Result<(), E> {
    let store = Store::open(&config.state_dir).map_err(StartError::from)?;
    for note in store.notes() {
        tracing::warn!("{note}");
    }
    let (workers, spares) = workers.with_spares().map_err(StartError::from)?;
    let (asks_sender, asks) = unbounded();
    let (tell, news) = unbounded();
    let service = Service::new(asks_sender, Arc::new(Board::default()));
    let listeners = Listeners::default();
    let _signals = signals(&listeners, spares.clone(), tell.clone()).map_err(StartError::from)?;
    let incoming: PathBuf = config.state_dir.join("incoming");
    let clerk = Clerk::start(config.allowed.clone(), incoming, tell.clone()).map_err(StartError::from)?;
    let (handle, own_config) = (service.clone(), config.clone());
    let parts = Parts { config, again, service, store, asks, news, tell, listeners, workers, spares, clerk };
    let state = StateLoop::new(parts).map_err(StartError::from)?;
    // Not before there is something to see: a job that is kept must not be missed for an instant.
    let endpoint = open(&handle, &own_config)?;
    state.run(endpoint);
    Ok(())
}

/// Hands signals on: that a child has changed its state to all who have children, anything else to the loop.
fn signals(
    listeners: &Listeners,
    spares: crate::runtime::Spares,
    tell: Sender<News>,
) -> std::io::Result<Signals> {
    let listeners: Arc<Mutex<_>> = Arc::clone(listeners);
    Signals::start(move |told| match told {
        Signal::Child => {
            spares.child();
            // A run that is over does not listen any more.
            listeners
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .retain(crate::runtime::Controller::child);
            true
        }
        Signal::Stop(_) | Signal::Renew | Signal::Grow | Signal::Shrink => {
            tell.send(News::Signal(told)).is_ok()
        }
    })
}
