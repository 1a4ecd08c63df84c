//! Flags that were not typed: from the environment, the job file and the config
//! file. Each becomes the default of its flag for a second reading of the
//! command line, so clap itself decides what wins and what is well formed.
//!
//! Knows no flag by name: what may be set is whatever the definitions hold.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use clap::{Arg, ArgAction, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::nearest::nearest;

/// Where files of flags come from cannot itself be said in one.
const NOT_IN_FILES: [&str; 2] = ["config", "job"];

/// Values of one flag, and where they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    values: Vec<OsString>,
    /// `job.toml:3` or a variable's name.
    place: String,
}

/// Values of some flags, by their long name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settings(BTreeMap<String, Setting>);

/// The name an argument has in files: its long flag, or what a positional one is called.
pub(super) fn key(arg: &Arg) -> &str {
    arg.get_long().unwrap_or_else(|| arg.get_id().as_str())
}

/// The arguments of a command and of those that lead to it.
pub(super) fn arguments<'a>(root: &'a Command, path: &[String]) -> Vec<&'a Arg> {
    let mut arguments: Vec<&Arg> = root.get_arguments().collect();
    let mut command = root;
    for name in path {
        let Some(next) = command.find_subcommand(name) else {
            break;
        };
        arguments.extend(next.get_arguments());
        command = next;
    }
    arguments
}

/// The flags of every command: what a config file may hold, since it serves them all.
pub(super) fn all_flags(root: &Command) -> Vec<&Arg> {
    let below = root.get_subcommands().flat_map(all_flags);
    root.get_arguments().filter(|arg| arg.get_long().is_some()).chain(below).collect()
}

pub(super) fn is_repeatable(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// A flag that may be given alone.
pub(super) fn is_switch(arg: &Arg) -> bool {
    arg.get_value_parser().type_id() == std::any::TypeId::of::<bool>()
}

/// Name of the variable that stands for a flag.
pub(super) fn variable(long: &str) -> String {
    format!("MUSTER_{}", long.replace('-', "_").to_uppercase())
}

impl Settings {
    /// What the environment says about `arguments`. An empty variable says nothing.
    pub(super) fn from_environment(arguments: &[&Arg], get: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let mut settings = Self::default();
        for arg in arguments {
            let Some(long) = arg.get_long() else { continue };
            let place = variable(long);
            let Some(value) = get(&place).filter(|value| !value.is_empty()) else {
                continue;
            };
            let values = if is_repeatable(arg) {
                let lines = value.as_bytes().split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
                lines.map(|line| OsStr::from_bytes(line).to_owned()).collect()
            } else {
                vec![value]
            };
            settings.0.insert(long.to_owned(), Setting { values, place });
        }
        settings
    }

    /// Adds what `weaker` says and `self` does not.
    pub(super) fn or(mut self, weaker: Self) -> Self {
        for (key, setting) in weaker.0 {
            self.0.entry(key).or_insert(setting);
        }
        self
    }

    /// Makes these settings the defaults of the commands on `path`, which is the
    /// one that was asked for.
    ///
    /// # Errors
    /// The first value that its flag does not take, with its place.
    pub(super) fn into_defaults(self, root: Command, path: &[String]) -> Result<Command, String> {
        for arg in arguments(&root, path) {
            if let Some(setting) = self.0.get(key(arg)) {
                check(arg, setting)?;
            }
        }
        Ok(self.defaults(root, path))
    }

    fn defaults(&self, command: Command, path: &[String]) -> Command {
        let command = command.mut_args(|arg| match self.0.get(key(&arg)) {
            Some(setting) => arg.default_values(setting.values.clone()),
            None => arg,
        });
        match path.split_first() {
            Some((name, below)) => command.mut_subcommand(name, |command| self.defaults(command, below)),
            None => command,
        }
    }
}

/// Has clap parse the values as if they had been typed, to learn what it would say.
fn check(arg: &Arg, setting: &Setting) -> Result<(), String> {
    let mut alone = Command::new("check").no_binary_name(true).disable_help_flag(true);
    alone = alone.arg(arg.clone().required(false));
    let typed = setting.values.iter().map(|value| match arg.get_long() {
        Some(long) => {
            let mut typed = OsString::from(format!("--{long}="));
            typed.push(value);
            typed
        }
        None => value.clone(),
    });
    let first = arg.get_long().is_none().then(|| OsString::from("--"));
    match alone.try_get_matches_from(first.into_iter().chain(typed)) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{}: {}", setting.place, first_paragraph(&error))),
    }
}

