//! Entries of the systemd journal, in its native protocol
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL>).
//!
//! tracing-journald is not used: it writes the module of every event as `TARGET=`, so
//! `journalctl TARGET=4230` could not mean the input, as it does everywhere else in Muster.

use std::fmt::{self, Write as _};
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shared::redact;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// A journal that accepts nothing for this long costs an entry, not the service.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum length of a value. With the few fields of an entry this stays far below the size limit
/// of a datagram.
const VALUE_BYTES_MAX: usize = 32 * 1024;

/// Sends each event to the journal, with its field names in capitals.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// Connects to the journal that listens at `path`.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        // The journal drops an entry without fields, but sending one shows that it listens.
        socket.send_to(&[], path)?;
        Ok(Self { socket, path: path.to_owned() })
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let about = event.metadata();
        let mut entry = Entry::default();
        entry.put("PRIORITY", priority(*about.level()));
        entry.put("SYSLOG_IDENTIFIER", "supervisor");
        if let (Some(file), Some(line)) = (about.file(), about.line()) {
            entry.put("CODE_FILE", file);
            entry.put("CODE_LINE", &line.to_string());
        }
        event.record(&mut entry);
        // Send by path, not over a connection: a restarted journal listens at the same path. If it
        // does not, there is nowhere to report that.
        let _ = self.socket.send_to(&entry.0, &self.path);
    }
}

/// Syslog priorities; `info` is what `journalctl -p info` shows.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    }
}

/// One entry in wire format.
#[derive(Debug, Default)]
struct Entry(Vec<u8>);

impl Entry {
    /// Appends a field in the form that allows line breaks: name, newline, length, value, newline.
    fn put(&mut self, name: &str, value: &str) {
        let value = value.get(..value.floor_char_boundary(VALUE_BYTES_MAX)).unwrap_or_default();
        self.0.extend(
            name.bytes()
                .map(|byte| if byte.is_ascii_alphanumeric() { byte.to_ascii_uppercase() } else { b'_' }),
        );
        self.0.push(b'\n');
        self.0.extend_from_slice(&(value.len() as u64).to_le_bytes());
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'\n');
    }
}

impl Visit for Entry {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), &redact::field(field.name(), value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // Writing to a string fails only if the value's `Debug` fails; then keep what it wrote.
        let _ = write!(text, "{value:?}");
        self.put(field.name(), &redact::field(field.name(), &text));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// Returns the entries that `events` produce, as a journal reads them.
    fn entries(events: impl FnOnce()) -> Vec<BTreeMap<String, String>> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listening = UnixDatagram::bind(&path).unwrap();
        listening.set_nonblocking(true).unwrap();
        let journal = Journal::at(&path).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(journal), events);
        let mut bytes = vec![0; 256 * 1024];
        let mut entries = Vec::new();
        while let Ok(count) = listening.recv(&mut bytes) {
            entries.push(fields(&bytes[..count]));
        }
        assert_eq!(entries.remove(0), BTreeMap::new(), "the probe whether it listens");
        entries
    }

    fn fields(mut bytes: &[u8]) -> BTreeMap<String, String> {
        let mut fields = BTreeMap::new();
        while !bytes.is_empty() {
            let name_ends = bytes.iter().position(|&byte| byte == b'\n').unwrap();
            let (name, rest) = bytes.split_at(name_ends);
            let (length, rest) = rest[1..].split_at(8);
            let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
            let (value, rest) = rest.split_at(length);
            let twice = fields.insert(
                String::from_utf8(name.to_vec()).unwrap(),
                String::from_utf8(value.to_vec()).unwrap(),
            );
            assert_eq!(twice, None);
            assert_eq!(rest[0], b'\n');
            bytes = &rest[1..];
        }
        fields
    }

    #[test]
    fn fields_come_out_under_their_own_names() {
        let entries = entries(|| {
            tracing::error!(
                job = 17,
                target = 4230,
                worker = 2,
                kind = "worker_crash",
                "worker {} died\nof SIGSEGV",
                2
            );
        });
        let [entry] = entries.as_slice() else { panic!("{entries:?}") };
        let get = |name: &str| entry.get(name).map(String::as_str);
        assert_eq!(get("MESSAGE"), Some("worker 2 died\nof SIGSEGV"));
        assert_eq!((get("JOB"), get("TARGET"), get("WORKER")), (Some("17"), Some("4230"), Some("2")));
        assert_eq!(get("KIND"), Some("worker_crash"));
        assert_eq!((get("PRIORITY"), get("SYSLOG_IDENTIFIER")), (Some("3"), Some("supervisor")));
        assert!(get("CODE_FILE").is_some_and(|file| file.ends_with("journal.rs")));
    }

    #[test]
    fn levels_are_those_of_syslog() {
        let entries = entries(|| {
            tracing::warn!("w");
            tracing::info!("i");
            tracing::debug!("d");
        });
        let priorities: Vec<_> = entries.iter().map(|entry| entry["PRIORITY"].as_str()).collect();
        assert_eq!(priorities, ["4", "6", "7"]);
    }

    #[test]
    fn a_value_without_end_is_cut_between_characters() {
        let long = "ä".repeat(VALUE_BYTES_MAX);
        let entries = entries(|| tracing::info!(said = long.as_str(), "x{long}"));
        assert_eq!(entries[0]["SAID"].len(), VALUE_BYTES_MAX);
        assert_eq!(entries[0]["MESSAGE"].len(), VALUE_BYTES_MAX - 1);
    }
}
