//! Keeps cookies, and picks those for a request.

use rustc_hash::FxHashMap;
use url::{Host, Url};

use super::{ATTRIBUTE_BYTES_MAX, COOKIE_BYTES_MAX, Cookie, covers, host_of, is_within, set_cookie};
use crate::domain::registrable;

/// Most cookies of one registrable domain, as in browsers. Beyond it, one goes: see `Entry::worth`.
pub const DOMAIN_COOKIES_MAX: usize = 180;

/// Most cookies of all domains. Beyond it, `EVICTED` go.
pub const JAR_COOKIES_MAX: usize = 10_000;

/// Cookies that go when there are too many: enough that looking through all of them is rare.
const EVICTED: usize = JAR_COOKIES_MAX / 10;

/// A cookie that expires later or sooner by less than this part of the time that is left counts as the same: sites
/// renew theirs with every answer.
const SAME_WITHIN: u64 = 10;

/// Latest time that is kept, the last second of the year 9999: `cookies.txt` keeps it exactly.
const LATEST: u64 = 253_402_300_799;

/// Cookies, by registrable domains: all that one request may carry are together.
#[derive(Debug, Default)]
pub struct Jar {
    domains: FxHashMap<String, Vec<Entry>>,
    count: usize,
    /// Counts what was set.
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    cookie: Cookie,
    /// When it expired as of the last change that [`Jar::set`] reported. Others know of no later renewal.
    told: Option<u64>,
    /// When it was set first; the order in requests.
    created: u64,
    /// When it was set last.
    touched: u64,
}

impl Entry {
    /// Those with the least worth go first: what has expired, then what needs no TLS, then what was not set for longest.
    fn worth(&self, now: u64) -> (bool, bool, u64) {
        (!has_expired(&self.cookie, now), self.cookie.secure, self.touched)
    }

    /// Whether a cookie that replaces this one changes nothing that others must know.
    fn is_same(&self, new: &Cookie, now: u64) -> bool {
        let old = &self.cookie;
        let expire_together = match (self.told, new.expires) {
            (Some(told), Some(at)) => {
                told.abs_diff(at).saturating_mul(SAME_WITHIN) < told.saturating_sub(now)
            }
            (told, at) => told == at,
        };
        expire_together
            && !has_expired(old, now)
            && old.value == new.value
            && old.secure == new.secure
            && old.http_only == new.http_only
    }
}

impl Jar {
    /// Takes in a header `Set-Cookie` of the answer to `url`, `now` in seconds since 1970. Returns the cookie if that
    /// changes what is sent.
    pub fn on_header(&mut self, header: &[u8], url: &Url, now: u64) -> Option<Cookie> {
        let cookie = set_cookie::parse(std::str::from_utf8(header).ok()?, url, now)?;
        if url.scheme() != "https" && self.has_secure_like(&cookie, now) {
            return None;
        }
        self.set(cookie.clone(), now).then_some(cookie)
    }

    /// Whether a cookie that was set without TLS would shadow one that needs it.
    fn has_secure_like(&self, cookie: &Cookie, now: u64) -> bool {
        self.of(&cookie.domain).iter().map(|entry| &entry.cookie).any(|other| {
            other.secure
                && !has_expired(other, now)
                && other.name == cookie.name
                && (is_within(&other.domain, &cookie.domain) || is_within(&cookie.domain, &other.domain))
                && covers(&other.path, &cookie.path)
        })
    }

    fn of(&self, host: &str) -> &[Entry] {
        self.domains.get(registrable(host)).map_or(&[], Vec::as_slice)
    }

    /// Adds, replaces or deletes a cookie. Returns whether that changes what is sent. One that is not sound (see
    /// `is_sound`) is ignored.
    pub fn set(&mut self, mut cookie: Cookie, now: u64) -> bool {
        if !is_sound(&cookie) {
            return false;
        }
        if has_expired(&cookie, now) {
            return self.delete(&cookie);
        }
        cookie.expires = cookie.expires.map(|at| at.min(LATEST));
        self.clock += 1;
        let touched = self.clock;
        let entries = self.domains.entry(registrable(&cookie.domain).to_owned()).or_default();
        if let Some(entry) = entries.iter_mut().find(|entry| entry.cookie.replaces(&cookie)) {
            let is_same = entry.is_same(&cookie, now);
            entry.told = if is_same { entry.told } else { cookie.expires };
            (entry.cookie, entry.touched) = (cookie, touched);
            return !is_same;
        }
        entries.push(Entry { told: cookie.expires, cookie, created: touched, touched });
        self.count += 1;
        if entries.len() > DOMAIN_COOKIES_MAX {
            self.count -= 1;
            let least =
                (0..).zip(&*entries).min_by_key(|(_, entry)| entry.worth(now)).map_or(0, |(at, _)| at);
            // Where all others need TLS, the new one goes.
            return entries.remove(least).touched != touched;
        }
        if self.count > JAR_COOKIES_MAX {
            self.make_room(now);
        }
        true
    }

