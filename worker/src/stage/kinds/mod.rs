//! The stages that make one record of one target, a file for each.

mod fetch;
mod parse;
mod response;
mod sitemap;

pub(crate) use self::fetch::Fetch;
pub(crate) use self::parse::Parse;
#[cfg(test)]
pub(crate) use self::response::at_once;
pub(crate) use self::sitemap::Sitemap;
