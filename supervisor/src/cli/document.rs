//! A job as the service accepts it: the flags of the command line as a JSON object, plus uploaded files.
//! A document that the service does not allow is refused here, before anything is opened.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use clap::FromArgMatches as _;
use serde_json::{Map, Value};
use shared::address::AddressPolicy;
use shared::job::{SandboxLevel, Work};

use super::flags::Flags;
use super::problem::Problem;
use super::resolve;
use super::settings::{self, Keys, Settings};
use super::{Environment, Invocation, Texts, definitions};
use crate::config::Allowed;
use crate::descriptor;
use crate::outcome::{first_paragraph, without_secrets};
use crate::plan::{Input, Plan};

/// Flags of local runs, which a job of the service cannot have.
const NOT_FOR_JOBS: [&str; 19] = [
    "output",
    "format",
    "split",
    "manifest",
    "resume",
    "overwrite",
    "save",
    "save-name",
    "save-bytes-max",
    "since",
    "progress",
    "quiet",
    "summary",
    "report",
    "traps",
    "cookie-jar",
    "config",
    "job",
    "worker-memory",
];

/// The commands that a job can run, each with the key that its uploaded files belong to.
const COMMANDS: [(&str, &str); 5] =
    [("fetch", "input"), ("crawl", "input"), ("parse", "paths"), ("map", "input"), ("csv", "files")];

/// Keys of inputs, of which a job may have many.
const INPUTS: [&str; 5] = ["urls", "paths", "files", "input", "sitemap"];

/// Most values of any other key. Selectors and expressions take time and memory to check, each of them.
const VALUES_MAX: usize = 256;

/// Most CSV files that are checked when a job is submitted.
const CHECKED_MAX: usize = 16;

/// Longest text of a value.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Returns the command of a document.
///
/// # Errors
/// If the document has no command, or one that jobs cannot run.
pub(crate) fn command(document: &Map<String, Value>) -> Result<&'static str, String> {
    let names = || COMMANDS.map(|(name, _)| name).join(", ");
    match document.get("command") {
        None => Err(format!("\"command\" is missing; give one of: {}", names())),
        Some(Value::String(text)) => COMMANDS
            .iter()
            .find(|(name, _)| name == text)
            .map(|(name, _)| *name)
            .ok_or_else(|| format!("\"command\" is \"{text}\"; give one of: {}", names())),
        Some(_) => Err(format!("\"command\" must be a string, one of: {}", names())),
    }
}

/// Why a document is no job.
#[derive(Debug)]
pub(crate) struct NoJob {
    pub(crate) why: String,
    /// Whether descriptors are short, which others will close.
    pub(crate) lacks_descriptors: bool,
}

impl From<String> for NoJob {
    fn from(why: String) -> Self {
        Self { why, lacks_descriptors: false }
    }
}

/// Builds the plan of a job that writes to `output`, and continues that file if it exists.
///
/// # Errors
/// If the document is wrong or asks for something that this service does not allow.
pub(crate) fn job(
    document: &Map<String, Value>,
    uploads: &[PathBuf],
    output: &Path,
    allowed: &Allowed,
) -> Result<Plan, NoJob> {
    plan(document, uploads, output, allowed, usize::MAX)
}

/// Checks a submitted job. The first CSV files stand for the others, which are checked when the job starts: the
/// submission waits.
///
/// # Errors
/// As [`job`].
pub(crate) fn check(
    document: &Map<String, Value>,
    uploads: &[PathBuf],
    output: &Path,
    allowed: &Allowed,
) -> Result<(), NoJob> {
    plan(document, uploads, output, allowed, CHECKED_MAX).map(drop)
}

fn plan(
    document: &Map<String, Value>,
    uploads: &[PathBuf],
    output: &Path,
    allowed: &Allowed,
    headers_max: usize,
) -> Result<Plan, NoJob> {
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
        return Err(format!("\"{key}\" is for local runs; a job of the service cannot have it").into());
    }
    check_size(&flags)?;
    let mut settings = Settings::from_document(keys, &flags)?;
    check_allowed(command, &settings, allowed)?;
    place_files(command, &mut settings, uploads);
    settings.set("output", vec![output.as_os_str().to_owned()]);
    settings.set(if command == "csv" { "overwrite" } else { "resume" }, vec!["true".into()]);
    let root = settings.into_defaults(root, &path)?;
    let argv = ["supervisor", command].map(OsString::from);
    let matches =
        root.try_get_matches_from(argv).map_err(|error| first_paragraph(&without_secrets(error)))?;
    let flags =
        Flags::from_arg_matches(&matches).map_err(|error| first_paragraph(&without_secrets(error)))?;
    let env = Environment {
        variable: &|_| None,
        config: Path::new(""),
        stdin_is_terminal: true,
        isolates_lists: allowed.isolates_lists,
        readable: Some(&allowed.paths),
        headers_max,
        texts: Texts::default(),
    };
    match resolve::request(flags, &|_| false, &env) {
        Ok(Invocation::Run(plan)) => Ok(checked(*plan, output, allowed)?),
        Ok(_) => Err("the document does not describe a job".to_owned().into()),
        Err(Problem::Usage(why) | Problem::Impossible(why)) => Err(why.into()),
        Err(Problem::Short(why)) => Err(NoJob { why, lacks_descriptors: true }),
    }
}

