//! Extraction from HTML and XML: chooses the engine and puts the values together.
//!
//! CSS fields that take text or attributes, and the presets made of such fields,
//! are streamed. If the streaming engine gives up on a page, the tree engine reads it
//! again. A job that needs HTML, items, microdata or XPath uses the tree engine
//! for all its fields, and so does every page in XML.

use encoding_rs::Encoding;
use select::{Each, Field, Preset, Source};
use url::Url;
use wire::record::FieldValue;

use crate::charset::Charset;
use crate::document::Document;
use crate::dom::{self, Built, Dom};
use crate::each::Items;
use crate::found::{Deadline, Found, Values, nothing};
use crate::input::Input;
use crate::links::Links;
use crate::pick::Pick;
use crate::steps::{Around, Steps};
use crate::stream::{Stream, Streamed};
use crate::tree::Tree;
#[cfg(feature = "xpath")]
use crate::xpath::{Nodes, XPath};
use crate::{ExtractError, Rejected, microdata, presets, xml};

/// The language and the encoding of a page.
#[derive(Clone, Copy)]
pub(crate) enum Markup {
    Html(Charset),
    Xml(&'static Encoding),
}

impl Markup {
    pub(crate) const fn encoding(self) -> &'static Encoding {
        match self {
            Self::Html(charset) => charset.encoding,
            Self::Xml(encoding) => encoding,
        }
    }
}

/// A job, compiled for HTML and XML.
pub(crate) struct PageJob {
    picks: Vec<Pick>,
    dom: Dom,
    /// Present if all fields can be streamed.
    stream: Option<Stream>,
    columns: Vec<Column>,
}

/// How reading a page ended.
enum Reading {
    /// All fields are found.
    Streamed,
    /// The tree was built; some fields need it.
    Tree(Document),
    /// The page declares another encoding than the one it was decoded from.
    Redecode(&'static Encoding),
}

/// The source of a value of the record.
enum Column {
    Pick(usize, Steps),
    #[cfg(feature = "xpath")]
    XPath(XPath, Steps),
    /// A JSONPath, which matches nothing in HTML.
    Nothing {
        every: bool,
        steps: Steps,
    },
    Items(Items),
    JsonLd(usize),
    OpenGraph(usize),
    Meta(usize),
    Microdata,
}

impl Column {
    /// Whether it needs the tree itself.
    fn needs_tree(&self) -> bool {
        match self {
            Self::Items(_) | Self::Microdata => true,
            #[cfg(feature = "xpath")]
            Self::XPath(..) => true,
            Self::Pick(..) | Self::Nothing { .. } | Self::JsonLd(_) | Self::OpenGraph(_) | Self::Meta(_) => {
                false
            }
        }
    }
}

#[cfg(feature = "xpath")]
impl Column {
    fn needs_nodes(&self) -> bool {
        match self {
            Self::XPath(..) => true,
            Self::Items(items) => items.needs_nodes(),
            Self::Pick(..)
            | Self::Nothing { .. }
            | Self::JsonLd(_)
            | Self::OpenGraph(_)
            | Self::Meta(_)
            | Self::Microdata => false,
        }
    }
}

impl PageJob {
    pub(crate) fn new(fields: &[Field], each: Option<&Each>, presets: &[Preset]) -> Result<Self, Rejected> {
        let mut picks = Vec::new();
        let mut columns = Vec::new();
        match each {
            Some(each) => columns.push(Column::Items(Items::new(each, fields)?)),
            None => {
                for field in fields {
                    columns.push(column(field, &mut picks)?);
                }
            }
        }
        for preset in presets {
            let n = picks.len();
            picks.extend(Pick::of_preset(*preset));
            columns.push(match preset {
                Preset::JsonLd => Column::JsonLd(n),
                Preset::OpenGraph => Column::OpenGraph(n),
                Preset::Meta => Column::Meta(n),
                Preset::Microdata => Column::Microdata,
            });
        }
        let needs_tree = columns.iter().any(Column::needs_tree);
        let stream = if needs_tree { None } else { Stream::new(&picks) };
        Ok(Self { dom: Dom::new(&picks)?, stream, picks, columns })
    }

    /// Whether the job has anything to find in HTML.
    pub(crate) fn reads(&self) -> bool {
        !self.columns.iter().all(|column| matches!(column, Column::Nothing { .. }))
    }

    /// The values of one page in order, and its encoding.
    pub(crate) fn run(
        &self,
        input: &mut Input<'_>,
        mut markup: Markup,
        url: Option<&Url>,
        deadline: &Deadline,
    ) -> Result<(Vec<FieldValue>, &'static Encoding), ExtractError> {
        let mut found = Found::new(self.picks.len());
        let tree = loop {
            match self.read(input, markup, deadline, &mut found)? {
                Reading::Streamed => break None,
                Reading::Tree(page) => break Some(page),
                Reading::Redecode(declared) => markup = Markup::Html(Charset::certain(declared)),
            }
            input.rewind()?;
            found.clear();
        };
        let encoding = markup.encoding();
        let links = Links::new(url, found.base_href(), encoding);
        let values = self.finish(&mut found, tree.as_ref(), Around { links: &links, deadline })?;
        Ok((values, encoding))
    }

