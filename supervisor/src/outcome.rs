//! How the program ends: the only place that knows exit codes.

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use shared::redact;

use crate::inherited;
use crate::progress::printable;

/// How a run ended, as its exit code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Every input succeeded.
    Done,
    /// The run could not be done: an input is missing, an output exists, or the pool gave up.
    Impossible,
    /// Invalid flags, selectors or job files; nothing was started.
    Misused,
    /// Done, but some inputs failed; their records say why.
    InputsFailed,
    /// Stopped by this signal; what was finished is committed.
    Stopped(u8),
}

impl Outcome {
    /// The exit code.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Impossible => 1,
            Self::Misused => 2,
            Self::InputsFailed => 3,
            Self::Stopped(signal) => 128_u8.saturating_add(signal),
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(outcome.code())
    }
}

/// Why nothing is started.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// A request for help or the version, or a mistake on the command line.
    Usage(Box<clap::Error>),
    /// The request is valid, but cannot be done here and now.
    Impossible(String),
}

impl From<clap::Error> for Refusal {
    fn from(error: clap::Error) -> Self {
        Self::Usage(Box::new(without_secrets(error)))
    }
}

/// One line, for a log.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) => f.write_str(&first_paragraph(error)),
            Self::Impossible(message) => f.write_str(&redact::text(message)),
        }
    }
}

impl Refusal {
    /// Prints it: help to stdout, everything else to stderr.
    pub(crate) fn report(&self) -> Outcome {
        match self {
            Self::Usage(error) if error.use_stderr() => {
                // A standard error that is closed has nobody to tell.
                let _ = error.print();
            }
            Self::Usage(help) => return show(help),
            Self::Impossible(message) => {
                let _ = writeln!(io::stderr(), "error: {}", printable(message));
            }
        }
        self.outcome()
    }

    /// The exit code that follows from it.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Usage(error) if error.use_stderr() => Outcome::Misused,
            Self::Usage(_) => Outcome::Done,
            Self::Impossible(_) => Outcome::Impossible,
        }
    }
}

/// Takes secrets out of what an error quotes.
pub(crate) fn without_secrets(mut error: clap::Error) -> clap::Error {
    let quoted = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(_) | None => None,
    };
    let (flag, value) = (quoted(ContextKind::InvalidArg), quoted(ContextKind::InvalidValue));
    let is_header = flag.as_deref().is_some_and(|flag| flag.starts_with("--header"));
    if let Some(value) = value {
        let shown = if is_header { redact::header(&value) } else { redact::command_line([value.as_str()]) };
        error.insert(ContextKind::InvalidValue, ContextValue::String(shown));
    }
    if let Some(flag) = flag {
        error.insert(ContextKind::InvalidArg, ContextValue::String(redact::text(&flag).into_owned()));
    }
    error
}

/// Returns clap's message without its usage lines and without secrets.
pub(crate) fn first_paragraph(error: &clap::Error) -> String {
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

/// Writes help or a version, which somebody asked for, to standard output.
fn show(help: &clap::Error) -> Outcome {
    let shown = inherited::check_stdout().and_then(|()| help.print()).and_then(|()| io::stdout().flush());
    match shown {
        // `| head` has read what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Outcome::Done,
        Err(error) => Refusal::Impossible(format!("cannot write to standard output: {error}")).report(),
        Ok(()) => Outcome::Done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_quote_no_secrets() {
        let command = || {
            let number = clap::value_parser!(u8);
            clap::Command::new("x")
                .arg(clap::Arg::new("header").long("header").value_parser(number))
                .arg(clap::Arg::new("proxy").long("proxy").value_parser(number))
        };
        for words in [
            ["--header", "Cookie hunter2"],
            ["--header", "X-Mine: hunter2"],
            ["--proxy", "http://u:hunter2@h"],
            ["--proxy", "http://u:hunter2 @h:x"],
            ["--password=hunter2", "x"],
        ] {
            let error = command().try_get_matches_from(["x", words[0], words[1]]).unwrap_err();
            let shown = first_paragraph(&without_secrets(error));
            assert!(!shown.contains("hunter2") && shown.contains("--"), "{words:?}: {shown}");
        }
    }

    #[test]
    fn codes_match_the_contract() {
        let codes = [
            Outcome::Done,
            Outcome::Impossible,
            Outcome::Misused,
            Outcome::InputsFailed,
            Outcome::Stopped(2),
            Outcome::Stopped(15),
        ]
        .map(Outcome::code);
        assert_eq!(codes, [0, 1, 2, 3, 130, 143]);
    }
}
