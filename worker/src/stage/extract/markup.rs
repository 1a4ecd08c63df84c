//! Elements as HTML again, and all of a page's text that is one value.

use html5ever::serialize::{SerializeOpts, TraversalScope, serialize};
use scraper::ElementRef;

use super::ExtractError;

/// Appends an element with its tags and all inside, as the HTML standard
/// serialises fragments (section 13.3).
///
/// # Errors
/// Never in practice: writing to memory cannot fail.
pub(super) fn outer_html(element: ElementRef<'_>, out: &mut Vec<u8>) -> Result<(), ExtractError> {
    let options = SerializeOpts {
        // The page was parsed without scripts, so what `<noscript>` holds is markup.
        scripting_enabled: false,
        traversal_scope: TraversalScope::IncludeNode,
        create_missing_parent: true,
    };
    serialize(out, &element, options).map_err(ExtractError::Read)
}
