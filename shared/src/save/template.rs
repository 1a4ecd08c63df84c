//! Templates for the names of files: `{host}/{path}`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::{Position, Url};

use super::name::{FileName, escaped};

/// What a template is made of, as the user is told.
const PLACEHOLDERS: &str = "{id}, {host}, {path}, {sha256}, {shard} and {ext}";

/// A parsed `--save-name`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Part {
    Text(String),
    Value(Placeholder),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Placeholder {
    /// The position of the input.
    Id,
    /// Host and port of the URL.
    Host,
    /// Path and query of the URL.
    Path,
    /// Hash of the content.
    Sha256,
    /// Two directories made of the first four digits of the hash.
    Shard,
    /// Extension by the type of the content, with its dot.
    Ext,
}

impl Placeholder {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "id" => Self::Id,
            "host" => Self::Host,
            "path" => Self::Path,
            "sha256" => Self::Sha256,
            "shard" => Self::Shard,
            "ext" => Self::Ext,
            _ => return None,
        })
    }
}

/// Why a template is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The placeholder does not exist.
    #[error("{{{0}}} is not known; use {PLACEHOLDERS}")]
    Unknown(String),
    /// A brace has no partner.
    #[error("a brace has no partner; write {{{{ for a brace")]
    Brace,
    /// A name in it is not a name of a file.
    #[error("'{0}' cannot be part of a name: {1}")]
    Text(String, &'static str),
    /// All files would have the same name.
    #[error("all files would have the same name; use {{id}}, {{path}} or {{sha256}}")]
    Constant,
}

/// What a file is named after.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Position of the input.
    pub id: u64,
    /// URL of the input.
    pub url: &'a Url,
    /// SHA-256 of the content, in hexadecimal digits.
    pub sha256: &'a str,
    /// Extension of the content's type, without a dot; empty if the type has none.
    pub extension: &'a str,
}

impl Default for Template {
    fn default() -> Self {
        let parts = [Placeholder::Shard, Placeholder::Sha256, Placeholder::Ext].map(Part::Value);
        let [shard, sha256, extension] = parts;
        Self {
            text: "{shard}/{sha256}{ext}".to_owned(),
            parts: vec![shard, Part::Text("/".to_owned()), sha256, extension],
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            let (before, found) = rest.split_at(at);
            plain.push_str(before);
            if let Some(after) = found.strip_prefix("{{") {
                plain.push('{');
                rest = after;
            } else if let Some(after) = found.strip_prefix("}}") {
                plain.push('}');
                rest = after;
            } else {
                let inner = found.strip_prefix('{').and_then(|inner| inner.split_once('}'));
                let (name, after) = inner.ok_or(TemplateError::Brace)?;
                let value = Placeholder::of(name).ok_or_else(|| TemplateError::Unknown(name.to_owned()))?;
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                parts.push(Part::Value(value));
                rest = after;
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        let template = Self { text: text.to_owned(), parts };
        template.check()?;
        Ok(template)
    }
}

impl Template {
    /// Whether equal names mean equal contents.
    #[must_use]
    pub fn is_content_addressed(&self) -> bool {
        self.has(Placeholder::Sha256)
    }

    /// The name of a file.
    #[must_use]
    pub fn name(&self, subject: Subject<'_>) -> FileName {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Value(value) => text.push_str(&value.of_subject(subject)),
            }
        }
        FileName::of(&text)
    }

    fn has(&self, value: Placeholder) -> bool {
        self.parts.contains(&Part::Value(value))
    }

    fn check(&self) -> Result<(), TemplateError> {
        for part in &self.parts {
            let Part::Text(text) = part else { continue };
            // `~` is for names that would be taken twice.
            let plain = text.replace('/', "");
            if escaped(&plain) != plain {
                let why = "it has a character that is not portable, or one of ~ and %";
                return Err(TemplateError::Text(text.clone(), why));
            }
        }
        // What values stand for begins and ends in no dot that counts here.
        let filled = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Value(_) => "x",
        });
        for component in filled.collect::<String>().split('/') {
            let why = match component {
                "" => "a component is empty; write it without / at the start, at the end or twice",
                component if component.starts_with('.') => "a component begins with a dot",
                component if component.ends_with(['.', ' ']) => "a component ends in a dot or a space",
                _ => continue,
            };
            return Err(TemplateError::Text(self.text.clone(), why));
        }
        let varies = [Placeholder::Id, Placeholder::Path, Placeholder::Sha256];
        if varies.into_iter().any(|value| self.has(value)) { Ok(()) } else { Err(TemplateError::Constant) }
    }
}

