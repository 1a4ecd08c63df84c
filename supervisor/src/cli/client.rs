//! Commands that talk to a service: from flags to an [`ClientCommand`].
//!
//! `submit` sends what the user typed, word for word, under the key names of a job file. The service alone
//! interprets it, as it does for any other client.

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
use super::{Environment, login, request, settings};
use crate::client::{ClientCommand, Files, Operation, Results, ServiceAddress, Submit};
use crate::view::JobAction;

/// Flags of a local run that `submit` refuses. The service keeps the records of its jobs.
const NOT_SUBMITTED: [&str; 7] = ["output", "overwrite", "resume", "summary", "report", "traps", "config"];

/// Flags that the client uses itself and does not send.
const CLIENT_FLAGS: [&str; 12] = [
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

/// The flags that locate the service. They can also be set in the environment.
const LOCATION_FLAGS: [&str; 4] = ["socket", "url", "token-file", "ca"];

/// The flags that name files.
const FILE_FLAGS: [&str; 3] = ["input", "paths", "files"];

/// The files on the command line, by flag.
type Typed = BTreeMap<&'static str, Vec<PathBuf>>;

/// Whether a command talks to a service.
pub(super) fn is_client(path: &[String]) -> bool {
    matches!(path.first().map(String::as_str), Some("submit" | "jobs" | "results" | "cancel" | "status"))
}

/// Returns the flags of a client command that can be set in the environment.
pub(super) fn from_environment<'a>(root: &'a Command, path: &[String]) -> Vec<&'a Arg> {
    let arguments = settings::arguments(root, path);
    arguments.into_iter().filter(|arg| LOCATION_FLAGS.contains(&key(arg)) || key(arg) == "quiet").collect()
}

/// Hides the flags that `submit` refuses from its help.
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

/// Builds the client's order from the flags.
pub(super) fn order(
    verb: Verb,
    (root, path, matches): (&Command, &[String], &ArgMatches),
    env: &Environment<'_>,
) -> Result<ClientCommand, Problem> {
    if !matches!(verb, Verb::Submit(_)) {
        refuse_pool_flags(root, matches)?;
    }
    let (service, operation) = match verb {
        Verb::Submit(SubmitFlags { service, name, priority, idempotency_key, wait, verb }) => {
            let submitted = (root, path, matches);
            let (mut document, mut typed) = document(verb.is_some(), submitted)?;
            request::inline(&mut document)?;
            login::inline(&mut document, env)?;
            document.extend(name.map(|name| ("name".to_owned(), name.into())));
            document.extend(priority.map(|priority| ("priority".to_owned(), priority.into())));
            let files = files(&mut document, &mut typed)?;
            let (progress, quiet) = (when(progress(matches)), matches.get_flag("quiet"));
            (service, Operation::Submit(Submit { document, files, idempotency_key, wait, progress, quiet }))
        }
        Verb::Jobs(JobsFlags { state, limit, service, verb }) => {
            let operation = match verb {
                None => {
                    let names = state.iter().filter_map(|state| state.to_possible_value());
                    Operation::Jobs { states: names.map(|name| name.get_name().to_owned()).collect(), limit }
                }
                Some(JobsVerb::Pause(job)) => Operation::ActOn(job.id, JobAction::Pause),
                Some(JobsVerb::Resume(job)) => Operation::ActOn(job.id, JobAction::Resume),
                Some(JobsVerb::RetryFailed(job)) => Operation::ActOn(job.id, JobAction::RetryFailed),
                Some(JobsVerb::Remove(job)) => Operation::ActOn(job.id, JobAction::Remove),
            };
            (service, operation)
        }
        Verb::Results(ResultsFlags { job, follow, from, only, output, overwrite, service }) => {
            let only = only.and_then(|only| only.to_possible_value()).map(|only| only.get_name().to_owned());
            let output = (output != Path::new("-")).then_some(output);
            (service, Operation::Results(Results { id: job.id, follow, from, only, output, overwrite }))
        }
        Verb::Cancel(CancelFlags { job, service }) => (service, Operation::ActOn(job.id, JobAction::Cancel)),
        Verb::Status(StatusFlags { id: Some(id), service }) => (service, Operation::Job(id)),
        Verb::Status(StatusFlags { id: None, service }) => (service, Operation::Status),
        Verb::Fetch(_)
        | Verb::Crawl(_)
        | Verb::Parse(_)
        | Verb::Map(_)
        | Verb::Csv(_)
        | Verb::Compare(_)
        | Verb::Advise(_)
        | Verb::Serve(_)
        | Verb::Completions { .. }
        | Verb::Man { .. } => {
            return Err(Problem::Usage("this command does not talk to a service".to_owned()));
        }
    };
    let json = service.json;
    Ok(ClientCommand { address: service_address(service, matches, env)?, json, operation })
}

