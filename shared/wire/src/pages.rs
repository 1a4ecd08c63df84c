//! Lists of pages that are followed from each page to the next one (`--next`): their ids, and what a worker says about
//! the next page.
//!
//! Page 1 of a list is the input, and has its id. The others have ids far above, which follow from the input and the
//! page alone. So they are the same in every run, in whatever order the pages come.

/// Distance between the ids of a page and its next one; above the number of inputs of any job.
pub const PAGE_STEP: u64 = 1 << 40;

/// Most pages of a list: so many that every id is exact as a number of JSON, which has 53 bits.
pub const PAGES_MAX: u32 = 1 << 13;

/// Longest link that is followed, in bytes: as long as any target may be.
pub const LINK_BYTES_MAX: usize = 24 * 1024;

/// Returns the page of its list that has this id, from 1.
#[must_use]
pub const fn page_of(id: u64) -> u64 {
    id / PAGE_STEP + 1
}

/// Returns the id of the page before; `None` for the first one.
#[must_use]
pub const fn parent_of(id: u64) -> Option<u64> {
    id.checked_sub(PAGE_STEP)
}

/// Returns the input at which the list of a page begins.
#[must_use]
pub const fn input_of(id: u64) -> u64 {
    id % PAGE_STEP
}

/// What a page says about the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextPage {
    /// It is at this URL.
    At(String),
    /// There is none.
    None,
    /// What was found is no link to a page: a script, an address for mail, or longer than [`LINK_BYTES_MAX`].
    NoLink,
    /// The page was not read, because it is only in its file.
    Unread,
}

const NONE: u8 = 0;
const AT: u8 = 1;
const NO_LINK: u8 = 2;
const UNREAD: u8 = 3;

impl NextPage {
    /// Appends it to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::At(_) => AT,
            Self::None => NONE,
            Self::NoLink => NO_LINK,
            Self::Unread => UNREAD,
        });
        if let Self::At(url) = self {
            out.extend_from_slice(url.as_bytes());
        }
    }

    /// Reads the output of [`Self::encode`]. Anything else is no link.
    #[must_use]
    pub fn decode(encoded: &[u8]) -> Self {
        match encoded {
            [NONE] => Self::None,
            [UNREAD] => Self::Unread,
            [AT, url @ ..] if url.len() <= LINK_BYTES_MAX => {
                str::from_utf8(url).map_or(Self::NoLink, |url| Self::At(url.to_owned()))
            }
            _ => Self::NoLink,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_follow_from_the_input_and_the_page() {
        let third = 7 + 2 * PAGE_STEP;
        assert_eq!((page_of(7), parent_of(7), input_of(7)), (1, None, 7));
        assert_eq!((page_of(third), parent_of(third), input_of(third)), (3, Some(7 + PAGE_STEP), 7));
        let last = (u64::from(PAGES_MAX) - 1) * PAGE_STEP + (PAGE_STEP - 1);
        assert_eq!((page_of(last), last < 1 << 53), (u64::from(PAGES_MAX), true));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..40), url in ".{0,20}") {
            let _ = NextPage::decode(&bytes);
            for next in [NextPage::At(url), NextPage::None, NextPage::NoLink, NextPage::Unread] {
                let mut encoded = Vec::new();
                next.encode(&mut encoded);
                prop_assert_eq!(NextPage::decode(&encoded), next);
            }
        }
    }

    #[test]
    fn a_link_longer_than_a_target_is_none() {
        let encoded = |bytes: usize| [&[AT], "x".repeat(bytes).as_bytes()].concat();
        assert!(matches!(NextPage::decode(&encoded(LINK_BYTES_MAX)), NextPage::At(_)));
        assert_eq!(NextPage::decode(&encoded(LINK_BYTES_MAX + 1)), NextPage::NoLink);
    }
}
