//! Pages that wait to be fetched, by host. All hosts take turns, and no host fills the memory: a host may have an eighth
//! of what is still free. So one host has at most a ninth, and there is always room for another.
//!
//! A lane holds the ids of its pages in one or two bytes for each. Their URLs are on disk.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;

/// Most pages in memory, over all hosts.
pub const IN_MEMORY_MAX: u64 = 65_536;

/// The part of the free room that one host may have.
const SHARE: u64 = 8;

/// Bytes at the beginning of a lane that are no longer needed before they are removed.
const READ_BYTES_MAX: usize = 4096;

/// Pages that wait, by host.
#[derive(Debug, Default)]
pub struct Lanes {
    lanes: Vec<Lane>,
    by_name: FxHashMap<Arc<str>, usize>,
    /// Lanes that may have a page to give, in turn.
    ready: VecDeque<usize>,
    /// The lanes of the pages in memory.
    given: FxHashMap<u64, usize>,
    /// Pages with ids from here on must wait.
    end: u64,
    waiting: u64,
}

/// The pages of one host.
#[derive(Debug, Default)]
struct Lane {
    /// Differences between ids, seven bits in a byte.
    ids: Vec<u8>,
    read: usize,
    first: u64,
    last: u64,
    waiting: u64,
    in_memory: u64,
    known: u64,
    is_ready: bool,
}

impl Lane {
    fn push(&mut self, id: u64) {
        if self.waiting == 0 {
            (self.ids, self.read, self.first) = (Vec::new(), 0, id);
        } else {
            let mut rest = id.saturating_sub(self.last);
            while rest >= 0x80 {
                self.ids.push((rest & 0x7f) as u8 | 0x80);
                rest >>= 7;
            }
            self.ids.push(rest as u8);
        }
        self.last = id;
        self.waiting += 1;
    }

    /// The first page, if it comes before `end`.
    fn peek(&self, end: u64) -> Option<u64> {
        (self.waiting > 0 && self.first < end).then_some(self.first)
    }

    fn pop(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
        let (mut difference, mut shift) = (0, 0);
        while let Some(byte) = self.ids.get(self.read) {
            self.read += 1;
            difference |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        self.first += difference;
        if self.read > READ_BYTES_MAX && self.read * 2 > self.ids.len() {
            self.ids.drain(..self.read);
            self.read = 0;
        }
    }
}

impl Lanes {
    /// Returns the lane of a host.
    pub fn lane(&mut self, host: &str) -> usize {
        if let Some(lane) = self.by_name.get(host) {
            return *lane;
        }
        self.by_name.insert(Arc::from(host), self.lanes.len());
        self.lanes.push(Lane::default());
        self.lanes.len() - 1
    }

