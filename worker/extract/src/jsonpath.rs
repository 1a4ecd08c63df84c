//! Evaluates JSONPath over a parsed body, and counts each value that it visits.
//!
//! A query can visit the same value many times (`$..*..*`). So the page's deadline limits
//! the visits, and [`NODES_MAX`] limits how many values a query holds at once.

use std::borrow::Cow;
use std::cmp::Ordering;

use select::jsonpath::{Comparison, JsonPath, Logic, Operand, Pattern, Query, Segment, Selector, pattern};
use wire::decimal;
use wire::json::Json;

use crate::ExtractError;
use crate::found::Deadline;

/// Values visited between two checks of the deadline: well under a millisecond.
const VALUES_PER_LOOK: u32 = 4096;

/// Maximum values that a query holds at once, 8 bytes each.
const NODES_MAX: usize = 8 << 20;

/// The evaluation of one query on one body.
pub(crate) struct Search<'b> {
    root: &'b Json<'b>,
    deadline: &'b Deadline,
    looks: u32,
}

type Nodes<'b> = Vec<&'b Json<'b>>;

impl<'b> Search<'b> {
    pub(crate) const fn new(root: &'b Json<'b>, deadline: &'b Deadline) -> Self {
        Self { root, deadline, looks: 0 }
    }

