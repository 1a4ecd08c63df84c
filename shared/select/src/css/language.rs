//! The selector language: Selectors 4, as far as it applies to a saved page.
//!
//! Unlike in a browser, the lists in `:is()` and `:where()` are not forgiving: a user
//! must be told about a misspelled name.

use std::cell::RefCell;
use std::fmt;

use cssparser::{BasicParseErrorKind, CowRcStr, ParseError, ParseErrorKind};
use scraper::selector::{CssLocalName, CssString, Simple};
use selectors::SelectorList;
use selectors::parser::{
    self, NonTSPseudoClass, ParseRelative, SelectorImpl, SelectorParseErrorKind as Refused,
};

/// The selector language, in the form that the `selectors` crate needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Css;

impl SelectorImpl for Css {
    type ExtraMatchingData<'a> = ();
    type AttrValue = CssString;
    type Identifier = CssLocalName;
    type LocalName = CssLocalName;
    type NamespaceUrl = <Simple as SelectorImpl>::NamespaceUrl;
    type NamespacePrefix = CssLocalName;
    type BorrowedNamespaceUrl = <Simple as SelectorImpl>::BorrowedNamespaceUrl;
    type BorrowedLocalName = CssLocalName;
    type NonTSPseudoClass = PseudoClass;
    type PseudoElement = PseudoElement;
}

/// A pseudo-class that does not depend on the structure of the tree alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PseudoClass {
    /// A pseudo-class without arguments.
    Plain(Plain),
    /// `:lang()`, with its language ranges.
    Lang(Vec<String>),
    /// `:dir()`
    Dir(Direction),
    /// `:heading()`, with its levels; none for `:heading`, which matches all levels.
    Heading(Vec<i32>),
    /// A pseudo-class that depends on a user, a browser or a script; matches nothing.
    Never(&'static str),
}

/// The direction of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From left to right.
    Ltr,
    /// From right to left.
    Rtl,
}

