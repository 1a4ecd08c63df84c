//! A command line to run, with an environment of its own.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::running::{Output, Running};
use super::supervisor_path;

/// The four execution models.
pub(crate) const MODES: [&str; 4] = ["sequential", "concurrent", "parallel", "both"];

/// Longest a run may take: far more than any needs on an idle machine, because tests share it.
const DEADLINE: Duration = Duration::from_secs(60);

/// The deadline of each run, as many times over as `scripts/chaos` makes the work larger.
pub(super) fn deadline() -> Duration {
    let scale = std::env::var("MUSTER_CHAOS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    DEADLINE * scale
}

/// A command that is not started yet.
#[derive(Debug, Clone)]
pub(crate) struct TestCommand {
    argv: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: PathBuf,
    stdin: Option<Vec<u8>>,
}

/// `supervisor fetch`, with two workers unless the test says otherwise.
pub(crate) fn fetch() -> TestCommand {
    supervisor().args(["--workers", "2", "fetch"])
}

/// `supervisor parse`, with two workers unless the test says otherwise.
pub(crate) fn parse() -> TestCommand {
    supervisor().args(["--workers", "2", "parse"])
}

/// `supervisor`.
pub(crate) fn supervisor() -> TestCommand {
    TestCommand::new(supervisor_path())
}

impl TestCommand {
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            argv: vec![program.as_ref().to_owned()],
            environment: Vec::new(),
            directory: std::env::temp_dir(),
            stdin: None,
        }
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.argv.push(arg.as_ref().to_owned());
        self
    }

    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.argv.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Puts another program in front, which runs this one in its own place (`taskset -c 0`).
    pub(crate) fn under(mut self, wrapper: &[&str]) -> Self {
        self.argv.splice(..0, wrapper.iter().map(OsString::from));
        self
    }

    pub(crate) fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    pub(crate) fn current_dir(mut self, directory: &Path) -> Self {
        directory.clone_into(&mut self.directory);
        self
    }

    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Reads `urls` from standard input, one a line.
    pub(crate) fn urls<S: AsRef<str>>(self, urls: impl IntoIterator<Item = S>) -> Self {
        let list: String = urls.into_iter().map(|url| format!("{}\n", url.as_ref())).collect();
        self.args(["-i", "-"]).stdin(list)
    }

    /// Runs it to its end.
    pub(crate) fn run(self) -> Output {
        self.spawn().wait()
    }

    /// Starts it, with pipes for its streams.
    pub(crate) fn spawn(self) -> Running {
        let mut command = self.prepared();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Running::start(command, self.stdin)
    }

    /// Runs it with standard output in `file`.
    pub(crate) fn run_into(self, file: std::fs::File) -> Output {
        let mut command = self.prepared();
        command.stdout(file).stderr(Stdio::piped());
        Running::start(command, self.stdin).wait()
    }

    /// The command with everything but its streams.
    ///
    /// Its environment is empty but for what a test gives it: a proxy or a
    /// `MUSTER_…` variable of whoever runs the tests would change their results.
    pub(crate) fn prepared(&self) -> Command {
        let (program, args) = self.argv.split_first().unwrap();
        let mut command = Command::new(program);
        command.args(args).env_clear().current_dir(&self.directory);
        for name in ["PATH", "TMPDIR", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.env("LANG", "C.UTF-8").env("RUST_BACKTRACE", "1").envs(self.environment.iter().cloned());
        command.stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        command
    }
}
