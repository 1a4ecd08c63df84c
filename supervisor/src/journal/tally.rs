//! Counts that outlive a run: those of the records that are committed. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::protocol::Endings;
use shared::record::ErrorKind;
use supervisor_core::gather::Counts;

/// How a target ended, for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Final {
    /// With fields.
    Ok,
    /// With an error.
    Failed(ErrorKind),
    /// Set aside: its worker died on it, on every attempt.
    Quarantined(ErrorKind),
    /// It was several targets, from its id on; how they ended.
    Several(Endings),
}

impl Final {
    /// How many targets it is.
    #[must_use]
    pub const fn targets(&self) -> u64 {
        match self {
            Self::Ok | Self::Failed(_) | Self::Quarantined(_) => 1,
            Self::Several(endings) => endings.records(),
        }
    }
}

/// Counts of the committed records of a whole job, over all its runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How many ended how.
    pub counts: Counts,
    /// Those with an error, by its kind.
    pub errors: BTreeMap<ErrorKind, u64>,
}

impl Tally {
    /// One more record.
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
        let Counts { ok, failed, quarantined, retries, bytes } = tally.counts;
        assert_eq!((ok, failed, quarantined, retries, bytes), (7, 6, 2, 0, 0));
        let errors =
            [(ErrorKind::Dns, 2), (ErrorKind::WorkerHang, 1), (ErrorKind::Parse, 1), (ErrorKind::Child, 2)];
        assert_eq!(tally.errors, BTreeMap::from(errors));
    }
}
