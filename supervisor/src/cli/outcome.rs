//! How the program ends: the one place that knows exit codes.

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::inherited;
use crate::progress::printable;

/// How a run ended, as its exit code tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Every input succeeded.
    Done,
    /// The run could not be done: an input missing, an output that exists, a pool that gave up.
    Impossible,
    /// Bad flags, selectors or files of flags; nothing was started.
    Misused,
    /// Done, but some inputs failed; their records say why.
    InputsFailed,
    /// Stopped by this signal; what was finished is committed.
    Stopped(u8),
}

impl Outcome {
    /// The number the shell sees.
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
    /// Help or version, which was what was asked for; or a mistake in how it was asked.
    Usage(Box<clap::Error>),
    /// The request is sound, and cannot be done here and now.
    Impossible(String),
}

impl From<clap::Error> for Refusal {
    fn from(error: clap::Error) -> Self {
        Self::Usage(Box::new(error))
    }
}

/// In one line, for a log.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) => f.write_str(&super::settings::first_paragraph(error)),
            Self::Impossible(message) => f.write_str(message),
        }
    }
}

impl Refusal {
    /// Says it to the user: help on stdout, everything else on stderr.
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

    /// What it means for the exit code.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Usage(error) if error.use_stderr() => Outcome::Misused,
            Self::Usage(_) => Outcome::Done,
            Self::Impossible(_) => Outcome::Impossible,
        }
    }
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
    use super::Outcome;

    #[test]
    fn codes_are_the_contracts() {
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
