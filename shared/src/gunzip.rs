//! Reads gzip like gzip(1) and browsers do: several members in sequence, zero bytes after the last one, and a
//! truncated trailer. flate2's own reader rejects the last two. Truncated or invalid data is an error.

use std::fmt;
use std::io::{self, BufRead, Read};

use flate2::{Crc, Decompress, FlushDecompress, Status};

use crate::balance::Balance;

/// The first bytes of a member, including the only compression method.
const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];

/// Header flags for optional parts (RFC 1952, 2.3.1).
const HEADER_CRC: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;

/// Size of the checksum and the length.
const TRAILER_BYTES: usize = 8;

/// Reads the text of gzip data.
pub struct Gunzip<R> {
    packed: R,
    inflate: Decompress,
    crc: Crc,
    state: State,
    balance: Balance,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first member.
    Start,
    /// Inside a member.
    Body,
    /// After a member; another may follow.
    Between,
    Done,
}

impl<R> fmt::Debug for Gunzip<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gunzip").field("state", &self.state).finish_non_exhaustive()
    }
}

impl<R: BufRead> Gunzip<R> {
    /// Creates a reader of `packed`. Reads nothing yet.
    pub fn new(packed: R) -> Self {
        Self {
            packed,
            inflate: Decompress::new(false),
            crc: Crc::new(),
            state: State::Start,
            balance: Balance::default(),
        }
    }

    /// Returns the data that has not been read yet.
    pub const fn get_ref(&self) -> &R {
        &self.packed
    }

