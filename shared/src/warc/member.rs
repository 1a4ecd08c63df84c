//! One gzip member for each record (RFC 1952), as WARC demands, so that a reader can
//! begin at any record. The compressor's tables are reused: allocating new ones would
//! cost more than compressing a small page.

use flate2::{Compress, Compression, FlushCompress, Status};

/// Compression level. The next level takes half as long again and makes pages a few percent smaller.
const LEVEL: u32 = 1;

/// Smaller records are stored: resetting the tables costs more than their bytes.
const SHRINK_BYTES_MIN: usize = 1024;

/// Magic number, deflate, no flags, no time, fastest, made on Unix.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 3];

/// Most bytes in a stored block of deflate.
const STORED_BYTES_MAX: usize = u16::MAX as usize;

#[derive(Debug)]
pub(super) struct Packer {
    deflate: Compress,
}

impl Default for Packer {
    fn default() -> Self {
        Self { deflate: Compress::new(Compression::new(LEVEL), false) }
    }
}

impl Packer {
    /// Appends the parts to `out` as one member.
    pub(super) fn pack(&mut self, parts: &[&[u8]], shrinks: bool, out: &mut Vec<u8>) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        out.extend_from_slice(&HEADER);
        let begin = out.len();
        // At this level random bytes grow by a twentieth: they are stored instead.
        let tried = shrinks && length >= SHRINK_BYTES_MIN && self.deflate(parts, length, out);
        if !tried || out.len() - begin >= length {
            out.truncate(begin);
            store(parts, out);
        }
        let mut crc = crc32fast::Hasher::new();
        for part in parts {
            crc.update(part);
        }
        out.extend_from_slice(&crc.finalize().to_le_bytes());
        // Of the length, only the lower half counts.
        out.extend_from_slice(&u32::try_from(length & 0xffff_ffff).unwrap_or(0).to_le_bytes());
    }

    /// Compresses. Returns false if the compressor refuses, which it does not do with room for everything.
    fn deflate(&mut self, parts: &[&[u8]], length: usize, out: &mut Vec<u8>) -> bool {
        self.deflate.reset();
        // Incompressible data grows by 5 bytes for about every 16 KiB.
        out.reserve(length / 2 + 64);
        for (number, part) in parts.iter().enumerate() {
            let flush = if number + 1 == parts.len() { FlushCompress::Finish } else { FlushCompress::None };
            if !self.deflate_part(part, flush, out) {
                return false;
            }
        }
        true
    }

    fn deflate_part(&mut self, mut part: &[u8], flush: FlushCompress, out: &mut Vec<u8>) -> bool {
        let finishing = matches!(flush, FlushCompress::Finish);
        loop {
            let before = self.deflate.total_in();
            let Ok(status) = self.deflate.compress_vec(part, out, flush) else { return false };
            let read = usize::try_from(self.deflate.total_in() - before).unwrap_or(usize::MAX);
            part = part.get(read..).unwrap_or_default();
            if status == Status::StreamEnd || (part.is_empty() && !finishing) {
                return true;
            }
            out.reserve(part.len() / 2 + 64);
        }
    }
}

/// Deflate without compression: blocks with their length before them.
fn store(parts: &[&[u8]], out: &mut Vec<u8>) {
    out.reserve(parts.iter().map(|part| part.len() + part.len() / STORED_BYTES_MAX * 5 + 8).sum());
    for block in parts.iter().flat_map(|part| part.chunks(STORED_BYTES_MAX)) {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(0);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    // The last one, which is empty.
    out.extend_from_slice(&[1, 0, 0, 0xff, 0xff]);
}
