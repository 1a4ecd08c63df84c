//! Values that a target carries along into its record: a name and a value for each, in order.
//!
//! Text is carried as it is and JSON as its author wrote it, so that every form of record can be made
//! of them without parsing anything of ours.

use crate::json;

/// Marks a value as JSON in the upper bit of its length.
const IS_JSON: u16 = 1 << 15;

/// Stands before the values of a target that was found on the way, and that the user did not name. It is longer than
/// the length of any name.
const FOUND: [u8; 2] = u16::MAX.to_le_bytes();

/// Stands before the values that are needed to make the request, and that do not go into the record. It is longer than
/// the length of any name.
const UNSHOWN: u16 = u16::MAX - 1;

/// A value that is carried along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A text.
    Text(&'a str),
    /// One JSON value, as its author wrote it.
    Json(&'a str),
}

/// The values that one target carries along, encoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept<'a>(pub &'a [u8]);

/// Appends a value to `out`. Returns false, and appends nothing, if its name or its text does not fit: no target
/// carries that much.
#[must_use]
pub fn push(name: &str, value: Value<'_>, out: &mut Vec<u8>) -> bool {
    let (text, mark) = match value {
        Value::Text(text) => (text, 0),
        Value::Json(text) => (text, IS_JSON),
    };
    let (Ok(name_bytes), Ok(text_bytes)) = (u16::try_from(name.len()), u16::try_from(text.len())) else {
        return false;
    };
    if text_bytes >= IS_JSON || name_bytes >= UNSHOWN {
        return false;
    }
    out.extend_from_slice(&name_bytes.to_le_bytes());
    out.extend_from_slice(&(text_bytes | mark).to_le_bytes());
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(text.as_bytes());
    true
}

/// Marks a target as found on the way, before its first value is appended to `out`.
pub fn push_found(out: &mut Vec<u8>) {
    out.extend_from_slice(&FOUND);
}

/// Splits the first name and value off; the value is `None` if it is not UTF-8.
fn next(encoded: &[u8]) -> Option<(&[u8], Option<Value<'_>>, &[u8])> {
    let (name_bytes, after) = encoded.split_first_chunk::<2>()?;
    let (length, after) = after.split_first_chunk::<2>()?;
    let length = u16::from_le_bytes(*length);
    let (name, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*name_bytes)))?;
    let (text, after) = after.split_at_checked(usize::from(length & !IS_JSON))?;
    let value = str::from_utf8(text).ok();
    let value = value.map(|text| if length & IS_JSON == 0 { Value::Text(text) } else { Value::Json(text) });
    Some((name, value, after))
}

/// Marks the values that are appended to `out` from here on as unshown: they do not go into the record.
pub fn push_unshown(out: &mut Vec<u8>) {
    out.extend_from_slice(&UNSHOWN.to_le_bytes());
}

impl<'a> Kept<'a> {
    /// Whether no value goes into the record.
    #[must_use]
    pub fn is_empty(self) -> bool {
        let encoded = self.encoded();
        encoded.is_empty() || encoded.starts_with(&UNSHOWN.to_le_bytes())
    }

    /// Whether the target was found on the way, such as in a sitemap, and not named by the user.
    #[must_use]
    pub fn is_found(self) -> bool {
        self.0.starts_with(&FOUND)
    }

