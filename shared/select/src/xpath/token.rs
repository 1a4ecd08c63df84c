//! Cuts an expression into tokens. The token before `*` or `div` tells
//! whether it is an operator or a name (XPath 1.0, section 3.7).

use super::{TOKENS_MAX, XPathError};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// `(`, `//`, `!=` and similar, and the operators with names.
    Sign(&'static str),
    Name(String),
    Text(String),
    Number(f64),
}

/// Longer tokens first, so that `//` is not read as two `/`.
const SIGNS: [&str; 21] = [
    "//", "::", "..", "!=", "<=", ">=", "(", ")", "[", "]", ".", "@", ",", "/", "|", "+", "-", "=", "<", ">",
    "*",
];

/// Operators that are written as names.
const WORDS: [&str; 4] = ["and", "or", "div", "mod"];

/// Tokens, each with the byte offset at which it starts.
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, XPathError> {
    let mut tokens: Vec<(usize, Token)> = Vec::new();
    let mut at = 0;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        at += rest.len() - rest.trim_start().len();
        let rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { return Ok(tokens) };
        if tokens.len() == TOKENS_MAX {
            return Err(XPathError { at, problem: "the expression is too long".to_owned() });
        }
        let (token, len) =
            one(rest, first, ends_operand(tokens.last())).map_err(|problem| XPathError { at, problem })?;
        tokens.push((at, token));
        at += len;
    }
}

/// Whether an operator may follow.
fn ends_operand(before: Option<&(usize, Token)>) -> bool {
    match before {
        None => false,
        Some((_, Token::Sign(sign))) => matches!(*sign, ")" | "]" | "." | ".." | "*name"),
        Some((_, Token::Name(_) | Token::Text(_) | Token::Number(_))) => true,
    }
}

fn one(rest: &str, first: char, after_operand: bool) -> Result<(Token, usize), String> {
    if first == '"' || first == '\'' {
        let inside = rest.get(1..).unwrap_or_default();
        let end = inside.find(first).ok_or_else(|| "the string that starts here is not closed".to_owned())?;
        return Ok((Token::Text(inside.get(..end).unwrap_or_default().to_owned()), end + 2));
    }
    let second_is_digit = rest.chars().nth(1).is_some_and(|c| c.is_ascii_digit());
    if first.is_ascii_digit() || (first == '.' && second_is_digit) {
        return Ok(number(rest));
    }
    if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
        // A `*` that is not an operator becomes a different token.
        let sign_or_name = if sign == "*" && !after_operand { "*name" } else { sign };
        return Ok((Token::Sign(sign_or_name), sign.len()));
    }
    let is_name = |c: char| c.is_alphanumeric() || "-_.".contains(c) || c == '\u{b7}';
    let end = rest.find(|c: char| !is_name(c)).unwrap_or(rest.len());
    let name = rest.get(..end).unwrap_or_default();
    match first {
        '$' => Err("variables are not supported".to_owned()),
        '!' => Err("`!` is not an operator; write != or not(…)".to_owned()),
        _ if name.is_empty() || first == '-' => Err(format!("`{first}` is not allowed here")),
        _ if after_operand => match WORDS.into_iter().find(|word| *word == name) {
            Some(word) => Ok((Token::Sign(word), end)),
            None => Err(format!("an operator is missing before `{name}`")),
        },
        _ => Ok((Token::Name(name.to_owned()), end)),
    }
}

fn number(rest: &str) -> (Token, usize) {
    let whole = rest.bytes().take_while(u8::is_ascii_digit).count();
    let fraction = match rest.get(whole..).and_then(|rest| rest.strip_prefix('.')) {
        Some(digits) => 1 + digits.bytes().take_while(u8::is_ascii_digit).count(),
        None => 0,
    };
    let len = whole + fraction;
    let number = rest.get(..len).unwrap_or_default().parse().unwrap_or(f64::NAN);
    (Token::Number(number), len)
}
