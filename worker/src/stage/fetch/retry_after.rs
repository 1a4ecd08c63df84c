//! The `Retry-After` header: seconds, or a date (RFC 9110 § 10.2.3).

use std::time::{Duration, SystemTime};

use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderName};

/// Returns how long the server asks clients to wait. A date counts from the server's own `Date`, because its clock may
/// differ from ours; without one, from `now`. The supervisor shortens what is too long.
pub(super) fn retry_after(headers: &HeaderMap, now: impl FnOnce() -> SystemTime) -> Option<Duration> {
    let value = text(headers, RETRY_AFTER)?;
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that does not fit is as long as any.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let from = text(headers, DATE).and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or_else(now);
    // A date in the past asks for no delay, but still counts as an answer.
    Some(date.duration_since(from).unwrap_or_default())
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    Some(headers.get(name)?.to_str().ok()?.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_both_count_from_now() {
        let now = || SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (value, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("99999999999999999999999", Some(u64::from(u32::MAX))),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:40:37 GMT", Some(0)),
            ("Tue, 01 Jan 2999 00:00:00 GMT", Some(31_688_032_223)),
            ("-1", None),
            ("+5", None),
            ("1.5", None),
            ("", None),
            ("soon", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs), "{value:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn a_date_counts_from_the_clock_of_the_server() {
        let ours = || SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for (date, seconds) in [("Sun, 06 Nov 1994 08:49:37 GMT", 30), ("yesterday", 0)] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, "Sun, 06 Nov 1994 08:50:07 GMT".parse().unwrap());
            headers.insert(DATE, date.parse().unwrap());
            assert_eq!(retry_after(&headers, ours), Some(Duration::from_secs(seconds)), "{date}");
        }
    }
}
