use std::os::fd::BorrowedFd;
use std::thread;

use ipc_channel::ipc::{IpcBytesSender, IpcSender, bytes_channel};
use nix::libc;
use proptest::prelude::*;
use shared::protocol::Bootstrap;

use super::*;

/// A worker that introduced itself: what it sends with, and what receives that.
fn introduced() -> (IpcBytesSender, Gate) {
    let door = Door::open().unwrap();
    let name = door.name().to_owned();
    let worker = thread::spawn(move || {
        let (to_worker, inbound) = bytes_channel().unwrap();
        let (outbound, from_worker) = bytes_channel().unwrap();
        IpcSender::connect(name).unwrap().send(Bootstrap { to_worker, from_worker }).unwrap();
        (outbound, inbound)
    });
    let mut arrived = false;
    let (to_worker, gate) = door.welcome(std::process::id(), || arrived = true).unwrap();
    assert!(arrived);
    let (outbound, inbound) = worker.join().unwrap();
    to_worker.send(b"to the worker").unwrap();
    assert_eq!(inbound.recv().unwrap(), b"to the worker");
    (outbound, gate)
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

/// A socket and the gate that receives what is sent on it.
fn gate() -> (OwnedFd, Gate) {
    let (theirs, ours) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .unwrap();
    (theirs, Gate::of(ours))
}

#[test]
fn what_a_worker_of_this_build_sends_comes_through_as_it_is() {
    let (outbound, mut gate) = introduced();
    for message in [vec![1], vec![7; MESSAGE_BYTES_MAX], vec![2; 3]] {
        outbound.send(&message).unwrap();
        assert_eq!(gate.receive(), Ok(Some(&message[..])));
    }
    drop(outbound);
    assert_eq!(gate.receive(), Ok(None));
}

/// The worker created the socket, and may keep a descriptor of the end that is received from.
#[test]
fn what_a_worker_sets_on_the_socket_hides_no_message() {
    let (theirs, mut gate) = gate();
    // A look ahead would begin behind the first packet's header.
    set(&gate.socket, libc::SO_PEEK_OFF, HEADER_BYTES as i32);
    send(&theirs, &packet(18, 2, &[3, 4]), &[]);
    send(&theirs, &[packet(99, 83, &[]), packet(18, 2, &[5, 6])].concat(), &[]);
    assert_eq!(gate.receive(), Ok(Some(&[3, 4][..])));
    let why = "it announced a message of 83 bytes and sent 18";
    assert_eq!(gate.receive(), Err(why.to_owned()));
    // Credentials would come with each message.
    set(&gate.socket, libc::SO_PASSCRED, 1);
    send(&theirs, &packet(18, 2, &[3, 4]), &[]);
    assert_eq!(gate.receive(), Err("it sent a descriptor or credentials".to_owned()));
}

#[expect(unsafe_code, reason = "no crate knows SO_PEEK_OFF")]
fn set(socket: &OwnedFd, option: i32, value: i32) {
    use std::os::fd::AsRawFd as _;
    let (socket, bytes) = (socket.as_raw_fd(), size_of::<i32>() as libc::socklen_t);
    // SAFETY: the kernel reads these bytes during the call.
    let set = unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, option, (&raw const value).cast(), bytes) };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
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
fn what_no_worker_of_this_build_sends_is_refused() {
    for (message, channels, why) in [
        (packet(18, 2, &[0, 0]), 64, "it sent a descriptor or credentials"),
        (packet(18, 2, &[0, 0]), 1, "it sent a descriptor or credentials"),
        (packet(18, 4096, &[0, 0]), 0, "it announced a message of 4096 bytes and sent 2"),
        (packet(18, 775 << 20, &[0, 0]), 0, "it announced a message of 812646400 bytes and sent 2"),
        (packet(99, 2, &[0, 0]), 0, "it announced a message of 2 bytes and sent 2"),
        (packet(16, 0, &[]), 0, "it sent a message of 16 bytes"),
        (vec![0; 3], 0, "it sent a message of 3 bytes"),
        (packet(32_785, 32_769, &[0; 32_769]), 0, "it sent a message of 32785 bytes"),
        (vec![], 0, "it sent an empty message"),
    ] {
        let (theirs, mut gate) = gate();
        send(&theirs, &message, &vec![theirs.as_fd(); channels]);
        assert_eq!(gate.receive(), Err(why.to_owned()));
    }
}

proptest! {
    /// A message that passes is whole, and what was sent.
    #[test]
    fn whatever_passes_is_whole(
        header in prop_oneof![Just(None), (0..64_usize, 0..64_usize).prop_map(Some), any::<(usize, usize)>().prop_map(Some)],
        body in proptest::collection::vec(any::<u8>(), 0..64),
        with_descriptor in any::<bool>(),
    ) {
        let (theirs, mut gate) = gate();
        let (packet_bytes, message_bytes) = header.unwrap_or((HEADER_BYTES + body.len(), body.len()));
        let message = packet(packet_bytes, message_bytes, &body);
        send(&theirs, &message, &vec![theirs.as_fd(); usize::from(with_descriptor)]);
        let is_whole = !body.is_empty()
            && !with_descriptor
            && (packet_bytes, message_bytes) == (HEADER_BYTES + body.len(), body.len());
        match gate.receive() {
            Ok(received) => prop_assert!(is_whole && received == Some(&body[..]), "{:?}", received),
            Err(_) => prop_assert!(!is_whole),
        }
    }
}
