//! Names of files, safe on every file system that is in use.
//!
//! What a server or a list says goes in, and a relative path of plain components comes out. Characters that some
//! system gives a meaning are written as `%` and two digits. `~` is one of them, so the names made here for files
//! that would have the same name, `NAME~HASH`, are those of no template.

use std::fmt;
use std::fmt::Write as _;

use percent_encoding::percent_decode_str;
use sha1::{Digest as _, Sha1};

/// Longest component in bytes. File systems allow 255; a hash also needs room.
pub const NAME_BYTES_MAX: usize = 200;

/// Longest whole name in bytes. Programs fail on paths of 4096, and the directory is part of them.
const PATH_BYTES_MAX: usize = 1024;

/// How much of a hash tells two files of one name apart.
const HASH_DIGITS: usize = 16;

/// Most components of a name.
const DEPTH_MAX: usize = 32;

/// Longest extension that stays at the end of a name that is cut.
const EXTENSION_BYTES_MAX: usize = 16;

/// Names of devices on Windows, whatever their extension.
const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];

/// The name of a file, relative to the directory of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName {
    /// At least one. None is empty, `.` or `..`, begins with a dot or contains a separator.
    components: Vec<String>,
}

impl FileName {
    /// Makes a name of a text whose values are [`escaped`], with `/` between components.
    pub(super) fn of(text: &str) -> Self {
        let mut components: Vec<String> =
            text.split('/').filter(|part| !part.is_empty()).map(component).collect();
        if components.is_empty() {
            components.push("index".to_owned());
        }
        let bytes: usize = components.iter().map(|component| component.len() + 1).sum();
        if bytes > PATH_BYTES_MAX || components.len() > DEPTH_MAX {
            components = vec![format!("long{}", hashed(text))];
        }
        Self { components }
    }

    /// The directories, from the outermost.
    #[must_use]
    pub fn directories(&self) -> &[String] {
        self.components.split_last().map_or(&[], |(_, directories)| directories)
    }

    /// The last component.
    #[must_use]
    pub fn last(&self) -> &str {
        self.components.last().map_or("index", String::as_str)
    }

    /// Another name for content with this hash, in hexadecimal digits, in the outermost `depth` directories.
    #[must_use]
    pub fn with_hash(&self, hash: &str, depth: usize) -> Self {
        let (stem, extension) = split_extension(self.last());
        let hash: String = hash.chars().take(HASH_DIGITS).collect();
        let mut components: Vec<String> = self.directories().iter().take(depth).cloned().collect();
        components.push(format!("{stem}~{hash}{extension}"));
        Self { components }
    }

    /// The name that only content with this hash has, in the outermost directory, whatever the template.
    #[must_use]
    pub fn of_content(hash: &str, extension: &str) -> Self {
        let dot = if extension.is_empty() { "" } else { "." };
        Self { components: vec![format!("~{hash}{dot}{extension}")] }
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.components.join("/"))
    }
}

/// Makes a value harmless as a part of a component. Percent-encoded text is decoded where it is text.
pub(super) fn escaped(value: &str) -> String {
    let decoded: Vec<u8> = percent_decode_str(value).collect();
    let mut out = String::with_capacity(decoded.len());
    for chunk in decoded.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_plain(c) {
                out.push(c)
            } else {
                push_encoded(c.encode_utf8(&mut [0; 4]).as_bytes(), &mut out)
            }
        }
        push_encoded(chunk.invalid(), &mut out);
    }
    out
}

fn push_encoded(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        // Writing to a text does not fail.
        let _ = write!(out, "%{byte:02X}");
    }
}

