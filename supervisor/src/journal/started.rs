//! Notes which targets may have been sent, before they are sent (`--at-most-once`). A run that is resumed after a kill
//! does not send them again: those without a record are uncertain.
//!
//! Invariant: a target is handed to a worker only after a note of it is on disk.

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use rusqlite::{Connection, Transaction};

use super::Finished;

/// Ids of targets that are about to be handed out.
type StartedIds = Vec<u64>;

/// The way to the thread that notes targets.
#[derive(Debug)]
pub struct Notes {
    wanted: Sender<StartedIds>,
    noted: Receiver<()>,
}

/// The other end of [`Notes`].
#[derive(Debug)]
pub(super) struct NotesTaken {
    pub(super) wanted: Receiver<StartedIds>,
    pub(super) noted: Sender<()>,
}

/// Connects a run with the thread that writes its journal.
pub(super) fn notes() -> (Notes, NotesTaken) {
    let (wanted, wanted_here) = unbounded();
    let (noted_here, noted) = bounded(1);
    (Notes { wanted, noted }, NotesTaken { wanted: wanted_here, noted: noted_here })
}

impl Notes {
    /// Asks for a note of these targets. One at a time: the next after [`Self::noted`].
    pub fn note(&self, ids: StartedIds) {
        // If the thread has ended, `noted` is disconnected.
        let _ = self.wanted.send(ids);
    }

    /// Says that the note is on disk. Disconnected if the journal cannot be written.
    #[must_use]
    pub const fn noted(&self) -> &Receiver<()> {
        &self.noted
    }
}

/// The table. Journals of other jobs, and of older versions, have none.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS started (number INTEGER PRIMARY KEY, ids BLOB NOT NULL)";

/// Adds targets.
pub(super) fn write(transaction: &Transaction<'_>, ids: &[u64]) -> rusqlite::Result<()> {
    let mut set = Finished::default();
    ids.iter().for_each(|id| set.insert(*id));
    transaction.execute(TABLE, [])?;
    transaction.prepare_cached("INSERT INTO started (ids) VALUES (?)")?.execute([set.to_bytes()])?;
    Ok(())
}

/// Puts one note in the place of all.
pub(super) fn replace(transaction: &Transaction<'_>, left: &Finished) -> rusqlite::Result<()> {
    if transaction.table_exists(None, "started")? {
        transaction.execute("DELETE FROM started", [])?;
        if !left.is_empty() {
            transaction.execute("INSERT INTO started (ids) VALUES (?)", [left.to_bytes()])?;
        }
    }
    Ok(())
}

/// Joins the notes into one, without those that are in `finished`.
pub(super) fn join(transaction: &Transaction<'_>, finished: &Finished) -> rusqlite::Result<()> {
    let mut left = read(transaction)?;
    left.remove(finished);
    replace(transaction, &left)
}

/// Reads all.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Finished> {
    let mut all = Finished::default();
    if !connection.table_exists(None, "started")? {
        return Ok(all);
    }
    let mut statement = connection.prepare("SELECT ids FROM started")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let set = Finished::from_bytes(row.get_ref(0)?.as_blob()?);
        let unreadable = |error| {
            rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(error))
        };
        all.merge(set.map_err(unreadable)?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::super::store::Commit;
    use super::super::{ListChanges, Prefix, Store, Tally};
    use super::*;

    fn uncertain(path: &std::path::Path) -> Vec<u64> {
        let (_, recorded) = Store::open(path).unwrap();
        let uncertain = recorded.unwrap().state.uncertain;
        (0..1000).filter(|id| uncertain.contains(*id)).collect()
    }

    #[test]
    fn what_was_noted_and_has_no_record_is_uncertain() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.journal");
        let commit = |id: u64, uncertain| {
            let (mut fresh, mut tally) = (Finished::default(), Tally::default());
            fresh.insert(id);
            (0..=id).for_each(|_| tally.add(super::super::Final::Ok));
            let prefix = Prefix { targets: 1000, digest: 0 };
            Commit {
                fresh,
                tally,
                prefix,
                output_bytes: 0,
                hosts: None,
                held: Vec::new(),
                uncertain,
                found_bytes: None,
                lists: ListChanges::new(),
            }
        };
        {
            let (mut store, _) = Store::open(&path).unwrap();
            store.begin(&[], &[]).unwrap();
            store.keep();
            store.settle().unwrap();
            store.note(&[0, 1, 2]).unwrap();
            store.commit(&commit(0, None)).unwrap();
            store.note(&[700]).unwrap();
        }
        assert_eq!(uncertain(&path), [1, 2, 700]);
        {
            let (mut store, _) = Store::open(&path).unwrap();
            store.settle().unwrap();
            // So many sets that they are joined on the way.
            (1..=300).for_each(|id| store.commit(&commit(id, None)).unwrap());
        }
        assert_eq!(uncertain(&path), [700]);
        {
            let (mut store, _) = Store::open(&path).unwrap();
            store.commit(&commit(301, Some(Finished::default()))).unwrap();
        }
        assert_eq!(uncertain(&path), [] as [u64; 0]);
    }
}
