//! Follows lists of pages from each page to the next one (`--next`).

use std::time::Instant;

use rustc_hash::FxHashMap;
use shared::kept::{self, Kept};
use shared::pages::{NextPage, input_of, page_of};
use shared::protocol::{Batch, Outcome, Verdict};
use supervisor_core::pages::{Link, ListCounts, ListEnd, Lists, OpenList};
use url::Url;
use xxhash_rust::xxh3::xxh3_64;

use super::Runtime;
use crate::source::{HostFinder, SourceItem};

/// An input, and the values that it carries along.
pub(super) type GivenFirst = (Vec<u8>, Vec<u8>);

/// The lists of pages of a run.
#[derive(Debug)]
pub struct Paging {
    lists: Lists,
    hosts: HostFinder,
    /// Pages that this run was to ask for besides its inputs.
    followed: u64,
    /// Whether some of them are new to the pool.
    has_asked: bool,
}

impl Paging {
    /// Follows these lists. `hosts` finds whose budget a page uses.
    #[must_use]
    pub(crate) const fn new(lists: Lists, hosts: HostFinder) -> Self {
        Self { lists, hosts, followed: 0, has_asked: false }
    }

    pub(super) const fn followed(&self) -> u64 {
        self.followed
    }

    /// Whether pages were asked for since the last call.
    pub(super) const fn take_asked(&mut self) -> bool {
        std::mem::replace(&mut self.has_asked, false)
    }

    pub(super) const fn counts(&self) -> ListCounts {
        self.lists.counts()
    }

    /// The target that stands for the open page of a list.
    fn target(&mut self, list: &OpenList) -> SourceItem {
        let (input, kept) = carried(list);
        SourceItem { id: list.id, inputs: 1, host: self.hosts.find(&input), input, kept, refused: None }
    }
}

/// What is asked for at the open page of a list, and what it carries along. At the origin of the input, the page counts as
/// named by the user, with the input's credentials. Anywhere else it was found on the way, and gets no secrets.
fn carried(list: &OpenList) -> (Vec<u8>, Vec<u8>) {
    let parsed = |url: &[u8]| str::from_utf8(url).ok().and_then(|url| Url::parse(url).ok());
    let (first, next) = (parsed(&list.first), parsed(&list.url));
    if let (Some(first), Some(mut next)) = (first, next)
        && first.origin() == next.origin()
    {
        if next.username().is_empty() && next.password().is_none() {
            // Neither call can fail: the URL has a host.
            let _ = next.set_username(first.username());
            let _ = next.set_password(first.password());
        }
        return (String::from(next).into_bytes(), list.kept.clone());
    }
    let mut kept = Vec::new();
    if !Kept(&list.kept).is_found() {
        kept::push_found(&mut kept);
    }
    kept.extend_from_slice(&list.kept);
    (list.url.clone(), kept)
}

/// Hashes a URL without what is not sent.
fn hash(url: &[u8]) -> u64 {
    let parsed = str::from_utf8(url).ok().and_then(|url| Url::parse(url).ok());
    let Some(mut url) = parsed else { return xxh3_64(url) };
    url.set_fragment(None);
    let _ = url.set_username("");
    let _ = url.set_password(None);
    xxh3_64(url.as_str().as_bytes())
}

