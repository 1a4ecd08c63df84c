//! A running origin.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use super::running::spawn;

/// Pages of a server's site.
const PAGES: u32 = 300;

/// A server of this test's own, or the one that tests share.
#[derive(Debug)]
pub(crate) struct Origin {
    url: String,
    child: Child,
    // The server ends when this is closed, whatever happens to the test.
    _stdin: ChildStdin,
}

impl Origin {
    /// For tests that only read: nothing they ask for changes what another gets.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Origin> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// For tests that look at what the server saw.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_origin"));
        command.args(["--exit-with-stdin", "--pages", &PAGES.to_string()]).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = spawn(&mut command);
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").expect("the origin starts").to_owned();
        let stdin = child.stdin.take().unwrap();
        Self { url, child, _stdin: stdin }
    }

    pub(crate) const fn pages(&self) -> u32 {
        PAGES
    }

    /// `scheme://address:port` and `path`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// `address:port`.
    pub(crate) fn host(&self) -> &str {
        self.url.split_once("://").unwrap().1
    }

    /// What the server has seen so far.
    pub(crate) fn stats(&self) -> Value {
        let answer = String::from_utf8(self.get("/stats")).unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    /// Asks for `path` without any of what is tested here; head and body of the answer.
    pub(crate) fn get(&self, path: &str) -> Vec<u8> {
        let mut connection = TcpStream::connect(self.host()).unwrap();
        let request = format!("GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.host());
        connection.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).unwrap();
        answer
    }

    /// How often `path` was asked for.
    pub(crate) fn requests(&self, path: &str) -> u64 {
        self.stats()["paths"][path]["requests"].as_u64().unwrap_or(0)
    }

    /// When requests arrived whose path begins with `prefix`, in seconds, sorted.
    pub(crate) fn times_s(&self, prefix: &str) -> Vec<f64> {
        let stats = self.stats();
        let paths = stats["paths"].as_object().unwrap();
        let mut times: Vec<_> = paths
            .iter()
            .filter(|(path, _)| path.starts_with(prefix))
            .flat_map(|(_, seen)| seen["times_ms"].as_array().unwrap())
            .map(|time| time.as_f64().unwrap() / 1e3)
            .collect();
        times.sort_by(f64::total_cmp);
        times
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
