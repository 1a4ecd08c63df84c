//! Commands that talk to a service: from flags to an [`Order`].
//!
//! What is submitted is what was typed, word for word, under the names that a
//! job file has; so the service decides what it means, as for any client.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, ValueEnum as _};
use serde_json::{Map, Value};

use super::flags::{
    CancelFlags, JobsFlags, JobsVerb, ResultsFlags, ServiceFlags, StatusFlags, SubmitFlags, Verb, WhenFlag,
};
use super::parts::when;
use super::problem::Problem;
use super::settings::{is_repeatable, is_switch, key};
use super::{Surroundings, settings};
use crate::client::{Act, Files, Order, Place, Results, Submit, What};

/// What concerns one terminal or one file here; the records of a job stay with its service.
const NOT_SUBMITTED: [&str; 6] = ["output", "overwrite", "resume", "summary", "report", "config"];

/// What of the command line is for the client itself.
const CLIENTS: [&str; 12] = [
    "socket",
    "url",
    "token-file",
    "ca",
    "json",
    "wait",
    "progress",
    "quiet",
    "idempotency-key",
    "job",
    "name",
    "priority",
];

/// The flags that say where the service is; they may be set in the environment.
const PLACES: [&str; 4] = ["socket", "url", "token-file", "ca"];

/// The flags that name files.
const FILES: [&str; 3] = ["input", "paths", "files"];

/// The files that were typed, by flag.
type Typed = BTreeMap<&'static str, Vec<PathBuf>>;

/// Whether a command talks to a service.
pub(super) fn is_client(path: &[String]) -> bool {
    matches!(path.first().map(String::as_str), Some("submit" | "jobs" | "results" | "cancel" | "status"))
}

/// The flags of a client's command that the environment may set.
pub(super) fn from_environment<'a>(root: &'a Command, path: &[String]) -> Vec<&'a Arg> {
    let arguments = settings::arguments(root, path);
    arguments.into_iter().filter(|arg| PLACES.contains(&key(arg)) || key(arg) == "quiet").collect()
}

/// Takes out of the help of `submit` what it would refuse.
pub(super) fn hide_unsubmitted(root: Command) -> Command {
    root.mut_subcommand("submit", |submit| {
        submit.mut_subcommands(|command| {
            command.mut_args(|arg| {
                let hidden = NOT_SUBMITTED.contains(&key(&arg));
                arg.hide(hidden)
            })
        })
    })
}

/// What a client is to do.
pub(super) fn order(
    verb: Verb,
    (root, path, matches): (&Command, &[String], &ArgMatches),
    around: &Surroundings<'_>,
) -> Result<Order, Problem> {
    if !matches!(verb, Verb::Submit(_)) {
        refuse_pool_flags(root, matches)?;
    }
    let (service, what) = match verb {
        Verb::Submit(SubmitFlags { service, name, priority, idempotency_key, wait, verb }) => {
            let submitted = (root, path, matches);
            let (mut document, mut typed) = document(verb.is_some(), submitted)?;
            document.extend(name.map(|name| ("name".to_owned(), name.into())));
            document.extend(priority.map(|priority| ("priority".to_owned(), priority.into())));
            let files = files(&mut document, &mut typed)?;
            let (progress, quiet) = (when(progress(matches)), matches.get_flag("quiet"));
            (service, What::Submit(Submit { document, files, idempotency_key, wait, progress, quiet }))
        }
        Verb::Jobs(JobsFlags { state, limit, service, verb }) => {
            let what = match verb {
                None => {
                    let names = state.iter().filter_map(|state| state.to_possible_value());
                    What::Jobs { states: names.map(|name| name.get_name().to_owned()).collect(), limit }
                }
                Some(JobsVerb::Pause(job)) => What::Act(job.id, Act::Pause),
                Some(JobsVerb::Resume(job)) => What::Act(job.id, Act::Resume),
                Some(JobsVerb::RetryFailed(job)) => What::Act(job.id, Act::RetryFailed),
                Some(JobsVerb::Remove(job)) => What::Act(job.id, Act::Remove),
            };
            (service, what)
        }
        Verb::Results(ResultsFlags { job, follow, from, only, output, overwrite, service }) => {
            let only = only.and_then(|only| only.to_possible_value()).map(|only| only.get_name().to_owned());
            let output = (output != Path::new("-")).then_some(output);
            (service, What::Results(Results { id: job.id, follow, from, only, output, overwrite }))
        }
        Verb::Cancel(CancelFlags { job, service }) => (service, What::Act(job.id, Act::Cancel)),
        Verb::Status(StatusFlags { id: Some(id), service }) => (service, What::Job(id)),
        Verb::Status(StatusFlags { id: None, service }) => (service, What::Status),
        Verb::Fetch(_)
        | Verb::Parse(_)
        | Verb::Map(_)
        | Verb::Csv(_)
        | Verb::Compare(_)
        | Verb::Serve(_)
        | Verb::Completions { .. }
        | Verb::Man { .. } => return Err(Problem::Usage("this is no command for a service".to_owned())),
    };
    let json = service.json;
    Ok(Order { place: place(service, matches, around)?, json, what })
}

