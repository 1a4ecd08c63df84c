//! Reads the tables of a journal when a run is resumed, and checks them for consistency.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::state::{Recorded, State};
use shared::pages::PAGE_STEP;

use super::{Final, Finished, Prefix, Tally, held, lists, started};

/// Why a journal cannot be used.
pub(super) enum Wrong {
    /// SQLite cannot read the journal.
    Sqlite(rusqlite::Error),
    /// The content is inconsistent.
    Content(String),
}

impl From<rusqlite::Error> for Wrong {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Wrong {
    fn content(error: impl ToString) -> Self {
        Self::Content(error.to_string())
    }
}

/// Reads all tables. Also returns the number of sets.
pub(super) fn read(connection: &Connection) -> Result<(Recorded, u64), Wrong> {
    let sound: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if sound != "ok" {
        return Err(Wrong::Content(sound));
    }
    let (flags, inputs): (String, String) =
        connection.query_row("SELECT flags, inputs FROM job", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (output_bytes, targets, digest, tally, complete): (i64, i64, [u8; 16], String, bool) = connection
        .query_row("SELECT output_bytes, targets, digest, tally, complete FROM progress", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        })?;
    let (mut finished, mut sets, mut twice) = (Finished::default(), 0, 0);
    let mut statement = connection.prepare("SELECT ids FROM finished")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let ids: Vec<u8> = row.get(0)?;
        twice += finished.merge(Finished::from_bytes(&ids).map_err(Wrong::content)?);
        sets += 1;
    }
    let tally: Tally = serde_json::from_str(&tally).map_err(Wrong::content)?;
    let prefix = Prefix { targets: targets.cast_unsigned(), digest: u128::from_le_bytes(digest) };
    // Journals of older versions have no such table. Its content only saves time, so nothing in it is an error.
    let hosts = connection.query_row("SELECT learned FROM hosts", [], |row| row.get(0)).unwrap_or_default();
    let found_bytes = found_bytes(connection)?;
    let held = held_in(connection, &finished)?;
    let mut uncertain = started::read(connection)?;
    uncertain.remove(&finished);
    let output_bytes = output_bytes.cast_unsigned();
    let lists = lists::read(connection)?;
    lists::check(&lists, &finished).map_err(Wrong::Content)?;
    let state = State { finished, tally, prefix, output_bytes, held, hosts, uncertain, lists, found_bytes };
    check(&state, twice).map_err(Wrong::Content)?;
    let recorded = Recorded {
        flags: serde_json::from_str(&flags).map_err(Wrong::content)?,
        inputs: serde_json::from_str(&inputs).map_err(Wrong::content)?,
        state,
        complete,
    };
    Ok((recorded, sets))
}

/// Returns how much of the file of a crawl's pages counts. Other journals have no such table.
fn found_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let tables = "SELECT count(*) FROM sqlite_master WHERE name = 'found'";
    if connection.query_row(tables, [], |row| row.get::<_, i64>(0))? == 0 {
        return Ok(0);
    }
    connection.query_row("SELECT bytes FROM found", [], |row| row.get(0)).map(i64::cast_unsigned)
}

/// Returns how the held records ended. Those that are in the output by now are left out.
fn held_in(connection: &Connection, finished: &Finished) -> Result<BTreeMap<u64, Final>, Wrong> {
    let waiting = held::endings(connection)?.into_iter().filter(|(first, _)| !finished.contains(*first));
    let parsed = |(first, ending): (u64, String)| serde_json::from_str(&ending).map(|ending| (first, ending));
    waiting.map(parsed).collect::<Result<_, _>>().map_err(Wrong::content)
}

/// Checks what holds after every commit.
fn check(state: &State, twice: u64) -> Result<(), String> {
    let State { finished, held, tally, prefix, .. } = state;
    let (ids, counted) = (finished.len(), tally.counts.items());
    if twice > 0 {
        return Err(format!("it contains {twice} targets twice"));
    }
    if ids != counted {
        return Err(format!("it contains {ids} targets but counts {counted}"));
    }
    let last_held = held.last_key_value().map(|(first, ending)| first + ending.targets().saturating_sub(1));
    match finished.last_below(PAGE_STEP).max(last_held) {
        Some(last) if last >= prefix.targets => {
            Err(format!("target {last} is finished, but only {} targets were read", prefix.targets))
        }
        Some(_) | None => Ok(()),
    }
}
