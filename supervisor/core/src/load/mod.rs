//! Decides how much load to put on hosts and on this machine.
//!
//! | module | decides |
//! |---|---|
//! | [`limit`] | how many requests one host gets at once |
//! | [`pace`] | how fast requests to one host start, once it has refused some |
//! | [`total`] | how many targets are in flight over all hosts, and how many workers there are |
//! | [`repetition`] | whether a host answers every URL with the same page |

pub mod limit;
pub mod pace;
pub mod repetition;
#[cfg(test)]
mod simulator;
pub mod total;
