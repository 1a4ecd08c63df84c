//! The system calls that a worker may make in its sandbox. All others fail with EPERM.
//!
//! seccomp sees the number of a call and its arguments, but not what these point to. The kernel knows which calls are
//! allowed whatever their arguments and does not run the filter for them, so reading, writing and waiting cost nothing.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// The families of sockets that a worker may open.
pub(super) type Families = &'static [i32];

/// Those of a worker that fetches.
pub(super) const INTERNET: Families = &[libc::AF_INET, libc::AF_INET6];

/// Calls that every worker may make, whatever their arguments.
const ANY: &[libc::c_long] = &[
    // Open files and sockets, and waiting for them.
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
    // What files there are.
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    // Memory.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    // Threads.
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
    // Signals of its own.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_sigaltstack,
    // What time it is, who this is, and what it has used.
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
    // Refused by the other filter. If this one refused it, its error would count.
    libc::SYS_clone3,
];

/// The same calls under the numbers that only old architectures have.
#[cfg(target_arch = "x86_64")]
const ANY_OLD: &[libc::c_long] = &[
    libc::SYS_poll,
    libc::SYS_epoll_wait,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_getdents,
    libc::SYS_getrlimit,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const ANY_OLD: &[libc::c_long] = &[];

/// Calls that a worker may make besides, whatever their arguments, if it may open sockets.
const OF_SOCKETS: &[libc::c_long] = &[
    libc::SYS_connect,
    libc::SYS_shutdown,
    libc::SYS_sendmmsg,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
    // Before a lookup, the resolver makes sure that there are descriptors for it.
    libc::SYS_pipe2,
];

/// Calls that a worker may make besides, whatever their arguments, if it saves files.
const OF_FILES: &[libc::c_long] = &[
    libc::SYS_mkdirat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_unlinkat,
    libc::SYS_ftruncate,
];

/// The flags of an `open` that writes or creates. Landlock forbids that too, where the kernel has it.
const WRITES: i32 = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | (libc::O_TMPFILE & !libc::O_DIRECTORY);

/// Kinds of mappings that no limit on the memory of a process counts: shared ones, and those that grow like a stack.
const UNCOUNTED: i32 = 0xf | libc::MAP_GROWSDOWN | libc::MAP_HUGETLB;

/// Flags of `clone` that make a process or a namespace.
const OF_PROCESSES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;
const OF_THREADS: i32 = libc::CLONE_THREAD | libc::CLONE_VM;

/// What `fcntl` may be asked for.
const DESCRIPTORS: [i32; 5] =
    [libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_SETFL, libc::F_DUPFD_CLOEXEC];

/// `PR_SET_VMA`: a name for a mapping, which allocators give.
const SET_VMA: i32 = 0x5356_4d41;

type Error = Box<dyn std::error::Error>;

/// Conditions that must all hold.
type All = Vec<SeccompCondition>;

/// A condition on the low half of an argument, which is all that the kernel reads of an `int`.
fn is(argument: u8, value: impl TryInto<u32>) -> Result<SeccompCondition, Error> {
    masked(argument, u32::MAX, value)
}

/// The same, of the bits in `mask` alone.
fn masked(argument: u8, mask: u32, value: impl TryInto<u32>) -> Result<SeccompCondition, Error> {
    let value = u64::from(value.try_into().map_err(|_| "an argument is negative")?);
    let operator = SeccompCmpOp::MaskedEq(u64::from(mask));
    Ok(SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?)
}

/// The calls that are allowed with some arguments only: for each, one set of conditions must hold.
fn conditional(families: Families, saves: bool) -> Result<Vec<(libc::c_long, Vec<All>)>, Error> {
    let own = std::process::id();
    let one_of = |argument: u8, values: &[i32]| {
        values.iter().map(|value| Ok(vec![is(argument, *value)?])).collect::<Result<Vec<All>, Error>>()
    };
    let nothing = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?;
    // An ioctl number has all 32 bits.
    let ioctls = [libc::FIONBIO, libc::FIONREAD, libc::FIOCLEX, libc::TCGETS];
    let ioctls = ioctls.into_iter().map(|request| Ok(vec![is(1, request)?])).collect::<Result<_, Error>>()?;
    let threads = masked(0, (OF_PROCESSES | OF_THREADS).cast_unsigned(), OF_THREADS)?;
    let opened = |flags: i32| Ok::<All, Error>(vec![masked(2, WRITES.cast_unsigned(), flags)?]);
    let mut opens = vec![opened(0)?];
    if saves {
        let written = libc::O_RDWR | libc::O_CREAT;
        opens.extend([opened(written)?, opened(written | libc::O_TRUNC)?]);
    }
    let mut rules = vec![
        (libc::SYS_openat, opens),
        (libc::SYS_mmap, vec![vec![masked(3, UNCOUNTED.cast_unsigned(), libc::MAP_PRIVATE)?]]),
        // As `realloc` calls it, and to no place of the caller's choice.
        (libc::SYS_mremap, vec![vec![masked(3, !libc::MREMAP_MAYMOVE.cast_unsigned(), 0)?]]),
        (libc::SYS_fcntl, one_of(1, &DESCRIPTORS)?),
        (libc::SYS_ioctl, ioctls),
        (libc::SYS_clone, vec![vec![threads]]),
        // `abort` signals its own thread.
        (libc::SYS_tgkill, vec![vec![is(0, own)?]]),
        // Limits may be read.
        (libc::SYS_prlimit64, vec![vec![is(0, 0)?, nothing]]),
        (libc::SYS_prctl, one_of(0, &[libc::PR_SET_NAME, libc::PR_GET_NAME, SET_VMA])?),
        // An event loop that can listen to signals makes a pair, though it never listens here. A pair of datagram
        // sockets could send to others.
        (libc::SYS_socketpair, vec![vec![is(0, libc::AF_UNIX)?, masked(1, 0xf, libc::SOCK_STREAM)?]]),
    ];
    #[cfg(target_arch = "x86_64")]
    rules.push((libc::SYS_open, vec![vec![masked(1, WRITES.cast_unsigned(), 0)?]]));
    let mut sockets = Vec::new();
    for family in families {
        for (kind, protocol) in [
            (libc::SOCK_STREAM, 0),
            (libc::SOCK_STREAM, libc::IPPROTO_TCP),
            (libc::SOCK_DGRAM, 0),
            (libc::SOCK_DGRAM, libc::IPPROTO_UDP),
        ] {
            sockets.push(vec![is(0, *family)?, masked(1, 0xf, kind)?, is(2, protocol)?]);
        }
    }
    if !sockets.is_empty() {
        rules.push((libc::SYS_socket, sockets));
    }
    Ok(rules)
}

/// Forbids all other calls, for this thread and those that it starts.
pub(super) fn restrict(families: Families, saves: bool) -> Result<(), Error> {
    // The flags of `clone3` are in memory, which a filter cannot read. With ENOSYS, glibc falls back to `clone`.
    let no_clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    install(no_clone3, SeccompAction::Allow, errno(libc::ENOSYS))?;
    let of_sockets: &[libc::c_long] = if families.is_empty() { &[] } else { OF_SOCKETS };
    let of_files: &[libc::c_long] = if saves { OF_FILES } else { &[] };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        [ANY, ANY_OLD, of_sockets, of_files].concat().into_iter().map(|call| (call, Vec::new())).collect();
    for (call, sets) in conditional(families, saves)? {
        rules.insert(call, sets.into_iter().map(SeccompRule::new).collect::<Result<_, _>>()?);
    }
    // An error instead of the end of the process, so that a library can fall back.
    install(rules, errno(libc::EPERM), SeccompAction::Allow)
}

fn errno(error: i32) -> SeccompAction {
    SeccompAction::Errno(error.cast_unsigned())
}

fn install(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<(), Error> {
    let filter = SeccompFilter::new(rules, otherwise, matched, std::env::consts::ARCH.try_into()?)?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program)?;
    Ok(())
}