impl Runtime<'_> {
    /// Asks for the pages at which an earlier run has left lists.
    pub(super) fn reopen_lists(&mut self, now: Instant) {
        let Some(paging) = &self.paging else { return };
        let open: Vec<OpenList> = paging.lists.open().cloned().collect();
        for list in open {
            self.ask_for_page(now, &list);
        }
    }

    /// Returns the inputs of first pages that may go on: the pool forgets them with their outcome.
    pub(super) fn given_firsts(&self, batch: &Batch) -> FxHashMap<u64, GivenFirst> {
        if self.paging.is_none() {
            return FxHashMap::default();
        }
        let firsts =
            batch.outcomes.iter().filter(|outcome| outcome.note_bytes > 0 && page_of(outcome.id) == 1);
        let given = |outcome: &Outcome| {
            let (input, kept) = self.pool.given(outcome.id)?;
            Some((outcome.id, (input.to_vec(), kept.to_vec())))
        };
        firsts.filter_map(given).collect()
    }

    /// Goes on from a page whose record was passed on, if it says where.
    pub(super) fn go_on(&mut self, now: Instant, outcome: &Outcome, note: &[u8], given: Option<GivenFirst>) {
        if self.paging.is_none() {
            return;
        }
        let why = match (&outcome.verdict, note) {
            (Verdict::Ok, []) => ListEnd::End,
            (Verdict::Ok, note) => match NextPage::decode(note) {
                NextPage::At(url) => return self.follow(now, outcome.id, given, &url),
                NextPage::None => ListEnd::End,
                NextPage::NoLink => ListEnd::NoLink,
                NextPage::Unread => ListEnd::Error,
            },
            (Verdict::Failed(_) | Verdict::Retry { .. }, _) => ListEnd::Error,
        };
        self.end_list(outcome.id, why);
    }

    /// Ends the list of a page, if pages are followed.
    pub(super) fn end_list(&mut self, id: u64, why: ListEnd) {
        if let Some(paging) = &mut self.paging {
            paging.lists.end(id, why);
            self.note_list(id, None);
        }
    }

    fn follow(&mut self, now: Instant, id: u64, given: Option<GivenFirst>, url: &str) {
        let Some(paging) = &mut self.paging else { return };
        let first_hash = given.as_ref().map_or(0, |(first, _)| hash(first));
        let link = Link { url, hash: hash(url.as_bytes()), first_hash };
        match paging.lists.follow(id, given, link).cloned() {
            None => self.note_list(id, None),
            Some(list) => {
                self.ask_for_page(now, &list);
                self.note_list(id, Some(list));
            }
        }
    }

    /// Asks for the open page of a list.
    fn ask_for_page(&mut self, now: Instant, list: &OpenList) {
        let Some(paging) = &mut self.paging else { return };
        paging.followed += 1;
        paging.has_asked = true;
        let target = paging.target(list);
        self.take(now, target);
    }

    /// Has the journal note where a list goes on, together with the record of the page before.
    fn note_list(&mut self, id: u64, list: Option<OpenList>) {
        // It has no row yet if it ends with its first page.
        if self.parts.queue.is_recorded() && (list.is_some() || page_of(id) > 1) {
            self.out.progress.lists.insert(input_of(id), list);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(first: &str, url: &str, kept: &[u8]) -> OpenList {
        OpenList {
            id: shared::pages::PAGE_STEP,
            url: url.into(),
            first: first.into(),
            kept: kept.to_vec(),
            seen: Vec::new(),
        }
    }

    #[test]
    fn only_the_inputs_origin_gets_its_secrets() {
        let mut values = Vec::new();
        assert!(kept::push("a", kept::Value::Text("b"), &mut values));
        for (first, next, asked, is_named) in [
            ("http://u:p@h/1", "http://h/2", "http://u:p@h/2", true),
            ("http://u:p@h/1", "http://h:80/2", "http://u:p@h/2", true),
            ("http://h/1", "http://h/2", "http://h/2", true),
            ("http://u:p@h/1", "https://h/2", "https://h/2", false),
            ("http://u:p@h/1", "http://h:81/2", "http://h:81/2", false),
            ("http://u:p@h/1", "http://other/2", "http://other/2", false),
            ("no url", "http://h/2", "http://h/2", false),
        ] {
            let (input, kept) = carried(&list(first, next, &values));
            assert_eq!(String::from_utf8(input).unwrap(), asked);
            assert_eq!(!Kept(&kept).is_found(), is_named, "{first} {next}");
            assert_eq!(Kept(&kept).find("a"), Some(kept::Value::Text("b")), "{first} {next}");
        }
    }

    #[test]
    fn a_page_is_the_same_whatever_is_not_sent() {
        assert_eq!(hash(b"http://u:p@H:80/a#b"), hash(b"http://h/a"));
        assert_ne!(hash(b"http://h/a"), hash(b"http://h/a?"));
    }
}
