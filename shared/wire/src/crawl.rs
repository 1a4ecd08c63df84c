//! Where a crawl has found a page. It travels with the target, among the values that its record does not show as
//! `keep`, so that a worker and the supervisor write it into the record alike.

use crate::kept::{Kept, Value, push, push_found, push_unshown};

/// The name of the value that says how deep it is.
const DEPTH: &str = "depth";

/// The name of the value that says on which page it was found.
const PARENT: &str = "parent";

/// Where a page was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Links on the shortest way from a page that the user named; 0 for such a page.
    pub depth: u32,
    /// The id of the page that it was found on; `None` if the user named it.
    pub parent: Option<u64>,
}

impl Place {
    /// Returns it as the values that a target carries along.
    #[must_use]
    pub fn to_kept(self) -> Vec<u8> {
        let mut kept = Vec::new();
        if self.parent.is_some() {
            push_found(&mut kept);
        }
        push_unshown(&mut kept);
        let numbers = [(DEPTH, Some(u64::from(self.depth))), (PARENT, self.parent)];
        for (name, number) in numbers {
            // A number always fits.
            let _ = number.map(|number| push(name, Value::Json(&number.to_string()), &mut kept));
        }
        kept
    }

    /// Returns where the target was found that carries these values, if a crawl has made them.
    #[must_use]
    pub fn of(kept: Kept<'_>) -> Option<Self> {
        let number = |name| match kept.find(name)? {
            Value::Json(text) => text.parse::<u64>().ok(),
            Value::Text(_) => None,
        };
        Some(Self { depth: number(DEPTH)?.try_into().ok()?, parent: number(PARENT) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_travels_and_is_not_shown() {
        for (depth, parent) in [(0, None), (1, Some(0)), (u32::MAX, Some(u64::MAX))] {
            let place = Place { depth, parent };
            let kept = place.to_kept();
            assert_eq!(Place::of(Kept(&kept)), Some(place));
            assert!(Kept(&kept).is_empty() && Kept(&kept).is_found() == parent.is_some());
        }
        assert_eq!(Place::of(Kept(&[])), None);
    }
}
