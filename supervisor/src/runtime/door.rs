//! Where a worker introduces itself, and what receives its messages.
//!
//! The channels are those of ipc-channel, which also sends in both directions and receives in the worker. But as a
//! receiver it trusts its peer: it keeps every descriptor that comes with a message, allocates whatever length a
//! message announces, and panics if a message announces a descriptor and has none. A worker reads hostile bytes, so
//! it may be such a peer.
//!
//! So the worker connects to a socket of ours, and hands over its channels there. Once they are checked, the one to the
//! worker is passed on to ipc-channel, and the [`Gate`] receives from the other. It does so with one system call for
//! each message, has a buffer for the largest that a worker of this build sends, and gives the kernel no room for
//! descriptors, so none is opened here. It does not look ahead (`MSG_PEEK`): the worker shares the socket, and could
//! set where such a look begins (`SO_PEEK_OFF`).

use std::fmt::Display;
use std::fs::Permissions;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ipc_channel::ipc::{IpcBytesSender, IpcOneShotServer};
use nix::sys::socket::{getsockopt, sockopt};
use rustix::cmsg_space;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect,
    listen, recvmsg, sendmsg, socket_with, sockopt as option,
};
use shared::codec::MESSAGE_BYTES_MAX;
use tempfile::{Builder, TempDir};

/// What ipc-channel puts before a message: the length of the packet, header included, and that of the whole message.
const HEADER_BYTES: usize = 2 * WORD_BYTES;
const WORD_BYTES: usize = size_of::<usize>();

/// The only [`Bootstrap`] that there is: the places of its two channels among the descriptors that come with it.
///
/// [`Bootstrap`]: shared::protocol::Bootstrap
const BOOTSTRAP: [u8; 2] = [0, 1];

/// An [`IpcBytesSender`] on the way to this process: the place of its only descriptor.
const SENDER: [u8; 1] = [0];

/// Connections that may wait: that of the worker, and one that ends the wait for it.
const WAITING_MAX: i32 = 2;

/// A socket to which one worker may connect.
#[derive(Debug)]
pub(super) struct Door {
    listener: OwnedFd,
    name: String,
    /// Removed with the socket in it.
    _directory: TempDir,
}

/// Why there is no worker to talk to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Absent {
    /// Nobody waits for it any more, or it has ended.
    Gone,
    /// It is none of ours.
    Foreign(String),
    /// There can be no channel to it, through no fault of an input.
    Unreachable(String),
}

impl Door {
    pub(super) fn open() -> io::Result<Self> {
        // Closed to other users, whatever the umask.
        let directory = Builder::new().permissions(Permissions::from_mode(0o700)).tempdir()?;
        let path = directory.path().join("socket");
        let name = path.to_str().ok_or(io::ErrorKind::InvalidFilename)?.to_owned();
        let listener = seqpacket()?;
        bind(&listener, &SocketAddrUnix::new(&path)?)?;
        listen(&listener, WAITING_MAX)?;
        Ok(Self { listener, name, _directory: directory })
    }

    /// Returns the name that the worker connects to.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Waits until the process `worker` has introduced itself. `arrived` is called when it has connected. Returns what
    /// sends to the worker and what receives from it.
    pub(super) fn welcome(
        self,
        worker: u32,
        arrived: impl FnOnce(),
    ) -> Result<(IpcBytesSender, Gate), Absent> {
        let socket = self.accept(worker)?;
        // There are never more descriptors than one worker may cost.
        drop(self);
        arrived();
        let [to_worker, from_worker] = introduction(&socket)?;
        drop(socket);
        let to_worker = pass_on(&to_worker).map_err(|error| no_channel(&error))?;
        Ok((to_worker, Gate::of(from_worker)))
    }

    /// Waits for that process. A connection of this process means that nobody waits any more. No other user's process
    /// can connect.
    fn accept(&self, worker: u32) -> Result<OwnedFd, Absent> {
        let accepted = retry_on_intr(|| accept_with(&self.listener, SocketFlags::CLOEXEC));
        let socket = accepted.map_err(|error| no_channel(&error))?;
        let peer = getsockopt(&socket, sockopt::PeerCredentials).map_or(0, |peer| peer.pid().unsigned_abs());
        admit(peer, worker).map(|()| socket)
    }
}

/// Admits the process that was started as the worker.
fn admit(peer: u32, worker: u32) -> Result<(), Absent> {
    if peer == worker {
        return Ok(());
    }
    if peer == std::process::id() {
        return Err(Absent::Gone);
    }
    Err(Absent::Unreachable(format!(
        "process {peer} connected as the worker, but process {worker} was started; if a script or a tool starts the \
         worker, let it become the worker (exec)"
    )))
}

/// The supervisor lacks what a channel needs.
fn no_channel(error: &dyn Display) -> Absent {
    Absent::Unreachable(format!("cannot open a channel to it: {error}"))
}

/// Connects and disconnects, which ends the wait for a worker.
pub(super) fn ring(name: &str) -> rustix::io::Result<()> {
    connect(&seqpacket()?, &SocketAddrUnix::new(name)?)
}

