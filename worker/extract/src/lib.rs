//! Extracts the fields of a job from a page: HTML, XML or JSON.
//!
//! The caller has the bytes of a page and wants the values of its fields. [`Extractor::new`] compiles the job's
//! selectors once; [`Extractor::extract`] then reads one page after another. No input makes it panic, and a page
//! that takes too long or grows too large ends with an [`ExtractError`].
//!
//! ```text
//! extractor ─ which language is the body in? ─┬─ json ── jsonpath
//!     │                                       │
//!  charset: which encoding?                   └─ page ─┬─ stream       HTML, while it is read
//!                                                      └─ dom, xml ─┬─ css
//!                                                         (a tree)  ├─ xpath
//!                                                                   └─ microdata
//!           found ── links ── steps ── values of the record
//! ```
//!
//! | modules | hold |
//! |---|---|
//! | `extractor` | the public entry: chooses the language and the encoding of a body |
//! | `input`, `charset` | the bytes of a body, and the encoding they are decoded from |
//! | `page` | HTML and XML: which fields can be streamed, and which need a tree |
//! | `stream` | the streaming engine: a tokenizer and the stack of open elements, without a tree |
//! | `dom`, `xml`, `document`, `tree` | builds and reads trees, with html5ever for HTML and quick-xml for XML |
//! | `css`, `xpath`, `jsonpath` | evaluate the selectors that the crate `select` has parsed |
//! | `pick`, `facts` | a CSS field in the form both engines need; what HTML says about its elements |
//! | `json` | bodies in JSON |
//! | `each`, `presets`, `microdata` | `--each` and `--preset` |
//! | `found`, `links`, `markup`, `steps` | the values found so far, absolute URLs, HTML as text, and the steps after a selector |
//!
//! Two invariants hold. Both HTML engines give the same values; if the streaming engine cannot be sure, it gives up and
//! the tree engine reads the page again (`same` tests this, and so does the fuzz target `html`). Each loop whose length
//! depends on the page checks the [deadline](Page::parse_timeout).

mod charset;
mod css;
mod document;
mod dom;
mod each;
mod error;
mod extractor;
mod facts;
mod found;
mod input;
mod json;
mod jsonpath;
mod links;
mod markup;
mod microdata;
mod page;
mod pick;
mod presets;
#[cfg(test)]
mod same;
#[cfg(test)]
mod soup;
mod steps;
mod stream;
#[cfg(test)]
mod tests;
mod tree;
mod xml;
#[cfg(feature = "xpath")]
mod xpath;

pub use error::{ExtractError, Rejected};
pub use extractor::{Extracted, Extractor, Kind, Page};
pub use input::Body;
