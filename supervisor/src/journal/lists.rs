//! Lists of pages that are followed from each page to the next one (`--next`): one row for each list whose next page is
//! open. It is replaced in the transaction of each page's record, and removed in that of the last one.

use std::collections::BTreeMap;

use rusqlite::{Connection, Transaction, params};
use shared::pages::{input_of, parent_of};
use supervisor_core::pages::OpenList;

use super::Finished;

/// What became of lists since the last commit, by their inputs: where they go on; `None` if they have ended.
pub type ListChanges = BTreeMap<u64, Option<OpenList>>;

/// The table. Journals of other jobs, and of older versions, have none.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS lists (
    input INTEGER PRIMARY KEY, id INTEGER NOT NULL, url BLOB NOT NULL, first BLOB NOT NULL, kept BLOB NOT NULL,
    seen BLOB NOT NULL
)";

/// Writes what became of lists.
pub(super) fn write(transaction: &Transaction<'_>, changes: &ListChanges) -> rusqlite::Result<()> {
    transaction.execute(TABLE, [])?;
    let mut open = transaction.prepare_cached("INSERT OR REPLACE INTO lists VALUES (?, ?, ?, ?, ?, ?)")?;
    let mut close = transaction.prepare_cached("DELETE FROM lists WHERE input = ?")?;
    for (input, change) in changes {
        let input = input.cast_signed();
        let Some(OpenList { id, url, first, kept, seen }) = change else {
            close.execute([input])?;
            continue;
        };
        let seen: Vec<u8> = seen.iter().flat_map(|hash| hash.to_le_bytes()).collect();
        open.execute(params![input, id.cast_signed(), url, first, kept, seen])?;
    }
    Ok(())
}

/// Reads the lists that are open.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Vec<OpenList>> {
    if !connection.table_exists(None, "lists")? {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare("SELECT id, url, first, kept, seen FROM lists ORDER BY input")?;
    let rows = statement.query_map([], |row| {
        let seen: Vec<u8> = row.get(4)?;
        let seen = seen.as_chunks().0.iter().map(|hash| u64::from_le_bytes(*hash)).collect();
        let id = row.get::<_, i64>(0)?.cast_unsigned();
        Ok(OpenList { id, url: row.get(1)?, first: row.get(2)?, kept: row.get(3)?, seen })
    })?;
    rows.collect()
}

/// Checks that each is open at the page after one that has its record.
pub(super) fn check(lists: &[OpenList], finished: &Finished) -> Result<(), String> {
    for list in lists {
        let follows = parent_of(list.id).is_some_and(|parent| finished.contains(parent));
        if !follows || finished.contains(list.id) {
            return Err(format!("the list of target {} does not go on where it ended", input_of(list.id)));
        }
    }
    Ok(())
}
