//! Reads and writes `cookies.txt`: one cookie a line, in seven fields with tabs between, as `curl`, `wget` and the
//! extensions of browsers have it.

use std::fmt::Write as _;

use super::Cookie;

/// What marks a cookie that scripts may not read. Older programs take the line for a comment.
const HTTP_ONLY: &str = "#HttpOnly_";

/// The first line, by which programs know the format.
const HEAD: &str =
    "# Netscape HTTP Cookie File\n# It holds sessions: who reads it can be logged in as you.\n\n";

/// A line is not a cookie.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct NetscapeError {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

/// Reads a file. Comments and empty lines are skipped.
///
/// # Errors
/// [`NetscapeError`] names the first line that is not a cookie.
pub fn parse(bytes: &[u8]) -> Result<Vec<Cookie>, NetscapeError> {
    let mut cookies = Vec::new();
    for (line, bytes) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let wrong = |what| NetscapeError { line, what };
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8"))?;
        let text = text.trim_start_matches('\u{feff}').trim_end_matches('\r');
        let (text, http_only) = text.strip_prefix(HTTP_ONLY).map_or((text, false), |rest| (rest, true));
        if text.trim().is_empty() || text.starts_with('#') {
            continue;
        }
        cookies.push(parse_line(text, http_only).map_err(wrong)?);
    }
    Ok(cookies)
}

fn parse_line(text: &str, http_only: bool) -> Result<Cookie, &'static str> {
    let mut fields = text.splitn(7, '\t');
    let mut next = || fields.next().ok_or("a cookie has seven fields with tabs between");
    let (domain, below, path, secure, expires, name) = (next()?, next()?, next()?, next()?, next()?, next()?);
    // A cookie without a value may lack its last tab.
    let value = fields.next().unwrap_or_default();
    let domain = domain.strip_prefix('.').unwrap_or(domain).to_ascii_lowercase();
    if domain.is_empty() || !path.starts_with('/') {
        return Err("the domain is empty, or the path does not begin with a slash");
    }
    let flag = |text: &str| match text {
        "TRUE" => Ok(true),
        "FALSE" => Ok(false),
        _ => Err("the second and fourth field are TRUE or FALSE"),
    };
    let expires: f64 = expires.parse().map_err(|_| "the fifth field is the time in seconds since 1970")?;
    Ok(Cookie {
        domain,
        host_only: !flag(below)?,
        path: path.to_owned(),
        secure: flag(secure)?,
        http_only,
        // 0 and -1 are how programs write that it ends with the session; some write fractions.
        expires: (expires > 0.0).then_some(expires as u64),
        name: name.to_owned(),
        value: value.to_owned(),
    })
}

/// Returns the text of a file with these cookies of a [`Jar`](super::Jar), sorted. Those that have expired are left out.
pub fn write<'a>(cookies: impl Iterator<Item = &'a Cookie>, now: u64) -> String {
    let is_kept = |cookie: &&Cookie| cookie.expires.is_none_or(|at| at > now);
    let mut cookies: Vec<&Cookie> = cookies.filter(is_kept).collect();
    // Stable, so that those of one domain and path stay in the order in which they were set.
    cookies.sort_by(|a, b| (&a.domain, &a.path).cmp(&(&b.domain, &b.path)));
    let mut text = HEAD.to_owned();
    for Cookie { domain, host_only, path, secure, http_only, expires, name, value } in cookies {
        let mark = if *http_only { HTTP_ONLY } else { "" };
        let (dot, below) = if *host_only { ("", "FALSE") } else { (".", "TRUE") };
        let secure = if *secure { "TRUE" } else { "FALSE" };
        let expires = expires.unwrap_or(0);
        let _infallible =
            writeln!(text, "{mark}{dot}{domain}\t{below}\t{path}\t{secure}\t{expires}\t{name}\t{value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# Netscape HTTP Cookie File\n\
        \n\
        .a.example\tTRUE\t/\tFALSE\t1900000000\tn\tv\n\
        #HttpOnly_www.a.example\tFALSE\t/d\tTRUE\t0\tsid\ta b\tc\n\
        www.a.example\tFALSE\t/d\tFALSE\t0\tempty\n";

    #[test]
    fn what_is_written_is_read_back() {
        let cookies = parse(FILE.as_bytes()).unwrap();
        let [first, second, third] = cookies.as_slice() else { panic!("{cookies:?}") };
        assert_eq!((first.host_only, first.expires, first.http_only), (false, Some(1_900_000_000), false));
        assert_eq!((second.value.as_str(), second.secure, second.http_only), ("a b\tc", true, true));
        assert_eq!((third.host_only, third.value.as_str(), third.expires), (true, "", None));
        let text = write(cookies.iter(), 1_800_000_000);
        assert_eq!(parse(text.as_bytes()), Ok(cookies.clone()));
        let later = write(cookies.iter(), 1_900_000_000);
        assert_eq!(parse(later.as_bytes()).unwrap(), cookies[1..], "one has expired");
    }

    #[test]
    fn other_programs_files_are_read() {
        let text = "\u{feff}A.example\tFALSE\t/\tFALSE\t1900000000.5\tn\tv\r\na\tFALSE\t/\tFALSE\t-1\tn\tv";
        let cookies = parse(text.as_bytes()).unwrap();
        assert_eq!((cookies[0].domain.as_str(), cookies[0].expires), ("a.example", Some(1_900_000_000)));
        assert_eq!(cookies[1].expires, None);
    }

    #[test]
    fn a_line_that_is_no_cookie_is_named() {
        for (text, error) in [
            ("# x\nhello\n", "line 2: a cookie has seven fields with tabs between"),
            ("a FALSE / FALSE 0 n v", "line 1: a cookie has seven fields with tabs between"),
            ("a\tyes\t/\tFALSE\t0\tn\tv", "line 1: the second and fourth field are TRUE or FALSE"),
            ("a\tTRUE\t/\tFALSE\tsoon\tn\tv", "line 1: the fifth field is the time in seconds since 1970"),
            (
                "a\tTRUE\tx\tFALSE\t0\tn\tv",
                "line 1: the domain is empty, or the path does not begin with a slash",
            ),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap_err().to_string(), error, "{text:?}");
        }
        assert_eq!(parse(b"\xff").unwrap_err().what, "it is not UTF-8");
    }
}
