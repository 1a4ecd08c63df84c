//! Asks whether a page has changed since an earlier run, and notes it for the next one: `--since`.
//!
//! A validator goes only to the URL that it came from, which may be behind a redirect. A worker that was taken over
//! could note other pages than its own, as it could write other records.

use std::collections::HashMap;
use std::hash::Hasher as _;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, COOKIE, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
    VARY,
};
use http::response::Parts;
use http::{HeaderMap, HeaderName, Method, Request, StatusCode};
use shared::protocol::{PageMark, TargetNote};
use shared::record::FieldValue;
use shared::since::{Asked, Known, Note, Validators, place};
use twox_hash::XxHash3_64;
use url::Url;

/// Headers by which the user asks for less than the page. Such a request gets no condition of ours.
const CONDITIONS: [HeaderName; 6] =
    [IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE];

/// Longest list of headers that an answer may vary by. A page with more is not noted.
const VARY_BYTES_MAX: usize = 1024;

/// What an earlier run has noted of the targets that are on their way to this worker. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<HashMap<u64, Vec<u8>>>>);

impl Notes {
    /// Takes in what the supervisor sends.
    pub(crate) fn take_in(&self, notes: Vec<TargetNote>) {
        self.lock().extend(notes.into_iter().map(|TargetNote { id, note }| (id, note)));
    }

