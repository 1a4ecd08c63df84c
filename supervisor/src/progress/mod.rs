//! Shows the progress of a run on standard error.
//!
//! The run's loop passes snapshots; there is no thread here. On a terminal, progress is one live line,
//! redrawn at most ten times a second and cleared at the end. Elsewhere, if requested, it is a plain line
//! every two seconds. A failure to write to standard error never affects the run.

mod line;
mod screen;

use std::fmt;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use shared::redact;
use supervisor_core::gather::LoadSample;

pub(crate) use self::line::{Rate, left};

use self::line::Line;
use crate::plan::When;

pub use screen::Screen;

/// Shortest time between two redraws. Faster changes cannot be read.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// Time between two plain lines.
const LOG_EVERY: Duration = Duration::from_secs(2);

/// Narrowest terminal in which a bar beside the text is useful.
const BAR_FROM_WIDTH: u16 = 72;

/// Columns for that bar, including the percentage.
const BAR_WIDTH: u16 = 26;

/// The total number of targets, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Total {
    /// The input has been read to its end.
    Exact(u64),
    /// An estimate from the bytes read and the targets that they gave.
    About(u64),
    /// The targets that are known so far, while more are found.
    Found(u64),
    /// The total bytes of the input, for jobs whose progress is measured in bytes.
    Bytes(u64),
    /// The input has no known size.
    Unknown,
}

impl Total {
    /// Estimates the total from an input of which `bytes_read` of `bytes_total` gave `targets` so far.
    #[must_use]
    pub fn estimate(targets: u64, bytes_read: u64, bytes_total: Option<u64>) -> Self {
        match bytes_total {
            Some(bytes_total) if bytes_read > 0 && targets > 0 => {
                let total =
                    u128::from(targets) * u128::from(bytes_total.max(bytes_read)) / u128::from(bytes_read);
                Self::About(u64::try_from(total).unwrap_or(u64::MAX))
            }
            Some(_) | None => Self::Unknown,
        }
    }
}

/// The progress of a run at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Snapshot {
    /// Final results so far.
    pub done: u64,
    /// Errors among them.
    pub failed: u64,
    /// Requests that servers refused.
    pub refused: u64,
    /// What the load is limited to.
    pub load: Option<LoadSample>,
    /// Proxies that do not work at present.
    pub proxies_failing: usize,
    /// Body bytes read so far.
    pub bytes: u64,
    /// Targets handed out whose result is not back yet.
    pub in_flight: u64,
    /// The total.
    pub total: Total,
}

enum DisplayMode {
    Off,
    Plain,
    Bar(ProgressBar),
}

/// Shows the progress of a run, if the user wants it.
pub struct Progress {
    mode: DisplayMode,
    rate: Rate,
    drawn: Option<Instant>,
    quiet: bool,
    out: Box<dyn Write + Send>,
}

