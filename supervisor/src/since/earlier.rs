//! What an earlier run knows of pages: looked up for each slice, by the threads that send slices to workers, and for
//! what no worker gets by the thread that keeps notes. The loop looks nothing up.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use rusqlite::{Connection, OpenFlags, params};
use shared::protocol::{Target, TargetNote};
use shared::since::{place, url_of};
use url::Url;

use super::file::{Found, checksum, key, open as open_file};
use super::recipe::{Recipe, differences};
use super::{SinceError, notes_of, part_of};

/// Newest first. A URL may be in a list twice, and two URLs may share a key.
const LOOK_UP: &str = "SELECT checksum, note FROM page WHERE key = ? ORDER BY id DESC LIMIT 4";

/// Memory for pages of the file, in KiB, as SQLite takes it.
const CACHE: i64 = -8192;

/// The notes of an earlier run.
#[derive(Debug)]
pub(crate) struct Earlier {
    path: PathBuf,
    connection: Mutex<Connection>,
    /// What went wrong with it first.
    fault: OnceLock<String>,
}

/// What is beside an earlier output.
#[derive(Debug)]
pub(super) enum Opened {
    Usable(Earlier),
    /// Why it is of no use.
    Unusable(String),
}

/// Opens the notes beside an earlier output. `own` is the output of this run: what is not complete beside that one is
/// this run's, which goes on with it.
///
/// # Errors
/// If there is a file that this program did not write.
pub(super) fn open(output: &Path, own: Option<&Path>, recipe: &Recipe) -> Result<Opened, SinceError> {
    let (path, part) = (notes_of(output), part_of(output));
    let read_only = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let is_own = own.is_some_and(|own| is_same(&part_of(own), &part));
    // A run that was killed after its end has not renamed it.
    let complete = Some(open_file(&part, read_only))
        .filter(|found| !is_own && matches!(found, Found::Ours { complete: true, .. }));
    let (path, found) = match complete {
        Some(found) => (part.clone(), found),
        None => (path.clone(), open_file(&path, read_only)),
    };
    let shown = path.display();
    Ok(match found {
        Found::Foreign => return Err(SinceError::Foreign { path }),
        Found::Nothing if part.exists() => Opened::Unusable(format!(
            "{shown} does not exist, because the run of {} is not complete; --resume completes it",
            output.display()
        )),
        Found::Nothing => Opened::Unusable(format!("{shown} does not exist")),
        Found::OtherSchema => Opened::Unusable(format!("{shown} is that of another version")),
        Found::Damaged(why) => Opened::Unusable(format!("{shown} is damaged ({why})")),
        Found::Unreadable(why) => Opened::Unusable(format!("{shown} cannot be read ({why})")),
        Found::Ours { complete: false, .. } => Opened::Unusable(format!("{shown} is not complete")),
        Found::Ours { connection, recipe: then, .. } => match differences(&then, recipe) {
            Some(changes) => Opened::Unusable(format!("{shown} is of no use: {changes}")),
            None => {
                // Without it, lookups are slower.
                let _ = connection.pragma_update(None, "cache_size", CACHE);
                Opened::Usable(Earlier { path, connection: Mutex::new(connection), fault: OnceLock::new() })
            }
        },
    })
}

/// Whether two names are those of one file.
fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| path.symlink_metadata().ok().map(|found| (found.dev(), found.ino()));
    one == other || identity(one).is_some_and(|one| identity(other) == Some(one))
}

impl Earlier {
    /// Returns what is known of these targets, as far as there is room for it, in bytes.
    pub(crate) fn notes(&self, targets: &[Target], room: &mut usize) -> Vec<TargetNote> {
        let inputs = targets.iter().filter(|target| !target.is_own());
        let known = inputs.filter_map(|target| {
            let note = self.note(&target.input)?;
            *room = room.checked_sub(note.len())?;
            Some(TargetNote { id: target.id, note })
        });
        known.collect()
    }

    /// Returns what is known of the page that this input names.
    pub(crate) fn note(&self, input: &[u8]) -> Option<Vec<u8>> {
        let url = place(&Url::parse(str::from_utf8(input).ok()?).ok()?)?;
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        self.look_up(&connection, &url).unwrap_or_else(|error| {
            self.note_fault(&error.to_string());
            None
        })
    }

    fn look_up(&self, connection: &Connection, url: &str) -> rusqlite::Result<Option<Vec<u8>>> {
        let mut statement = connection.prepare_cached(LOOK_UP)?;
        let mut rows = statement.query(params![key(url)])?;
        while let Some(row) = rows.next()? {
            let (sum, note): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
            if sum != checksum(&note) {
                self.note_fault("a checksum is wrong");
            } else if url_of(&note) == Some(url) {
                return Ok(Some(note));
            }
        }
        Ok(None)
    }

    fn note_fault(&self, why: &str) {
        self.fault.get_or_init(|| {
            format!(
                "{} is damaged ({why}); pages that it no longer knows were fetched whole",
                self.path.display()
            )
        });
    }

    /// What to tell the user, if something was wrong with it.
    pub(super) fn fault(&self) -> Option<String> {
        self.fault.get().cloned()
    }
}
