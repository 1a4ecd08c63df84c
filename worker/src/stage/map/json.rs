//! Whether a line is one JSON value: of the input before the program sees it, and
//! of an answer before it goes into a record.

use serde::de::IgnoredAny;

/// Whether `line` is exactly one JSON value, in UTF-8.
pub(super) fn is_one(line: &[u8]) -> bool {
    problem(line).is_none()
}

/// What is wrong with `line`, if it is not exactly one JSON value.
pub(super) fn problem(line: &[u8]) -> Option<String> {
    // The parser skips over strings without looking whether they are text.
    let text = match std::str::from_utf8(line) {
        Ok(text) => text,
        Err(error) => return Some(format!("not UTF-8 at byte {}", error.valid_up_to() + 1)),
    };
    serde_json::from_str::<IgnoredAny>(text).err().map(|error| {
        let said = error.to_string();
        // It is one line, and which one is known.
        said.replace("at line 1 column", "at character")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_and_nothing_else() {
        for good in ["{}", "[1,2]", " {\"a\":null} ", "1", "-1.5e3", "\"x\\u00e9é\"", "true", "null"] {
            assert_eq!(problem(good.as_bytes()), None, "{good}");
        }
        for bad in ["", "{", "{}{}", "1 2", "{'a':1}", "nul", "\"a", "[1,]", "NaN", "01", "\"\\x\""] {
            assert!(problem(bad.as_bytes()).is_some(), "{bad}");
        }
        assert!(problem(b"\"\xff\"").unwrap().contains("UTF-8 at byte 2"));
    }
}
