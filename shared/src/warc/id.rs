//! Ids of records: UUIDs.

use std::fmt;

use super::digest::sha1_of;

/// The id of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id([u8; 16]);

impl Id {
    /// A new id, made of random bytes (version 4).
    #[must_use]
    pub const fn random(bytes: [u8; 16]) -> Self {
        Self(bytes).versioned(4)
    }

    /// An id that was made before.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// The id of something that belongs to what this id names (version 5).
    #[must_use]
    pub(super) fn child(self, name: &str) -> Self {
        let digest = sha1_of(&[&self.0, name.as_bytes()]);
        let mut bytes = [0; 16];
        for (byte, from) in bytes.iter_mut().zip(digest) {
            *byte = from;
        }
        Self(bytes).versioned(5)
    }

    const fn versioned(self, version: u8) -> Self {
        let mut bytes = self.0;
        bytes[6] = bytes[6] & 0x0f | version << 4;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }

    /// Reads `urn:uuid:…`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = text.strip_prefix("urn:uuid:")?.split('-').collect();
        let mut bytes = [0; 16];
        if digits.len() != 32 {
            return None;
        }
        for (byte, two) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("urn:uuid:")?;
        for (number, byte) in self.0.iter().enumerate() {
            if matches!(number, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}