    fn header(&mut self) -> io::Result<()> {
        let mut head = [0; 10];
        self.packed.read_exact(&mut head).map_err(cut)?;
        self.count(head.len(), 0)?;
        let flags = head.get(3).copied().unwrap_or_default();
        if !head.starts_with(&MAGIC) {
            return Err(wrong("no gzip header"));
        }
        if flags & EXTRA != 0 {
            let mut length = [0; 2];
            self.packed.read_exact(&mut length).map_err(cut)?;
            self.skip(u64::from(u16::from_le_bytes(length)))?;
        }
        for _ in [NAME, COMMENT].iter().filter(|flag| flags & *flag != 0) {
            self.skip_text()?;
        }
        if flags & HEADER_CRC != 0 {
            self.skip(2)?;
        }
        self.inflate.reset(false);
        self.crc.reset();
        self.state = State::Body;
        Ok(())
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.packed.by_ref().take(bytes), &mut io::sink())?;
        if skipped < bytes {
            return Err(cut(io::ErrorKind::UnexpectedEof.into()));
        }
        self.count(usize::try_from(bytes).unwrap_or(usize::MAX), 0)
    }

    /// Counts bytes taken in and given out, and refuses data that comes to almost nothing.
    fn count(&mut self, taken: usize, given: usize) -> io::Result<()> {
        self.balance.add(taken, given);
        self.balance.check()
    }

    /// Skips a text that ends with a zero byte.
    fn skip_text(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.packed.fill_buf()?;
            if buffer.is_empty() {
                return Err(cut(io::ErrorKind::UnexpectedEof.into()));
            }
            let end = memchr::memchr(0, buffer);
            let used = end.map_or(buffer.len(), |end| end + 1);
            self.packed.consume(used);
            self.count(used, 0)?;
            if end.is_some() {
                return Ok(());
            }
        }
    }

    /// Continues after a member, with the next one or the end of the data. Zero bytes may pad the end.
    fn next_member(&mut self) -> io::Result<()> {
        let mut filled_up = false;
        loop {
            let buffer = self.packed.fill_buf()?;
            let Some(first) = buffer.first() else {
                self.state = State::Done;
                return Ok(());
            };
            if *first != 0 {
                let is_member = !filled_up && MAGIC.starts_with(&[*first]);
                return if is_member {
                    self.header()
                } else {
                    Err(wrong("something that is not gzip follows it"))
                };
            }
            let zeros = buffer.iter().take_while(|byte| **byte == 0).count();
            self.packed.consume(zeros);
            filled_up = true;
        }
    }

    /// Inflates into `buffer` and returns the number of bytes.
    fn body(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let input = self.packed.fill_buf()?;
            let at_end = input.is_empty();
            let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(input, buffer, FlushDecompress::None)?;
            let read = usize::try_from(self.inflate.total_in() - read).unwrap_or(usize::MAX);
            let written = usize::try_from(self.inflate.total_out() - written).unwrap_or(usize::MAX);
            self.packed.consume(read);
            self.count(read, written)?;
            self.crc.update(buffer.get(..written).unwrap_or_default());
            if status == Status::StreamEnd {
                self.trailer()?;
                return Ok(written);
            }
            if written > 0 {
                return Ok(written);
            }
            if at_end {
                return Err(cut(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Compares the checksum, if it is complete.
    fn trailer(&mut self) -> io::Result<()> {
        let mut trailer = Vec::with_capacity(TRAILER_BYTES);
        self.packed.by_ref().take(TRAILER_BYTES as u64).read_to_end(&mut trailer)?;
        let sums = [self.crc.sum(), self.crc.amount()].map(u32::to_le_bytes).concat();
        self.state = if trailer.len() < TRAILER_BYTES { State::Done } else { State::Between };
        if self.state == State::Between && trailer != sums {
            return Err(wrong("its checksum does not match"));
        }
        Ok(())
    }
}

/// Reports that the data is truncated.
fn cut(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        io::Error::new(error.kind(), "it ends in the middle")
    } else {
        error
    }
}

fn wrong(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl<R: BufRead> Read for Gunzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match self.state {
                State::Done => return Ok(0),
                State::Start => self.header()?,
                State::Between => self.next_member()?,
                State::Body => {
                    let count = self.body(buffer)?;
                    // A member without data does not end the whole data, and neither does the end of a member.
                    if count > 0 {
                        return Ok(count);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Write as _};

    use flate2::{Compression, GzBuilder};

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzBuilder::new()
            .filename("a name")
            .comment("a comment")
            .extra(vec![7; 300])
            .write(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn read(packed: &[u8], at_once: usize) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        let mut reader = Gunzip::new(BufReader::with_capacity(at_once, packed));
        let mut buffer = vec![0; at_once];
        loop {
            let count = reader.read(&mut buffer)?;
            if count == 0 {
                return Ok(text);
            }
            text.extend_from_slice(&buffer[..count]);
        }
    }

    #[test]
    fn data_that_gzip_accepts_is_read() {
        let text = b"http://a/\n".repeat(3000);
        let one = gzip(&text);
        let two = [one.clone(), gzip(b""), gzip(b"end")].concat();
        let cut = |bytes: usize| one[..one.len() - bytes].to_vec();
        let table = [
            ("one member", one.clone(), text.clone()),
            ("three members", two, [&text[..], b"end"].concat()),
            ("zero bytes behind it", [one.clone(), vec![0; 1000]].concat(), text.clone()),
            ("no trailer", cut(8), text.clone()),
            ("half a trailer", cut(3), text.clone()),
            ("two members, the last without a trailer", [one.clone(), cut(8)].concat(), text.repeat(2)),
            ("nothing in it", gzip(b""), Vec::new()),
        ];
        for (name, packed, want) in table {
            for at_once in [1, 7, 4096] {
                let got = read(&packed, at_once).unwrap_or_else(|error| panic!("{name}: {error}"));
                assert!(got == want, "{name}, {at_once} at once: {} bytes", got.len());
            }
        }
    }

    #[test]
    fn broken_data_is_an_error() {
        let good = gzip(&b"http://a/\n".repeat(3000));
        let mut sum = good.clone();
        let at = sum.len() - 6;
        sum[at] ^= 1;
        let table = [
            ("nothing", Vec::new(), "ends in the middle"),
            ("no gzip", b"http://a/ http://b/".to_vec(), "no gzip header"),
            ("members without data", gzip(b"").repeat(1000), "almost empty"),
            (
                "empty blocks",
                [&b"\x1f\x8b\x08\0\0\0\0\0\0\0"[..], &b"\0\0\0\xff\xff".repeat(100_000)].concat(),
                "almost empty",
            ),
            (
                "an endless name",
                [&b"\x1f\x8b\x08\x08\0\0\0\0\0\0"[..], &[b'a'; 300_000]].concat(),
                "almost empty",
            ),
            ("cut in its data", good[..good.len() - 9].to_vec(), "ends in the middle"),
            ("cut in its header", good[..20].to_vec(), "ends in the middle"),
            ("cut in another's header", [&good[..], &good[..5]].concat(), "ends in the middle"),
            ("another checksum", sum, "checksum does not match"),
            ("text behind it", [&good[..], b"more"].concat(), "something that is not gzip"),
            ("text behind zero bytes", [&good[..], b"\0\0more"].concat(), "something that is not gzip"),
        ];
        for (name, packed, says) in table {
            for at_once in [1, 4096] {
                let error = read(&packed, at_once).expect_err(name).to_string();
                assert!(error.contains(says), "{name}: {error}");
            }
        }
    }
}
