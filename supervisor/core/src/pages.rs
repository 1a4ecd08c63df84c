//! Lists of pages that are followed from each page to the next one (`--next`): which page comes next, and when a list
//! ends.
//!
//! Invariant: of each list at most one page is open, and everything that is needed to go on there is in one
//! [`OpenList`], so that a journal has one row for it.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use wire::pages::{PAGE_STEP, input_of, page_of};

/// Pages of a list that are all remembered, to notice a link to one of them. Of the pages after them only one is
/// remembered, which is replaced after 512, 1,024, 2,048 … pages (Brent, "An improved Monte Carlo factorization
/// algorithm", BIT 20, 1980): a circle of n pages beyond is noticed within 2 n pages, or within as many as there were.
const REMEMBERED: usize = 256;

/// A list whose next page is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenList {
    /// The id of that page.
    pub id: u64,
    /// Its URL.
    pub url: Vec<u8>,
    /// The input, which is the first page's URL.
    pub first: Vec<u8>,
    /// The values that all its pages carry along.
    pub kept: Vec<u8>,
    /// Hashes of the URLs of pages that it has had.
    pub seen: Vec<u64>,
}

/// Why a list ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListEnd {
    /// Its last page names no next one.
    End,
    /// It has as many pages as are allowed, and more would follow.
    PagesMax,
    /// The next page is one that it has had.
    Loop,
    /// What its last page names is no link to a page.
    NoLink,
    /// Its last page has an error.
    Error,
}

/// How many lists ended in which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ListCounts {
    /// [`ListEnd::End`].
    pub end: u64,
    /// [`ListEnd::PagesMax`].
    pub pages_max: u64,
    /// [`ListEnd::Loop`].
    #[serde(rename = "loop")]
    pub looped: u64,
    /// [`ListEnd::NoLink`].
    pub no_link: u64,
    /// [`ListEnd::Error`].
    pub error: u64,
}

/// A link to the next page, with hashes of what it leads from and to.
#[derive(Debug, Clone, Copy)]
pub struct Link<'a> {
    /// The URL.
    pub url: &'a str,
    /// Its hash, without what is not sent.
    pub hash: u64,
    /// The hash of the first page's URL.
    pub first_hash: u64,
}

/// The lists of a run.
#[derive(Debug)]
pub struct Lists {
    pages_max: u64,
    /// Lists of which a page after the first is open, by their inputs.
    open: FxHashMap<u64, OpenList>,
    counts: ListCounts,
}

impl Lists {
    /// Lists of at most `pages_max` pages, of which earlier runs have ended some and left others open.
    #[must_use]
    pub fn resumed(pages_max: u32, counts: ListCounts, open: Vec<OpenList>) -> Self {
        let open = open.into_iter().map(|list| (input_of(list.id), list)).collect();
        Self { pages_max: u64::from(pages_max), open, counts }
    }

    /// The lists that have ended.
    #[must_use]
    pub const fn counts(&self) -> ListCounts {
        self.counts
    }

    /// The lists of which a page after the first is open.
    pub fn open(&self) -> impl Iterator<Item = &OpenList> {
        self.open.values()
    }

    /// Returns the list that a page belongs to, if it is open at this page.
    #[must_use]
    pub fn at(&self, id: u64) -> Option<&OpenList> {
        self.open.get(&input_of(id)).filter(|list| list.id == id)
    }

    /// Goes on from a page that has its record. `given` is the input and what it carries along, if it is the first page.
    /// Returns the list, open at the next page; `None` if it has ended.
    pub fn follow(
        &mut self,
        id: u64,
        given: Option<(Vec<u8>, Vec<u8>)>,
        link: Link<'_>,
    ) -> Option<&OpenList> {
        let page = page_of(id);
        let known = self.at(id).is_some().then(|| self.open.remove(&input_of(id))).flatten();
        let begun = given.filter(|_| page == 1).map(|(first, kept)| OpenList {
            id,
            url: Vec::new(),
            first,
            kept,
            seen: vec![link.first_hash],
        });
        // A page that is not open was never asked for.
        let mut list = known.or(begun)?;
        if list.seen.contains(&link.hash) {
            self.counts.add(ListEnd::Loop);
            return None;
        }
        if page >= self.pages_max {
            self.counts.add(ListEnd::PagesMax);
            return None;
        }
        if list.seen.len() < REMEMBERED {
            list.seen.push(link.hash);
        } else if page.is_power_of_two()
            && let Some(last) = list.seen.last_mut()
        {
            *last = link.hash;
        }
        list.id = id + PAGE_STEP;
        list.url = link.url.as_bytes().to_vec();
        Some(self.open.entry(input_of(id)).or_insert(list))
    }

