//! Waiting for something to become true, with a deadline.

use std::time::Duration;

use shared::clock;

/// Between two looks: short against what is waited for, long against a look.
const POLL: Duration = Duration::from_millis(5);

/// The value once `condition` has one; panics, saying `what` was awaited, after `within`.
pub(crate) fn wait_for<T>(what: &str, within: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = clock::now() + within;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(clock::now() < deadline, "waited {within:?} in vain for {what}");
        std::thread::park_timeout(POLL);
    }
}
