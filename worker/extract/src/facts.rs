//! Facts that many pseudo-classes depend on, computed once per page. To search the page
//! for each element would take time quadratic in the size of the page.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;

use ego_tree::NodeId;
use select::css::Direction;

/// The facts about a page that were needed so far.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// The language from `<meta>`.
    pub(crate) language: OnceCell<Option<String>>,
    /// The first element with each id.
    pub(crate) ids: OnceCell<HashMap<String, NodeId>>,
    /// The checked radio button of each group, which is a name and a form.
    pub(crate) checked: OnceCell<HashMap<(String, Option<NodeId>), NodeId>>,
    /// The first submit button of each form.
    pub(crate) submits: OnceCell<HashMap<NodeId, NodeId>>,
    /// The option that each single-choice `select` shows.
    pub(crate) selected: RefCell<HashMap<NodeId, Option<NodeId>>>,
    /// The direction of the content of elements whose direction is `auto`.
    pub(crate) directions: RefCell<HashMap<NodeId, Option<Direction>>>,
}
