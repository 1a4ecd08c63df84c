//! Resolves `[login]` and `[[profile]]`: tables of a job file, or JSON objects as values of flags.

use std::path::Path;

use serde_json::{Map, Value};
use shared::login::{LoginRule, LoginSpec, Profile, Token, TokenPlace};
use shared::request;
use shared::request_headers;
use shared::select::Field;
use shared::select::blocked::Rule;
use url::Url;

use super::Environment;
use super::problem::Problem;
use super::request::read;
use super::tables::{LoginTable, OneOrMore, ProfileTable, explained};

/// Most profiles of a job, and most values of one key.
const VALUES_MAX: usize = 256;

/// Largest file that a value is read from.
const VALUE_BYTES_MAX: usize = 64 * 1024;

/// Resolves `[[profile]]`.
pub(super) fn profiles(tables: &[ProfileTable]) -> Result<Vec<Profile>, Problem> {
    let refuse = |why: String| Problem::Usage(format!("[[profile]]: {why}"));
    if tables.len() > VALUES_MAX {
        return Err(refuse(format!("{} are given; the most is {VALUES_MAX}", tables.len())));
    }
    let resolve = |table: &ProfileTable| {
        let headers = table.headers.iter().map(|(name, value)| match value {
            Value::String(value) => Ok((name.clone(), value.clone())),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                Err(refuse(format!("the header {name} must be a string")))
            }
        });
        let headers = headers.collect::<Result<Vec<_>, _>>()?;
        request_headers::check_together(headers.iter().map(|(name, _)| name.as_str()))
            .map_err(|error| refuse(error.to_string()))?;
        let profile = Profile { user_agent: table.user_agent.clone(), headers };
        profile.checked().map_err(|error| refuse(error.to_string()))?;
        Ok(profile)
    };
    tables.iter().map(resolve).collect()
}

/// Resolves `[login]`; `None` if there is none.
pub(super) fn login(table: Option<&LoginTable>, env: &Environment<'_>) -> Result<Option<LoginSpec>, Problem> {
    let Some(table) = table else { return Ok(None) };
    let refuse = |why: String| Problem::Usage(format!("[login]: {why}"));
    for (key, text) in [("url", Some(&table.url)), ("check", table.check.as_ref())] {
        let is_web = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        if text.is_some_and(|text| !Url::parse(text).is_ok_and(|url| is_web(&url))) {
            return Err(refuse(format!("{key} must be an http or https URL")));
        }
    }
    if let Some(form) = &table.form {
        let rule = Rule::parse("form", &format!("css:{form}")).map_err(|error| refuse(error.to_string()))?;
        debug_assert!(matches!(rule, Rule::Css(_)), "a selector is a rule");
        if table.json || table.method.is_some() {
            return Err(refuse("a form says itself how it is sent; leave out json and method".to_owned()));
        }
    }
    let fields = table.fields.iter().map(|(name, value)| match value {
        Value::String(text) => Ok((name.clone(), filled(text, env)?)),
        Value::Bool(_) | Value::Number(_) => Ok((name.clone(), value.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(refuse(format!("the field {name} must be a string")))
        }
    });
    let fields = fields.collect::<Result<Vec<_>, _>>()?;
    let rules = |key: &'static str, given: &OneOrMore| {
        let rules = given.all().iter().map(|rule| LoginRule::parse(key, rule));
        rules.collect::<Result<Vec<_>, _>>().map_err(refuse)
    };
    let logged_out = rules("logged-out-if", &table.logged_out_if)?;
    if logged_out.is_empty() {
        let example = r#"give logged-out-if, such as ["css:form#login", "status:401", "redirect:/login"]"#;
        return Err(refuse(format!("nothing says which pages are logged out; {example}")));
    }
    let method = table.method.clone().unwrap_or_else(|| "POST".to_owned()).to_ascii_uppercase();
    let checked = request::method(method.as_bytes()).map_err(|why| refuse(format!("method: {why}")))?;
    if !matches!(method.as_str(), "GET" | "HEAD") {
        request::check_body(&checked).map_err(|why| refuse(format!("method: {why}")))?;
    }
    if matches!(method.as_str(), "GET" | "HEAD") && table.form.is_none() && !fields.is_empty() {
        let why = "a GET has its fields in its URL, where others see them; leave out method, or the fields";
        return Err(refuse(why.to_owned()));
    }
    let spec = LoginSpec {
        url: table.url.clone(),
        form: table.form.clone(),
        method,
        fields,
        is_json: table.json,
        token: token(table)?,
        success: rules("success", &table.success)?,
        logged_out,
        hosts: table.hosts.all().iter().map(|host| host.to_ascii_lowercase()).collect(),
        check: table.check.clone(),
    };
    let check = spec.check.as_deref().and_then(|check| Url::parse(check).ok());
    if check.is_some_and(|check| !spec.covers(&check)) {
        return Err(refuse("check must be a page of the hosts that need the login; see hosts".to_owned()));
    }
    Ok(Some(spec))
}