impl Progress {
    /// Creates a display on standard error, which `screen` describes.
    #[must_use]
    pub fn new(when: When, screen: Screen) -> Self {
        let mode = match when {
            When::Never => DisplayMode::Off,
            When::Auto | When::Always if screen.is_terminal => {
                // The bar's own redraw limit is above ours, so that it never drops a redraw of ours.
                DisplayMode::Bar(ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(30)))
            }
            When::Always => DisplayMode::Plain,
            When::Auto => DisplayMode::Off,
        };
        Self::with(mode, Box::new(io::stderr()))
    }

    fn with(mode: DisplayMode, out: Box<dyn Write + Send>) -> Self {
        Self { mode, rate: Rate::default(), drawn: None, quiet: false, out }
    }

    /// Shows nothing at all if `quiet` is set.
    #[must_use]
    pub fn quiet(self, quiet: bool) -> Self {
        let mode = if quiet { DisplayMode::Off } else { self.mode };
        Self { mode, quiet, ..self }
    }

    /// Whether anything is shown, including the summary table.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        !matches!(self.mode, DisplayMode::Off)
    }

    /// Returns when the next [`Self::tick`] would show something; `None` means never.
    #[must_use]
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let every = match self.mode {
            DisplayMode::Off => return None,
            DisplayMode::Plain => LOG_EVERY,
            DisplayMode::Bar(_) => DRAW_EVERY,
        };
        Some(self.drawn.map_or(now, |drawn| drawn + every))
    }

    /// Shows the current progress. Cheap to call more often than it redraws.
    pub fn tick(&mut self, now: Instant, snapshot: &Snapshot) {
        if self.due(now).is_none_or(|due| due > now) {
            return;
        }
        self.rate.sample(now, snapshot);
        // The first plain line comes after an interval, because at the start there is nothing to show.
        if self.drawn.replace(now).is_some() || matches!(self.mode, DisplayMode::Bar(_)) {
            self.draw(now, snapshot);
        }
    }

    fn draw(&mut self, now: Instant, snapshot: &Snapshot) {
        let (items_per_s, bytes_per_s) = self.rate.per_second(now, snapshot);
        let line = Line::new(snapshot, items_per_s, bytes_per_s);
        match &self.mode {
            DisplayMode::Off => {}
            DisplayMode::Plain => {
                let _ = writeln!(self.out, "{}", line.fit(usize::MAX));
            }
            DisplayMode::Bar(bar) => draw_bar(bar, &line, snapshot, Screen::stderr_width()),
        }
    }

    /// Prints a message, above the bar if there is one. Also printed without progress, but not with `quiet`.
    pub fn message(&mut self, text: &str) {
        let text = printable(text);
        match &self.mode {
            DisplayMode::Off if self.quiet => {}
            DisplayMode::Bar(bar) => bar.suspend(|| {
                let _ = writeln!(self.out, "{text}");
            }),
            DisplayMode::Off | DisplayMode::Plain => {
                let _ = writeln!(self.out, "{text}");
            }
        }
    }

    /// Ends the display: clears the bar, or prints the last plain line.
    pub fn finish(&mut self, now: Instant, snapshot: &Snapshot) {
        match &self.mode {
            DisplayMode::Bar(bar) => bar.finish_and_clear(),
            DisplayMode::Plain => self.draw(now, snapshot),
            DisplayMode::Off => {}
        }
        self.mode = DisplayMode::Off;
    }
}

fn draw_bar(bar: &ProgressBar, line: &Line, snapshot: &Snapshot, width: u16) {
    let total = match snapshot.total {
        Total::Exact(total) | Total::About(total) | Total::Bytes(total) if width >= BAR_FROM_WIDTH => {
            Some(total)
        }
        Total::Exact(_) | Total::About(_) | Total::Found(_) | Total::Bytes(_) | Total::Unknown => None,
    };
    let done =
        if let Total::Bytes(total) = snapshot.total { snapshot.bytes.min(total) } else { snapshot.done };
    let (template, room) = match total {
        Some(_) => ("{percent:>3}% {wide_bar:.cyan/dim}  {line}", width - BAR_WIDTH),
        None => ("{line}", width),
    };
    let mut text = line.fit(usize::from(room));
    // A line that wraps could not be cleared again.
    text.truncate(usize::from(width).saturating_sub(1));
    // Set the text with the style, which does not redraw. A message would redraw with the old position.
    if let Ok(style) = ProgressStyle::with_template(template) {
        let write = move |_: &ProgressState, out: &mut dyn fmt::Write| {
            let _ = out.write_str(&text);
        };
        bar.set_style(style.progress_chars("━╸━").with_key("line", write));
    }
    bar.update(|state| {
        state.set_pos(done);
        state.set_len(total.unwrap_or(0).max(done));
    });
}

/// Prepares a message for a person: without secrets, and without control characters, so that text of a
/// server, file or program cannot move the cursor.
pub(crate) fn printable(text: &str) -> String {
    let text = redact::text(text);
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests;
