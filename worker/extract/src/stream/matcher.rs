//! The selectors that can be matched while elements open and close: type, id,
//! class and attribute tests, joined by descendant and child combinators.
//!
//! A selector is a sequence of steps. An element *reaches* a step if it passes the
//! step's tests and its ancestors reach the steps before. Each open element stores
//! one bit per step, so matching never walks the tree. Selectors that
//! need siblings, positions or descendants are left to the tree engine.

use scraper::selector::CssString;
use select::css::{self, Css};
use selectors::attr::{AttrSelectorOperator, CaseSensitivity, ParsedCaseSensitivity};
use selectors::parser::{Combinator, Component, Selector};

use super::decode;
use super::tag::{Key, Tag};
use super::token::Attributes;
use crate::pick::Pick;

/// Maximum steps of all selectors of a job together: the bits of a [`Bits`].
const STEPS_MAX: usize = 64;

/// A set of steps.
pub(super) type Bits = u64;

/// A job's selectors, compiled.
pub(super) struct Matcher {
    steps: Vec<Step>,
    /// For each field, the last step of each selector in its list.
    finals: Vec<Bits>,
    /// The last steps of all selectors.
    any_final: Bits,
    /// No selector has more than one step, so what an element reaches depends on it alone.
    pub(super) is_flat: bool,
    /// Every step tests the element's name.
    is_typed: bool,
    /// Some step can match `html` or `body`, which may get attributes late.
    pub(super) can_match_root: bool,
}

struct Step {
    bit: Bits,
    /// The element's name, in lower case.
    name: Option<(Key, String)>,
    tests: Vec<Test>,
    /// The step to reach before this one, and by which ancestor.
    before: Before,
}

#[derive(Debug, Clone, Copy)]
enum Before {
    Nothing,
    InParent(Bits),
    InAncestor(Bits),
}

enum Test {
    Id(String),
    Class(String),
    Exists(String),
    Value { name: String, operator: AttrSelectorOperator, value: String, case: CaseSensitivity },
}

/// The steps that the open ancestors of an element reach.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Above {
    /// The steps that the parent reaches.
    pub(super) parent: Bits,
    /// The steps that any ancestor reaches, including the parent.
    pub(super) any: Bits,
}

impl Matcher {
    /// Compiles the selectors; `None` if one of them needs a tree.
    pub(super) fn new(picks: &[Pick]) -> Option<Self> {
        let mut steps = Vec::new();
        let mut finals = Vec::new();
        for pick in picks {
            let list = css::selectors(&pick.selector).ok()?;
            let mut bits = 0;
            for selector in list.slice() {
                bits |= compile(selector, &mut steps)?;
            }
            finals.push(bits);
        }
        let root = [Tag::Html.key(), Tag::Body.key()];
        Some(Self {
            any_final: finals.iter().fold(0, |all, bits| all | bits),
            finals,
            is_flat: steps.iter().all(|step| matches!(step.before, Before::Nothing)),
            is_typed: steps.iter().all(|step| step.name.is_some()),
            can_match_root: steps
                .iter()
                .any(|step| step.name.as_ref().is_none_or(|(key, _)| root.contains(key))),
            steps,
        })
    }

    /// Whether an element with this name can pass any step, so that its attributes are needed.
    #[inline]
    pub(super) fn wants(&self, key: Key) -> bool {
        !self.is_typed
            || self.steps.iter().any(|step| step.name.as_ref().is_some_and(|(name, _)| *name == key))
    }

    /// The steps whose own tests the element passes, whatever its ancestors are. `case` applies to
    /// classes and ids.
    pub(super) fn passes(
        &self,
        key: Key,
        name: &[u8],
        attributes: Attributes<'_>,
        case: CaseSensitivity,
    ) -> Bits {
        let passes = |step: &&Step| {
            let named = step
                .name
                .as_ref()
                .is_none_or(|(wanted, text)| *wanted == key && text.as_bytes().eq_ignore_ascii_case(name));
            named && step.tests.iter().all(|test| test.passes(attributes, case))
        };
        self.steps.iter().filter(passes).fold(0, |bits, step| bits | step.bit)
    }

    /// The steps that an element reaches if it passes the tests of `passed` below `above`.
    pub(super) fn reaches(&self, passed: Bits, above: Above) -> Bits {
        if self.is_flat || passed == 0 {
            return passed;
        }
        let reached = |step: &&Step| {
            passed & step.bit != 0
                && match step.before {
                    Before::Nothing => true,
                    Before::InParent(before) => above.parent & before != 0,
                    Before::InAncestor(before) => above.any & before != 0,
                }
        };
        self.steps.iter().filter(reached).fold(0, |bits, step| bits | step.bit)
    }

