//! The command line: turns flags, environment variables and files into a [`Plan`], or refuses them before
//! anything is started.
//!
//! `flags` defines the flags, `settings` reads those that are not on the command line, `resolve` interprets
//! them, and `disk` checks the files. Code outside this module reads no flag, variable or configuration file.

mod amounts;
mod client;
mod crawl;
mod csv;
mod disk;
mod document;
mod encoding;
mod flags;
mod help;
mod inputs;
mod login;
mod manual;
mod next;
mod object;
mod parts;
mod problem;
mod program;
mod proxies;
mod request;
mod resolve;
mod save;
mod serve;
mod settings;
mod since;
mod tables;
mod values;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory as _, FromArgMatches as _};
use clap_complete::Shell;
use shared::redact;

pub(crate) use self::document::{NoJob, check, command, job};
use self::flags::Flags;
pub(crate) use self::manual::{write_completions, write_man_pages};
use self::problem::Problem;
use self::settings::{Settings, SettingsFile};
use crate::client::ClientCommand;
use crate::config::ServiceConfig;
use crate::logs::{LogFormat, LogLevel};
use crate::outcome::Refusal;
use crate::plan::{Comparison, Plan, Survey};

/// The commands that run a job. A job file can name each of them.
const RUNNABLE: [&str; 9] = [
    "fetch",
    "crawl",
    "parse",
    "map",
    "csv",
    "compare fetch",
    "compare parse",
    "advise fetch",
    "advise parse",
];

/// The commands that run another command, which is named after them.
const OVER_OTHERS: [&str; 2] = ["compare", "advise"];

/// What a command line asks for.
#[derive(Debug)]
pub(crate) enum Invocation {
    /// A run of one job.
    Run(Box<Plan>),
    /// The same run in all four modes.
    Compare(Box<Comparison>),
    /// A sample of the same job.
    Advise(Box<Survey>),
    /// A service.
    Serve(Box<ServiceConfig>, LogFormat, LogLevel),
    /// A request to a service.
    Client(Box<ClientCommand>),
    /// A completion script on standard output; see [`write_completions`].
    Completions(Shell),
    /// Man pages in a directory; see [`write_man_pages`].
    ManPages(PathBuf),
}

/// The environment of the command line, as an argument so that tests can set it.
pub(crate) struct Environment<'a> {
    /// Looks up an environment variable.
    pub(crate) variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// The config file that is read if it exists and no other is named.
    pub(crate) config: &'a Path,
    /// Whether standard input is a terminal.
    pub(crate) stdin_is_terminal: bool,
    /// Whether a process of its own reads each list.
    pub(crate) isolates_lists: bool,
    /// The directories that files of requests must be in; `None` is anywhere.
    pub(crate) readable: Option<&'a [PathBuf]>,
    /// Most CSV files whose headers are read.
    pub(crate) headers_max: usize,
    /// The files of flags read so far.
    pub(crate) texts: Texts,
}

/// Files of flags, each read once, because a pipe cannot be read again.
#[derive(Debug, Default)]
pub(crate) struct Texts(RefCell<BTreeMap<PathBuf, String>>);

impl Texts {
    fn read(&self, path: &Path) -> Result<String, String> {
        if let Some(text) = self.0.borrow().get(path) {
            return Ok(text.clone());
        }
        let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
        self.0.borrow_mut().insert(path.to_owned(), text.clone());
        Ok(text)
    }
}

/// Returns the definitions of all commands and flags.
fn definitions() -> Command {
    client::hide_unsubmitted(crawl::obedient(request::renamed(Flags::command())))
}

/// Parses a command line that begins with the program's name.
///
/// # Errors
/// The help or the version if the command line asks for it, else what is wrong with it.
pub(crate) fn parse(argv: Vec<OsString>, env: &Environment<'_>) -> Result<Invocation, Refusal> {
    let root = definitions();
    let (argv, matches) = with_command(&root, argv, env)?;
    let path = command_path(&matches);
    let root = match file_settings(&root, &path, &matches, env).and_then(|s| s.into_defaults(root, &path)) {
        Ok(root) => root,
        Err(message) => return Err(usage(&path, &message)),
    };
    let matches = root.clone().try_get_matches_from(argv)?;
    let typed = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let flags = Flags::from_arg_matches(&matches)?;
    let request = match flags.verb {
        Some(verb) if client::is_client(&path) => client::order(verb, (&root, &path, &matches), env)
            .map(|order| Invocation::Client(Box::new(order))),
        verb => resolve::request(Flags { verb, ..flags }, &typed, env),
    };
    request.map_err(|problem| match problem {
        Problem::Usage(message) => usage(&path, &message),
        Problem::Impossible(message) | Problem::Short(message) => Refusal::Impossible(message),
    })
}

