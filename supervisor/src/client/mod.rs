//! Talks to a running service, for the commands `submit`, `jobs`, `results`,
//! `cancel` and `status`. Knows the API (docs/API.md) as any other client does,
//! and nothing of how the service does it.

mod connection;
mod files;
mod patience;
mod results;
mod show;
mod wait;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use http::{Method, StatusCode};
use serde_json::{Map, Value};
use url::Url;

use self::connection::{Answer, Connection};
use crate::inherited;
use crate::outcome::{Outcome, Refusal};
use crate::plan::When;
use crate::progress::{Progress, Screen};
use crate::view::{JobId, JobView};

/// Where the service is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Behind a Unix socket.
    Socket(PathBuf),
    /// Behind an address.
    Url {
        /// Scheme, host and port.
        url: Url,
        /// The file that holds the token.
        token_file: Option<PathBuf>,
        /// The file that holds the certificates to trust in place of the system's.
        ca: Option<PathBuf>,
    },
}

/// Something to ask of a service.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Order {
    /// Of which.
    pub(crate) place: Place,
    /// Whether the answer is for programs.
    pub(crate) json: bool,
    /// What.
    pub(crate) what: What,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum What {
    /// To take in a job.
    Submit(Submit),
    /// Which jobs there are.
    Jobs {
        /// In which states; none is any.
        states: Vec<String>,
        /// How many at most.
        limit: u32,
    },
    /// To do something with a job.
    Act(JobId, Act),
    /// A job's records.
    Results(Results),
    /// All about a job.
    Job(JobId),
    /// All about the service.
    Status,
}

/// What can be done with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Pause,
    Resume,
    RetryFailed,
    Cancel,
    Remove,
}

/// A job to hand in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Submit {
    /// Its document.
    pub(crate) document: Map<String, Value>,
    /// What goes along.
    pub(crate) files: Files,
    /// Makes sure that it is one job, however often it is sent.
    pub(crate) idempotency_key: Option<String>,
    /// Whether to wait for its end.
    pub(crate) wait: bool,
    /// Whether to show how far it is meanwhile.
    pub(crate) progress: When,
    /// Whether to say nothing but errors.
    pub(crate) quiet: bool,
}

/// Files of this machine that a job needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Files {
    /// As they are; `-` is standard input.
    Named(Vec<PathBuf>),
    /// HTML files, and directories of them.
    Pages(Vec<PathBuf>),
}

/// Which records, and where they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Results {
    pub(crate) id: JobId,
    /// Whether to go on until the job has ended.
    pub(crate) follow: bool,
    /// Records to skip.
    pub(crate) from: u64,
    /// `failed` or `quarantined`.
    pub(crate) only: Option<String>,
    /// `None` is standard output.
    pub(crate) output: Option<PathBuf>,
    pub(crate) overwrite: bool,
}

/// Why it did not come to an answer, or to the one that was hoped for.
#[derive(Debug, thiserror::Error)]
enum ClientError {
    /// Nobody is there, or the connection broke.
    #[error("{0}")]
    Unreachable(String),
    /// The service says no.
    #[error("{detail}")]
    Refused { status: StatusCode, detail: String },
    /// Something here does not do.
    #[error("{0}")]
    Here(String),
    /// Whoever reads what we write has read enough.
    #[error("nobody reads the output")]
    Closed,
}

impl ClientError {
    fn outcome(&self) -> Outcome {
        match self {
            // What was sent is wrong, which is what exit status 2 is for here as well.
            Self::Refused { status, .. }
                if matches!(
                    *status,
                    StatusCode::UNPROCESSABLE_ENTITY
                        | StatusCode::BAD_REQUEST
                        | StatusCode::PAYLOAD_TOO_LARGE
                ) =>
            {
                Outcome::Misused
            }
            Self::Closed => Outcome::Done,
            Self::Refused { .. } | Self::Unreachable(_) | Self::Here(_) => Outcome::Impossible,
        }
    }
}

/// Does it, and says what came of it.
pub(crate) fn run(order: Order) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Refusal::Impossible(error.to_string()).report().into(),
    };
    let done = runtime.block_on(carry_out(order));
    // Standard input may be read still, and may never end.
    runtime.shutdown_background();
    match done {
        Ok(code) => code,
        Err(error) => {
            if !matches!(error, ClientError::Closed) {
                say(&format!("error: {error}"));
            }
            error.outcome().into()
        }
    }
}

