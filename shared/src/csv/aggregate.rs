//! Computes the aggregates of a group from what was kept for it.

use serde::{Deserialize, Serialize};

use super::column::{Column, Kept};
use super::extreme::{Extreme, Side};
use super::groups::Groups;
use super::sum::Total;

/// One output column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Aggregate {
    /// Name of the column.
    pub name: String,
    /// What to compute.
    pub function: Function,
    /// Index of the column in the spec; `None` for a count of rows.
    pub column: Option<u32>,
}

/// A function over the cells of a group.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Function {
    /// Number of rows, or of cells that are not empty.
    Count,
    /// Exact sum.
    Sum,
    /// Smallest cell.
    Min,
    /// Largest cell.
    Max,
    /// Mean of the numbers.
    Mean,
    /// Sample variance.
    Var,
    /// Sample standard deviation.
    Stddev,
    /// Number of distinct cells (approximate).
    Distinct,
    /// The value below which this share of the numbers lies (approximate).
    Quantile(f64),
}

/// The value of an aggregate for one group.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value, because the group has no numbers or no cells.
    Nothing,
    /// A count.
    Count(u64),
    /// A number with all its digits.
    Decimal(String),
    /// A number as written in the file.
    Spelled(Vec<u8>),
    /// A rounded number.
    Float(f64),
    /// Text, byte for byte as in the file.
    Text(Vec<u8>),
}

impl Aggregate {
    /// Returns empty storage for what this aggregate needs. Returns `None` for a count of rows, which are counted
    /// anyway.
    #[must_use]
    pub fn keeps(&self) -> Option<Column> {
        let kept = match self.function {
            Function::Count => Kept::Present(Vec::new()),
            Function::Sum | Function::Mean => Kept::Sums(Vec::new()),
            Function::Min => Kept::Extremes(Side::Least, Vec::new()),
            Function::Max => Kept::Extremes(Side::Greatest, Vec::new()),
            Function::Var | Function::Stddev => Kept::Moments(Vec::new()),
            Function::Distinct => Kept::Distinct(Vec::new()),
            Function::Quantile(_) => Kept::Quantiles(Vec::new()),
        };
        self.column.map(|source| Column { source, kept })
    }

    /// Computes the value for one group.
    #[must_use]
    pub fn of(&self, groups: &Groups, group: usize) -> Value {
        let Some(wanted) = self.keeps() else {
            return Value::Count(groups.rows.get(group).copied().unwrap_or(0));
        };
        let Some(column) = groups.columns.iter().find(|column| column.is_same(&wanted)) else {
            return Value::Nothing;
        };
        match &column.kept {
            Kept::Present(kept) => Value::Count(kept.get(group).copied().unwrap_or(0)),
            Kept::Sums(kept) => match (kept.get(group), self.function) {
                (Some(sum), Function::Mean) => sum.mean().map_or(Value::Nothing, float),
                (Some(sum), _) => total(sum.total()),
                (None, _) => Value::Nothing,
            },
            Kept::Extremes(_, kept) => kept.get(group).map_or(Value::Nothing, extreme),
            Kept::Moments(kept) => {
                let variance = kept.get(group).and_then(|moments| moments.variance());
                let root = self.function == Function::Stddev;
                variance
                    .map_or(Value::Nothing, |variance| float(if root { variance.sqrt() } else { variance }))
            }
            Kept::Distinct(kept) => Value::Count(kept.get(group).map_or(0, |distinct| distinct.estimate())),
            Kept::Quantiles(kept) => match self.function {
                Function::Quantile(rank) => {
                    kept.get(group).and_then(|kept| kept.quantile(rank)).map_or(Value::Nothing, float)
                }
                Function::Count
                | Function::Sum
                | Function::Min
                | Function::Max
                | Function::Mean
                | Function::Var
                | Function::Stddev
                | Function::Distinct => Value::Nothing,
            },
        }
    }
}

fn total(total: Option<Total>) -> Value {
    match total {
        None => Value::Nothing,
        Some(Total::Exact(text)) => Value::Decimal(text),
        Some(Total::Rounded(value)) => float(value),
    }
}

/// A number beyond the range of doubles cannot be written.
fn float(value: f64) -> Value {
    if value.is_finite() { Value::Float(value) } else { Value::Nothing }
}

fn extreme(extreme: &Extreme) -> Value {
    match extreme {
        Extreme::None => Value::Nothing,
        Extreme::Text(text) => Value::Text(text.clone()),
        Extreme::Number { text, .. } => Value::Spelled(text.clone()),
    }
}
