//! What is done to one target, step by step.

mod decode;
pub mod fetch;
