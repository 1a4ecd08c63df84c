//! Dates of cookies (RFC 6265bis § 5.1.1). Servers write them in many ways, so the standard looks only for their parts.

/// Days before each month of a year that is not a leap year.
const MONTHS: [(&[u8; 3], u64, u64); 12] = [
    (b"jan", 0, 31),
    (b"feb", 31, 29),
    (b"mar", 59, 31),
    (b"apr", 90, 30),
    (b"may", 120, 31),
    (b"jun", 151, 30),
    (b"jul", 181, 31),
    (b"aug", 212, 31),
    (b"sep", 243, 30),
    (b"oct", 273, 31),
    (b"nov", 304, 30),
    (b"dec", 334, 31),
];

/// Returns the seconds since 1970; 0 for an earlier date.
pub(super) fn parse(text: &str) -> Option<u64> {
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for token in text.as_bytes().split(|byte| is_delimiter(*byte)).filter(|token| !token.is_empty()) {
        if time.is_none()
            && let Some(found) = time_of(token)
        {
            time = Some(found);
        } else if day.is_none()
            && let Some(found) = number(token, 1, 2)
        {
            day = Some(found);
        } else if month.is_none()
            && let Some(found) = month_of(token)
        {
            month = Some(found);
        } else if year.is_none()
            && let Some(found) = number(token, 2, 4)
        {
            year = Some(found);
        }
    }
    let year = match year? {
        short @ 70..=99 => short + 1900,
        short @ 0..=69 => short + 2000,
        full => full,
    };
    let ((hour, minute, second), day) = (time?, day?);
    let (before, longest) = month?;
    if day == 0 || day > longest || year < 1601 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    if year < 1970 {
        return Some(0);
    }
    let days = days_before(year, before) + day - 1;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days from 1970 to a month of a later year, which begins `before` days after the year.
const fn days_before(year: u64, before: u64) -> u64 {
    let is_leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let full = year - 1;
    // 477 of them were before 1970.
    let leap_days = full / 4 - full / 100 + full / 400 - 477;
    (year - 1970) * 365 + leap_days + before + if is_leap && before > 31 { 1 } else { 0 }
}

const fn is_delimiter(byte: u8) -> bool {
    matches!(byte, 0x09 | 0x20..=0x2f | 0x3b..=0x40 | 0x5b..=0x60 | 0x7b..=0x7e)
}

/// Reads a number of `least` to `most` digits at the start of a token, where no digit follows.
fn number(token: &[u8], least: usize, most: usize) -> Option<u64> {
    let digits = token.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits < least || digits > most {
        return None;
    }
    std::str::from_utf8(token.get(..digits)?).ok()?.parse().ok()
}

fn time_of(token: &[u8]) -> Option<(u64, u64, u64)> {
    let mut parts = token.splitn(3, |byte| *byte == b':');
    let mut exact = || {
        parts.next().filter(|part| part.iter().all(u8::is_ascii_digit)).and_then(|part| number(part, 1, 2))
    };
    let (hour, minute) = (exact()?, exact()?);
    Some((hour, minute, number(parts.next()?, 1, 2)?))
}

fn month_of(token: &[u8]) -> Option<(u64, u64)> {
    let name = token.get(..3)?;
    let (_, before, longest) = MONTHS.iter().find(|(month, ..)| month.eq_ignore_ascii_case(name))?;
    Some((*before, *longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_in_all_their_forms() {
        for (text, want) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Some(1_445_412_480)),
            ("Wed, 21-Oct-2015 07:28:00 GMT", Some(1_445_412_480)),
            ("Wednesday, 21-Oct-15 07:28:00 GMT", Some(1_445_412_480)),
            ("Wed Oct 21 07:28:00 2015", Some(1_445_412_480)),
            ("21 oct 2015 7:28:0 whatever", Some(1_445_412_480)),
            ("Tue, 29 Feb 2028 23:59:59 GMT", Some(1_835_481_599)),
            ("Wed, 01 Mar 2028 00:00:00 GMT", Some(1_835_481_600)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799)),
            ("01 Jan 1969 00:00:00", Some(0)),
            ("01 Jan 1600 00:00:00", None),
            ("32 Jan 2020 00:00:00", None),
            ("1 Jan 2020 24:00:00", None),
            ("1 Jan 2020", None),
            ("tomorrow", None),
            ("", None),
        ] {
            assert_eq!(parse(text), want, "{text}");
        }
    }
}
