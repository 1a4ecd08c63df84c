//! What standard error can show.

use std::io::{self, IsTerminal as _};

/// Width assumed where there is no terminal to ask.
const WIDTH_ELSEWHERE: u16 = 100;

/// Widest that text is laid out; longer lines are hard to read.
const WIDTH_MAX: u16 = 140;

/// What standard error can show right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// Whether it is a terminal that understands cursor movement.
    pub is_terminal: bool,
    /// Columns.
    pub width: u16,
    /// Whether colours are wanted.
    pub colour: bool,
}

impl Screen {
    /// Asks the terminal behind standard error, and the environment.
    #[must_use]
    pub fn stderr() -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        let is_terminal = io::stderr().is_terminal() && !is_dumb;
        Self { is_terminal, width: Self::stderr_width(), colour: is_terminal && !set("NO_COLOR") }
    }

    /// Asks the terminal behind standard output.
    #[must_use]
    pub fn stdout() -> Self {
        let is_terminal = io::stdout().is_terminal();
        let asked = rustix::termios::tcgetwinsize(io::stdout()).map(|size| size.ws_col);
        // What is piped on is not cut.
        let width = asked.ok().filter(|width| *width > 0).unwrap_or(u16::MAX);
        Self { is_terminal, width, colour: is_terminal && Self::stderr().colour }
    }

    /// Its width now: a window may have been resized since.
    #[must_use]
    pub fn stderr_width() -> u16 {
        let asked = rustix::termios::tcgetwinsize(io::stderr()).map(|size| size.ws_col);
        asked.ok().filter(|width| *width > 0).unwrap_or(WIDTH_ELSEWHERE).min(WIDTH_MAX)
    }

    /// Nothing but text, as in a file.
    #[must_use]
    pub const fn plain(width: u16) -> Self {
        Self { is_terminal: false, width, colour: false }
    }
}
