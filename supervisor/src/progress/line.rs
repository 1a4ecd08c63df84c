//! The text of the progress line. Pure, so that tests can check every width.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Snapshot, Total};
use crate::units;

/// The time over which the rate is averaged: short enough to follow changes, long enough to be readable.
const WINDOW: Duration = Duration::from_secs(5);

/// Shortest time between two samples. More samples would only cost memory.
const SAMPLE_EVERY: Duration = Duration::from_millis(200);

/// The recent rate, from samples of the last seconds.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    samples: VecDeque<(Instant, u64, u64)>,
}

impl Rate {
    pub(crate) fn sample(&mut self, now: Instant, snapshot: &Snapshot) {
        if self.samples.back().is_some_and(|(at, ..)| now.saturating_duration_since(*at) < SAMPLE_EVERY) {
            return;
        }
        self.samples.push_back((now, snapshot.done, snapshot.bytes));
        // Keep one sample that is older than the window: the rate is measured from it.
        while self.samples.get(1).is_some_and(|(at, ..)| now.saturating_duration_since(*at) >= WINDOW) {
            self.samples.pop_front();
        }
    }

    /// Returns items and bytes per second.
    pub(crate) fn per_second(&self, now: Instant, snapshot: &Snapshot) -> (f64, f64) {
        let Some(&(since, done, bytes)) = self.samples.front() else {
            return (0.0, 0.0);
        };
        let seconds = now.saturating_duration_since(since).as_secs_f64();
        if seconds <= 0.0 {
            return (0.0, 0.0);
        }
        let per_second = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        (per_second(snapshot.done, done), per_second(snapshot.bytes, bytes))
    }
}

/// The progress line at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// The part that is always shown.
    done: String,
    /// Parts shown if there is room, most important first, each with its position in the line.
    rest: Vec<(usize, String)>,
}

impl Line {
    pub(super) fn new(snapshot: &Snapshot, items_per_s: f64, bytes_per_s: f64) -> Self {
        let done = match snapshot.total {
            Total::Exact(total) => format!("{}/{}", units::count(snapshot.done), units::count(total)),
            Total::About(total) => format!("{}/~{}", units::count(snapshot.done), units::count(total)),
            Total::Found(total) => {
                format!("{} of {} found", units::count(snapshot.done), units::count(total))
            }
            Total::Unknown => format!("{} done", units::count(snapshot.done)),
            Total::Bytes(total) => {
                format!("{} of {}", units::bytes(snapshot.bytes.min(total)), units::bytes(total))
            }
        };
        let in_bytes = matches!(snapshot.total, Total::Bytes(_));
        let mut rest = Vec::new();
        if !in_bytes {
            rest.push((0, format!("{}/s", units::number(items_per_s))));
        }
        if snapshot.failed > 0 {
            rest.push((2, format!("{} failed", units::count(snapshot.failed))));
        }
        if snapshot.refused > 0 {
            rest.push((3, format!("{} refused", units::count(snapshot.refused))));
        }
        if let Some(pace_per_s) = snapshot.load.and_then(|load| load.pace_per_s) {
            rest.push((4, format!("paced to {}/s", units::number(pace_per_s))));
        }
        if snapshot.proxies_failing > 0 {
            let count = u64::try_from(snapshot.proxies_failing).unwrap_or(u64::MAX);
            let proxies = if count == 1 { "proxy" } else { "proxies" };
            rest.push((4, format!("{} {proxies} down", units::count(count))));
        }
        if let Some(left) = left(snapshot, if in_bytes { bytes_per_s } else { items_per_s }) {
            rest.push((6, format!("{} left", units::clock(left))));
        }
        if snapshot.bytes > 0 {
            rest.push((1, format!("{}/s", units::bytes(bytes_per_s as u64))));
        }
        if !in_bytes {
            let most = snapshot.load.and_then(|load| load.in_flight_max);
            let of = most.map(|most| format!(" of {}", units::count(most.into()))).unwrap_or_default();
            rest.push((5, format!("{}{of} in flight", units::count(snapshot.in_flight))));
        }
        Self { done, rest }
    }

    /// Returns the parts that fit into `width` columns.
    pub(super) fn fit(&self, width: usize) -> String {
        let mut shown = self.rest.clone();
        loop {
            let mut parts = shown.clone();
            parts.sort_by_key(|(place, _)| *place);
            let parts = parts.iter().map(|(_, text)| text.as_str());
            let line = std::iter::once(self.done.as_str()).chain(parts).collect::<Vec<_>>().join("  ");
            // The text is ASCII, so a byte is a column.
            if line.len() <= width || shown.pop().is_none() {
                return line;
            }
        }
    }
}

