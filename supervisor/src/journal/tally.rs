//! Counts of the committed records, which are kept over runs. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::protocol::Endings;
use shared::record::ErrorKind;
use supervisor_core::gather::Counts;
use supervisor_core::pages::ListCounts;

/// The final result of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Final {
    /// A record with fields.
    Ok,
    /// A record with an error.
    Failed(ErrorKind),
    /// Quarantined: a worker died on it on every attempt.
    Quarantined(ErrorKind),
    /// A block of targets with consecutive ids, and their results.
    Several(Endings),
}

impl Final {
    /// Returns the number of targets.
    #[must_use]
    pub const fn targets(&self) -> u64 {
        match self {
            Self::Ok | Self::Failed(_) | Self::Quarantined(_) => 1,
            Self::Several(endings) => endings.records(),
        }
    }
}

/// Counts of the committed records of a job, over all its runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Numbers by result.
    pub counts: Counts,
    /// Numbers of errors by kind.
    pub errors: BTreeMap<ErrorKind, u64>,
    /// Numbers of lists of pages by how they ended.
    #[serde(default)]
    pub lists: ListCounts,
}

impl Tally {
    /// Counts a record.
    pub fn add(&mut self, ending: Final) {
        let kind = match ending {
            Final::Ok => {
                self.counts.ok += 1;
                return;
            }
            Final::Failed(kind) => kind,
            Final::Quarantined(kind) => {
                self.counts.quarantined += 1;
                kind
            }
            Final::Several(endings) => return self.add_several(&endings),
        };
        self.counts.failed += 1;
        *self.errors.entry(kind).or_default() += 1;
    }

    fn add_several(&mut self, endings: &Endings) {
        self.counts.ok += endings.ok;
        self.counts.quarantined += endings.quarantined;
        for (kind, count) in [(ErrorKind::Parse, endings.parse), (ErrorKind::Child, endings.child)] {
            if count > 0 {
                self.counts.failed += count;
                *self.errors.entry(kind).or_default() += count;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_is_counted_once() {
        let mut tally = Tally::default();
        for ending in [
            Final::Ok,
            Final::Failed(ErrorKind::Dns),
            Final::Ok,
            Final::Quarantined(ErrorKind::WorkerHang),
            Final::Failed(ErrorKind::Dns),
            Final::Several(Endings { ok: 5, parse: 1, child: 2, quarantined: 1, retries: 9 }),
        ] {
            tally.add(ending);
        }
        let Counts { ok, failed, quarantined, retries, bytes, unchanged } = tally.counts;
        assert_eq!((ok, failed, quarantined, retries, bytes, unchanged), (7, 6, 2, 0, 0, 0));
        let errors =
            [(ErrorKind::Dns, 2), (ErrorKind::WorkerHang, 1), (ErrorKind::Parse, 1), (ErrorKind::Child, 2)];
        assert_eq!(tally.errors, BTreeMap::from(errors));
    }
}
