//! Limits on the resources that the worker takes from the machine.

use std::fs;

use anyhow::Context as _;
use nix::sys::resource::{Resource, setrlimit};

/// Added to the worker's `oom_score` (0 to 1000). The OOM killer then chooses a worker before the supervisor,
/// which can replace workers.
const OOM_SCORE_ADJUSTMENT: &str = "500";

/// Makes this process the OOM killer's first choice, and limits the memory it can allocate.
///
/// # Errors
/// The memory limit cannot be set.
pub(crate) fn apply(memory_bytes_max: Option<u64>) -> anyhow::Result<()> {
    // Raising the score needs no privilege. Without a mounted /proc it cannot be raised.
    let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJUSTMENT);
    if let Some(bytes) = memory_bytes_max {
        // `RLIMIT_DATA` counts private writable memory, which is what grows without bound; mapped files and
        // libraries do not count.
        setrlimit(Resource::RLIMIT_DATA, bytes, bytes)
            .with_context(|| format!("cannot limit the worker's memory to {bytes} bytes"))?;
    }
    Ok(())
}
