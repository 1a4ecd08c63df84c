//! Decides what to do with an existing output and journal when a run starts.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::state::Recorded;
use super::{HeldRecord, JournalError, OutputError, SpooledInput, State, Store, fingerprint, identity};
use crate::columns;
use crate::descriptor;
use crate::plan::{Output, Plan};
use crate::sink::whole::{self, Cut, Making, Whole};
use crate::sink::{Outlet, Sink, SinkError};

/// The result of [`open`].
#[derive(Debug)]
pub enum Opened {
    /// There are targets to process.
    Ready(Box<Destination>),
    /// The output is complete; nothing is left to do.
    Complete(PathBuf),
}

/// The opened output of a run.
#[derive(Debug)]
pub struct Destination {
    /// The output.
    pub outlet: Outlet,
    /// The journal; `None` for outputs that cannot be truncated: pipes, terminals and devices.
    pub journal: Option<Journal>,
    /// A message for the user.
    pub notice: Option<String>,
}

impl Destination {
    /// Creates an output without a journal.
    #[must_use]
    pub const fn without_journal(outlet: Outlet) -> Self {
        Self { outlet, journal: None, notice: None }
    }
}

/// The journal of a run.
#[derive(Debug)]
pub struct Journal {
    /// The journal file.
    pub store: Store,
    /// What earlier runs have done.
    pub state: State,
    /// Records of earlier runs that wait for an earlier one.
    pub held: Vec<HeldRecord>,
    /// The spooled standard input and sitemaps.
    pub input: SpooledInput,
}

/// Returns the progress at the last commit of the run that writes to `output`. `None` if there is no journal,
/// or an empty one.
///
/// # Errors
/// If the journal cannot be read, or another process uses it.
pub fn committed(output: &Path) -> Result<Option<State>, JournalError> {
    let journal = beside(output, ".journal");
    if !output.exists() || !journal.exists() {
        return Ok(None);
    }
    let (_, recorded) = Store::open(&journal)?;
    Ok(recorded.map(|recorded| recorded.state))
}

/// Returns `path` with `suffix` appended to its name.
#[must_use]
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// What to do with the output and the journal of an earlier run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Anew,
    Resume,
    Complete,
    RefuseUnfinished,
    RefuseExisting,
}

/// What the user wants to do with an existing output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IfExists {
    Keep,
    Replace,
    Resume,
}

/// Where the records are: in the output, or beside its journal until the output is built from them.
struct RecordsFile<'a> {
    output: &'a Path,
    journal: PathBuf,
    /// `None` if they are in the output itself.
    kept_at: Option<PathBuf>,
}

impl<'a> RecordsFile<'a> {
    fn of(plan: &Plan, output: &'a Path) -> Self {
        let journal = beside(output, ".journal");
        let kept_at = plan.is_derived().then(|| beside(&journal, Store::RECORDS));
        Self { output, journal, kept_at }
    }

    /// Returns the file that records are appended to.
    fn records(&self) -> &Path {
        self.kept_at.as_deref().unwrap_or(self.output)
    }

    /// Whether something exists that a run must not silently replace.
    fn exists(&self, plan: &Plan) -> bool {
        let unfinished = self.kept_at.as_ref().is_some_and(|kept| kept.exists() && self.journal.exists());
        // Other files in a directory do not matter.
        let is_there = match plan.split {
            Some(_) => whole::is_used(self.output).unwrap_or(false),
            None => self.output.exists(),
        };
        is_there || unfinished
    }

