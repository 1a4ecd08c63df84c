//! A job as the service takes it: the same flags as on the command line, written as a JSON object,
//! and the files that came along. What a sender may not say is refused here, before anything is opened.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use clap::FromArgMatches as _;
use serde_json::{Map, Value};
use shared::address::AddressPolicy;
use shared::job::{SandboxLevel, Work};

use super::flags::Flags;
use super::problem::Problem;
use super::resolve;
use super::settings::{self, Keys, Settings};
use super::{Request, Surroundings, Texts, definitions};
use crate::config::Allowed;
use crate::descriptor;
use crate::outcome::first_paragraph;
use crate::plan::{Input, Plan};

/// What concerns one terminal or one file, and not a job of the service.
const NOT_FOR_JOBS: [&str; 13] = [
    "output",
    "format",
    "split",
    "manifest",
    "resume",
    "overwrite",
    "progress",
    "quiet",
    "summary",
    "report",
    "config",
    "job",
    "worker-memory",
];

/// Commands a job can be for, and where files that come along belong.
const COMMANDS: [(&str, &str); 4] =
    [("fetch", "input"), ("parse", "paths"), ("map", "input"), ("csv", "files")];

/// The command a document is for.
///
/// # Errors
/// When it says none, or one that is not for jobs.
pub(crate) fn command(document: &Map<String, Value>) -> Result<&'static str, String> {
    let names = || COMMANDS.map(|(name, _)| name).join(", ");
    match document.get("command") {
        None => Err(format!("no command; \"command\" is one of: {}", names())),
        Some(Value::String(text)) => COMMANDS
            .iter()
            .find(|(name, _)| name == text)
            .map(|(name, _)| *name)
            .ok_or_else(|| format!("\"command\" is \"{text}\"; it is one of: {}", names())),
        Some(_) => Err(format!("\"command\" takes a string, one of: {}", names())),
    }
}

/// Makes the plan of a job whose records go to `output`, a file that is gone on with if it is there.
///
/// # Errors
/// What is wrong with the document, or not allowed here.
pub(crate) fn job(
    document: &Map<String, Value>,
    uploads: &[PathBuf],
    output: &Path,
    allowed: &Allowed,
) -> Result<Plan, String> {
    let command = command(document)?;
    let path = [command.to_owned()];
    let root = definitions();
    let mut flags = document.clone();
    for own in ["command", "name", "priority"] {
        flags.shift_remove(own);
    }
    let arguments = settings::arguments(&root, &path);
    let keys = Keys { allowed: &arguments, refused: &NOT_FOR_JOBS, also: &["command", "name", "priority"] };
    if let Some(key) = flags.keys().find(|key| NOT_FOR_JOBS.contains(&key.replace('_', "-").as_str())) {
        return Err(format!("\"{key}\" is not for jobs of the service"));
    }
    let mut settings = Settings::from_document(keys, &flags)?;
    check_allowed(command, &settings, allowed)?;
    place_files(command, &mut settings, uploads);
    settings.set("output", vec![output.as_os_str().to_owned()]);
    settings.set(if command == "csv" { "overwrite" } else { "resume" }, vec!["true".into()]);
    let root = settings.into_defaults(root, &path)?;
    let argv = ["supervisor", command].map(OsString::from);
    let matches = root.try_get_matches_from(argv).map_err(|error| first_paragraph(&error))?;
    let flags = Flags::from_arg_matches(&matches).map_err(|error| first_paragraph(&error))?;
    let around = Surroundings {
        variable: &|_| None,
        config: Path::new(""),
        stdin_is_terminal: true,
        texts: Texts::default(),
    };
    match resolve::request(flags, &|_| false, &around) {
        Ok(Request::Run(plan)) => checked(*plan, output, allowed),
        Ok(_) => Err("this is no job".to_owned()),
        Err(Problem::Usage(message) | Problem::Impossible(message)) => Err(message),
    }
}

/// Files that came along stand after those that are named.
fn place_files(command: &str, settings: &mut Settings, uploads: &[PathBuf]) {
    let Some((_, key)) = COMMANDS.iter().find(|(name, _)| *name == command) else { return };
    if !uploads.is_empty() {
        let mut files = settings.get(key).to_vec();
        files.extend(uploads.iter().map(|path| path.as_os_str().to_owned()));
        settings.set(key, files);
    }
}

/// What a sender could not do without the service, he may not do through it.
fn check_allowed(command: &str, settings: &Settings, allowed: &Allowed) -> Result<(), String> {
    let runs_program = command == "map" || !settings.get("map").is_empty();
    if runs_program && !allowed.programs {
        return Err("jobs may run no programs here; the service would have to be started with \
                    --allow-programs"
            .to_owned());
    }
    if command == "parse"
        && !settings.get("input").is_empty()
        && !allowed.paths.iter().any(|path| path == Path::new("/"))
    {
        return Err(
            "\"input\" of parse is a list of paths, which could name any file of this machine; send the \
                    files along, or name them in \"paths\""
                .to_owned(),
        );
    }
    if settings.get("address-policy") == ["any"] && !allowed.private_addresses {
        return Err("jobs reach public addresses only here; the service would have to be started with \
                    --allow-private-addresses"
            .to_owned());
    }
    for key in ["input", "paths", "files"] {
        for path in settings.get(key) {
            check_path(Path::new(path), allowed)?;
        }
    }
    Ok(())
}

fn check_path(path: &Path, allowed: &Allowed) -> Result<(), String> {
    let shown = path.display();
    if path == Path::new("-") {
        return Err("a job has no standard input; send a file along".to_owned());
    }
    if descriptor::is_of_a_process(path)
        || fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
    {
        return Err(format!("{shown} is no file; send it along"));
    }
    // One that cannot be found is not told from one that must not be.
    let real = fs::canonicalize(path).ok();
    let within = |directory: &PathBuf| {
        let directory = fs::canonicalize(directory).ok();
        directory.zip(real.as_ref()).is_some_and(|(directory, real)| real.starts_with(directory))
    };
    if allowed.paths.iter().any(within) {
        return Ok(());
    }
    Err(format!(
        "{shown} is not a file that jobs may name here; send it along, or have the service started with \
         --allow-path for its directory"
    ))
}

fn checked(mut plan: Plan, output: &Path, allowed: &Allowed) -> Result<Plan, String> {
    if plan.inputs.contains(&Input::StdinLines) {
        return Err("a job has no standard input; send a file along".to_owned());
    }
    if plan.sandbox == SandboxLevel::Off && !allowed.programs {
        return Err("\"sandbox\" cannot be off for a job of the service".to_owned());
    }
    // What is named was looked at; links below it may lead anywhere, and all of it may change until it is read.
    let readable = allowed.paths.iter().map(PathBuf::as_path).chain(output.parent());
    plan.within = Some(readable.filter_map(|path| fs::canonicalize(path).ok()).collect());
    match &mut plan.work {
        Work::Fetch(spec) | Work::Sitemap(spec) if !allowed.private_addresses => {
            spec.address_policy = AddressPolicy::Public;
        }
        Work::Fetch(_) | Work::Sitemap(_) | Work::Parse(_) | Work::Map(_) | Work::Csv(_) => {}
    }
    Ok(plan)
}
