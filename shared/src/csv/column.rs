//! Keeps values of one column for every group, from which the aggregates are computed at the end.
//!
//! There is one vector per column instead of one struct per group, so that a batch of rows runs through one small
//! loop per column.

use serde::{Deserialize, Serialize};

use super::extreme::{Extreme, Side};
use super::moments::Moments;
use super::quantiles::Quantiles;
use super::sketch::Distinct;
use super::sum::Sum;

/// Values kept of one column.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Column {
    /// Index of the column in the spec.
    pub source: u32,
    /// The values of each group.
    pub kept: Kept,
}

/// Values, indexed by group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Kept {
    /// Number of cells that are not empty.
    Present(Vec<u64>),
    /// Sum and count of the numbers.
    Sums(Vec<Sum>),
    /// Smallest or largest cell.
    Extremes(Side, Vec<Extreme>),
    /// Input of variance and standard deviation.
    Moments(Vec<Moments>),
    /// Sketch of the distinct cells.
    Distinct(Vec<Distinct>),
    /// Sketch of the quantiles.
    Quantiles(Vec<Quantiles>),
}

impl Column {
    /// Whether the other keeps the same values of the same column.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let same_kind = std::mem::discriminant(&self.kept) == std::mem::discriminant(&other.kept);
        let same_side = match (&self.kept, &other.kept) {
            (Kept::Extremes(side, _), Kept::Extremes(other, _)) => side == other,
            _ => true,
        };
        self.source == other.source && same_kind && same_side
    }

    /// Whether a cell that is not a number makes its row bad.
    #[must_use]
    pub const fn needs_numbers(&self) -> bool {
        match self.kept {
            Kept::Sums(_) | Kept::Moments(_) | Kept::Quantiles(_) => true,
            Kept::Present(_) | Kept::Extremes(..) | Kept::Distinct(_) => false,
        }
    }

    /// Whether cells are parsed as numbers.
    #[must_use]
    pub const fn reads_numbers(&self) -> bool {
        self.needs_numbers() || matches!(self.kept, Kept::Extremes(..))
    }

    /// Grows to `groups` groups.
    pub fn grow(&mut self, groups: usize) {
        match &mut self.kept {
            Kept::Present(kept) => kept.resize(groups, 0),
            Kept::Sums(kept) => kept.resize_with(groups, Sum::default),
            Kept::Extremes(_, kept) => kept.resize_with(groups, Extreme::default),
            Kept::Moments(kept) => kept.resize_with(groups, Moments::default),
            Kept::Distinct(kept) => kept.resize_with(groups, Distinct::default),
            Kept::Quantiles(kept) => kept.resize_with(groups, Quantiles::default),
        }
    }

    /// Merges what the next part has kept. `places` maps each of its groups to a group here.
    pub fn merge(&mut self, next: Self, places: &[u32]) {
        match (&mut self.kept, next.kept) {
            (Kept::Present(kept), Kept::Present(next)) => {
                each(kept, next, places, |kept, next| *kept += next)
            }
            (Kept::Sums(kept), Kept::Sums(next)) => each(kept, next, places, |kept, next| kept.merge(&next)),
            (Kept::Extremes(side, kept), Kept::Extremes(_, next)) => {
                let side = *side;
                each(kept, next, places, |kept, next| kept.merge(side, next));
            }
            (Kept::Moments(kept), Kept::Moments(next)) => {
                each(kept, next, places, |kept, next| kept.merge(&next));
            }
            (Kept::Distinct(kept), Kept::Distinct(next)) => {
                each(kept, next, places, |kept, next| kept.merge(&next));
            }
            (Kept::Quantiles(kept), Kept::Quantiles(next)) => {
                each(kept, next, places, |kept, next| kept.merge(next));
            }
            // Both sides have created their columns from the same spec.
            _ => {}
        }
    }
}

fn each<T>(kept: &mut [T], next: Vec<T>, places: &[u32], mut merge: impl FnMut(&mut T, T)) {
    for (next, place) in next.into_iter().zip(places) {
        if let Some(kept) = kept.get_mut(*place as usize) {
            merge(kept, next);
        }
    }
}
