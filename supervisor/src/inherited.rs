//! What this process inherits from the one that started it: the signal mask, the actions for
//! signals, standard output. [`settle`] puts right what would make a run hang or die, before any thread starts.
//!
//! Processes that are started from here get an empty mask and default actions for what is handled
//! here: an `exec` resets handlers, and only handlers are installed, never `SIG_IGN`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc;
use nix::sys::signal::SigSet;
use procfs::process::Process;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGXFSZ};
use signal_hook::flag;

/// Unblocks all signals; makes children waitable and a file that is too large an error of the write.
///
/// # Errors
/// When the system refuses a handler.
pub(crate) fn settle() -> io::Result<()> {
    SigSet::empty().thread_set_mask()?;
    // Both flags are never read. SIGXFSZ would end the process, and with a handler the write
    // fails with EFBIG. The children of a process that ignores SIGCHLD leave no exit status.
    flag::register(SIGXFSZ, Arc::default())?;
    flag::register(SIGCHLD, Arc::default())?;
    Ok(())
}

/// Whether SIGHUP is ignored, as under `nohup`: then it stays ignored.
pub(crate) fn ignores_hangup() -> bool {
    let ignored = Process::myself().and_then(|process| process.status()).map_or(0, |status| status.sigign);
    ignored & (1 << (SIGHUP - 1)) != 0
}

/// An error if standard output was closed when this process was started (`>&-`).
///
/// # Errors
/// `EBADF`, which a write would have given.
pub(crate) fn check_stdout() -> io::Result<()> {
    if STDOUT_CLOSED.load(Ordering::Relaxed) {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    Ok(())
}

static STDOUT_CLOSED: AtomicBool = AtomicBool::new(false);

/// Runs before Rust's own start, which opens `/dev/null` in place of a standard stream that is
/// closed: afterwards nobody can tell that from the user's own `> /dev/null`.
#[used]
#[expect(unsafe_code, reason = "there is no other way to run anything before Rust's own start")]
// SAFETY: the section holds pointers to functions that take C's arguments of `main` and may ignore
// them. This one makes a system call and stores a flag; it uses nothing that Rust's start sets up.
#[unsafe(link_section = ".init_array")]
static LOOK_AT_STDOUT: extern "C" fn() = look_at_stdout;

#[expect(unsafe_code, reason = "a descriptor that may be closed has no safe type")]
extern "C" fn look_at_stdout() {
    // SAFETY: the call takes numbers and touches no memory of ours, whatever the descriptor is.
    let closed = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) } == -1;
    STDOUT_CLOSED.store(closed, Ordering::Relaxed);
}
