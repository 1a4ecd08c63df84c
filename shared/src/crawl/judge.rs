//! Decides which links belong to a crawl.

use regex::{RegexSet, RegexSetBuilder};
use rustc_hash::FxHashSet;
use url::{Position, Url};

use super::{FollowSpec, LINK_BYTES_MAX, Reason, Scope, Strip};
use crate::domain::registrable;

/// Largest set of regular expressions, compiled, in bytes.
const REGEX_BYTES_MAX: usize = 4 << 20;

/// The rules of one crawl, compiled.
#[derive(Debug)]
pub struct Judge {
    scope: Scope,
    homes: FxHashSet<String>,
    /// `None`: all are included.
    include: Option<RegexSet>,
    exclude: RegexSet,
    strip: Strip,
}

/// A page whose links are judged.
#[derive(Debug)]
pub struct Page {
    /// What its own URL is in the scope. It was judged, or the user named it.
    own: Option<String>,
    /// The same of where a page led that the user named. So a site that has moved is crawled where it is.
    landed: Option<String>,
}

impl Judge {
    /// Compiles the rules of a crawl.
    ///
    /// # Errors
    /// Which flag has a regular expression that is malformed or too large, and why.
    pub fn new(spec: &FollowSpec) -> Result<Self, String> {
        let compile = |flag: &str, given: &[String]| {
            let built = RegexSetBuilder::new(given).size_limit(REGEX_BYTES_MAX).build();
            built.map_err(|error| format!("{flag}: {error}"))
        };
        let include = compile("--include", &spec.include)?;
        Ok(Self {
            scope: spec.scope,
            homes: spec.homes.iter().cloned().collect(),
            include: (!include.is_empty()).then_some(include),
            exclude: compile("--exclude", &spec.exclude)?,
            strip: Strip::new(&spec.strip),
        })
    }

    /// Returns the canonical form of a link, or why it is not followed.
    ///
    /// # Errors
    /// The first reason not to follow it.
    pub fn judge(&self, link: Url, page: &Page) -> Result<Url, Reason> {
        let link = self.strip.canonical(link).ok_or(Reason::NotHttp)?;
        if link.as_str().len() > LINK_BYTES_MAX {
            return Err(Reason::TooLong);
        }
        if !self.is_within(&link, page) {
            return Err(Reason::Scope);
        }
        if self.include.as_ref().is_some_and(|include| !include.is_match(link.as_str())) {
            return Err(Reason::Include);
        }
        if self.exclude.is_match(link.as_str()) {
            return Err(Reason::Exclude);
        }
        Ok(link)
    }

    /// Returns a page that was asked for at `url`, and that redirects led to `landed`; `is_named` says that the user
    /// named it.
    #[must_use]
    pub fn page(&self, url: &Url, landed: &Url, is_named: bool) -> Page {
        Page { own: home(self.scope, url), landed: if is_named { home(self.scope, landed) } else { None } }
    }

    /// Whether a URL belongs to the crawl.
    #[must_use]
    pub fn is_within(&self, url: &Url, page: &Page) -> bool {
        let near = [&page.own, &page.landed];
        match self.scope {
            Scope::Any => true,
            Scope::Host | Scope::Domain => home(self.scope, url).is_some_and(|home| {
                near.iter().any(|near| near.as_deref() == Some(&home)) || self.homes.contains(&home)
            }),
            Scope::Prefix => {
                let Some(path) = below(url) else { return false };
                let homes = self.homes.iter().chain(near.into_iter().flatten());
                homes.into_iter().any(|home| path.starts_with(home.as_str()))
            }
        }
    }
}

/// Returns what a URL is in a scope: its host with its port, its domain, or its directory.
#[must_use]
pub fn home(scope: Scope, url: &Url) -> Option<String> {
    let host = url.host_str()?;
    let host = host.strip_suffix('.').unwrap_or(host);
    match scope {
        Scope::Host => Some(with_port(host, url)),
        Scope::Domain => Some(registrable(host).to_owned()),
        Scope::Prefix => {
            let below = below(url)?;
            let end = below.rfind('/').map_or(below.len(), |slash| slash + 1);
            below.get(..end).map(ToOwned::to_owned)
        }
        Scope::Any => None,
    }
}

/// Returns the host and the path of a URL: the scheme does not matter.
fn below(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    let host = host.strip_suffix('.').unwrap_or(host);
    Some(format!("{}{}", with_port(host, url), &url[Position::BeforePath..Position::AfterPath]))
}

fn with_port(host: &str, url: &Url) -> String {
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(scope: Scope, named: &str) -> FollowSpec {
        let homes = home(scope, &Url::parse(named).unwrap()).into_iter().collect();
        FollowSpec { scope, homes, obeys: true, ..FollowSpec::default() }
    }

    fn check(spec: &FollowSpec, page: &str, link: &str, want: Option<Reason>) {
        let judge = Judge::new(spec).unwrap();
        let url = Url::parse(page).unwrap();
        let around = judge.page(&url, &url, false);
        let judged = judge.judge(Url::parse(link).unwrap(), &around);
        assert_eq!(judged.err(), want, "{:?}: {page} -> {link}", spec.scope);
    }

    #[test]
    fn a_scope_is_kept() {
        let named = "http://docs.example.co.uk/a/index.html";
        let out = Some(Reason::Scope);
        for (link, host, domain, prefix) in [
            ("https://docs.example.co.uk/b", None, None, out),
            ("http://docs.example.co.uk/a/b/c?x=/", None, None, None),
            ("http://docs.example.co.uk/ab", None, None, out),
            ("http://docs.example.co.uk:81/a/b", out, None, out),
            ("http://www.example.co.uk/a/b", out, None, out),
            ("http://other.co.uk/a/b", out, out, out),
        ] {
            for (scope, want) in
                [(Scope::Host, host), (Scope::Domain, domain), (Scope::Prefix, prefix), (Scope::Any, None)]
            {
                check(&spec(scope, named), named, link, want);
            }
        }
        check(&spec(Scope::Any, named), named, "mailto:a@b", Some(Reason::NotHttp));
        let long = format!("http://docs.example.co.uk/{}", "x".repeat(LINK_BYTES_MAX));
        check(&spec(Scope::Any, named), named, &long, Some(Reason::TooLong));
    }

    #[test]
    fn a_site_that_has_moved_is_crawled_where_it_is() {
        let judge = Judge::new(&spec(Scope::Host, "http://a.example/")).unwrap();
        let [from, to, link] = ["http://a.example/", "https://www.a.example/", "https://www.a.example/x"]
            .map(|url| Url::parse(url).unwrap());
        assert!(judge.judge(link.clone(), &judge.page(&from, &to, true)).is_ok());
        assert_eq!(judge.judge(link.clone(), &judge.page(&from, &to, false)), Err(Reason::Scope));
        assert!(judge.judge(to, &judge.page(&link, &link, false)).is_ok());
    }

    #[test]
    fn expressions_include_and_exclude() {
        let spec = FollowSpec {
            include: vec!["/doc/".to_owned(), r"\.html$".to_owned()],
            exclude: vec!["/old/".to_owned()],
            ..spec(Scope::Host, "http://a/")
        };
        for (link, want) in [
            ("http://a/doc/x", None),
            ("http://a/x.html", None),
            ("http://a/x", Some(Reason::Include)),
            ("http://a/doc/old/x", Some(Reason::Exclude)),
        ] {
            check(&spec, "http://a/", link, want);
        }
        let error = Judge::new(&FollowSpec { exclude: vec!["(".to_owned()], ..spec }).unwrap_err();
        assert!(error.starts_with("--exclude: "), "{error}");
    }
}
