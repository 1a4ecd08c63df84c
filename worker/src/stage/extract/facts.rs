//! What the states of many elements depend on, worked out once for a page: to look at the whole
//! page for each element would take time quadratic in its size.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;

use ego_tree::NodeId;
use shared::select::css::Direction;

/// Facts about a page that selectors have asked for so far.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The language from `<meta>`.
    pub(super) language: OnceCell<Option<String>>,
    /// The first element with each id.
    pub(super) ids: OnceCell<HashMap<String, NodeId>>,
    /// The checked radio button of each group: those of one name and form.
    pub(super) checked: OnceCell<HashMap<(String, Option<NodeId>), NodeId>>,
    /// The first submit button of each form.
    pub(super) submits: OnceCell<HashMap<NodeId, NodeId>>,
    /// The option that each single-choice `select` shows.
    pub(super) selected: RefCell<HashMap<NodeId, Option<NodeId>>>,
    /// The direction of the content of elements whose direction is `auto`.
    pub(super) directions: RefCell<HashMap<NodeId, Option<Direction>>>,
}
