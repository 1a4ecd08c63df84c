//! The values flags take, each parsed by one function that says what it takes
//! instead. Used by flags, environment and files alike, through clap.
//!
//! Zero and absurd numbers end here: nothing behind this module checks again.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use shared::select::{Each, Field};

/// Longest timeout. A target that may take longer is a job of its own, and a
/// number this large is a slip of the unit.
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Largest body. A page is held in memory while it is parsed.
const BODY_BYTES_MAX: u64 = 4 << 30;

/// Highest rate to one host. Beyond it the bucket's ticks would be shorter than
/// a system call; leaving the flag out means no limit.
const RATE_PER_S_MAX: f64 = 1e6;

/// `auto`, or a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AutoOr(pub(super) Option<NonZeroU32>);

/// `auto`, a number, or no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    Auto,
    AtMost(NonZeroU32),
    Unlimited,
}

/// Requests per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PerSecond(pub(super) f64);

/// A request header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: String,
    pub(super) value: String,
}

/// Parses `auto` or 1 to `max`.
pub(super) fn auto_or(max: u32) -> impl Fn(&str) -> Result<AutoOr, String> + Clone + Send + Sync + 'static {
    move |text| match text {
        "auto" => Ok(AutoOr(None)),
        number => count(number, max)
            .map(|n| AutoOr(Some(n)))
            .ok_or_else(|| format!("give auto, or a whole number from 1 to {max}")),
    }
}

/// Parses `auto`, `unlimited` or 1 to `max`.
pub(super) fn limit(max: u32) -> impl Fn(&str) -> Result<Limit, String> + Clone + Send + Sync + 'static {
    move |text| match text {
        "auto" => Ok(Limit::Auto),
        "unlimited" => Ok(Limit::Unlimited),
        number => count(number, max)
            .map(Limit::AtMost)
            .ok_or_else(|| format!("give auto, unlimited, or a whole number from 1 to {max}")),
    }
}

fn count(text: &str, max: u32) -> Option<NonZeroU32> {
    text.parse().ok().filter(|n: &NonZeroU32| n.get() <= max)
}

/// Parses 1 to `max`.
pub(super) fn batch(max: u32) -> impl Fn(&str) -> Result<NonZeroU32, String> + Clone + Send + Sync + 'static {
    move |text| count(text, max).ok_or_else(|| format!("give a whole number from 1 to {max}"))
}

/// Parses a command as a shell would cut it into words. No shell runs it.
pub(super) fn command_line(text: &str) -> Result<String, String> {
    match words(text) {
        None => Err("a quote is not closed".to_owned()),
        Some(words) if words.is_empty() => Err("give a command, such as 'jq -c .fields'".to_owned()),
        Some(_) => Ok(text.to_owned()),
    }
}

/// The words of a command line; `None` when a quote is not closed.
pub(super) fn words(text: &str) -> Option<Vec<String>> {
    shlex::split(text)
}

/// Parses how many groups there may be.
pub(super) fn groups(text: &str) -> Result<u64, String> {
    let number = text.replace(['_', ','], "").parse().ok();
    number
        .filter(|n| (1..=u64::from(u32::MAX)).contains(n))
        .ok_or_else(|| format!("give a whole number from 1 to {}", u32::MAX))
}

/// Parses what stands between two cells.
pub(super) fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        [byte @ (b'\t' | b' '..=b'~')] if *byte != b'"' && !byte.is_ascii_alphanumeric() => Ok(*byte),
        _ => Err("give one character: a comma, ;, |, tab, … but no letter, digit or quote".to_owned()),
    }
}

/// Parses how many inputs are sampled.
pub(super) fn sample(text: &str) -> Result<NonZeroU64, String> {
    text.parse().map_err(|_| "give a whole number, at least 1".to_owned())
}

/// Parses `30s`, `1m 30s`, `250ms`; a bare number is seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = match text.trim().parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => humantime::parse_duration(text.trim()).ok(),
    };
    match parsed {
        None => Err("give a time such as 30s, 500ms, 2m or 1.5 (seconds)".to_owned()),
        Some(Duration::ZERO) => Err("nothing can be done in no time; give at least 1ms".to_owned()),
        Some(time) if time > DURATION_MAX => Err("give at most 24h".to_owned()),
        Some(time) => Ok(time),
    }
}

