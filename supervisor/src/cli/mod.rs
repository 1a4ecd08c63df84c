//! The command line: from what was typed, set and written in files to a
//! [`Plan`], or to a refusal before anything is started.
//!
//! `flags` is what can be typed, `settings` fills in what was not, `resolve`
//! decides what it means, `disk` looks whether it can be done. Nothing behind
//! this module reads a flag, a variable or a configuration file.

mod amounts;
mod client;
mod csv;
mod disk;
mod document;
mod encoding;
mod flags;
mod help;
mod inputs;
mod manual;
mod object;
mod parts;
mod problem;
mod program;
mod resolve;
mod serve;
mod settings;
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

pub(crate) use self::document::{command, job};
use self::flags::Flags;
pub(crate) use self::manual::{write_completions, write_man_pages};
use self::problem::Problem;
use self::settings::{Settings, SettingsFile};
use crate::client::Order;
use crate::config::ServiceConfig;
use crate::logs::{LogFormat, LogLevel};
use crate::outcome::Refusal;
use crate::plan::{Comparison, Plan};

/// The commands that run a job, which are those a job file may name.
const RUNNABLE: [&str; 6] = ["fetch", "parse", "map", "csv", "compare fetch", "compare parse"];

/// What is asked for.
#[derive(Debug)]
pub(crate) enum Request {
    /// One run.
    Run(Box<Plan>),
    /// The same run in every mode.
    Compare(Box<Comparison>),
    /// A service.
    Serve(Box<ServiceConfig>, LogFormat, LogLevel),
    /// Something asked of a service.
    Client(Box<Order>),
    /// A completion script on stdout; see [`write_completions`].
    Completions(Shell),
    /// Man pages in a directory; see [`write_man_pages`].
    ManPages(PathBuf),
}

/// What the command line is read in; given, so that a test can set it.
pub(crate) struct Surroundings<'a> {
    /// Looks a variable up.
    pub(crate) variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// The config file that is read when none is named, if it exists.
    pub(crate) config: &'a Path,
    /// Whether nothing is piped in.
    pub(crate) stdin_is_terminal: bool,
    /// Files of flags that were read.
    pub(crate) texts: Texts,
}

/// Files of flags, each read once: a pipe has nothing to say a second time.
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

/// The definitions that everything is read off.
fn definitions() -> Command {
    client::hide_unsubmitted(Flags::command())
}

/// Reads a command line, the program's name first.
///
/// # Errors
/// Help and version, when that is what was asked for; what is wrong, otherwise.
pub(crate) fn parse(argv: Vec<OsString>, around: &Surroundings<'_>) -> Result<Request, Refusal> {
    let root = definitions();
    let (argv, matches) = with_command(&root, argv, around)?;
    let path = command_path(&matches);
    let root = match file_settings(&root, &path, &matches, around).and_then(|s| s.into_defaults(root, &path))
    {
        Ok(root) => root,
        Err(message) => return Err(usage(&path, &message)),
    };
    let matches = root.clone().try_get_matches_from(argv)?;
    let typed = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let flags = Flags::from_arg_matches(&matches)?;
    let request = match flags.verb {
        Some(verb) if client::is_client(&path) => client::order(verb, (&root, &path, &matches), around)
            .map(|order| Request::Client(Box::new(order))),
        verb => resolve::request(Flags { verb, ..flags }, &typed, around),
    };
    request.map_err(|problem| match problem {
        Problem::Usage(message) => usage(&path, &message),
        Problem::Impossible(message) => Refusal::Impossible(message),
    })
}

/// The words of the command that was given, such as `compare`, `fetch`.
fn command_path(matches: &ArgMatches) -> Vec<String> {
    let mut path = Vec::new();
    let mut matches = matches;
    while let Some((name, below)) = matches.subcommand() {
        path.push(name.to_owned());
        matches = below;
    }
    path
}

fn is_whole(path: &[String]) -> bool {
    match path {
        [] => false,
        [verb] => verb != "compare",
        [_, ..] => true,
    }
}

/// First reading. With `--job` the command may be in the file instead, and what
/// `compare` compares is `fetch` unless it is told otherwise.
fn with_command(
    root: &Command,
    argv: Vec<OsString>,
    around: &Surroundings<'_>,
) -> Result<(Vec<OsString>, ArgMatches), Refusal> {
    let compares = argv.iter().any(|word| word == "compare");
    let incomplete = match root.clone().try_get_matches_from(&argv) {
        Ok(matches) if is_whole(&command_path(&matches)) => return Ok((argv, matches)),
        Ok(matches) => missing_command(&command_path(&matches)),
        // The flags of a command that is not known yet are unknown flags, and its inputs are no commands.
        Err(error) if error.kind() == ErrorKind::UnknownArgument => error.into(),
        Err(error) if error.kind() == ErrorKind::InvalidSubcommand && compares => error.into(),
        Err(error) => return Err(error.into()),
    };
    if let Some(found) = with_jobs_command(root, &argv, around)? {
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
        // What stands there may be the service's.
        None => Ok(with_service(root, argv).ok_or(incomplete)?),
    }
}

