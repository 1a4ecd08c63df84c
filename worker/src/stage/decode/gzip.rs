//! Reads the header of a gzip member (RFC 1952), in pieces of any size.

const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The only compression method that is defined.
const DEFLATE: u8 = 8;

const HAS_CRC: u8 = 1 << 1;
const HAS_EXTRA: u8 = 1 << 2;
const HAS_NAME: u8 = 1 << 3;
const HAS_COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0xe0;

/// The next part of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Magic(u8),
    Method,
    Flags,
    /// Time, compression level and system: how many of their six bytes are left.
    About(u8),
    ExtraLow,
    ExtraHigh(u8),
    Extra(u16),
    Name,
    Comment,
    /// How many bytes of the header's own checksum are left. It is not checked.
    Crc(u8),
    Data,
}

/// The state of reading a header.
#[derive(Debug)]
pub(super) struct Head {
    part: Part,
    flags: u8,
}

impl Default for Head {
    fn default() -> Self {
        Self { part: Part::Magic(0), flags: 0 }
    }
}

impl Head {
    pub(super) fn is_complete(&self) -> bool {
        self.part == Part::Data
    }

    /// Continues and returns how many bytes of `input` belong to the header. Returns `None` if it is not a gzip
    /// header.
    pub(super) fn push(&mut self, input: &[u8]) -> Option<usize> {
        for (at, byte) in input.iter().enumerate() {
            if self.is_complete() {
                return Some(at);
            }
            self.part = self.step(*byte)?;
        }
        Some(input.len())
    }

    fn step(&mut self, byte: u8) -> Option<Part> {
        match self.part {
            Part::Magic(at) => {
                let is_magic = MAGIC.get(usize::from(at)) == Some(&byte);
                is_magic.then_some(if at == 0 { Part::Magic(1) } else { Part::Method })
            }
            Part::Method => (byte == DEFLATE).then_some(Part::Flags),
            Part::Flags => {
                self.flags = byte;
                (byte & RESERVED == 0).then_some(Part::About(6))
            }
            Part::About(left) if left > 1 => Some(Part::About(left - 1)),
            Part::About(_) => Some(self.after(0)),
            Part::ExtraLow => Some(Part::ExtraHigh(byte)),
            Part::ExtraHigh(low) => Some(match u16::from_le_bytes([low, byte]) {
                0 => self.after(HAS_EXTRA),
                length => Part::Extra(length),
            }),
            Part::Extra(left) if left > 1 => Some(Part::Extra(left - 1)),
            Part::Extra(_) => Some(self.after(HAS_EXTRA)),
            Part::Name => Some(if byte == 0 { self.after(HAS_NAME) } else { Part::Name }),
            Part::Comment => Some(if byte == 0 { self.after(HAS_COMMENT) } else { Part::Comment }),
            Part::Crc(left) if left > 1 => Some(Part::Crc(left - 1)),
            Part::Crc(_) | Part::Data => Some(Part::Data),
        }
    }

    /// Returns the part that follows the optional one with this flag.
    const fn after(&self, flag: u8) -> Part {
        if flag < HAS_EXTRA && self.flags & HAS_EXTRA != 0 {
            Part::ExtraLow
        } else if flag < HAS_NAME && self.flags & HAS_NAME != 0 {
            Part::Name
        } else if flag < HAS_COMMENT && self.flags & HAS_COMMENT != 0 {
            Part::Comment
        } else if self.flags & HAS_CRC != 0 {
            Part::Crc(2)
        } else {
            Part::Data
        }
    }
}
