//! Properties of the terminal.

use std::io::{self, IsTerminal as _};

/// Width if there is no terminal.
const WIDTH_ELSEWHERE: u16 = 100;

/// Greatest width of laid-out text. Longer lines are hard to read.
const WIDTH_MAX: u16 = 140;

/// What an output stream can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// Whether it is a terminal with cursor movement.
    pub is_terminal: bool,
    /// Columns.
    pub width: u16,
    /// Whether to use colours.
    pub colour: bool,
}

impl Screen {
    /// Reads the properties of standard error from its terminal and the environment.
    #[must_use]
    pub fn stderr() -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        let is_terminal = io::stderr().is_terminal() && !is_dumb;
        Self { is_terminal, width: Self::stderr_width(), colour: is_terminal && !set("NO_COLOR") }
    }

    /// Reads the properties of standard output.
    #[must_use]
    pub fn stdout() -> Self {
        let is_terminal = io::stdout().is_terminal();
        let asked = rustix::termios::tcgetwinsize(io::stdout()).map(|size| size.ws_col);
        // Text in a pipe is never cut.
        let width = asked.ok().filter(|width| *width > 0).unwrap_or(u16::MAX);
        Self { is_terminal, width, colour: is_terminal && Self::stderr().colour }
    }

    /// Returns the current width of standard error, because the window may have been resized.
    #[must_use]
    pub fn stderr_width() -> u16 {
        let asked = rustix::termios::tcgetwinsize(io::stderr()).map(|size| size.ws_col);
        asked.ok().filter(|width| *width > 0).unwrap_or(WIDTH_ELSEWHERE).min(WIDTH_MAX)
    }

    /// Plain text, as in a file.
    #[must_use]
    pub const fn plain(width: u16) -> Self {
        Self { is_terminal: false, width, colour: false }
    }
}
