//! Command lines with their environment and files, and the plans or errors that they give.

use std::collections::BTreeMap;
use std::time::Duration;

use shared::job::Work;

use super::*;

mod client;
mod document;
mod lines;
mod requests;
mod serve;
mod settings;

/// A directory of inputs, and the environment of a command line.
struct Bench {
    dir: tempfile::TempDir,
    variables: BTreeMap<String, String>,
    terminal: bool,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { dir: tempfile::tempdir().unwrap(), variables: BTreeMap::new(), terminal: true };
        bench.write("urls.txt", "http://a/\n");
        bench.write("urls.csv", "id,url\n1,http://a/\n");
        bench.write("urls.jsonl", "{\"url\":\"http://a/\"}\n");
        bench.write("page.html", "<title>t</title>");
        bench
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Parses a command line in which `@` stands for the directory.
    fn read(&self, line: &str) -> Result<Invocation, Refusal> {
        let dir = self.dir.path().to_str().unwrap();
        self.read_words(line.split_whitespace().map(|word| OsString::from(word.replace('@', dir))))
    }

    fn read_words(&self, words: impl Iterator<Item = OsString>) -> Result<Invocation, Refusal> {
        let env = Environment {
            variable: &|name| self.variables.get(name).map(OsString::from),
            config: &self.path("muster.toml"),
            stdin_is_terminal: self.terminal,
            isolates_lists: false,
            readable: None,
            headers_max: usize::MAX,
            texts: Texts::default(),
        };
        parse(std::iter::once(OsString::from("supervisor")).chain(words).collect(), &env)
    }

    fn plan(&self, line: &str) -> Plan {
        match self.read(line) {
            Ok(Invocation::Run(plan)) => *plan,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn service(&self, line: &str) -> ServiceConfig {
        match self.read(line) {
            Ok(Invocation::Serve(config, ..)) => *config,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn comparison(&self, line: &str) -> Comparison {
        match self.read(line) {
            Ok(Invocation::Compare(comparison)) => *comparison,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn survey(&self, line: &str) -> Survey {
        match self.read(line) {
            Ok(Invocation::Advise(survey)) => *survey,
            other => panic!("{line}: {other:?}"),
        }
    }

    /// Checks that a line is refused with this exit code, and that the message contains all of these texts.
    fn refused(&self, line: &str, code: u8, says: &[&str]) {
        let refusal = self.read(line).err().unwrap_or_else(|| panic!("{line}: not refused"));
        let message = match &refusal {
            Refusal::Usage(error) => error.to_string(),
            Refusal::Impossible(message) => message.clone(),
        };
        assert_eq!(refusal.outcome().code(), code, "{line}: {message}");
        for part in says {
            assert!(message.contains(part), "{line}: no {part:?} in: {message}");
        }
    }
}

fn timeout(plan: &Plan) -> Duration {
    match &plan.work {
        Work::Fetch(spec) => spec.timeout,
        Work::Crawl(_) | Work::Parse(_) | Work::Csv(_) | Work::Sitemap(_) | Work::Map(_) => {
            panic!("not a fetch")
        }
    }
}
