//! Decides how much load to put on hosts.
//!
//! | module | decides |
//! |---|---|
//! | [`limit`] | how many requests one host gets at once |
//! | [`pace`] | how fast requests to one host start, once it has refused some |

pub mod limit;
pub mod pace;
#[cfg(test)]
mod simulator;