/// How many workers the service has is for the service to say.
fn refuse_pool_flags(root: &Command, matches: &ArgMatches) -> Result<(), Problem> {
    let typed = root.get_arguments().find(|arg| {
        let id = arg.get_id().as_str();
        !matches!(id, "help" | "version" | "quiet")
            && matches.value_source(id) == Some(ValueSource::CommandLine)
    });
    match typed {
        Some(arg) => Err(Problem::Usage(format!("--{} is not for a command that asks a service", key(arg)))),
        None => Ok(()),
    }
}

/// Where the service is: as typed, else as set, else the first place where a socket is.
fn place(flags: ServiceFlags, matches: &ArgMatches, around: &Surroundings<'_>) -> Result<Place, Problem> {
    let mut below = matches;
    while let Some((_, next)) = below.subcommand() {
        below = next;
    }
    let typed = |id: &str| below.value_source(id) == Some(ValueSource::CommandLine);
    if typed("socket") && typed("url") {
        return Err(Problem::Usage("--socket and --url are two places; give one".to_owned()));
    }
    let (token_file, ca) = (flags.token_file, flags.ca);
    match (flags.socket, flags.url) {
        (Some(socket), url) if typed("socket") || url.is_none() => Ok(Place::Socket(socket)),
        (_, Some(url)) => {
            let parsed = url::Url::parse(&url).ok().filter(|url| {
                matches!(url.scheme(), "http" | "https") && url.has_host() && matches!(url.path(), "" | "/")
            });
            match parsed {
                Some(url) => Ok(Place::Url { url, token_file, ca }),
                None => Err(Problem::Usage(format!(
                    "--url {url}: takes scheme, host and port, such as https://muster.example:8443"
                ))),
            }
        }
        (_, None) => Ok(Place::Socket(default_socket(around))),
    }
}