/// Returns the words of the command, such as `compare`, `fetch`.
fn command_path(matches: &ArgMatches) -> Vec<String> {
    let mut path = Vec::new();
    let mut matches = matches;
    while let Some((name, below)) = matches.subcommand() {
        path.push(name.to_owned());
        matches = below;
    }
    path
}

fn is_complete(path: &[String]) -> bool {
    match path {
        [] => false,
        [verb] => !OVER_OTHERS.contains(&verb.as_str()),
        [_, ..] => true,
    }
}

/// Parses the command line a first time, to find the command. It may be in the `--job` file instead, and the
/// default command of `compare` is `fetch`.
fn with_command(
    root: &Command,
    argv: Vec<OsString>,
    env: &Environment<'_>,
) -> Result<(Vec<OsString>, ArgMatches), Refusal> {
    let compares = argv.iter().any(|word| word == "compare");
    let incomplete = match root.clone().try_get_matches_from(&argv) {
        Ok(matches) if is_complete(&command_path(&matches)) => return Ok((argv, matches)),
        Ok(matches) => missing_command(&command_path(&matches)),
        // Until the command is known, its flags and inputs are errors.
        Err(error) if error.kind() == ErrorKind::UnknownArgument => error.into(),
        Err(error) if error.kind() == ErrorKind::InvalidSubcommand && compares => error.into(),
        Err(error) => return Err(error.into()),
    };
    if let Some(found) = with_jobs_command(root, &argv, env)? {
        return Ok(found);
    }
    match argv.iter().position(|word| word == "compare") {
        Some(at) if at + 1 < argv.len() && !argv.iter().any(|word| word == "fetch" || word == "parse") => {
            let mut argv = argv;
            argv.insert(at + 1, "fetch".into());
            let matches = root.clone().try_get_matches_from(&argv)?;
            Ok((argv, matches))
        }
        Some(_) => Err(incomplete),
        // The flags may be those of `serve`.
        None => Ok(with_service(root, argv).ok_or(incomplete)?),
    }
}

/// Inserts `serve` into a command line without command.
fn with_service(root: &Command, mut argv: Vec<OsString>) -> Option<(Vec<OsString>, ArgMatches)> {
    argv.insert(1.min(argv.len()), "serve".into());
    let matches = root.clone().try_get_matches_from(&argv).ok()?;
    Some((argv, matches))
}

/// Inserts the command of the job file into a command line without command, if it names a job file.
fn with_jobs_command(
    root: &Command,
    argv: &[OsString],
    env: &Environment<'_>,
) -> Result<Option<(Vec<OsString>, ArgMatches)>, Refusal> {
    let over = argv.iter().position(|word| OVER_OTHERS.iter().any(|over| word == over));
    let at = over.map_or(1, |over| over + 1);
    let with = |words: &[String]| {
        let mut argv = argv.to_vec();
        let rest = argv.split_off(at.min(argv.len()));
        argv.extend(words.iter().map(OsString::from));
        argv.extend(rest);
        argv
    };
    // The command is in the file, and clap finds the flag that names the file only once the command is known.
    // So try each command.
    let job = ["fetch", "crawl", "parse", "map", "csv"].iter().find_map(|verb| {
        let matches = root.clone().try_get_matches_from(with(&[(*verb).to_owned()])).ok()?;
        file_flag(&matches, "job", env)
    });
    let Some(job) = job else { return Ok(None) };
    let mut words = job_command(&job, env).map_err(|message| usage(&[], &message))?;
    if over
        .and_then(|over| argv.get(over))
        .zip(words.first())
        .is_some_and(|(over, word)| over == word.as_str())
    {
        words.remove(0);
    }
    let argv = with(&words);
    let matches = root.clone().try_get_matches_from(&argv)?;
    Ok(Some((argv, matches)))
}

