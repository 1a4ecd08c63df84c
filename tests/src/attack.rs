//! What a worker does that hostile bytes have taken over.
//!
//! The test build of the worker calls [`apply`] beside [`poison`](crate::poison), in its sandbox and with its job. An
//! input that contains `attack=KIND` makes it send to the supervisor what no worker sends ([`MESSAGES`]), or try what
//! its sandbox must refuse (`calls`, `rights`).

use std::fs;
use std::io::{IoSlice, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, RawFd};

use nix::libc;
use rustix::net::sockopt::{socket_domain, socket_type};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg,
    socketpair,
};
use shared::codec;
use shared::protocol::{Batch, Endings, FromWorker, Hello, OUTCOMES_MAX, Outcome, Verdict};

/// The messages that an input can ask for, by the word after `attack=`.
pub const MESSAGES: [&str; 14] = [
    "descriptors",
    "promised",
    "announced",
    "long",
    "short",
    "empty",
    "garbage",
    "endless",
    "strangers",
    "lengths",
    "endings",
    "outcomes",
    "slices",
    "said",
];

/// System calls are tried up to this number. The kernel has fewer than 500.
const CALLS: i64 = 1024;

/// `uretprobe` and `uprobe`, which are for code that the kernel puts into a process. It asks no filter about them, and
/// ends with SIGILL whoever else calls them.
const OF_PROBES: &[i64] = if cfg!(target_arch = "x86_64") { &[335, 336] } else { &[] };

/// Makes this process attack as `input` asks, if it does.
pub fn apply(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let Some((_, kind)) = text.split_once("attack=") else { return };
    let kind = kind.split(['&', '.', '-']).next().unwrap_or_default();
    match kind {
        "calls" => report(&calls_that_get_through(text.contains("http"))),
        "rights" => report(&rights::left()),
        _ if MESSAGES.contains(&kind) => send(kind),
        _ => {}
    }
}

/// Leaves what got through where the supervisor shows it: in the last words of a worker that dies.
fn report(what: &[String]) {
    let _ = writeln!(std::io::stderr(), "got through: [{}]", what.join(", "));
    std::process::abort();
}

/// How often a message is sent at most: more pieces of one than the supervisor joins.
const TIMES: u32 = 10_000;

/// Sends `kind` on every channel for as long as it takes it, and then does nothing until it is killed.
fn send(kind: &str) {
    let with_descriptors = kind == "descriptors";
    for channel in channels() {
        let packets = packets(kind);
        // Nobody reads the channel on which targets come.
        std::thread::spawn(move || {
            for _ in 0..TIMES {
                if packets.iter().any(|packet| !packet.send(channel, with_descriptors)) {
                    break;
                }
            }
        });
    }
    loop {
        std::thread::park();
    }
}

/// The sockets to the supervisor: the only ones that keep messages apart.
fn channels() -> Vec<BorrowedFd<'static>> {
    let numbers = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<RawFd>().ok());
    // SAFETY: they stay open: nothing else runs in a process that was taken over, but the list itself, which is none.
    #[expect(unsafe_code, reason = "only the numbers are known")]
    let sockets = numbers.map(|number| unsafe { BorrowedFd::borrow_raw(number) });
    sockets.filter(|socket| is_channel(*socket)).collect()
}

fn is_channel(socket: BorrowedFd<'_>) -> bool {
    socket_type(socket) == Ok(SocketType::SEQPACKET) && socket_domain(socket) == Ok(AddressFamily::UNIX)
}

/// One packet on a channel: what its header says, and what follows.
struct Packet {
    packet_bytes: usize,
    message_bytes: usize,
    body: Vec<u8>,
    is_bare: bool,
}

impl Packet {
    fn honest(body: Vec<u8>) -> Self {
        Self { packet_bytes: 16 + body.len(), message_bytes: body.len(), body, is_bare: false }
    }

    /// Whether it is on its way.
    fn send(&self, channel: BorrowedFd<'_>, with_descriptors: bool) -> bool {
        let (packet, message) = (self.packet_bytes.to_ne_bytes(), self.message_bytes.to_ne_bytes());
        let header = [IoSlice::new(&packet), IoSlice::new(&message), IoSlice::new(&self.body)];
        let (_, body) = header.split_at(2);
        let parts = if self.is_bare { body } else { &header };
        let descriptors = [channel; 64];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if with_descriptors {
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
        }
        sendmsg(channel, parts, &mut control, SendFlags::NOSIGNAL).is_ok()
    }
}

