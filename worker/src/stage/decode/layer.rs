//! One coding of a stack: its decoder, and what it has decoded and not passed on.

use brotli::enc::StandardAlloc;
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};
use shared::balance::Balance;

use super::frames::Frames;
use super::inflate::{Inflate, Step};
use super::{Coding, DecodeError};

/// Maximum bytes that a step gives out. Small enough to stay in the CPU's cache.
const SCRATCH_BYTES: usize = 32 * 1024;

/// Maximum bytes that a step takes in, which limits how long it lasts.
const PIECE_BYTES: usize = 8 * 1024;

pub(super) struct Layer {
    coding: Coding,
    codec: Codec,
    scratch: Box<[u8]>,
    /// Start and end of what is decoded and not passed on.
    ready: (usize, usize),
    balance: Balance,
    begun: bool,
    /// The last step had no room for all of its output.
    more_inside: bool,
    /// A stream has ended; another one may follow.
    ended: bool,
    /// Only padding follows the last stream.
    over: bool,
    /// More than one stream has begun.
    restarted: bool,
}

impl Layer {
    pub(super) fn new(coding: Coding) -> Result<Self, DecodeError> {
        let codec = match coding {
            Coding::Gzip => Codec::Inflate(Inflate::gzip()),
            Coding::Deflate => Codec::Inflate(Inflate::deflate()),
            Coding::Brotli => Codec::Brotli(Box::new(BrotliState::new(
                StandardAlloc::default(),
                StandardAlloc::default(),
                StandardAlloc::default(),
            ))),
            Coding::Zstd => Codec::Zstd(Frames::new().map_err(|_| DecodeError::Corrupt(coding.name()))?),
        };
        let scratch = vec![0; SCRATCH_BYTES].into_boxed_slice();
        Ok(Self {
            coding,
            codec,
            scratch,
            ready: (0, 0),
            balance: Balance::default(),
            begun: false,
            more_inside: false,
            ended: false,
            over: false,
            restarted: false,
        })
    }

    pub(super) const fn name(&self) -> &'static str {
        self.coding.name()
    }

    /// Returns what is decoded and not passed on.
    pub(super) fn ready(&self) -> &[u8] {
        self.scratch.get(self.ready.0..self.ready.1).unwrap_or_default()
    }

    /// Removes the first bytes of what is ready.
    pub(super) const fn take(&mut self, bytes: usize) {
        self.ready.0 += bytes;
    }

    /// Returns how many bytes it has given out in all.
    pub(super) const fn given(&self) -> u64 {
        self.balance.given()
    }

    /// Does one step and returns how many bytes it has taken and given. Returns `None` if there is nothing to do, or
    /// something ready to be passed on first.
    pub(super) fn work(&mut self, input: &[u8]) -> Result<Option<(usize, usize)>, DecodeError> {
        let is_idle = input.is_empty() && !self.more_inside;
        if is_idle || !self.ready().is_empty() {
            return Ok(None);
        }
        self.begun = true;
        if self.ended && !self.restart(input) {
            return Ok(Some((input.len(), 0)));
        }
        let input = input.get(..PIECE_BYTES).unwrap_or(input);
        let Some(step) = self.codec.step(input, &mut self.scratch) else {
            return self.refuse().map(|()| Some((input.len(), 0)));
        };
        if step.consumed == 0 && step.produced == 0 && !step.ended && !input.is_empty() {
            // A decoder consumes all its input before it waits for more.
            return Err(DecodeError::Corrupt(self.name()));
        }
        self.ready = (0, step.produced);
        self.ended = step.ended;
        self.more_inside = step.produced == self.scratch.len() && !step.ended;
        self.balance.add(step.consumed, step.produced);
        if self.balance.is_hollow() {
            return Err(DecodeError::Hollow(self.name()));
        }
        Ok(Some((step.consumed, step.produced)))
    }

    /// Whether another stream follows the end of a stream. Otherwise the rest is padding, which some servers send
    /// and gzip and every browser ignore.
    fn restart(&mut self, input: &[u8]) -> bool {
        let is_next = match (self.coding, input.first()) {
            (_, None) => false,
            (Coding::Gzip, Some(byte)) => *byte == 0x1f,
            // A frame, or a skippable frame (RFC 8878, 3.1).
            (Coding::Zstd, Some(byte)) => *byte == 0x28 || byte & 0xf0 == 0x50,
            (Coding::Deflate | Coding::Brotli, Some(_)) => false,
        };
        if self.over || !is_next {
            self.over = true;
            return false;
        }
        if let Codec::Inflate(inflate) = &mut self.codec {
            inflate.restart_gzip();
        }
        self.restarted = true;
        true
    }

    /// Handles invalid data. After a complete stream, anything that is not another stream is padding.
    fn refuse(&mut self) -> Result<(), DecodeError> {
        if self.in_later_head() {
            (self.ended, self.over) = (true, true);
            return Ok(());
        }
        Err(DecodeError::Corrupt(self.name()))
    }

    /// Whether no data of a possible further stream has arrived yet.
    fn in_later_head(&self) -> bool {
        self.restarted && matches!(&self.codec, Codec::Inflate(inflate) if inflate.in_head())
    }

    /// Whether data is missing.
    pub(super) fn is_short(&mut self) -> bool {
        self.begun && !self.ended && !self.in_later_head() && !self.codec.has_all_data()
    }
}

enum Codec {
    Inflate(Inflate),
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>),
    Zstd(Frames),
}

impl Codec {
    /// Decodes some of `input` into `output`. Returns `None` if the data is invalid.
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Option<Step> {
        match self {
            Self::Inflate(inflate) => inflate.step(input, output),
            Self::Brotli(state) => step_brotli(state, input, output),
            Self::Zstd(frames) => frames.step(input, output),
        }
    }

    /// Whether a stream that has not ended lacks only its checksum.
    fn has_all_data(&mut self) -> bool {
        match self {
            Self::Inflate(inflate) => inflate.has_all_data(),
            Self::Brotli(_) => false,
            Self::Zstd(frames) => frames.has_all_data(),
        }
    }
}

fn step_brotli(
    state: &mut BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    input: &[u8],
    output: &mut [u8],
) -> Option<Step> {
    let (mut left, mut consumed) = (input.len(), 0);
    let (mut room, mut produced) = (output.len(), 0);
    let mut total = 0;
    let result = BrotliDecompressStream(
        &mut left,
        &mut consumed,
        input,
        &mut room,
        &mut produced,
        output,
        &mut total,
        state,
    );
    match result {
        BrotliResult::ResultFailure => None,
        BrotliResult::ResultSuccess => Some(Step { consumed, produced, ended: true }),
        BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {
            Some(Step { consumed, produced, ended: false })
        }
    }
}
