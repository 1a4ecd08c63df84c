//! The test server of the end-to-end tests, which `scripts/run` also uses.
//!
//! [`origin`] is the server. The tests, and the harness that starts the real executables, are the `e2e` test
//! beside this library. [`poison`] makes a worker crash, hang or leak on demand; released workers do not contain
//! it.

pub mod origin;
pub mod poison;
