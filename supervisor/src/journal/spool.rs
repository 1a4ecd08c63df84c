//! Spools standard input to disk, because it cannot be read again. The entries of sitemaps are spooled too,
//! because a second request may list something else.
//!
//! A thread reads the input as fast as it arrives. The run reads the spooled file behind it, so it does not
//! wait for the end of the input. Only a complete spool gets its final name. The rest of an incomplete one is
//! lost with the pipe, and a resumed run needs the same input again.

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use crate::plan::Input;
use crate::side_file;
use crate::source::Bytes;
use crate::whole_file;

/// Bytes read at a time: as much as a pipe holds.
const BUFFER_BYTES: usize = 64 * 1024;

/// The spools of a job's standard input and sitemaps.
#[derive(Debug)]
pub struct SpooledInput {
    spool: Spool,
    sitemaps: Spool,
    /// What is known of robots.txt files.
    robots: PathBuf,
    /// The cookies of a job that keeps them.
    cookies: PathBuf,
    /// The pages that a crawl knows.
    found: PathBuf,
    /// The session of such a job.
    session: PathBuf,
    /// Whether standard input is one of the inputs.
    used: bool,
    /// Whether it was spooled completely before this run.
    was_whole: bool,
}

impl SpooledInput {
    /// Creates the spools of a job with these inputs and this journal.
    pub(super) fn new(inputs: &[Input], journal: &Path) -> Self {
        let (spool, sitemaps) = (Spool::of(journal, ".input"), Spool::of(journal, ".sitemaps"));
        let was_whole = spool.is_whole();
        let robots = super::beside(journal, ".robots");
        let cookies = super::beside(journal, ".cookies");
        let session = super::beside(journal, ".session");
        let found = super::beside(journal, ".found");
        Self {
            spool,
            sitemaps,
            robots,
            cookies,
            session,
            found,
            used: inputs.contains(&Input::StdinLines),
            was_whole,
        }
    }

    /// Returns the files that may be beside the journal at `journal`.
    pub(super) fn files(journal: &Path) -> impl Iterator<Item = PathBuf> {
        let names = [".input", ".sitemaps", ".robots", ".cookies", ".session", ".found"];
        let names = names.map(|suffix| super::beside(journal, suffix));
        names.into_iter().flat_map(|name| [super::beside(&name, ".part"), name])
    }

    /// Returns what to read as standard input in this run, if it is an input.
    ///
    /// # Errors
    /// If the spool cannot be read or written.
    pub fn open(&self) -> io::Result<Option<Bytes>> {
        if !self.used {
            return Ok(None);
        }
        let bytes = if self.spool.is_whole() { self.spool.reopen() } else { self.spool.start(io::stdin()) };
        bytes.map(Some)
    }

    /// Whether a resumed run would need the same standard input again.
    #[must_use]
    pub fn is_needed_again(&self) -> bool {
        self.used && !self.spool.is_whole()
    }

    /// Whether this run, a resumed one, needed the same standard input again.
    #[must_use]
    pub fn was_needed_again(&self) -> bool {
        self.used && !self.was_whole
    }

    /// Returns the spooled entries of the sitemaps, if any.
    ///
    /// # Errors
    /// If the spool cannot be read.
    pub fn listed(&self) -> io::Result<Option<Bytes>> {
        if self.sitemaps.is_whole() { self.sitemaps.reopen().map(Some) } else { Ok(None) }
    }

    /// Spools the entries of the sitemaps, which `write` writes, and returns them.
    ///
    /// # Errors
    /// If the spool cannot be written or read.
    pub fn keep_listed(&self, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<Bytes> {
        let mut file = self.sitemaps.create()?;
        write(&mut file).map_err(|error| named(error, &self.sitemaps.partial))?;
        self.sitemaps.finish(&file)?;
        self.sitemaps.reopen()
    }

    /// Returns where a run notes what is known of robots.txt files.
    #[must_use]
    pub fn robots(&self) -> &Path {
        &self.robots
    }

    /// Returns where a run keeps its cookies, unless the user named a file.
    #[must_use]
    pub fn cookies(&self) -> &Path {
        &self.cookies
    }

    /// Returns where a crawl keeps the pages that it knows.
    #[must_use]
    pub fn found(&self) -> &Path {
        &self.found
    }

    /// Returns where a run keeps its session.
    #[must_use]
    pub fn session(&self) -> &Path {
        &self.session
    }

    /// Removes the spools, and what else is kept for the run.
    pub fn remove(&self) {
        for secret in [&self.cookies, &self.session] {
            if fs::remove_file(secret).is_ok() {
                whole_file::remove_unfinished(secret);
            }
        }
        let _ = fs::remove_file(&self.robots);
        let _ = fs::remove_file(&self.found);
        self.remove_inputs();
    }

    /// Removes the spools.
    pub fn remove_inputs(&self) {
        self.spool.remove();
        self.sitemaps.remove();
    }
}

/// The file of a spool.
#[derive(Debug, Clone)]
struct Spool {
    whole: PathBuf,
    partial: PathBuf,
}

impl Spool {
    /// Creates a spool beside the journal at `journal`.
    fn of(journal: &Path, suffix: &str) -> Self {
        let whole = super::beside(journal, suffix);
        Self { partial: super::beside(&whole, ".part"), whole }
    }

    /// Whether the spool is complete.
    fn is_whole(&self) -> bool {
        self.whole.exists()
    }

    /// Opens the spool at its beginning.
    fn reopen(&self) -> io::Result<Bytes> {
        File::open(&self.whole).map(|file| Box::new(file) as Bytes)
    }

