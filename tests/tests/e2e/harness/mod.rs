//! Starts the real executables, watches them from outside, and never waits without a deadline.
//!
//! A test says what it runs ([`fetch`], [`parse`], [`supervisor`]), against which
//! server ([`Origin`]), and what must come of it ([`Output`]).

mod command;
mod dir;
mod disk;
mod executables;
mod origin;
mod process;
mod proxy;
mod records;
mod running;
mod terminal;
mod wait;

pub(crate) use command::{MODES, TestCommand, fetch, parse, supervisor};
pub(crate) use dir::Dir;
pub(crate) use disk::SmallDisk;
pub(crate) use executables::{link_executable, supervisor_path, worker_path};
pub(crate) use origin::Origin;
pub(crate) use process::Process;
pub(crate) use proxy::{Manner, TestProxy};
pub(crate) use records::{by_id, ids, kind, normalised, parse_lines};
pub(crate) use running::{Output, Running};
pub(crate) use terminal::Terminal;
pub(crate) use wait::wait_for;