fn packets(kind: &str) -> Vec<Packet> {
    let of = |message: &FromWorker| {
        let mut packets = Vec::new();
        let _ = codec::send(message, &mut Vec::new(), |piece| {
            packets.push(Packet::honest(piece.to_vec()));
            Ok::<_, ()>(())
        });
        packets
    };
    let batch = |outcomes, lines| of(&FromWorker::Batch(Batch { slices_read: 0, outcomes, lines }));
    match kind {
        // What it says is right.
        "descriptors" => of(&FromWorker::Batch(Batch::default())),
        "promised" => {
            vec![Packet { packet_bytes: 18, message_bytes: 4096, body: vec![0; 2], is_bare: false }]
        }
        "announced" => {
            vec![Packet { packet_bytes: 18, message_bytes: 775 << 20, body: vec![0; 2], is_bare: false }]
        }
        "long" => vec![Packet::honest(vec![0; 100 << 10])],
        "short" => vec![Packet { packet_bytes: 3, message_bytes: 3, body: vec![0; 3], is_bare: true }],
        "empty" => vec![Packet { packet_bytes: 0, message_bytes: 0, body: Vec::new(), is_bare: true }],
        "garbage" => vec![Packet::honest(vec![0xff; 300])],
        // Pieces of a message that never ends.
        "endless" => vec![Packet::honest(vec![1; codec::MESSAGE_BYTES_MAX])],
        "strangers" => batch(vec![outcome(1 << 40, 2)], b"{}".to_vec()),
        "lengths" => batch(vec![outcome(0, u64::MAX)], b"{}".to_vec()),
        "endings" => {
            let endings = Some(Endings { ok: u64::MAX, child: 1, ..Endings::default() });
            batch((0..64).map(|id| Outcome { endings, ..outcome(id, 0) }).collect(), Vec::new())
        }
        "outcomes" => batch(vec![outcome(1 << 40, 0); OUTCOMES_MAX + 1], Vec::new()),
        "slices" => of(&FromWorker::Batch(Batch { slices_read: u64::MAX, ..Batch::default() })),
        "said" => of(&FromWorker::Said("I am a program".to_owned())),
        _ => of(&FromWorker::Hello(Hello { protocol: 0, build: String::new(), pid: 0 })),
    }
}

fn outcome(id: u64, line_bytes: u64) -> Outcome {
    Outcome {
        id,
        verdict: Verdict::Ok,
        bytes: 0,
        started_us: 0,
        elapsed_us: 0,
        cpu_us: 0,
        endings: None,
        reply: None,
        retry_after_ms: None,
        over_budget: false,
        line_bytes,
    }
}

/// Every system call that the written list does not have: those that are not refused. On x86, also under the other
/// numbers of each.
fn calls_that_get_through(fetches: bool) -> Vec<String> {
    let others: &[i64] = if cfg!(target_arch = "x86_64") { &[0, 0x4000_0000] } else { &[0] };
    let numbers = others.iter().flat_map(|abi| (0..CALLS).map(move |number| abi | number));
    numbers
        .filter(|number| !worker::sandbox::may_call(*number, fetches) && !OF_PROBES.contains(number))
        .filter(|number| !matches!(call(*number, [0; 6]), Err(libc::EPERM | libc::ENOSYS)))
        .map(|number| number.to_string())
        .collect()
}

/// Makes a system call. An error is its number.
fn call(number: i64, [a, b, c, d, e, f]: [u64; 6]) -> Result<i64, i32> {
    // SAFETY: the sandbox refuses the call, or the test fails. Pointers are null or to what lives long enough.
    #[expect(unsafe_code, reason = "calls that no library makes")]
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result == -1 {
        Err(std::io::Error::last_os_error().raw_os_error().unwrap_or_default())
    } else {
        Ok(result)
    }
}

/// Calls that are refused for their arguments.
mod rights {
    use super::*;

    const NAMED: &std::ffi::CStr = c"/proc/self/status";