/// Parses `16MiB`, `500KB`, `1.5GiB`; a bare number is bytes, a bare letter means the binary unit.
pub(super) fn body_bytes(text: &str) -> Result<u64, String> {
    match bytes(text.trim()) {
        None => Err("give a size such as 16MiB, 500KB or 1048576 (bytes)".to_owned()),
        Some(0) => Err("no page fits in 0 bytes; give at least 1".to_owned()),
        Some(bytes) if bytes > BODY_BYTES_MAX => {
            Err("give at most 4GiB: a page is held in memory while it is parsed".to_owned())
        }
        Some(bytes) => Ok(bytes),
    }
}

/// Least memory a worker can be given: below this it cannot even load its libraries and one page.
const WORKER_MEMORY_MIN: u64 = 64 << 20;

/// `--worker-memory`.
pub(super) fn worker_memory(text: &str) -> Result<u64, String> {
    match bytes(text) {
        Some(bytes) if bytes >= WORKER_MEMORY_MIN => Ok(bytes),
        Some(_) => Err("a worker needs at least 64MiB to start and to hold a page".to_owned()),
        None => Err("give a size such as 512MiB or 2GiB".to_owned()),
    }
}

fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let unit: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return Some(whole.saturating_mul(unit));
    }
    let size = number.parse::<f64>().ok()? * unit as f64;
    // Far beyond the limit checked next, and within what an f64 counts exactly.
    (size < 1e15).then_some(size as u64)
}

/// Parses `5/s`, `300/m`, `1000/h`; a bare number is per second.
pub(super) fn rate(text: &str) -> Result<PerSecond, String> {
    let (number, unit) = text.trim().split_once('/').unwrap_or((text.trim(), "s"));
    let seconds = match unit.trim() {
        "s" | "sec" | "second" => 1.0,
        "m" | "min" | "minute" => 60.0,
        "h" | "hour" => 3600.0,
        _ => return Err("give a rate such as 5/s, 300/m or 1000/h".to_owned()),
    };
    match number.trim().parse::<f64>() {
        Ok(number) if number > 0.0 && number / seconds <= RATE_PER_S_MAX => Ok(PerSecond(number / seconds)),
        Ok(number) if number > 0.0 => {
            Err("give at most 1000000/s; without the flag there is no limit".to_owned())
        }
        Ok(_) => Err("give a rate above zero, such as 0.5/s".to_owned()),
        Err(_) => Err("give a rate such as 5/s, 300/m or 1000/h".to_owned()),
    }
}

/// Parses `Name: value`.
pub(super) fn header(text: &str) -> Result<Header, String> {
    let Some((name, value)) = text.split_once(':') else {
        return Err("give NAME: VALUE, with a colon".to_owned());
    };
    let name = name.trim();
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(format!("'{name}' is not a header's name: letters, digits and - are"));
    }
    // These frame the message; a wrong one makes the next answer on the connection somebody else's.
    const OURS: [&str; 4] = ["connection", "content-length", "te", "transfer-encoding"];
    if OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
        return Err(format!("{name} belongs to the connection and is set by the program; leave it out"));
    }
    header_value(value.trim()).map(|value| Header { name: name.to_owned(), value })
}

/// Parses the value of a header, or of `--user-agent`.
pub(super) fn header_value(text: &str) -> Result<String, String> {
    if text.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b)) {
        Ok(text.to_owned())
    } else {
        Err("a header's value is printable ASCII on one line; percent-encode the rest".to_owned())
    }
}

/// RFC 9110, 5.6.2.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// Refuses a bad `--select` here, where its flag or file is still known. All of
/// them together are parsed later, when names can be compared.
pub(super) fn select(text: &str) -> Result<String, String> {
    match Field::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{}, at character {}; {}", error.problem, error.position, error.fix)),
    }
}

/// Parses `--each`.
pub(super) fn each(text: &str) -> Result<Each, String> {
    Each::parse(text)
        .map_err(|error| format!("{}, at character {}; {}", error.problem, error.position, error.fix))
}

