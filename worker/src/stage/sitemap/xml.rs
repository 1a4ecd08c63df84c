//! Sitemaps in XML, read event by event: only what stands directly in an entry
//! counts, whatever other namespaces put beside it or deeper down.
//!
//! Forgiving where nothing is lost by it: an ampersand that nobody escaped, and
//! a reference that nothing here defines, stand for themselves.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::QName;
use shared::sitemap::{Entry, Found};

use super::{Listed, SitemapError};

/// How deep an entry's parts are: `urlset/url/loc`.
const PART_DEPTH: u64 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Loc,
    LastMod,
    ChangeFreq,
    Priority,
}

impl Part {
    fn named(name: &str) -> Option<Self> {
        match name {
            "loc" => Some(Self::Loc),
            "lastmod" => Some(Self::LastMod),
            "changefreq" => Some(Self::ChangeFreq),
            "priority" => Some(Self::Priority),
            _ => None,
        }
    }
}

/// Where reading stands.
#[derive(Default)]
struct State {
    listed: Listed,
    depth: u64,
    /// The prefix of the outermost element, once there is one; the parts of the protocol have the same.
    prefix: Option<String>,
    begun: bool,
    entry: Option<Entry>,
    part: Option<Part>,
    text: String,
}

/// Reads a document.
pub(super) fn read(text: &str) -> Result<Found, SitemapError> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().allow_dangling_amp = true;
    let mut state = State::default();
    loop {
        let event = reader.read_event().map_err(|error| SitemapError::Malformed {
            at: reader.error_position(),
            why: error.to_string(),
        })?;
        match event {
            Event::Start(start) => state.open(&start)?,
            Event::Empty(start) => {
                state.open(&start)?;
                state.close()?;
            }
            Event::End(_) => state.close()?,
            Event::Text(text) => state.say(&text),
            Event::CData(text) => state.say(&text),
            Event::GeneralRef(reference) => state.refer(&reference),
            Event::Eof => return state.end(),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

impl State {
    fn open(&mut self, start: &BytesStart<'_>) -> Result<(), SitemapError> {
        self.depth += 1;
        let name = start.name();
        let local = name.local_name();
        match self.depth {
            1 => {
                self.listed.is_index = match local.as_ref() {
                    _ if self.begun => return Err(SitemapError::Root(name.as_ref().to_owned())),
                    "urlset" => false,
                    "sitemapindex" => true,
                    _ => return Err(SitemapError::Root(name.as_ref().to_owned())),
                };
                self.begun = true;
                self.prefix = prefix(&name).map(str::to_owned);
            }
            2 => {
                let wanted = if self.listed.is_index { "sitemap" } else { "url" };
                let is_entry = self.is_of_protocol(&name) && local.as_ref() == wanted;
                self.entry = is_entry.then(Entry::default);
            }
            PART_DEPTH if self.entry.is_some() && self.is_of_protocol(&name) => {
                self.part = Part::named(local.as_ref());
                self.text.clear();
            }
            _ => {}
        }
        Ok(())
    }

    fn is_of_protocol(&self, name: &QName<'_>) -> bool {
        prefix(name) == self.prefix.as_deref()
    }

    fn say(&mut self, text: &str) {
        if self.part.is_some() && self.depth == PART_DEPTH {
            self.text.push_str(text);
        }
    }

    fn refer(&mut self, reference: &BytesRef<'_>) {
        if self.part.is_none() || self.depth != PART_DEPTH {
            return;
        }
        let name: &str = reference;
        let meant = match name {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => reference.resolve_char_ref().ok().flatten(),
        };
        match meant {
            Some(letter) => self.text.push(letter),
            None => {
                self.text.push('&');
                self.text.push_str(name);
                self.text.push(';');
            }
        }
    }

    fn close(&mut self) -> Result<(), SitemapError> {
        match self.depth {
            2 => {
                if let Some(entry) = self.entry.take() {
                    self.listed.push(entry)?;
                }
            }
            PART_DEPTH => {
                if let (Some(part), Some(entry)) = (self.part.take(), &mut self.entry) {
                    let text = self.text.trim().to_owned();
                    match part {
                        // The first counts, as everywhere.
                        Part::Loc if entry.loc.is_empty() => entry.loc = text,
                        Part::Loc => {}
                        Part::LastMod => drop(entry.lastmod.get_or_insert(text)),
                        Part::ChangeFreq => drop(entry.changefreq.get_or_insert(text)),
                        Part::Priority => drop(entry.priority.get_or_insert(text)),
                    }
                }
            }
            _ => {}
        }
        self.depth = self.depth.saturating_sub(1);
        Ok(())
    }

    fn end(self) -> Result<Found, SitemapError> {
        let root = if self.listed.is_index { "sitemapindex" } else { "urlset" };
        match () {
            () if !self.begun => Err(SitemapError::Empty),
            () if self.depth > 0 => Err(SitemapError::CutShort(root.to_owned())),
            () => Ok(self.listed.found()),
        }
    }
}

fn prefix<'a>(name: &'a QName<'_>) -> Option<&'a str> {
    name.as_ref().split_once(':').map(|(prefix, _)| prefix)
}