    /// Whether there are records, or something that may be records.
    fn has_content(&self) -> bool {
        let holds_bytes =
            |path: &Path| fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() > 0);
        holds_bytes(self.records())
            || holds_bytes(self.output)
            || whole::is_used(self.output).unwrap_or(false)
    }

    /// Refuses a file that cannot be a journal, before SQLite turns it into one. Returns whether it exists
    /// and is empty.
    fn is_blank(&self) -> Result<bool, JournalError> {
        let Ok(found) = self.journal.symlink_metadata() else { return Ok(false) };
        if found.is_symlink() {
            return Err(JournalError::Link { path: self.journal.clone() });
        }
        if !found.is_file() {
            return Err(JournalError::Foreign { path: self.journal.clone() });
        }
        Ok(found.len() == 0)
    }

    /// Refuses files that a new journal would replace. Without a journal, nothing shows whose they are. If the user
    /// wants to replace the output, the user's own files are removed: a killed run left them, and its journal was
    /// deleted.
    fn refuse_strays(&self, if_exists: IfExists) -> Result<(), JournalError> {
        let own = Store::files(&self.journal).into_iter().chain(SpooledInput::files(&self.journal));
        let mut strays: Vec<PathBuf> = own.chain([whole::part_of(self.output)]).collect();
        strays.sort_unstable();
        strays.dedup();
        strays.retain(|path| exists_at_all(path));
        let are_removed = if_exists == IfExists::Replace;
        let kept: Vec<_> = strays.iter().filter(|path| !are_removed || !is_own_file(path)).cloned().collect();
        if !kept.is_empty() {
            return Err(JournalError::Strays { paths: kept, are_kept: are_removed });
        }
        strays.into_iter().try_for_each(|path| {
            let removed = fs::remove_file(&path);
            removed.map_err(|error| JournalError::Write { path, cause: error.to_string(), full: false })
        })
    }

    /// Refuses a link in place of the records that the output is built from.
    fn refuse_link(&self) -> Result<(), JournalError> {
        let link = self.kept_at.as_ref().filter(|kept| kept.is_symlink());
        link.map_or(Ok(()), |path| Err(JournalError::Link { path: path.clone() }))
    }

    /// Opens what records are appended to, empty.
    fn begin(&self) -> Result<Sink, SinkError> {
        match &self.kept_at {
            Some(kept_at) => Sink::create(kept_at),
            None => Sink::open(&Output::File {
                path: self.output.to_owned(),
                overwrite: self.output.exists(),
                resume: false,
            }),
        }
    }

    /// Refuses records beside an empty journal, because nothing shows that they belong to this job.
    fn refuse_unknown(&self, if_exists: IfExists, blank: bool) -> Result<(), OutputError> {
        if !blank || if_exists == IfExists::Replace || !self.has_content() {
            return Ok(());
        }
        // Name the output, which the user knows, unless only the records exist.
        let output = if self.output.exists() { self.output } else { self.records() }.to_owned();
        Err(match if_exists {
            IfExists::Resume => JournalError::Empty { output, journal: self.journal.clone() }.into(),
            IfExists::Keep | IfExists::Replace => SinkError::Exists { path: output }.into(),
        })
    }

    /// Returns the outlet to write to.
    fn outlet(&self, plan: &Plan, sink: Sink) -> Outlet {
        let sink = sink.opaque(!has_lines(plan));
        let Some(kept_at) = &self.kept_at else { return Outlet::new(sink, plan.format.packing()) };
        let whole = Whole::new(Making {
            path: self.output.to_owned(),
            kept_at: kept_at.clone(),
            format: plan.format,
            split: plan.split,
            table: columns::table(plan),
        });
        Outlet::keeping(sink, whole)
    }
}

/// Whether the records that are appended are lines.
fn has_lines(plan: &Plan) -> bool {
    if plan.is_derived() { Cut::of(plan.format) == Cut::Lines } else { plan.format.has_lines() }
}

/// Decides how to start. The journal is created before the output and removed after it is complete, so an
/// output without one is complete.
const fn start(output_exists: bool, unfinished: bool, if_exists: IfExists) -> Start {
    match (output_exists, unfinished, if_exists) {
        // A journal without its output is useless.
        (false, ..) | (true, _, IfExists::Replace) => Start::Anew,
        (true, true, IfExists::Resume) => Start::Resume,
        (true, true, IfExists::Keep) => Start::RefuseUnfinished,
        (true, false, IfExists::Resume) => Start::Complete,
        (true, false, IfExists::Keep) => Start::RefuseExisting,
    }
}

/// Opens the output of `plan` and its journal. The output is not changed before the first record.
///
/// # Errors
/// [`OutputError`] if the output must not or cannot be written, or its run cannot be resumed.
pub fn open(plan: &Plan) -> Result<Opened, OutputError> {
    let Output::File { path: output, overwrite, resume } = &plan.output else {
        return plain(plan, &plan.output, None);
    };
    let is_device = fs::metadata(output).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir());
    if is_device || descriptor::named(output).is_some() || (output.is_dir() && plan.split.is_none()) {
        return plain(plan, &plan.output, None);
    }
    let records_file = RecordsFile::of(plan, output);
    let exists = records_file.exists(plan);
    let if_exists = match (resume, overwrite) {
        (true, _) => IfExists::Resume,
        (false, true) => IfExists::Replace,
        (false, false) => IfExists::Keep,
    };
    let journal = &records_file.journal;
    // Checked before opening, because SQLite deletes the other files of an empty database.
    records_file.refuse_unknown(if_exists, records_file.is_blank()?)?;
    if !exists_at_all(journal) {
        records_file.refuse_strays(if_exists)?;
    }
    records_file.refuse_link()?;
    let left = exists_at_all(journal).then(|| Store::open(journal)).transpose()?;
    let (store, recorded) = left.map_or((None, None), |(store, recorded)| (Some(store), recorded));
    records_file.refuse_unknown(if_exists, store.is_some() && recorded.is_none())?;
    // An empty journal belongs to a run that was killed before its first record.
    let unfinished = store.is_some() && !recorded.as_ref().is_some_and(|recorded| recorded.complete);
    let are_kept = records_file.kept_at.as_ref().is_none_or(|kept| kept.exists());
    match (start(exists, unfinished, if_exists), store, recorded) {
        (Start::Resume, Some(store), Some(recorded)) if are_kept => {
            resumed(plan, &records_file, store, recorded)
        }
        (Start::Anew | Start::Resume, store, recorded) => {
            let gone = if_exists == IfExists::Resume && unfinished && recorded.is_some();
            let notice =
                gone.then(|| format!("{} no longer exists; starting over", records_file.records().display()));
            anew(plan, &records_file, store, notice)
        }
        (Start::RefuseUnfinished, ..) => Err(JournalError::Unfinished { output: output.clone() }.into()),
        (Start::Complete, store, _) => {
            remove(store, journal);
            Ok(Opened::Complete(output.clone()))
        }
        (Start::RefuseExisting, store, _) => {
            remove(store, journal);
            Err(SinkError::Exists { path: output.clone() }.into())
        }
    }
}

