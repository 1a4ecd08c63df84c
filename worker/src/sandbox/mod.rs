//! Restricts a worker to what its job needs, before it reads any untrusted input.
//!
//! Landlock hides all files except those the job reads, and forbids binding TCP ports, and connecting if the job has
//! no use for the network. Only a job that saves files may write, and only below its directory. seccomp forbids all
//! system calls except the few that a worker needs, which `calls` lists. Both apply to the calling thread and to threads
//! that it starts later, so `enter` must run before any other thread starts.
//!
//! Still allowed are the outgoing connections of a fetch job, and the files needed to resolve names and check
//! certificates.

mod calls;

use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use nix::sys::prctl::set_no_new_privs;
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
    let families = families(&job.work);
    let saved = saved(&job.work);
    match restrict_files(&job.sandbox, families, saved) {
        Ok(RulesetStatus::FullyEnforced) => in_force.push("landlock"),
        Ok(status) if require => return Err(SandboxError::Landlock(format!("{status:?}"))),
        Err(error) if require => return Err(SandboxError::Landlock(error.to_string())),
        Ok(RulesetStatus::PartiallyEnforced) => in_force.push("landlock (in part)"),
        Ok(RulesetStatus::NotEnforced) | Err(_) => {}
    }
    match calls::restrict(families, saved.is_some()) {
        Ok(()) => in_force.push("seccomp"),
        Err(error) if require => return Err(SandboxError::Seccomp(error.to_string())),
        Err(_) => {}
    }
    Ok(in_force.join(", "))
}

/// The families of sockets that a job needs.
fn families(work: &Work) -> calls::Families {
    match work {
        Work::Fetch(_) | Work::Crawl(_) | Work::Sitemap(_) => calls::INTERNET,
        Work::Parse(_) | Work::Map(_) | Work::Csv(_) => &[],
    }
}

/// The directory that a job writes files to.
fn saved(work: &Work) -> Option<&Path> {
    match work {
        Work::Fetch(spec) => spec.save.as_ref().map(|save| save.directory.as_path()),
        Work::Crawl(spec) => spec.fetch.save.as_ref().map(|save| save.directory.as_path()),
        Work::Sitemap(_) | Work::Parse(_) | Work::Map(_) | Work::Csv(_) => None,
    }
}

fn restrict_files(
    spec: &SandboxSpec,
    families: calls::Families,
    saved: Option<&Path>,
) -> Result<RulesetStatus, landlock::RulesetError> {
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
        .handle_access(if families.is_empty() {
            AccessNet::from_all(LANDLOCK_ABI)
        } else {
            AccessNet::BindTcp.into()
        })?
        .scope(Scope::from_all(LANDLOCK_ABI))?
        .create()?;
    for (path, opened) in readable {
        let rights = if path.is_dir() { read } else { AccessFs::ReadFile.into() };
        ruleset = ruleset.add_rule(PathBeneath::new(opened, rights))?;
    }
    if let Some((_, directory)) = saved.map(Path::to_owned).and_then(opened).filter(leads_straight) {
        // `Refer` is needed to move a file to another directory. A kernel without it forbids that under any rules, and
        // then there are none.
        let write = AccessFs::WriteFile
            | AccessFs::Truncate
            | AccessFs::MakeReg
            | AccessFs::MakeDir
            | AccessFs::RemoveFile
            | AccessFs::Refer;
        ruleset = ruleset.add_rule(PathBeneath::new(directory, read | write))?;
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
