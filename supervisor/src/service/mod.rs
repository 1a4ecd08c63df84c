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
mod board;
pub mod config;
mod metrics;
pub mod view;

pub use ask::{Ask, Idempotency, Refused, Submission, Submitted, Upload, Verb};
pub use board::{Board, Event, Records, Service};
pub use metrics::{LATENCY_BOUNDS_US, Latencies, Metrics, Totals};
