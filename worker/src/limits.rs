//! The worker's own limits on what it takes from the machine.

use std::fs;

use anyhow::Context as _;
use nix::sys::resource::{Resource, setrlimit};

/// Added to the worker's badness when the kernel looks for someone to kill (0 to 1000):
/// enough that it finds a worker before its supervisor, which can replace it.
const OOM_SCORE_ADJUSTMENT: &str = "500";

/// Makes this process the kernel's first choice when memory runs out, and
/// bounds what it can allocate.
///
/// # Errors
/// When the limit asked for cannot be set.
pub(crate) fn apply(memory_bytes_max: Option<u64>) -> anyhow::Result<()> {
    // Raising it needs no privilege; where /proc is not mounted, there is nothing to raise.
    let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJUSTMENT);
    if let Some(bytes) = memory_bytes_max {
        // Private writable memory, which is what runs away; mapped files and libraries are not counted.
        setrlimit(Resource::RLIMIT_DATA, bytes, bytes)
            .with_context(|| format!("cannot limit the worker's memory to {bytes} bytes"))?;
    }
    Ok(())
}
