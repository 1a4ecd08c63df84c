//! Decides how much load to put on hosts and on this machine.
//!
//! | module | decides |
//! |---|---|
//! | [`repetition`] | whether a host answers every URL with the same page |

pub mod repetition;
