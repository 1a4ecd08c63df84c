//! Builds trees from XML, so that the selectors used for HTML work on feeds and XHTML.
//!
//! A page that is not well-formed is an error that names the line. Fields found before
//! the error are not returned: a user could not tell them from a complete record.

mod attributes;
mod entities;
#[cfg(test)]
mod tests;

use ego_tree::NodeId;
use encoding_rs::Encoding;
use html5ever::tendril::StrTendril;
use html5ever::tree_builder::{NodeOrText, TreeSink as _, create_element};
use html5ever::{LocalName, Namespace, Prefix, QualName, ns};
use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::{NamespaceResolver, QName, ResolveResult};

use crate::ExtractError;
use crate::document::{Document, Language, Sink};
use crate::found::Deadline;
use crate::input::{Decoder, Input};
use entities::{Entities, Meaning};

/// Input decoded at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Events handled between two checks of the deadline.
const EVENTS_PER_LOOK: u32 = 256;

/// Reads the input to its end and builds a page's tree.
pub(crate) fn build(
    input: &mut Input<'_>,
    encoding: &'static Encoding,
    deadline: &Deadline,
) -> Result<Document, ExtractError> {
    let mut text = String::new();
    let mut decoder = Decoder::new(encoding, PIECE_BYTES);
    while let Some(piece) = decoder.next(input)? {
        deadline.check()?;
        text.push_str(piece);
    }
    let mut builder = Builder::new(deadline);
    let end = match stray_control(&text) {
        Some(at) => Err(Stop::Malformed { at, why: "control characters are not allowed in XML".to_owned() }),
        None => builder.content(&text, 0).and_then(|()| builder.end(text.len())),
    };
    match end {
        Ok(()) => Ok(builder.sink.finish()),
        Err(Stop::Failed(error)) => Err(error),
        Err(Stop::Malformed { at, why }) => {
            let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
            Err(ExtractError::Xml { line: memchr::memchr_iter(b'\n', before).count() + 1, why })
        }
    }
}

/// Why building ended early.
enum Stop {
    /// A limit was passed.
    Failed(ExtractError),
    /// The page is not well-formed.
    Malformed { at: usize, why: String },
}

/// A tree under construction.
struct Builder<'d> {
    sink: Sink,
    deadline: &'d Deadline,
    events: u32,
    entities: Entities,
    names: NamespaceResolver,
    /// The node that takes the children of each open element, outermost first.
    open: Vec<NodeId>,
    has_root: bool,
}

impl<'d> Builder<'d> {
    fn new(deadline: &'d Deadline) -> Self {
        Self {
            sink: Sink::new(Language::Xml),
            deadline,
            events: 0,
            entities: Entities::default(),
            names: NamespaceResolver::default(),
            open: Vec::new(),
            has_root: false,
        }
    }

    /// Adds the content of a document, or of an entity that is `depth` references deep.
    fn content(&mut self, text: &str, depth: usize) -> Result<(), Stop> {
        let mut reader = Reader::from_str(text);
        reader.config_mut().check_comments = true;
        let opened_before = self.open.len();
        loop {
            self.events = self.events.wrapping_add(1);
            if self.events.is_multiple_of(EVENTS_PER_LOOK) {
                self.deadline.check().map_err(Stop::Failed)?;
            }
            let place = |position: u64| usize::try_from(position).unwrap_or(text.len());
            let event = reader.read_event().map_err(|error| Stop::Malformed {
                at: place(reader.error_position()),
                why: plain_words(&error),
            })?;
            if event == Event::Eof {
                break;
            }
            let at = place(reader.buffer_position());
            self.handle(&event, at, depth).map_err(|stop| match stop {
                // An error inside an entity is reported at the reference to it.
                Fault::Stop(Stop::Malformed { why, .. }) | Fault::Why(why) => Stop::Malformed { at, why },
                Fault::Stop(failed @ Stop::Failed(_)) => failed,
            })?;
        }
        if self.open.len() == opened_before {
            return Ok(());
        }
        Err(Stop::Malformed { at: text.len(), why: "an element is not closed".to_owned() })
    }

    fn handle(&mut self, event: &Event<'_>, at: usize, depth: usize) -> Result<(), Fault> {
        match event {
            Event::Start(start) => self.start(start)?,
            Event::Empty(start) => {
                self.start(start)?;
                self.close();
            }
            Event::End(_) => self.close(),
            Event::Text(text) => self.text(&text.xml10_content())?,
            Event::CData(text) if self.open.is_empty() => {
                return Err(outside(text).into());
            }
            Event::CData(text) => self.text(&text.xml10_content())?,
            Event::GeneralRef(reference) => self.refer(reference, depth)?,
            Event::Comment(text) => {
                let comment = self.sink.create_comment(text.xml10_content().as_ref().into());
                self.append(NodeOrText::AppendNode(comment));
            }
            Event::PI(instruction) if instruction.target().eq_ignore_ascii_case("xml") => {
                return Err(Fault::Why("the XML declaration is not at the start".to_owned()));
            }
            Event::PI(one) => {
                let content = one.content().trim_start();
                let instruction = self.sink.create_pi(one.target().into(), content.into());
                self.append(NodeOrText::AppendNode(instruction));
            }
            Event::Decl(declaration) if at != declaration.len() + "<??>".len() || depth > 0 => {
                return Err(Fault::Why("the XML declaration is not at the start".to_owned()));
            }
            Event::DocType(declaration) => self.entities.declare(declaration)?,
            Event::Decl(_) | Event::Eof => {}
        }
        Ok(())
    }