/// Puts `serve` where no command was typed.
fn with_service(root: &Command, mut argv: Vec<OsString>) -> Option<(Vec<OsString>, ArgMatches)> {
    argv.insert(1.min(argv.len()), "serve".into());
    let matches = root.clone().try_get_matches_from(&argv).ok()?;
    Some((argv, matches))
}

/// Puts the command of the job file where none was typed, if a job file was given.
fn with_jobs_command(
    root: &Command,
    argv: &[OsString],
    around: &Surroundings<'_>,
) -> Result<Option<(Vec<OsString>, ArgMatches)>, Refusal> {
    let compare = argv.iter().position(|word| word == "compare");
    let at = compare.map_or(1, |compare| compare + 1);
    let with = |words: &[String]| {
        let mut argv = argv.to_vec();
        let rest = argv.split_off(at.min(argv.len()));
        argv.extend(words.iter().map(OsString::from));
        argv.extend(rest);
        argv
    };
    // Which command it is stands in the file, and where the file is stands among
    // flags that only make sense with the command: so try each.
    let job = ["fetch", "parse", "map", "csv"].iter().find_map(|verb| {
        let matches = root.clone().try_get_matches_from(with(&[(*verb).to_owned()])).ok()?;
        file_flag(&matches, "job", around)
    });
    let Some(job) = job else { return Ok(None) };
    let mut words = job_command(&job, around).map_err(|message| usage(&[], &message))?;
    if compare.is_some() && words.first().is_some_and(|word| word == "compare") {
        words.remove(0);
    }
    let argv = with(&words);
    let matches = root.clone().try_get_matches_from(&argv)?;
    Ok(Some((argv, matches)))
}

/// The command a job file is for.
fn job_command(job: &Path, around: &Surroundings<'_>) -> Result<Vec<String>, String> {
    let text = around.texts.read(job)?;
    match SettingsFile::parse(job, &text)?.take_command()? {
        None => Err(format!("{}: no command; add command = \"fetch\", or type it", job.display())),
        Some((words, place)) if !RUNNABLE.contains(&words.join(" ").as_str()) => {
            Err(format!("{place}: command is \"{}\"; it is one of: {}", words.join(" "), RUNNABLE.join(", ")))
        }
        Some((words, _)) => Ok(words),
    }
}

/// What is set for the command on `path`, and not typed.
fn file_settings(
    root: &Command,
    path: &[String],
    matches: &ArgMatches,
    around: &Surroundings<'_>,
) -> Result<Settings, String> {
    if client::is_client(path) {
        let flags = client::from_environment(root, path);
        return Ok(Settings::from_environment(&flags, around.variable));
    }
    let command = path.join(" ");
    if !RUNNABLE.contains(&command.as_str()) && command != "serve" {
        return Ok(Settings::default());
    }
    let environment = Settings::from_environment(&settings::arguments(root, path), around.variable);
    let job = match file_flag(matches, "job", around) {
        Some(job) => job_settings(root, path, &job, around)?,
        None => Settings::default(),
    };
    Ok(environment.or(job).or(config_settings(root, matches, around)?))
}

fn job_settings(
    root: &Command,
    path: &[String],
    job: &Path,
    around: &Surroundings<'_>,
) -> Result<Settings, String> {
    let text = around.texts.read(job)?;
    let mut file = SettingsFile::parse(job, &text)?;
    let command = file.take_command()?;
    let own = match &command {
        // A job for `fetch` can be compared as it stands.
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
    file.settings(&settings::arguments(root, own), &["command"])
}

fn config_settings(
    root: &Command,
    matches: &ArgMatches,
    around: &Surroundings<'_>,
) -> Result<Settings, String> {
    let (path, text) = match file_flag(matches, "config", around) {
        Some(path) => {
            let text = around.texts.read(&path)?;
            (path, text)
        }
        None => match fs::read_to_string(around.config) {
            Ok(text) => (around.config.to_owned(), text),
            // It is the machine's, and may be for the service's eyes only.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) =>
            {
                return Ok(Settings::default());
            }
            Err(error) => return Err(unreadable(around.config, &error)),
        },
    };
    SettingsFile::parse(&path, &text)?.settings(&settings::all_flags(root), &[])
}

/// The file a flag names, or its variable does.
fn file_flag(matches: &ArgMatches, name: &str, around: &Surroundings<'_>) -> Option<PathBuf> {
    let set = || (around.variable)(&settings::variable(name)).filter(|value| !value.is_empty());
    matches.get_one::<PathBuf>(name).cloned().or_else(|| set().map(PathBuf::from))
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}

/// An error that ends with how the command is used.
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
    command.error(ErrorKind::ValueValidation, message)
}

/// The help, as an error: nothing can be done without a command.
fn missing_command(path: &[String]) -> Refusal {
    let mut root = definitions().arg_required_else_help(true);
    for name in path {
        root = root.mut_subcommand(name, |command| command.arg_required_else_help(true));
    }
    let argv = std::iter::once("supervisor").chain(path.iter().map(String::as_str));
    match root.try_get_matches_from(argv) {
        Err(help) => help.into(),
        Ok(_) => usage(path, "no command"),
    }
}

#[cfg(test)]
mod tests;
