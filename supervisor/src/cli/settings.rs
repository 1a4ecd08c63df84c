//! Settings from the environment, the job file and the config file. Each becomes the default of its flag, and
//! the command line is parsed a second time. So clap alone decides which value wins and which is well formed.
//!
//! No flag is named here: whatever the definitions hold can be set.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use clap::builder::Resettable;
use clap::{Arg, ArgAction, Command};
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::request;
use crate::nearest::nearest;
use crate::outcome::{first_paragraph, without_secrets};

/// Flags that name files of flags, which no such file can set.
const NOT_IN_FILES: [&str; 2] = ["config", "job"];

/// Values of one flag that are checked at a time, because the time that clap takes grows with their square.
const CHECKED_AT_ONCE: usize = 256;

/// The values of one flag, and their origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    values: Vec<OsString>,
    /// `job.toml:3` or a variable's name.
    place: String,
}

/// The values of flags, by long name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settings(BTreeMap<String, Setting>);

/// The key of an argument in files: its long flag, or the name of a positional argument.
pub(super) fn key(arg: &Arg) -> &str {
    arg.get_long().unwrap_or_else(|| arg.get_id().as_str())
}

/// Returns the arguments of a command and of its parent commands.
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

/// Returns the flags of every command. A config file can set them all.
pub(super) fn all_flags(root: &Command) -> Vec<&Arg> {
    let below = root.get_subcommands().flat_map(all_flags);
    root.get_arguments().filter(|arg| arg.get_long().is_some()).chain(below).collect()
}

pub(super) fn is_repeatable(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// Whether a flag can be given without a value.
pub(super) fn is_switch(arg: &Arg) -> bool {
    arg.get_value_parser().type_id() == std::any::TypeId::of::<bool>()
}

/// Whether the value of a flag is a table.
fn takes_table(arg: &Arg) -> bool {
    arg.get_value_names().is_some_and(|names| names.iter().any(|name| name.as_str() == "TABLE"))
}

/// Returns a value of a file as JSON.
fn json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::Boolean(on) => (*on).into(),
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or(Value::Null, Value::from)
        }
        DeValue::Float(number) => number.as_str().parse::<f64>().map_or(Value::Null, Value::from),
        DeValue::Array(array) => array.iter().map(|value| json(value.get_ref())).collect(),
        DeValue::Table(table) => {
            table.iter().map(|(name, value)| (name.get_ref().to_string(), json(value.get_ref()))).collect()
        }
        DeValue::Datetime(date) => date.to_string().into(),
    }
}

/// The name of a flag's environment variable.
pub(super) fn variable(long: &str) -> String {
    format!("MUSTER_{}", long.replace('-', "_").to_uppercase())
}

/// The keys that a document can have.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a> {
    /// The arguments that have a key.
    pub(super) allowed: &'a [&'a Arg],
    /// Keys among them that this document cannot have.
    pub(super) refused: &'a [&'a str],
    /// Other valid keys, for suggestions.
    pub(super) also: &'a [&'a str],
}

/// A value in a file or a document.
#[derive(Debug, Clone, PartialEq, Eq)]
enum SettingValue {
    Switch(bool),
    Text(String),
    Number(String),
    List(Vec<Self>),
    /// A table, as JSON.
    Table(String),
    /// A value that no flag takes, with the name of its type.
    Other(&'static str),
}

impl SettingValue {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Switch(_) => "boolean",
            Self::Text(_) => "string",
            Self::Number(_) => "number",
            Self::List(_) => "array",
            Self::Table(_) => "table",
            Self::Other(kind) => kind,
        }
    }
}

impl From<&DeValue<'_>> for SettingValue {
    fn from(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::Boolean(on) => Self::Switch(*on),
            DeValue::String(text) => Self::Text(text.to_string()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Self::Number(number.to_string()),
                Err(_) => Self::Other("integer"),
            },
            DeValue::Float(number) => Self::Number(number.as_str().to_owned()),
            DeValue::Array(array) => Self::List(array.iter().map(|value| value.get_ref().into()).collect()),
            DeValue::Table(_) => Self::Table(json(value).to_string()),
            DeValue::Datetime(_) => Self::Other(value.type_str()),
        }
    }
}

impl From<&Value> for SettingValue {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Other("null"),
            Value::Bool(on) => Self::Switch(*on),
            Value::Number(number) => Self::Number(number.to_string()),
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(array) => Self::List(array.iter().map(Self::from).collect()),
            Value::Object(_) => Self::Table(value.to_string()),
        }
    }
}

impl Settings {
    /// Reads the settings of a JSON document. Every key must be in `keys`.
    pub(super) fn from_document(keys: Keys<'_>, document: &Map<String, Value>) -> Result<Self, String> {
        let mut settings = Self::default();
        for (name, value) in document {
            settings.add(keys, name, &SettingValue::from(value), "the job")?;
        }
        Ok(settings)
    }

    /// Sets one flag, replacing an earlier value.
    pub(super) fn set(&mut self, key: &str, values: Vec<OsString>) {
        self.0.insert(key.to_owned(), Setting { values, place: "the job".to_owned() });
    }

    /// Returns the values of one flag.
    pub(super) fn get(&self, key: &str) -> &[OsString] {
        self.0.get(key).map_or(&[], |setting| &setting.values)
    }