    /// Counts a page of a host.
    pub fn know(&mut self, lane: usize) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.known += 1;
        }
    }

    /// Returns how many pages of a host are known.
    #[must_use]
    pub fn known(&self, lane: usize) -> u64 {
        self.lanes.get(lane).map_or(0, |lane| lane.known)
    }

    /// Adds a page. Ids increase.
    pub fn push(&mut self, lane: usize, id: u64) {
        if let Some(entry) = self.lanes.get_mut(lane) {
            entry.push(id);
            self.waiting += 1;
            self.make_ready(lane);
        }
    }

    /// Lets pages with ids up to `end` begin.
    pub fn open(&mut self, end: u64) {
        self.end = end;
        (0..self.lanes.len()).for_each(|lane| self.make_ready(lane));
    }

    /// Takes the next page into memory. `None` if none may begin, or no host has room for one.
    pub fn take(&mut self) -> Option<u64> {
        let in_memory = self.in_memory();
        let free = IN_MEMORY_MAX.checked_sub(in_memory).filter(|free| *free > 0)?;
        let share = (free / SHARE).max(1);
        while let Some(number) = self.ready.pop_front() {
            let Some(lane) = self.lanes.get_mut(number) else { continue };
            let id = lane.peek(self.end).filter(|_| lane.in_memory < share);
            let Some(id) = id else {
                // It is ready again when a page of it has ended, or the next level begins.
                lane.is_ready = false;
                continue;
            };
            lane.pop();
            lane.in_memory += 1;
            self.ready.push_back(number);
            self.given.insert(id, number);
            self.waiting -= 1;
            return Some(id);
        }
        None
    }

    /// A page has its record.
    pub fn end(&mut self, id: u64) {
        let Some(number) = self.given.remove(&id) else { return };
        if let Some(lane) = self.lanes.get_mut(number) {
            lane.in_memory = lane.in_memory.saturating_sub(1);
        }
        self.make_ready(number);
    }

    /// Returns the number of pages in memory.
    #[must_use]
    pub fn in_memory(&self) -> u64 {
        self.given.len() as u64
    }

    /// Returns the number of pages that wait on disk.
    #[must_use]
    pub const fn waiting(&self) -> u64 {
        self.waiting
    }

    /// Returns the number of hosts.
    #[must_use]
    pub fn hosts(&self) -> u64 {
        self.lanes.len() as u64
    }

    /// Returns the memory that the ids take, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lanes.iter().map(|lane| lane.ids.capacity()).sum()
    }

    fn make_ready(&mut self, number: usize) {
        if let Some(lane) = self.lanes.get_mut(number)
            && !lane.is_ready
            && lane.peek(self.end).is_some()
        {
            lane.is_ready = true;
            self.ready.push_back(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_host_leaves_room_for_all_others() {
        let mut lanes = Lanes::default();
        let large = lanes.lane("large");
        (0..1_000_000).for_each(|id| lanes.push(large, id));
        for n in 0..10_000 {
            let lane = lanes.lane(&format!("h{n}"));
            lanes.push(lane, 1_000_000 + n);
        }
        lanes.open(u64::MAX);
        let mut of_large = 0;
        let mut of_others = 0;
        while let Some(id) = lanes.take() {
            if id < 1_000_000 { of_large += 1 } else { of_others += 1 }
        }
        assert_eq!((of_others, lanes.in_memory()), (10_000, of_large + of_others));
        assert!(of_large <= IN_MEMORY_MAX / 9 + 1, "{of_large}");
        assert!(lanes.bytes() < 3_000_000, "{}", lanes.bytes());
        // One ends, and another takes its place.
        lanes.end(0);
        assert!(lanes.take().is_some() && lanes.take().is_none());
    }

    #[test]
    fn the_next_level_waits_until_it_is_opened() {
        let mut lanes = Lanes::default();
        let lane = lanes.lane("a");
        (0..5).for_each(|id| lanes.push(lane, id));
        lanes.open(2);
        assert_eq!([lanes.take(), lanes.take(), lanes.take()], [Some(0), Some(1), None]);
        lanes.open(3);
        assert_eq!([lanes.take(), lanes.take()], [Some(2), None]);
        assert_eq!(lanes.waiting(), 2);
    }

    proptest! {
        /// Every page comes out once, those of a host in order.
        #[test]
        fn nothing_is_lost(steps in prop::collection::vec((0..5_usize, 1..400_u64, any::<bool>()), 0..300)) {
            let (mut lanes, mut id) = (Lanes::default(), 0);
            lanes.open(u64::MAX);
            let (mut pushed, mut got) = (BTreeMap::<usize, Vec<u64>>::new(), Vec::new());
            for (host, gap, takes) in steps {
                let lane = lanes.lane(&host.to_string());
                id += gap;
                lanes.push(lane, id);
                pushed.entry(lane).or_default().push(id);
                if takes {
                    let next = lanes.take().unwrap();
                    got.push(next);
                    lanes.end(next);
                }
            }
            got.extend(std::iter::from_fn(|| lanes.take()));
            for ids in pushed.values() {
                let of_host: Vec<_> = got.iter().filter(|id| ids.contains(id)).copied().collect();
                prop_assert_eq!(&of_host, ids);
            }
            prop_assert_eq!((lanes.waiting(), got.len()), (0, pushed.values().map(Vec::len).sum()));
        }
    }
}
