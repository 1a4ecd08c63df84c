//! Asks whether a page has changed since an earlier run, and notes it for the next one: `--since`.
//!
//! A validator goes only to the URL that it came from, which may be behind a redirect. A worker that was taken over
//! could note other pages than its own, as it could write other records.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE};
use http::response::Parts;
use http::{HeaderName, Method, Request, StatusCode};
use shared::protocol::TargetNote;
use shared::record::FieldValue;
use shared::since::{Known, Note, Validators, place};
use url::Url;

/// Headers by which the user asks for less than the page. Such a request gets no condition of ours.
const CONDITIONS: [HeaderName; 6] =
    [IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE];

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
        let known = note.and_then(|note| Some((Known::decode(&note)?, note)));
        Condition { known: known.filter(|(known, _)| known.fields.len() == fields), ..Condition::default() }
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
}

/// What is known of a target's page, and what is asked and noted.
#[derive(Debug, Default)]
pub(in crate::stage) struct Condition {
    /// What an earlier run has noted, and the note itself.
    known: Option<(Known, Vec<u8>)>,
    /// The target's URL, once a request was made that can be noted.
    url: Option<String>,
    /// The URL of the request under way, if its answer can be noted.
    hop_url: Option<String>,
    /// Whether the request under way asks.
    asks: bool,
    /// Whether the user asks for less than the page.
    is_users: bool,
    /// Whether the page is as it was.
    is_unchanged: bool,
    /// The validators of the page that came.
    validators: Option<Validators>,
}

impl Condition {
    /// Adds the question to a request, if an earlier run has noted the page.
    pub(super) fn ask(&mut self, url: &Url, request: &mut Request<Bytes>) {
        (self.asks, self.is_unchanged, self.validators) = (false, false, None);
        self.is_users = CONDITIONS.iter().any(|name| request.headers().contains_key(name));
        let is_get = *request.method() == Method::GET && request.body().is_empty();
        self.hop_url = place(url).filter(|_| is_get && !self.is_users);
        let Some(hop_url) = &self.hop_url else { return };
        let url = self.url.get_or_insert_with(|| hop_url.clone());
        let Some((known, _)) = &self.known else { return };
        if known.url == *url
            && known.final_url == *hop_url
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
                self.validators = Validators::of(&head.headers);
                Change::Open
            }
            StatusCode::NOT_MODIFIED if self.asks => {
                self.is_unchanged = true;
                Change::None
            }
            StatusCode::NOT_MODIFIED if !self.is_users => Change::Unasked,
            _ => Change::Open,
        }
    }

    /// Whether the page is as it was.
    pub(in crate::stage) const fn is_unchanged(&self) -> bool {
        self.is_unchanged
    }

    /// The page as it was, if it is still so. Its fields can be taken once.
    pub(in crate::stage) fn unchanged(&mut self) -> Option<Unchanged> {
        let (known, _) = self.known.as_mut().filter(|_| self.is_unchanged)?;
        Some(Unchanged {
            fields: mem::take(&mut known.fields),
            charset: known.charset.take(),
            headers: known.headers.take(),
        })
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
    ) -> Option<Vec<u8>> {
        if self.is_unchanged {
            return self.earlier();
        }
        let (url, final_url) = (self.url.as_deref()?, self.hop_url.as_deref()?);
        let validators = self.validators.as_ref()?;
        Note { url, final_url, validators, charset, headers, fields }.encode()
    }
}

/// A page as an earlier run has found it.
#[derive(Debug)]
pub(in crate::stage) struct Unchanged {
    pub(in crate::stage) fields: Vec<FieldValue>,
    pub(in crate::stage) charset: Option<String>,
    pub(in crate::stage) headers: Option<FieldValue>,
}