    /// The values that a query selects, in order.
    pub(crate) fn run(mut self, path: &JsonPath) -> Result<Nodes<'b>, ExtractError> {
        self.segments(&path.segments, vec![self.root])
    }

    fn look(&mut self) -> Result<(), ExtractError> {
        self.looks = self.looks.wrapping_add(1);
        if self.looks.is_multiple_of(VALUES_PER_LOOK) { self.deadline.check() } else { Ok(()) }
    }

    fn segments(&mut self, segments: &[Segment], from: Nodes<'b>) -> Result<Nodes<'b>, ExtractError> {
        let mut nodes = from;
        for segment in segments {
            let mut next = Vec::new();
            for node in nodes {
                if segment.descends {
                    self.descend(node, segment, &mut next)?;
                } else {
                    self.children(node, segment, &mut next)?;
                }
            }
            nodes = next;
        }
        Ok(nodes)
    }

    /// A value and all its descendants, each before its children.
    fn descend(
        &mut self,
        from: &'b Json<'b>,
        segment: &Segment,
        out: &mut Nodes<'b>,
    ) -> Result<(), ExtractError> {
        let mut pending = vec![from];
        while let Some(node) = pending.pop() {
            self.look()?;
            self.children(node, segment, out)?;
            match node {
                Json::Array(values) => pending.extend(values.iter().rev()),
                Json::Object(members) => pending.extend(members.values().rev()),
                Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
            }
        }
        Ok(())
    }

    fn children(
        &mut self,
        node: &'b Json<'b>,
        segment: &Segment,
        out: &mut Nodes<'b>,
    ) -> Result<(), ExtractError> {
        for selector in &segment.selectors {
            self.select(node, selector, out)?;
            if out.len() > NODES_MAX {
                return Err(ExtractError::TooMany { limit: NODES_MAX });
            }
        }
        Ok(())
    }

    fn select(
        &mut self,
        node: &'b Json<'b>,
        selector: &Selector,
        out: &mut Nodes<'b>,
    ) -> Result<(), ExtractError> {
        self.look()?;
        match (selector, node) {
            (Selector::Name(name), Json::Object(members)) => out.extend(members.get(name.as_str())),
            (Selector::Wildcard, Json::Array(values)) => out.extend(values),
            (Selector::Wildcard, Json::Object(members)) => out.extend(members.values()),
            (Selector::Index(index), Json::Array(values)) => {
                out.extend(place(*index, values.len()).and_then(|place| values.get(place)));
            }
            (Selector::Slice { start, end, step }, Json::Array(values)) => {
                out.extend(places(*start, *end, *step, values.len()).filter_map(|place| values.get(place)));
            }
            (Selector::Filter(logic), Json::Array(values)) => self.filter(values.iter(), logic, out)?,
            (Selector::Filter(logic), Json::Object(members)) => self.filter(members.values(), logic, out)?,
            (
                Selector::Name(_)
                | Selector::Wildcard
                | Selector::Index(_)
                | Selector::Slice { .. }
                | Selector::Filter(_),
                _,
            ) => {}
        }
        Ok(())
    }

    fn filter(
        &mut self,
        values: impl Iterator<Item = &'b Json<'b>>,
        logic: &Logic,
        out: &mut Nodes<'b>,
    ) -> Result<(), ExtractError> {
        for value in values {
            if self.holds(logic, value)? {
                out.push(value);
            }
        }
        Ok(())
    }

    fn holds(&mut self, logic: &Logic, at: &'b Json<'b>) -> Result<bool, ExtractError> {
        self.look()?;
        match logic {
            Logic::Or(any) => {
                for one in any {
                    if self.holds(one, at)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Logic::And(all) => {
                for one in all {
                    if !self.holds(one, at)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Logic::Not(inner) => Ok(!self.holds(inner, at)?),
            Logic::Exists(query) => Ok(!self.query(query, at)?.is_empty()),
            Logic::Compare(left, comparison, right) => {
                let (left, right) = (self.operand(left, at)?, self.operand(right, at)?);
                self.compares(left.as_deref(), *comparison, right.as_deref())
            }
            Logic::Matches { whole, text, pattern: wanted } => {
                let subject = self.operand(text, at)?;
                let Some(Json::String(text)) = subject.as_deref() else { return Ok(false) };
                match wanted {
                    Pattern::Fixed(regex) => Ok(regex.is_match(text)),
                    Pattern::Found(operand) => {
                        // Compiling a pattern takes as long as visiting thousands of values.
                        self.deadline.check()?;
                        let regex = match self.operand(operand, at)?.as_deref() {
                            Some(Json::String(found)) => pattern(found, *whole),
                            _ => None,
                        };
                        Ok(regex.is_some_and(|regex| regex.is_match(text)))
                    }
                }
            }
        }
    }

    fn query(&mut self, query: &Query, at: &'b Json<'b>) -> Result<Nodes<'b>, ExtractError> {
        let from = if query.from_root { self.root } else { at };
        self.segments(&query.segments, vec![from])
    }

    /// A single value, or nothing.
    fn operand<'x>(
        &mut self,
        operand: &'x Operand,
        at: &'b Json<'b>,
    ) -> Result<Option<Cow<'x, Json<'b>>>, ExtractError>
    where
        'b: 'x,
    {
        Ok(match operand {
            Operand::Literal(value) => Some(Cow::Borrowed(value)),
            Operand::Query(query) => self.query(query, at)?.first().map(|value| Cow::Borrowed(*value)),
            Operand::Count(query) => Some(Cow::Owned(count(self.query(query, at)?.len()))),
            Operand::Value(query) => match self.query(query, at)?.as_slice() {
                [value] => Some(Cow::Borrowed(*value)),
                _ => None,
            },
            Operand::Length(inner) => match self.operand(inner, at)?.as_deref() {
                Some(Json::String(text)) => Some(Cow::Owned(count(text.chars().count()))),
                Some(Json::Array(values)) => Some(Cow::Owned(count(values.len()))),
                Some(Json::Object(members)) => Some(Cow::Owned(count(members.len()))),
                Some(Json::Null | Json::Bool(_) | Json::Number(_)) | None => None,
            },
        })
    }

    fn compares(
        &mut self,
        left: Option<&Json<'_>>,
        comparison: Comparison,
        right: Option<&Json<'_>>,
    ) -> Result<bool, ExtractError> {
        Ok(match comparison {
            Comparison::Equal => self.equal(left, right)?,
            Comparison::NotEqual => !self.equal(left, right)?,
            Comparison::Less => is_less(left, right),
            Comparison::Greater => is_less(right, left),
            Comparison::LessOrEqual => is_less(left, right) || self.equal(left, right)?,
            Comparison::GreaterOrEqual => is_less(right, left) || self.equal(left, right)?,
        })
    }

    fn equal(&mut self, left: Option<&Json<'_>>, right: Option<&Json<'_>>) -> Result<bool, ExtractError> {
        let (Some(left), Some(right)) = (left, right) else { return Ok(left.is_none() && right.is_none()) };
        self.equal_values(left, right)
    }

    /// Compares for equality, and counts the values visited. The parser limits the depth of bodies.
    fn equal_values(&mut self, left: &Json<'_>, right: &Json<'_>) -> Result<bool, ExtractError> {
        self.look()?;
        match (left, right) {
            (Json::Number(left), Json::Number(right)) => {
                Ok(decimal::order(left.as_bytes(), right.as_bytes()).is_some_and(Ordering::is_eq))
            }
            (Json::Array(left), Json::Array(right)) => {
                if left.len() != right.len() {
                    return Ok(false);
                }
                for (left, right) in left.iter().zip(right) {
                    if !self.equal_values(left, right)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Json::Object(left), Json::Object(right)) => {
                if left.len() != right.len() {
                    return Ok(false);
                }
                for (name, left) in left.iter() {
                    match right.get(name) {
                        Some(right) if self.equal_values(left, right)? => {}
                        Some(_) | None => return Ok(false),
                    }
                }
                Ok(true)
            }
            (left, right) => Ok(left == right),
        }
    }
}

/// A count as a number of a query.
fn count(count: usize) -> Json<'static> {
    Json::Number(Cow::Owned(count.to_string()))
}

/// Only numbers and texts have an order.
fn is_less(left: Option<&Json<'_>>, right: Option<&Json<'_>>) -> bool {
    match (left, right) {
        (Some(Json::Number(left)), Some(Json::Number(right))) => {
            decimal::order(left.as_bytes(), right.as_bytes()).is_some_and(Ordering::is_lt)
        }
        (Some(Json::String(left)), Some(Json::String(right))) => left < right,
        _ => false,
    }
}

/// The position that an index selects.
fn place(index: i64, len: usize) -> Option<usize> {
    match usize::try_from(index) {
        Ok(place) => Some(place),
        Err(_) => len.checked_sub(usize::try_from(index.unsigned_abs()).ok()?),
    }
}

/// The positions that a slice selects, in order (RFC 9535, section 2.3.4.2).
fn places(start: Option<i64>, end: Option<i64>, step: i64, len: usize) -> impl Iterator<Item = usize> {
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    let normal = |index: i64| if index >= 0 { index } else { len + index };
    let (first, bound) = if step >= 0 {
        (normal(start.unwrap_or(0)).clamp(0, len), normal(end.unwrap_or(len)).clamp(0, len))
    } else {
        (start.map_or(len - 1, normal).clamp(-1, len - 1), end.map_or(-1, normal).clamp(-1, len - 1))
    };
    let mut at = first;
    std::iter::from_fn(move || {
        let goes = (step > 0 && at < bound) || (step < 0 && at > bound);
        let place = if goes { usize::try_from(at).ok() } else { None };
        at += step;
        place
    })
}
