//! Finds the links of a page that a crawl may follow, and what the page says to robots.

use std::io::Cursor;
use std::time::Duration;

use anyhow::Context as _;
use extract::{ExtractError, Extractor, Kind, Page};
use shared::crawl::shape::{hash, shape, words};
use shared::crawl::{self, Found, Judge, Reason, link_fields};
use shared::job::CrawlSpec;
use shared::kept::Kept;
use shared::protocol::Target;
use shared::record::{ErrorKind, FieldValue};
use shared::select::Field;
use url::Url;

use super::fetch::Fetched;
use super::findings::Product;

/// Fields that are read besides the links, in this order: links not to be followed, what is said to robots, the
/// canonical URL, and where the page sends its visitors.
const BESIDES: [&str; 4] = [
    "nofollow[]=a[rel~=\"nofollow\" i][href]::attr(href)",
    "robots[]=meta[name=\"robots\" i]::attr(content)",
    "canonical=link[rel~=\"canonical\" i][href]::attr(href)",
    "refresh=meta[http-equiv=\"refresh\" i]::attr(content)",
];

/// Finds links.
pub(crate) struct Links {
    extractor: Extractor,
    judge: Judge,
    obeys: bool,
    /// The name that directives are addressed to, if they are not for all.
    token: String,
    parse_timeout: Duration,
}

/// What a page has for a crawl.
pub(super) struct PageLinks {
    pub(super) found: Box<Found>,
    /// Whether its content may be kept.
    pub(super) is_indexed: bool,
}

/// What a page says to robots.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Directives {
    noindex: bool,
    nofollow: bool,
}

/// The links of a page that only its file holds.
pub(super) fn unread() -> Box<Found> {
    let mut found = Found::default();
    found.cut(Reason::Unread);
    Box::new(found)
}

/// What becomes of a page whose content must not be kept.
pub(super) fn not_indexed() -> Product {
    let message = "the page says noindex, so its content is not kept; --robots ignore keeps it";
    Product::problem(ErrorKind::Robots, message.to_owned())
}

impl Links {
    pub(super) fn new(spec: &CrawlSpec, parse_timeout: Duration) -> anyhow::Result<Self> {
        let CrawlSpec { fetch, follow } = spec;
        let mut fields = Field::parse_all(&BESIDES)?;
        fields.extend(link_fields(&follow.selectors, follow.obeys).map_err(anyhow::Error::msg)?);
        Ok(Self {
            extractor: Extractor::new(&fields, None, &[]).context("--follow")?,
            judge: Judge::new(follow).map_err(anyhow::Error::msg)?,
            obeys: follow.obeys,
            token: fetch.product_token().to_ascii_lowercase(),
            parse_timeout,
        })
    }

    /// Finds the links of the page of `target`. `tags` is what its head says to robots.
    pub(super) fn find(
        &self,
        target: &Target,
        fetched: &Fetched,
        page: Page<'_>,
        tags: &[String],
    ) -> Result<PageLinks, ExtractError> {
        let mut found = Box::new(Found::default());
        let mut directives = Directives::default();
        tags.iter().for_each(|line| directives.add(line, &self.token));
        let own = str::from_utf8(&target.input).ok().and_then(|input| Url::parse(input).ok());
        let own = own.unwrap_or_else(|| fetched.final_url.clone());
        let around = self.judge.page(&own, &fetched.final_url, !Kept(&target.kept).is_found());
        self.add_alias(fetched.final_url.clone(), &own, &mut found);
        if !matches!(page.kind, Kind::Html | Kind::Unknown) && !is_xhtml(fetched) {
            return Ok(PageLinks { found, is_indexed: !(self.obeys && directives.noindex) });
        }
        found.kind = Some((hash(&shape(own.as_str())), words(&fetched.body)));
        let page = Page { parse_timeout: self.parse_timeout, ..page };
        let extracted = self.extractor.extract(page, &mut Cursor::new(fetched.body.as_slice()))?;
        let mut values = extracted.values.iter();
        let mut next = || texts(values.next());
        let [nofollow, robots, canonical, refresh] = [next(), next(), next(), next()];
        robots.iter().for_each(|line| directives.add(line, &self.token));
        if let Some(canonical) = canonical.first().and_then(|link| Url::parse(link).ok())
            && canonical.origin() == fetched.final_url.origin()
        {
            self.add_alias(canonical, &own, &mut found);
        }
        let follows = !(self.obeys && directives.nofollow);
        if self.obeys {
            nofollow.iter().for_each(|_| found.cut(Reason::Nofollow));
        }
        let sent_to = refresh.first().and_then(|content| refresh_target(content));
        let sent_to = sent_to.and_then(|link| fetched.final_url.join(link).ok());
        let is_within = self.judge.is_within(&fetched.final_url, &around);
        let mut add = |link: Option<Url>| {
            let judged = match link {
                _ if !follows => Err(Reason::Nofollow),
                // A page of another site, which a redirect led to.
                _ if !is_within => Err(Reason::Scope),
                None => Err(Reason::NotHttp),
                Some(link) => self.judge.judge(link, &around),
            };
            match judged {
                Ok(link) => found.add(link.as_str()),
                Err(reason) => found.cut(reason),
            }
        };
        sent_to.into_iter().for_each(|link| add(Some(link)));
        for links in values {
            texts(Some(links)).iter().for_each(|link| add(Url::parse(link).ok()));
        }
        Ok(PageLinks { found, is_indexed: !(self.obeys && directives.noindex) })
    }

