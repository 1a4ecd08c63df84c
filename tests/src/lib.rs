//! What the end-to-end tests run against, and what `scripts/run` shows the product on.
//!
//! [`origin`] is the server; the tests themselves, and the harness that starts
//! the real executables, are the `e2e` test beside this library.

pub mod origin;