    /// Whether an SVG or MathML element might match any selector. Their names and attributes
    /// change case, so this may return true without need.
    pub(super) fn might_match_foreign(
        &self,
        key: Key,
        attributes: Attributes<'_>,
        case: CaseSensitivity,
    ) -> bool {
        self.steps.iter().any(|step| {
            let named = step.name.as_ref().is_none_or(|(wanted, _)| *wanted == key);
            let passes = |test: &Test| match test {
                Test::Id(_) | Test::Class(_) => test.passes(attributes, case),
                Test::Exists(_) | Test::Value { .. } => !attributes.is_empty(),
            };
            named && step.tests.iter().all(passes)
        })
    }

    /// The fields that an element matches.
    pub(super) fn fields(&self, reached: Bits) -> impl Iterator<Item = usize> {
        let hit = reached & self.any_final;
        let fields = self.finals.iter().enumerate();
        // Nearly no element matches, so this check comes first.
        fields
            .take(if hit == 0 { 0 } else { usize::MAX })
            .filter(move |(_, bits)| **bits & hit != 0)
            .map(|(n, _)| n)
    }
}

/// Adds a selector's steps, and returns the bit of its last one.
fn compile(selector: &Selector<Css>, steps: &mut Vec<Step>) -> Option<Bits> {
    let mut before = Before::Nothing;
    let mut name = None;
    let mut tests = Vec::new();
    // The parser returns steps from left to right, with combinators between them.
    let mut components = selector.iter_raw_parse_order_from(0);
    loop {
        let component = components.next();
        let combinator = match component {
            None => None,
            Some(Component::Combinator(combinator)) => Some(combinator),
            Some(other) => {
                add(other, &mut name, &mut tests)?;
                continue;
            }
        };
        if steps.len() == STEPS_MAX {
            return None;
        }
        let bit = 1 << steps.len();
        steps.push(Step { bit, name: name.take(), tests: std::mem::take(&mut tests), before });
        before = match combinator {
            None => return Some(bit),
            Some(Combinator::Child) => Before::InParent(bit),
            Some(Combinator::Descendant) => Before::InAncestor(bit),
            Some(
                Combinator::NextSibling
                | Combinator::LaterSibling
                | Combinator::PseudoElement
                | Combinator::SlotAssignment
                | Combinator::Part,
            ) => return None,
        };
    }
}

/// Adds one simple selector to a step; `None` if it needs a tree.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "whatever CSS adds next needs a tree until we say otherwise"
)]
fn add(component: &Component<Css>, name: &mut Option<(Key, String)>, tests: &mut Vec<Test>) -> Option<()> {
    match component {
        Component::ExplicitUniversalType => {}
        Component::LocalName(local) => {
            let lower = local.lower_name.0.to_string();
            *name = Some((Key::of(lower.as_bytes()), lower));
        }
        Component::ID(id) => tests.push(Test::Id(id.0.to_string())),
        Component::Class(class) => tests.push(Test::Class(class.0.to_string())),
        Component::AttributeInNoNamespaceExists { local_name_lower, .. } => {
            tests.push(Test::Exists(local_name_lower.0.to_string()));
        }
        Component::AttributeInNoNamespace {
            local_name,
            operator,
            value: CssString(value),
            case_sensitivity,
        } => {
            tests.push(Test::Value {
                name: local_name.0.to_string(),
                operator: *operator,
                value: value.clone(),
                case: match case_sensitivity {
                    ParsedCaseSensitivity::ExplicitCaseSensitive | ParsedCaseSensitivity::CaseSensitive => {
                        CaseSensitivity::CaseSensitive
                    }
                    ParsedCaseSensitivity::AsciiCaseInsensitive
                    | ParsedCaseSensitivity::AsciiCaseInsensitiveIfInHtmlElementInHtmlDocument => {
                        CaseSensitivity::AsciiCaseInsensitive
                    }
                },
            });
        }
        _ => return None,
    }
    Some(())
}

impl Test {
    fn passes(&self, attributes: Attributes<'_>, names: CaseSensitivity) -> bool {
        let is = |text: &str, wanted: &str| names.eq(text.as_bytes(), wanted.as_bytes());
        match self {
            Self::Id(id) => attributes.get("id").is_some_and(|raw| is(&decode::attribute(raw), id)),
            Self::Class(class) => attributes.get("class").is_some_and(|raw| {
                let value = decode::attribute(raw);
                value.split(|c: char| c.is_ascii_whitespace()).any(|word| is(word, class))
            }),
            Self::Exists(name) => attributes.get(name).is_some(),
            Self::Value { name, operator, value, case } => attributes
                .get(name)
                .is_some_and(|raw| operator.eval_str(&decode::attribute(raw), value, *case)),
        }
    }
}
