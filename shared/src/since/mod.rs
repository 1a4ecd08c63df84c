//! What one run notes of a page so that a later one can ask whether it has changed: `--since`.
//!
//! Everything here is pure. A worker makes a [`Note`] of each page that came with a validator, and the supervisor
//! keeps it beside the output. In a later run, the supervisor gives the note to the worker that fetches the page. The
//! worker sends the validator back, and makes the record of an unchanged page from the note. The supervisor reads
//! nothing of a note but its URL.

mod bytes;
mod validators;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;

use wire::protocol::PageMark;

use self::bytes::{Depth, put_text, put_value, take_number, take_text, take_value};
pub use self::validators::Validators;
use crate::record::FieldValue;

/// Largest note in bytes. The worker and the supervisor hold the notes of all pages in flight. A page with more fields
/// than fit is fetched whole each time.
pub const NOTE_BYTES_MAX: usize = 256 * 1024;

/// Most bytes of the notes that are sent to a worker with one slice. The pages of the others are fetched whole.
pub const SLICE_NOTES_BYTES_MAX: usize = 4 << 20;

/// Which earlier output a job asks about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinceSpec {
    /// The earlier output; its notes are beside it.
    #[serde(with = "crate::path")]
    pub earlier: PathBuf,
}

/// A page as it was fetched, before it is encoded.
#[derive(Debug, Clone, Copy)]
pub struct Note<'a> {
    /// Its URL as requested, as [`place`] returns it.
    pub url: &'a str,
    /// The URL after redirects, which the validators belong to, as [`place`] returns it.
    pub final_url: &'a str,
    /// Its validators.
    pub validators: &'a Validators,
    /// What was sent for it, as far as that decides what comes.
    pub asked: &'a Asked,
    /// What the page is recognized by, if pages that repeat are to be noticed.
    pub mark: Option<PageMark>,
    /// The encoding that its text was decoded from.
    pub charset: Option<&'a str>,
    /// The headers of its response that go into records: one object.
    pub headers: Option<&'a FieldValue>,
    /// The values of its fields.
    pub fields: &'a [FieldValue],
}

/// A page as an earlier run has noted it.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// Its URL as requested.
    pub url: String,
    /// The URL after redirects, which the validators belong to.
    pub final_url: String,
    /// Its validators.
    pub validators: Validators,
    /// What was sent for it, as far as that decides what comes.
    pub asked: Asked,
    /// What the page is recognized by, if pages that repeat are to be noticed.
    pub mark: Option<PageMark>,
    /// The encoding that its text was decoded from.
    pub charset: Option<String>,
    /// The headers of its response that go into records: one object.
    pub headers: Option<FieldValue>,
    /// The values of its fields.
    pub fields: Vec<FieldValue>,
}

/// What was sent for a page besides its URL, as far as that decides which page comes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// The headers that the answer's `Vary` names, in lower case, with commas between them.
    pub vary: String,
    /// A hash of their values, and of those of `Authorization` and `Cookie`.
    pub hash: u64,
}

impl Note<'_> {
    /// Encodes it, unless it is too large.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(256);
        put_text(self.url, &mut out);
        put_text(self.final_url, &mut out);
        put_text(&self.asked.vary, &mut out);
        out.extend_from_slice(&self.asked.hash.to_le_bytes());
        match self.mark {
            Some(PageMark { hash, challenges }) => {
                out.push(1 + u8::from(challenges));
                out.extend_from_slice(&hash.to_le_bytes());
            }
            None => out.push(0),
        }
        let Validators { etag, plain_etag, last_modified } = self.validators;
        for text in [etag.as_deref(), plain_etag.as_deref(), last_modified.as_deref(), self.charset] {
            out.push(u8::from(text.is_some()));
            text.into_iter().for_each(|text| put_text(text, &mut out));
        }
        put_value(self.headers.unwrap_or(&FieldValue::Null), &mut out);
        for field in self.fields {
            put_value(field, &mut out);
            if out.len() > NOTE_BYTES_MAX {
                return None;
            }
        }
        (out.len() <= NOTE_BYTES_MAX).then_some(out)
    }
}

impl Known {
    /// Decodes a note; `None` if the bytes are not a note.
    #[must_use]
    pub fn decode(note: &[u8]) -> Option<Self> {
        let mut rest = note;
        let url = take_text(&mut rest)?.to_owned();
        let final_url = take_text(&mut rest)?.to_owned();
        let vary = take_text(&mut rest)?.to_owned();
        let asked = Asked { vary, hash: take_number(&mut rest)? };
        let mark = match rest.split_off_first()? {
            0 => None,
            tag @ (1 | 2) => Some(PageMark { hash: take_number(&mut rest)?, challenges: *tag == 2 }),
            _ => return None,
        };
        let mut optional = || match rest.split_off_first()? {
            0 => Some(None),
            1 => Some(Some(take_text(&mut rest)?.to_owned())),
            _ => None,
        };
        let (etag, plain_etag, last_modified) = (optional()?, optional()?, optional()?);
        let charset = optional()?;
        let validators = Validators { etag, plain_etag, last_modified };
        let headers =
            Some(take_value(&mut rest, Depth::default())?).filter(|value| *value != FieldValue::Null);
        let mut fields = Vec::new();
        while !rest.is_empty() {
            fields.push(take_value(&mut rest, Depth::default())?);
        }
        Some(Self { url, final_url, validators, asked, mark, charset, headers, fields })
    }
}