/// Refuses a document that would take long to check.
fn check_size(flags: &Map<String, Value>) -> Result<(), String> {
    for (key, value) in flags {
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        if values.len() > VALUES_MAX && !INPUTS.contains(&key.as_str()) {
            return Err(format!("\"{key}\" has {} values; give at most {VALUES_MAX}", values.len()));
        }
        let is_long = |value: &Value| value.as_str().is_some_and(|text| text.len() > TEXT_BYTES_MAX);
        if values.iter().any(is_long) {
            return Err(format!("\"{key}\" has a value of more than {TEXT_BYTES_MAX} bytes"));
        }
    }
    Ok(())
}

/// Adds the uploaded files after the named ones.
fn place_files(command: &str, settings: &mut Settings, uploads: &[PathBuf]) {
    let Some((_, key)) = COMMANDS.iter().find(|(name, _)| *name == command) else { return };
    if !uploads.is_empty() {
        let mut files = settings.get(key).to_vec();
        files.extend(uploads.iter().map(|path| path.as_os_str().to_owned()));
        settings.set(key, files);
    }
}

/// Refuses what this service does not allow: programs, private addresses and paths outside `--allow-path`.
fn check_allowed(command: &str, settings: &Settings, allowed: &Allowed) -> Result<(), String> {
    let runs_program = command == "map" || !settings.get("map").is_empty();
    if runs_program && !allowed.programs {
        return Err(
            "jobs cannot run programs here; start the service with --allow-programs to allow them".to_owned()
        );
    }
    if command == "parse"
        && !settings.get("input").is_empty()
        && !allowed.paths.iter().any(|path| path == Path::new("/"))
    {
        return Err(
            "\"input\" of parse is a list of paths and could name any file of this machine; upload the \
                                files, or name them in \"paths\""
                .to_owned(),
        );
    }
    if settings.get("address-policy") == ["any"] && !allowed.private_addresses {
        return Err("this service only fetches public addresses; start it with --allow-private-addresses \
                            to allow others"
            .to_owned());
    }
    for key in ["input", "paths", "files", "proxy-file", "proxy-tier", "ca", "cert", "key"] {
        for path in settings.get(key) {
            check_path(Path::new(path), allowed)?;
        }
    }
    for key in ["data", "json"] {
        for path in settings.get(key).iter().filter_map(|value| value.as_bytes().strip_prefix(b"@")) {
            check_path(Path::new(OsStr::from_bytes(path)), allowed)?;
        }
    }
    Ok(())
}

fn check_path(path: &Path, allowed: &Allowed) -> Result<(), String> {
    let shown = path.display();
    if path == Path::new("-") {
        return Err("a job has no standard input; upload a file instead".to_owned());
    }
    if descriptor::is_of_a_process(path)
        || fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
    {
        return Err(format!("{shown} is not a regular file or directory; upload its content instead"));
    }
    // The same answer for missing and forbidden paths, so that jobs cannot probe for files.
    let real = fs::canonicalize(path).ok();
    let within = |directory: &PathBuf| {
        let directory = fs::canonicalize(directory).ok();
        directory.zip(real.as_ref()).is_some_and(|(directory, real)| real.starts_with(directory))
    };
    if allowed.paths.iter().any(within) {
        return Ok(());
    }
    Err(format!(
        "jobs cannot read {shown} here; upload the file, or start the service with --allow-path for its \
                 directory"
    ))
}

fn checked(mut plan: Plan, output: &Path, allowed: &Allowed) -> Result<Plan, String> {
    if plan.inputs.contains(&Input::StdinLines) {
        return Err("a job has no standard input; upload a file instead".to_owned());
    }
    if plan.sandbox == SandboxLevel::Off && !allowed.programs {
        return Err("a job of the service cannot set \"sandbox\" to off".to_owned());
    }
    plan.lists.isolated = allowed.isolates_lists;
    // Only the named path was checked. Links below it may lead elsewhere, and files may change before they
    // are read. So workers check again.
    let readable = allowed.paths.iter().map(PathBuf::as_path).chain(output.parent());
    plan.within = Some(readable.filter_map(|path| fs::canonicalize(path).ok()).collect());
    match &mut plan.work {
        Work::Fetch(spec) | Work::Sitemap(spec) if !allowed.private_addresses => {
            spec.address_policy = AddressPolicy::Public;
            spec.proxies.policy = AddressPolicy::Public;
        }
        Work::Crawl(spec) if !allowed.private_addresses => {
            spec.fetch.address_policy = AddressPolicy::Public;
            spec.fetch.proxies.policy = AddressPolicy::Public;
        }
        Work::Fetch(_) | Work::Crawl(_) | Work::Sitemap(_) | Work::Parse(_) | Work::Map(_) | Work::Csv(_) => {
        }
    }
    Ok(plan)
}
