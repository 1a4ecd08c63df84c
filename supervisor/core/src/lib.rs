//! The part of the supervisor that decides, and touches nothing.
//!
//! | module | decides |
//! |---|---|
//! | [`frontier`] | which target may start now: budgets of hosts, rates, retries |
//! | [`pool`] | which worker gets it, who is blamed for a death, who is restarted or recycled |
//! | [`gather`] | what is counted, and in which order records are written |
//! | [`auto`] | which mode suits a job that was measured |
//!
//! Every call is given the time and what happened; nothing here reads a clock, opens a file or knows a process. So a
//! run is replayed from its seed, and a bug report is a seed. This crate builds without a runtime, a web server or a database.

pub mod auto;
pub mod frontier;
pub mod gather;
pub mod pool;
