//! The only calls on the operating system: what decides is told, and asks.

pub mod cpus;