    /// Notes another URL of the page.
    fn add_alias(&self, url: Url, own: &Url, found: &mut Found) {
        let around = self.judge.page(own, own, false);
        if let Ok(url) = self.judge.judge(url, &around)
            && url != *own
            && !found.aliases.iter().any(|known| known == url.as_str())
        {
            found.aliases.push(url.into());
        }
    }
}

/// Whether a page is HTML in the form of XML.
fn is_xhtml(fetched: &Fetched) -> bool {
    fetched.content_type.as_deref().is_some_and(|content_type| content_type.contains("xhtml"))
}

/// The texts of a field.
fn texts(value: Option<&FieldValue>) -> Vec<&str> {
    fn text(value: &FieldValue) -> Option<&str> {
        if let FieldValue::Text(text) = value { Some(text) } else { None }
    }
    match value {
        Some(FieldValue::List(values)) => values.iter().filter_map(text).collect(),
        Some(value) => text(value).into_iter().collect(),
        None => Vec::new(),
    }
}

/// The link in `5; url=next.html`, as the HTML standard reads it.
fn refresh_target(content: &str) -> Option<&str> {
    let (_, rest) = content.split_once([';', ','])?;
    let rest = rest.trim_start();
    let named = rest.get(..3).filter(|name| name.eq_ignore_ascii_case("url"));
    let link = named.and_then(|_| rest.get(3..)?.trim_start().strip_prefix('=')).unwrap_or(rest).trim();
    let quoted = link.strip_prefix(['"', '\'']);
    let link = quoted.map_or(link, |inside| inside.split(['"', '\'']).next().unwrap_or(inside));
    (!link.is_empty()).then_some(link)
}

impl Directives {
    /// Adds those of a line, such as `noindex, nofollow` or `otherbot: noindex`.
    fn add(&mut self, line: &str, token: &str) {
        let mut is_meant = true;
        for word in line.split(',') {
            let word = word.trim().to_ascii_lowercase();
            let word = match word.split_once(':') {
                // It has a value, and is not a name.
                Some((name, _)) if name == "unavailable_after" || name.starts_with("max-") => continue,
                Some((name, directive)) => {
                    is_meant = name.trim() == token;
                    directive.trim().to_owned()
                }
                None => word,
            };
            if is_meant {
                self.noindex |= matches!(word.as_str(), "noindex" | "none");
                self.nofollow |= matches!(word.as_str(), "nofollow" | "none");
            }
        }
    }
}

/// The most that is found fits into a message.
const _: () = assert!(crawl::FOUND_BYTES_MAX < shared::protocol::RECORD_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_for_all_or_for_one() {
        for (line, noindex, nofollow) in [
            ("noindex", true, false),
            ("NoFollow , noarchive", false, true),
            ("none", true, true),
            ("all", false, false),
            ("otherbot: noindex, nofollow", false, false),
            ("Muster: noindex", true, false),
            ("otherbot: none, muster: nofollow", false, true),
            ("unavailable_after: 25 Jun 2030 15:00:00 GMT, noindex", true, false),
        ] {
            let mut directives = Directives::default();
            directives.add(line, "muster");
            assert_eq!(directives, Directives { noindex, nofollow }, "{line}");
        }
    }

    #[test]
    fn a_page_may_send_its_visitors_elsewhere() {
        for (content, want) in [
            ("0; url=http://a/", Some("http://a/")),
            ("5;URL = 'b.html' x", Some("b.html")),
            ("0,c", Some("c")),
            ("0; url=\"d", Some("d")),
            ("30", None),
            ("0; url=", None),
            ("", None),
        ] {
            assert_eq!(refresh_target(content), want, "{content}");
        }
    }
}
