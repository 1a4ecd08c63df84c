//! Serializes elements.

use std::io::Write as _;

use ego_tree::NodeRef;
use ego_tree::iter::Edge;
use html5ever::QualName;
use html5ever::serialize::{HtmlSerializer, SerializeOpts, Serializer as _, TraversalScope};
use quick_xml::escape::{escape, partial_escape};
use scraper::{ElementRef, Node};

use crate::ExtractError;
use crate::document::{Document, Language};

/// Appends an element with its tags and content: XML as it was read, HTML as the standard
/// serializes fragments (section 13.3), which includes the contents of templates.
///
/// # Errors
/// Does not fail: writing to memory always succeeds.
pub(crate) fn outer(page: &Document, element: ElementRef<'_>, out: &mut Vec<u8>) -> Result<(), ExtractError> {
    match page.language {
        Language::Html => html(page, element, out),
        Language::Xml => element.traverse().try_for_each(|edge| xml(edge, out)),
    }
    .map_err(ExtractError::Read)
}

fn html(page: &Document, element: ElementRef<'_>, out: &mut Vec<u8>) -> std::io::Result<()> {
    let options = SerializeOpts {
        // The page was parsed without scripts, so the content of `<noscript>` is markup.
        scripting_enabled: false,
        traversal_scope: TraversalScope::IncludeNode,
        create_missing_parent: true,
    };
    let mut to = HtmlSerializer::new(out, options);
    // Templates may be nested to any depth, so this uses a stack instead of recursion.
    let mut trees = vec![element.traverse()];
    while let Some(tree) = trees.last_mut() {
        let Some(edge) = tree.next() else {
            trees.pop();
            continue;
        };
        match edge {
            Edge::Open(node) => match node.value() {
                Node::Element(own) => {
                    let attributes = own.attrs.iter().map(|(name, value)| (name, &**value));
                    to.start_elem(own.name.clone(), attributes)?;
                    trees.extend(page.template_contents(node.id()).map(|contents| contents.traverse()));
                }
                Node::Text(text) => to.write_text(text)?,
                Node::Comment(comment) => to.write_comment(comment)?,
                Node::ProcessingInstruction(one) => {
                    to.write_processing_instruction(&one.target, &one.data)?
                }
                Node::Document | Node::Fragment | Node::Doctype(_) => {}
            },
            Edge::Close(node) => {
                if let Node::Element(own) = node.value() {
                    to.end_elem(own.name.clone())?;
                }
            }
        }
    }
    Ok(())
}

fn xml(edge: Edge<'_, Node>, out: &mut Vec<u8>) -> std::io::Result<()> {
    match edge {
        Edge::Open(node) => match node.value() {
            Node::Element(own) => {
                write!(out, "<{}", Written(&own.name))?;
                for (name, value) in &own.attrs {
                    write!(out, " {}=\"{}\"", Written(name), escape(&**value))?;
                }
                out.write_all(if node.has_children() { b">" } else { b"/>" })
            }
            Node::Text(text) => out.write_all(partial_escape(&**text).as_bytes()),
            Node::Comment(comment) => write!(out, "<!--{}-->", &**comment),
            Node::ProcessingInstruction(one) => write!(out, "<?{} {}?>", one.target, one.data),
            Node::Document | Node::Fragment | Node::Doctype(_) => Ok(()),
        },
        Edge::Close(node) => close(node, out),
    }
}

fn close(node: NodeRef<'_, Node>, out: &mut Vec<u8>) -> std::io::Result<()> {
    if let Node::Element(own) = node.value()
        && node.has_children()
    {
        write!(out, "</{}>", Written(&own.name))?;
    }
    Ok(())
}

/// A qualified name.
struct Written<'a>(&'a QualName);

impl std::fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0.prefix {
            Some(prefix) => write!(f, "{prefix}:{}", self.0.local),
            None => f.write_str(&self.0.local),
        }
    }
}