/// Parses a column's name.
pub(super) fn column(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("give the column's name".to_owned()) } else { Ok(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: std::fmt::Debug + PartialEq>(
        parse: impl Fn(&str) -> Result<T, String>,
        good: &[(&str, T)],
        bad: &[(&str, &str)],
    ) {
        for (text, want) in good {
            assert_eq!(parse(text).as_ref(), Ok(want), "{text}");
        }
        for (text, want) in bad {
            let error = parse(text).expect_err(text);
            assert!(error.contains(want), "{text}: {error}");
        }
    }

    fn n(n: u32) -> NonZeroU32 {
        NonZeroU32::new(n).unwrap()
    }

    #[test]
    fn counts() {
        let range = "from 1 to 64";
        check(
            auto_or(64),
            &[("auto", AutoOr(None)), ("1", AutoOr(Some(n(1)))), ("64", AutoOr(Some(n(64))))],
            &[("0", range), ("65", range), ("-1", range), ("1.5", range), ("", range), ("many", range)],
        );
        check(
            limit(64),
            &[("auto", Limit::Auto), ("unlimited", Limit::Unlimited), ("8", Limit::AtMost(n(8)))],
            &[("0", "unlimited"), ("none", "unlimited")],
        );
        check(sample, &[("5", NonZeroU64::new(5).unwrap())], &[("0", "at least 1"), ("x", "at least 1")]);
    }

    #[test]
    fn durations() {
        let ms = Duration::from_millis;
        check(
            duration,
            &[
                ("30s", ms(30_000)),
                ("30", ms(30_000)),
                ("1.5", ms(1500)),
                ("250ms", ms(250)),
                ("1m 30s", ms(90_000)),
                (" 2min ", ms(120_000)),
                ("24h", ms(86_400_000)),
            ],
            &[
                ("0", "at least 1ms"),
                ("0s", "at least 1ms"),
                ("-1", "give a time"),
                ("", "give a time"),
                ("NaN", "give a time"),
                ("inf", "give a time"),
                ("30 parsecs", "give a time"),
                ("2d", "at most 24h"),
                ("1e9", "at most 24h"),
            ],
        );
    }

    #[test]
    fn sizes() {
        check(
            body_bytes,
            &[
                ("1", 1),
                ("512B", 512),
                ("1048576", 1 << 20),
                ("16MiB", 16 << 20),
                ("16 mib", 16 << 20),
                ("1.5GiB", 3 << 29),
                ("64K", 64 << 10),
                ("500KB", 500_000),
                ("2MB", 2_000_000),
                ("1gb", 1_000_000_000),
                ("4GiB", 4 << 30),
            ],
            &[
                ("0", "at least 1"),
                ("0.1B", "at least 1"),
                ("", "give a size"),
                ("MiB", "give a size"),
                ("-5", "give a size"),
                ("5 apples", "give a size"),
                ("1.2.3", "give a size"),
                ("5GiB", "at most 4GiB"),
                ("99999999999999999GiB", "at most 4GiB"),
            ],
        );
    }

    #[test]
    fn rates() {
        check(
            rate,
            &[
                ("5/s", PerSecond(5.0)),
                ("5", PerSecond(5.0)),
                ("0.5/s", PerSecond(0.5)),
                ("300/m", PerSecond(5.0)),
                ("300 / min", PerSecond(5.0)),
                ("3600/h", PerSecond(1.0)),
            ],
            &[
                ("0/s", "above zero"),
                ("-1/s", "above zero"),
                ("NaN", "above zero"),
                ("inf", "1000000/s"),
                ("5/day", "5/s"),
                ("fast", "5/s"),
                ("", "5/s"),
            ],
        );
    }

    #[test]
    fn headers() {
        let good = |name: &str, value: &str| Header { name: name.to_owned(), value: value.to_owned() };
        check(
            header,
            &[
                ("Accept: text/html", good("Accept", "text/html")),
                ("X-Empty:", good("X-Empty", "")),
                ("A:b:c", good("A", "b:c")),
            ],
            &[
                ("Accept", "with a colon"),
                (": x", "not a header's name"),
                ("A b: x", "not a header's name"),
                ("A: x\r\nB: y", "on one line"),
                ("A: é", "ASCII"),
                ("content-length: 5", "leave it out"),
                ("Transfer-Encoding: chunked", "leave it out"),
            ],
        );
    }

    #[test]
    fn commands() {
        check(
            command_line,
            &[("jq -c '.a b'", "jq -c '.a b'".to_owned())],
            &[("", "give a command"), ("  ", "give a command"), ("jq '.a", "not closed")],
        );
        assert_eq!(words("a 'b c' d\\ e").unwrap(), ["a", "b c", "d e"]);
        check(batch(9), &[("9", n(9))], &[("0", "from 1 to 9"), ("10", "from 1 to 9")]);
    }

    #[test]
    fn selectors() {
        check(each, &[("$.a", Each::JsonPath("$.a".to_owned()))], &[("h1::text", "at character 3")]);
        check(select, &[("t=h1", "t=h1".to_owned())], &[("h1", "at character"), ("t=h1[", "at character")]);
        check(column, &[("url", "url".to_owned())], &[("", "name")]);
    }
}
