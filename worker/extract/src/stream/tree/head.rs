//! What comes before the body: doctype, `html`, `head` and the content of the head.

use html5ever::parse_document;
use html5ever::tendril::TendrilSink as _;
use html5ever::tree_builder::QuirksMode;
use scraper::{Html, HtmlTreeSink};
use selectors::attr::CaseSensitivity;

use super::{Key, Phase, Quirks, RawText, StartTag, Step, Stop, Tag, Tree, decode, is_space};
use crate::charset;

impl Tree<'_> {
    pub(super) fn start_before_body(&mut self, start: &StartTag<'_>) -> Step<Option<RawText>> {
        loop {
            match (self.phase, start.tag) {
                (Phase::Initial, _) => self.phase = Phase::BeforeHtml,
                (Phase::BeforeHtml, Tag::Html) => {
                    self.push(start)?;
                    self.phase = Phase::BeforeHead;
                    return Ok(None);
                }
                (_, Tag::Html) => return self.ignore_unless_attributes(start),
                (Phase::BeforeHead, Tag::Head) => {
                    self.open_head(start)?;
                    return Ok(None);
                }
                (Phase::InHead | Phase::InHeadNoscript | Phase::AfterHead, Tag::Head)
                | (Phase::InHeadNoscript, Tag::Noscript) => return Ok(None),
                (Phase::InHead, Tag::Noscript) => {
                    self.push(start)?;
                    self.phase = Phase::InHeadNoscript;
                    return Ok(None);
                }
                (Phase::InHead | Phase::AfterHead, Tag::Template) | (Phase::AfterHead, Tag::Frameset) => {
                    return Err(Stop::Irregular);
                }
                (Phase::InHead | Phase::AfterHead, Tag::Base | Tag::Title | Tag::Script)
                | (
                    Phase::InHead | Phase::InHeadNoscript | Phase::AfterHead,
                    Tag::Basefont | Tag::Bgsound | Tag::Link | Tag::Meta | Tag::Noframes | Tag::Style,
                ) => return self.start_head_element(start),
                (Phase::AfterHead, Tag::Body) => {
                    self.push(start)?;
                    self.is_frameset_ok = false;
                    self.phase = Phase::InBody;
                    return Ok(None);
                }
                (Phase::InBody, _) => return self.start(start),
                _ => self.advance()?,
            }
        }
    }

    pub(super) fn end_before_body(&mut self, tag: Tag, key: Key) -> Step {
        loop {
            match (self.phase, tag) {
                (Phase::Initial, _) => self.phase = Phase::BeforeHtml,
                (Phase::InHead, Tag::Head) | (Phase::InHeadNoscript, Tag::Noscript) => return self.advance(),
                (Phase::BeforeHtml | Phase::BeforeHead, Tag::Head | Tag::Body | Tag::Html | Tag::Br)
                | (Phase::InHead | Phase::AfterHead, Tag::Body | Tag::Html | Tag::Br)
                | (Phase::InHeadNoscript, Tag::Br) => self.advance()?,
                (Phase::InBody, _) => return self.end(tag, key),
                _ => return Ok(()),
            }
        }
    }

    /// Handles text before the body, and returns the part that belongs in the body.
    pub(super) fn text_before_body<'a>(&mut self, text: &'a [u8]) -> Step<&'a [u8]> {
        let blank = text.iter().position(|byte| !is_space(*byte)).unwrap_or(text.len());
        let (blank, rest) = text.split_at_checked(blank).unwrap_or((text, b""));
        if matches!(self.phase, Phase::InHead | Phase::InHeadNoscript | Phase::AfterHead) {
            self.append(blank)?;
        }
        if !rest.is_empty() {
            self.open_body()?;
        }
        Ok(rest)
    }

    /// Opens the missing elements up to the body.
    pub(super) fn open_body(&mut self) -> Step {
        while self.phase != Phase::InBody {
            self.advance()?;
        }
        Ok(())
    }

    /// Ends the current phase without a tag for it.
    fn advance(&mut self) -> Step {
        match self.phase {
            Phase::Initial => self.phase = Phase::BeforeHtml,
            Phase::BeforeHtml => {
                self.push_implied(Tag::Html)?;
                self.phase = Phase::BeforeHead;
            }
            Phase::BeforeHead => self.open_head(&super::implied(Tag::Head))?,
            Phase::InHead => {
                self.pop()?;
                self.phase = Phase::AfterHead;
            }
            Phase::InHeadNoscript => {
                self.pop()?;
                self.phase = Phase::InHead;
            }
            Phase::AfterHead => {
                self.push_implied(Tag::Body)?;
                self.phase = Phase::InBody;
            }
            Phase::InBody => {}
        }
        Ok(())
    }

    fn open_head(&mut self, start: &StartTag<'_>) -> Step {
        self.push(start)?;
        self.phase = Phase::InHead;
        self.in_head = self.above();
        self.head_was_captured = !self.captures.is_empty();
        Ok(())
    }

    /// An element of the head, in the head, after it or in the body.
    pub(super) fn start_head_element(&mut self, start: &StartTag<'_>) -> Step<Option<RawText>> {
        let above = if self.phase == Phase::AfterHead {
            // It goes into the head, which is closed and may no longer collect text.
            if self.head_was_captured {
                return Err(Stop::Irregular);
            }
            self.in_head
        } else {
            self.above()
        };
        let kind = match start.tag {
            Tag::Title => RawText::WithEntities,
            Tag::Noframes | Tag::Style => RawText::Plain,
            Tag::Script => RawText::Script,
            _ => {
                match start.tag {
                    Tag::Base => self.note_base(start),
                    Tag::Meta => self.note_charset(start)?,
                    _ => {}
                }
                self.pass_below(start, above)?;
                return Ok(None);
            }
        };
        self.push_below(start, above)?;
        Ok(Some(kind))
    }

    fn note_base(&mut self, start: &StartTag<'_>) {
        if !self.found.has_base()
            && let Some(href) = start.attributes.get("href")
        {
            self.found.set_base(&decode::attribute(href));
        }
    }

    fn note_charset(&mut self, start: &StartTag<'_>) -> Step {
        if !self.charset.is_tentative() {
            return Ok(());
        }
        let value = |name| start.attributes.get(name).map(decode::attribute);
        let pragma = || value("http-equiv").filter(|kind| kind.eq_ignore_ascii_case("content-type"));
        let label = match value("charset") {
            Some(label) => Some(label.as_bytes().to_vec()),
            None => pragma()
                .and_then(|_| value("content"))
                .and_then(|content| charset::parameter(content.as_bytes()).map(<[u8]>::to_vec)),
        };
        match label.and_then(|label| self.charset.declare(&label)) {
            Some(other) => Err(Stop::Redecode(other)),
            None => Ok(()),
        }
    }

    /// A second `html` or `body` tag adds its attributes to the first. The first may then
    /// match other selectors.
    pub(super) fn ignore_unless_attributes(&mut self, start: &StartTag<'_>) -> Step<Option<RawText>> {
        if start.attributes.is_empty() { Ok(None) } else { Err(Stop::Irregular) }
    }
}