/// The URL that a note is about.
#[must_use]
pub fn url_of(note: &[u8]) -> Option<&str> {
    take_text(&mut { note })
}

/// The name of a page in notes: its URL without the fragment, which is never sent. A URL with credentials has no such
/// name, because they are secrets and another user may see another page.
#[must_use]
pub fn place(url: &Url) -> Option<String> {
    if !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    let text = url.as_str();
    Some(text.split_once('#').map_or(text, |(before, _)| before).to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::parse;

    static ASKED: Asked = Asked { vary: String::new(), hash: 7 };

    fn validators() -> Validators {
        let (etag, plain_etag) = (Some("W/\"x-br\"".to_owned()), Some("W/\"x\"".to_owned()));
        Validators { etag, plain_etag, last_modified: None }
    }

    fn fields() -> Vec<FieldValue> {
        let json = FieldValue::from(&parse("{\"a\":[1.50,true,\"\u{e9}\"]}").unwrap());
        let object = FieldValue::Object(vec![
            ("price".to_owned(), FieldValue::Float(-0.5)),
            ("rows".to_owned(), FieldValue::List(vec![FieldValue::Int(i64::MIN), FieldValue::Null])),
        ]);
        vec![
            FieldValue::Text("caf\u{e9}\n".to_owned()),
            FieldValue::Null,
            json,
            object,
            FieldValue::List(vec![]),
        ]
    }

    fn note<'a>(validators: &'a Validators, fields: &'a [FieldValue]) -> Note<'a> {
        let (url, final_url) = ("http://a.example/", "http://a.example/b");
        let (asked, charset) = (&ASKED, Some("utf-8"));
        Note { url, final_url, validators, asked, mark: None, charset, headers: None, fields }
    }

    #[test]
    fn a_note_comes_back_as_it_was_made() {
        let headers = FieldValue::Object(vec![("etag".to_owned(), FieldValue::Text("\"x\"".to_owned()))]);
        for headers in [None, Some(&headers)] {
            let encoded = Note { headers, ..note(&validators(), &fields()) }.encode().unwrap();
            assert_eq!(url_of(&encoded), Some("http://a.example/"));
            let known = Known::decode(&encoded).unwrap();
            assert_eq!((known.validators, known.fields), (validators(), fields()));
            assert_eq!((known.charset.as_deref(), known.headers.as_ref()), (Some("utf-8"), headers));
            assert_eq!((known.final_url.as_str(), known.asked), ("http://a.example/b", ASKED.clone()));
        }
        for mark in [None, Some((7, false)), Some((u64::MAX, true))] {
            let mark = mark.map(|(hash, challenges)| PageMark { hash, challenges });
            let asked = &Asked { vary: "accept-language,cookie".to_owned(), hash: u64::MAX };
            let encoded = Note { mark, asked, ..note(&validators(), &fields()) }.encode().unwrap();
            let known = Known::decode(&encoded).unwrap();
            assert_eq!((known.mark, &known.asked, known.fields), (mark, asked, fields()));
        }
    }

    #[test]
    fn a_page_with_more_fields_than_fit_is_not_noted() {
        let large = |bytes| vec![FieldValue::Text("x".repeat(bytes))];
        assert!(note(&validators(), &large(NOTE_BYTES_MAX - 100)).encode().is_some());
        assert!(note(&validators(), &large(NOTE_BYTES_MAX)).encode().is_none());
        let many = vec![FieldValue::Text("x".repeat(1000)); NOTE_BYTES_MAX / 1000];
        assert!(note(&validators(), &many).encode().is_none());
    }

    #[test]
    fn pages_are_named_without_what_is_not_sent_and_not_with_credentials() {
        let named = |url: &str| place(&Url::parse(url).unwrap());
        assert_eq!(named("HTTP://A.example:80/b/../c?d#e").as_deref(), Some("http://a.example/c?d"));
        assert_eq!(named("http://user@a.example/"), None);
        assert_eq!(named("http://:password@a.example/"), None);
    }

    proptest! {
        #[test]
        fn garbage_is_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Known::decode(&bytes);
            let _ = url_of(&bytes);
        }

        #[test]
        fn a_note_that_was_cut_or_changed_is_never_a_panic(at in 0usize..200, byte in any::<u8>()) {
            let mut encoded = note(&validators(), &fields()).encode().unwrap();
            let _ = encoded.get(..at).map(Known::decode);
            if let Some(place) = encoded.get_mut(at) {
                *place = byte;
            }
            let _ = Known::decode(&encoded);
        }
    }
}
