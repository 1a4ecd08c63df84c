//! The log of the service. Only a service logs; a run on the command line prints its messages to
//! standard error.
//!
//! In the journal every event is an entry with fields of its own, so that
//! `journalctl -u muster JOB=17` shows one job. Elsewhere it is a line, for people or for programs.
//! Events may have the fields `job`, `target` and `worker`.

//!
//! Secrets are taken out of the value of each field, before it is quoted.

mod journal;
mod redacting;

use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd;
use std::path::Path;

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt as _;

use self::journal::Journal;
use self::redacting::{RedactedFields, RedactedJson};

/// The journal's socket.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// Format of the log: `--log-format`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Journal entries if standard error goes to the journal, text elsewhere
    #[default]
    Auto,
    /// Lines for people
    Text,
    /// One JSON object per line
    Json,
    /// Entries of the systemd journal
    Journald,
}

/// Lowest severity that is logged: `--log-level`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    /// Failures and losses
    Error,
    /// Also problems that were recovered from
    Warn,
    /// Also requests, and the start and end of jobs
    #[default]
    Info,
    /// Also the activity of each worker
    Debug,
    /// Also each message
    Trace,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// `--log-format journald` without a journal.
    #[error("--log-format journald: cannot write to {JOURNAL}: {0}; use text or json")]
    NoJournal(#[source] io::Error),
    /// Logging was already initialized.
    #[error("logging is already initialized")]
    Begun,
}

/// Starts the log of this process. Call it once.
///
/// # Errors
/// [`LogError`].
pub(crate) fn begin(format: LogFormat, level: LogLevel) -> Result<(), LogError> {
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Journald => Box::new(Journal::at(Path::new(JOURNAL)).map_err(LogError::NoJournal)?),
        LogFormat::Json => json(io::stderr),
        LogFormat::Text => text(io::stderr, io::stderr().is_terminal()),
        LogFormat::Auto => {
            let named = std::env::var("JOURNAL_STREAM").ok();
            let journal = named
                .filter(|stream| is_stream(io::stderr(), stream))
                .and_then(|_| Journal::at(Path::new(JOURNAL)).ok());
            match journal {
                Some(journal) => Box::new(journal),
                None => text(io::stderr, io::stderr().is_terminal()),
            }
        }
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(filter(level)))
        .try_init()
        .map_err(|_| LogError::Begun)
}

/// Logs our events from `level` on, but only warnings and errors of libraries, whose progress is of
/// no interest.
fn filter(level: LogLevel) -> Targets {
    let level = LevelFilter::from(level);
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("supervisor", level)
        .with_target("shared", level)
}

/// `2026-11-28T18:30:43.123456Z  INFO job 17 has begun job=17`
fn text<W>(writer: W, colour: bool) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'w> fmt::MakeWriter<'w> + Send + Sync + 'static,
{
    Box::new(
        fmt::layer()
            .with_writer(writer)
            .fmt_fields(RedactedFields)
            .with_target(false)
            .with_ansi(colour && std::env::var_os("NO_COLOR").is_none()),
    )
}

