//! The part of the supervisor that decides. It performs no I/O.
//!
//! | module | decides |
//! |---|---|
//! | [`frontier`] | which target may start now: host budgets, rates, retries |
//! | [`pool`] | which worker gets it, which target is blamed for a death, which worker is restarted or recycled |
//! | [`gather`] | what is counted, and in which order records are written |
//! | [`load`] | how many requests a host gets at once and how fast, and how much runs over all |
//! | [`crawl`] | which pages of a crawl are known, and which are fetched next |
//! | [`proxies`] | which proxy a target goes through, and which proxies are worth a try |
//! | [`pages`] | which page of a list comes next, and when the list ends |
//! | [`robots`] | when a robots.txt is fetched, and which targets wait for it |
//! | [`sessions`] | when a job logs in, and what it means that a page looks logged out |
//! | [`advice`] | what bounds a sampled job, how long it will take, and which mode fits it |
//!
//! Every call is given the time and what happened. Nothing here reads a clock, opens a file or knows a process.
//! So a seed replays a whole run, and a bug report is a seed. This crate builds without an async runtime, a web
//! server or a database.

pub mod advice;
pub mod crawl;
pub mod frontier;
pub mod gather;
pub mod load;
pub mod pages;
pub mod pool;
pub mod proxies;
pub mod robots;
pub mod sessions;
