//! Request shapes for `/openapi.json` only. Handlers read them field by field.

use serde::Serialize;
use utoipa::ToSchema;

/// A job document. Its keys are the long names of the flags; these are the additional ones.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JobDocument {
    /// What to do with the inputs.
    command: Command,
    /// Name of the job.
    #[schema(required = false)]
    name: Option<String>,
    /// Jobs with a higher priority start first.
    #[schema(required = false, minimum = -100, maximum = 100)]
    priority: Option<i32>,
    /// For `fetch`: the inputs.
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

/// One value or several.
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
    /// The job document.
    job: JobDocument,
    /// Input files.
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

/// What to do with the job.
#[expect(dead_code, reason = "only its schema is used")]
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum OnlyDelete {
    Cancel,
    Remove,
}