    fn start(&mut self, start: &BytesStart<'_>) -> Result<(), String> {
        if self.open.is_empty() && self.has_root {
            return Err(format!("`<{}>` is a second root element", start.name().as_ref()));
        }
        self.has_root = true;
        self.names.push(start).map_err(|error| error.to_string())?;
        let name = self.name(start.name(), true)?;
        let attributes = self.attributes(start)?;
        let element = create_element(&self.sink, name, attributes);
        self.append(NodeOrText::AppendNode(element));
        self.open.push(self.sink.get_template_contents(&element));
        Ok(())
    }

    fn close(&mut self) {
        self.open.pop();
        self.names.pop();
    }

    /// Resolves the namespace of a name. The default namespace applies to elements only.
    fn name(&self, name: QName<'_>, is_element: bool) -> Result<QualName, String> {
        let written = name.as_ref();
        let (local, prefix) = name.decompose();
        if ![Some(local.as_ref()), prefix.as_ref().map(AsRef::as_ref)].into_iter().flatten().all(is_name) {
            return Err(format!("`{written}` is not a name"));
        }
        let namespace = match self.names.resolve_prefix(prefix, is_element) {
            ResolveResult::Bound(namespace) => Namespace::from(namespace.0),
            ResolveResult::Unbound => ns!(),
            ResolveResult::Unknown(prefix) => {
                return Err(format!("the prefix in `{prefix}:{}` is not declared", local.as_ref()));
            }
        };
        Ok(QualName::new(
            prefix.map(|prefix| Prefix::from(prefix.as_ref())),
            namespace,
            LocalName::from(local.as_ref()),
        ))
    }

    fn text(&mut self, text: &str) -> Result<(), String> {
        if self.open.is_empty() {
            let stray = text.trim_matches(is_blank);
            return if stray.is_empty() { Ok(()) } else { Err(outside(stray)) };
        }
        self.append(NodeOrText::AppendText(StrTendril::from_slice(text)));
        Ok(())
    }

    /// Replaces a reference in text. The replacement may contain elements.
    fn refer(&mut self, reference: &BytesRef<'_>, depth: usize) -> Result<(), Fault> {
        if self.open.is_empty() {
            return Err(outside(&format!("&{};", &**reference)).into());
        }
        match self.entities.meaning(reference)? {
            Meaning::Text(text) => self.text(&text)?,
            Meaning::Content(text) => {
                self.entities.enter(reference, text.len(), depth)?;
                self.content(&text, depth + 1).map_err(Fault::Stop)?;
            }
        }
        Ok(())
    }

    fn append(&self, child: NodeOrText<NodeId>) {
        let parent = self.open.last().copied().unwrap_or_else(|| self.sink.get_document());
        self.sink.append(&parent, child);
    }

    fn end(&self, at: usize) -> Result<(), Stop> {
        if self.has_root {
            return Ok(());
        }
        Err(Stop::Malformed { at, why: "the document has no root element".to_owned() })
    }
}

/// An error at an event, with or without a position of its own.
enum Fault {
    Stop(Stop),
    Why(String),
}

impl From<String> for Fault {
    fn from(why: String) -> Self {
        Self::Why(why)
    }
}

/// The error for text that may only appear inside the root element.
fn outside(text: &str) -> String {
    let shown: String = text.chars().take(20).collect();
    format!("`{shown}` is outside the root element")
}

/// The reader's message without its prefix, which our own message replaces.
fn plain_words(error: &quick_xml::Error) -> String {
    let said = error.to_string();
    let known = ["syntax error: ", "ill-formed document: "];
    known.iter().find_map(|known| said.strip_prefix(known)).unwrap_or(&said).to_owned()
}

/// The position of the first control character that XML does not allow.
fn stray_control(text: &str) -> Option<usize> {
    text.bytes().position(|byte| byte < b' ' && !is_blank(char::from(byte)))
}

/// White space in the sense of XML.
const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// Whether text is a valid prefix or local name. The few non-ASCII characters that XML
/// excludes from names are accepted.
fn is_name(name: &str) -> bool {
    let starts = |c: char| c.is_alphabetic() || c == '_';
    let goes_on = |c: char| c.is_alphanumeric() || "-_.\u{b7}\u{203f}\u{2040}".contains(c) || !c.is_ascii();
    name.starts_with(starts) && name.chars().all(goes_on)
}
