//! What requests send besides their URL: from flags, with the columns that they need.
//!
//! Some of these flags have names that other commands use for something else: `submit --url` is the service, `advise
//! --json` the form of the advice. There, the flags of a request are called `--request-url` and so on.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Arg, Command};
use nix::fcntl::OFlag;
use serde_json::{Map, Value};
use shared::request::{self, BODY_BYTES_MAX, BodySpec, RequestSpec};
use shared::template::{Form, Template};
use shared::tls::Trust;
use shared::transport::{Identity, TransportSpec, add_authorities};

use super::Environment;
use super::flags::{ListFlags, NetworkFlags, RequestFlags};
use super::problem::Problem;
use super::values::Header;
use crate::plan::{Columns, Input};

/// Largest file of certificates or keys. That of a whole system has 200 KiB.
const PEM_BYTES_MAX: usize = 1 << 20;

/// Stands before the names of flags of a request, where another flag has the name.
const PREFIX: &str = "request-";

/// Renames the flags of a request where another flag has the name.
pub(super) fn renamed(root: Command) -> Command {
    let fetch = |command: Command, ids: &'static [&'static str]| {
        let named = |command: Command, name: &str| {
            command.mut_subcommand(name, |fetch| {
                ids.iter().fold(fetch, |fetch, id| fetch.mut_arg(*id, |arg| arg.long(id.replace('_', "-"))))
            })
        };
        let crawls = command.find_subcommand("crawl").is_some();
        let command = named(command, "fetch");
        if crawls { named(command, "crawl") } else { command }
    };
    root.mut_subcommand("submit", |submit| fetch(submit, &["request_url", "request_json", "request_ca"]))
        .mut_subcommand("advise", |advise| fetch(advise, &["request_json"]))
}

/// Returns the name of a flag in its environment variable. A variable holds for all commands, so those of a request keep
/// their prefix everywhere.
pub(super) fn name_in_environment(arg: &Arg, long: &str) -> String {
    let id = arg.get_id().as_str().replace('_', "-");
    if id.starts_with(PREFIX) { id } else { long.to_owned() }
}

/// Returns the key of a flag in a job document.
pub(super) fn key_in_document(key: &str) -> &str {
    key.strip_prefix(PREFIX).unwrap_or(key)
}

/// Resolves the flags of a request; `None` if each is a GET of its URL.
pub(super) fn request(
    network: &mut NetworkFlags,
    lists: &ListFlags,
    env: &Environment<'_>,
) -> Result<Option<RequestSpec>, Problem> {
    let RequestFlags { url, method, data, json, retry_non_idempotent, at_most_once, .. } = &network.request;
    let refuse = |flag: &str, why: String| Problem::Usage(format!("{flag}: {why}"));
    let template = |flag: &'static str, text: &[u8], form| {
        let template = Template::parse(text, form);
        template.check().map(|()| template).map_err(|why| refuse(flag, why))
    };
    let url = url.as_ref().map(|text| template("--url", text.as_bytes(), Form::Url)).transpose()?;
    let method = method.as_ref().map(|text| template("--method", text.as_bytes(), Form::Word)).transpose()?;
    // clap sees only what is typed, and not what a document or a file says.
    for (is_both, flag, other) in [
        (url.is_some() && lists.column.is_some(), "--url", "--column"),
        (data.is_some() && json.is_some(), "--data", "--json"),
    ] {
        if is_both {
            return Err(refuse(flag, format!("it cannot be used with {other}; leave one out")));
        }
    }
    let has_columns = lists.column.is_some() || url.is_some();
    let body = |flag: &'static str, given: &OsStr, form| {
        let Some(path) = file(given) else { return template(flag, given.as_bytes(), form) };
        let read = read(flag, path, BODY_BYTES_MAX, env.readable)?;
        if has_columns {
            return template(flag, &read, form);
        }
        let verbatim = Template::verbatim(read, form);
        verbatim.check().map(|()| verbatim).map_err(|why| refuse(flag, why))
    };
    let body = match (data, json) {
        (Some(data), _) => Some((body("--data", data, Form::Data)?, false)),
        (None, Some(json)) => Some((body("--json", json, Form::Json)?, true)),
        (None, None) => None,
    };
    if let Some(method) = method.as_ref().and_then(Template::constant) {
        let method = request::method(method);
        let checked =
            method.and_then(|method| body.as_ref().map_or(Ok(()), |_| request::check_body(&method)));
        checked.map_err(|why| refuse("--method", why))?;
    }
    let headers = if has_columns { with_columns(&mut network.header) } else { Vec::new() };
    let spec = RequestSpec {
        url,
        method,
        body: body.map(|(text, is_json)| BodySpec { text, is_json }),
        headers,
        retries_unsafe: *retry_non_idempotent,
        at_most_once: *at_most_once,
    };
    Ok(Some(spec).filter(|spec| *spec != RequestSpec::default()))
}