async fn carry_out(order: Order) -> Result<ExitCode, ClientError> {
    let Order { place, json, what } = order;
    match what {
        What::Submit(submit) => return submitted(&place, submit, json).await,
        What::Results(wanted) => results::write(&place, &wanted).await?,
        What::Jobs { states, limit } => {
            let mut path = format!("/v1/jobs?limit={limit}");
            if !states.is_empty() {
                path += &format!("&state={}", states.join(","));
            }
            let answer = Connection::open(&place).await?.get(&path).await?;
            print(&if json { answer.text() } else { show::jobs(&answer.parse()?, Screen::stdout()) })?;
        }
        What::Act(id, act) => {
            let answer = acted(&place, id, act).await?;
            print(&if json { answer.text() } else { show::acted(id, act, &answer)? })?;
        }
        What::Job(id) => {
            let answer = Connection::open(&place).await?.get(&format!("/v1/jobs/{id}")).await?;
            print(&if json { answer.text() } else { show::job(&answer.parse()?, Screen::stdout()) })?;
        }
        What::Status => print(&status(&place, json).await?)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn submitted(place: &Place, submit: Submit, json: bool) -> Result<ExitCode, ClientError> {
    let (wait, progress, quiet) = (submit.wait, submit.progress, submit.quiet);
    let answer = files::submit(place, submit).await?;
    let job: JobView = answer.parse()?;
    if !wait {
        print(&if json { answer.text() } else { format!("{}\n", job.id) })?;
        return Ok(ExitCode::SUCCESS);
    }
    if !json {
        print(&format!("{}\n", job.id))?;
    }
    let (ended, outcome) =
        wait::until_ended(place, job, Progress::new(progress, Screen::stderr()).quiet(quiet)).await?;
    if let Some(ended) = ended.filter(|_| json) {
        print(&(serde_json::to_string(&ended).unwrap_or_default() + "\n"))?;
    }
    Ok(outcome)
}

async fn acted(place: &Place, id: JobId, act: Act) -> Result<Answer, ClientError> {
    let (method, path) = match act {
        Act::Pause => (Method::POST, format!("/v1/jobs/{id}/pause")),
        Act::Resume => (Method::POST, format!("/v1/jobs/{id}/resume")),
        Act::RetryFailed => (Method::POST, format!("/v1/jobs/{id}/retry-failed")),
        // DELETE does the one or the other; who means one is never to get the other.
        Act::Cancel => (Method::DELETE, format!("/v1/jobs/{id}?only=cancel")),
        Act::Remove => (Method::DELETE, format!("/v1/jobs/{id}?only=remove")),
    };
    Connection::open(place).await?.ask(method, &path).await
}

async fn status(place: &Place, json: bool) -> Result<String, ClientError> {
    let mut connection = Connection::open(place).await?;
    let service = connection.get("/v1/service").await?;
    let workers = connection.get("/v1/workers").await?;
    let hosts = connection.get("/v1/hosts").await?;
    let jobs = connection.get("/v1/jobs?state=queued,running,paused,draining&limit=1000").await?;
    if !json {
        let (service, workers) = (service.parse()?, workers.parse()?);
        return Ok(show::status(&service, &workers, &hosts.parse()?, &jobs.parse()?, Screen::stdout()));
    }
    // One object, as if it were one answer.
    let mut all = Map::new();
    all.insert("service".to_owned(), service.parse()?);
    for part in [workers, hosts, jobs] {
        let part: Map<String, Value> = part.parse()?;
        all.extend(part.into_iter().filter(|(name, _)| name != "count"));
    }
    Ok(Value::Object(all).to_string() + "\n")
}

/// Says something to a person; a standard error that is closed has nobody to tell.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Writes to standard output.
fn print(text: &str) -> Result<(), ClientError> {
    let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let mut out = io::stdout().lock();
    let written = inherited::check_stdout().and_then(|()| write!(out, "{text}{newline}"));
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(ClientError::Closed),
        Err(error) => Err(ClientError::Here(format!("cannot write to standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}