/// Refuses pool flags: the service sets its own workers.
fn refuse_pool_flags(root: &Command, matches: &ArgMatches) -> Result<(), Problem> {
    let typed = root.get_arguments().find(|arg| {
        let id = arg.get_id().as_str();
        !matches!(id, "help" | "version" | "quiet")
            && matches.value_source(id) == Some(ValueSource::CommandLine)
    });
    match typed {
        Some(arg) => Err(Problem::Usage(format!(
            "--{} has no effect on a command that talks to a service; leave it out",
            key(arg)
        ))),
        None => Ok(()),
    }
}

/// Locates the service: by the flags, else by the environment, else at the first default socket that exists.
fn service_address(
    flags: ServiceFlags,
    matches: &ArgMatches,
    env: &Environment<'_>,
) -> Result<ServiceAddress, Problem> {
    let mut below = matches;
    while let Some((_, next)) = below.subcommand() {
        below = next;
    }
    let typed = |id: &str| below.value_source(id) == Some(ValueSource::CommandLine);
    if typed("socket") && typed("url") {
        return Err(Problem::Usage("--socket and --url exclude each other; give one".to_owned()));
    }
    let (token_file, ca) = (flags.token_file, flags.ca);
    match (flags.socket, flags.url) {
        (Some(socket), url) if typed("socket") || url.is_none() => Ok(ServiceAddress::Socket(socket)),
        (_, Some(url)) => {
            let parsed = url::Url::parse(&url).ok().filter(|url| {
                matches!(url.scheme(), "http" | "https") && url.has_host() && matches!(url.path(), "" | "/")
            });
            match parsed {
                Some(url) => Ok(ServiceAddress::Url { url, token_file, ca }),
                None => Err(Problem::Usage(format!(
                    "--url {url}: give scheme, host and port only, such as https://muster.example:8443; the template for a job's \
                     URLs is --request-url"
                ))),
            }
        }
        (_, None) => Ok(ServiceAddress::Socket(default_socket(env))),
    }
}

/// The first existing socket where `serve` or the packaged systemd unit creates one.
fn default_socket(env: &Environment<'_>) -> PathBuf {
    let set = |name: &str| (env.variable)(name).filter(|value| !value.is_empty()).map(PathBuf::from);
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

/// Builds the job document: the job file, with the command line over it. Files named on the command line are
/// returned apart. They are sent along, and their names need not be UTF-8 as JSON strings must.
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
                "nothing to submit: give a command with its flags, such as `submit fetch -i urls.txt`, or --job FILE"
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
        if !typed || CLIENT_FLAGS.contains(&key) {
            continue;
        }
        if NOT_SUBMITTED.contains(&key) {
            return Err(Problem::Usage(format!(
                "--{key} is for local runs; the service keeps a job's records, and `supervisor results ID` prints them"
            )));
        }
        let raw: Vec<OsString> = below.get_raw(id).into_iter().flatten().map(OsString::from).collect();
        if let Some(key) = FILE_FLAGS.into_iter().find(|files| *files == key) {
            files.insert(key, raw.into_iter().map(PathBuf::from).collect());
        } else {
            document.insert(request::key_in_document(key).to_owned(), value(arg, raw)?);
        }
    }
    Ok((document, files))
}

/// Converts the values of one flag to JSON.
fn value(arg: &Arg, raw: Vec<OsString>) -> Result<Value, Problem> {
    let text = |raw: OsString| {
        raw.into_string().map_err(|raw| {
            Problem::Usage(format!("{}: cannot send {}: it is not UTF-8", key(arg), raw.to_string_lossy()))
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

/// Reads a job file, with hyphens in its keys.
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

/// Returns the local files to send: those on the command line, else those that it takes out of the document.
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
                "`submit parse` cannot send a list of files (-i); name the files or their directory"
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