/// Where `serve` puts its socket, and where the package's unit does.
fn default_socket(around: &Surroundings<'_>) -> PathBuf {
    let set = |name: &str| (around.variable)(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || set("HOME").map(|home| home.join(".local/state"));
    let places = [
        set("RUNTIME_DIRECTORY").map(|dir| dir.join("api.sock")),
        set("XDG_RUNTIME_DIR").map(|dir| dir.join("muster/api.sock")),
        set("XDG_STATE_HOME").or_else(home).map(|dir| dir.join("muster/api.sock")),
    ];
    let system = PathBuf::from("/run/muster/api.sock");
    let known = places.into_iter().flatten().find(|path| path.exists());
    known.unwrap_or(system)
}

fn progress(matches: &ArgMatches) -> WhenFlag {
    let command = matches.subcommand().and_then(|(_, submit)| submit.subcommand());
    let progress =
        command.and_then(|(_, command)| command.try_get_one::<WhenFlag>("progress").ok().flatten());
    progress.copied().unwrap_or(WhenFlag::Auto)
}

/// The document: what stands in the job file, and over it what was typed, but for the files that were: they
/// are sent along, and their names need not be UTF-8, which JSON is.
fn document(
    has_command: bool,
    (root, path, matches): (&Command, &[String], &ArgMatches),
) -> Result<(Map<String, Value>, Typed), Problem> {
    let mut files = Typed::new();
    let mut document = match matches.get_one::<PathBuf>("job") {
        Some(job) => job_file(job)?,
        None if has_command => Map::new(),
        None => {
            return Err(Problem::Usage(
                "submit what? Give a command with its flags, such as `submit fetch -i urls.txt`, or --job FILE"
                    .to_owned(),
            ));
        }
    };
    let submit = matches.subcommand().and_then(|(_, submit)| submit.subcommand());
    let Some((command, below)) = submit else { return Ok((document, files)) };
    match document.get("command") {
        Some(other) if other != command => {
            return Err(Problem::Usage(format!("the job file's command is {other}, not \"{command}\"")));
        }
        Some(_) | None => {}
    }
    document.insert("command".to_owned(), command.into());
    let mut seen = BTreeSet::new();
    for arg in settings::arguments(root, path) {
        let (id, key) = (arg.get_id().as_str(), key(arg));
        let typed = below.try_contains_id(id).is_ok()
            && below.value_source(id) == Some(ValueSource::CommandLine)
            && seen.insert(id.to_owned());
        if !typed || CLIENTS.contains(&key) {
            continue;
        }
        if NOT_SUBMITTED.contains(&key) {
            return Err(Problem::Usage(format!(
                "--{key} is for a run here; a job's records stay with the service, and `supervisor results ID` reads them"
            )));
        }
        let raw: Vec<OsString> = below.get_raw(id).into_iter().flatten().map(OsString::from).collect();
        if let Some(key) = FILES.into_iter().find(|files| *files == key) {
            files.insert(key, raw.into_iter().map(PathBuf::from).collect());
        } else {
            document.insert(key.to_owned(), value(arg, raw)?);
        }
    }
    Ok((document, files))
}

/// What was typed for one flag, as JSON.
fn value(arg: &Arg, raw: Vec<OsString>) -> Result<Value, Problem> {
    let text = |raw: OsString| {
        raw.into_string().map_err(|raw| {
            Problem::Usage(format!("{}: {} is not UTF-8, and JSON is", key(arg), raw.to_string_lossy()))
        })
    };
    let is_list = is_repeatable(arg) || arg.is_positional();
    let mut values = raw.into_iter().map(text).collect::<Result<Vec<String>, _>>()?;
    Ok(match (values.pop(), is_list) {
        (Some(last), true) => {
            values.push(last);
            values.into()
        }
        (Some(last), false) if is_switch(arg) => Value::Bool(!matches!(
            last.to_ascii_lowercase().as_str(),
            "false" | "no" | "0" | "off" | "n" | "f"
        )),
        (Some(last), false) => last.into(),
        (None, _) => Value::Null,
    })
}

/// A job file, its keys with hyphens.
fn job_file(path: &Path) -> Result<Map<String, Value>, Problem> {
    let refuse = |why: String| Problem::Usage(format!("{}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
    let table: toml::Table =
        toml::from_str(&text).map_err(|error| refuse(format!("not TOML: {}", error.message())))?;
    let mut document = Map::new();
    for (name, value) in table {
        let name = name.replace('_', "-");
        if NOT_SUBMITTED.contains(&name.as_str()) || matches!(name.as_str(), "progress" | "quiet") {
            continue;
        }
        let value = serde_json::to_value(value).map_err(|error| refuse(error.to_string()))?;
        document.insert(name, value);
    }
    Ok(document)
}

/// The local files, which are sent along: those that were typed, else those of the document, which are taken out.
fn files(document: &mut Map<String, Value>, typed: &mut Typed) -> Result<Files, Problem> {
    let mut take = |document: &mut _, key| {
        let written = take_paths(document, key);
        typed.remove(key).unwrap_or(written)
    };
    let lists = take(document, "input");
    let command = document.get("command").and_then(Value::as_str).unwrap_or_default().to_owned();
    let named = match command.as_str() {
        "parse" if !lists.is_empty() => {
            return Err(Problem::Usage(
                "submit parse sends files along, and takes no list of them with -i; name them, or their directory"
                    .to_owned(),
            ));
        }
        "parse" => return Ok(Files::Pages(take(document, "paths"))),
        "csv" => take(document, "files"),
        _ => lists,
    };
    if named.iter().filter(|path| *path == Path::new("-")).count() > 1 {
        return Err(Problem::Usage("standard input can be read only once; give -i - once".to_owned()));
    }
    Ok(Files::Named(named))
}

fn take_paths(document: &mut Map<String, Value>, key: &str) -> Vec<PathBuf> {
    match document.remove(key) {
        Some(Value::Array(paths)) => paths.iter().filter_map(Value::as_str).map(PathBuf::from).collect(),
        Some(Value::String(path)) => vec![path.into()],
        Some(_) | None => Vec::new(),
    }
}