    /// Starts to spool `input`, and returns a reader that follows.
    fn start(&self, input: impl Read + Send + 'static) -> io::Result<Bytes> {
        let file = self.create()?;
        let reader = File::open(&self.partial)?;
        let arrived = Arc::new(Arrived::default());
        let behind = SpoolReader { file: reader, read: 0, arrived: Arc::clone(&arrived) };
        let names = self.clone();
        thread::Builder::new().name("spool".to_owned()).spawn(move || {
            let end = names.take_in(input, file, &arrived);
            arrived.update(|state| state.end = Some(end));
        })?;
        Ok(Box::new(behind))
    }

    /// Creates an empty spool.
    fn create(&self) -> io::Result<File> {
        self.remove();
        side_file::create(&self.partial)
    }

    /// Gives the spool the name of a complete one.
    fn finish(&self, file: &File) -> io::Result<()> {
        // Synced first, so that after a power failure a complete name has complete content.
        file.sync_all()
            .and_then(|()| fs::rename(&self.partial, &self.whole))
            .map_err(|error| named(error, &self.partial))
    }

    /// Removes the spool, complete or not.
    fn remove(&self) {
        for path in [&self.whole, &self.partial] {
            let _ = fs::remove_file(path);
        }
    }

    fn take_in(&self, mut input: impl Read, mut file: File, arrived: &Arrived) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let count = match input.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let keeping = file.write_all(buffer.get(..count).unwrap_or_default());
            keeping.map_err(|error| named(error, &self.partial))?;
            arrived.update(|state| state.bytes += count as u64);
        }
        self.finish(&file)
    }
}

fn named(error: io::Error, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("cannot spool it to {}: {error}", path.display()))
}

/// The progress of the spooling thread.
#[derive(Debug, Default)]
struct Arrived {
    state: Mutex<SpoolState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct SpoolState {
    bytes: u64,
    end: Option<io::Result<()>>,
}

impl Arrived {
    fn update(&self, change: impl FnOnce(&mut SpoolState)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }

    /// Waits until there are more than `read` bytes, and returns the total.
    fn beyond(&self, read: u64) -> io::Result<u64> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = |state: &mut SpoolState| state.bytes <= read && state.end.is_none();
        let mut state = self.changed.wait_while(state, waiting).unwrap_or_else(PoisonError::into_inner);
        let bytes = state.bytes;
        match &mut state.end {
            // Returned once; after that, the input is at its end.
            Some(end) if bytes <= read => std::mem::replace(end, Ok(())).map(|()| bytes),
            Some(_) | None => Ok(bytes),
        }
    }
}

/// A reader that follows the spooling thread.
struct SpoolReader {
    file: File,
    read: u64,
    arrived: Arc<Arrived>,
}

impl Read for SpoolReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Read up to the file's end: the thread may have written more than it has reported.
        if self.arrived.beyond(self.read)? <= self.read {
            return Ok(0);
        }
        let count = self.file.read(buffer)?;
        self.read += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::PipeWriter;

    use super::*;

    fn spool() -> (tempfile::TempDir, Spool, PipeWriter, Bytes) {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::of(&directory.path().join("out.journal"), ".input");
        let (reader, writer) = io::pipe().unwrap();
        let bytes = spool.start(reader).unwrap();
        (directory, spool, writer, bytes)
    }

    #[test]
    fn what_comes_is_given_before_the_end_and_kept_after_it() {
        let (_directory, spool, mut writer, mut bytes) = spool();
        let mut buffer = [0; 100];
        for piece in ["http://a/\n", "http://b/\n"] {
            writer.write_all(piece.as_bytes()).unwrap();
            let count = bytes.read(&mut buffer).unwrap();
            assert_eq!(&buffer[..count], piece.as_bytes());
            assert!(!spool.is_whole());
        }
        drop(writer);
        assert_eq!(bytes.read(&mut buffer).unwrap(), 0);
        let mut kept = String::new();
        spool.reopen().unwrap().read_to_string(&mut kept).unwrap();
        assert_eq!(kept, "http://a/\nhttp://b/\n");
        spool.remove();
        assert!(!spool.is_whole());
    }

    #[test]
    fn a_large_input_comes_through_whole() {
        let (_directory, spool, mut writer, mut bytes) = spool();
        let sent: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let copy = sent.clone();
        let writing = thread::spawn(move || writer.write_all(&copy));
        let mut got = Vec::new();
        bytes.read_to_end(&mut got).unwrap();
        writing.join().unwrap().unwrap();
        assert!(got == sent && spool.is_whole());
    }

    #[test]
    fn an_input_that_fails_is_no_whole_one() {
        struct Failing(u8);
        impl Read for Failing {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 += 1;
                match self.0 {
                    1 => buffer.get_mut(..2).map_or(Ok(0), |two| {
                        two.copy_from_slice(b"a\n");
                        Ok(2)
                    }),
                    2 => Err(io::ErrorKind::Interrupted.into()),
                    _ => Err(io::Error::other("the cable is out")),
                }
            }
        }
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::of(&directory.path().join("out.journal"), ".input");
        let mut bytes = spool.start(Failing(0)).unwrap();
        let mut got = Vec::new();
        let error = bytes.read_to_end(&mut got).unwrap_err();
        assert_eq!((got.as_slice(), error.to_string().as_str()), (b"a\n".as_slice(), "the cable is out"));
        assert!(!spool.is_whole());
    }
}
