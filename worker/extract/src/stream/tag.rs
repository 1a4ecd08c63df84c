//! Element names: those with parsing rules of their own, and sets of them.

/// A tag name as a number, so that two names compare in one step. A name of up to eight bytes
/// is stored as it is; a longer one is a hash with the top bit set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(u64);

impl Key {
    /// The key of a name, which does not depend on case.
    #[inline(always)]
    pub(super) const fn of(name: &[u8]) -> Self {
        let mut key = 0;
        let mut rest = name;
        if name.len() <= 8 {
            let mut shift = 0;
            while let [byte, tail @ ..] = rest {
                key |= (fold(*byte) as u64) << shift;
                shift += 8;
                rest = tail;
            }
            return Self(key);
        }
        key = 0xcbf2_9ce4_8422_2325;
        while let [byte, tail @ ..] = rest {
            key = (key ^ fold(*byte) as u64).wrapping_mul(0x0100_0000_01b3);
            rest = tail;
        }
        Self(key | 1 << 63)
    }

    /// A number below [`SLOTS`] that is different for every known tag.
    const fn slot(self) -> usize {
        (self.0.wrapping_mul(MULTIPLIER) >> (64 - SLOTS_LOG2)) as usize
    }
}

/// Converts to lower case. Makes a NUL byte visible, because it would vanish in a packed name.
const fn fold(byte: u8) -> u8 {
    if byte == 0 { 0xFF } else { byte.to_ascii_lowercase() }
}

const SLOTS_LOG2: u32 = 10;
const SLOTS: usize = 1 << SLOTS_LOG2;

/// Found by trying random numbers until every known tag had its own slot.
const MULTIPLIER: u64 = 0x781a_9da0_4918_1061;

macro_rules! tags {
    ($($tag:ident)*) => {
        /// An element with its own rule in the HTML standard's tree construction.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        #[rustfmt::skip]
        pub(super) enum Tag {
            /// Any other HTML element.
            Other,
            /// An SVG or MathML element.
            Foreign,
            $(
                #[doc = concat!("`", stringify!($tag), "`")]
                $tag,
            )*
        }

        const KNOWN: &[(Key, Tag)] = &[$((Key::of(stringify!($tag).as_bytes()), Tag::$tag),)*];

        const NAMES: &[(Tag, &str)] = &[$((Tag::$tag, stringify!($tag)),)*];
    };
}

tags! {
    Html Head Body Base Basefont Bgsound Link Meta Title Noscript Noframes Style Script Template
    Frameset Frame
    Address Article Aside Blockquote Center Details Dialog Dir Div Dl Fieldset Figcaption Figure Footer
    Header Hgroup Main Menu Nav Ol P Search Section Summary Ul
    H1 H2 H3 H4 H5 H6 Pre Listing Form Li Dd Dt Plaintext Button
    A B Big Code Em Font I S Small Strike Strong Tt U Nobr
    Applet Marquee Object
    Table Caption Colgroup Col Tbody Thead Tfoot Tr Td Th
    Area Br Embed Img Keygen Wbr Image Input Param Source Track Hr
    Textarea Xmp Iframe Noembed Select Option Optgroup
    Rb Rtc Rp Rt Ruby Math Svg Isindex
    Span Sub Sup Var
}

impl Tag {
    /// The tag of a name.
    #[inline]
    pub(super) fn of(key: Key) -> Self {
        match TABLE.get(key.slot()) {
            Some((known, tag)) if *known == key => *tag,
            _ => Self::Other,
        }
    }

    /// The name's key; meaningless for [`Tag::Other`] and [`Tag::Foreign`].
    pub(super) fn key(self) -> Key {
        KNOWN.iter().find(|(_, tag)| *tag == self).map_or(Key(0), |(key, _)| *key)
    }

    /// The name, for comparisons that ignore case.
    pub(super) fn name(self) -> &'static [u8] {
        NAMES.iter().find(|(tag, _)| *tag == self).map_or(b"", |(_, name)| name.as_bytes())
    }

    /// Whether this tag is in a set.
    #[inline]
    pub(super) const fn is_in(self, set: Set) -> bool {
        set.0 >> (self as u8) & 1 == 1
    }
}

/// A set of tags.
#[derive(Debug, Clone, Copy)]
pub(super) struct Set(u128);

impl Set {
    const fn of(tags: &[Tag]) -> Self {
        let mut set = 0;
        let mut rest = tags;
        while let [tag, tail @ ..] = rest {
            set |= 1 << (*tag as u8);
            rest = tail;
        }
        Self(set)
    }

