//! House rules that no compiler and no lint holds.
//!
//! Each rule names all the places that break it at once. Each is a function of a path and a text,
//! so that a test beside it can plant a violation and see it found.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where and stop"
)]

mod files;
mod graph;
mod numbers;
mod pages;
mod purity;
mod repository;
mod seams;
mod source;
