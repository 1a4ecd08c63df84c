use std::thread;

use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, IpcSender, bytes_channel};
use proptest::prelude::*;

use super::*;

/// A worker that introduced itself, as far as it goes: its end, and both of ours.
fn introduced() -> (IpcBytesSender, IpcBytesReceiver, Gate) {
    let door = Door::open().unwrap();
    let name = door.name().to_owned();
    let worker = thread::spawn(move || {
        let (to_worker, inbound) = bytes_channel().unwrap();
        let (outbound, from_worker) = bytes_channel().unwrap();
        IpcSender::connect(name).unwrap().send(Bootstrap { to_worker, from_worker }).unwrap();
        (outbound, inbound)
    });
    let mut arrived = false;
    let (bootstrap, gate) = door.welcome(std::process::id(), || arrived = true).unwrap();
    assert!(arrived);
    let (outbound, inbound) = worker.join().unwrap();
    bootstrap.to_worker.send(b"to the worker").unwrap();
    assert_eq!(inbound.recv().unwrap(), b"to the worker");
    (outbound, bootstrap.from_worker, gate)
}

/// What comes of a first message to the door.
fn greeted_with(message: &[u8], channels: &[BorrowedFd<'_>]) -> Absent {
    let door = Door::open().unwrap();
    let socket = seqpacket().unwrap();
    connect(&socket, &SocketAddrUnix::new(door.name()).unwrap()).unwrap();
    send(&socket, message, channels);
    door.welcome(std::process::id(), || {}).unwrap_err()
}

fn send(socket: &OwnedFd, message: &[u8], channels: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(64))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !channels.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(channels)));
    }
    sendmsg(socket, &[IoSlice::new(message)], &mut control, SendFlags::empty()).unwrap();
}

fn packet(packet_bytes: usize, message_bytes: usize, body: &[u8]) -> Vec<u8> {
    [&packet_bytes.to_ne_bytes(), &message_bytes.to_ne_bytes(), body].concat()
}

/// A socket and the gate that looks at what is sent on it.
fn gate() -> (OwnedFd, Gate) {
    let (theirs, ours) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .unwrap();
    (theirs, Gate { socket: ours })
}

#[test]
fn what_a_worker_of_this_build_sends_comes_through_as_it_is() {
    let (outbound, from_worker, gate) = introduced();
    for message in [vec![1], vec![7; MESSAGE_BYTES_MAX]] {
        outbound.send(&message).unwrap();
        assert_eq!(gate.look(), Ok(true));
        assert_eq!(from_worker.recv().unwrap(), message);
    }
    drop(outbound);
    assert_eq!(gate.look(), Ok(false));
}

#[test]
fn no_other_process_is_let_in() {
    let door = Door::open().unwrap();
    ring(door.name()).unwrap();
    // That was this process, and the worker is another one: nobody waits any more.
    assert_eq!(door.welcome(1, || panic!("nobody arrived")).unwrap_err(), Absent::Gone);
}

/// A script that starts the worker as a process of its own.
#[test]
fn a_process_that_was_not_started_as_the_worker_is_named() {
    let own = std::process::id();
    assert_eq!((admit(7, 7), admit(own, 7), admit(own, own)), (Ok(()), Err(Absent::Gone), Ok(())));
    let absent = admit(8, 7).unwrap_err();
    let start = "process 8 connected as the worker, but process 7 was started";
    assert!(matches!(&absent, Absent::Unreachable(why) if why.starts_with(start)), "{absent:?}");
}

#[test]
fn a_worker_that_says_nothing_is_gone_and_one_that_says_anything_else_is_foreign() {
    let (one, _other) = std::io::pipe().unwrap();
    let socket = seqpacket().unwrap();
    let (pipe, socket) = (one.as_fd(), socket.as_fd());
    let right = packet(18, 2, &BOOTSTRAP);
    for (message, channels) in [
        (right.clone(), vec![]),
        (right.clone(), vec![socket]),
        (right.clone(), vec![socket; 3]),
        (right.clone(), vec![socket; 64]),
        (right.clone(), vec![socket, pipe]),
        (packet(18, 2, &[0, 2]), vec![socket; 2]),
        (packet(18, 9, &BOOTSTRAP), vec![socket; 2]),
        (packet(19, 3, &[0, 1, 2]), vec![socket; 2]),
        (b"hello".to_vec(), vec![socket; 2]),
    ] {
        assert!(
            matches!(greeted_with(&message, &channels), Absent::Foreign(_)),
            "{message:?} with {} descriptors",
            channels.len()
        );
    }
    let door = Door::open().unwrap();
    ring(door.name()).unwrap();
    assert_eq!(door.welcome(std::process::id(), || {}).unwrap_err(), Absent::Gone);
}

#[test]
fn what_ipc_channel_must_not_receive_is_refused() {
    for (message, channels, why) in [
        (packet(18, 2, &[0, 0]), 64, "it sent a descriptor"),
        (packet(18, 2, &[0, 0]), 1, "it sent a descriptor"),
        (packet(18, 4096, &[0, 0]), 0, "it announced a message of 4096 bytes and sent 2"),
        (packet(18, 775 << 20, &[0, 0]), 0, "it announced a message of 812646400 bytes and sent 2"),
        (packet(99, 2, &[0, 0]), 0, "it announced a message of 2 bytes and sent 2"),
        (packet(16, 0, &[]), 0, "it sent a message of 16 bytes"),
        (vec![0; 3], 0, "it sent a message of 3 bytes"),
        (packet(32_785, 32_769, &[0; 32_769]), 0, "it sent a message of 32785 bytes"),
        (vec![], 0, "it sent an empty message"),
    ] {
        let (theirs, gate) = gate();
        send(&theirs, &message, &vec![theirs.as_fd(); channels]);
        assert_eq!(gate.look(), Err(why.to_owned()));
    }
}

proptest! {
    /// A message that passes is one that ipc-channel returns as it is, without waiting for more of it.
    #[test]
    fn whatever_passes_is_whole(
        header in prop_oneof![Just(None), (0..64_usize, 0..64_usize).prop_map(Some), any::<(usize, usize)>().prop_map(Some)],
        body in proptest::collection::vec(any::<u8>(), 0..64),
        with_descriptor in any::<bool>(),
    ) {
        let (theirs, gate) = gate();
        let (packet_bytes, message_bytes) = header.unwrap_or((HEADER_BYTES + body.len(), body.len()));
        let message = packet(packet_bytes, message_bytes, &body);
        send(&theirs, &message, &vec![theirs.as_fd(); usize::from(with_descriptor)]);
        let is_whole = !body.is_empty()
            && !with_descriptor
            && (packet_bytes, message_bytes) == (HEADER_BYTES + body.len(), body.len());
        prop_assert_eq!(gate.look().is_ok(), is_whole);
    }
}
