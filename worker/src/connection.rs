//! The worker's end of the two channels to its supervisor.

use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, IpcSender, bytes_channel};
use shared::codec::{self, CodecError, Joiner};
use shared::protocol::{Bootstrap, FromWorker, Hello, PROTOCOL, ToWorker};

/// Why the connection to the supervisor failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    /// The channels could not be created or handed over.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The supervisor closed its end during a send.
    #[error("the supervisor closed the connection: {0}")]
    Closed(#[from] std::io::Error),
    /// The supervisor sent a malformed message.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Both channels.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: Sender,
    receiver: Receiver,
}

impl Connection {
    /// Connects to the supervisor's one-shot server, hands over its channel ends and sends `Hello`.
    pub(crate) fn open(server: &str) -> Result<Self, ConnectionError> {
        let connect_error = |error: &dyn std::fmt::Display| ConnectionError::Connect(error.to_string());
        let (to_worker, inbound) = bytes_channel()?;
        let (outbound, from_worker) = bytes_channel()?;
        let server = IpcSender::connect(server.to_owned()).map_err(|error| connect_error(&error))?;
        server.send(Bootstrap { to_worker, from_worker }).map_err(|error| connect_error(&error))?;
        let mut connection = Self {
            sender: Sender { channel: outbound, scratch: Vec::new() },
            receiver: Receiver { channel: inbound, joiner: Joiner::default() },
        };
        connection.send(&FromWorker::Hello(Hello {
            protocol: PROTOCOL,
            build: shared::BUILD_ID.to_owned(),
            pid: std::process::id(),
        }))?;
        Ok(connection)
    }

    /// Sends one message. Blocks while the supervisor does not read.
    pub(crate) fn send(&mut self, message: &FromWorker) -> Result<(), ConnectionError> {
        self.sender.send(message)
    }

    /// Returns the next message, or `None` once the supervisor has closed its end.
    pub(crate) fn receive(&mut self) -> Result<Option<ToWorker>, ConnectionError> {
        self.receiver.receive()
    }

    /// Splits the connection into its two directions, so that each can have a thread.
    pub(crate) fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }
}

/// The channel to the supervisor.
#[derive(Debug)]
pub(crate) struct Sender {
    channel: IpcBytesSender,
    scratch: Vec<u8>,
}

impl Sender {
    /// Sends one message. Blocks while the supervisor does not read.
    pub(crate) fn send(&mut self, message: &FromWorker) -> Result<(), ConnectionError> {
        codec::send(message, &mut self.scratch, |piece| self.channel.send(piece))??;
        Ok(())
    }
}

/// The channel from the supervisor.
#[derive(Debug)]
pub(crate) struct Receiver {
    channel: IpcBytesReceiver,
    joiner: Joiner,
}

impl Receiver {
    /// Returns the next message, or `None` once the supervisor has closed its end.
    pub(crate) fn receive(&mut self) -> Result<Option<ToWorker>, ConnectionError> {
        // Any error here means that nobody is on the other end.
        while let Ok(piece) = self.channel.recv() {
            if let Some(message) = self.joiner.push(&piece)? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }
}