fn token(table: &LoginTable) -> Result<Option<Token>, Problem> {
    let refuse = |why: String| Problem::Usage(format!("[login]: {why}"));
    let place = match (&table.token_field, &table.token_header) {
        (Some(name), None) => TokenPlace::Field(name.clone()),
        (None, Some(name)) => {
            request_headers::check(name, "x").map_err(|error| refuse(format!("token-header: {error}")))?;
            TokenPlace::Header(name.clone())
        }
        (Some(_), Some(_)) => return Err(refuse("give token-field or token-header, not both".to_owned())),
        (None, None) if table.token.is_none() => return Ok(None),
        (None, None) => {
            return Err(refuse("say where the token goes: token-field or token-header".to_owned()));
        }
    };
    let Some(selector) = &table.token else { return Err(refuse("token is missing".to_owned())) };
    let select = Field::parse(&format!("token={selector}"));
    let select =
        select.map_err(|error| refuse(format!("token '{selector}': {}; {}", error.problem, error.fix)))?;
    Ok(Some(Token { select, place }))
}

/// Returns a value with what `${env:NAME}` and `${file:PATH}` stand for.
fn filled(text: &str, env: &Environment<'_>) -> Result<String, Problem> {
    let refuse = |why: String| Problem::Usage(format!("[login]: {why}"));
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let Some((name, behind)) = after.split_once('}') else {
            return Err(refuse("a value has ${ without }".to_owned()));
        };
        if let Some(name) = name.strip_prefix("env:") {
            let value = (env.variable)(name).and_then(|value| value.into_string().ok());
            out.push_str(&value.ok_or_else(|| refuse(format!("the variable {name} is not set")))?);
        } else if let Some(path) = name.strip_prefix("file:") {
            let value = read("[login]", Path::new(path), VALUE_BYTES_MAX, env.readable)?;
            let value = String::from_utf8(value).map_err(|_| refuse(format!("{path} is not UTF-8")))?;
            out.push_str(value.trim_end_matches(['\r', '\n']));
        } else {
            return Err(refuse("write ${env:NAME} or ${file:PATH}".to_owned()));
        }
        rest = behind;
    }
    out.push_str(rest);
    Ok(out)
}

/// Puts the values that variables and files of this machine hold into a document for a service.
pub(super) fn inline(document: &mut Map<String, Value>, env: &Environment<'_>) -> Result<(), Problem> {
    let Some(given) = document.get_mut("login") else { return Ok(()) };
    if let Value::String(text) = given {
        let table = serde_json::from_str(text);
        *given = table.map_err(|error| Problem::Usage(format!("[login]: {}", explained(&error))))?;
    }
    let fields = given.get_mut("fields").and_then(Value::as_object_mut);
    for value in fields.into_iter().flat_map(Map::values_mut) {
        if let Value::String(text) = value {
            *value = Value::String(filled(text, env)?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::Texts;
    use super::super::tables::{profile, table};
    use super::*;

    fn resolve(text: &str) -> Result<LoginSpec, String> {
        let variable = |name: &str| (name == "PASSWORD").then(|| OsString::from("hunter2"));
        let env = Environment {
            variable: &variable,
            config: Path::new("/nonexistent"),
            stdin_is_terminal: true,
            isolates_lists: false,
            readable: None,
            headers_max: usize::MAX,
            texts: Texts::default(),
        };
        match login(Some(&table(text)?), &env) {
            Ok(spec) => Ok(spec.unwrap()),
            Err(Problem::Usage(why) | Problem::Impossible(why) | Problem::Short(why)) => Err(why),
        }
    }

    #[test]
    fn secrets_come_from_the_environment_and_from_files() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("user");
        std::fs::write(&file, "me\n").unwrap();
        let text = format!(
            r#"{{"url": "http://a/login", "fields": {{"u": "${{file:{}}}", "p": "x${{env:PASSWORD}}y"}},
                "logged-out-if": "status:401"}}"#,
            file.display()
        );
        let spec = resolve(&text).unwrap();
        let want = [("u", "me"), ("p", "xhunter2y")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(spec.fields, want);
        assert_eq!((spec.method.as_str(), spec.needs_page()), ("POST", false));
    }

    #[test]
    fn what_cannot_be_a_login_is_refused() {
        for (more, says) in [
            (r#""url": "a""#, "url must be an http or https URL"),
            (r#""url": "http://a/", "logged-out-if": []"#, "nothing says which pages are logged out"),
            (r#""url": "http://a/", "logged-out-if": "redirect:x""#, "redirect:/PATH"),
            (r#""url": "http://a/", "fields": {"p": "${env:NONE}"}"#, "the variable NONE is not set"),
            (r#""url": "http://a/", "fields": {"p": "${x}"}"#, "${env:NAME} or ${file:PATH}"),
            (
                r#""url": "http://a/", "token": "meta", "logged-out-if": "status:401""#,
                "token-field or token-header",
            ),
            (r#""url": "http://a/", "form": "a[[""#, "form"),
            (r#""url": "http://a/", "forms": "a""#, "unknown key `forms`"),
            (r#""form": "a""#, "missing key `url`"),
            (r#""url": 5"#, "a value has the wrong type"),
        ] {
            let error = resolve(&format!("{{{more}}}")).unwrap_err();
            assert!(error.contains(says), "{more}: {error}");
        }
        assert_eq!(profile("{}").unwrap_err(), "give user-agent or headers");
    }
}
