//! Opens lists, and decompresses them while they are read: a list of 100 GB is never decompressed to disk or
//! memory as a whole.
//!
//! The compression is known by the name alone, so that it also works for named pipes.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use encoding_rs::Encoding;
use shared::gunzip::Gunzip;
use shared::unzstd::Unzstd;

use super::Bytes;
use super::{SourceError, text};
use crate::format::Packing;

/// Bytes read at a time from a compressed file.
const BUFFER_BYTES: usize = 64 * 1024;

/// The largest window of a zstd frame, and so the memory of its decoder: 128 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Returns the name of the list without the extension of its compression.
#[must_use]
pub fn unpacked(path: &Path) -> PathBuf {
    if Packing::of(path).is_some() { path.with_extension("") } else { path.to_owned() }
}

/// An open list.
pub(super) struct OpenList {
    pub(super) bytes: Bytes,
    /// Bytes of the file read so far, if it is compressed or encoded. The decoded bytes do not show how much
    /// is left.
    pub(super) packed_bytes: Option<PackedBytes>,
}

/// The number of bytes read from a compressed file.
#[derive(Debug, Clone, Default)]
pub(super) struct PackedBytes(Arc<AtomicU64>);

impl PackedBytes {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl OpenList {
    /// Opens a stream without a name.
    pub(super) fn stream(bytes: Bytes, encoding: Option<&'static Encoding>) -> Self {
        Self { bytes: text::decoded(bytes, encoding), packed_bytes: None }
    }
}

/// A list that is open, and of which nothing was read.
#[derive(Debug)]
pub(super) struct ListFile {
    /// Its name, which also says what is in it.
    pub(super) path: PathBuf,
    pub(super) file: File,
}

impl ListFile {
    pub(super) fn open(path: &Path) -> Result<Self, SourceError> {
        let file = File::open(path).map_err(|error| SourceError::Open { path: path.to_owned(), error })?;
        Ok(Self { path: path.to_owned(), file })
    }
}

/// Reads a list. Its encoding is `encoding` unless a byte order mark gives another.
pub(super) fn read(list: ListFile, encoding: Option<&'static Encoding>) -> Result<OpenList, SourceError> {
    let ListFile { path, file } = list;
    let refused = |error| SourceError::Open { path: path.clone(), error };
    let Some(packing) = Packing::of(&path) else {
        if encoding.is_none() && !is_marked(&file) {
            return Ok(OpenList::stream(Box::new(file), None));
        }
        let count = PackedBytes::default();
        let file = Counted { file, count: count.clone() };
        return Ok(OpenList { packed_bytes: Some(count), ..OpenList::stream(Box::new(file), encoding) });
    };
    let count = PackedBytes::default();
    let file = Counted { file, count: count.clone() };
    let unpacked: Bytes = match packing {
        Packing::Gzip => Box::new(Gunzip::new(BufReader::with_capacity(BUFFER_BYTES, file))),
        Packing::Zstd => {
            let packed = BufReader::with_capacity(BUFFER_BYTES, file);
            Box::new(Unzstd::new(packed, ZSTD_WINDOW_LOG_MAX).map_err(refused)?)
        }
    };
    let bytes = Box::new(Unpacking { unpacked, packing });
    Ok(OpenList { packed_bytes: Some(count), ..OpenList::stream(bytes, encoding) })
}

/// Whether a file begins with a byte order mark. A pipe cannot be checked yet.
fn is_marked(file: &File) -> bool {
    let mut begin = [0; 3];
    let count = file.read_at(&mut begin, 0).unwrap_or(0);
    text::marked(begin.get(..count).unwrap_or_default()).is_some()
}

struct Counted {
    file: File,
    count: PackedBytes,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.count.0.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Adds the compression's name to errors.
struct Unpacking {
    unpacked: Bytes,
    packing: Packing,
}

impl Read for Unpacking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.unpacked.read(buffer).map_err(|error| {
            if error.kind() == io::ErrorKind::Interrupted {
                return error;
            }
            io::Error::new(error.kind(), format!("its {} data is damaged: {error}", self.packing.name()))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;

    fn read(path: &Path) -> io::Result<(Vec<u8>, Option<u64>)> {
        let mut opened = super::read(ListFile::open(path).unwrap(), None).unwrap();
        let mut bytes = Vec::new();
        opened.bytes.read_to_end(&mut bytes)?;
        Ok((bytes, opened.packed_bytes.map(|count| count.get())))
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_packed_list_reads_as_what_is_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let text = b"http://a/\n".repeat(100_000);
        let two_members = [gzip(&text), gzip(b"http://b/\n")].concat();
        let two_frames = [zstd::encode_all(&*text, 1).unwrap(), zstd::encode_all(&b"c\n"[..], 1).unwrap()];
        for (name, packed, last) in
            [("a.GZ", two_members, &b"http://b/\n"[..]), ("a.zst", two_frames.concat(), b"c\n")]
        {
            let path = directory.path().join(name);
            fs::write(&path, &packed).unwrap();
            let (bytes, count) = read(&path).unwrap();
            assert!(bytes == [&text, last].concat(), "{name}");
            assert_eq!(count, Some(packed.len() as u64), "{name}");
        }
    }

    #[test]
    fn broken_data_is_said_to_be() {
        let directory = tempfile::tempdir().unwrap();
        let good = gzip(&b"http://a/\n".repeat(1000));
        for (name, bytes, says) in [
            ("plain.gz", &b"http://a/\n"[..], "its gzip data is damaged"),
            ("cut.gz", &good[..good.len() - 9], "its gzip data is damaged: it ends in the middle"),
            ("plain.zst", b"http://a/\n", "its zstd data is damaged"),
        ] {
            let path = directory.path().join(name);
            fs::write(&path, bytes).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains(says), "{name}: {error}");
        }
    }

    #[test]
    fn what_gzip_reads_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let text = b"http://a/\n".repeat(1000);
        let good = gzip(&text);
        for (name, bytes) in
            [("no-trailer.gz", good[..good.len() - 8].to_vec()), ("zeros.gz", [&good[..], &[0; 99]].concat())]
        {
            let path = directory.path().join(name);
            fs::write(&path, &bytes).unwrap();
            assert!(read(&path).unwrap() == (text.clone(), Some(bytes.len() as u64)), "{name}");
        }
    }

    #[test]
    fn the_name_tells_what_is_inside() {
        for (path, inside) in [("a/urls.csv.gz", "a/urls.csv"), ("b.ZST", "b"), ("c.txt", "c.txt")] {
            assert_eq!(unpacked(Path::new(path)), Path::new(inside));
        }
    }
}
