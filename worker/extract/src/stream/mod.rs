//! The streaming engine: one pass over a page's bytes, no tree.
//!
//! It gives the same values as the tree engine, or it gives the page up; [`tree`] lists
//! what it gives up. The tokenizer skips everything that no field needs,
//! so most of a page is only searched for `<`.
//!
//! lol_html was tried instead. It does not report stray end tags, which
//! decide what is open in a table. It also cannot tell which elements a browser opens
//! twice. Without both, the values would differ from those of a tree.

mod decode;
mod matcher;
mod tag;
mod token;
mod tree;

use encoding_rs::Encoding;

use crate::ExtractError;
use crate::charset::Charset;
use crate::found::{Deadline, Found};
use crate::input::{Decoder, Input, is_utf8};
use crate::pick::{Pick, Take};
use matcher::Matcher;
use tag::{Key, Tag};
use token::{Attribute, Attributes, Markup, RawText};
use tree::{StartTag, Stop, Tree};

/// Tokens between two checks of the deadline: 4096 of the slowest take about a millisecond.
const TOKENS_PER_LOOK: u32 = 4096;

/// Input decoded at once if a page is not in UTF-8.
const PIECE_BYTES: usize = 16 * 1024;

/// A job's selectors, compiled for streaming.
pub(crate) struct Stream {
    matcher: Matcher,
}

/// How streaming a page ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Streamed {
    /// Every field has its final answer.
    Done,
    /// The page is too irregular; the values found so far are not valid.
    NeedsTree,
    /// The page declares another encoding than the one it was decoded from.
    Redecode(&'static Encoding),
}

impl Stream {
    /// Compiles the selectors; `None` if one of them cannot be matched in one pass.
    pub(crate) fn new(picks: &[Pick]) -> Option<Self> {
        if picks.iter().any(|pick| pick.take == Take::Html) {
            return None;
        }
        Matcher::new(picks).map(|matcher| Self { matcher })
    }

    /// Reads the input until every field is answered or the input ends.
    pub(crate) fn run(
        &self,
        picks: &[Pick],
        input: &mut Input<'_>,
        charset: Charset,
        deadline: &Deadline,
        found: &mut Found,
    ) -> Result<Streamed, ExtractError> {
        let mut pass = Pass::new(Tree::new(&self.matcher, picks, charset, found), deadline);
        let end = if is_utf8(charset.encoding) {
            pass.read_utf8(input)
        } else {
            pass.read_decoded(input, &mut Decoder::new(charset.encoding, PIECE_BYTES))
        };
        match end {
            Ok(()) => Ok(Streamed::Done),
            Err(Stop::Irregular) => Ok(Streamed::NeedsTree),
            Err(Stop::Redecode(declared)) => Ok(Streamed::Redecode(declared)),
            Err(Stop::Failed(error)) => Err(error),
        }
    }
}

/// One pass over one page.
struct Pass<'j> {
    tree: Tree<'j>,
    deadline: &'j Deadline,
    tokens: u32,
    /// Set inside an element whose content is not markup.
    raw: Option<Raw>,
    /// The start of an incomplete token.
    rest: Vec<u8>,
    /// The length of `rest` at which to try again. It doubles each time, so that
    /// a token of any length is read at most twice on average.
    rest_wanted: usize,
    attributes: Vec<Attribute>,
}

#[derive(Debug, Clone, Copy)]
struct Raw {
    kind: RawText,
    key: Key,
    name_len: usize,
}

/// Whether the rest of a page is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Goes,
    Answered,
}

