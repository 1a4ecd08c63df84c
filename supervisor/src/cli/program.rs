//! What the flags say about the user's own program: which it is, that it is there,
//! and the plan of a job that consists of it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{AccessFlags, access};
use shared::job::{MapSpec, SandboxLevel, Work};

use super::flags::{MapFlags, ModeFlag, PoolFlags, ThenFlags};
use super::inputs::{input_paths, json_lines};
use super::parts::{place, politeness, pool_plan, sandbox, when};
use super::problem::Problem;
use super::{Surroundings, values};
use crate::format::Format;
use crate::nearest::nearest;
use crate::plan::{ListReading, Plan};

/// What a `map` has in place of the time that extracting a page may take; nothing is extracted.
const PARSE_TIMEOUT: Duration = Duration::from_secs(10);

/// The plan of `map`.
pub(super) fn map(pool: &PoolFlags, flags: MapFlags, around: &Surroundings<'_>) -> Result<Plan, Problem> {
    if flags.program.is_empty() {
        return Err(Problem::Usage("which program? Give it last, after --: -- jq -c .".to_owned()));
    }
    let spec = MapSpec {
        command: check(flags.program)?,
        timeout: flags.timeout,
        retries: flags.retries,
        raw: flags.raw,
        batch: flags.batch,
        in_flight_max: in_flight_max(pool),
    };
    let inputs = json_lines(flags.input, around)?;
    let paths = input_paths(&inputs);
    let output = flags.output;
    let place = place(&output, &paths, around)?;
    if flags.raw && !matches!(place.format, Format::JsonLines(_)) {
        return Err(Problem::Usage(format!(
            "--raw writes what the program writes, which {} has no place for; leave it out, or name the output .jsonl",
            place.format
        )));
    }
    if matches!(place.format, Format::Warc { .. }) {
        return Err(Problem::Usage(
            "a web archive holds what was sent and received, and `map` does neither; name the output .jsonl"
                .to_owned(),
        ));
    }
    Ok(Plan {
        work: Work::Map(spec),
        held: Vec::new(),
        then: None,
        fields: Vec::new(),
        each: None,
        presets: Vec::new(),
        parse_timeout: PARSE_TIMEOUT,
        output: place.output,
        object: place.object,
        format: place.format,
        split: place.split,
        manifest: place.manifest,
        inputs,
        lists: ListReading::default(),
        within: None,
        pool: pool_plan(pool),
        politeness: politeness(None),
        ordered: output.ordered,
        strict: false,
        sandbox: sandbox_for_program(pool)?,
        progress: when(flags.shown.progress),
        quiet: pool.quiet,
        summary: output.side.summary,
        report: output.side.report,
    })
}

/// The program behind a `fetch` or a `parse`, if there is one.
pub(super) fn then(flags: &ThenFlags, pool: &PoolFlags) -> Result<Option<MapSpec>, Problem> {
    let Some(line) = &flags.map else { return Ok(None) };
    sandbox_for_program(pool)?;
    let words = values::words(line).unwrap_or_default();
    Ok(Some(MapSpec {
        command: check(words.into_iter().map(OsString::from).collect())?,
        timeout: flags.map_timeout,
        retries: flags.map_retries,
        raw: false,
        batch: None,
        in_flight_max: None,
    }))
}

/// One line at a time is what `sequential` means; otherwise only a number that was given binds.
fn in_flight_max(pool: &PoolFlags) -> Option<NonZeroU32> {
    match pool.mode {
        ModeFlag::Sequential => Some(NonZeroU32::MIN),
        ModeFlag::Auto | ModeFlag::Concurrent | ModeFlag::Parallel | ModeFlag::Both => pool.concurrency.0,
    }
}

/// A program inherits what its worker may not do, and what it needs nobody knows.
fn sandbox_for_program(pool: &PoolFlags) -> Result<SandboxLevel, Problem> {
    match sandbox(pool) {
        SandboxLevel::Require => Err(Problem::Usage(
            "--sandbox require: a program of yours cannot be started from inside of the sandbox; leave one of them out"
                .to_owned(),
        )),
        level @ (SandboxLevel::Auto | SandboxLevel::Off) => Ok(level),
    }
}

/// Looks whether the program can be started, so that nothing is if it cannot.
fn check(command: Vec<OsString>) -> Result<Vec<OsString>, Problem> {
    let Some(name) = command.first() else { return Ok(command) };
    let shown = name.to_string_lossy();
    if name.is_empty() {
        return Err(Problem::Usage("the program's name is empty".to_owned()));
    }
    if Path::new(name).components().count() > 1 || shown.contains('/') {
        return match why_not(Path::new(name)) {
            None => Ok(command),
            Some(why) => Err(Problem::Usage(format!("cannot start {shown}: {why}"))),
        };
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let places = || env::split_paths(&path).map(|directory| directory.join(name));
    if places().any(|place| why_not(&place).is_none()) {
        return Ok(command);
    }
    let unfit = places().find(|place| place.exists());
    Err(Problem::Usage(match unfit {
        Some(place) => format!("cannot start {}: {}", place.display(), why_not(&place).unwrap_or_default()),
        None => format!("there is no program {shown} in the directories of PATH{}", hint(name, &path)),
    }))
}

/// Why a file cannot be started, as far as can be seen from outside.
fn why_not(path: &Path) -> Option<String> {
    match fs::metadata(path) {
        Err(error) => Some(error.to_string()),
        Ok(metadata) if metadata.is_dir() => Some("it is a directory".to_owned()),
        Ok(_) => access(path, AccessFlags::X_OK)
            .err()
            .map(|errno| format!("{}; is it executable?", std::io::Error::from(errno))),
    }
}

/// The program that was probably meant.
fn hint(name: &OsStr, path: &OsStr) -> String {
    if PathBuf::from(name).exists() {
        return format!("; for the one in this directory write ./{}", name.to_string_lossy());
    }
    let entries = env::split_paths(path).filter_map(|directory| fs::read_dir(directory).ok());
    let names: Vec<String> =
        entries.flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    match nearest(&name.to_string_lossy(), names.iter().map(String::as_str)) {
        Some(near) => format!("; did you mean {near}?"),
        None => String::new(),
    }
}
