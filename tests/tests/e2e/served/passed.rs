//! A socket that the service manager holds, as systemd passes it: in descriptor 3.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Stdio;

use nix::sys::signal::Signal;

use crate::harness::{Dir, Running, supervisor};

/// What systemd sets before it starts a service. Only the shell knows the number of the process that it becomes.
const PASS: &str = "export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=api; exec \"$@\" 3<&0 0</dev/null";

fn serve(dir: &Dir, listener: &UnixListener) -> Running {
    let serve = supervisor().args(["--workers", "2", "serve", "--state-dir"]).arg(dir.path("state"));
    let serve = serve.arg("--socket").arg(dir.path("unused.sock")).under(&["sh", "-c", PASS, "sh"]);
    let mut command = serve.prepared();
    let listener: OwnedFd = listener.try_clone().unwrap().into();
    command.stdin(listener).stdout(Stdio::piped()).stderr(Stdio::piped());
    Running::start(command, None)
}

/// Asks, on a connection that may have to wait for somebody to take it.
fn ask(socket: &std::path::Path) -> UnixStream {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    stream.set_read_timeout(Some(super::WITHIN)).unwrap();
    stream
}

fn answer(mut stream: UnixStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn who_calls_while_the_service_is_away_is_answered_when_it_is_back() {
    let dir = Dir::new();
    let path = dir.path("passed.sock");
    let listener = UnixListener::bind(&path).unwrap();
    for _ in 0..2 {
        let early = ask(&path);
        let running = serve(&dir, &listener);
        assert!(answer(early).starts_with("HTTP/1.1 200 "), "{}", running.stderr_so_far());
        // The socket answers a moment before the service says so.
        let line = format!("listening on {}", path.display());
        running.until("the line that names the socket", || {
            running.stderr_so_far().contains(&line).then_some(())
        });
        assert!(!dir.path("unused.sock").exists(), "one socket is enough");
        running.signal(Signal::SIGTERM);
        running.wait().exits(0);
        assert!(path.exists(), "it is not the service's to remove");
    }
}

#[test]
fn workers_do_not_inherit_it() {
    let dir = Dir::new();
    let path = dir.path("passed.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let socket = fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap();
    let open = |pid: i32| -> Vec<_> {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()).collect()
    };
    let running = serve(&dir, &listener);
    assert!(answer(ask(&path)).starts_with("HTTP/1.1 200 "));
    assert!(open(running.id()).contains(&socket), "the service has it");
    let workers = running.until("a worker", || Some(running.workers()).filter(|found| !found.is_empty()));
    for worker in workers {
        assert!(!open(worker.id).contains(&socket), "{worker:?} has it");
    }
}
