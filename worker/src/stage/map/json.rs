//! Whether a line is one JSON value: of the input before the program sees it, and
//! of an answer before it goes into a record.
//!
//! Every line is checked twice, and parsing it for that alone would cost more than all
//! else that is done with it here. So this scans the line without building anything, and
//! leaves it to the parser to say what is wrong. Tests check that the two agree.

use serde::de::IgnoredAny;

/// Depth of nesting that is tracked here; deeper values are left to the parser.
const DEPTH_MAX: u32 = 128;

/// Whether `line` is exactly one JSON value, in UTF-8.
pub(super) fn is_one(line: &[u8]) -> bool {
    let mut scan = Scan { rest: line, too_deep: false, beyond_ascii: false };
    match scan.document() {
        Some(()) => !scan.beyond_ascii || std::str::from_utf8(line).is_ok(),
        None => scan.too_deep && problem(line).is_none(),
    }
}

/// What is wrong with `line`, if it is not exactly one JSON value.
pub(super) fn problem(line: &[u8]) -> Option<String> {
    // The parser skips strings without checking that they are UTF-8.
    let text = match std::str::from_utf8(line) {
        Ok(text) => text,
        Err(error) => return Some(format!("not UTF-8 at byte {}", error.valid_up_to() + 1)),
    };
    serde_json::from_str::<IgnoredAny>(text).err().map(|error| {
        let said = error.to_string();
        // There is only one line, so its number says nothing.
        said.replace("at line 1 column", "at character")
    })
}

/// Scans a value; `None` where it is malformed.
struct Scan<'a> {
    rest: &'a [u8],
    too_deep: bool,
    /// Whether a string has bytes that may not be UTF-8. Outside of strings there are none.
    beyond_ascii: bool,
}

/// Every byte of a word.
const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The high bit of each byte of `word` that ends a string's plain text: a quote, a backslash, a control
/// character. Exact up to the first one; the bits above that may be wrong.
const fn special(word: u64) -> u64 {
    const fn zero(word: u64) -> u64 {
        word.wrapping_sub(each(1)) & !word
    }
    let control = word.wrapping_sub(each(b' ')) & !word;
    (zero(word ^ each(b'"')) | zero(word ^ each(b'\\')) | control) & each(0x80)
}

