//! The pages that a crawl knows, in a file beside the journal to which frames are only appended. The journal's
//! transactions say how much of it counts. So what was found is certain when its records are, and a resumed run reads
//! back where the crawl was.
//!
//! Pages are in the order of their ids. The place of every sixteenth of them is kept in memory, which finds each.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use crate::side_file;

/// Bytes that are gathered before they are written.
const BUFFER_BYTES: usize = 64 * 1024;

/// Pages from one kept place to the next.
const PAGES_APART: u64 = 16;

/// Longest frame: what was found in one page, with what stands around it.
const FRAME_BYTES_MAX: u32 = 16 << 20;

/// Bytes read at once where a few pages are looked up.
const READ_BYTES: usize = 8 * 1024;

/// Marks a page that has the shape of its parent, in the number of the parent.
const ALIKE: u64 = 1 << 63;

/// The kind of a frame, and how many bytes follow.
const HEAD_BYTES: usize = 5;

/// One entry of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// The next page: the page that it was found on, if any, whether that has the same shape, and its URL.
    Page(Option<u64>, bool, Vec<u8>),
    /// Another URL of a page.
    Alias(Vec<u8>),
    /// What was found in a page that ended before an earlier one.
    Waiting(u64, Vec<u8>),
    /// The kind of a page whose links are taken in: hashes of its shape and its words.
    Kind(u64, u64),
    /// The state of the crawl, encoded.
    State(Vec<u8>),
}

impl Frame {
    const PAGE: u8 = 1;
    const ALIAS: u8 = 2;
    const WAITING: u8 = 3;
    const STATE: u8 = 4;
    const KIND: u8 = 5;

    fn of(kind: u8, mut body: Vec<u8>) -> Option<Self> {
        let number = |body: &mut Vec<u8>| {
            let number = u64::from_le_bytes(body.first_chunk().copied()?);
            body.drain(..size_of::<u64>());
            Some(number)
        };
        Some(match kind {
            Self::PAGE => {
                let parent = number(&mut body)?;
                let named = parent == u64::MAX;
                Self::Page((!named).then_some(parent & !ALIKE), !named && parent & ALIKE != 0, body)
            }
            Self::ALIAS => Self::Alias(body),
            Self::WAITING => Self::Waiting(number(&mut body)?, body),
            Self::STATE => Self::State(body),
            Self::KIND => Self::Kind(number(&mut body)?, number(&mut body)?),
            _ => return None,
        })
    }
}

/// The file, open for appending.
#[derive(Debug)]
pub(super) struct Log {
    file: Arc<File>,
    /// Bytes in the file.
    written: u64,
    /// What comes after them.
    buffer: Vec<u8>,
    /// Where every sixteenth page is.
    places: Vec<u64>,
    pages: u64,
}

