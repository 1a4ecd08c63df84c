//! Keeps cookies, and picks those for a request.

use rustc_hash::FxHashMap;
use url::Url;

use super::{ATTRIBUTE_BYTES_MAX, COOKIE_BYTES_MAX, Cookie, covers, host_of, is_within, set_cookie};
use crate::domain::registrable;

/// Most cookies of one registrable domain, as in browsers. Beyond it, the oldest goes.
pub const DOMAIN_COOKIES_MAX: usize = 180;

/// Most cookies of all domains. Beyond it, the oldest goes.
pub const JAR_COOKIES_MAX: usize = 10_000;

/// Cookies that differ only in when they expire, and by less than this many seconds, count as the same: sites renew
/// theirs with every answer.
const SAME_WITHIN_S: u64 = 60;

/// Cookies, by registrable domains: all that one request may carry are together.
#[derive(Debug, Default)]
pub struct Jar {
    domains: FxHashMap<String, Vec<Entry>>,
    count: usize,
    /// The number of the next cookie that is new.
    next: u64,
}

#[derive(Debug)]
struct Entry {
    cookie: Cookie,
    /// Cookies that were set earlier have smaller ones.
    number: u64,
}

impl Jar {
    /// Takes in a header `Set-Cookie` of the answer to `url`, `now` in seconds since 1970. Returns the cookie if that
    /// changes what is sent.
    pub fn on_header(&mut self, header: &[u8], url: &Url, now: u64) -> Option<Cookie> {
        let cookie = set_cookie::parse(std::str::from_utf8(header).ok()?, url, now)?;
        if url.scheme() != "https" && self.has_secure_like(&cookie) {
            return None;
        }
        self.set(cookie.clone(), now).then_some(cookie)
    }

    /// Whether a cookie that was set without TLS would shadow one that needs it.
    fn has_secure_like(&self, cookie: &Cookie) -> bool {
        self.of(&cookie.domain).iter().map(|entry| &entry.cookie).any(|other| {
            other.secure
                && other.name == cookie.name
                && (is_within(&other.domain, &cookie.domain) || is_within(&cookie.domain, &other.domain))
                && covers(&other.path, &cookie.path)
        })
    }

    fn of(&self, host: &str) -> &[Entry] {
        self.domains.get(registrable(host)).map_or(&[], Vec::as_slice)
    }

    /// Adds, replaces or deletes a cookie. Returns whether that changes what is sent. One that is larger than a
    /// cookie may be is ignored.
    pub fn set(&mut self, cookie: Cookie, now: u64) -> bool {
        let is_small = cookie.name.len() + cookie.value.len() <= COOKIE_BYTES_MAX
            && cookie.domain.len() <= ATTRIBUTE_BYTES_MAX
            && cookie.path.len() <= ATTRIBUTE_BYTES_MAX;
        let is_clean = [&cookie.domain, &cookie.path, &cookie.name, &cookie.value]
            .iter()
            .all(|text| text.bytes().all(|byte| !byte.is_ascii_control() || byte == b'\t'));
        if !is_small || !is_clean {
            return false;
        }
        let entries = self.domains.entry(registrable(&cookie.domain).to_owned()).or_default();
        let at = entries.iter().position(|entry| {
            let other = &entry.cookie;
            other.name == cookie.name
                && other.domain == cookie.domain
                && other.path == cookie.path
                && other.host_only == cookie.host_only
        });
        if has_expired(&cookie, now) {
            let Some(at) = at else { return false };
            entries.remove(at);
            self.count -= 1;
            return true;
        }
        if let Some(entry) = at.and_then(|at| entries.get_mut(at)) {
            let is_same = is_same(&entry.cookie, &cookie);
            entry.cookie = cookie;
            return !is_same;
        }
        if entries.len() >= DOMAIN_COOKIES_MAX {
            let oldest = entries.iter().position(|entry| has_expired(&entry.cookie, now)).unwrap_or(0);
            entries.remove(oldest);
            self.count -= 1;
        }
        entries.push(Entry { cookie, number: self.next });
        self.next += 1;
        self.count += 1;
        if self.count > JAR_COOKIES_MAX {
            self.make_room(now);
        }
        true
    }

    /// Drops what has expired, or else the oldest.
    fn make_room(&mut self, now: u64) {
        let before = self.count;
        self.domains.retain(|_, entries| {
            entries.retain(|entry| !has_expired(&entry.cookie, now));
            !entries.is_empty()
        });
        self.count = self.domains.values().map(Vec::len).sum();
        if self.count < before {
            return;
        }
        // A domain's own are in the order in which they were set.
        let oldest =
            self.domains.values_mut().min_by_key(|entries| entries.first().map(|entry| entry.number));
        if let Some(entries) = oldest {
            entries.remove(0);
            self.count -= 1;
        }
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
        sent.sort_by_key(|entry| (usize::MAX - entry.cookie.path.len(), entry.number));
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

    /// Returns all cookies, those of one domain in the order in which they were set.
    pub fn iter(&self) -> impl Iterator<Item = &Cookie> {
        self.domains.values().flatten().map(|entry| &entry.cookie)
    }
}

fn has_expired(cookie: &Cookie, now: u64) -> bool {
    cookie.expires.is_some_and(|at| at <= now)
}

fn is_same(one: &Cookie, other: &Cookie) -> bool {
    let expire_together = match (one.expires, other.expires) {
        (Some(one), Some(other)) => one.abs_diff(other) < SAME_WITHIN_S,
        (one, other) => one == other,
    };
    expire_together
        && one.value == other.value
        && one.secure == other.secure
        && one.http_only == other.http_only
}

#[cfg(test)]
mod tests {
    use super::*;

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
        ] {
            let changed = jar.on_header(header.as_bytes(), &at, now);
            assert_eq!(changed.is_some(), changes, "{header} at {now}");
        }
        assert_eq!(jar.iter().count(), 0);
        assert_eq!(jar.on_header(b"a=\xff", &at, NOW), None);
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
    fn a_jar_has_a_limit_and_so_has_each_domain() {
        let mut jar = Jar::default();
        let at = url("http://a.example/");
        for n in 0..=DOMAIN_COOKIES_MAX {
            jar.on_header(format!("n{n}=1").as_bytes(), &at, NOW);
        }
        let header = jar.header(&at, NOW).unwrap();
        assert!(!header.contains("n0=") && header.starts_with("n1=1; n2="));
        for n in 0..JAR_COOKIES_MAX {
            jar.on_header(b"a=1", &url(&format!("http://h{n}.example/")), NOW);
        }
        assert_eq!((jar.iter().count(), jar.count), (JAR_COOKIES_MAX, JAR_COOKIES_MAX));
        assert_eq!(jar.header(&at, NOW), None, "the oldest are gone");
    }

    #[test]
    fn what_another_process_sends_is_checked() {
        let cookie = jar(&[("http://a.example/", "a=1")]).iter().next().unwrap().clone();
        let large = Cookie { value: "x".repeat(COOKIE_BYTES_MAX), ..cookie.clone() };
        let torn = Cookie { value: "x\r\nX-Other: y".to_owned(), ..cookie };
        let mut jar = Jar::default();
        assert!(!jar.set(large, NOW) && !jar.set(torn, NOW));
        assert_eq!(jar.iter().count(), 0);
    }
}
