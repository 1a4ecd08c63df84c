//! What is kept of one column for every group, so that aggregates can be made of it at the end.
//! A vector per column and not a struct per group: a batch of rows then runs through one small loop per column.

use serde::{Deserialize, Serialize};

use super::extreme::{Extreme, Side};
use super::moments::Moments;
use super::quantiles::Quantiles;
use super::sketch::Distinct;
use super::sum::Sum;

/// One thing kept of one column.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Column {
    /// Which of the spec's columns.
    pub source: u32,
    /// What, for each group.
    pub kept: Kept,
}

/// Values by group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Kept {
    /// How many cells are not empty.
    Present(Vec<u64>),
    /// Sum and count of the numbers.
    Sums(Vec<Sum>),
    /// The smallest or largest cell.
    Extremes(Side, Vec<Extreme>),
    /// What variance is made of.
    Moments(Vec<Moments>),
    /// How many different cells.
    Distinct(Vec<Distinct>),
    /// What quantiles are made of.
    Quantiles(Vec<Quantiles>),
}

impl Column {
    /// Whether the other keeps the same of the same column.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let same_kind = std::mem::discriminant(&self.kept) == std::mem::discriminant(&other.kept);
        let same_side = match (&self.kept, &other.kept) {
            (Kept::Extremes(side, _), Kept::Extremes(other, _)) => side == other,
            _ => true,
        };
        self.source == other.source && same_kind && same_side
    }

    /// Whether a cell that is no number makes its row bad.
    #[must_use]
    pub const fn needs_numbers(&self) -> bool {
        match self.kept {
            Kept::Sums(_) | Kept::Moments(_) | Kept::Quantiles(_) => true,
            Kept::Present(_) | Kept::Extremes(..) | Kept::Distinct(_) => false,
        }
    }

    /// Whether cells are read as numbers at all.
    #[must_use]
    pub const fn reads_numbers(&self) -> bool {
        self.needs_numbers() || matches!(self.kept, Kept::Extremes(..))
    }

    /// Makes room for `groups` groups.
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

    /// Takes in what the part that comes next has kept; `places` says which group here each of its groups is.
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
            // Both sides made their columns from one spec.
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
