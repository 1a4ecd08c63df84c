//! The test server of the end-to-end tests, which `scripts/run` also uses.
//!
//! [`origin`] is the server. The tests, and the harness that starts the real executables, are the `e2e` test
//! beside this library. [`poison`] makes a worker crash, hang or leak on demand, [`attack`] makes it attack the
//! supervisor and the machine; released workers contain neither.

pub mod attack;
pub mod origin;
pub mod poison;