/// Whether it is a GET without a body.
pub(super) fn is_plain_get(request: &RequestSpec) -> bool {
    let is_get = |method: &Template| method.constant().is_some_and(|name| name.eq_ignore_ascii_case(b"GET"));
    request.method.as_ref().is_none_or(is_get) && request.body.is_none()
}

/// Resolves the flags of connections.
pub(super) fn transport(flags: &RequestFlags, env: &Environment<'_>) -> Result<TransportSpec, Problem> {
    let refuse =
        |flag: &str, path: &Path, why: String| Problem::Usage(format!("{flag} {}: {why}", path.display()));
    let read = |flag: &str, path: &Path| read(flag, path, PEM_BYTES_MAX, env.readable);
    let mut ca = Vec::new();
    if let Some(path) = &flags.ca {
        ca = read("--ca", path)?;
        add_authorities(&ca, &mut Trust::default()).map_err(|why| refuse("--ca", path, why))?;
    }
    let identity = match &flags.cert {
        None if flags.key.is_some() => {
            return Err(Problem::Usage("give the certificate of --key as --cert".to_owned()));
        }
        None => None,
        Some(path) => {
            let key = flags.key.as_ref().unwrap_or(path);
            let identity = Identity { certificate: read("--cert", path)?, key: read("--key", key)? };
            identity.check().map_err(|why| refuse("--cert", path, why))?;
            Some(identity)
        }
    };
    let (insecure, http1) = (flags.insecure, flags.http1);
    Ok(TransportSpec { pins: flags.resolve.clone(), ca, insecure, http1, identity })
}

/// The file that a flag names with an `@`.
fn file(given: &OsStr) -> Option<&Path> {
    given.as_bytes().strip_prefix(b"@").map(|path| Path::new(OsStr::from_bytes(path)))
}

/// Reads a file that a flag names. A job of a service may read those in the `readable` directories: what was opened is
/// checked, because a path may lead elsewhere a moment later.
pub(super) fn read(
    flag: &str,
    path: &Path,
    bytes_max: usize,
    readable: Option<&[PathBuf]>,
) -> Result<Vec<u8>, Problem> {
    let unreadable = |why: &dyn std::fmt::Display| {
        Problem::Usage(format!("{flag}: cannot read {}: {why}", path.display()))
    };
    let mut options = File::options();
    if readable.is_some() {
        // A named pipe would keep the service waiting.
        options.custom_flags(OFlag::O_NONBLOCK.bits());
    }
    let file = options.read(true).open(path).map_err(|error| unreadable(&error))?;
    if let Some(readable) = readable {
        let is_file = file.metadata().is_ok_and(|found| found.is_file());
        let opened = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let real = |directory: &PathBuf| fs::canonicalize(directory).ok();
        let is_within = |opened: PathBuf| readable.iter().filter_map(real).any(|dir| opened.starts_with(dir));
        if !is_file || !opened.is_ok_and(is_within) {
            return Err(unreadable(&"it is not a regular file that jobs may read here (--allow-path)"));
        }
    }
    let mut read = Vec::new();
    let bytes = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    file.take(bytes.saturating_add(1)).read_to_end(&mut read).map_err(|error| unreadable(&error))?;
    if read.len() > bytes_max {
        return Err(unreadable(&format!("it may have at most {} MiB", bytes_max >> 20)));
    }
    Ok(read)
}

