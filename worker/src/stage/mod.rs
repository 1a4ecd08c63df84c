//! What is done to one target, step by step: fetch its bytes, extract its fields.

pub mod extract;
