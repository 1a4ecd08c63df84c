//! Reads a query character by character, and its strings and numbers.

use super::JsonPathError;

/// The largest whole number that all JSON readers agree on: 2⁵³ − 1 (RFC 9535, section 2.1).
const INTEGER_MAX: i64 = (1 << 53) - 1;

/// A query, and the position of the parser in it.
pub(super) struct Text<'a> {
    text: &'a str,
    pub(super) at: usize,
}

impl<'a> Text<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    /// Consumes `token` if it is next.
    pub(super) fn take(&mut self, token: &str) -> bool {
        let is_next = self.rest().starts_with(token);
        if is_next {
            self.at += token.len();
        }
        is_next
    }

    pub(super) fn refuse<T>(&self, problem: impl Into<String>) -> Result<T, JsonPathError> {
        Err(JsonPathError { at: self.at, problem: problem.into() })
    }

    /// Consumes `token`, or fails.
    pub(super) fn expect(&mut self, token: &str) -> Result<(), JsonPathError> {
        if self.take(token) {
            return Ok(());
        }
        match self.peek() {
            Some(c) => self.refuse(format!("`{token}` is missing before `{c}`")),
            None => self.refuse(format!("`{token}` is missing")),
        }
    }

    /// The name of a member, as it may be written after a dot.
    pub(super) fn name(&mut self) -> Option<&'a str> {
        let rest = self.rest();
        let is_name = |c: char| c.is_alphanumeric() || c == '_' || !c.is_ascii();
        let end = rest.find(|c: char| !is_name(c)).unwrap_or(rest.len());
        if rest.starts_with(|c: char| c.is_ascii_digit()) || end == 0 {
            return None;
        }
        self.at += end;
        rest.get(..end)
    }

    /// A whole number without leading zeros.
    pub(super) fn integer(&mut self) -> Result<Option<i64>, JsonPathError> {
        let rest = self.rest();
        let digits = rest.strip_prefix('-').unwrap_or(rest);
        let count = digits.bytes().take_while(u8::is_ascii_digit).count();
        let len = rest.len() - digits.len() + count;
        let written = rest.get(..len).unwrap_or_default();
        if count == 0 {
            return if written.is_empty() {
                Ok(None)
            } else {
                self.refuse("`-` is not followed by a number")
            };
        }
        match written.parse::<i64>() {
            Ok(number) if (count > 1 && digits.starts_with('0')) || written == "-0" => {
                self.refuse(format!("write {number} instead of `{written}`"))
            }
            Ok(number) if (-INTEGER_MAX..=INTEGER_MAX).contains(&number) => {
                self.at += len;
                Ok(Some(number))
            }
            Ok(_) | Err(_) => self.refuse(format!("`{written}` is too large")),
        }
    }

    /// A string in single or double quotes, if one is next.
    pub(super) fn string(&mut self) -> Result<Option<String>, JsonPathError> {
        let Some(quote @ ('"' | '\'')) = self.peek() else { return Ok(None) };
        let start = self.at;
        self.at += 1;
        let mut out = String::new();
        loop {
            let Some(c) = self.peek() else {
                self.at = start;
                return self.refuse("the string that starts here is not closed");
            };
            if (c as u32) < 0x20 {
                return self.refuse("a string contains a control character; write it as \\u00XX");
            }
            self.at += c.len_utf8();
            match c {
                c if c == quote => return Ok(Some(out)),
                '\\' => out.push(self.escape(quote)?),
                other => out.push(other),
            }
        }
    }

    /// The character after a backslash.
    fn escape(&mut self, quote: char) -> Result<char, JsonPathError> {
        let Some(c) = self.peek() else { return self.refuse("a backslash ends the query") };
        let stands_for = match c {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            '/' | '\\' => c,
            c if c == quote => c,
            'u' => {
                self.at += 1;
                return self.unicode();
            }
            _ => return self.refuse(format!("`\\{c}` is not an escape")),
        };
        self.at += c.len_utf8();
        Ok(stands_for)
    }

    fn unicode(&mut self) -> Result<char, JsonPathError> {
        let first = self.hex()?;
        if (0xD800..0xDC00).contains(&first) && self.take("\\u") {
            let second = self.hex()?;
            if (0xDC00..0xE000).contains(&second) {
                let code = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                if let Some(c) = char::from_u32(code) {
                    return Ok(c);
                }
            }
        }
        char::from_u32(first).map_or_else(|| self.refuse("half of a surrogate pair is missing"), Ok)
    }

    fn hex(&mut self) -> Result<u32, JsonPathError> {
        let digits = self.rest().get(..4).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        match digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
            Some(code) => {
                self.at += 4;
                Ok(code)
            }
            None => self.refuse("`\\u` needs four hexadecimal digits"),
        }
    }
}