    fn arguments(given: &[i64]) -> [u64; 6] {
        let mut all = [0; 6];
        all.iter_mut().zip(given).for_each(|(argument, given)| *argument = given.cast_unsigned());
        all
    }

    /// What was not refused, by name.
    pub(super) fn left() -> Vec<String> {
        let path = NAMED.as_ptr() as i64;
        let (here, gib) = (i64::from(libc::AT_FDCWD), 1_i64 << 30);
        let writable = i64::from(libc::PROT_READ | libc::PROT_WRITE);
        let shared = i64::from(libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        let stack = i64::from(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_GROWSDOWN);
        let parent = i64::from(nix::unistd::getppid().as_raw());
        let unix = i64::from(libc::AF_UNIX);
        let tried: [(&str, i64, &[i64]); 28] = [
            ("chmod", libc::SYS_fchmodat, &[here, path, 0o666]),
            ("setxattr", libc::SYS_setxattr, &[path, path, path, 1]),
            ("utimensat", libc::SYS_utimensat, &[here, path]),
            ("unlink", libc::SYS_unlinkat, &[here, path]),
            ("rename", libc::SYS_renameat2, &[here, path, here, path]),
            ("truncate", libc::SYS_truncate, &[path]),
            ("open to write", libc::SYS_openat, &[here, path, i64::from(libc::O_WRONLY)]),
            ("open to read and write", libc::SYS_openat, &[here, path, i64::from(libc::O_RDWR)]),
            ("create", libc::SYS_openat, &[here, path, i64::from(libc::O_CREAT)]),
            ("setpriority", libc::SYS_setpriority, &[0, 0, 19]),
            ("ioprio_set", libc::SYS_ioprio_set, &[1, 0, 0]),
            ("sched_setattr", libc::SYS_sched_setattr, &[0, path]),
            ("sched_setaffinity", libc::SYS_sched_setaffinity, &[0, 8, path]),
            ("outlive the supervisor", libc::SYS_prctl, &[i64::from(libc::PR_SET_PDEATHSIG)]),
            ("be dumped", libc::SYS_prctl, &[i64::from(libc::PR_SET_DUMPABLE), 1]),
            ("shared memory", libc::SYS_mmap, &[0, gib, writable, shared, -1]),
            ("a mapping like a stack", libc::SYS_mmap, &[0, gib, writable, stack, -1]),
            ("memfd", libc::SYS_memfd_create, &[path]),
            ("raise a limit", libc::SYS_prlimit64, &[0, 2, path]),
            ("limits of another", libc::SYS_prlimit64, &[parent, 2]),
            ("a socket of this machine", libc::SYS_socket, &[unix, i64::from(libc::SOCK_DGRAM)]),
            (
                "a pair of datagram sockets",
                libc::SYS_socketpair,
                &[unix, i64::from(libc::SOCK_DGRAM), 0, path],
            ),
            ("a raw socket", libc::SYS_socket, &[i64::from(libc::AF_INET), i64::from(libc::SOCK_RAW), 1]),
            ("a netlink socket", libc::SYS_socket, &[i64::from(libc::AF_NETLINK), i64::from(libc::SOCK_RAW)]),
            ("a new process", libc::SYS_clone, &[i64::from(libc::SIGCHLD)]),
            ("signal the supervisor", libc::SYS_tgkill, &[parent, parent]),
            ("be told of input", libc::SYS_fcntl, &[0, i64::from(libc::F_SETOWN), parent]),
            ("type into a terminal", libc::SYS_ioctl, &[0, i64::try_from(libc::TIOCSTI).unwrap_or(0), path]),
        ];
        let mut left: Vec<String> = tried
            .into_iter()
            .filter(|(_, number, given)| !matches!(call(*number, arguments(given)), Err(libc::EPERM)))
            .map(|(name, ..)| name.to_owned())
            .collect();
        if socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::empty(), None).is_ok() {
            left.push("a pair of datagram sockets by name".to_owned());
        }
        left.extend(std::env::vars_os().filter_map(|(name, _)| {
            let name = name.into_string().unwrap_or_default();
            (name.starts_with("AWS_") || name == "HOME" || name == "PATH").then_some(name)
        }));
        left
    }
}
