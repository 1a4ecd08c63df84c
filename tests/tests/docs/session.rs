//! Runs a page's commands, one after the other, in one directory.
//!
//! Each command has a shell of its own, so only files and `$?` carry over; that
//! keeps an example readable by itself.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};

use tempfile::TempDir;

use super::diff::diff;
use super::executables::supervisor_path;
use super::page::Step;

/// Where the pages say that the origin listens.
const SHOWN_ADDRESS: &str = "127.0.0.1:8080";

/// Pages of the origin's site: what the README's tour starts it with.
const PAGES: &str = "1000";

/// Longest that one command may take, in seconds.
const DEADLINE_S: &str = "60";

/// A directory, a server, and the exit code of the last command.
pub(crate) struct Session {
    directory: TempDir,
    address: String,
    origin: Child,
    // The server ends when this is closed, whatever happens to the test.
    _stdin: ChildStdin,
    status: i32,
}

impl Session {
    pub(crate) fn start() -> Self {
        let mut origin = Command::new(env!("CARGO_BIN_EXE_origin"))
            .args(["--exit-with-stdin", "--pages", PAGES])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(origin.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").expect("the origin starts").to_owned();
        let stdin = origin.stdin.take().unwrap();
        let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Self { directory, address, origin, _stdin: stdin, status: 0 }
    }

    /// Runs one command; what differs from the page, if anything does.
    pub(crate) fn run(&mut self, step: &Step, numbers_vary: bool, says_status: bool) -> Result<(), String> {
        let before = self.status;
        let command = step.command.replace(SHOWN_ADDRESS, &self.address);
        let script = format!("exec 2>&1\n(exit {before})\n{command}\n");
        let output = self.shell(&script).output().unwrap();
        self.status = output.status.code().unwrap_or(-1);
        let text = String::from_utf8_lossy(&output.stdout).replace(&self.address, SHOWN_ADDRESS);
        let came: Vec<String> = text.lines().map(str::to_owned).collect();
        if let Some(difference) = diff(trimmed(&step.output), &came, numbers_vary) {
            return Err(difference);
        }
        if self.status != 0 && !says_status {
            return Err(format!("exits with {}, and no `$ echo $?` after it says so", self.status));
        }
        Ok(())
    }

    fn shell(&self, script: &str) -> Command {
        let bin = supervisor_path().parent().expect("it is in a directory");
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("timeout");
        command.args(["--kill-after", "5", DEADLINE_S, "sh", "-c", script]);
        command.env_clear().env("PATH", path).env("HOME", self.directory.path()).env("LANG", "C.UTF-8");
        command.current_dir(self.directory.path()).stdin(Stdio::null());
        command
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.origin.kill();
        let _ = self.origin.wait();
    }
}

/// Without the blank lines that only set the next command apart.
fn trimmed(lines: &[String]) -> &[String] {
    let end = lines.iter().rposition(|line| !line.trim().is_empty()).map_or(0, |last| last + 1);
    &lines[..end]
}
