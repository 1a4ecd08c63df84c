//! Reads zstd frames one after the other. Unlike the reader of the `zstd` crate, it does not stay inside one call for
//! as long as frames follow that hold nothing.

use std::fmt;
use std::io::{self, BufRead, Read};

use zstd::stream::raw::{DParameter, Decoder, Operation as _};

use crate::balance::Balance;

/// Reads the text of zstd data.
pub struct Unzstd<R> {
    packed: R,
    decoder: Decoder<'static>,
    in_frame: bool,
    balance: Balance,
}

impl<R> fmt::Debug for Unzstd<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unzstd").field("in_frame", &self.in_frame).finish_non_exhaustive()
    }
}

impl<R: BufRead> Unzstd<R> {
    /// Creates a reader of `packed` whose window has at most 2 to the power of `window_log_max` bytes. Reads nothing
    /// yet.
    ///
    /// # Errors
    /// The decoder cannot be set up.
    pub fn new(packed: R, window_log_max: u32) -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(window_log_max))?;
        Ok(Self { packed, decoder, in_frame: false, balance: Balance::default() })
    }
}

impl<R: BufRead> Read for Unzstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let input = self.packed.fill_buf()?;
            let at_end = input.is_empty();
            if at_end && !self.in_frame {
                return Ok(0);
            }
            let step = self.decoder.run_on_buffers(input, buffer)?;
            self.packed.consume(step.bytes_read);
            self.in_frame = step.remaining > 0;
            self.balance.add(step.bytes_read, step.bytes_written);
            if step.bytes_written > 0 {
                return Ok(step.bytes_written);
            }
            if at_end {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends in the middle"));
            }
            self.balance.check()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn read(packed: &[u8], at_once: usize) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        Unzstd::new(BufReader::with_capacity(at_once, packed), 27)?.read_to_end(&mut text)?;
        Ok(text)
    }

    #[test]
    fn frames_are_read_one_after_the_other() {
        let text = b"http://a/\n".repeat(30_000);
        let frame = |text: &[u8]| zstd::encode_all(text, 1).unwrap();
        let skippable = [&b"\x50\x2a\x4d\x18\x03\0\0\0"[..], b"any"].concat();
        let several = [frame(&text), frame(b""), skippable, frame(b"end")].concat();
        for at_once in [1, 4096] {
            assert!(read(&several, at_once).unwrap() == [&text[..], b"end"].concat(), "{at_once}");
            assert_eq!(read(b"", at_once).unwrap(), b"");
            let cut = read(&several[..several.len() - 2], at_once).unwrap_err();
            assert_eq!(cut.to_string(), "it ends in the middle");
            assert!(read(b"no zstd at all", at_once).is_err());
        }
    }

    #[test]
    fn endless_empty_frames_are_refused() {
        let empty = zstd::encode_all(&b""[..], 1).unwrap().repeat(100_000);
        let skippable = b"\x50\x2a\x4d\x18\0\0\0\0".repeat(100_000);
        for hollow in [empty, skippable] {
            let error = read(&hollow, 4096).unwrap_err().to_string();
            assert!(error.contains("almost empty"), "{error}");
        }
    }
}