    const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

// A name without a slot is `Tag::Other`, so an empty slot may hold any tag.
static TABLE: [(Key, Tag); SLOTS] = {
    let mut table = [(Key(0), Tag::Other); SLOTS];
    let mut rest = KNOWN;
    while let [entry, tail @ ..] = rest {
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which checks it")]
        {
            table[entry.0.slot()] = *entry;
        }
        rest = tail;
    }
    table
};

use Tag::{
    A, Address, Applet, Area, Article, Aside, B, Base, Basefont, Bgsound, Big, Blockquote, Body, Br, Button,
    Caption, Center, Code, Col, Colgroup, Dd, Details, Dialog, Dir, Div, Dl, Dt, Em, Embed, Fieldset,
    Figcaption, Figure, Font, Footer, Form, Frame, Frameset, H1, H2, H3, H4, H5, H6, Head, Header, Hgroup,
    Hr, Html, I, Iframe, Img, Input, Isindex, Li, Link, Listing, Main, Marquee, Menu, Meta, Nav, Nobr,
    Noembed, Noframes, Noscript, Object, Ol, Optgroup, Option, P, Param, Plaintext, Pre, Rb, Rp, Rt, Rtc,
    Ruby, S, Script, Search, Section, Select, Small, Source, Span, Strike, Strong, Style, Sub, Summary, Sup,
    Table, Tbody, Td, Template, Textarea, Tfoot, Th, Thead, Title, Tr, Track, Tt, U, Ul, Var, Wbr, Xmp,
};

/// Elements whose end tags are implied by what follows.
pub(super) const IMPLIED_END: Set = Set::of(&[Dd, Dt, Li, Option, Optgroup, P, Rb, Rp, Rt, Rtc]);

/// Elements at which a search for an open element stops without a result.
pub(super) const SCOPE: Set =
    Set::of(&[Applet, Caption, Html, Table, Td, Th, Marquee, Object, Select, Template]);
pub(super) const LIST_ITEM_SCOPE: Set = SCOPE.and(Set::of(&[Ol, Ul]));
pub(super) const BUTTON_SCOPE: Set = SCOPE.and(Set::of(&[Button]));
pub(super) const TABLE_SCOPE: Set = Set::of(&[Html, Table, Template]);

/// Elements that set the parsing rules of table content while they are the innermost of these.
pub(super) const TABLE_PARTS: Set = Set::of(&[Table, Tbody, Tfoot, Thead, Tr, Td, Th, Caption, Colgroup]);

pub(super) const HEADINGS: Set = Set::of(&[H1, H2, H3, H4, H5, H6]);

pub(super) const FORMATTING: Set =
    Set::of(&[A, B, Big, Code, Em, Font, I, Nobr, S, Small, Strike, Strong, Tt, U]);

/// Elements that no stray inline end tag can close.
pub(super) const SPECIAL: Set = Set::of(&[
    Address, Applet, Area, Article, Aside, Base, Basefont, Bgsound, Blockquote, Body, Br, Button, Caption,
    Center, Col, Colgroup, Dd, Details, Dir, Div, Dl, Dt, Embed, Fieldset, Figcaption, Figure, Footer, Form,
    Frame, Frameset, H1, H2, H3, H4, H5, H6, Head, Header, Hgroup, Hr, Html, Iframe, Img, Input, Isindex, Li,
    Link, Listing, Main, Marquee, Menu, Meta, Nav, Noembed, Noframes, Noscript, Object, Ol, P, Param,
    Plaintext, Pre, Script, Section, Select, Source, Style, Summary, Table, Tbody, Td, Template, Textarea,
    Tfoot, Th, Thead, Title, Tr, Track, Ul, Wbr, Xmp,
]);

/// Special elements at which the search for an open list item does not stop.
pub(super) const SPECIAL_TO_ITEMS: Set = SPECIAL.without(Set::of(&[Address, Div, P]));

/// Blocks that close an open paragraph and have no other rule.
pub(super) const BLOCKS: Set = Set::of(&[
    Address, Article, Aside, Blockquote, Center, Details, Dialog, Dir, Div, Dl, Fieldset, Figcaption, Figure,
    Footer, Header, Hgroup, Main, Menu, Nav, Ol, P, Search, Section, Summary, Ul,
]);

/// Elements whose end tag closes everything inside them.
pub(super) const CLOSED_AS_BLOCKS: Set =
    BLOCKS.without(Set::of(&[P])).and(Set::of(&[Button, Listing, Pre, Select]));

/// HTML elements whose start tag ends SVG and MathML content.
pub(super) const BREAKS_OUT: Set = Set::of(&[
    B, Big, Blockquote, Body, Br, Center, Code, Dd, Div, Dl, Dt, Em, Embed, H1, H2, H3, H4, H5, H6, Head, Hr,
    I, Img, Li, Listing, Menu, Meta, Nobr, Ol, P, Pre, Ruby, S, Small, Span, Strong, Strike, Sub, Sup, Table,
    Tt, U, Ul, Var,
]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_in_any_case() {
        for (key, tag) in KNOWN {
            assert_eq!(Tag::of(*key), *tag);
            assert_eq!(tag.key(), *key);
        }
        assert_eq!(Tag::of(Key::of(b"BlockQuote")), Tag::Blockquote);
    }

    #[test]
    fn other_names_are_other() {
        for name in [&b""[..], b"a\0", b"custom-element", b"blockquotes", b"h7", b"\0", "\u{fffd}".as_bytes()]
        {
            assert_eq!(Tag::of(Key::of(name)), Tag::Other, "{name:?}");
        }
    }
}
