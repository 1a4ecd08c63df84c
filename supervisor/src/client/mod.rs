//! Commands that talk to a running service: `submit`, `jobs`, `results`, `cancel` and `status`.
//! This module knows the API (docs/API.md) as any other client does, and nothing of the service's internals.

mod connection;
mod files;
mod reconnect;
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
use crate::view::{JobAction, JobId, JobView};

/// The address of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ServiceAddress {
    /// A Unix socket.
    Socket(PathBuf),
    /// A URL.
    Url {
        /// Scheme, host and port.
        url: Url,
        /// The file that holds the token.
        token_file: Option<PathBuf>,
        /// The file of the CA certificates to trust instead of the system's.
        ca: Option<PathBuf>,
    },
}

/// A client command.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ClientCommand {
    /// The service to talk to.
    pub(crate) address: ServiceAddress,
    /// Whether to print JSON.
    pub(crate) json: bool,
    /// What to do.
    pub(crate) operation: Operation,
}

/// What a client command does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operation {
    /// Submit a job.
    Submit(Submit),
    /// List jobs.
    Jobs {
        /// Only jobs in these states; empty means all.
        states: Vec<String>,
        /// Most jobs to list.
        limit: u32,
    },
    /// Act on a job.
    ActOn(JobId, JobAction),
    /// Print the records of a job.
    Results(Results),
    /// Show a job.
    Job(JobId),
    /// Show the service.
    Status,
}

/// A job to submit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Submit {
    /// The job document.
    pub(crate) document: Map<String, Value>,
    /// The files to upload.
    pub(crate) files: Files,
    /// The key under which at most one job is submitted.
    pub(crate) idempotency_key: Option<String>,
    /// Whether to wait until the job ends.
    pub(crate) wait: bool,
    /// When to show progress while waiting.
    pub(crate) progress: When,
    /// Whether to print only errors.
    pub(crate) quiet: bool,
}

/// Local files that a job needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Files {
    /// These files; `-` is standard input.
    Named(Vec<PathBuf>),
    /// HTML files, and directories of them.
    Pages(Vec<PathBuf>),
}

/// The records to print, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Results {
    pub(crate) id: JobId,
    /// Whether to keep printing new records until the job ends.
    pub(crate) follow: bool,
    /// Number of records to skip.
    pub(crate) from: u64,
    /// `failed` or `quarantined`.
    pub(crate) only: Option<String>,
    /// The output file; `None` is standard output.
    pub(crate) output: Option<PathBuf>,
    pub(crate) overwrite: bool,
}

/// Why a client command failed.
#[derive(Debug, thiserror::Error)]
enum ClientError {
    /// The service cannot be reached, or the connection was lost.
    #[error("{0}")]
    Unreachable(String),
    /// The service refused the request.
    #[error("{detail}")]
    Refused { status: StatusCode, detail: String },
    /// Something on this side failed, such as a file.
    #[error("{0}")]
    Here(String),
    /// The reader of our output has closed it.
    #[error("the reader closed the output")]
    Closed,
}

impl ClientError {
    fn outcome(&self) -> Outcome {
        match self {
            // A wrong document is a usage error, so the exit status is 2.
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

/// Runs a client command and reports the result.
pub(crate) fn run(order: ClientCommand) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Refusal::Impossible(error.to_string()).report().into(),
    };
    let done = runtime.block_on(carry_out(order));
    // A thread may still wait for standard input, which may never end.
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

async fn carry_out(order: ClientCommand) -> Result<ExitCode, ClientError> {
    let ClientCommand { address, json, operation } = order;
    match operation {
        Operation::Submit(submit) => return submitted(&address, submit, json).await,
        Operation::Results(wanted) => results::write(&address, &wanted).await?,
        Operation::Jobs { states, limit } => {
            let mut path = format!("/v1/jobs?limit={limit}");
            if !states.is_empty() {
                path += &format!("&state={}", states.join(","));
            }
            let answer = Connection::open(&address).await?.get(&path).await?;
            print(&if json { answer.text() } else { show::jobs(&answer.parse()?, Screen::stdout()) })?;
        }
        Operation::ActOn(id, action) => {
            let answer = act(&address, id, action).await?;
            print(&if json { answer.text() } else { show::act(id, action, &answer)? })?;
        }
        Operation::Job(id) => {
            let answer = Connection::open(&address).await?.get(&format!("/v1/jobs/{id}")).await?;
            print(&if json { answer.text() } else { show::job(&answer.parse()?, Screen::stdout()) })?;
        }
        Operation::Status => print(&status(&address, json).await?)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn submitted(address: &ServiceAddress, submit: Submit, json: bool) -> Result<ExitCode, ClientError> {
    let (wait, progress, quiet) = (submit.wait, submit.progress, submit.quiet);
    let answer = files::submit(address, submit).await?;
    let job: JobView = answer.parse()?;
    if !wait {
        print(&if json { answer.text() } else { format!("{}\n", job.id) })?;
        return Ok(ExitCode::SUCCESS);
    }
    if !json {
        print(&format!("{}\n", job.id))?;
    }
    let (ended, outcome) =
        wait::until_ended(address, job, Progress::new(progress, Screen::stderr()).quiet(quiet)).await?;
    if let Some(ended) = ended.filter(|_| json) {
        print(&(serde_json::to_string(&ended).unwrap_or_default() + "\n"))?;
    }
    Ok(outcome)
}

async fn act(address: &ServiceAddress, id: JobId, action: JobAction) -> Result<Answer, ClientError> {
    let (method, path) = match action {
        JobAction::Pause => (Method::POST, format!("/v1/jobs/{id}/pause")),
        JobAction::Resume => (Method::POST, format!("/v1/jobs/{id}/resume")),
        JobAction::RetryFailed => (Method::POST, format!("/v1/jobs/{id}/retry-failed")),
        // DELETE cancels or removes, by the job's state. `only` makes sure that it does what the user asked
        // for.
        JobAction::Cancel => (Method::DELETE, format!("/v1/jobs/{id}?only=cancel")),
        JobAction::Remove => (Method::DELETE, format!("/v1/jobs/{id}?only=remove")),
    };
    Connection::open(address).await?.request(method, &path).await
}

async fn status(address: &ServiceAddress, json: bool) -> Result<String, ClientError> {
    let mut connection = Connection::open(address).await?;
    let service = connection.get("/v1/service").await?;
    let workers = connection.get("/v1/workers").await?;
    let hosts = connection.get("/v1/hosts").await?;
    let jobs = connection.get("/v1/jobs?state=queued,running,paused,draining&limit=1000").await?;
    if !json {
        let (service, workers) = (service.parse()?, workers.parse()?);
        return Ok(show::status(&service, &workers, &hosts.parse()?, &jobs.parse()?, Screen::stdout()));
    }
    // Merge the responses into one object.
    let mut all = Map::new();
    all.insert("service".to_owned(), service.parse()?);
    for part in [workers, hosts, jobs] {
        let part: Map<String, Value> = part.parse()?;
        all.extend(part.into_iter().filter(|(name, _)| name != "count"));
    }
    Ok(Value::Object(all).to_string() + "\n")
}

/// Prints a message on standard error, and ignores failures.
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