    /// Ends the list of a page.
    pub fn end(&mut self, id: u64, why: ListEnd) {
        self.open.remove(&input_of(id));
        self.counts.add(why);
    }
}

impl ListCounts {
    const fn add(&mut self, why: ListEnd) {
        match why {
            ListEnd::End => self.end += 1,
            ListEnd::PagesMax => self.pages_max += 1,
            ListEnd::Loop => self.looped += 1,
            ListEnd::NoLink => self.no_link += 1,
            ListEnd::Error => self.error += 1,
        }
    }

    /// All lists that have ended.
    #[must_use]
    pub const fn all(&self) -> u64 {
        self.end + self.pages_max + self.looped + self.no_link + self.error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows the links of a site where page `n` links to `next(n)`, from page 0 on. Returns how many pages it had.
    fn pages(pages_max: u32, next: impl Fn(u64) -> u64) -> (u64, ListCounts) {
        let mut lists = Lists::resumed(pages_max, ListCounts::default(), Vec::new());
        let (mut id, mut page) = (5, 0);
        for had in 1.. {
            let to = next(page);
            // Each page is in another run.
            let open: Vec<_> = lists.open().cloned().collect();
            lists = Lists::resumed(pages_max, lists.counts(), open);
            let given = (had == 1).then(|| (b"first".to_vec(), b"kept".to_vec()));
            let link = Link { url: &to.to_string(), hash: to, first_hash: 0 };
            let Some(list) = lists.follow(id, given, link) else { return (had, lists.counts()) };
            assert_eq!((list.id, list.kept.as_slice()), (id + PAGE_STEP, b"kept".as_slice()));
            assert_eq!(
                lists.at(id + PAGE_STEP).map(|list| list.url.clone()),
                Some(to.to_string().into_bytes())
            );
            (id, page) = (id + PAGE_STEP, to);
        }
        unreachable!()
    }

    #[test]
    fn a_list_has_no_more_pages_than_allowed() {
        let counts = ListCounts { pages_max: 1, ..ListCounts::default() };
        for max in [1, 2, 300, 8_192] {
            assert_eq!(pages(max, |page| page + 1), (u64::from(max), counts));
        }
    }

    #[test]
    fn a_circle_is_noticed_wherever_it_begins() {
        for (begins, length) in
            [(0, 1), (0, 7), (5, 1), (100, 30), (250, 100), (300, 1), (300, 40), (700, 900)]
        {
            let whole = begins + length;
            let next = |page| if page + 1 == whole { begins } else { page + 1 };
            let (had, counts) = pages(8_192, next);
            assert_eq!(counts, ListCounts { looped: 1, ..ListCounts::default() }, "{begins} {length}");
            let most = if whole < 256 { whole } else { 2 * whole.next_power_of_two() + length };
            assert!(had <= most, "{had} pages of {begins} and a circle of {length}");
        }
    }

    #[test]
    fn only_the_page_that_is_open_goes_on() {
        let mut lists = Lists::resumed(9, ListCounts::default(), Vec::new());
        let link = |hash| Link { url: "x", hash, first_hash: 0 };
        assert!(lists.follow(1, None, link(1)).is_none(), "nothing is known of its input");
        assert!(lists.follow(1, Some((Vec::new(), Vec::new())), link(1)).is_some());
        assert!(lists.follow(1 + 2 * PAGE_STEP, None, link(2)).is_none());
        assert_eq!((lists.open().count(), lists.counts().all()), (1, 0));
    }

    #[test]
    fn how_lists_end_is_counted() {
        let mut lists = Lists::resumed(9, ListCounts::default(), Vec::new());
        for (id, why) in [(0, ListEnd::End), (1, ListEnd::NoLink), (2, ListEnd::Error), (3, ListEnd::Error)] {
            lists.end(id, why);
        }
        let want = ListCounts { end: 1, no_link: 1, error: 2, ..ListCounts::default() };
        assert_eq!((lists.counts(), lists.counts().all()), (want, 4));
    }
}
