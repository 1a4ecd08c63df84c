//! `--since`: what one run notes of pages beside its output, and what a later run knows from that.
//!
//! A run with `--since` keeps the notes that workers make of pages in `OUTPUT.validators.part`, which becomes
//! `OUTPUT.validators` when the run is complete. The next run looks the notes of its targets up there, on disk, and
//! gives them to the workers, which send the validators back and make the records of unchanged pages. So memory does
//! not grow with the number of pages, and every form of record can be made.
//!
//! What is known of a page that fails is passed on from run to run, so that a day on which a server is down does not
//! make the next run fetch everything.
//!
//! Invariant: whatever is wrong with these files, the worst that happens is that a page is fetched whole.

mod earlier;
mod file;
mod keeper;
mod recipe;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use shared::since::SinceSpec;

pub(crate) use self::earlier::Earlier;
use self::earlier::Opened;
pub(crate) use self::keeper::Keeper;
use crate::journal::beside;
use crate::plan::{Output, Plan};

/// Why the notes cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SinceError {
    /// They cannot be kept beside the output.
    #[error("cannot keep what the next run needs in {}: {cause}", path.display())]
    Keep { path: PathBuf, cause: String },
    /// A file that this program did not write has the name of ours.
    #[error("{} was not written by this program; move it away, or name another output", path.display())]
    Foreign { path: PathBuf },
}

/// What is to be kept of some pages.
#[derive(Debug, Default)]
pub(crate) struct PageNotes {
    /// Notes, as workers made them.
    made: Pieces,
    /// Inputs that no worker got. What an earlier run knows of them is kept: the keeper looks it up, so that the disk
    /// does not stop the loop.
    passed_on: Pieces,
}

/// Byte strings, one behind the other.
#[derive(Debug, Default)]
struct Pieces {
    bytes: Vec<u8>,
    lengths: Vec<usize>,
}

impl PageNotes {
    /// Adds the note of a page, if there is one.
    pub(crate) fn push(&mut self, note: &[u8]) {
        self.made.push(note);
    }

    /// Adds an input whose page was not asked for.
    pub(crate) fn pass_on(&mut self, input: &[u8]) {
        self.passed_on.push(input);
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.made.lengths.is_empty() && self.passed_on.lengths.is_empty()
    }
}

impl Pieces {
    fn push(&mut self, piece: &[u8]) {
        if !piece.is_empty() {
            self.bytes.extend_from_slice(piece);
            self.lengths.push(piece.len());
        }
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes.as_slice();
        self.lengths.iter().map(move |length| {
            let (piece, after) = rest.split_at_checked(*length).unwrap_or_default();
            rest = after;
            piece
        })
    }
}

/// The file of the notes of an output.
fn notes_of(output: &Path) -> PathBuf {
    beside(output, ".validators")
}

/// The same while its run is not complete.
fn part_of(output: &Path) -> PathBuf {
    beside(output, ".validators.part")
}

/// What a run with `--since` has besides others.
#[derive(Debug)]
pub(crate) struct Since {
    /// What an earlier run knows, if that can be used.
    pub(crate) earlier: Option<Arc<Earlier>>,
    /// Keeps the notes for the next run, if the output is a file.
    pub(crate) keeper: Option<Keeper>,
    /// What to tell the user.
    pub(crate) notices: Vec<String>,
    /// Concludes when the run is over.
    pub(crate) end: SinceEnd,
}

/// What is left to do after the run.
#[derive(Debug)]
pub(crate) struct SinceEnd {
    earlier: Option<Arc<Earlier>>,
    kept: Option<Kept>,
}

#[derive(Debug)]
struct Kept {
    output: PathBuf,
    fault: Arc<OnceLock<String>>,
}

/// Opens what the earlier run knows, and begins to keep notes. `resumes` is whether the journal has records already;
/// there is no journal if the output is not a file, and then no file beside it either.
///
/// # Errors
/// [`SinceError`] if notes cannot be kept, or a file of another program is in the way.
pub(crate) fn begin(plan: &Plan, spec: &SinceSpec, resumes: Option<bool>) -> Result<Since, SinceError> {
    let recipe = recipe::of(plan);
    let mut notices = Vec::new();
    let output = resumes.and_then(|resumes| Some((place(plan)?, resumes)));
    if let Some((output, false)) = &output {
        keeper::finish_earlier(output)?;
    }
    let own = output.as_ref().map(|(output, _)| output.as_path());
    let earlier = match earlier::open(&spec.earlier, own, &recipe)? {
        Opened::Usable(earlier) => Some(Arc::new(earlier)),
        Opened::Unusable(why) => {
            notices.push(format!("{why}; every page is fetched whole"));
            None
        }
    };
    let mut keeper = None;
    let mut kept = None;
    match output {
        Some((output, resumes)) => {
            if earlier.is_none() {
                notices.push(format!("what the next run needs is kept in {}", notes_of(&output).display()));
            }
            let begun = Keeper::begin(&output, &recipe, resumes, earlier.clone())?;
            kept = Some(Kept { output, fault: begun.fault() });
            keeper = Some(begun);
        }
        None => notices.push("--since keeps nothing for a next run: the output is not a file".to_owned()),
    }
    let end = SinceEnd { earlier: earlier.clone(), kept };
    Ok(Since { earlier, keeper, notices, end })
}

/// The output, beside which the notes are. For an object it is the directory that its records are kept in until they
/// are uploaded: that one goes, the notes stay.
fn place(plan: &Plan) -> Option<PathBuf> {
    match (&plan.object, &plan.output) {
        (Some(object), _) => Some(object.directory.clone()),
        (None, Output::File { path, .. }) => Some(path.clone()),
        (None, Output::Stdout | Output::Discard) => None,
    }
}

impl SinceEnd {
    /// Gives the notes of a complete run their name. Returns what to tell the user.
    pub(crate) fn conclude(&self, is_complete: bool) -> Vec<String> {
        let mut notices: Vec<_> = self.earlier.iter().filter_map(|earlier| earlier.fault()).collect();
        let Some(Kept { output, fault }) = &self.kept else { return notices };
        let path = notes_of(output);
        let failed = match fault.get() {
            Some(why) => Some(why.clone()),
            None if is_complete => {
                std::fs::rename(part_of(output), &path).err().map(|error| error.to_string())
            }
            None => None,
        };
        if let Some(why) = failed {
            let shown = path.display();
            notices.push(format!(
                "cannot keep what the next run needs in {shown}: {why}; it will fetch every page"
            ));
        }
        notices
    }
}