    fn delete(&mut self, cookie: &Cookie) -> bool {
        let domain = registrable(&cookie.domain);
        let Some(entries) = self.domains.get_mut(domain) else { return false };
        let Some(at) = entries.iter().position(|entry| entry.cookie.replaces(cookie)) else { return false };
        entries.remove(at);
        self.count -= 1;
        if entries.is_empty() {
            self.domains.remove(domain);
        }
        true
    }

    /// Drops the [`EVICTED`] cookies with the least worth.
    fn make_room(&mut self, now: u64) {
        let mut worths: Vec<_> = self.domains.values().flatten().map(|entry| entry.worth(now)).collect();
        if worths.len() > EVICTED {
            let (_, &mut least_kept, _) = worths.select_nth_unstable(EVICTED);
            self.keep(|entry| entry.worth(now) >= least_kept);
        }
    }

    /// Drops the cookies for which `is_kept` is false.
    pub fn retain(&mut self, mut is_kept: impl FnMut(&Cookie) -> bool) {
        self.keep(|entry| is_kept(&entry.cookie));
    }

    fn keep(&mut self, mut is_kept: impl FnMut(&Entry) -> bool) {
        self.domains.retain(|_, entries| {
            entries.retain(&mut is_kept);
            !entries.is_empty()
        });
        self.count = self.domains.values().map(Vec::len).sum();
    }

    /// Returns the header `Cookie` of a request to `url`: longer paths first, then what was set earlier.
    #[must_use]
    pub fn header(&self, url: &Url, now: u64) -> Option<String> {
        if self.count == 0 {
            return None;
        }
        let host = host_of(url)?;
        let is_sent = |entry: &&Entry| {
            let cookie = &entry.cookie;
            let is_for_host =
                if cookie.host_only { cookie.domain == host } else { is_within(&host, &cookie.domain) };
            is_for_host
                && (!cookie.secure || url.scheme() == "https")
                && covers(&cookie.path, url.path())
                && !has_expired(cookie, now)
        };
        let mut sent: Vec<&Entry> = self.of(&host).iter().filter(is_sent).collect();
        if sent.is_empty() {
            return None;
        }
        sent.sort_by_key(|entry| (usize::MAX - entry.cookie.path.len(), entry.created));
        let mut header = String::new();
        for Entry { cookie: Cookie { name, value, .. }, .. } in sent {
            if !header.is_empty() {
                header.push_str("; ");
            }
            if !name.is_empty() {
                header.push_str(name);
                header.push('=');
            }
            header.push_str(value);
        }
        Some(header)
    }

    /// Returns all cookies, those of one domain in the order in which they were set first.
    pub fn iter(&self) -> impl Iterator<Item = &Cookie> {
        self.domains.values().flatten().map(|entry| &entry.cookie)
    }
}

fn has_expired(cookie: &Cookie, now: u64) -> bool {
    cookie.expires.is_some_and(|at| at <= now)
}

/// Whether a cookie is small, of a host as URLs name it, and without what would end a field of a header or of
/// `cookies.txt`. A value may have tabs: it is the last field.
fn is_sound(cookie: &Cookie) -> bool {
    let Cookie { domain, path, name, value, .. } = cookie;
    let is_small = name.len() + value.len() <= COOKIE_BYTES_MAX
        && domain.len() <= ATTRIBUTE_BYTES_MAX
        && path.len() <= ATTRIBUTE_BYTES_MAX;
    let is_clean = |text: &str| !text.bytes().any(|byte| byte.is_ascii_control() || byte == b';');
    is_small
        && is_host(domain)
        && path.starts_with('/')
        && is_clean(path)
        && is_clean(name)
        && value.split('\t').all(is_clean)
        && !(name.is_empty() && value.is_empty())
}

