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
pub const MESSAGES: [&str; 17] = [
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
    "cookies",
    "gave-up",
    "reasons",
];

/// Every system call that a worker may make, with some arguments or all. The list that the sandbox enforces is another
/// one: what is added there, and not here, is found.
const CALLS_OF_ALL: &[i64] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_lseek,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_ppoll,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_membarrier,
    libc::SYS_gettid,
    libc::SYS_getcpu,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_sigaltstack,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrusage,
    libc::SYS_getrandom,
    // With some arguments: see `rights`.
    libc::SYS_openat,
    libc::SYS_mmap,
    libc::SYS_fcntl,
    libc::SYS_ioctl,
    libc::SYS_clone,
    libc::SYS_tgkill,
    libc::SYS_prlimit64,
    libc::SYS_prctl,
    libc::SYS_socketpair,
];

/// The same calls under the numbers that only old architectures have.
#[cfg(target_arch = "x86_64")]
const OLD_CALLS_OF_ALL: &[i64] = &[
    libc::SYS_poll,
    libc::SYS_epoll_wait,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_getdents,
    libc::SYS_getrlimit,
    libc::SYS_time,
    libc::SYS_open,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD_CALLS_OF_ALL: &[i64] = &[];

/// Those of a worker that fetches.
const CALLS_OF_FETCHING: &[i64] = &[
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_shutdown,
    libc::SYS_sendmmsg,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
    libc::SYS_pipe2,
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
    let kind = kind.split(['&', '.']).next().unwrap_or_default();
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
        "endless" => endless(&FromWorker::Batch(Batch::default())),
        "reasons" => endless(&FromWorker::GaveUp(String::new())),
        "strangers" => batch(vec![outcome(1 << 40, 2)], b"{}".to_vec()),
        "lengths" => batch(vec![outcome(0, u64::MAX)], b"{}".to_vec()),
        "endings" => {
            let endings = Some(Endings { ok: u64::MAX, child: 1, ..Endings::default() });
            batch((0..64).map(|id| Outcome { endings, ..outcome(id, 0) }).collect(), Vec::new())
        }
        "outcomes" => batch(vec![outcome(1 << 40, 0); OUTCOMES_MAX + 1], Vec::new()),
        "slices" => of(&FromWorker::Batch(Batch { slices_read: u64::MAX, ..Batch::default() })),
        "gave-up" => of(&FromWorker::GaveUp("an attacker says so".to_owned())),
        "said" => of(&FromWorker::Said("I am a program".to_owned())),
        "cookies" => of(&FromWorker::Cookies { session: 0, set: Vec::new() }),
        _ => of(&FromWorker::Hello(Hello { protocol: 0, build: String::new(), pid: 0 })),
    }
}

/// Pieces of a message that begins like this one and never ends.
fn endless(message: &FromWorker) -> Vec<Packet> {
    let mut piece = Vec::new();
    let _ = codec::send(message, &mut piece, |_| Ok::<_, ()>(()));
    // More pieces follow.
    piece.truncate(2);
    if let Some(tag) = piece.first_mut() {
        *tag = 1;
    }
    piece.resize(codec::MESSAGE_BYTES_MAX, 5);
    vec![Packet::honest(piece)]
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
        exit_use: None,
        over_budget: false,
        session: None,
        line_bytes,
        found_bytes: 0,
        note_bytes: 0,
    }
}

