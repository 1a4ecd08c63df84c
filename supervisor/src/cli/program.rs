//! Resolves the flags for the user's own program, checks that it exists, and builds the plan of `map`.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{AccessFlags, access};
use shared::job::{MapSpec, SandboxLevel, Work};

use super::flags::{MapFlags, ModeFlag, PoolFlags, RecordProgramFlags};
use super::inputs::{input_paths, json_lines};
use super::parts::{host_key, place, politeness, pool_plan, sandbox, when};
use super::problem::Problem;
use super::{Environment, values};
use crate::format::Format;
use crate::nearest::nearest;
use crate::plan::{ListReading, Plan};

/// The parse timeout of a `map` job. It has no effect, because nothing is extracted.
const PARSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Builds the plan of `map`.
pub(super) fn map(pool: &PoolFlags, flags: MapFlags, env: &Environment<'_>) -> Result<Plan, Problem> {
    if flags.program.is_empty() {
        return Err(Problem::Usage("no program; give it last, after --, such as -- jq -c .".to_owned()));
    }
    let spec = MapSpec {
        command: check(flags.program)?,
        timeout: flags.timeout,
        retries: flags.retries,
        raw: flags.raw,
        batch: flags.batch,
        in_flight_max: in_flight_max(pool),
    };
    let inputs = json_lines(flags.input, env)?;
    let paths = input_paths(&inputs);
    let output = flags.output;
    let place = place(&output, &paths, env)?;
    if flags.raw && !matches!(place.format, Format::JsonLines(_)) {
        return Err(Problem::Usage(format!(
            "--raw writes the program's lines unchanged, which {} cannot hold; leave it out, or name the output .jsonl",
            place.format
        )));
    }
    if matches!(place.format, Format::Warc { .. }) {
        return Err(Problem::Usage(
            "`map` cannot write a web archive, because it fetches nothing; name the output .jsonl".to_owned(),
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
        host_key: host_key(None),
        ordered: output.ordered,
        strict: false,
        sandbox: sandbox_for_program(pool)?,
        progress: when(flags.shown.progress),
        quiet: pool.quiet,
        summary: output.side.summary,
        report: output.side.report,
        traps: None,
        cookie_jar: None,
    })
}

/// Returns the program that the records of a `fetch` or `parse` go through, if one was given.
pub(super) fn then(flags: &RecordProgramFlags, pool: &PoolFlags) -> Result<Option<MapSpec>, Problem> {
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

/// The limit on lines in flight: 1 in `sequential` mode, else `--concurrency` if it is a number.
fn in_flight_max(pool: &PoolFlags) -> Option<NonZeroU32> {
    match pool.mode {
        ModeFlag::Sequential => Some(NonZeroU32::MIN),
        ModeFlag::Auto | ModeFlag::Concurrent | ModeFlag::Parallel | ModeFlag::Both => pool.concurrency.0,
    }
}

/// The sandbox of a job with a program. It cannot be required: the program would inherit it, and the rights
/// that a program needs are unknown.
fn sandbox_for_program(pool: &PoolFlags) -> Result<SandboxLevel, Problem> {
    match sandbox(pool) {
        SandboxLevel::Require => Err(Problem::Usage(
            "--sandbox require: the sandbox cannot start programs; leave out the flag or the program"
                .to_owned(),
        )),
        level @ (SandboxLevel::Auto | SandboxLevel::Off) => Ok(level),
    }
}

/// Checks before the start that the program can be run.
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
        None => format!("no program {shown} in the directories of PATH{}", hint(name, &path)),
    }))
}

/// Returns why a file cannot be run, as far as its metadata shows.
fn why_not(path: &Path) -> Option<String> {
    match fs::metadata(path) {
        Err(error) => Some(error.to_string()),
        Ok(metadata) if metadata.is_dir() => Some("it is a directory".to_owned()),
        Ok(_) => access(path, AccessFlags::X_OK)
            .err()
            .map(|errno| format!("{}; is it executable?", std::io::Error::from(errno))),
    }
}

/// Suggests a program with a similar name.
fn hint(name: &OsStr, path: &OsStr) -> String {
    if PathBuf::from(name).exists() {
        return format!("; to run the one in this directory, write ./{}", name.to_string_lossy());
    }
    let entries = env::split_paths(path).filter_map(|directory| fs::read_dir(directory).ok());
    let names: Vec<String> =
        entries.flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    match nearest(&name.to_string_lossy(), names.iter().map(String::as_str)) {
        Some(near) => format!("; did you mean {near}?"),
        None => String::new(),
    }
}
