//! What a reader may still do: read what is open, write to what is open, and allocate memory up to a limit.
//!
//! An allow-list, because a reader needs few system calls. Without `open` it needs no rules about paths, and without
//! `socket` none about addresses.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use nix::libc;
use nix::sys::prctl::{set_name, set_no_new_privs, set_pdeathsig};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// Added to its `oom_score`, as for workers: the kernel's OOM killer chooses it before the supervisor.
const OOM_SCORE_ADJUSTMENT: &str = "500";

/// What decoders, the allocator and Rust's runtime call. `statx` shows whether a path exists, and nothing in it.
const ALLOWED: [libc::c_long; 26] = [
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_fcntl,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Limits the memory of this process, and has it end with the supervisor.
///
/// # Errors
/// If the memory cannot be limited.
pub(super) fn limit(memory_bytes_max: u64) -> io::Result<()> {
    // What `ps` shows. Both only help whoever looks, and the kernel.
    let _ = set_name(c"reader");
    let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJUSTMENT);
    set_pdeathsig(Signal::SIGKILL)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    setrlimit(Resource::RLIMIT_DATA, memory_bytes_max, memory_bytes_max)?;
    Ok(())
}

/// Gives up every system call that is not in [`ALLOWED`].
///
/// # Errors
/// If the kernel does not accept the filter.
pub(super) fn enter() -> Result<(), Box<dyn std::error::Error>> {
    set_no_new_privs()?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    // `abort` signals its own thread.
    let own = u64::from(std::process::id());
    let itself = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, own)?;
    rules.insert(libc::SYS_tgkill, vec![SeccompRule::new(vec![itself])?]);
    // No memory is made executable.
    let executable = u64::from(libc::PROT_EXEC.unsigned_abs());
    let data = SeccompCondition::new(2, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(executable), 0)?;
    rules.insert(libc::SYS_mmap, vec![SeccompRule::new(vec![data.clone()])?]);
    rules.insert(libc::SYS_mprotect, vec![SeccompRule::new(vec![data])?]);
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, refuse, SeccompAction::Allow, std::env::consts::ARCH.try_into()?)?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program)?;
    Ok(())
}
