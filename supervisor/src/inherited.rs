//! State inherited from the parent process: the signal mask, signal actions and standard output. Before any
//! thread starts, [`settle`] corrects what would make a run hang or die.
//!
//! Child processes get an empty mask and default actions for the signals handled here: `exec` resets
//! handlers, and this program installs only handlers, never `SIG_IGN`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc;
use nix::sys::signal::SigSet;
use procfs::process::Process;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGXFSZ};
use signal_hook::flag;

/// Unblocks all signals, makes exit statuses of children available, and turns SIGXFSZ into a write error.
///
/// # Errors
/// If a signal handler cannot be installed.
pub(crate) fn settle() -> io::Result<()> {
    SigSet::empty().thread_set_mask()?;
    // Both flags are never read. With a handler for SIGXFSZ, a write beyond the file size limit fails with
    // EFBIG instead of ending the process. If SIGCHLD stayed ignored, children would leave no exit status.
    flag::register(SIGXFSZ, Arc::default())?;
    flag::register(SIGCHLD, Arc::default())?;
    Ok(())
}

/// Whether SIGHUP is ignored, as under `nohup`. If so, it stays ignored.
pub(crate) fn ignores_hangup() -> bool {
    let ignored = Process::myself().and_then(|process| process.status()).map_or(0, |status| status.sigign);
    ignored & (1 << (SIGHUP - 1)) != 0
}

/// Returns an error if standard output was closed when this process started (`>&-`).
///
/// # Errors
/// `EBADF`, the error that a write would have returned.
pub(crate) fn check_stdout() -> io::Result<()> {
    if STDOUT_CLOSED.load(Ordering::Relaxed) {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    Ok(())
}

static STDOUT_CLOSED: AtomicBool = AtomicBool::new(false);

/// Runs before Rust's runtime, which opens `/dev/null` in place of a closed standard stream. After that, a
/// closed stream looks like a redirection to `/dev/null`.
#[used]
#[expect(unsafe_code, reason = "no other way runs code before Rust's runtime starts")]
// SAFETY: the section holds pointers to functions that get the arguments of C's `main` and may ignore them.
// This function makes a system call and stores a flag. It uses nothing that Rust's runtime sets up.
#[unsafe(link_section = ".init_array")]
static LOOK_AT_STDOUT: extern "C" fn() = look_at_stdout;

#[expect(unsafe_code, reason = "a descriptor that may be closed has no safe type")]
extern "C" fn look_at_stdout() {
    // SAFETY: the call takes only integers and touches no memory of this process, whatever the descriptor is.
    let closed = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) } == -1;
    STDOUT_CLOSED.store(closed, Ordering::Relaxed);
}
