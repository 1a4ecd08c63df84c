//! Decodes zstd frames with libzstd, and checks what libzstd checks only sometimes.

use std::io;

use zstd::stream::raw::{DParameter, Decoder, Operation as _};
use zstd::zstd_safe::get_frame_content_size;

use super::inflate::Step;

/// RFC 9659 limits the window of the zstd content coding to 8 MiB.
const WINDOW_LOG_MAX: u32 = 23;

/// Largest size of a frame's header (RFC 8878, 3.1.1), with its magic number.
const HEADER_BYTES_MAX: usize = 18;

/// Size of the optional checksum after a frame.
const CHECKSUM_BYTES: usize = 4;

/// libzstd's error for a frame whose data is complete and whose checksum differs.
const CHECKSUM_WRONG: &str = "Restored data doesn't match checksum";

pub(super) struct Frames {
    decoder: Decoder<'static>,
    /// The start of the current frame. Its header says how many bytes come out of it, if the encoder knew.
    start: Vec<u8>,
    /// Bytes that have come out of it.
    given: u64,
}

impl Frames {
    pub(super) fn new() -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
        Ok(Self { decoder, start: Vec::with_capacity(HEADER_BYTES_MAX), given: 0 })
    }

    /// Decodes some of `input` into `output`, up to the end of a frame. Returns `None` if the data is invalid.
    ///
    /// libzstd decodes a frame that is in its input as a whole in another way, and accepts more there: larger windows,
    /// and blocks that are too large. So the start of a frame is passed on byte by byte.
    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Option<Step> {
        let is_at_start = self.start.len() < HEADER_BYTES_MAX;
        let input = input.get(..1).filter(|_| is_at_start).unwrap_or(input);
        let status = self.decoder.run_on_buffers(input, output).ok()?;
        let missing = HEADER_BYTES_MAX.saturating_sub(self.start.len());
        self.start.extend_from_slice(input.get(..status.bytes_read.min(missing))?);
        self.given = self.given.saturating_add(status.bytes_written as u64);
        let ended = status.remaining == 0;
        if ended {
            if !self.has_its_size() {
                return None;
            }
            self.start.clear();
            self.given = 0;
        }
        Some(Step { consumed: status.bytes_read, produced: status.bytes_written, ended })
    }

    /// Whether as much has come out of the frame as its header says. libzstd does not check that of a frame that
    /// arrives in pieces and ends with an empty block.
    fn has_its_size(&self) -> bool {
        get_frame_content_size(&self.start).is_ok_and(|size| size.is_none_or(|size| size == self.given))
    }

    /// Whether a frame that has not ended lacks only its checksum.
    ///
    /// libzstd does not say where a frame's data ended. But it compares the checksum only after the data. So a made-up
    /// checksum reveals it: if libzstd reports the checksum, the data was complete.
    pub(super) fn has_all_data(&mut self) -> bool {
        let mut output = [0; 1];
        for _ in 0..CHECKSUM_BYTES {
            match self.decoder.run_on_buffers(&[0], &mut output) {
                Ok(status) if status.bytes_written == 0 && status.remaining > 0 => {}
                // The zeros were taken for data.
                Ok(_) => return false,
                Err(error) => return error.to_string() == CHECKSUM_WRONG && self.has_its_size(),
            }
        }
        false
    }
}
