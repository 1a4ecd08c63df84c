//! What a crawl knows, and which of its pages are fetched next. Pure: pages are numbers and hashes here, and their URLs
//! are on disk.
//!
//! | module | holds |
//! |---|---|
//! | `seen` | the hashes of all URLs that are known, exactly |
//! | `lanes` | pages that wait, by host, and how many of each host are taken into memory |
//! | `shapes` | addresses whose pages are all alike |
//! | `levels` | which page is how deep, and when the next level may begin |
//!
//! A crawl goes level by level: no page that is found at depth n + 1 is fetched before all pages of depth n have ended. So
//! each depth is the least one. Links are taken in by the order of the pages that they stand on, whichever page came
//! back first. So ids, parents, limits and traps are the same in every run over the same pages.

mod lanes;
mod levels;
mod seen;
mod shapes;

pub use lanes::{IN_MEMORY_MAX, Lanes};
pub use levels::Levels;
pub use seen::Seen;
pub use shapes::Shapes;