/// Whether this is the host of a URL, as [`host_of`] returns it.
fn is_host(domain: &str) -> bool {
    if domain.parse::<std::net::Ipv6Addr>().is_ok() {
        return true;
    }
    !domain.starts_with('.') && Host::parse(domain).is_ok_and(|host| host.to_string() == *domain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cookies::{parse_netscape, write_netscape};

    const NOW: u64 = 1_800_000_000;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn jar(set: &[(&str, &str)]) -> Jar {
        let mut jar = Jar::default();
        for (at, header) in set {
            jar.on_header(header.as_bytes(), &url(at), NOW);
        }
        jar
    }

    #[test]
    fn cookies_go_to_their_hosts_paths_and_schemes_in_order() {
        let jar = jar(&[
            ("https://www.a.example/", "own=1"),
            ("https://www.a.example/", "all=2; Domain=a.example"),
            ("https://www.a.example/d/x", "deep=3"),
            ("https://www.a.example/", "tls=4; Secure"),
            ("https://www.a.example/", "old=5; Expires=Wed, 21 Oct 2015 07:28:00 GMT"),
            ("https://www.a.example/", "nameless"),
            ("http://127.0.0.1/", "ip=6"),
        ]);
        for (to, want) in [
            ("https://www.a.example/", Some("own=1; all=2; tls=4; nameless")),
            ("http://www.a.example:8080/d/", Some("deep=3; own=1; all=2; nameless")),
            ("http://a.example/", Some("all=2")),
            ("http://x.www.a.example/", Some("all=2")),
            ("http://127.0.0.1:81/", Some("ip=6")),
            ("http://b.example/", None),
            ("http://0.0.1/", None),
        ] {
            assert_eq!(jar.header(&url(to), NOW).as_deref(), want, "{to}");
        }
    }

    #[test]
    fn a_change_is_one_that_is_seen_in_requests() {
        let (mut jar, at) = (Jar::default(), url("http://a.example/"));
        for (header, now, changes) in [
            ("a=1; Max-Age=600", NOW, true),
            ("a=1; Max-Age=600", NOW + 10, false),
            ("a=1; Max-Age=600", NOW + 200, true),
            ("a=2; Max-Age=600", NOW + 200, true),
            ("a=; Max-Age=0", NOW + 201, true),
            ("a=; Max-Age=0", NOW + 202, false),
            ("a=1; Max-Age=600", NOW + 300, true),
            ("a=1; Max-Age=600", NOW + 901, true),
        ] {
            let changed = jar.on_header(header.as_bytes(), &at, now);
            assert_eq!(changed.is_some(), changes, "{header} at {now}");
        }
        assert_eq!(jar.iter().count(), 1);
        assert_eq!(jar.on_header(b"a=\xff", &at, NOW), None);
    }

    #[test]
    fn no_copy_expires_long_before_the_original() {
        for life in [20, 600, 86_400] {
            let (mut jar, mut copy, at) = (Jar::default(), Jar::default(), url("http://a.example/"));
            let header = format!("a=1; Max-Age={life}");
            let mut told = 0;
            for now in (NOW..NOW + 10 * life).step_by(usize::try_from(life / 20).unwrap()) {
                if let Some(cookie) = jar.on_header(header.as_bytes(), &at, now) {
                    copy.set(cookie, now);
                    told += 1;
                }
                assert!(copy.header(&at, now + life * 8 / 10).is_some(), "{life} at {}", now - NOW);
            }
            assert!(told <= 110, "{told} times in 200 renewals");
        }
    }

    #[test]
    fn a_page_without_tls_cannot_replace_a_secure_cookie() {
        let mut jar = jar(&[("https://a.example/", "a=1; Secure; Domain=a.example")]);
        assert_eq!(jar.on_header(b"a=2", &url("http://www.a.example/"), NOW), None);
        assert_eq!(jar.on_header(b"a=2; Max-Age=0", &url("http://a.example/"), NOW), None);
        assert!(jar.on_header(b"b=2", &url("http://a.example/"), NOW).is_some());
        assert_eq!(jar.header(&url("https://a.example/"), NOW).as_deref(), Some("a=1; b=2"));
    }

    #[test]
    fn a_secure_cookie_that_has_expired_is_in_nobodys_way() {
        let mut jar = jar(&[("https://a.example/", "a=1; Secure; Max-Age=60")]);
        assert!(jar.on_header(b"a=2", &url("http://a.example/"), NOW + 60).is_some());
    }

    #[test]
    fn a_jar_has_a_limit_and_so_has_each_domain() {
        let mut jar = Jar::default();
        let at = url("https://a.example/");
        jar.on_header(b"login=1; Secure", &at, NOW);
        jar.on_header(b"short=1; Max-Age=60", &at, NOW);
        for n in 0..DOMAIN_COOKIES_MAX {
            jar.on_header(format!("n{n}=1").as_bytes(), &at, NOW + 60);
            jar.on_header(b"n0=1", &at, NOW + 60);
        }
        let header = jar.header(&at, NOW + 60).unwrap();
        assert!(
            header.starts_with("login=1; n0=1; n2=1; "),
            "expired ones go, then those not set for longest"
        );
        for n in 0..JAR_COOKIES_MAX {
            jar.on_header(b"a=1", &url(&format!("http://h{n}.example/")), NOW + 60);
            assert!(jar.count <= JAR_COOKIES_MAX);
        }
        assert_eq!(jar.iter().count(), jar.count);
        assert!(jar.count >= JAR_COOKIES_MAX - EVICTED);
        assert_eq!(jar.header(&at, NOW + 60).unwrap(), "login=1", "those that need no TLS go first");
    }

    #[test]
    fn where_all_need_tls_one_that_does_not_finds_no_room() {
        let mut jar = Jar::default();
        let at = url("https://a.example/");
        for n in 0..DOMAIN_COOKIES_MAX {
            jar.on_header(format!("n{n}=1; Secure").as_bytes(), &at, NOW);
        }
        assert_eq!(jar.on_header(b"plain=1", &at, NOW), None);
        assert!(jar.on_header(b"safe=1; Secure", &at, NOW).is_some());
        assert_eq!((jar.count, jar.iter().count()), (DOMAIN_COOKIES_MAX, DOMAIN_COOKIES_MAX));
    }

    #[test]
    fn what_is_deleted_leaves_nothing() {
        let mut jar = Jar::default();
        for n in 0..100 {
            let at = url(&format!("http://h{n}.example/"));
            jar.on_header(b"never=1; Max-Age=0", &at, NOW);
            jar.on_header(b"once=1", &at, NOW);
            jar.on_header(b"once=1; Max-Age=0", &at, NOW);
        }
        assert_eq!((jar.domains.len(), jar.count), (0, 0));
    }

    #[test]
    fn what_another_process_sends_is_checked() {
        let cookie = jar(&[("http://a.example/", "a=1")]).iter().next().unwrap().clone();
        let text = str::to_owned;
        let mut jar = Jar::default();
        for wrong in [
            Cookie { value: "x".repeat(COOKIE_BYTES_MAX), ..cookie.clone() },
            Cookie { value: text("x\r\nX-Other: y"), ..cookie.clone() },
            Cookie { value: text("x; __Host-a=b"), ..cookie.clone() },
            Cookie { name: text("a\tb"), ..cookie.clone() },
            Cookie { path: text("/\tTRUE\t9999999999\t__Host-sid\tevil"), ..cookie.clone() },
            Cookie { path: text("d"), ..cookie.clone() },
            Cookie { path: String::new(), ..cookie.clone() },
            Cookie { domain: String::new(), ..cookie.clone() },
            Cookie { domain: text("A.example"), ..cookie.clone() },
            Cookie { domain: text(".a.example"), ..cookie.clone() },
            Cookie { domain: text("#HttpOnly_a"), ..cookie.clone() },
            Cookie { name: String::new(), value: String::new(), ..cookie.clone() },
        ] {
            assert!(!jar.set(wrong.clone(), NOW), "{wrong:?}");
        }
        assert_eq!(jar.iter().count(), 0);
        assert!(jar.set(Cookie { domain: text("::1"), ..cookie }, NOW));
    }

    proptest! {
        #[test]
        fn whatever_is_kept_survives_a_file(
            domain in "[.#a-z0-9:\\t\u{feff}]{0,9}",
            path in "/?[a-z/\\t; #]{0,6}",
            name in "[a-zA-Z_=\\t;\u{e4}-]{0,4}",
            value in "[a-z=\\t;\\r \u{e4}]{0,6}",
            (host_only, secure, http_only) in any::<(bool, bool, bool)>(),
            expires in proptest::option::of(any::<u64>()),
        ) {
            let mut jar = Jar::default();
            jar.set(Cookie { domain, host_only, path, secure, http_only, expires, name, value }, NOW);
            let kept: Vec<Cookie> = jar.iter().cloned().collect();
            let text = write_netscape(kept.iter(), NOW);
            prop_assert_eq!(parse_netscape(text.as_bytes()), Ok(kept));
        }

        #[test]
        fn no_header_makes_a_jar_that_cannot_be_read(header in "[a=;/\\t .P]{0,24}") {
            let mut jar = Jar::default();
            for header in [header.clone(), format!("a=b; Path=/{header}"), format!("a=b; Domain={header}")] {
                jar.on_header(header.as_bytes(), &url("https://a.example/"), NOW);
            }
            let text = write_netscape(jar.iter(), NOW);
            prop_assert_eq!(parse_netscape(text.as_bytes()).map(|read| read.len()), Ok(jar.count));
        }
    }
}