/// Takes the headers out of `headers` whose values have columns in them. In the others, `{{` is a brace too.
fn with_columns(headers: &mut Vec<Header>) -> Vec<(String, Template)> {
    let mut found = Vec::new();
    headers.retain_mut(|header| {
        let template = Template::parse(header.value.as_bytes(), Form::Word);
        match template.constant() {
            Some(value) => header.value = String::from_utf8_lossy(value).into_owned(),
            None => found.push((header.name.to_ascii_lowercase(), template.clone())),
        }
        template.constant().is_some()
    });
    found
}

/// Returns the columns that are read of a table: the one of the inputs, the kept ones, and those that requests need.
/// `None` if no flag names an input.
pub(super) fn columns(lists: &ListFlags, keep: &[String], request: Option<&RequestSpec>) -> Option<Columns> {
    let makes_url = request.is_some_and(|request| request.url.is_some());
    if lists.column.is_none() && !makes_url {
        return None;
    }
    let used = request.map(RequestSpec::columns).unwrap_or_default();
    let used = used.into_iter().filter(|name| !keep.contains(name)).collect();
    Some(Columns { input: lists.column.clone(), keep: keep.to_vec(), used })
}

/// Checks that each input has the columns that requests need.
pub(super) fn check_columns(inputs: &[Input], request: Option<&RequestSpec>) -> Result<(), Problem> {
    let Some(request) = request else { return Ok(()) };
    let without = inputs.iter().find_map(|input| match input {
        Input::Literal(url) => Some(String::from_utf8_lossy(url).into_owned()),
        Input::Lines(path) | Input::Tree(path) => Some(path.display().to_string()),
        Input::StdinLines => Some("standard input".to_owned()),
        Input::Sitemaps(_) => Some("a sitemap".to_owned()),
        Input::CsvColumn(..) | Input::JsonColumn(..) | Input::ParquetColumn(..) => None,
    });
    let Some(without) = without else { return Ok(()) };
    let needs = request.templates().find_map(|(flag, template)| match (flag, template.columns().next()) {
        (_, Some(name)) => Some(format!("{flag} needs the column \"{name}\"")),
        ("--url", None) => Some("--url needs rows".to_owned()),
        (_, None) => None,
    });
    match needs {
        Some(needs) => Err(Problem::Usage(format!(
            "{needs}, and {without} has no columns; give -i with a .csv, .tsv, .jsonl or .parquet file, or write {{{{ for \
             a brace"
        ))),
        None => Ok(()),
    }
}

/// Puts the body in a document that names a file for it, for a service on another machine.
pub(super) fn inline(document: &mut Map<String, Value>) -> Result<(), Problem> {
    let has_columns = document.contains_key("column") || document.contains_key("url");
    for (key, form) in [("data", Form::Data), ("json", Form::Json)] {
        let Some(path) = document.get(key).and_then(Value::as_str).and_then(|given| file(given.as_ref()))
        else {
            continue;
        };
        let refuse = |why: &str| Problem::Usage(format!("{key} @{}: {why}", path.display()));
        let mut text = read(key, path, BODY_BYTES_MAX, None)?;
        if !has_columns {
            // As it is, braces and all.
            text = Template::verbatim(text, form).source();
        }
        let text = String::from_utf8(text).map_err(|_| refuse("cannot send what is not UTF-8"))?;
        if text.starts_with('@') {
            return Err(refuse("cannot send a file that begins with @"));
        }
        document.insert(key.to_owned(), text.into());
    }
    Ok(())
}