    /// Reads a page until nothing later in it can change a field.
    fn read(
        &self,
        input: &mut Input<'_>,
        markup: Markup,
        deadline: &Deadline,
        found: &mut Found,
    ) -> Result<Reading, ExtractError> {
        if !self.reads() {
            return Ok(Reading::Streamed);
        }
        let page = match markup {
            Markup::Xml(encoding) => xml::build(input, encoding, deadline)?,
            Markup::Html(charset) => {
                match self.streamed(input, charset, deadline, found)? {
                    Streamed::Done => return Ok(Reading::Streamed),
                    Streamed::Redecode(declared) => return Ok(Reading::Redecode(declared)),
                    Streamed::NeedsTree => {}
                }
                match dom::build(input, charset, deadline)? {
                    Built::Redecode(declared) => return Ok(Reading::Redecode(declared)),
                    Built::Page(page) => page,
                }
            }
        };
        self.dom.collect(&page, deadline, found)?;
        Ok(Reading::Tree(page))
    }

    /// Streams a page if possible; otherwise leaves it at its start.
    fn streamed(
        &self,
        input: &mut Input<'_>,
        charset: Charset,
        deadline: &Deadline,
        found: &mut Found,
    ) -> Result<Streamed, ExtractError> {
        let Some(stream) = &self.stream else { return Ok(Streamed::NeedsTree) };
        let streamed = stream.run(&self.picks, input, charset, deadline, found)?;
        if streamed == Streamed::NeedsTree {
            input.rewind()?;
            found.clear();
        }
        Ok(streamed)
    }

    fn finish(
        &self,
        found: &mut Found,
        tree: Option<&Document>,
        around: Around<'_>,
    ) -> Result<Vec<FieldValue>, ExtractError> {
        // Values taken from the tree come first, because they count towards the same limit.
        let tree = match tree {
            Some(page) => Some(self.tree(page, around)?),
            None => None,
        };
        let mut of_tree = Vec::new();
        for column in &self.columns {
            of_tree.push(match &tree {
                Some(tree) => column.of_tree(tree, found, around)?,
                None => None,
            });
        }
        let values = found.read();
        let finished = self.columns.iter().zip(of_tree).map(|(column, value)| match value {
            Some(value) => Ok(value),
            None => self.of_picks(column, values, around),
        });
        finished.collect()
    }

    #[cfg(feature = "xpath")]
    fn tree<'p>(&self, page: &'p Document, around: Around<'_>) -> Result<Tree<'p>, ExtractError> {
        let wanted = self.columns.iter().any(Column::needs_nodes);
        let nodes = if wanted { Some(Nodes::of(page, around.deadline)?) } else { None };
        Ok(Tree { page, nodes })
    }

    #[cfg(not(feature = "xpath"))]
    fn tree<'p>(&self, page: &'p Document, around: Around<'_>) -> Result<Tree<'p>, ExtractError> {
        around.deadline.check()?;
        Ok(Tree { page })
    }

    fn of_picks(
        &self,
        column: &Column,
        values: Values<'_>,
        around: Around<'_>,
    ) -> Result<FieldValue, ExtractError> {
        match column {
            Column::Pick(n, steps) => match self.picks.get(*n) {
                Some(pick) => steps.run(values.of(*n, pick, around.links), around),
                None => Ok(FieldValue::Null),
            },
            Column::Nothing { every, steps } => steps.run(nothing(*every), around),
            Column::JsonLd(n) => presets::json_ld(values.texts(*n), around.deadline),
            Column::OpenGraph(n) => Ok(presets::open_graph(values.texts(*n))),
            Column::Meta(n) => Ok(presets::meta(values.texts(*n))),
            #[cfg(feature = "xpath")]
            Column::XPath(..) => Ok(FieldValue::Null),
            Column::Items(_) | Column::Microdata => Ok(FieldValue::Null),
        }
    }
}

impl Column {
    fn of_tree(
        &self,
        tree: &Tree<'_>,
        found: &mut Found,
        around: Around<'_>,
    ) -> Result<Option<FieldValue>, ExtractError> {
        match self {
            Self::Items(items) => items.of_page(tree, found, around).map(Some),
            Self::Microdata => microdata::items(&tree.page.html, found, around).map(Some),
            #[cfg(feature = "xpath")]
            Self::XPath(xpath, steps) => {
                let value = match &tree.nodes {
                    Some(nodes) => xpath.of_page(nodes, found, around)?,
                    None => FieldValue::Null,
                };
                steps.run(value, around).map(Some)
            }
            Self::Pick(..) | Self::Nothing { .. } | Self::JsonLd(_) | Self::OpenGraph(_) | Self::Meta(_) => {
                Ok(None)
            }
        }
    }
}

fn column(field: &Field, picks: &mut Vec<Pick>) -> Result<Column, Rejected> {
    let steps = Steps::new(field)?;
    Ok(match &field.source {
        Source::Css { .. } => {
            let n = picks.len();
            picks.extend(Pick::of_field(field));
            Column::Pick(n, steps)
        }
        Source::JsonPath(_) => Column::Nothing { every: field.every, steps },
        #[cfg(feature = "xpath")]
        Source::XPath(text) => Column::XPath(XPath::new(text, field.every)?, steps),
        #[cfg(not(feature = "xpath"))]
        Source::XPath(_) => return Err(Rejected::NoXPath),
    })
}