/// `{"timestamp":"…","level":"INFO","message":"job 17 has begun","job":17}`
fn json<W>(writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'w> fmt::MakeWriter<'w> + Send + Sync + 'static,
{
    // The module of an event would appear as a second `target`.
    Box::new(
        fmt::layer()
            .json()
            .flatten_event(true)
            .with_target(false)
            .with_current_span(false)
            .with_writer(RedactedJson(writer)),
    )
}

/// Whether `file` is the one that `$JOURNAL_STREAM` names, as `DEVICE:INODE`. The variable is
/// inherited by processes whose output has been redirected since.
fn is_stream(file: impl AsFd, stream: &str) -> bool {
    let Ok(stat) = rustix::fs::fstat(file) else { return false };
    stream == format!("{}:{}", stat.st_dev, stat.st_ino)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::MetadataExt as _;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// The logged text.
    #[derive(Debug, Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Page {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn logged(layer: Box<dyn Layer<Registry> + Send + Sync>, level: LogLevel, events: impl FnOnce()) {
        tracing::subscriber::with_default(
            tracing_subscriber::registry().with(layer.with_filter(filter(level))),
            events,
        );
    }

    #[test]
    fn json_has_the_fields_once_and_at_the_top() {
        let page = Page::default();
        let writer = page.clone();
        logged(json(move || writer.clone()), LogLevel::Info, || {
            tracing::warn!(job = 17, target = 4230, worker = 2, "worker 2 died");
        });
        let line: serde_json::Value = serde_json::from_str(&page.text()).unwrap();
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["message"], "worker 2 died");
        assert_eq!((&line["job"], &line["target"], &line["worker"]), (&17.into(), &4230.into(), &2.into()));
        assert_eq!(page.text().matches("\"target\"").count(), 1, "{}", page.text());
    }

    #[test]
    fn text_shows_fields_and_has_no_colours_in_files() {
        let page = Page::default();
        let writer = page.clone();
        logged(text(move || writer.clone(), false), LogLevel::Info, || {
            tracing::info!(job = 17, "has begun");
            tracing::debug!("unseen");
        });
        let text = page.text();
        assert!(text.ends_with("  INFO has begun job=17\n"), "{text:?}");
        assert_eq!(text.lines().count(), 1, "{text:?}");
    }

    #[test]
    fn secrets_are_not_logged() {
        let page = Page::default();
        for layer in [text as fn(_, bool) -> _, |writer, _| json(writer)] {
            let writer = page.clone();
            logged(layer(move || writer.clone(), false), LogLevel::Info, || {
                tracing::warn!(why = "Cookie: hunter2", "cannot fetch http://u:hunter2@h/?token=hunter2&a=1");
                tracing::warn!(token = "hunter2", "it said password=\"hunter2\", then \"hi\"");
                tracing::warn!(said = ?r#"{"x-api-key": "hunter2"}"#, r#"it said {{"x-api-key": "hunter2"}}"#);
                let nested = format!("{:?}", "password=\"hunter2 \\\"hunter2\"");
                tracing::warn!(said = nested, why = %nested, "{nested:?}");
            });
        }
        let page = page.text();
        assert!(page.contains("http://***@h/?token=***&a=1") && !page.contains("hunter2"), "{page}");
        assert!(page.contains("it said password=\"***\", then \"hi\" token="), "{page}");
        let lines: Vec<serde_json::Value> =
            page.lines().skip(4).map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[1]["message"], "it said password=\"***\", then \"hi\"");
        assert_eq!(lines[1]["token"], "***");
        assert_eq!(lines[2]["message"], r#"it said {"x-api-key": "***"}"#);
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn libraries_log_only_warnings_and_errors() {
        let page = Page::default();
        let writer = page.clone();
        logged(text(move || writer.clone(), false), LogLevel::Debug, || {
            tracing::debug!(target: "hyper::proto", "unseen");
            tracing::warn!(target: "hyper::proto", "seen");
            tracing::debug!("ours");
        });
        let text = page.text();
        assert!(text.contains("seen") && text.contains("ours") && !text.contains("unseen"), "{text:?}");
    }

    #[test]
    fn a_stream_is_known_by_device_and_inode() {
        let file = tempfile::tempfile().unwrap();
        let stat = file.metadata().unwrap();
        assert!(is_stream(&file, &format!("{}:{}", stat.dev(), stat.ino())));
        for other in ["", "8:1", "8", &format!("{}:{}", stat.dev(), stat.ino() + 1)] {
            assert!(!is_stream(&file, other), "{other:?}");
        }
    }

    #[test]
    fn no_file_in_the_way_is_a_journal() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Journal::at(&directory.path().join("none")).is_err());
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(Journal::at(&file).is_err());
    }
}
