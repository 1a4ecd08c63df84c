//! Encodes messages to bytes and back, in pieces small enough for the channel.
//!
//! ipc-channel blocks while it receives a message larger than one socket fragment, whatever timeout
//! was given. So nothing larger than [`MESSAGE_BYTES_MAX`] is ever sent. A larger message (a record
//! with a hundred thousand links) is sent as several pieces, which the receiver joins again. If the
//! sender dies in between, the unfinished join is dropped with the channel.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Maximum size of a single message on a channel in bytes, including its tag.
pub const MESSAGE_BYTES_MAX: usize = 32 * 1024;

/// Maximum size of a joined message in bytes. A peer that sends more is not one of ours; what is
/// less than this may still be too much for its job.
pub const JOINED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// This piece completes its message.
const LAST: u8 = 0;
/// More pieces of the same message follow.
const MORE: u8 = 1;

const CONFIG: Configuration<LittleEndian, Varint, Limit<JOINED_BYTES_MAX>> =
    bincode::config::standard().with_limit::<JOINED_BYTES_MAX>();

/// Why bytes are not a message.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The value could not be encoded.
    #[error("cannot encode a message: {0}")]
    Encode(#[from] bincode::error::EncodeError),
    /// The bytes do not decode as the expected type.
    #[error("cannot decode a message: {0}")]
    Decode(#[from] bincode::error::DecodeError),
    /// The message is followed by more bytes.
    #[error("a message is followed by {0} extra bytes")]
    TrailingBytes(usize),
    /// An empty piece, or an unknown tag.
    #[error("a piece of a message is malformed")]
    Piece,
    /// The message would be larger than allowed.
    #[error("a message has more than {0} bytes")]
    TooLong(usize),
}

/// Encodes `message` and passes each piece to `send`, in order.
///
/// `scratch` is reused between calls so that the hot path does not allocate.
///
/// # Errors
/// [`CodecError::Encode`] as the outer error; the error of `send` as the inner one.
pub fn send<T: Serialize, E>(
    message: &T,
    scratch: &mut Vec<u8>,
    mut send: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<Result<(), E>, CodecError> {
    scratch.clear();
    scratch.push(LAST);
    bincode::serde::encode_into_std_write(message, scratch, CONFIG)?;
    if scratch.len() <= MESSAGE_BYTES_MAX {
        return Ok(send(scratch));
    }
    let body = scratch.get(1..).unwrap_or_default();
    let mut pieces = body.chunks(MESSAGE_BYTES_MAX - 1).peekable();
    let mut piece = Vec::with_capacity(MESSAGE_BYTES_MAX);
    while let Some(bytes) = pieces.next() {
        piece.clear();
        piece.push(if pieces.peek().is_some() { MORE } else { LAST });
        piece.extend_from_slice(bytes);
        if let Err(error) = send(&piece) {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}

/// Joins the pieces of one channel into messages.
#[derive(Debug, Default)]
pub struct Joiner {
    joined: Vec<u8>,
}

/// Returns the number of the variant of an `enum` that these bytes begin with.
#[must_use]
pub fn variant(start: &[u8]) -> Option<u32> {
    bincode::serde::decode_from_slice(start, CONFIG).ok().map(|(variant, _)| variant)
}

impl Joiner {
    /// Takes the next piece. Returns the message if this piece completes it.
    ///
    /// # Errors
    /// [`CodecError`] if the peer sent something that no build of ours sends. The channel is then
    /// unusable.
    pub fn push<T: DeserializeOwned>(&mut self, piece: &[u8]) -> Result<Option<T>, CodecError> {
        self.push_below(piece, |_| JOINED_BYTES_MAX)
    }

    /// The same. `limit` returns the most bytes of a message that starts with these.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn push_below<T: DeserializeOwned>(
        &mut self,
        piece: &[u8],
        limit: impl Fn(&[u8]) -> usize,
    ) -> Result<Option<T>, CodecError> {
        let (tag, body) = piece.split_first().ok_or(CodecError::Piece)?;
        // Those that are whole are small.
        if *tag == MORE || !self.joined.is_empty() {
            let bytes_max = limit(if self.joined.is_empty() { body } else { &self.joined });
            if self.joined.len() + body.len() > bytes_max {
                return Err(CodecError::TooLong(bytes_max));
            }
        }
        match *tag {
            LAST if self.joined.is_empty() => decode(body).map(Some),
            LAST => {
                self.joined.extend_from_slice(body);
                decode(&std::mem::take(&mut self.joined)).map(Some)
            }
            MORE => {
                self.joined.extend_from_slice(body);
                Ok(None)
            }
            _ => Err(CodecError::Piece),
        }
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (message, used) = bincode::serde::decode_from_slice(bytes, CONFIG)?;
    match bytes.len() - used {
        0 => Ok(message),
        trailing => Err(CodecError::TrailingBytes(trailing)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces(message: &Vec<u8>) -> Vec<Vec<u8>> {
        let mut pieces = Vec::new();
        send::<_, ()>(message, &mut Vec::new(), |piece| {
            pieces.push(piece.to_vec());
            Ok(())
        })
        .unwrap()
        .unwrap();
        pieces
    }

    proptest! {
        #[test]
        fn joined_messages_equal_the_sent_ones(len in 0..200_000usize, byte in any::<u8>()) {
            let message = vec![byte; len];
            let mut joiner = Joiner::default();
            let mut got = None;
            for piece in pieces(&message) {
                prop_assert!(got.is_none());
                prop_assert!(piece.len() <= MESSAGE_BYTES_MAX);
                got = joiner.push::<Vec<u8>>(&piece).unwrap();
            }
            prop_assert_eq!(got, Some(message));
        }

        #[test]
        fn garbage_is_an_error_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Joiner::default().push::<crate::protocol::FromWorker>(&bytes);
            let _ = Joiner::default().push::<crate::protocol::ToWorker<()>>(&bytes);
        }
    }

    #[test]
    fn a_message_that_is_too_long_is_refused_at_the_piece_that_makes_it_so() {
        let message = vec![7_u8; 5 * MESSAGE_BYTES_MAX];
        for (bytes_max, taken) in [(usize::MAX, 6), (2 * MESSAGE_BYTES_MAX, 2), (0, 0)] {
            let mut joiner = Joiner::default();
            let push = |piece: &Vec<u8>| joiner.push_below::<Vec<u8>>(piece, |_| bytes_max);
            let results: Vec<_> = pieces(&message).iter().map(push).take_while(Result::is_ok).collect();
            assert_eq!(results.len(), taken, "{bytes_max}");
            assert!(joiner.joined.len() <= bytes_max, "{bytes_max}");
        }
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let mut piece = pieces(&vec![1, 2, 3]).remove(0);
        piece.push(0);
        assert!(matches!(Joiner::default().push::<Vec<u8>>(&piece), Err(CodecError::TrailingBytes(1))));
    }
}