/// Whether there is a regular file at `path`, which is no link and belongs to this user.
fn is_own_file(path: &Path) -> bool {
    let own = rustix::process::geteuid().as_raw();
    path.symlink_metadata().is_ok_and(|found| found.is_file() && found.uid() == own)
}

/// Whether there is anything at `path`, even a link that leads nowhere.
fn exists_at_all(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn plain(plan: &Plan, output: &Output, notice: Option<String>) -> Result<Opened, OutputError> {
    let sink = Sink::open(output)?.opaque(!has_lines(plan));
    let outlet = Outlet::new(sink, plan.format.packing());
    Ok(Opened::Ready(Box::new(Destination { outlet, journal: None, notice })))
}

/// Removes the journal of a run that was killed at its very beginning or end.
fn remove(store: Option<Store>, journal: &Path) {
    if let Some(mut store) = store {
        SpooledInput::new(&[], journal).remove();
        store.remove();
    }
}

fn anew(
    plan: &Plan,
    records_file: &RecordsFile<'_>,
    store: Option<Store>,
    notice: Option<String>,
) -> Result<Opened, OutputError> {
    let inputs = fingerprint::take(&plan.inputs)?;
    let mut store = match store.map_or_else(|| Store::open(&records_file.journal).map(|(store, _)| store), Ok)
    {
        Ok(store) => store,
        // If the journal cannot be created (a directory without write permission, a file system
        // without locks), run without one if the output itself holds the records.
        Err(error @ JournalError::Open { .. }) if records_file.kept_at.is_none() => {
            let overwrite = records_file.output.exists();
            let output = Output::File { path: records_file.output.to_owned(), overwrite, resume: false };
            return plain(plan, &output, Some(format!("{error}; this run will not be resumable")));
        }
        Err(error) => return Err(error.into()),
    };
    let input = SpooledInput::new(&plan.inputs, &records_file.journal);
    // Removed before the journal names this job.
    input.remove();
    store.begin(&identity::facts(plan), &inputs)?;
    let outlet = records_file.outlet(plan, records_file.begin()?);
    let journal = Journal { store, state: State::default(), held: Vec::new(), input };
    Ok(Opened::Ready(Box::new(Destination { outlet, journal: Some(journal), notice })))
}

fn resumed(
    plan: &Plan,
    records_file: &RecordsFile<'_>,
    mut store: Store,
    recorded: Recorded,
) -> Result<Opened, OutputError> {
    let mut changes = identity::changes(&recorded.flags, &identity::facts(plan));
    changes.extend(fingerprint::changes(&recorded.inputs, &fingerprint::take(&plan.inputs)?));
    if !changes.is_empty() {
        return Err(JournalError::JobChanged { output: records_file.output.to_owned(), changes }.into());
    }
    let state = recorded.state;
    let done = state.tally.counts.items();
    let sink = Sink::resume(records_file.records(), state.output_bytes, done, !has_lines(plan))?;
    let held = store.held(&state)?;
    let beside = match state.kept().counts.items() - done {
        0 => String::new(),
        held => format!(", and {held} beside it that wait for an earlier one"),
    };
    let notice =
        Some(format!("resuming {}, which has {done} records{beside}", records_file.output.display()));
    let input = SpooledInput::new(&plan.inputs, store.path());
    let journal = Journal { store, state, held, input };
    let outlet = records_file.outlet(plan, sink);
    Ok(Opened::Ready(Box::new(Destination { outlet, journal: Some(journal), notice })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_and_what_is_wished_decide() {
        let table = [
            // With --resume always given, a job starts, continues, and finally finds nothing left to do.
            (false, false, IfExists::Resume, Start::Anew),
            (true, true, IfExists::Resume, Start::Resume),
            (true, false, IfExists::Resume, Start::Complete),
            (false, true, IfExists::Resume, Start::Anew),
            (false, false, IfExists::Keep, Start::Anew),
            (true, true, IfExists::Keep, Start::RefuseUnfinished),
            (true, false, IfExists::Keep, Start::RefuseExisting),
            (false, true, IfExists::Keep, Start::Anew),
            (false, false, IfExists::Replace, Start::Anew),
            (true, true, IfExists::Replace, Start::Anew),
            (true, false, IfExists::Replace, Start::Anew),
            (false, true, IfExists::Replace, Start::Anew),
        ];
        for (exists, unfinished, if_exists, want) in table {
            assert_eq!(start(exists, unfinished, if_exists), want, "{exists} {unfinished} {if_exists:?}");
        }
    }
}