impl Log {
    /// Creates a log beside a journal.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self::over(side_file::create(path)?))
    }

    /// Creates a log that only this run has.
    pub(super) fn temporary() -> io::Result<Self> {
        Ok(Self::over(tempfile::tempfile()?))
    }

    fn over(file: File) -> Self {
        Self { file: Arc::new(file), written: 0, buffer: Vec::new(), places: Vec::new(), pages: 0 }
    }

    /// Opens a log whose first `bytes` count, and gives each of their frames to `take`. What follows is cut off.
    pub(super) fn resume(
        path: &Path,
        bytes: u64,
        mut take: impl FnMut(Frame, u64) -> io::Result<()>,
    ) -> io::Result<Self> {
        let no_link = nix::libc::O_NOFOLLOW;
        let file = OpenOptions::new().read(true).write(true).custom_flags(no_link).open(path)?;
        if file.metadata()?.len() < bytes {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter than the journal says"));
        }
        file.set_len(bytes)?;
        let mut log = Self { written: bytes, ..Self::over(file) };
        let file = Arc::clone(&log.file);
        let mut frames = Frames::at(&file, 0, 1 << 18);
        while frames.at < bytes {
            let at = frames.at;
            let Some((kind, length)) = frames.head()? else { return Err(damaged()) };
            let frame = Frame::of(kind, frames.body(length)?).ok_or_else(damaged)?;
            if matches!(frame, Frame::Page(..)) {
                log.note_place(at);
            }
            take(frame, at)?;
        }
        Ok(log)
    }

    /// Returns another handle, to sync the file with.
    pub(super) fn second_handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    fn note_place(&mut self, at: u64) {
        if self.pages.is_multiple_of(PAGES_APART) {
            self.places.push(at);
        }
        self.pages += 1;
    }

    /// Appends a frame. Returns where it begins.
    pub(super) fn append(&mut self, frame: &Frame) -> io::Result<u64> {
        let at = self.written + self.buffer.len() as u64;
        let words;
        let (kind, number, body) = match frame {
            Frame::Page(parent, is_alike, url) => {
                let alike = if *is_alike { ALIKE } else { 0 };
                (Frame::PAGE, Some(parent.map_or(u64::MAX, |parent| parent | alike)), url)
            }
            Frame::Alias(url) => (Frame::ALIAS, None, url),
            Frame::Waiting(id, found) => (Frame::WAITING, Some(*id), found),
            Frame::State(state) => (Frame::STATE, None, state),
            Frame::Kind(shape, contents) => {
                words = contents.to_le_bytes().to_vec();
                (Frame::KIND, Some(*shape), &words)
            }
        };
        let length = body.len() + number.map_or(0, |_| size_of::<u64>());
        let length = u32::try_from(length).ok().filter(|length| *length <= FRAME_BYTES_MAX);
        let length = length.ok_or_else(|| io::Error::other("an entry is too long"))?;
        self.buffer.push(kind);
        self.buffer.extend_from_slice(&length.to_le_bytes());
        number.into_iter().for_each(|number| self.buffer.extend_from_slice(&number.to_le_bytes()));
        self.buffer.extend_from_slice(body);
        if kind == Frame::PAGE {
            self.note_place(at);
        }
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(at)
    }

    /// Writes what is gathered. Returns the length of the file.
    pub(super) fn flush(&mut self) -> io::Result<u64> {
        self.file.write_all_at(&self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(self.written)
    }

    /// Reads the frame at `at`.
    pub(super) fn read_at(&mut self, at: u64) -> io::Result<Frame> {
        self.flush()?;
        let mut frames = Frames::at(&self.file, at, READ_BYTES);
        let (kind, length) = frames.head()?.ok_or_else(damaged)?;
        Frame::of(kind, frames.body(length)?).ok_or_else(damaged)
    }

    /// Prepares to read pages, which needs no access to the log afterwards. `ids` are in order.
    pub(super) fn look_up(&mut self, ids: &[u64]) -> io::Result<LookUp> {
        self.flush()?;
        let place = |id: &u64| {
            let number = usize::try_from(id / PAGES_APART).ok()?;
            self.places.get(number).copied()
        };
        let places = ids.iter().map(|id| place(id).ok_or_else(damaged)).collect::<io::Result<_>>()?;
        Ok(LookUp { file: Arc::clone(&self.file), places })
    }
}

/// Where pages are in the file, nearly.
pub(super) struct LookUp {
    file: Arc<File>,
    places: Vec<u64>,
}