/// Every system call that the lists do not have: those that are not refused. On x86, also under the other
/// numbers of each.
fn calls_that_get_through(fetches: bool) -> Vec<String> {
    let others: &[i64] = if cfg!(target_arch = "x86_64") { &[0, 0x4000_0000] } else { &[0] };
    let of_fetching = if fetches { CALLS_OF_FETCHING } else { &[] };
    let lists = [CALLS_OF_ALL, OLD_CALLS_OF_ALL, of_fetching];
    let is_expected = |number: &i64| lists.iter().any(|list| list.contains(number));
    let numbers = others.iter().flat_map(|abi| (0..CALLS).map(move |number| abi | number));
    numbers
        .filter(|number| !is_expected(number) && !OF_PROBES.contains(number))
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

    /// A call that must be refused.
    type Tried = (&'static str, i64, [u64; 6]);

    /// Memory that no limit counts, or that others see.
    fn of_memory() -> Vec<Tried> {
        let (path, gib) = (NAMED.as_ptr() as i64, 1_i64 << 30);
        let writable = i64::from(libc::PROT_READ | libc::PROT_WRITE);
        let shared = i64::from(libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        let stack = i64::from(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_GROWSDOWN);
        let validated = i64::from(libc::MAP_SHARED_VALIDATE | libc::MAP_ANONYMOUS);
        let huge = i64::from(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB);
        let fixed = i64::from(libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED);
        let kept = i64::from(libc::MREMAP_MAYMOVE | libc::MREMAP_DONTUNMAP);
        vec![
            ("shared memory", libc::SYS_mmap, arguments(&[0, gib, writable, shared, -1])),
            ("a mapping like a stack", libc::SYS_mmap, arguments(&[0, gib, writable, stack, -1])),
            ("shared memory, validated", libc::SYS_mmap, arguments(&[0, gib, writable, validated, -1])),
            ("huge pages", libc::SYS_mmap, arguments(&[0, gib, writable, huge, -1])),
            (
                "a mapping moved to a place of choice",
                libc::SYS_mremap,
                arguments(&[path & !4095, 4096, 4096, fixed, gib]),
            ),
            ("a mapping moved and kept", libc::SYS_mremap, arguments(&[path & !4095, 4096, 4096, kept])),
            ("memfd", libc::SYS_memfd_create, arguments(&[path])),
        ]
    }

    /// Sockets of other kinds than a fetch needs, and processes.
    fn of_sockets_and_processes() -> Vec<Tried> {
        let (path, unix) = (NAMED.as_ptr() as i64, i64::from(libc::AF_UNIX));
        let (internet, stream) = (i64::from(libc::AF_INET), i64::from(libc::SOCK_STREAM));
        let thread = i64::from(libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND);
        vec![
            ("a socket of this machine", libc::SYS_socket, arguments(&[unix, i64::from(libc::SOCK_DGRAM)])),
            (
                "a pair of datagram sockets",
                libc::SYS_socketpair,
                arguments(&[unix, i64::from(libc::SOCK_DGRAM), 0, path]),
            ),
            (
                "a raw socket",
                libc::SYS_socket,
                arguments(&[i64::from(libc::AF_INET), i64::from(libc::SOCK_RAW), 1]),
            ),
            (
                "a netlink socket",
                libc::SYS_socket,
                arguments(&[i64::from(libc::AF_NETLINK), i64::from(libc::SOCK_RAW)]),
            ),
            (
                "another protocol",
                libc::SYS_socket,
                arguments(&[internet, stream, i64::from(libc::IPPROTO_SCTP)]),
            ),
            ("MPTCP", libc::SYS_socket, arguments(&[internet, stream, i64::from(libc::IPPROTO_MPTCP)])),
            (
                "ICMP",
                libc::SYS_socket,
                arguments(&[internet, i64::from(libc::SOCK_DGRAM), i64::from(libc::IPPROTO_ICMP)]),
            ),
            ("a new process", libc::SYS_clone, arguments(&[i64::from(libc::SIGCHLD)])),
            (
                "a process in this memory",
                libc::SYS_clone,
                arguments(&[i64::from(libc::CLONE_VM | libc::CLONE_VFORK)]),
            ),
            ("a user's namespace", libc::SYS_clone, arguments(&[thread | i64::from(libc::CLONE_NEWUSER)])),
            ("a network's namespace", libc::SYS_clone, arguments(&[thread | i64::from(libc::CLONE_NEWNET)])),
        ]
    }

    /// Files, limits, and other processes.
    fn of_others() -> Vec<Tried> {
        let (path, here) = (NAMED.as_ptr() as i64, i64::from(libc::AT_FDCWD));
        let parent = i64::from(nix::unistd::getppid().as_raw());
        vec![
            ("chmod", libc::SYS_fchmodat, arguments(&[here, path, 0o666])),
            ("setxattr", libc::SYS_setxattr, arguments(&[path, path, path, 1])),
            ("utimensat", libc::SYS_utimensat, arguments(&[here, path])),
            ("unlink", libc::SYS_unlinkat, arguments(&[here, path])),
            ("rename", libc::SYS_renameat2, arguments(&[here, path, here, path])),
            ("truncate", libc::SYS_truncate, arguments(&[path])),
            ("open to write", libc::SYS_openat, arguments(&[here, path, i64::from(libc::O_WRONLY)])),
            ("open to read and write", libc::SYS_openat, arguments(&[here, path, i64::from(libc::O_RDWR)])),
            ("create", libc::SYS_openat, arguments(&[here, path, i64::from(libc::O_CREAT)])),
            ("setpriority", libc::SYS_setpriority, arguments(&[0, 0, 19])),
            ("ioprio_set", libc::SYS_ioprio_set, arguments(&[1, 0, 0])),
            ("sched_setattr", libc::SYS_sched_setattr, arguments(&[0, path])),
            ("sched_setaffinity", libc::SYS_sched_setaffinity, arguments(&[0, 8, path])),
            ("outlive the supervisor", libc::SYS_prctl, arguments(&[i64::from(libc::PR_SET_PDEATHSIG)])),
            ("be dumped", libc::SYS_prctl, arguments(&[i64::from(libc::PR_SET_DUMPABLE), 1])),
            ("raise a limit", libc::SYS_prlimit64, arguments(&[0, 2, path])),
            ("limits of another", libc::SYS_prlimit64, arguments(&[parent, 2])),
            ("signal the supervisor", libc::SYS_tgkill, arguments(&[parent, parent])),
            ("be told of input", libc::SYS_fcntl, arguments(&[0, i64::from(libc::F_SETOWN), parent])),
            (
                "type into a terminal",
                libc::SYS_ioctl,
                arguments(&[0, i64::try_from(libc::TIOCSTI).unwrap_or(0), path]),
            ),
        ]
    }

    /// What was not refused, by name.
    pub(super) fn left() -> Vec<String> {
        let tried = [of_memory(), of_sockets_and_processes(), of_others()].concat();
        let mut left: Vec<String> = tried
            .into_iter()
            .filter(|(_, number, given)| !matches!(call(*number, *given), Err(libc::EPERM)))
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
