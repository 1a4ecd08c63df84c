//! `--report`: one page that shows what one run, or the four runs of `compare`, did.
//!
//! The page is self-contained: every figure is inline SVG drawn here. So it opens from a disk or an
//! attachment, and under a strict policy. It is complete without its script, which only adds
//! tooltips and zoom. It never loads anything. Numbers come from [`crate::summary`] and
//! [`supervisor_core::gather`].

mod charts;
mod closeup;
mod figures;
mod html;
mod load;
mod overview;
mod proxies;
mod scale;

use std::path::Path;

use crate::summary::ModeRun;
use crate::whole_file::{Readers, WriteError, replace};

/// Workers drawn per run; more would repeat the same picture.
const WORKERS_SHOWN_MAX: usize = 8;

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The contents of a page.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// What was run, for display: the command and its input.
    pub title: &'a str,
    /// When and where it ran, for display.
    pub when: &'a str,
    /// One run, or several to compare, in display order.
    pub runs: &'a [ModeRun],
}

impl Page<'_> {
    /// Renders the page as HTML.
    #[must_use]
    pub fn render(&self) -> String {
        let body = [
            figures::head(self.runs),
            closeup::section(self.runs),
            overview::section(self.runs),
            load::section(self.runs),
            charts::throughput(self.runs),
            charts::latency(self.runs),
            figures::workers(self.runs),
            proxies::section(self.runs),
        ]
        .concat();
        let parts = [
            ("title", html::escape(self.title)),
            ("when", html::escape(self.when)),
            ("style", STYLE.to_owned()),
            ("script", SCRIPT.to_owned()),
            ("body", body),
        ];
        fill(TEMPLATE, &parts)
    }

    /// Writes the page to `path`, all or nothing.
    ///
    /// # Errors
    /// `WriteError` if the file cannot be written.
    pub(crate) fn write(&self, path: &Path, readers: Readers<'_>) -> Result<(), WriteError> {
        replace(path, readers, self.render().as_bytes())
    }
}

/// Replaces each placeholder of the template. The inserted parts are not scanned again.
fn fill(template: &str, parts: &[(&str, String)]) -> String {
    let mut filled =
        String::with_capacity(template.len() + parts.iter().map(|(_, text)| text.len()).sum::<usize>());
    for piece in template.split("{{") {
        let named = piece.split_once("}}").and_then(|(name, rest)| {
            parts.iter().find(|(part, _)| *part == name).map(|(_, text)| (text.as_str(), rest))
        });
        let (text, rest) = named.unwrap_or(("", piece));
        filled.push_str(text);
        filled.push_str(rest);
    }
    filled
}

/// `2 workers × 64`
fn setup(run: &ModeRun) -> String {
    let (workers, concurrency) = (run.summary.workers, run.summary.concurrency);
    let plural = if workers == 1 { "" } else { "s" };
    if concurrency > 1 {
        format!("{workers} worker{plural} × {concurrency}")
    } else {
        format!("{workers} worker{plural}")
    }
}

#[cfg(test)]
mod tests;