/// Returns the remaining time at this rate, or `None` if the total is unknown.
pub(crate) fn left(snapshot: &Snapshot, per_s: f64) -> Option<Duration> {
    let (total, done) = match snapshot.total {
        Total::Exact(total) | Total::About(total) => (total, snapshot.done),
        Total::Bytes(total) => (total, snapshot.bytes),
        // Nobody knows how many more there are.
        Total::Found(_) | Total::Unknown => return None,
    };
    let left = total.checked_sub(done).filter(|left| *left > 0)?;
    (per_s > 0.0)
        .then(|| Duration::try_from_secs_f64(left as f64 / per_s).ok())
        .flatten()
        // "0 s left" would read as done.
        .map(|left| left.max(Duration::from_secs(1)))
}

#[cfg(test)]
mod tests {
    use supervisor_core::gather::LoadSample;

    use super::*;

    fn snapshot(done: u64, total: Total) -> Snapshot {
        Snapshot {
            done,
            failed: 12,
            refused: 0,
            load: None,
            proxies_failing: 0,
            bytes: 5_000_000,
            in_flight: 128,
            total,
        }
    }

    #[test]
    fn parts_go_as_the_terminal_narrows_and_the_count_stays() {
        let line = Line::new(&snapshot(4_312, Total::Exact(10_000)), 3911.0, 84_200_000.0);
        for (width, expected) in [
            (200, "4,312/10,000  3,911/s  84.2 MB/s  12 failed  128 in flight  1 s left"),
            (70, "4,312/10,000  3,911/s  84.2 MB/s  12 failed  128 in flight  1 s left"),
            (60, "4,312/10,000  3,911/s  84.2 MB/s  12 failed  1 s left"),
            (50, "4,312/10,000  3,911/s  12 failed  1 s left"),
            (40, "4,312/10,000  3,911/s  12 failed"),
            (22, "4,312/10,000  3,911/s"),
            (15, "4,312/10,000"),
            (0, "4,312/10,000"),
        ] {
            assert_eq!(line.fit(width), expected, "{width}");
        }
    }

    #[test]
    fn a_total_that_is_guessed_or_unknown_says_so() {
        for (total, expected) in [
            (Total::About(9_000), "10/~9,000  2/s  0 B/s  12 failed  128 in flight  1 h 14 min left"),
            (Total::Unknown, "10 done  2/s  0 B/s  12 failed  128 in flight"),
            (Total::Bytes(20_000_000), "5 MB of 20 MB  0 B/s  12 failed"),
            (Total::Exact(10), "10/10  2/s  0 B/s  12 failed  128 in flight"),
        ] {
            assert_eq!(Line::new(&snapshot(10, total), 2.0, 0.0).fit(200), expected);
        }
        let load = LoadSample {
            at_us: 0,
            in_flight_max: Some(256),
            host_in_flight_max: None,
            pace_per_s: Some(19.3),
        };
        let slowed = Snapshot { refused: 7, load: Some(load), ..snapshot(10, Total::Unknown) };
        assert_eq!(
            Line::new(&slowed, 2.0, 0.0).fit(200),
            "10 done  2/s  0 B/s  12 failed  7 refused  paced to 19.3/s  128 of 256 in flight"
        );
        let failing = Snapshot { proxies_failing: 1, bytes: 0, failed: 0, ..snapshot(10, Total::Unknown) };
        assert_eq!(Line::new(&failing, 2.0, 0.0).fit(200), "10 done  2/s  1 proxy down  128 in flight");
        let quiet = Snapshot {
            done: 1,
            failed: 0,
            refused: 0,
            load: None,
            proxies_failing: 0,
            bytes: 0,
            in_flight: 1,
            total: Total::Unknown,
        };
        assert_eq!(Line::new(&quiet, 0.0, 0.0).fit(200), "1 done  0/s  1 in flight");
    }

    #[test]
    fn the_rate_follows_the_last_seconds_only() {
        let start = shared::clock::now();
        let mut rate = Rate::default();
        let mut done = 0;
        for tenth in 0..600_u32 {
            // 100 a second for half a minute, then 1,000 a second.
            done += if tenth < 300 { 10 } else { 100 };
            let now = start + Duration::from_millis(100) * tenth;
            let snapshot = Snapshot {
                done,
                failed: 0,
                refused: 0,
                load: None,
                proxies_failing: 0,
                bytes: done * 10,
                in_flight: 1,
                total: Total::Unknown,
            };
            rate.sample(now, &snapshot);
            let (items, bytes) = rate.per_second(now, &snapshot);
            if (100..300).contains(&tenth) {
                assert!((items - 100.0).abs() < 1.0 && (bytes - 1_000.0).abs() < 10.0, "{tenth}: {items}");
            } else if tenth >= 355 {
                assert!((items - 1_000.0).abs() < 10.0, "{tenth}: {items}");
            }
            assert!(rate.samples.len() <= 30);
        }
    }
}