impl Quirks {
    /// How classes and ids are compared.
    pub(super) const fn case(self) -> CaseSensitivity {
        match self {
            Self::Yes => CaseSensitivity::AsciiCaseInsensitive,
            Self::No => CaseSensitivity::CaseSensitive,
        }
    }
}

/// Whether a doctype means quirks mode. The doctype of nearly every page is recognized here;
/// the tree engine knows the long list of the others.
pub(super) fn quirks(declaration: &[u8]) -> Quirks {
    if declaration.trim_ascii().eq_ignore_ascii_case(b"html") {
        return Quirks::No;
    }
    let doctype = format!("<!doctype{}>", String::from_utf8_lossy(declaration));
    let parser = parse_document(HtmlTreeSink::new(Html::new_document()), html5ever::ParseOpts::default());
    match parser.one(doctype).quirks_mode {
        QuirksMode::Quirks => Quirks::Yes,
        QuirksMode::LimitedQuirks | QuirksMode::NoQuirks => Quirks::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_doctypes_are_known() {
        for (declaration, expected) in [
            (" html", Quirks::No),
            (" HTML ", Quirks::No),
            (
                " html PUBLIC \"-//W3C//DTD HTML 4.01//EN\" \"http://www.w3.org/TR/html4/strict.dtd\"",
                Quirks::No,
            ),
            (" HTML PUBLIC \"-//W3C//DTD HTML 4.01 Transitional//EN\" \"http://x/loose.dtd\"", Quirks::No),
            (" HTML PUBLIC \"-//W3C//DTD HTML 4.01 Transitional//EN\"", Quirks::Yes),
            (" html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\" \"http://x/t.dtd\"", Quirks::No),
            (" html PUBLIC \"-//W3C//DTD HTML 3.2 Final//EN\"", Quirks::Yes),
            (" html PUBLIC '-//W3C//DTD HTML 4.01//EN'", Quirks::No),
            (" html SYSTEM 'http://www.ibm.com/data/dtd/v11/ibmxhtml1-transitional.dtd'", Quirks::Yes),
            (" html SYSTEM 'about:legacy-compat'", Quirks::No),
            (" html PUBLIC", Quirks::Yes),
            (" svg", Quirks::Yes),
            ("html", Quirks::No),
            ("", Quirks::Yes),
        ] {
            assert_eq!(quirks(declaration.as_bytes()), expected, "{declaration}");
        }
    }
}
