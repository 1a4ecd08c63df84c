//! Writes what is held for a job that will not be resumed, such as a cancelled one.

use std::path::Path;

use super::opening::beside;
use super::store::Commit;
use super::{Finished, HeldRecord, ListChanges, OutputError, State, Store};
use crate::sink::Sink;

/// Whether there may be held records, because a run was not completed.
#[must_use]
pub fn may_hold(output: &Path) -> bool {
    output.exists() && beside(output, ".journal").exists()
}

/// Appends the held records of a job that will not be resumed to its output, which consists of lines.
/// Returns the committed length of the output, if it has changed.
///
/// # Errors
/// If the journal or the output cannot be read or written. Nothing is lost then.
pub fn release(output: &Path) -> Result<Option<u64>, OutputError> {
    if !may_hold(output) {
        return Ok(None);
    }
    let (mut store, recorded) = Store::open(&beside(output, ".journal"))?;
    let Some(state) = recorded.map(|recorded| recorded.state).filter(|state| !state.held.is_empty()) else {
        return Ok(None);
    };
    let held = store.held(&state)?;
    let State { mut tally, prefix, output_bytes, .. } = state;
    let mut sink = Sink::resume(output, output_bytes, tally.counts.items(), false)?;
    let mut fresh = Finished::default();
    for HeldRecord { first, ending, lines } in held {
        sink.write(&lines)?;
        fresh.insert_range(first..first + ending.targets());
        tally.add(ending);
    }
    sink.flush()?;
    sink.sync()?;
    store.settle()?;
    let output_bytes = sink.committed_len();
    store.commit(&Commit {
        fresh,
        tally,
        prefix,
        output_bytes,
        hosts: None,
        held: Vec::new(),
        uncertain: None,
        found_bytes: None,
        lists: ListChanges::new(),
    })?;
    Ok(Some(output_bytes))
}