/// Whether a character means nothing to any file system or terminal.
fn is_plain(c: char) -> bool {
    !c.is_control()
        && !matches!(
            c,
            '/' | '\\' | '<' | '>' | ':' | '"' | '|' | '?' | '*' | '~' | '%'
            // Invisible characters, and those that reverse what is shown.
            | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// Makes a component of a text that is not empty and has only plain characters.
fn component(text: &str) -> String {
    let mut name = String::with_capacity(text.len() + 2);
    match text.strip_prefix('.') {
        Some(rest) => {
            name.push_str("%2E");
            name.push_str(rest);
        }
        None if is_device(text) => {
            name.push('_');
            name.push_str(text);
        }
        None => name.push_str(text),
    }
    if name.ends_with('.') {
        name.pop();
        name.push_str("%2E");
    } else if name.ends_with(' ') {
        name.pop();
        name.push_str("%20");
    }
    if name.len() > NAME_BYTES_MAX { cut(&name) } else { name }
}

fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end();
    if DEVICES.iter().any(|device| stem.eq_ignore_ascii_case(device)) {
        return true;
    }
    let port =
        stem.get(..3).filter(|kind| kind.eq_ignore_ascii_case("COM") || kind.eq_ignore_ascii_case("LPT"));
    let mut digits = stem.chars().skip(3);
    port.is_some() && matches!((digits.next(), digits.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
}

/// Cuts a component that is too long. Its hash takes the place of what is cut.
fn cut(name: &str) -> String {
    let (stem, extension) = split_extension(name);
    let hash = hashed(name);
    let mut end = NAME_BYTES_MAX.saturating_sub(hash.len() + extension.len());
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{hash}{extension}", stem.get(..end).unwrap_or_default())
}

/// A suffix that stands for a whole text.
fn hashed(text: &str) -> String {
    let digest = Sha1::digest(text.as_bytes());
    digest.iter().take(8).fold("~h".to_owned(), |mut hash, byte| {
        let _ = write!(hash, "{byte:02x}");
        hash
    })
}

/// Splits off the extension, with its dot, if it is short enough to be one.
fn split_extension(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(at) if at > 0 && name.len() - at <= EXTENSION_BYTES_MAX => name.split_at(at),
        Some(_) | None => (name, ""),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::super::template::{Subject, Template};
    use super::*;

    const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// Checks what must hold for every name, whatever it was made of.
    #[track_caller]
    fn check(name: &FileName) {
        let shown = name.to_string();
        assert!(shown.len() <= PATH_BYTES_MAX && !shown.starts_with('/'), "{shown:?}");
        let components: Vec<&str> = shown.split('/').collect();
        assert!(components.len() <= DEPTH_MAX, "{shown:?}");
        for component in components {
            assert!(!component.is_empty() && !component.starts_with('.'), "{shown:?}");
            assert!(!component.ends_with(['.', ' ']), "{shown:?}");
            assert!(component.len() <= 255 - ".part".len(), "{shown:?}");
            assert!(!component.contains(['\\', '\0', ':', '*', '?', '"', '<', '>', '|']), "{shown:?}");
            assert!(!component.chars().any(char::is_control), "{shown:?}");
            assert!(!is_device(component), "{shown:?}");
        }
        let joined = std::path::Path::new("/dir").join(&shown);
        assert!(joined.components().all(|part| !matches!(part, std::path::Component::ParentDir)));
        assert!(joined.starts_with("/dir"), "{shown:?}");
    }

    fn templates() -> impl Strategy<Value = Template> {
        proptest::sample::select(vec![
            "{shard}/{sha256}{ext}",
            "{host}/{path}",
            "{host}/{path}{ext}",
            "{path}",
            "{path}/{id}",
            "a {host}{id}{ext}",
            "con.{ext}{id}",
        ])
        .prop_map(|template| template.parse().unwrap())
    }

    proptest! {
        #[test]
        fn no_name_leaves_the_directory(
            template in templates(),
            path in "(/|\\.|%2e|%2f|%5c|%00|\\PC|[ -~]|\\\\){0,60}",
            query in "\\PC{0,400}",
            extension in "\\PC{0,12}",
            id in any::<u64>(),
        ) {
            let Ok(mut url) = Url::parse("http://h:81/").and_then(|url| url.join(&path)) else { return Ok(()) };
            url.set_query(Some(&query));
            let name = template.name(Subject { id, url: &url, sha256: SHA256, extension: &extension });
            check(&name);
            for depth in 0..3 {
                check(&name.with_hash(SHA256, depth));
            }
            check(&FileName::of_content(SHA256, "jpg"));
        }

        #[test]
        fn any_text_becomes_a_name(text in "\\PC{0,3000}|(\\.\\./){0,50}|(CON|aux|Lpt1| |\\.|/){0,9}") {
            check(&FileName::of(&text.split('/').map(escaped).collect::<Vec<_>>().join("/")));
        }

        #[test]
        fn no_value_gives_the_name_that_another_content_gets_instead(value in "\\PC{0,12}|[a-z.]{0,9}~7") {
            let name = FileName::of(&escaped(&value));
            prop_assert!(!name.last().contains('~'));
            let other = name.with_hash(SHA256, 0);
            prop_assert!(other.last().contains("~e3b0c44298fc1c14"), "{}", other);
        }

        #[test]
        fn different_short_values_give_different_names(one in "\\PC{1,20}", other in "\\PC{1,20}") {
            let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
            prop_assume!(decoded(&one) != decoded(&other));
            prop_assert_ne!(escaped(&one), escaped(&other));
        }
    }

    #[test]
    fn long_names_are_cut_and_stay_different() {
        let long = |end: &str| FileName::of(&format!("{}é{end}.html", "x".repeat(300)));
        let (one, other) = (long("a"), long("b"));
        assert_ne!(one, other);
        assert!(one.last().len() <= NAME_BYTES_MAX && one.last().ends_with(".html"), "{one}");
        check(&one);
        let deep = FileName::of(&"d/".repeat(40));
        assert!(deep.directories().is_empty(), "{deep}");
        let wide = FileName::of(&"dddddddddddddddddddddddddddddddddddddddddd/".repeat(30));
        assert!(wide.to_string().starts_with("long~h"), "{wide}");
    }

    #[test]
    fn a_name_that_is_taken_gets_the_hash_before_its_extension() {
        let name = FileName::of("a/b/c.tar.gz");
        let hash = "0123456789abcdef0123";
        assert_eq!(name.with_hash(hash, 9).to_string(), "a/b/c.tar~0123456789abcdef.gz");
        assert_eq!(name.with_hash(hash, 1).to_string(), "a/c.tar~0123456789abcdef.gz");
        assert_eq!(FileName::of("x").with_hash(hash, 0).to_string(), "x~0123456789abcdef");
        assert_eq!(FileName::of_content("01", "gz").to_string(), "~01.gz");
        assert_eq!(FileName::of_content("01", "").to_string(), "~01");
    }
}