    fn encoded(self) -> &'a [u8] {
        self.0.strip_prefix(&FOUND).unwrap_or(self.0)
    }

    /// The names and values that go into the record, in order.
    pub fn values(self) -> impl Iterator<Item = (&'a str, Value<'a>)> {
        self.decode(false)
    }

    /// Returns a value by its name, whether it goes into the record or not.
    #[must_use]
    pub fn find(self, name: &str) -> Option<Value<'a>> {
        self.decode(true).find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Returns the values that do not go into the record, encoded, if there are any.
    #[must_use]
    pub fn unshown(self) -> Option<&'a [u8]> {
        let mut rest = self.encoded();
        loop {
            if let Some(unshown) = rest.strip_prefix(&UNSHOWN.to_le_bytes()) {
                return Some(unshown);
            }
            rest = next(rest)?.2;
        }
    }

    fn decode(self, all: bool) -> impl Iterator<Item = (&'a str, Value<'a>)> {
        let mut rest = self.encoded();
        // What does not decode was not encoded here; the record does without it.
        std::iter::from_fn(move || {
            if let Some(unshown) = rest.strip_prefix(&UNSHOWN.to_le_bytes()) {
                rest = if all { unshown } else { &[] };
            }
            let (name, value, after) = next(rest)?;
            rest = after;
            Some((str::from_utf8(name).ok()?, value?))
        })
    }

    /// Appends the values as one JSON object.
    pub fn write_object(self, out: &mut Vec<u8>) {
        let mut separator = b'{';
        for (name, value) in self.values() {
            out.push(separator);
            separator = b',';
            json::write(name, out);
            out.push(b':');
            match value {
                Value::Text(text) => json::write(text, out),
                Value::Json(text) => out.extend_from_slice(text.as_bytes()),
            }
        }
        if separator == b'{' {
            out.push(b'{');
        }
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kept: &[u8]) -> String {
        let mut out = Vec::new();
        Kept(kept).write_object(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_come_back_in_order_and_as_they_were() {
        let mut kept = Vec::new();
        let values =
            [("a \"b\"", Value::Text("x\n\"")), ("n", Value::Json("[1e400, {}]")), ("", Value::Text(""))];
        for (name, value) in values {
            assert!(push(name, value, &mut kept));
        }
        assert_eq!(Kept(&kept).values().collect::<Vec<_>>(), values);
        assert_eq!(object(&kept), r#"{"a \"b\"":"x\n\"","n":[1e400, {}],"":""}"#);
        assert_eq!((object(&[]).as_str(), Kept(&[]).is_empty()), ("{}", true));
        let long = "x".repeat(1 << 15);
        assert!(!push("n", Value::Json(&long), &mut kept) && !push(&long.repeat(2), values[0].1, &mut kept));
        assert_eq!(Kept(&kept).values().count(), 3);
    }

    #[test]
    fn the_mark_of_a_found_target_is_no_value() {
        let mut kept = Vec::new();
        push_found(&mut kept);
        assert!(Kept(&kept).is_empty() && Kept(&kept).is_found() && !Kept(&[]).is_found());
        assert!(push("a", Value::Text("b"), &mut kept));
        assert_eq!(object(&kept), r#"{"a":"b"}"#);
        let longest = "n".repeat(usize::from(UNSHOWN) - 1);
        let mut kept = Vec::new();
        assert!(push(&longest, Value::Text(""), &mut kept) && !Kept(&kept).is_found());
        assert!(!push(&format!("{longest}n"), Value::Text(""), &mut kept));
    }

    #[test]
    fn unshown_values_are_found_and_not_shown() {
        let mut kept = Vec::new();
        push_unshown(&mut kept);
        assert!(push("b", Value::Json("2"), &mut kept) && Kept(&kept).is_empty());
        let mut kept = Vec::new();
        assert!(push("a", Value::Text("1"), &mut kept));
        push_unshown(&mut kept);
        assert!(push("b", Value::Json("2"), &mut kept) && !Kept(&kept).is_empty());
        assert_eq!(object(&kept), r#"{"a":"1"}"#);
        assert_eq!(Kept(&kept).unshown().map(<[u8]>::len), Some(6));
        assert_eq!(Kept(&kept).find("a"), Some(Value::Text("1")));
        assert_eq!((Kept(&kept).find("b"), Kept(&kept).find("c")), (Some(Value::Json("2")), None));
    }

    proptest::proptest! {
        #[test]
        fn garbage_is_never_a_panic(bytes: Vec<u8>) {
            let _ = object(&bytes);
        }
    }
}