impl From<ExtractError> for Stop {
    fn from(error: ExtractError) -> Self {
        Self::Failed(error)
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl<'j> Pass<'j> {
    fn new(tree: Tree<'j>, deadline: &'j Deadline) -> Self {
        Self {
            tree,
            deadline,
            tokens: 0,
            raw: None,
            rest: Vec::new(),
            rest_wanted: 0,
            attributes: Vec::new(),
        }
    }

    /// Reads bytes that are UTF-8 in place.
    fn read_utf8(&mut self, input: &mut Input<'_>) -> Result<(), Stop> {
        loop {
            let piece = input.fill()?;
            if piece.is_empty() {
                return self.finish();
            }
            let (progress, used) = self.feed(piece)?;
            input.consume(used);
            if progress == Progress::Answered {
                return Ok(());
            }
        }
    }

    fn read_decoded(&mut self, input: &mut Input<'_>, decoder: &mut Decoder) -> Result<(), Stop> {
        while let Some(text) = decoder.next(input)? {
            if self.feed(text.as_bytes())?.0 == Progress::Answered {
                return Ok(());
            }
        }
        self.finish()
    }

    /// Reads the next piece, and returns how much of it was used.
    fn feed(&mut self, piece: &[u8]) -> Result<(Progress, usize), Stop> {
        if self.rest.is_empty() {
            let (progress, used) = self.scan(piece, false)?;
            if progress == Progress::Answered {
                return Ok((progress, used));
            }
            self.keep(piece.get(used..).unwrap_or_default());
            return Ok((Progress::Goes, piece.len()));
        }
        self.rest.extend_from_slice(piece);
        if self.rest.len() < self.rest_wanted {
            return Ok((Progress::Goes, piece.len()));
        }
        let whole = std::mem::take(&mut self.rest);
        let (progress, used) = self.scan(&whole, false)?;
        self.keep(whole.get(used..).unwrap_or_default());
        Ok((progress, piece.len()))
    }

    fn keep(&mut self, rest: &[u8]) {
        self.rest.extend_from_slice(rest);
        self.rest_wanted = rest.len() * 2;
    }

    fn finish(&mut self) -> Result<(), Stop> {
        let whole = std::mem::take(&mut self.rest);
        self.scan(&whole, true)?;
        self.tree.finish()
    }

    /// Reads `data` token by token, and returns where the last complete token ends.
    fn scan(&mut self, data: &[u8], is_last: bool) -> Result<(Progress, usize), Stop> {
        let mut at = 0;
        loop {
            if self.tree.is_answered() {
                return Ok((Progress::Answered, at));
            }
            self.tokens = self.tokens.wrapping_add(1);
            if self.tokens.is_multiple_of(TOKENS_PER_LOOK) {
                self.deadline.check()?;
            }
            let next = match self.raw {
                Some(raw) => self.raw_text(data, at, raw, is_last)?,
                None => self.token(data, at, is_last)?,
            };
            match next {
                Some(next) => at = next,
                None => return Ok((Progress::Goes, at)),
            }
        }
    }

    /// Reads the text or the markup at `at`, and returns where the next token starts.
    // Runs once per token and has one caller. Without inlining it takes 6 % more instructions.
    #[inline(always)]
    fn token(&mut self, data: &[u8], at: usize, is_last: bool) -> Result<Option<usize>, Stop> {
        let rest = data.get(at..).unwrap_or_default();
        // The turn before has found that this `<` is text.
        let Some(length) = token::find(b'<', rest) else {
            if is_last && !rest.is_empty() {
                self.tree.text(rest)?;
            }
            return Ok(None);
        };
        if length > 0 {
            self.tree.text(rest.get(..length).unwrap_or_default())?;
            // The markup may be incomplete, and the text before it must not be read again.
            return Ok(Some(at + length));
        }
        let next = match token::markup(data, at) {
            Some(Markup::Start(name)) => self.start(data, name.start, name.end)?,
            Some(Markup::End(name)) => match token::skip_attributes(data, name.end) {
                Some(end) => {
                    let key = Key::of(data.get(name).unwrap_or_default());
                    self.tree.end(Tag::of(key), key)?;
                    Some(end)
                }
                None => None,
            },
            Some(Markup::Doctype(declaration, end)) => {
                self.tree.doctype(data.get(declaration).unwrap_or_default());
                Some(end)
            }
            Some(Markup::Cdata(_)) if self.tree.is_in_foreign() => return Err(Stop::Irregular),
            Some(Markup::Comment(end) | Markup::Cdata(end)) => {
                self.tree.comment();
                Some(end)
            }
            Some(Markup::Text) => {
                self.tree.text(b"<")?;
                Some(at + 1)
            }
            None => None,
        };
        if next.is_none() && is_last {
            match data.get(at..).unwrap_or_default() {
                open @ (b"<" | b"</") => self.tree.text(open)?,
                // Plain text ends with the page.
                open if open.starts_with(b"<![CDATA[") && self.tree.is_in_foreign() => {
                    return Err(Stop::Irregular);
                }
                _ => {}
            }
        }
        Ok(next)
    }

    fn start(&mut self, data: &[u8], name_start: usize, name_end: usize) -> Result<Option<usize>, Stop> {
        let mut name = data.get(name_start..name_end).unwrap_or_default();
        let mut key = Key::of(name);
        let mut tag = Tag::of(key);
        if tag == Tag::Image && !self.tree.is_in_foreign() {
            // The only name that the standard replaces.
            (tag, key, name) = (Tag::Img, Tag::Img.key(), b"img");
        }
        let (end, attributes, is_self_closing) = if self.tree.wants_attributes(tag, key) {
            self.attributes.clear();
            let list = &mut self.attributes;
            let Some(end) = token::attributes(data, name_end, &mut |attribute| list.push(attribute)) else {
                return Ok(None);
            };
            (end.at, Attributes { data, list: &self.attributes }, end.is_self_closing)
        } else {
            let Some(end) = token::skip_attributes(data, name_end) else {
                return Ok(None);
            };
            (end, Attributes::NONE, false)
        };
        let start = StartTag { tag, key, name, attributes, is_self_closing };
        if let Some(kind) = self.tree.start(&start)? {
            self.raw = Some(Raw { kind, key, name_len: name.len() });
        }
        Ok(Some(end))
    }

    fn raw_text(&mut self, data: &[u8], at: usize, raw: Raw, is_last: bool) -> Result<Option<usize>, Stop> {
        let Some(end) = token::raw_text_end(data, at, raw.kind, raw.key, raw.name_len) else {
            if is_last {
                self.raw = None;
                self.tree.raw_text(data.get(at..).unwrap_or_default(), raw.kind)?;
            }
            return Ok(None);
        };
        let next = token::skip_attributes(data, end.name);
        if next.is_none() && !is_last {
            return Ok(None);
        }
        self.raw = None;
        self.tree.raw_text(data.get(at..end.text).unwrap_or_default(), raw.kind)?;
        Ok(next)
    }
}
