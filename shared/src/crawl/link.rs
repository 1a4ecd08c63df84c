//! The canonical form of a link. It follows the URL standard, and drops what never decides which page is meant:
//! fragments, credentials, default ports and the dot at the end of a host. Parameters are dropped only if the user says
//! so.

use url::Url;

/// Longest link that is followed, in bytes. Servers take URLs of up to 8 KiB.
pub const LINK_BYTES_MAX: usize = 8 * 1024;

/// Parameters that only tell sites where a visitor comes from.
pub const TRACKERS: [&str; 22] = [
    "utm_*",
    "gclid",
    "gclsrc",
    "dclid",
    "gbraid",
    "wbraid",
    "fbclid",
    "msclkid",
    "yclid",
    "twclid",
    "ttclid",
    "igshid",
    "li_fat_id",
    "mc_cid",
    "mc_eid",
    "mkt_tok",
    "_ga",
    "_gl",
    "_hsenc",
    "_hsmi",
    "vero_id",
    "oly_enc_id",
];

/// The parameters that are taken out of links.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Strip {
    names: Vec<String>,
    /// What names begin with.
    beginnings: Vec<String>,
}

impl Strip {
    /// Takes out these: names, or their beginnings with a `*` behind them.
    #[must_use]
    pub fn new<S: AsRef<str>>(given: &[S]) -> Self {
        let mut strip = Self::default();
        for given in given {
            match given.as_ref().strip_suffix('*') {
                Some(beginning) => strip.beginnings.push(beginning.to_owned()),
                None => strip.names.push(given.as_ref().to_owned()),
            }
        }
        strip
    }

    fn names(&self, parameter: &str) -> bool {
        let name = parameter.split('=').next().unwrap_or_default();
        self.names.iter().any(|known| known == name)
            || self.beginnings.iter().any(|beginning| name.starts_with(beginning.as_str()))
    }

    /// Makes a URL canonical, if it is an http(s) URL.
    #[must_use]
    pub fn canonical(&self, mut url: Url) -> Option<Url> {
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return None;
        }
        url.set_fragment(None);
        if !url.username().is_empty() || url.password().is_some() {
            // An http URL with a host can have neither.
            let _ = url.set_password(None).and_then(|()| url.set_username(""));
        }
        let bare = url.host_str().and_then(|host| host.strip_suffix('.')).filter(|host| !host.is_empty());
        if let Some(bare) = bare.map(ToOwned::to_owned) {
            url.set_host(Some(&bare)).ok()?;
        }
        if let Some(query) = url.query()
            && query.split('&').any(|parameter| self.names(parameter))
        {
            let left: Vec<_> = query.split('&').filter(|parameter| !self.names(parameter)).collect();
            let left = left.join("&");
            url.set_query(Some(left.as_str()).filter(|left| !left.is_empty()));
        }
        Some(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(strip: &[&str], link: &str, want: Option<&str>) {
        let url = Url::parse(link).unwrap();
        let canonical = Strip::new(strip).canonical(url);
        assert_eq!(canonical.as_ref().map(Url::as_str), want, "{link}");
    }

    #[test]
    fn only_what_never_decides_the_page_is_dropped() {
        for (link, want) in [
            ("HTTP://Example.COM:80/a/../b#c", "http://example.com/b"),
            ("https://example.com.:443", "https://example.com/"),
            ("http://example.com.:8080/", "http://example.com:8080/"),
            ("http://u:p@a/x?b=1&a=2", "http://a/x?b=1&a=2"),
            ("http://u@a/", "http://a/"),
            ("http://a/?", "http://a/?"),
            ("http://a//b//?x&&y#", "http://a//b//?x&&y"),
            ("http://a/%7Eb/%c3", "http://a/%7Eb/%c3"),
            ("http://b\u{fc}cher/\u{e9}", "http://xn--bcher-kva/%C3%A9"),
            ("http://[::1]:80/", "http://[::1]/"),
        ] {
            check(&[], link, Some(want));
        }
        for link in ["mailto:a@b", "javascript:void(0)", "ftp://a/", "data:,x", "file:///x"] {
            check(&[], link, None);
        }
    }

    #[test]
    fn named_parameters_are_taken_out() {
        check(&["sid"], "http://a/?x=1&sid=2&sid&y", Some("http://a/?x=1&y"));
        check(&["sid"], "http://a/?sid=2", Some("http://a/"));
        check(&["sid"], "http://a/?sid2=2&xsid=1", Some("http://a/?sid2=2&xsid=1"));
        check(&TRACKERS, "http://a/?utm_source=x&id=7&fbclid=y", Some("http://a/?id=7"));
    }
}
