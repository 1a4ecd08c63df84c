//! A page's tree, with what XPath needs beside it.

use crate::document::Document;
#[cfg(feature = "xpath")]
use crate::xpath::Nodes;

/// A page's tree, and its nodes in document order if the job has any XPath.
pub(crate) struct Tree<'p> {
    pub(crate) page: &'p Document,
    #[cfg(feature = "xpath")]
    pub(crate) nodes: Option<Nodes<'p>>,
}
