//! The four types of XPath 1.0, and the conversions between them.

use super::nodes::NodeId;

/// The value of an expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// In document order, without duplicates.
    Nodes(Vec<NodeId>),
    Text(String),
    Number(f64),
    Truth(bool),
}

impl Value {
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Nodes(set) => !set.is_empty(),
            Self::Text(text) => !text.is_empty(),
            Self::Number(number) => *number != 0.0 && !number.is_nan(),
            Self::Truth(truth) => *truth,
        }
    }
}

/// A number in XPath notation, which has no exponents.
pub(super) fn written(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity".to_owned() } else { "-Infinity".to_owned() };
    }
    // Rust writes neither exponents nor empty fractions.
    number.to_string()
}

/// Converts a text to a number: digits with an optional point and minus sign.
pub(super) fn number_of(text: &str) -> f64 {
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number = digits.bytes().any(|byte| byte.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_number { text.parse().unwrap_or(f64::NAN) } else { f64::NAN }
}