/// What clap says, without its usage lines.
fn first_paragraph(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines: Vec<&str> = text
        .lines()
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let joined = lines.join(" ");
    joined.strip_prefix("error: ").map_or_else(|| joined.clone(), str::to_owned)
}

/// A file of flags, as parsed.
pub(super) struct SettingsFile<'a> {
    /// For messages.
    path: &'a Path,
    text: &'a str,
    table: DeTable<'a>,
}

impl<'a> SettingsFile<'a> {
    /// Parses the text of `path`.
    pub(super) fn parse(path: &'a Path, text: &'a str) -> Result<Self, String> {
        match DeTable::parse(text) {
            Ok(table) => Ok(Self { path, text, table: table.into_inner() }),
            Err(error) => {
                let at = error.span().map_or(0, |span| span.start);
                Err(format!("{}:{}: not TOML: {}", path.display(), line(text, at), error.message()))
            }
        }
    }

    /// Takes out the job file's `command`, as words.
    pub(super) fn take_command(&mut self) -> Result<Option<(Vec<String>, String)>, String> {
        let Some(key) = self.table.keys().find(|key| key.get_ref() == "command").cloned() else {
            return Ok(None);
        };
        let place = self.place(&key);
        match self.table.remove(&key).as_ref().and_then(|value| value.get_ref().as_str()) {
            Some(command) => Ok(Some((command.split_whitespace().map(str::to_owned).collect(), place))),
            None => Err(format!("{place}: \"command\" takes a string, such as \"fetch\"")),
        }
    }

    /// Checks every key against `allowed` and takes its values.
    pub(super) fn settings(&self, allowed: &[&Arg], also: &[&str]) -> Result<Settings, String> {
        let mut settings = Settings::default();
        for (name, value) in &self.table {
            let place = self.place(name);
            let wanted = name.get_ref().replace('_', "-");
            let arg = allowed.iter().find(|arg| key(arg) == wanted && !NOT_IN_FILES.contains(&key(arg)));
            let Some(arg) = arg else {
                let names = allowed.iter().map(|arg| key(arg)).filter(|name| !NOT_IN_FILES.contains(name));
                return Err(match nearest(&wanted, names.chain(also.iter().copied())) {
                    Some(near) => {
                        format!("{place}: unknown key \"{}\"; did you mean \"{near}\"?", name.get_ref())
                    }
                    None => format!(
                        "{place}: unknown key \"{}\"; the keys are the flags' long names",
                        name.get_ref()
                    ),
                });
            };
            let values = values(arg, value.get_ref()).map_err(|problem| format!("{place}: {problem}"))?;
            if settings.0.insert(wanted.clone(), Setting { values, place: place.clone() }).is_some() {
                return Err(format!("{place}: \"{wanted}\" is set twice, once with - and once with _"));
            }
        }
        Ok(settings)
    }

    fn place<T>(&self, at: &Spanned<T>) -> String {
        format!("{}:{}", self.path.display(), line(self.text, at.span().start))
    }
}

fn line(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

/// The values in a file, as they would be typed.
fn values(arg: &Arg, value: &DeValue<'_>) -> Result<Vec<OsString>, String> {
    if let DeValue::Array(array) = value {
        if !is_repeatable(arg) {
            return Err(format!("\"{}\" takes one value, not a list", key(arg)));
        }
        return array.iter().map(|value| scalar(arg, value.get_ref())).collect();
    }
    Ok(vec![scalar(arg, value)?])
}

fn scalar(arg: &Arg, value: &DeValue<'_>) -> Result<OsString, String> {
    let typed = match value {
        DeValue::Boolean(on) if is_switch(arg) => Some(on.to_string()),
        DeValue::String(text) if !is_switch(arg) => Some(text.to_string()),
        DeValue::Integer(number) if !is_switch(arg) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string())
        }
        DeValue::Float(number) if !is_switch(arg) => Some(number.as_str().to_owned()),
        DeValue::Boolean(_)
        | DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => None,
    };
    typed.map(OsString::from).ok_or_else(|| {
        let takes = if is_switch(arg) {
            "true or false".to_owned()
        } else {
            arg.get_value_names().unwrap_or_default().iter().map(|name| name.as_str()).collect()
        };
        format!("\"{}\" takes {takes}, not this {}", key(arg), value.type_str())
    })
}