impl LookUp {
    /// Reads the pages `ids`, for which this was made. Returns the parent and the URL of each.
    pub(super) fn read(&self, ids: &[u64]) -> io::Result<Vec<(Option<u64>, Vec<u8>)>> {
        let mut pages = Vec::with_capacity(ids.len());
        let mut reading: Option<(u64, Frames<'_>)> = None;
        for (&id, &place) in ids.iter().zip(&self.places) {
            let block = id - id % PAGES_APART;
            // The pages of one block are read one after the other.
            let (mut next, mut frames) = match reading.take() {
                Some((next, frames)) if (block..=id).contains(&next) => (next, frames),
                Some(_) | None => (block, Frames::at(&self.file, place, READ_BYTES)),
            };
            loop {
                let (kind, length) = frames.head()?.ok_or_else(damaged)?;
                if kind != Frame::PAGE {
                    frames.skip(length)?;
                } else if next < id {
                    frames.skip(length)?;
                    next += 1;
                } else {
                    let Some(Frame::Page(parent, _, url)) = Frame::of(kind, frames.body(length)?) else {
                        return Err(damaged());
                    };
                    pages.push((parent, url));
                    break;
                }
            }
            reading = Some((next + 1, frames));
        }
        Ok(pages)
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is damaged")
}

/// Reads frames from some place on. The position of the file itself is not used, because others write to it.
struct Frames<'a> {
    reader: BufReader<Positioned<'a>>,
    at: u64,
}

impl<'a> Frames<'a> {
    fn at(file: &'a File, at: u64, buffer_bytes: usize) -> Self {
        Self { reader: BufReader::with_capacity(buffer_bytes, Positioned { file, at }), at }
    }

    /// Reads the kind and the length of the next frame; `None` at the end of the file.
    fn head(&mut self) -> io::Result<Option<(u8, u32)>> {
        let mut head = [0; HEAD_BYTES];
        match self.reader.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        self.at += HEAD_BYTES as u64;
        let [kind, length @ ..] = head;
        let length = u32::from_le_bytes(length);
        if length > FRAME_BYTES_MAX { Err(damaged()) } else { Ok(Some((kind, length))) }
    }

    fn body(&mut self, length: u32) -> io::Result<Vec<u8>> {
        let mut body = vec![0; length as usize];
        self.reader.read_exact(&mut body)?;
        self.at += u64::from(length);
        Ok(body)
    }

    fn skip(&mut self, length: u32) -> io::Result<()> {
        self.at += u64::from(length);
        self.reader.seek_relative(length.into())
    }
}

/// A file, read at a position of its own.
struct Positioned<'a> {
    file: &'a File,
    at: u64,
}

impl Read for Positioned<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Positioned<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.file.metadata()?.len().checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(n: u64) -> Vec<u8> {
        format!("http://a/{n}").into_bytes()
    }

    #[test]
    fn pages_are_found_among_other_frames_and_after_a_resume() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = Log::create(&path).unwrap();
        for n in 0..1000 {
            log.append(&Frame::Page((n > 0).then(|| n - 1), n % 3 == 1, url(n))).unwrap();
            if n % 7 == 0 {
                log.append(&Frame::Waiting(n, vec![0; 20_000])).unwrap();
            }
        }
        let at = log.append(&Frame::State(b"state".to_vec())).unwrap();
        let bytes = log.flush().unwrap();
        log.append(&Frame::Alias(b"lost".to_vec())).unwrap();
        log.flush().unwrap();
        let check = |log: &mut Log| {
            for ids in [vec![0, 1, 2, 15, 16, 17, 31, 500, 998, 999], vec![], vec![999], (0..1000).collect()]
            {
                let pages = log.look_up(&ids).unwrap().read(&ids).unwrap();
                let want: Vec<_> = ids.iter().map(|&n| ((n > 0).then(|| n - 1), url(n))).collect();
                assert_eq!(pages, want);
            }
            assert!(log.look_up(&[1008]).is_err());
        };
        check(&mut log);
        assert_eq!(log.read_at(at).unwrap(), Frame::State(b"state".to_vec()));
        drop(log);
        let mut frames = Vec::new();
        let take = |frame, _| {
            frames.push(frame);
            Ok(())
        };
        let mut log = Log::resume(&path, bytes, take).unwrap();
        assert_eq!((frames.len(), frames.last()), (1144, Some(&Frame::State(b"state".to_vec()))));
        check(&mut log);
        assert_eq!(log.append(&Frame::Page(None, false, url(0))).unwrap(), bytes);
        assert!(Log::resume(&path, bytes + 1, |_, _| Ok(())).is_err());
        assert!(Log::resume(&path, bytes - 1, |_, _| Ok(())).is_err());
    }
}
