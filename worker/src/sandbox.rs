//! What a worker gives up before it reads the first hostile byte.
//!
//! Landlock takes the file system away but for what the job reads, and all
//! binding of ports; seccomp takes away starting programs, tracing others,
//! listening, and the kernel's rarer doors. Both hold for this thread and those it
//! starts later, so [`enter`] must come before any other thread.
//!
//! What stays open: outgoing connections of a fetch job, and the files that
//! resolving a name and checking a certificate need.

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

/// Newest Landlock interface whose every right is handled here (Linux 6.12).
const LANDLOCK_ABI: ABI = ABI::V6;

/// What resolving names, checking certificates and running at all read.
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
    // Where resolv.conf really is, and is replaced, on machines that manage it.
    "/run/systemd/resolve",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/proc/self",
];

/// Shared libraries: the resolver loads its modules when the first name is looked up.
const LIBRARIES: [&str; 5] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache"];

/// System calls no stage of ours makes; each would be a way out or a way in.
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
    // Signals, but for its own threads: a worker has no business with other processes.
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    // A child that leaves the process group would outlive it.
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

/// The same doors under other numbers: forks by their old names, and the x32 numbers, which
/// some kernels still answer and the filter's check of the architecture lets through.
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

/// Elsewhere there is one set of numbers, and `fork` is `clone`.
#[cfg(not(target_arch = "x86_64"))]
const OTHER_ABI: &[libc::c_long] = &[];

/// The bit that makes a system call's number an x32 one.
#[cfg(target_arch = "x86_64")]
const X32: libc::c_long = 0x4000_0000;

/// Why the sandbox that was required is not in force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SandboxError {
    /// The kernel lacks Landlock, or enforces only part of what was asked.
    #[error("--sandbox require: this kernel does not enforce all of Landlock that is asked for ({0})")]
    Landlock(String),
    /// The seccomp filter was refused.
    #[error("--sandbox require: seccomp is not in force: {0}")]
    Seccomp(String),
}

/// Gives up what the job does not need; names what is in force.
pub(crate) fn enter(job: &JobSpec) -> Result<String, SandboxError> {
    // It inherits every restriction, has needs of its own, and must be startable at any time.
    if job.program().is_some() {
        return Ok("off, for the program's sake".to_owned());
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

/// A place to be allowed. What is not there needs no permission.
fn opened(path: PathBuf) -> Option<(PathBuf, PathFd)> {
    PathFd::new(&path).ok().map(|opened| (path, opened))
}

/// Whether the path, which had no links in it when the job began, has none now: somebody may have put one there
/// to be let out.
fn leads_straight((path, opened): &(PathBuf, PathFd)) -> bool {
    let number = opened.as_fd().as_raw_fd();
    std::fs::read_link(format!("/proc/self/fd/{number}")).is_ok_and(|real| real == *path)
}

/// Files of the system that a fetch reads, and where the user keeps certificates.
fn system_readable() -> impl Iterator<Item = PathBuf> {
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().filter_map(std::env::var_os);
    let certificates = named.flat_map(|paths| std::env::split_paths(&paths).collect::<Vec<_>>());
    SYSTEM_READABLE.iter().chain(&LIBRARIES).map(|path| Path::new(path).to_owned()).chain(certificates)
}

/// Forbids [`FORBIDDEN`], new processes, reaching for other processes, and all sockets but those of `families`.
fn restrict_calls(families: &[i32]) -> Result<(), Box<dyn std::error::Error>> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        FORBIDDEN.iter().chain(OTHER_ABI).map(|call| (*call, Vec::new())).collect();
    // All conditions of a rule must hold: a family that is none of those allowed.
    let unwanted = families
        .iter()
        .map(|family| {
            let family = u64::from(family.unsigned_abs());
            SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, family)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let any_socket = if unwanted.is_empty() { Vec::new() } else { vec![SeccompRule::new(unwanted)?] };
    rules.insert(libc::SYS_socket, any_socket);
    // `abort` signals its own thread group; limits are set on oneself as process 0.
    let others = |own: u64| {
        SeccompRule::new(vec![SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, own)?])
    };
    rules.insert(libc::SYS_tgkill, vec![others(u64::from(std::process::id()))?]);
    for call in [libc::SYS_prlimit64, libc::SYS_sched_setaffinity, libc::SYS_sched_setscheduler] {
        rules.insert(call, vec![others(0)?]);
    }
    // A thread is made with this bit, a process without it.
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    let process = SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(thread), 0)?;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![process])?]);
    // An error code and not a signal: a library that tries and falls back goes on.
    install(rules, libc::EPERM)?;
    // Its flags are in memory, where a filter cannot look. glibc then takes `clone`.
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