fn seqpacket() -> rustix::io::Result<OwnedFd> {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// Receives the first message, which must be what a worker of this build sends. Returns the channels to and from it.
fn introduction(socket: &OwnedFd) -> Result<[OwnedFd; 2], Absent> {
    let foreign = || Absent::Foreign("it did not introduce itself as a worker of this build does".to_owned());
    let mut message = [0; HEADER_BYTES + BOOTSTRAP.len()];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::TRUNC | RecvFlags::CMSG_CLOEXEC;
    let received =
        retry_on_intr(|| recvmsg(socket, &mut [IoSliceMut::new(&mut message)], &mut control, flags));
    let received = received.map_err(|_| Absent::Gone)?;
    let channels: Vec<OwnedFd> = control
        .drain()
        .filter_map(|part| {
            if let RecvAncillaryMessage::ScmRights(descriptors) = part { Some(descriptors) } else { None }
        })
        .flatten()
        .collect();
    if received.bytes == 0 && channels.is_empty() {
        return Err(Absent::Gone);
    }
    // The kernel leaves out the descriptors that this process has no room for, and those that this buffer has none for.
    if received.flags.contains(ReturnFlags::CTRUNC) && channels.len() < 2 {
        return Err(no_channel(&io::Error::from(Errno::MFILE)));
    }
    let are_sockets =
        channels.iter().all(|channel| option::socket_type(channel) == Ok(SocketType::SEQPACKET));
    let is_whole = received.bytes == message.len() && !received.flags.contains(ReturnFlags::CTRUNC);
    let is_right =
        header(&message) == Some((message.len(), BOOTSTRAP.len())) && message.ends_with(&BOOTSTRAP);
    if !(is_whole && is_right && are_sockets) {
        return Err(foreign());
    }
    channels.try_into().map_err(|_| foreign())
}

/// Gives ipc-channel a socket to send on.
fn pass_on(to_worker: &OwnedFd) -> io::Result<IpcBytesSender> {
    let (server, name) = IpcOneShotServer::new()?;
    let socket = seqpacket()?;
    connect(&socket, &SocketAddrUnix::new(name)?)?;
    let channels = [to_worker.as_fd()];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&channels));
    let (packet_bytes, message_bytes) = (HEADER_BYTES + SENDER.len(), SENDER.len());
    let packet = [&packet_bytes.to_ne_bytes()[..], &message_bytes.to_ne_bytes(), &SENDER];
    sendmsg(&socket, &packet.map(IoSlice::new), &mut control, SendFlags::empty())?;
    // What was sent can still be received.
    drop(socket);
    // ipc-channel panics if there is no room for the descriptor.
    let accepted = catch_unwind(AssertUnwindSafe(|| server.accept())).map_err(|_| Errno::MFILE)?;
    let (_, to_worker) = accepted.map_err(io::Error::other)?;
    Ok(to_worker)
}

/// Returns the two lengths at the start of a packet.
fn header(packet: &[u8]) -> Option<(usize, usize)> {
    let (packet_bytes, rest) = packet.split_first_chunk::<WORD_BYTES>()?;
    let (message_bytes, _) = rest.split_first_chunk::<WORD_BYTES>()?;
    Some((usize::from_ne_bytes(*packet_bytes), usize::from_ne_bytes(*message_bytes)))
}

/// Receives the messages of one worker.
#[derive(Debug)]
pub(super) struct Gate {
    /// The worker may have kept a descriptor of it.
    socket: OwnedFd,
    /// Room for the largest message.
    body: Box<[u8]>,
}

impl Gate {
    fn of(socket: OwnedFd) -> Self {
        Self { socket, body: vec![0; MESSAGE_BYTES_MAX].into() }
    }

    /// Waits for the next message. Returns it, or `None` at the end of the channel.
    ///
    /// # Errors
    /// Why what was received is not a message. Nothing more may be received then.
    pub(super) fn receive(&mut self) -> Result<Option<&[u8]>, String> {
        let mut start = [0; HEADER_BYTES];
        let received = retry_on_intr(|| {
            let mut no_room = RecvAncillaryBuffer::default();
            let room = &mut [IoSliceMut::new(&mut start), IoSliceMut::new(&mut self.body)];
            // The length of the whole packet is returned, even if there was no room for it.
            recvmsg(&self.socket, room, &mut no_room, RecvFlags::TRUNC)
        });
        let Ok(received) = received else { return Ok(None) };
        if received.flags.contains(ReturnFlags::CTRUNC) {
            return Err("it sent a descriptor or credentials".to_owned());
        }
        let bytes = received.bytes;
        if bytes == 0 {
            return if self.has_ended() { Ok(None) } else { Err("it sent an empty message".to_owned()) };
        }
        let of_no_message = || format!("it sent a message of {bytes} bytes");
        let body = bytes.checked_sub(HEADER_BYTES).filter(|body| *body > 0);
        let body = body.and_then(|body| self.body.get(..body)).ok_or_else(of_no_message)?;
        match header(&start) {
            Some((packet, message)) if (packet, message) == (bytes, body.len()) => Ok(Some(body)),
            Some((_, message)) => {
                Err(format!("it announced a message of {message} bytes and sent {}", body.len()))
            }
            None => Err(of_no_message()),
        }
    }

    /// Whether nothing was read because there is nobody to write.
    fn has_ended(&self) -> bool {
        let mut polled = [PollFd::new(&self.socket, PollFlags::empty())];
        let hung_up = poll(&mut polled, Some(&rustix::event::Timespec::default())).is_ok();
        hung_up && polled.iter().all(|socket| socket.revents().contains(PollFlags::HUP))
    }
}

#[cfg(test)]
mod tests;