macro_rules! plain {
    ($($variant:ident $name:literal)*) => {
        /// A pseudo-class without arguments that depends on the page only.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Plain {
            $(
                #[doc = concat!("`:", $name, "`")]
                $variant,
            )*
        }

        impl Plain {
            const ALL: &[(&'static str, Self)] = &[$(($name, Self::$variant),)*];

            const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

plain! {
    AnyLink "any-link"
    Blank "blank"
    Checked "checked"
    Default "default"
    Defined "defined"
    Disabled "disabled"
    Enabled "enabled"
    InRange "in-range"
    Indeterminate "indeterminate"
    Invalid "invalid"
    Link "link"
    Muted "muted"
    Open "open"
    Optional "optional"
    OutOfRange "out-of-range"
    Paused "paused"
    PlaceholderShown "placeholder-shown"
    ReadOnly "read-only"
    ReadWrite "read-write"
    Required "required"
    Valid "valid"
}

/// Pseudo-classes that need a user, a browser or a script.
const NEVER: [&str; 32] = [
    "active",
    "active-view-transition",
    "autofill",
    "buffering",
    "current",
    "focus",
    "focus-visible",
    "focus-within",
    "fullscreen",
    "future",
    "has-slotted",
    "host",
    "hover",
    "interest-source",
    "interest-target",
    "local-link",
    "modal",
    "past",
    "picture-in-picture",
    "playing",
    "popover-open",
    "seeking",
    "stalled",
    "target",
    "target-after",
    "target-before",
    "target-current",
    "target-within",
    "user-invalid",
    "user-valid",
    "visited",
    "volume-locked",
];

/// The same, with arguments.
const NEVER_WITH_ARGUMENTS: [&str; 4] = ["active-view-transition-type", "current", "host-context", "state"];

impl NonTSPseudoClass for PseudoClass {
    fn is_active_or_hover(&self) -> bool {
        false
    }

    fn is_user_action_state(&self) -> bool {
        false
    }
}

impl cssparser::ToCss for PseudoClass {
    fn to_css<W: fmt::Write>(&self, dest: &mut W) -> fmt::Result {
        match self {
            Self::Plain(plain) => write!(dest, ":{}", plain.name()),
            Self::Never(name) => write!(dest, ":{name}"),
            Self::Lang(ranges) => write!(dest, ":lang({})", ranges.join(", ")),
            Self::Dir(Direction::Ltr) => dest.write_str(":dir(ltr)"),
            Self::Dir(Direction::Rtl) => dest.write_str(":dir(rtl)"),
            Self::Heading(levels) => write!(dest, ":heading({levels:?})"),
        }
    }
}

/// A tree has no pseudo-elements; `::text` and the other last steps are cut off before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PseudoElement {}

impl parser::PseudoElement for PseudoElement {}

impl cssparser::ToCss for PseudoElement {
    fn to_css<W: fmt::Write>(&self, _: &mut W) -> fmt::Result {
        match *self {}
    }
}

/// Pseudo-classes of the tree's structure, and those that take selectors.
const STRUCTURAL: [&str; 20] = [
    "dir",
    "empty",
    "first-child",
    "first-of-type",
    "has",
    "heading",
    "is",
    "lang",
    "last-child",
    "last-of-type",
    "not",
    "nth-child",
    "nth-last-child",
    "nth-last-of-type",
    "nth-of-type",
    "only-child",
    "only-of-type",
    "root",
    "scope",
    "where",
];

/// The names of all pseudo-classes.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let plain = Plain::ALL.iter().map(|(name, _)| *name);
    plain.chain(NEVER).chain(NEVER_WITH_ARGUMENTS).chain(STRUCTURAL)
}

/// The parser of [`Css`].
#[derive(Default)]
struct Parser {
    /// The name of an unknown pseudo-class.
    unknown: RefCell<Option<String>>,
}

impl Parser {
    fn unknown(&self, name: &str) -> ParseError<Refused> {
        *self.unknown.borrow_mut() = Some(name.to_owned());
        ParseError::custom(Refused::UnsupportedPseudoClassOrElement)
    }
}

/// Why a text is not a list of selectors.
#[derive(Debug)]
pub struct CssError {
    /// The byte at which the parser stopped.
    pub at: usize,
    /// The kind of the error.
    pub kind: ParseErrorKind<Refused>,
    /// The name of an unknown pseudo-class.
    pub unknown: Option<String>,
}

impl<'i> parser::Parser<'i> for Parser {
    type Impl = Css;
    type Error = Refused;

    fn parse_is_and_where(&self) -> bool {
        true
    }

    fn parse_has(&self) -> bool {
        true
    }

    fn parse_nth_child_of(&self) -> bool {
        true
    }

    fn allow_forgiving_selectors(&self) -> bool {
        false
    }

    fn parse_non_ts_pseudo_class(&self, name: CowRcStr<'i>) -> Result<PseudoClass, ParseError<Refused>> {
        let lower = name.to_ascii_lowercase();
        if lower == "heading" {
            return Ok(PseudoClass::Heading(Vec::new()));
        }
        let plain = Plain::ALL.iter().find(|(known, _)| *known == lower);
        let never = || NEVER.into_iter().find(|known| *known == lower).map(PseudoClass::Never);
        let known = plain.map(|(_, plain)| PseudoClass::Plain(*plain)).or_else(never);
        known.ok_or_else(|| self.unknown(&name))
    }

    fn parse_non_ts_functional_pseudo_class(
        &self,
        name: CowRcStr<'i>,
        arguments: &mut cssparser::Parser<'i>,
        _after_part: bool,
    ) -> Result<PseudoClass, ParseError<Refused>> {
        let lower = name.to_ascii_lowercase();
        match lower.as_str() {
            "lang" => arguments
                .parse_comma_separated(|one| Ok(one.expect_ident_or_string()?.as_ref().to_owned()))
                .map(PseudoClass::Lang),
            "heading" => {
                arguments.parse_comma_separated(|one| Ok(one.expect_integer()?)).map(PseudoClass::Heading)
            }
            "dir" => match arguments.expect_ident()?.to_ascii_lowercase().as_str() {
                "ltr" => Ok(PseudoClass::Dir(Direction::Ltr)),
                "rtl" => Ok(PseudoClass::Dir(Direction::Rtl)),
                _ => Err(ParseError::from_basic_kind(BasicParseErrorKind::UnexpectedToken)),
            },
            _ => {
                let known = NEVER_WITH_ARGUMENTS.into_iter().find(|known| *known == lower);
                let never = known.map(PseudoClass::Never).ok_or_else(|| self.unknown(&name))?;
                // The pseudo-class matches nothing, whatever its arguments.
                while arguments.next().is_ok() {}
                Ok(never)
            }
        }
    }
}

/// Parses a list of selectors.
///
/// # Errors
/// Fails if the text is not CSS or contains an unknown pseudo-class.
pub fn selectors(css: &str) -> Result<SelectorList<Css>, CssError> {
    let (parser, mut input) = (Parser::default(), cssparser::Parser::new(css));
    SelectorList::parse(&parser, &mut input, ParseRelative::No).map_err(|error| CssError {
        at: input.position().byte_index(),
        kind: error.kind,
        unknown: parser.unknown.into_inner(),
    })
}