    fn add(&mut self, keys: Keys<'_>, name: &str, value: &SettingValue, place: &str) -> Result<(), String> {
        let wanted = name.replace('_', "-");
        let arg = keys.allowed.iter().find(|arg| key(arg) == wanted && !keys.refused.contains(&key(arg)));
        let Some(arg) = arg else {
            let names = keys.allowed.iter().map(|arg| key(arg)).filter(|name| !keys.refused.contains(name));
            return Err(match nearest(&wanted, names.chain(keys.also.iter().copied())) {
                Some(near) => format!("unknown key \"{name}\"; did you mean \"{near}\"?"),
                None => format!("unknown key \"{name}\"; the keys are the flags' long names"),
            });
        };
        let values = values(arg, value)?;
        if self.0.insert(wanted.clone(), Setting { values, place: place.to_owned() }).is_some() {
            return Err(format!("\"{wanted}\" is set twice, once with - and once with _"));
        }
        Ok(())
    }

    /// Reads the settings of `arguments` from the environment. An empty variable counts as unset.
    pub(super) fn from_environment(arguments: &[&Arg], get: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let mut settings = Self::default();
        for arg in arguments {
            let Some(long) = arg.get_long() else { continue };
            let place = variable(&request::name_in_environment(arg, long));
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

    /// Renames the settings of another command's flags that are called otherwise among `arguments`.
    pub(super) fn renamed_for(self, arguments: &[&Arg]) -> Self {
        let renamed = |key: String| {
            let other = arguments.iter().map(|arg| self::key(arg));
            let mut other = other.filter(|other| request::key_in_document(other) == key && *other != key);
            other.next().map(str::to_owned).unwrap_or(key)
        };
        Self(self.0.into_iter().map(|(key, setting)| (renamed(key), setting)).collect())
    }

    /// Adds the settings of `weaker` that `self` does not have.
    pub(super) fn or(mut self, weaker: Self) -> Self {
        for (key, setting) in weaker.0 {
            self.0.entry(key).or_insert(setting);
        }
        self
    }

    /// Makes these settings the defaults of the commands on `path`.
    ///
    /// # Errors
    /// The first value that its flag does not accept, with its origin.
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

/// Lets clap parse the values as if they were on the command line, and returns its error.
fn check(arg: &Arg, setting: &Setting) -> Result<(), String> {
    setting.values.chunks(CHECKED_AT_ONCE).try_for_each(|values| check_some(arg, values, &setting.place))
}

fn check_some(arg: &Arg, values: &[OsString], place: &str) -> Result<(), String> {
    let mut alone = Command::new("check").no_binary_name(true).disable_help_flag(true);
    // What it needs or excludes is not there.
    let arg_alone = arg.clone().required(false).requires(Resettable::Reset).conflicts_with(Resettable::Reset);
    alone = alone.arg(arg_alone);
    let typed = values.iter().map(|value| match arg.get_long() {
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
        Err(error) => Err(format!("{place}: {}", first_paragraph(&without_secrets(error)))),
    }
}

/// A parsed file of flags.
pub(super) struct SettingsFile<'a> {
    /// The path, for error messages.
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

    /// Removes `command` from a job file and returns its words, with their place.
    pub(super) fn take_command(&mut self) -> Result<Option<(Vec<String>, String)>, String> {
        let Some(key) = self.table.keys().find(|key| key.get_ref() == "command").cloned() else {
            return Ok(None);
        };
        let place = self.place(&key);
        match self.table.remove(&key).as_ref().and_then(|value| value.get_ref().as_str()) {
            Some(command) => Ok(Some((command.split_whitespace().map(str::to_owned).collect(), place))),
            None => Err(format!("{place}: \"command\" must be a string, such as \"fetch\"")),
        }
    }

    /// Checks every key against `allowed` and returns the values.
    pub(super) fn settings(&self, allowed: &[&Arg], also: &[&str]) -> Result<Settings, String> {
        let keys = Keys { allowed, refused: &NOT_IN_FILES, also };
        let mut settings = Settings::default();
        for (name, value) in &self.table {
            let place = self.place(name);
            settings
                .add(keys, name.get_ref(), &SettingValue::from(value.get_ref()), &place)
                .map_err(|problem| format!("{place}: {problem}"))?;
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

/// Converts values from a file to the form they have on the command line.
fn values(arg: &Arg, value: &SettingValue) -> Result<Vec<OsString>, String> {
    if let SettingValue::List(list) = value {
        if !is_repeatable(arg) {
            return Err(format!("\"{}\" takes one value, not a list", key(arg)));
        }
        return list.iter().map(|value| scalar(arg, value)).collect();
    }
    Ok(vec![scalar(arg, value)?])
}

fn scalar(arg: &Arg, value: &SettingValue) -> Result<OsString, String> {
    let typed = match value {
        SettingValue::Switch(on) if is_switch(arg) => Some(on.to_string()),
        SettingValue::Text(text) | SettingValue::Number(text) if !is_switch(arg) => Some(text.clone()),
        SettingValue::Table(text) if takes_table(arg) => Some(text.clone()),
        SettingValue::Switch(_)
        | SettingValue::Text(_)
        | SettingValue::Number(_)
        | SettingValue::List(_)
        | SettingValue::Table(_)
        | SettingValue::Other(_) => None,
    };
    typed.map(OsString::from).ok_or_else(|| {
        let takes = if is_switch(arg) {
            "true or false".to_owned()
        } else {
            arg.get_value_names().unwrap_or_default().iter().map(|name| name.as_str()).collect()
        };
        format!("\"{}\": expected {takes}, found {}", key(arg), value.kind())
    })
}
