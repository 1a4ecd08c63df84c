//! Shapes of addresses whose pages are alike and lead on to each other, as those of an endless calendar. Once there are
//! too many of them, no more are fetched. Pages of a list do not count: they are found on another page than each other.

use rustc_hash::FxHashMap;

/// Most shapes that are watched. Those that come later are not.
const SHAPES_MAX: usize = 65_536;

/// Contents of a shape that are remembered, the latest ones: more than there are months in a year.
const CONTENTS_MAX: usize = 16;

/// Pages by the shape of their addresses. Shapes and contents are hashes here.
#[derive(Debug)]
pub struct Shapes {
    shapes: FxHashMap<u64, Watched>,
    /// Pages of one shape that may be alike.
    alike_max: u64,
}

#[derive(Debug, Default)]
struct Watched {
    pages: u64,
    alike: u64,
    contents: Vec<u64>,
}

impl Shapes {
    /// Watches shapes of which this many pages may be alike.
    #[must_use]
    pub fn new(alike_max: u64) -> Self {
        Self { shapes: FxHashMap::default(), alike_max }
    }

    /// Counts a page of a shape with these contents, which was found on a page of the same shape.
    pub fn add(&mut self, shape: u64, contents: u64) {
        if self.shapes.len() >= SHAPES_MAX && !self.shapes.contains_key(&shape) {
            return;
        }
        let seen = self.shapes.entry(shape).or_default();
        seen.pages += 1;
        if seen.contents.contains(&contents) {
            seen.alike += 1;
            return;
        }
        if seen.contents.len() == CONTENTS_MAX {
            seen.contents.remove(0);
        }
        seen.contents.push(contents);
    }

    /// Whether too many pages of a shape are alike, and at least half of them.
    #[must_use]
    pub fn is_trap(&self, shape: u64) -> bool {
        let seen = self.shapes.get(&shape);
        seen.is_some_and(|seen| seen.alike >= self.alike_max && seen.alike * 2 >= seen.pages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calendar_is_a_trap_and_a_list_is_none() {
        let mut shapes = Shapes::new(64);
        let pages = (0..1000).take_while(|month| {
            shapes.add(1, month % 12);
            !shapes.is_trap(1)
        });
        assert_eq!(pages.count(), 75);
        for n in 0..10_000 {
            shapes.add(2, n);
            // Each page is there twice, but never close together.
            shapes.add(3, n % 5000);
        }
        assert!(!shapes.is_trap(2) && !shapes.is_trap(3) && !shapes.is_trap(4));
    }

    #[test]
    fn there_is_an_end_to_what_is_watched() {
        let mut shapes = Shapes::new(64);
        (0..SHAPES_MAX as u64 + 10).for_each(|shape| shapes.add(shape, 0));
        assert_eq!(shapes.shapes.len(), SHAPES_MAX);
        let mut seen = Shapes::new(64);
        (0..1000).for_each(|contents| seen.add(1, contents));
        assert_eq!(seen.shapes[&1].contents.len(), CONTENTS_MAX);
    }
}
