//! Packs text into members (gzip) or frames (zstd), each of which holds whole records.
//! Several of them in a row are a valid file, so an output that is cut back to the end
//! of one is valid too. Packing costs little compared with the work on a page, and a
//! member of one record would hardly shrink. So this is done where records come
//! together, and not by the workers.

use std::io::{self, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use zstd::stream::write::Encoder as ZstdEncoder;

use crate::format::Packing;

/// Bytes of text in one member. Parallel readers read members separately; larger ones hardly pack better.
pub(super) const MEMBER_BYTES: usize = 4 << 20;

/// Bytes of text that make a member worth ending when nothing else is to be done.
pub(super) const IDLE_BYTES: usize = 64 << 10;

/// zstd's own default: as fast as a disk, and smaller than gzip.
const ZSTD_LEVEL: i32 = 3;

/// Packs text.
pub(super) struct Packer {
    packing: Packing,
    member: Option<Member>,
    /// Text in the member that is open.
    bytes: usize,
}

enum Member {
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(ZstdEncoder<'static, Vec<u8>>),
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer").field("packing", &self.packing).field("bytes", &self.bytes).finish()
    }
}

impl Packer {
    pub(super) const fn new(packing: Packing) -> Self {
        Self { packing, member: None, bytes: 0 }
    }

    /// Text in the member that is open.
    pub(super) const fn open_bytes(&self) -> usize {
        self.bytes
    }

    /// Adds whole records to the member that is open.
    pub(super) fn write(&mut self, text: &[u8]) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.bytes += text.len();
        let member = match &mut self.member {
            Some(member) => member,
            none => none.insert(Member::begin(self.packing)?),
        };
        match member {
            Member::Gzip(encoder) => encoder.write_all(text),
            Member::Zstd(encoder) => encoder.write_all(text),
        }
    }

    /// Ends the last member of a file. A file that `is_empty` gets a member without text: without any member it
    /// would not be a valid packed file.
    pub(super) fn end_file(&mut self, is_empty: bool) -> io::Result<Vec<u8>> {
        if is_empty && self.member.is_none() {
            self.member = Some(Member::begin(self.packing)?);
        }
        self.end()
    }

    /// Ends the member; nothing if none is open.
    pub(super) fn end(&mut self) -> io::Result<Vec<u8>> {
        self.bytes = 0;
        match self.member.take() {
            None => Ok(Vec::new()),
            Some(Member::Gzip(encoder)) => encoder.finish(),
            Some(Member::Zstd(encoder)) => encoder.finish(),
        }
    }
}

impl Member {
    fn begin(packing: Packing) -> io::Result<Self> {
        Ok(match packing {
            Packing::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Compression::default())),
            Packing::Zstd => {
                let mut encoder = ZstdEncoder::new(Vec::new(), ZSTD_LEVEL)?;
                encoder.include_checksum(true)?;
                Self::Zstd(encoder)
            }
        })
    }
}

/// Packs a whole text.
///
/// # Errors
/// When there is no memory for it.
pub(crate) fn packed(packing: Packing, text: &[u8]) -> io::Result<Vec<u8>> {
    let mut packer = Packer::new(packing);
    packer.write(text)?;
    packer.end_file(true)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn members_one_after_the_other_are_a_file_and_so_are_the_first_of_them() {
        for packing in [Packing::Gzip, Packing::Zstd] {
            let mut packer = Packer::new(packing);
            assert!(packer.end().unwrap().is_empty() && packer.end_file(false).unwrap().is_empty());
            assert!(!packer.end_file(true).unwrap().is_empty());
            let (mut file, mut text) = (Vec::new(), Vec::new());
            for n in 0..3 {
                let records = format!("record {n}\n").repeat(1000);
                packer.write(records.as_bytes()).unwrap();
                assert_eq!(packer.open_bytes(), records.len());
                text.extend_from_slice(records.as_bytes());
                file.extend(packer.end().unwrap());
                let mut read = Vec::new();
                match packing {
                    Packing::Gzip => {
                        flate2::read::MultiGzDecoder::new(file.as_slice()).read_to_end(&mut read).unwrap()
                    }
                    Packing::Zstd => zstd::stream::read::Decoder::new(file.as_slice())
                        .unwrap()
                        .read_to_end(&mut read)
                        .unwrap(),
                };
                assert!(read == text, "{packing:?}");
                assert!(file.len() < text.len() / 4);
            }
        }
    }
}
