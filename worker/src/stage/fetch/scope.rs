//! Which servers get the user's headers and credentials.
//!
//! Invariant: what may be a secret goes to a server only if the user named its origin, or allowed more
//! (`--header-scope`). It does not matter who leads there: a redirect, a sitemap or an index of sitemaps.
//! Credentials that the user wrote into a URL are for the origin of that URL, and for no other.

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
    Given {
        homes: &'a [Url],
        /// Its first URL, if the user wrote credentials into it. They are for its origin, wherever headers go.
        written: Option<Url>,
    },
}

impl<'a> Homes<'a> {
    /// Begins a target, and corrects the credentials in its URL.
    pub(super) fn begin(scope: &'a Scope, wanted: Wanted, url: &mut Url) -> (Self, Distance) {
        let is_named = wanted.is_named();
        if is_named && !scope.only_these {
            return (Self::Own(None), Distance::Home);
        }
        let homes = &scope.homes;
        let written = (is_named && target::has_credentials(url)).then(|| url.clone());
        let distance = arrive(scope, homes, written.as_ref(), url);
        (Self::Given { homes, written }, distance)
    }

    /// Handles a redirect from `url` to `next`, and corrects the credentials in that.
    pub(super) fn follow(&mut self, scope: &Scope, url: &Url, next: &mut Url) -> Distance {
        match self {
            Self::Given { homes, written } => arrive(scope, homes, written.as_ref(), next),
            Self::Own(home) => {
                let home = home.get_or_insert_with(|| url.clone());
                if target::has_credentials(next) && home.origin() == next.origin() {
                    // A server may change the credentials for itself.
                    home.clone_from(next);
                }
                arrive(scope, slice::from_ref(home), None, next)
            }
        }
    }
}

/// Returns how far a URL is from `homes`, and corrects its credentials: to those of its origin in `written` or a home.
fn arrive(scope: &Scope, homes: &[Url], written: Option<&Url>, url: &mut Url) -> Distance {
    let has_credentials = target::has_credentials(url);
    let is_there = |known: &&Url| known.origin() == url.origin();
    let home = homes.iter().find(is_there);
    match written.filter(is_there).or(home) {
        Some(known) if !has_credentials => target::copy_credentials(known, url),
        // Those that a server names for another origin are dropped, as in curl.
        None if has_credentials => *url = target::public(url.clone()),
        Some(_) | None => {}
    }
    if home.is_some() { Distance::Home } else { scope.beyond(homes, url) }
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
            for wanted in [Wanted::Listed, Wanted::Robots { named: false }] {
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
    }

    #[test]
    fn the_robots_txt_of_a_named_page_is_at_home() {
        let robots = |distance| [("http://b.example/robots.txt", "http://b.example/robots.txt", distance)];
        for (homes, only_these, named, distance) in [
            (&[][..], false, true, Distance::Home),
            (&["http://a.example/sitemap.xml"], false, true, Distance::Home),
            (&["http://a.example/sitemap.xml"], false, false, Distance::Away),
            (&["http://a.example/"], true, true, Distance::Away),
            (&["http://b.example/"], true, true, Distance::Home),
        ] {
            let scope = scope(Reach::Origin, homes, only_these);
            check(&scope, Wanted::Robots { named }, &robots(distance));
        }
    }

    #[test]
    fn a_list_of_homes_is_for_headers_and_not_for_written_credentials() {
        use Distance::{Away, Home};
        let only = scope(Reach::Origin, &["http://a.example/"], true);
        check(
            &only,
            Wanted::Page,
            &[
                ("http://b.example/", "http://b.example/", Away),
                ("http://a.example/", "http://a.example/", Home),
            ],
        );
        let written = [
            ("http://u:p@b.example/", "http://u:p@b.example/", Away),
            ("http://a.example/", "http://a.example/", Home),
            ("http://x:y@c.example/", "http://c.example/", Away),
            ("https://b.example/", "https://b.example/", Away),
            ("http://b.example/2", "http://u:p@b.example/2", Away),
            ("http://n:n@b.example/3", "http://n:n@b.example/3", Away),
        ];
        check(&only, Wanted::Page, &written);
        let listed = [("http://u:p@b.example/", "http://b.example/", Away)];
        check(&only, Wanted::Listed, &listed);
        let own = [("http://u:p@a.example/", "http://u:p@a.example/", Home)];
        check(&scope(Reach::Origin, &["http://k:k@a.example/"], true), Wanted::Page, &own);
    }
}