impl Placeholder {
    fn of_subject(self, subject: Subject<'_>) -> Cow<'_, str> {
        match self {
            Self::Id => subject.id.to_string().into(),
            Self::Host => host(subject.url).into(),
            Self::Path => path(subject.url).into(),
            Self::Sha256 => subject.sha256.into(),
            Self::Shard => {
                let first = subject.sha256.get(..2).unwrap_or("00");
                let second = subject.sha256.get(2..4).unwrap_or("00");
                format!("{first}/{second}").into()
            }
            Self::Ext if subject.extension.is_empty() => "".into(),
            Self::Ext => format!(".{}", escaped(subject.extension)).into(),
        }
    }
}

/// Host and port; the port only if it is not the scheme's own.
fn host(url: &Url) -> String {
    let host = escaped(url.host_str().unwrap_or("none"));
    url.port().map_or_else(|| host.clone(), |port| format!("{host}+{port}"))
}

/// Path and query, with directories as in the URL. A directory itself is called `index`.
fn path(url: &Url) -> String {
    let mut path: Vec<String> = url.path().split('/').filter(|part| !part.is_empty()).map(escaped).collect();
    if url.path().ends_with('/') {
        path.push("index".to_owned());
    }
    let query = &url[Position::AfterPath..Position::AfterQuery];
    path.join("/") + &escaped(query)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn name(template: &str, url: &str, extension: &str) -> String {
        let (template, url) = (template.parse::<Template>().unwrap(), Url::parse(url).unwrap());
        template.name(Subject { id: 7, url: &url, sha256: SHA256, extension }).to_string()
    }

    #[test]
    fn names_say_what_the_template_asks_for() {
        let url = "https://a.example/img/x.png?w=1";
        for (template, want) in [
            ("{shard}/{sha256}{ext}", &*format!("e3/b0/{SHA256}.jpg")),
            ("{id}{ext}", "7.jpg"),
            ("{host}/{path}", "a.example/img/x.png%3Fw=1"),
            ("files/{host}-{id}", "files/a.example-7"),
            ("{{{id}}}", "{7}"),
        ] {
            assert_eq!(name(template, url, "jpg"), want, "{template}");
        }
        assert_eq!(Template::default(), Template::default().to_string().parse().unwrap());
        assert!(Template::default().is_content_addressed());
    }

    #[test]
    fn paths_become_directories() {
        for (url, want) in [
            ("http://h:8080/", "h+8080/index"),
            ("http://h/a/b/", "h/a/b/index"),
            ("http://h//a//b", "h/a/b"),
            ("http://h/%C3%A9t%C3%A9%20%2F", "h/été %2F"),
            ("http://h/..%5C..%5Cetc", "h/%2E.%5C..%5Cetc"),
            ("http://h/.git/config", "h/%2Egit/config"),
            ("http://[::1]/a", "[%3A%3A1]/a"),
            ("http://h/con.txt", "h/_con.txt"),
            ("http://h/a./b%20", "h/a%2E/b%20"),
            ("http://h/a%00b%ff", "h/a%00b%FF"),
            ("http://h/a~7?", "h/a%7E7%3F"),
        ] {
            assert_eq!(name("{host}/{path}", url, ""), want, "{url}");
        }
    }

    #[test]
    fn templates_that_cannot_name_files_are_refused() {
        for (template, says) in [
            ("{name}", "{name} is not known"),
            ("{id", "has no partner"),
            ("id}", "has no partner"),
            ("/{id}", "is empty"),
            ("a//{id}", "is empty"),
            ("{id}/", "is empty"),
            ("../{id}", "begins with a dot"),
            (".{id}", "begins with a dot"),
            ("{id}.", "ends in a dot"),
            ("a:{id}", "not portable"),
            ("a~{id}", "not portable"),
            ("a\0{id}", "not portable"),
            ("{host}{ext}", "the same name"),
            ("", "is empty"),
        ] {
            let error = template.parse::<Template>().unwrap_err().to_string();
            assert!(error.contains(says), "{template}: {error}");
        }
    }
}
