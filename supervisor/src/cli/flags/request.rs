//! Flags that say what a request sends besides its URL.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, ValueHint};
use shared::transport::Pin;

use crate::cli::tables::{self, LoginTable, ProfileTable};
use crate::cli::values;

#[derive(Debug, Args)]
#[command(next_help_heading = "Request")]
pub(in crate::cli) struct RequestFlags {
    /// Make the URL of each row from this text, in which {COLUMN} is the value of a column
    ///
    /// Values are percent-encoded, except at the start of the text: {site}/search?q={name} begins with the site as it
    /// is. In https://{host}/, {host} is a name or an address without a port. {{ is a brace.
    // Some commands have a flag of this name already; see `renamed`.
    #[arg(id = "request_url", long = "url", value_name = "TEMPLATE", conflicts_with = "column")]
    pub(in crate::cli) url: Option<String>,
    /// Method of the request, such as PUT, or {COLUMN} [default: POST with a body, else GET]
    ///
    /// POST, PATCH and other methods that may have an effect each time are not retried once something of a request has
    /// been sent; see --retry-non-idempotent. 301, 302 and 303 turn a POST into a GET without a body; 307 and 308 repeat
    /// the request, also to another origin.
    #[arg(short = 'X', long, value_name = "METHOD")]
    pub(in crate::cli) method: Option<String>,
    /// Send this body, with {COLUMN} filled in as it is; @FILE reads it from a file
    ///
    /// Content-Type is application/x-www-form-urlencoded unless --header gives another.
    #[arg(short = 'd', long, value_name = "TEXT|@FILE", conflicts_with = "request_json")]
    pub(in crate::cli) data: Option<OsString>,
    /// Send this JSON, with {COLUMN} filled in; @FILE reads it from a file
    ///
    /// Within quotes, a value is escaped as a string: {"name": "{name}"}. Without quotes, it must be JSON itself:
    /// {"count": {count}}. Content-Type and Accept are application/json unless --header gives others.
    #[arg(id = "request_json", long = "json", value_name = "TEXT|@FILE")]
    pub(in crate::cli) json: Option<OsString>,
    /// Retry POST, PATCH and the like although the server may have acted on the request
    ///
    /// Requests with an Idempotency-Key header are retried in any case.
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", default_value = "false", hide_default_value = true,
        hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(in crate::cli) retry_non_idempotent: bool,
    /// Never send a request again that may have been sent before a crash
    ///
    /// If a worker dies, or the run is killed and resumed, an input whose request may have been sent gets a record with
    /// the error "uncertain". By default it is sent again. The journal then notes what is sent before it is sent, which
    /// takes a few milliseconds. A run without an output file has no journal, and cannot be resumed.
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", default_value = "false", hide_default_value = true,
        hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(in crate::cli) at_most_once: bool,
    /// Copy this response header into the record, under "headers" (repeatable)
    ///
    /// Names are in lower case there. A header that came several times is a list.
    #[arg(long, value_name = "NAME", value_parser = values::header_name)]
    pub(in crate::cli) response_header: Vec<String>,
    /// Log in before pages of the login's site are asked for, and again when a session has ended
    ///
    /// TABLE is what a job file has as [login], as a JSON object, such as '{"url": "https://a.example/login", "form":
    /// "form", "fields": {"user": "me", "password": "${env:PASSWORD}"}, "logged-out-if": ["css:form#login"]}'. Its keys
    /// are url, form, fields, method, json, token, token-field, token-header, success, logged-out-if, check and hosts.
    /// A login turns cookies on. It costs no target an attempt. See docs/LOGIN.md.
    #[arg(long, value_name = "TABLE", value_parser = tables::table)]
    pub(in crate::cli) login: Option<LoginTable>,
    /// Show sessions as one of these browsers (repeatable)
    ///
    /// TABLE is a JSON object with user-agent and headers, or both. A job file has it as [[profile]]. One is drawn for each
    /// session: at each login, or once for a job that does not log in. It never changes within a session.
    #[arg(long, value_name = "TABLE", value_parser = tables::profile)]
    pub(in crate::cli) profile: Vec<ProfileTable>,
    /// Connect to this address for a host and port, instead of looking the name up (repeatable)
    #[arg(long, value_name = "HOST:PORT:ADDRESS[,ADDRESS]…", value_parser = Pin::parse)]
    pub(in crate::cli) resolve: Vec<Pin>,
    /// Trust the CA certificates in this file, besides those of the system
    ///
    /// For a job of a service, the files of --ca, --cert and --key are on the service's machine.
    #[arg(id = "request_ca", long = "ca", value_name = "FILE.pem", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) ca: Option<PathBuf>,
    /// Show this certificate to servers that ask for one, also after redirects, but not to proxies
    #[arg(long, value_name = "FILE.pem", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) cert: Option<PathBuf>,
    /// Private key of the certificate [default: the file of --cert]
    #[arg(long, value_name = "FILE.pem", requires = "cert", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) key: Option<PathBuf>,
    /// Accept any certificate of a server: anybody on the way can read and change what is sent and received
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", default_value = "false", hide_default_value = true,
        hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(in crate::cli) insecure: bool,
    /// Use HTTP/1.1 only
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", default_value = "false", hide_default_value = true,
        hide_possible_values = true, value_parser = BoolishValueParser::new())]
    pub(in crate::cli) http1: bool,
}
