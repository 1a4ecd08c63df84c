//! Resolves `--save`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};
use shared::job::FetchSpec;
use shared::save::{SaveSpec, UNRECORDED};
use shared::select::blocked::Rule;
use xxhash_rust::xxh3::xxh3_64;

use super::disk::OutputPlan;
use super::flags::SaveFlags;
use super::problem::Problem;
use crate::format::Format;
use crate::plan::Output;

/// Identifies the boot of the machine. A system without it never continues a file.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Adds to `spec` where bodies are saved, if they are. `reads` is whether fields are extracted, `repeats`
/// whether the user asks to notice pages that repeat.
pub(super) fn saving(
    spec: FetchSpec,
    flags: Option<SaveFlags>,
    reads: bool,
    repeats: bool,
    place: &OutputPlan,
) -> Result<FetchSpec, Problem> {
    let Some(SaveFlags { save: Some(directory), save_name, save_bytes_max }) = flags else { return Ok(spec) };
    if matches!(place.format, Format::Warc { .. }) {
        return Err(Problem::Usage(
            "a web archive holds the bodies itself; leave out --save, or name the output .jsonl".to_owned(),
        ));
    }
    if repeats {
        return Err(Problem::Usage(
            "--blocked-if repeats cannot be combined with --save: a file is kept before it is known whether its host \
             repeats it"
                .to_owned(),
        ));
    }
    let mut blocked = spec.blocked.clone();
    blocked.repeats = false;
    let needs_page = |rule: &Rule| matches!(rule, Rule::Body(_) | Rule::Css(_));
    let reads = reads || blocked.rules.iter().any(needs_page);
    let held_max = if reads { spec.body_bytes_max } else { 0 };
    let directory = resolved(&directory)?;
    let output = real_output(&place.output);
    if let Some(output) = output.as_ref().filter(|output| output.starts_with(&directory)) {
        return Err(Problem::Usage(format!(
            "{} is below {}, where workers may write; name another directory with --save",
            output.display(),
            directory.display()
        )));
    }
    let save = SaveSpec {
        directory,
        name: save_name,
        bytes_max: save_bytes_max,
        work: work_name(output.as_deref()),
        boot: fs::read_to_string(BOOT_ID).map(|id| id.trim().to_owned()).unwrap_or_default(),
        held_max,
    };
    Ok(FetchSpec { blocked, save: Some(Box::new(save)), ..spec })
}

/// The directory without links, although it need not exist yet.
fn resolved(directory: &Path) -> Result<PathBuf, Problem> {
    let shown = directory.display();
    let fail = |error: io::Error| Problem::Impossible(format!("cannot save files to {shown}: {error}"));
    match fs::canonicalize(directory) {
        Ok(real) if !real.is_dir() => Err(Problem::Impossible(format!(
            "cannot save files to {shown}: it is not a directory; name another one with --save"
        ))),
        Ok(real) => {
            access(&real, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|errno| fail(errno.into()))?;
            Ok(real)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let absolute = std::path::absolute(directory).map_err(fail)?;
            let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else {
                return Err(fail(error));
            };
            let parent = fs::canonicalize(parent).map_err(|_| {
                Problem::Impossible(format!(
                    "cannot save files to {shown}: directory {} does not exist; create it first",
                    parent.display()
                ))
            })?;
            access(&parent, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|errno| fail(errno.into()))?;
            Ok(parent.join(name))
        }
        Err(error) => Err(fail(error)),
    }
}

/// The output, without links, if it is a file that a later run can go on with.
fn real_output(output: &Output) -> Option<PathBuf> {
    let Output::File { path, .. } = output else { return None };
    // A pipe or a device keeps nothing.
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return None;
    }
    let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
    match (path.parent().map(fs::canonicalize), path.file_name()) {
        (Some(Ok(parent)), Some(name)) => Some(parent.join(name)),
        // The run fails when it opens the output.
        (_, _) => Some(path),
    }
}

/// The name of the directory for unfinished files. A resumed run has the same output, and finds them again.
fn work_name(output: Option<&Path>) -> String {
    match output {
        Some(path) => format!("{:016x}", xxh3_64(path.as_os_str().as_encoded_bytes())),
        None => format!("{UNRECORDED}{:016x}", fastrand::u64(..)),
    }
}