impl<'a> Scan<'a> {
    fn document(&mut self) -> Option<()> {
        // One bit for each value that is open: whether it is an object.
        let (mut open, mut depth) = (0_u128, 0_u32);
        'value: loop {
            match self.token()? {
                b'{' => {
                    self.check(depth)?;
                    if self.peek()? == b'}' {
                        self.bump();
                    } else {
                        (open, depth) = (open << 1 | 1, depth + 1);
                        self.key()?;
                        continue 'value;
                    }
                }
                b'[' => {
                    self.check(depth)?;
                    if self.peek()? == b']' {
                        self.bump();
                    } else {
                        (open, depth) = (open << 1, depth + 1);
                        continue 'value;
                    }
                }
                b'"' => self.string()?,
                b't' => self.word(b"rue")?,
                b'f' => self.word(b"alse")?,
                b'n' => self.word(b"ull")?,
                first @ (b'-' | b'0'..=b'9') => self.number(first)?,
                _ => return None,
            }
            // A value has ended: so may those around it.
            loop {
                if depth == 0 {
                    self.space();
                    return self.rest.is_empty().then_some(());
                }
                match (self.token()?, open & 1) {
                    (b',', 1) => {
                        self.key()?;
                        continue 'value;
                    }
                    (b',', _) => continue 'value,
                    (b'}', 1) | (b']', 0) => (open, depth) = (open >> 1, depth - 1),
                    _ => return None,
                }
            }
        }
    }

    #[inline(always)]
    fn check(&mut self, depth: u32) -> Option<()> {
        self.too_deep = depth >= DEPTH_MAX;
        (!self.too_deep).then_some(())
    }

    #[inline(always)]
    fn bump(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or_default();
    }

    #[inline(always)]
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    #[inline(always)]
    fn space(&mut self) {
        while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    #[inline(always)]
    fn peek(&mut self) -> Option<u8> {
        self.space();
        self.rest.first().copied()
    }

    #[inline(always)]
    fn token(&mut self) -> Option<u8> {
        self.space();
        self.next()
    }

    #[inline(always)]
    fn key(&mut self) -> Option<()> {
        if self.token()? != b'"' {
            return None;
        }
        self.string()?;
        (self.token()? == b':').then_some(())
    }

    /// The rest of a string.
    #[inline(always)]
    fn string(&mut self) -> Option<()> {
        loop {
            while let Some((eight, rest)) = self.rest.split_first_chunk::<8>() {
                let word = u64::from_le_bytes(*eight);
                self.beyond_ascii |= word & each(0x80) != 0;
                let ends = special(word);
                if ends != 0 {
                    let plain = (ends.trailing_zeros() / 8) as usize;
                    self.rest = self.rest.get(plain..).unwrap_or_default();
                    break;
                }
                self.rest = rest;
            }
            // What is left of the line has less than a word, or begins with what ends the text.
            let is_plain = |byte: &u8| *byte >= b' ' && *byte != b'"' && *byte != b'\\';
            let plain = self.rest.iter().take_while(|byte| is_plain(byte)).count();
            let (text, rest) = self.rest.split_at(plain);
            self.beyond_ascii |= !text.is_ascii();
            let (special, rest) = rest.split_first()?;
            self.rest = rest;
            match special {
                b'"' => return Some(()),
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
    }

    /// What follows a backslash. Halves of pairs may stand alone, as they may for the parser.
    fn escape(&mut self) -> Option<()> {
        match self.next()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => {
                let (digits, rest) = self.rest.split_at_checked(4)?;
                self.rest = rest;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(())
            }
            _ => None,
        }
    }

    fn word(&mut self, rest: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(rest)?;
        Some(())
    }

    #[inline(always)]
    fn digits(&mut self) -> usize {
        let count = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.rest = self.rest.get(count..).unwrap_or_default();
        count
    }

    /// The rest of a number.
    #[inline(always)]
    fn number(&mut self, first: u8) -> Option<()> {
        let first = if first == b'-' { self.next()? } else { first };
        match first {
            b'0' => {}
            b'1'..=b'9' => _ = self.digits(),
            _ => return None,
        }
        if let [b'.', rest @ ..] = self.rest {
            self.rest = rest;
            (self.digits() > 0).then_some(())?;
        }
        if let [b'e' | b'E', rest @ ..] = self.rest {
            self.rest = rest.strip_prefix(b"+").or_else(|| rest.strip_prefix(b"-")).unwrap_or(rest);
            (self.digits() > 0).then_some(())?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(line: &[u8]) {
        let problem = problem(line);
        assert_eq!(is_one(line), problem.is_none(), "{:?}: {problem:?}", String::from_utf8_lossy(line));
    }

    #[test]
    fn one_value_and_nothing_else() {
        for good in [
            "{}",
            "[1,2]",
            " {\"a\":null} ",
            "1",
            "-1.5e3",
            "0",
            "-0",
            "1E+9",
            "\"x\\u00e9é\\n\"",
            "true",
            "null",
            "[]",
            "[[],{}]",
            "{\"a\":{\"b\":[1,{}]},\"c\":[]}",
            "\"\\ud800\"",
            "[\t1 ,\r2 ]",
            "\"\u{7f}\"",
        ] {
            assert!(is_one(good.as_bytes()), "{good}");
            check(good.as_bytes());
        }
        for bad in [
            "",
            " ",
            "{",
            "}",
            "{}{}",
            "1 2",
            "{'a':1}",
            "nul",
            "nulll",
            "\"a",
            "[1,]",
            "[,1]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{1:1}",
            "NaN",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "1e+",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\\u12",
            "\"\t\"",
            "[1}",
            "{\"a\":1]",
            "\u{feff}1",
            "+1",
            "--1",
            "tru",
            "\"\\\"",
            "1,",
            "]",
        ] {
            assert!(!is_one(bad.as_bytes()), "{bad}");
            check(bad.as_bytes());
        }
        check(b"\"\xff\"");
        assert!(problem(b"\"\xff\"").unwrap().contains("UTF-8 at byte 2"));
    }

    #[test]
    fn as_deep_as_anybody_likes() {
        for depth in 120..135 {
            check(format!("{}{}", "[".repeat(depth), "]".repeat(depth)).as_bytes());
            check(format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth)).as_bytes());
            check(format!("{}1{}", "[{\"a\":".repeat(depth / 2), "}]".repeat(depth / 2)).as_bytes());
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(
            is_one(deep.as_bytes()) && !is_one(&deep.as_bytes()[1..]) && !is_one(&deep.as_bytes()[..199_999])
        );
    }

    /// Something with the shape of JSON, that may be broken at one place.
    fn nearly_json() -> impl Strategy<Value = Vec<u8>> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            "-?[0-9]{1,3}(\\.[0-9]{1,2})?([eE][+-]?[0-9])?",
            "\"([a-zé ]|\\\\[nut\"\\\\/]|\\\\u[0-9a-g]{4}){0,5}\"",
        ];
        let value = leaf.prop_recursive(4, 30, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|all| format!("[{}]", all.join(", "))),
                prop::collection::vec(inner, 0..4).prop_map(|all| {
                    let pairs: Vec<_> = all.iter().map(|value| format!("\"k\" :{value}")).collect();
                    format!("{{{}}}", pairs.join(","))
                }),
            ]
        });
        (value, any::<prop::sample::Index>(), prop::option::of(any::<u8>())).prop_map(|(text, at, byte)| {
            let mut bytes = text.into_bytes();
            if let Some(byte) = byte {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn it_agrees_with_the_parser(line in nearly_json()) {
            check(&line);
        }

        #[test]
        fn it_agrees_about_anything(line in prop::collection::vec(prop::sample::select(&b"{}[]\",:0123-+.eE\\untrfalse \t\xc3\xa9"[..]), 0..12)) {
            check(&line);
        }
    }
}
