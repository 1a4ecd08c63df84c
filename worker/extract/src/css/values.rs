//! Values of form controls as numbers (HTML 2.3, "Common microsyntaxes").

/// Converts a value of an `input` type to a number with the same order; `None` if it is invalid.
pub(super) fn number(kind: &str, text: &str) -> Option<f64> {
    match kind {
        "number" | "range" => float(text),
        "date" => date(text),
        "month" => month(text),
        "week" => {
            let (year, week) = text.split_once("-W")?;
            Some(digits(year, 4, 0.0..=f64::MAX)? * 100.0 + digits(week, 2, 1.0..=53.0)?)
        }
        "time" => time(text),
        "datetime-local" => {
            let (day, moment) = text.split_once(['T', ' '])?;
            Some(date(day)? * 86_400.0 + time(moment)?)
        }
        _ => None,
    }
}

/// A valid floating-point number of HTML. Rust accepts more.
pub(super) fn float(text: &str) -> Option<f64> {
    let is_plain = text.bytes().all(|c| c.is_ascii_digit() || b"+-.eE".contains(&c));
    let is_whole = !text.starts_with('+') && text.ends_with(|c: char| c.is_ascii_digit());
    if is_plain && is_whole { text.parse().ok().filter(|number: &f64| number.is_finite()) } else { None }
}

fn date(text: &str) -> Option<f64> {
    let (of_month, day) = text.rsplit_once('-')?;
    let (_, name) = of_month.rsplit_once('-')?;
    let days = match name {
        "02" => 29.0,
        "04" | "06" | "09" | "11" => 30.0,
        _ => 31.0,
    };
    Some(month(of_month)? * 32.0 + digits(day, 2, 1.0..=days)?)
}

fn month(text: &str) -> Option<f64> {
    let (year, month) = text.rsplit_once('-')?;
    Some(digits(year, 4, 1.0..=f64::MAX)? * 12.0 + digits(month, 2, 1.0..=12.0)?)
}

/// Seconds since midnight.
fn time(text: &str) -> Option<f64> {
    let mut parts = text.split(':');
    let hour = digits(parts.next()?, 2, 0.0..=23.0)?;
    let minute = digits(parts.next()?, 2, 0.0..=59.0)?;
    let second = match parts.next() {
        Some(second) => float(second).filter(|second| (0.0..60.0).contains(second))?,
        None => 0.0,
    };
    if parts.next().is_some() { None } else { Some(hour * 3600.0 + minute * 60.0 + second) }
}

/// A number of exactly two digits, or of at least four.
fn digits(text: &str, least: usize, range: std::ops::RangeInclusive<f64>) -> Option<f64> {
    let is_number = text.len() >= least && text.bytes().all(|c| c.is_ascii_digit());
    let is_exact = least != 2 || text.len() == 2;
    if is_number && is_exact { text.parse().ok().filter(|number| range.contains(number)) } else { None }
}
