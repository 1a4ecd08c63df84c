//! Restricts a worker to what its job needs, before it reads any untrusted input.
//!
//! Landlock hides all files except those the job reads, and forbids binding TCP ports. seccomp forbids starting
//! programs, tracing other processes, listening, and system calls that the worker never makes. Both apply to the
//! calling thread and to threads that it starts later, so [`enter`] must run before any other thread starts.
//!
//! Still allowed are the outgoing connections of a fetch job, and the files needed to resolve names and check
//! certificates.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use nix::libc;
use nix::sys::prctl::set_no_new_privs;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use shared::job::{JobSpec, SandboxLevel, SandboxSpec, Work};

/// Newest Landlock ABI whose rights are all handled here (Linux 6.12).
const LANDLOCK_ABI: ABI = ABI::V6;

/// Files that are needed to resolve names, to check certificates and to run at all.
const SYSTEM_READABLE: [&str; 15] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/var/lib/ca-certificates",
    // The real `resolv.conf` on machines where a service manages and replaces it.
    "/run/systemd/resolve",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/proc/self",
];

/// Shared libraries. The resolver loads its modules at the first name lookup.
const LIBRARIES: [&str; 5] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache"];

/// System calls that no stage makes, and that could be used to leave the sandbox.
const FORBIDDEN: [libc::c_long; 45] = [
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    // Signals to other processes. A worker signals only its own threads.
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    // A child that leaves the process group would survive the kill of that group.
    libc::SYS_setsid,
    libc::SYS_setpgid,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
];

/// The same system calls under other numbers: the old names of fork, and the x32 ABI. Some kernels still accept
/// x32 calls, and the filter's architecture check lets them through.
#[cfg(target_arch = "x86_64")]
const OTHER_ABI: &[libc::c_long] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    X32 | 520, // execve
    X32 | 521, // ptrace
    X32 | 545, // execveat
    X32 | libc::SYS_socket,
    X32 | libc::SYS_bind,
    X32 | libc::SYS_clone,
    X32 | libc::SYS_fork,
    X32 | libc::SYS_vfork,
    X32 | libc::SYS_kill,
];

/// Other architectures have only one set of numbers, and `fork` is `clone`.
#[cfg(not(target_arch = "x86_64"))]
const OTHER_ABI: &[libc::c_long] = &[];

/// The bit that marks an x32 system call number.
#[cfg(target_arch = "x86_64")]
const X32: libc::c_long = 0x4000_0000;

/// Why a required sandbox could not be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SandboxError {
    /// The kernel lacks Landlock, or enforces only part of the rules.
    #[error("--sandbox require: this kernel does not enforce all Landlock rules ({0})")]
    Landlock(String),
    /// The seccomp filter was rejected.
    #[error("--sandbox require: cannot install the seccomp filter: {0}")]
    Seccomp(String),
}

/// Enters the sandbox that the job asks for. Returns the names of the mechanisms in force.
pub(crate) fn enter(job: &JobSpec) -> Result<String, SandboxError> {
    // A user's program would inherit every restriction, and needs rights of its own. It may also be started at any
    // time.
    if job.program().is_some() {
        return Ok("off: the job runs a program".to_owned());
    }
    let require = match job.sandbox.level {
        SandboxLevel::Off => return Ok("off".to_owned()),
        SandboxLevel::Auto => false,
        SandboxLevel::Require => true,
    };
    let mut in_force = Vec::new();
    if set_no_new_privs().is_ok() {
        in_force.push("no_new_privs");
    }
    match restrict_files(&job.sandbox) {
        Ok(RulesetStatus::FullyEnforced) => in_force.push("landlock"),
        Ok(status) if require => return Err(SandboxError::Landlock(format!("{status:?}"))),
        Err(error) if require => return Err(SandboxError::Landlock(error.to_string())),
        Ok(RulesetStatus::PartiallyEnforced) => in_force.push("landlock (in part)"),
        Ok(RulesetStatus::NotEnforced) | Err(_) => {}
    }
    let families: &[i32] = match job.work {
        Work::Fetch(_) | Work::Sitemap(_) => &[libc::AF_INET, libc::AF_INET6],
        Work::Parse(_) | Work::Map(_) | Work::Csv(_) => &[],
    };
    match restrict_calls(families) {
        Ok(()) => in_force.push("seccomp"),
        Err(error) if require => return Err(SandboxError::Seccomp(error.to_string())),
        Err(_) => {}
    }
    Ok(in_force.join(", "))
}