/// Returns the command of a job file.
fn job_command(job: &Path, env: &Environment<'_>) -> Result<Vec<String>, String> {
    let text = env.texts.read(job)?;
    match SettingsFile::parse(job, &text)?.take_command()? {
        None => Err(format!(
            "{}: no command; add command = \"fetch\" to the file, or give it on the command line",
            job.display()
        )),
        Some((words, place)) if !RUNNABLE.contains(&words.join(" ").as_str()) => {
            Err(format!("{place}: command is \"{}\"; use one of: {}", words.join(" "), RUNNABLE.join(", ")))
        }
        Some((words, _)) => Ok(words),
    }
}

/// Returns the settings for the command at `path` from the environment and files.
fn file_settings(
    root: &Command,
    path: &[String],
    matches: &ArgMatches,
    env: &Environment<'_>,
) -> Result<Settings, String> {
    if client::is_client(path) {
        let flags = client::from_environment(root, path);
        return Ok(Settings::from_environment(&flags, env.variable));
    }
    let command = path.join(" ");
    if !RUNNABLE.contains(&command.as_str()) && command != "serve" {
        return Ok(Settings::default());
    }
    let environment = Settings::from_environment(&settings::arguments(root, path), env.variable);
    let job = match file_flag(matches, "job", env) {
        Some(job) => job_settings(root, path, &job, env)?,
        None => Settings::default(),
    };
    Ok(environment.or(job).or(config_settings(root, matches, env)?))
}

fn job_settings(
    root: &Command,
    path: &[String],
    job: &Path,
    env: &Environment<'_>,
) -> Result<Settings, String> {
    let text = env.texts.read(job)?;
    let mut file = SettingsFile::parse(job, &text)?;
    let command = file.take_command()?;
    let own = match &command {
        // A job file for `fetch` also works with `compare` and `advise`.
        Some((words, place)) if !path.ends_with(words) => {
            return Err(format!(
                "{place}: the job's command is \"{}\", not \"{}\"",
                words.join(" "),
                path.join(" ")
            ));
        }
        Some((words, _)) => words.as_slice(),
        None => path,
    };
    let settings = file.settings(&settings::arguments(root, own), &["command"])?;
    Ok(if own == path { settings } else { settings.renamed_for(&settings::arguments(root, path)) })
}

fn config_settings(root: &Command, matches: &ArgMatches, env: &Environment<'_>) -> Result<Settings, String> {
    let (path, text) = match file_flag(matches, "config", env) {
        Some(path) => {
            let text = env.texts.read(&path)?;
            (path, text)
        }
        None => match fs::read_to_string(env.config) {
            Ok(text) => (env.config.to_owned(), text),
            // The file belongs to the machine and may be readable for the service only.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) =>
            {
                return Ok(Settings::default());
            }
            Err(error) => return Err(unreadable(env.config, &error)),
        },
    };
    SettingsFile::parse(&path, &text)?.settings(&settings::all_flags(root), &[])
}

/// Returns the file that a flag, or else its variable, names.
fn file_flag(matches: &ArgMatches, name: &str, env: &Environment<'_>) -> Option<PathBuf> {
    let set = || (env.variable)(&settings::variable(name)).filter(|value| !value.is_empty());
    matches.get_one::<PathBuf>(name).cloned().or_else(|| set().map(PathBuf::from))
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}

/// Makes a usage error for the command at `path`.
fn usage(path: &[String], message: &str) -> Refusal {
    let mut root = definitions();
    root.build();
    error_of(&mut root, path, message).into()
}

fn error_of(command: &mut Command, path: &[String], message: &str) -> clap::Error {
    if let Some((name, below)) = path.split_first()
        && let Some(command) = command.find_subcommand_mut(name)
    {
        return error_of(command, below, message);
    }
    command.error(ErrorKind::ValueValidation, redact::text(message))
}

/// Returns the help as an error, for a command line that lacks a command.
fn missing_command(path: &[String]) -> Refusal {
    let mut root = definitions().arg_required_else_help(true);
    for name in path {
        root = root.mut_subcommand(name, |command| command.arg_required_else_help(true));
    }
    let argv = std::iter::once("supervisor").chain(path.iter().map(String::as_str));
    match root.try_get_matches_from(argv) {
        Err(help) => help.into(),
        Ok(_) => usage(path, "no command was given"),
    }
}

#[cfg(test)]
mod tests;
