//! Which servers get the user's headers and credentials.
//!
//! Invariant: what may be a secret goes to a server only if the user named its origin, or allowed more
//! (`--header-scope`). It does not matter who leads there: a redirect, a sitemap or an index of sitemaps.

use std::slice;

use shared::domain::registrable;
use shared::request_headers::{HeaderScope, Reach};
use url::Url;

use super::{Wanted, target};

/// How far a server is from home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Distance {
    /// It gets all headers.
    Home,
    /// It gets all headers but `Host`, which names a host at home.
    Near,
    /// It gets what any server may have.
    Away,
}

/// The job's `--header-scope`, prepared once per worker.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    reach: Reach,
    homes: Vec<Url>,
    only_these: bool,
}

impl Scope {
    pub(super) fn new(scope: &HeaderScope) -> Self {
        // The supervisor has checked them. One that is no URL is nobody's home.
        let homes = scope.homes.iter().filter_map(|url| Url::parse(url).ok()).collect();
        Self { reach: scope.reach, homes, only_these: scope.only_these }
    }

    /// Whether the user has named the target, so that it is at home itself.
    fn is_named(&self, wanted: Wanted) -> bool {
        match wanted {
            Wanted::Page => !self.only_these,
            Wanted::Listed => false,
            // Some pages of its site were named, unless others list pages in this job.
            Wanted::Robots => self.homes.is_empty(),
        }
    }

    /// Returns how far a URL at none of `homes` is.
    fn beyond(&self, homes: &[Url], url: &Url) -> Distance {
        let is_near = match self.reach {
            Reach::Origin => false,
            Reach::Domain => homes.iter().any(|home| is_same_domain(home, url)),
            Reach::Any => true,
        };
        if is_near { Distance::Near } else { Distance::Away }
    }
}

fn is_same_domain(home: &Url, url: &Url) -> bool {
    let is_as_safe = home.scheme() == "http" || url.scheme() == "https";
    let domain = |url: &Url| url.host_str().map(|host| registrable(host).to_owned());
    is_as_safe && domain(home) == domain(url)
}

/// The homes of one target.
#[derive(Debug)]
pub(super) enum Homes<'a> {
    /// The origin of its first URL, with the credentials for it. Set when the URL changes.
    Own(Option<Url>),
    Given(&'a [Url]),
}

impl<'a> Homes<'a> {
    /// Begins a target, and corrects the credentials in its URL.
    pub(super) fn begin(scope: &'a Scope, wanted: Wanted, url: &mut Url) -> (Self, Distance) {
        if scope.is_named(wanted) {
            return (Self::Own(None), Distance::Home);
        }
        (Self::Given(&scope.homes), arrive(scope, &scope.homes, url))
    }

    /// Handles a redirect from `url` to `next`, and corrects the credentials in that.
    pub(super) fn follow(&mut self, scope: &Scope, url: &Url, next: &mut Url) -> Distance {
        match self {
            Self::Given(homes) => arrive(scope, homes, next),
            Self::Own(home) => {
                let home = home.get_or_insert_with(|| url.clone());
                if target::has_credentials(next) && home.origin() == next.origin() {
                    // A server may change the credentials for itself.
                    home.clone_from(next);
                }
                arrive(scope, slice::from_ref(home), next)
            }
        }
    }
}

/// Returns how far a URL is from `homes`, and corrects its credentials.
fn arrive(scope: &Scope, homes: &[Url], url: &mut Url) -> Distance {
    let has_credentials = target::has_credentials(url);
    if let Some(home) = homes.iter().find(|home| home.origin() == url.origin()) {
        if !has_credentials {
            target::copy_credentials(home, url);
        }
        return Distance::Home;
    }
    if has_credentials {
        // Those that a server names for another origin are dropped, as in curl.
        *url = target::public(url.clone());
    }
    scope.beyond(homes, url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(reach: Reach, homes: &[&str], only_these: bool) -> Scope {
        let homes = homes.iter().map(|&home| home.to_owned()).collect();
        Scope::new(&HeaderScope { reach, homes, only_these })
    }

    #[track_caller]
    fn check(scope: &Scope, wanted: Wanted, hops: &[(&str, &str, Distance)]) {
        let mut hops = hops.iter().map(|(from, to, want)| {
            let parsed = Url::parse(from).unwrap();
            (*from, parsed, *to, *want)
        });
        let (from, mut url, seen, want) = hops.next().unwrap();
        let (mut homes, distance) = Homes::begin(scope, wanted, &mut url);
        assert_eq!((url.as_str(), distance), (seen, want), "{from}");
        for (to, mut next, seen, want) in hops {
            let distance = homes.follow(scope, &url, &mut next);
            assert_eq!((next.as_str(), distance), (seen, want), "{url} → {to}");
            url = next;
        }
    }

    #[test]
    fn a_named_target_is_its_own_home() {
        use Distance::{Away, Home, Near};
        let hops = |second, third| {
            [
                ("http://u:p@www.a.example/", "http://u:p@www.a.example/", Home),
                ("http://a.example/", "http://a.example/", second),
                ("https://www.a.example/", "https://www.a.example/", second),
                ("http://www.a.example:81/", "http://www.a.example:81/", second),
                ("http://x:y@b.example/", "http://b.example/", third),
                ("http://www.a.example/z", "http://u:p@www.a.example/z", Home),
            ]
        };
        for (reach, second, third) in
            [(Reach::Origin, Away, Away), (Reach::Domain, Near, Away), (Reach::Any, Near, Near)]
        {
            check(&scope(reach, &["http://other.example/"], false), Wanted::Page, &hops(second, third));
        }
        let safe = [
            ("https://a.example/", "https://a.example/", Home),
            ("http://a.example/", "http://a.example/", Away),
        ];
        check(&scope(Reach::Domain, &[], false), Wanted::Page, &safe);
    }

    #[test]
    fn a_listed_target_is_at_home_where_the_user_was() {
        use Distance::{Away, Home, Near};
        let listed = |reach, near| {
            let scope = scope(reach, &["http://u:p@a.example/sitemap.xml"], false);
            for wanted in [Wanted::Listed, Wanted::Robots] {
                check(
                    &scope,
                    wanted,
                    &[
                        ("http://a.example/1", "http://u:p@a.example/1", Home),
                        ("http://b.example/", "http://b.example/", Away),
                    ],
                );
                check(
                    &scope,
                    wanted,
                    &[
                        ("http://x:y@www.a.example/1", "http://www.a.example/1", near),
                        ("http://a.example/", "http://u:p@a.example/", Home),
                    ],
                );
            }
        };
        listed(Reach::Origin, Away);
        listed(Reach::Domain, Near);
        let named = [("http://b.example/", "http://b.example/", Home)];
        check(&scope(Reach::Origin, &[], false), Wanted::Robots, &named);
        let only = scope(Reach::Origin, &["http://a.example/"], true);
        check(
            &only,
            Wanted::Page,
            &[
                ("http://b.example/", "http://b.example/", Away),
                ("http://a.example/", "http://a.example/", Home),
            ],
        );
    }
}