fn restrict_files(spec: &SandboxSpec) -> Result<RulesetStatus, landlock::RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let readable: Vec<(PathBuf, PathFd)> = match &spec.readable {
        None => opened(PathBuf::from("/")).into_iter().collect(),
        Some(paths) => {
            let named = paths.iter().map(PathBuf::from).filter_map(opened).filter(leads_straight);
            named.chain(system_readable().filter_map(opened)).collect()
        }
    };
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(LANDLOCK_ABI))?
        .handle_access(AccessNet::BindTcp)?
        .scope(Scope::from_all(LANDLOCK_ABI))?
        .create()?;
    for (path, opened) in readable {
        let rights = if path.is_dir() { read } else { AccessFs::ReadFile.into() };
        ruleset = ruleset.add_rule(PathBeneath::new(opened, rights))?;
    }
    Ok(ruleset.restrict_self()?.ruleset)
}

/// Opens a path for a Landlock rule. A path that does not exist needs no rule.
fn opened(path: PathBuf) -> Option<(PathBuf, PathFd)> {
    PathFd::new(&path).ok().map(|opened| (path, opened))
}

/// Whether the path still contains no symbolic links. It had none when the job started; a link added since could
/// point out of the sandbox.
fn leads_straight((path, opened): &(PathBuf, PathFd)) -> bool {
    let number = opened.as_fd().as_raw_fd();
    std::fs::read_link(format!("/proc/self/fd/{number}")).is_ok_and(|real| real == *path)
}

/// Files of the system that a fetch reads, and the certificate files that the environment names.
fn system_readable() -> impl Iterator<Item = PathBuf> {
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().filter_map(std::env::var_os);
    let certificates = named.flat_map(|paths| std::env::split_paths(&paths).collect::<Vec<_>>());
    SYSTEM_READABLE.iter().chain(&LIBRARIES).map(|path| Path::new(path).to_owned()).chain(certificates)
}

/// Forbids the calls in [`FORBIDDEN`], new processes, access to other processes, and sockets outside `families`.
fn restrict_calls(families: &[i32]) -> Result<(), Box<dyn std::error::Error>> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        FORBIDDEN.iter().chain(OTHER_ABI).map(|call| (*call, Vec::new())).collect();
    // All conditions of a rule must hold: the family differs from each allowed one.
    let unwanted = families
        .iter()
        .map(|family| {
            let family = u64::from(family.unsigned_abs());
            SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, family)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let any_socket = if unwanted.is_empty() { Vec::new() } else { vec![SeccompRule::new(unwanted)?] };
    rules.insert(libc::SYS_socket, any_socket);
    // `abort` signals its own thread group. Process 0 means the calling process when limits are set.
    let others = |own: u64| {
        SeccompRule::new(vec![SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, own)?])
    };
    rules.insert(libc::SYS_tgkill, vec![others(u64::from(std::process::id()))?]);
    for call in [libc::SYS_prlimit64, libc::SYS_sched_setaffinity, libc::SYS_sched_setscheduler] {
        rules.insert(call, vec![others(0)?]);
    }
    // A new thread has this bit set, a new process has not.
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    let process = SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(thread), 0)?;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![process])?]);
    // Return an error instead of killing the process, so that a library can fall back.
    install(rules, libc::EPERM)?;
    // The flags of `clone3` are in memory, which a filter cannot read. With ENOSYS, glibc falls back to `clone`.
    install(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS)
}

fn install(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    refuse_with: i32,
) -> Result<(), Box<dyn std::error::Error>> {
    let refuse = SeccompAction::Errno(refuse_with.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, std::env::consts::ARCH.try_into()?)?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program)?;
    Ok(())
}
