//! Names that `-o` accepts besides paths. Pure.

use std::fmt;
use std::path::{Path, PathBuf};

use url::Url;

/// Maximum key length of a store.
const KEY_BYTES_MAX: usize = 1024;

/// An object, or a prefix for objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectUrl {
    /// The bucket.
    pub bucket: String,
    /// The key, without any encoding. A prefix has no trailing slash.
    pub key: String,
}

impl ObjectUrl {
    /// Parses `s3://BUCKET/KEY`; returns `None` for any other name.
    #[must_use]
    pub fn of(output: &Path) -> Option<Self> {
        let rest = output.to_str()?.strip_prefix("s3://")?;
        parse(rest).ok()
    }

    /// Returns the URL of the object of that name under this prefix.
    #[must_use]
    pub fn below(&self, name: &str) -> String {
        if self.key.is_empty() { name.to_owned() } else { format!("{}/{name}", self.key) }
    }

    /// Returns the last part of the key.
    #[must_use]
    pub fn name(&self) -> &str {
        self.key.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for ObjectUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

fn parse(rest: &str) -> Result<ObjectUrl, String> {
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    let is_bucket = (3..=63).contains(&bucket.len())
        && bucket.starts_with(|first: char| first.is_ascii_alphanumeric())
        && bucket.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    if !is_bucket {
        return Err(format!("{bucket:?} is not a valid bucket name; use s3://BUCKET/KEY"));
    }
    let key = key.strip_suffix('/').unwrap_or(key);
    if key.len() > KEY_BYTES_MAX {
        return Err(format!("the key is longer than {KEY_BYTES_MAX} bytes"));
    }
    // Clients disagree about such keys, and some cannot access them.
    let is_bad = |part: &str| matches!(part, "" | "." | "..") || part.chars().any(char::is_control);
    if !key.is_empty() && key.split('/').any(is_bad) {
        return Err(
            "a key has no empty parts between its slashes, no . or .. and no control characters".to_owned()
        );
    }
    Ok(ObjectUrl { bucket: bucket.to_owned(), key: key.to_owned() })
}

/// Resolves the name of an output: a path as it is, the path of a `file://` URL, or the name of an
/// object as it is.
///
/// # Errors
/// If the name has a scheme that cannot be written to.
pub(crate) fn located(output: PathBuf) -> Result<PathBuf, String> {
    let Some((scheme, rest)) = output.to_str().and_then(|text| text.split_once("://")) else {
        return Ok(output);
    };
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    match scheme {
        "s3" if cfg!(not(feature = "objects")) => {
            Err("this build does not support object stores; build it with the feature `objects`".to_owned())
        }
        "s3" => parse(rest).map(|_| output),
        "file" => Url::parse(&format!("file://{rest}"))
            .ok()
            .and_then(|url| url.to_file_path().ok())
            .ok_or_else(|| "file:// requires an absolute path of this machine: file:///DIR/FILE".to_owned()),
        _ if is_scheme => {
            Err(format!("cannot write to {scheme}://; name a file, or an object as s3://BUCKET/KEY"))
        }
        _ => Ok(output),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_path_or_an_object() {
        for (name, want) in [
            ("x.jsonl", "x.jsonl"),
            ("-", "-"),
            ("dir://x", "dir"),
            ("file:///a%20b/c.csv", "/a b/c.csv"),
            ("file://localhost/x", "/x"),
            ("file:///d/", "/d/"),
            ("a b://c", "a b://c"),
        ] {
            let got = located(name.into());
            match name {
                "dir://x" => assert!(got.unwrap_err().starts_with("cannot write to dir://")),
                _ => assert_eq!(got, Ok(want.into()), "{name}"),
            }
        }
        for name in ["file://x.jsonl", "file://host/x", "gs://b/k", "http://a/b", "az://c/d"] {
            assert!(located(name.into()).is_err(), "{name}");
        }
    }

    #[cfg(not(feature = "objects"))]
    #[test]
    fn without_the_feature_there_are_no_objects() {
        let why = located("s3://bucket/key.jsonl".into()).unwrap_err();
        assert!(why.contains("feature `objects`"), "{why}");
    }

    #[test]
    fn an_object_has_a_bucket_and_a_key() {
        let of = |name: &str| ObjectUrl::of(Path::new(name));
        let url = |bucket: &str, key: &str| ObjectUrl { bucket: bucket.to_owned(), key: key.to_owned() };
        for (name, want) in [
            ("s3://bucket/key.csv", url("bucket", "key.csv")),
            ("s3://my.Bucket-1/a/b c/ü?x=%20#.csv.gz", url("my.Bucket-1", "a/b c/ü?x=%20#.csv.gz")),
            ("s3://bucket/prefix/", url("bucket", "prefix")),
            ("s3://bucket/", url("bucket", "")),
            ("s3://bucket", url("bucket", "")),
        ] {
            assert_eq!(of(name), Some(want), "{name}");
        }
        let long = format!("s3://bucket/{}", "k".repeat(1025));
        for name in [
            "s3://",
            "s3:///key",
            "s3://b/key",
            "s3://-bucket/key",
            "s3://buck et/key",
            "s3://bucket//key",
            "s3://bucket/a//b",
            "s3://bucket/../b",
            "s3://bucket/a/./b",
            "s3://bucket/a\nb",
            &long,
            "x.jsonl",
            "s3:/bucket/key",
        ] {
            assert_eq!(of(name), None, "{name}");
        }
        assert_eq!(url("bucket", "").below("x"), "x");
        assert_eq!(url("bucket", "a/b").below("x"), "a/b/x");
        assert_eq!(url("bucket", "a/b").name(), "b");
    }
}