    /// Begins a target, whose page has this many fields.
    pub(in crate::stage) fn condition(&self, id: u64, fields: usize) -> Condition {
        let note = self.lock().remove(&id);
        let known = note.and_then(|note| {
            let known = Known::decode(&note).filter(|known| known.fields.len() == fields)?;
            // They are decoded again if they are needed, so that a request that waits does not hold them twice.
            Some((Known { fields: Vec::new(), headers: None, ..known }, note))
        });
        Condition { known, ..Condition::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an answer says about the page that an earlier run has noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing: it is a page as in any other run.
    Open,
    /// It is as it was.
    None,
    /// It is as it was, but nobody has asked.
    Unasked,
    /// It is as another version was, which is not known. The page is asked for once more, without a condition.
    Other,
}

/// What is known of a target's page, and what is asked and noted.
#[derive(Debug, Default)]
pub(in crate::stage) struct Condition {
    /// What an earlier run has noted, without the contents, and the note itself.
    known: Option<(Known, Vec<u8>)>,
    /// Whether a request was made.
    is_begun: bool,
    /// The target's URL, if its first request was one whose answer can be noted.
    url: Option<String>,
    /// The URL of the request under way, if its answer can be noted.
    hop_url: Option<String>,
    /// What it sends.
    sent: HeaderMap,
    /// Whether the server knows other versions than the earlier run.
    is_useless: bool,
    /// Whether the request under way asks.
    asks: bool,
    /// Whether the user asks for less than the page.
    is_users: bool,
    /// Whether the page is as it was.
    is_unchanged: bool,
    /// The validators of the page that came, and what was sent for it.
    validators: Option<(Validators, Asked)>,
}

impl Condition {
    /// Adds the question to a request, if an earlier run has noted the page.
    pub(super) fn ask(&mut self, url: &Url, request: &mut Request<Bytes>) {
        (self.asks, self.is_unchanged, self.validators) = (false, false, None);
        self.is_users = CONDITIONS.iter().any(|name| request.headers().contains_key(name));
        let is_get = *request.method() == Method::GET && request.body().is_empty();
        self.hop_url = place(url).filter(|_| is_get && !self.is_users);
        if !mem::replace(&mut self.is_begun, true) {
            self.url.clone_from(&self.hop_url);
        }
        let (Some(url), Some(hop_url)) = (&self.url, &self.hop_url) else { return };
        self.sent.clone_from(request.headers());
        let Some((known, _)) = self.known.as_ref().filter(|_| !self.is_useless) else { return };
        if known.url == *url
            && known.final_url == *hop_url
            && known.asked.hash == hash(&known.asked.vary, &self.sent)
            && let Some((name, value)) = known.validators.condition()
        {
            request.headers_mut().insert(name, value);
            self.asks = true;
        }
    }

    /// Takes in the head of the answer.
    pub(super) fn answered(&mut self, head: &Parts) -> Change {
        match head.status {
            StatusCode::OK if self.hop_url.is_some() => {
                let asked = asked(&head.headers, &self.sent);
                self.validators = asked.and_then(|asked| Some((Validators::of(&head.headers)?, asked)));
                Change::Open
            }
            StatusCode::NOT_MODIFIED if self.asks => {
                let known = self.known.as_ref();
                self.is_unchanged = known.is_some_and(|(known, _)| known.validators.are_meant(&head.headers));
                self.is_useless = !self.is_unchanged;
                if self.is_unchanged { Change::None } else { Change::Other }
            }
            StatusCode::NOT_MODIFIED if !self.is_users => Change::Unasked,
            _ => Change::Open,
        }
    }

    /// Whether the page is as it was.
    pub(in crate::stage) const fn is_unchanged(&self) -> bool {
        self.is_unchanged
    }

    /// The page as it was, if it is still so.
    pub(in crate::stage) fn unchanged(&self) -> Option<Unchanged> {
        let (_, note) = self.known.as_ref().filter(|_| self.is_unchanged)?;
        let Known { fields, charset, headers, mark, .. } = Known::decode(note)?;
        Some(Unchanged { fields, charset, headers, mark })
    }

    /// The note of the earlier run.
    pub(in crate::stage) fn earlier(&self) -> Option<Vec<u8>> {
        self.known.as_ref().map(|(_, note)| note.clone())
    }

    /// The note for the next run, if the page can be noted: this one, or that of the earlier run again.
    pub(in crate::stage) fn note(
        &self,
        fields: &[FieldValue],
        charset: Option<&str>,
        headers: Option<&FieldValue>,
        mark: Option<PageMark>,
    ) -> Option<Vec<u8>> {
        if self.is_unchanged {
            return self.earlier();
        }
        let (url, final_url) = (self.url.as_deref()?, self.hop_url.as_deref()?);
        let (validators, asked) = self.validators.as_ref()?;
        Note { url, final_url, validators, asked, mark, charset, headers, fields }.encode()
    }
}

/// What of a request decides its answer (RFC 9111, 4.1). `None` if that is not known.
fn asked(answer: &HeaderMap, sent: &HeaderMap) -> Option<Asked> {
    let mut names = Vec::new();
    for value in answer.get_all(VARY) {
        names.extend(value.to_str().ok()?.split(',').map(|name| name.trim().to_ascii_lowercase()));
    }
    names.retain(|name| !name.is_empty());
    names.sort_unstable();
    names.dedup();
    let vary = names.join(",");
    if names.iter().any(|name| name == "*") || vary.len() > VARY_BYTES_MAX {
        return None;
    }
    let hash = hash(&vary, sent);
    Some(Asked { vary, hash })
}

/// Hashes the values of these headers, and of those that say who asks: many servers do not name them in `Vary`.
fn hash(vary: &str, sent: &HeaderMap) -> u64 {
    let mut hasher = XxHash3_64::new();
    for name in [AUTHORIZATION.as_str(), COOKIE.as_str()].into_iter().chain(vary.split(',')) {
        for value in sent.get_all(name) {
            for part in [name.as_bytes(), value.as_bytes()] {
                hasher.write(&part.len().to_le_bytes());
                hasher.write(part);
            }
        }
    }
    hasher.finish()
}

/// A page as an earlier run has found it.
#[derive(Debug)]
pub(in crate::stage) struct Unchanged {
    pub(in crate::stage) fields: Vec<FieldValue>,
    pub(in crate::stage) charset: Option<String>,
    pub(in crate::stage) headers: Option<FieldValue>,
    pub(in crate::stage) mark: Option<PageMark>,
}
