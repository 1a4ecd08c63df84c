//! Values of flags that are tables: those of a job file, or JSON objects. What is wrong with one is said without its
//! values, which may be secrets.

use serde::Deserialize;
use serde_json::{Map, Value};

/// `[login]`, as written.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct LoginTable {
    pub(super) url: String,
    pub(super) form: Option<String>,
    pub(super) method: Option<String>,
    #[serde(default)]
    pub(super) fields: Map<String, Value>,
    #[serde(default)]
    pub(super) json: bool,
    pub(super) token: Option<String>,
    pub(super) token_field: Option<String>,
    pub(super) token_header: Option<String>,
    #[serde(default)]
    pub(super) success: OneOrMore,
    #[serde(default)]
    pub(super) logged_out_if: OneOrMore,
    pub(super) check: Option<String>,
    #[serde(default)]
    pub(super) hosts: OneOrMore,
}

/// Shows none of its values.
impl std::fmt::Debug for LoginTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginTable").finish_non_exhaustive()
    }
}

/// `[[profile]]`, as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct ProfileTable {
    pub(super) user_agent: Option<String>,
    #[serde(default)]
    pub(super) headers: Map<String, Value>,
}

/// One text or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl Default for OneOrMore {
    fn default() -> Self {
        Self::More(Vec::new())
    }
}

impl OneOrMore {
    /// Returns all of them.
    pub(super) fn all(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::More(more) => more,
        }
    }
}

/// Parses `[login]`.
pub(super) fn table(text: &str) -> Result<LoginTable, String> {
    serde_json::from_str(text).map_err(|error| explained(&error))
}

/// Parses a `[[profile]]`.
pub(super) fn profile(text: &str) -> Result<ProfileTable, String> {
    let table: ProfileTable = serde_json::from_str(text).map_err(|error| explained(&error))?;
    if table.user_agent.is_none() && table.headers.is_empty() {
        return Err("give user-agent or headers".to_owned());
    }
    Ok(table)
}

/// What is wrong, without what was written: that may be a secret.
pub(super) fn explained(error: &serde_json::Error) -> String {
    match error.classify() {
        serde_json::error::Category::Data => {
            let text = error.to_string();
            let is_about_keys = text.starts_with("unknown field") || text.starts_with("missing field");
            let text = text.split(" at line ").next().unwrap_or_default();
            if is_about_keys { text.replace("field", "key") } else { "a value has the wrong type".to_owned() }
        }
        serde_json::error::Category::Io
        | serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof => "give a table, or a JSON object".to_owned(),
    }
}
