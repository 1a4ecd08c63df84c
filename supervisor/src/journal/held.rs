//! Records that wait for an earlier one when a run with `--ordered` ends. They are kept in the journal,
//! so that a resumed run need not ask for them again. A job that is not resumed gets them behind its last
//! record in order: their ids still ascend.
//!
//! Invariant: a record is either held or in the output, never both. After a crash, the output decides.

use std::collections::BTreeMap;

use rusqlite::{Connection, Transaction, params};

use super::Final;

/// The records of a target, or of a block of lines.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldRecord {
    /// Its first id.
    pub first: u64,
    /// How it ended.
    pub ending: Final,
    /// The encoded records.
    pub lines: Vec<u8>,
}

/// The table. Journals of older versions have none.
const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS held (first INTEGER PRIMARY KEY, ending TEXT NOT NULL, lines BLOB NOT NULL)";

/// Replaces what is held.
pub(super) fn write(transaction: &Transaction<'_>, held: &[HeldRecord]) -> rusqlite::Result<()> {
    transaction.execute(TABLE, [])?;
    transaction.execute("DELETE FROM held", [])?;
    let mut insert = transaction.prepare_cached("INSERT INTO held VALUES (?, ?, ?)")?;
    for HeldRecord { first, ending, lines } in held {
        // Cannot fail: the value has only names and numbers.
        let ending = serde_json::to_string(ending).unwrap_or_default();
        insert.execute(params![first.cast_signed(), ending, lines])?;
    }
    Ok(())
}

/// Reads the first ids of the held records, and how they ended, as JSON.
pub(super) fn endings(connection: &Connection) -> rusqlite::Result<Vec<(u64, String)>> {
    if !connection.table_exists(None, "held")? {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare("SELECT first, ending FROM held")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?)))?;
    rows.collect()
}

/// Reads the records with these ids.
pub(super) fn read(
    connection: &Connection,
    held: &BTreeMap<u64, Final>,
) -> rusqlite::Result<Vec<HeldRecord>> {
    let mut records = Vec::with_capacity(held.len());
    if held.is_empty() {
        return Ok(records);
    }
    let mut statement = connection.prepare("SELECT lines FROM held WHERE first = ?")?;
    for (&first, &ending) in held {
        let lines = statement.query_row([first.cast_signed()], |row| row.get(0))?;
        records.push(HeldRecord { first, ending, lines });
    }
    Ok(records)
}
