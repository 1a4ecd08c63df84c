//! What the end-to-end tests run against, and what `scripts/run` shows the product on.
//!
//! [`origin`] is the server; the tests themselves, and the harness that starts
//! the real executables, are the `e2e` test beside this library. [`poison`] is what
//! makes a worker crash, hang or leak on demand; no released worker has it.

pub mod origin;
pub mod poison;
