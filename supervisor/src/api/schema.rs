//! Shapes of requests that only `/openapi.json` spells out: handlers read them field by field.

use serde::Serialize;
use utoipa::ToSchema;

/// The document of a job: keys are the long names of the flags; these are those that are more.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JobDocument {
    /// What is done with the inputs.
    command: Command,
    /// What the job is called.
    #[schema(required = false)]
    name: Option<String>,
    /// Higher goes first.
    #[schema(required = false, minimum = -100, maximum = 100)]
    priority: Option<i32>,
    /// For `fetch`: inputs.
    #[schema(required = false)]
    urls: Option<OneOrMore>,
}

#[expect(dead_code, reason = "only its schema is used")]
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Command {
    Fetch,
    Parse,
    Map,
    Csv,
}

/// What may be given once or several times.
#[expect(dead_code, reason = "only its schema is used")]
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum OneOrMore {
    /// One.
    One(String),
    /// Several.
    More(Vec<String>),
}

/// A job with its files.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JobForm {
    /// The document.
    job: JobDocument,
    /// Files.
    #[schema(required = false, value_type = Vec<String>, format = Binary)]
    input: Option<Vec<String>>,
}

/// On or off.
#[expect(dead_code, reason = "only its schema is used")]
#[derive(Debug, Serialize, ToSchema)]
pub(super) enum Switch {
    #[serde(rename = "0")]
    Off,
    #[serde(rename = "1")]
    On,
    #[serde(rename = "false")]
    False,
    #[serde(rename = "true")]
    True,
}

/// Which records.
#[expect(dead_code, reason = "only its schema is used")]
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Only {
    Failed,
    Quarantined,
}

/// What is to be done with a job that is deleted.
#[expect(dead_code, reason = "only its schema is used")]
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum OnlyDelete {
    Cancel,
    Remove,
}
