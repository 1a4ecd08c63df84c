//! Amounts with a unit: times, sizes and rates. Each kind has one parser, whose errors name the accepted
//! forms. Zero and absurdly large amounts are refused here, so later code does not check again.

use std::time::Duration;

/// Longest timeout. A larger number is most likely a mistake in the unit.
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Largest body. The limit exists because a page is held in memory while it is parsed.
const BODY_BYTES_MAX: u64 = 4 << 30;

/// Highest rate per host. Beyond it, the time between two starts would be shorter than a system call.
/// For no limit, the flag is left out.
const RATE_PER_S_MAX: f64 = 1e6;

/// A rate in requests per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PerSecond(pub(super) f64);

/// A range of delays. Both ends are the same if the delay is fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delay {
    pub(super) least: Duration,
    pub(super) most: Duration,
}

/// Parses `2s` or `1s..3s`.
pub(super) fn delay(text: &str) -> Result<Delay, String> {
    let Some((least, most)) = text.split_once("..") else {
        return duration(text).map(|delay| Delay { least: delay, most: delay });
    };
    let (least, most) = (duration(least)?, duration(most)?);
    if least > most {
        return Err("give the shorter time first, such as 1s..3s".to_owned());
    }
    Ok(Delay { least, most })
}

/// Parses `30s`, `1m 30s`, `250ms`; a bare number is seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = match text.trim().parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => humantime::parse_duration(text.trim()).ok(),
    };
    match parsed {
        None => Err("give a time such as 30s, 500ms, 2m or 1.5 (seconds)".to_owned()),
        Some(Duration::ZERO) => Err("a time of zero is not allowed; give at least 1ms".to_owned()),
        Some(time) if time > DURATION_MAX => Err("give at most 24h".to_owned()),
        Some(time) => Ok(time),
    }
}

/// Parses `16MiB`, `500KB`, `1.5GiB`. A bare number is bytes; `K`, `M` and `G` mean KiB, MiB and GiB.
pub(super) fn body_bytes(text: &str) -> Result<u64, String> {
    match bytes(text.trim()) {
        None => Err("give a size such as 16MiB, 500KB or 1048576 (bytes)".to_owned()),
        Some(0) => Err("a limit of 0 bytes is not allowed; give at least 1".to_owned()),
        Some(bytes) if bytes > BODY_BYTES_MAX => {
            Err("give at most 4GiB: a page is held in memory while it is parsed".to_owned())
        }
        Some(bytes) => Ok(bytes),
    }
}

/// Smallest memory limit of a worker. With less, it could not load its libraries and one page.
const WORKER_MEMORY_MIN: u64 = 64 << 20;

/// `--worker-memory`.
pub(super) fn worker_memory(text: &str) -> Result<u64, String> {
    match bytes(text) {
        Some(bytes) if bytes >= WORKER_MEMORY_MIN => Ok(bytes),
        Some(_) => Err("give at least 64MiB; with less, a worker cannot start and hold a page".to_owned()),
        None => Err("give a size such as 512MiB or 2GiB".to_owned()),
    }
}

/// Parses the size of what is kept, or of one request.
pub(super) fn size(text: &str) -> Result<u64, String> {
    match bytes(text.trim()) {
        Some(bytes) if bytes > 0 => Ok(bytes),
        Some(_) | None => Err("give a size such as 10GiB or 500MB".to_owned()),
    }
}

/// Parses how long something is kept: `7d`, `12h`. A bare number is seconds.
pub(super) fn age(text: &str) -> Result<Duration, String> {
    let parsed = match text.trim().parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text.trim()).ok(),
    };
    parsed.ok_or_else(|| "give a time such as 7d, 12h or 30min".to_owned())
}

fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let unit: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return Some(whole.saturating_mul(unit));
    }
    let size = number.parse::<f64>().ok()? * unit as f64;
    // 1e15 is far above every limit that callers check, and an f64 is exact up to there.
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
            Err("give at most 1000000/s; for no limit, leave the flag out".to_owned())
        }
        Ok(_) => Err("give a rate above zero, such as 0.5/s".to_owned()),
        Err(_) => Err("give a rate such as 5/s, 300/m or 1000/h".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::values::tests::check;
    use super::*;

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
    fn delays() {
        let ms = Duration::from_millis;
        check(
            delay,
            &[
                ("2s", Delay { least: ms(2000), most: ms(2000) }),
                ("0.5..1.5", Delay { least: ms(500), most: ms(1500) }),
                ("100ms .. 1s", Delay { least: ms(100), most: ms(1000) }),
            ],
            &[
                ("3s..1s", "shorter time first"),
                ("1s..", "give a time"),
                ("..", "give a time"),
                ("0..1s", "1ms"),
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
}
