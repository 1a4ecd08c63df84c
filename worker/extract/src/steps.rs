//! The steps after a selector, compiled.
//!
//! Types are checked when the flag is parsed, but the types in a JSON body are not known
//! then. So a step that takes text converts numbers and booleans to text. Values that have
//! no text (`null`, lists, objects) are not a match.

use regex::Regex;
use select::{self, Field, Pipe};
use wire::record::FieldValue;

use crate::ExtractError;
use crate::found::Deadline;
use crate::links::Links;

/// Values processed between two checks of the deadline.
const VALUES_PER_LOOK: usize = 64;

/// What steps need from the page.
#[derive(Clone, Copy)]
pub(crate) struct Around<'p> {
    pub(crate) links: &'p Links,
    pub(crate) deadline: &'p Deadline,
}

/// A field's steps, compiled.
#[derive(Debug)]
pub(crate) struct Steps(Vec<Step>);

#[derive(Debug)]
enum Step {
    Re(Regex),
    Strip,
    Int,
    Float,
    Url,
    First,
    Join(String),
    Default(FieldValue),
}

impl Steps {
    /// Compiles the steps of a field.
    ///
    /// # Errors
    /// Fails if a pattern is not a valid regular expression.
    pub(crate) fn new(field: &Field) -> Result<Self, regex::Error> {
        let mut steps = Vec::with_capacity(field.pipes.len());
        for (n, pipe) in field.pipes.iter().enumerate() {
            steps.push(match pipe {
                Pipe::Re(pattern) => Step::Re(select::regex(pattern)?),
                Pipe::Strip => Step::Strip,
                Pipe::Int => Step::Int,
                Pipe::Float => Step::Float,
                Pipe::Url => Step::Url,
                Pipe::First => Step::First,
                Pipe::Join(separator) => Step::Join(separator.clone()),
                Pipe::Default(value) => Step::Default(typed(value, field.pipes.get(..n).unwrap_or_default())),
            });
        }
        Ok(Self(steps))
    }

    /// Applies the steps to a value.
    ///
    /// # Errors
    /// Fails when the page's time is over.
    pub(crate) fn run(&self, found: FieldValue, around: Around<'_>) -> Result<FieldValue, ExtractError> {
        self.0.iter().try_fold(found, |value, step| {
            if let FieldValue::List(values) = value {
                return step.on_list(values, around);
            }
            around.deadline.check()?;
            Ok(step.on_one(value, around).unwrap_or(FieldValue::Null))
        })
    }
}

/// The value of `default(…)`, converted to the type of the other values.
fn typed(value: &str, before: &[Pipe]) -> FieldValue {
    let text = || FieldValue::Text(value.to_owned());
    before
        .iter()
        .rev()
        .find_map(|pipe| match pipe {
            Pipe::Int => Some(value.parse().map_or_else(|_| text(), FieldValue::Int)),
            Pipe::Float => Some(value.parse().map_or_else(|_| text(), FieldValue::Float)),
            Pipe::Join(_) => Some(text()),
            Pipe::Re(_) | Pipe::Strip | Pipe::Url | Pipe::First | Pipe::Default(_) => None,
        })
        .unwrap_or_else(text)
}

impl Step {
    fn on_list(&self, values: Vec<FieldValue>, around: Around<'_>) -> Result<FieldValue, ExtractError> {
        match self {
            Self::First => return Ok(values.into_iter().next().unwrap_or(FieldValue::Null)),
            Self::Join(separator) => {
                let texts: Vec<String> = values.into_iter().filter_map(into_text).collect();
                return Ok(FieldValue::Text(texts.join(separator)));
            }
            Self::Re(_) | Self::Strip | Self::Int | Self::Float | Self::Url | Self::Default(_) => {}
        }
        let mut out = Vec::with_capacity(values.len());
        for (n, value) in values.into_iter().enumerate() {
            if n % VALUES_PER_LOOK == 0 {
                around.deadline.check()?;
            }
            out.extend(self.on_one(value, around));
        }
        Ok(FieldValue::List(out))
    }

    /// Applies a step to one value; `None` means no match.
    fn on_one(&self, value: FieldValue, around: Around<'_>) -> Option<FieldValue> {
        match self {
            Self::Re(regex) => {
                let text = into_text(value)?;
                let taken = match regex.captures_len() {
                    1 => regex.find(&text)?.as_str(),
                    // A group that did not take part in the match has no text.
                    _ => regex.captures(&text)?.get(1)?.as_str(),
                };
                Some(FieldValue::Text(taken.to_owned()))
            }
            Self::Strip => into_text(value).map(|text| FieldValue::Text(text.trim().to_owned())),
            Self::Url => into_text(value).map(|text| FieldValue::Text(around.links.resolve(&text))),
            Self::Int => {
                Some(into_text(value).and_then(|text| int(&text)).map_or(FieldValue::Null, FieldValue::Int))
            }
            Self::Float => Some(
                into_text(value).and_then(|text| float(&text)).map_or(FieldValue::Null, FieldValue::Float),
            ),
            Self::Default(other) if is_null(&value) => Some(other.clone()),
            // A list from JSON is a single value until a step takes its parts.
            Self::First | Self::Join(_) | Self::Default(_) => Some(value),
        }
    }
}

fn is_null(value: &FieldValue) -> bool {
    match value {
        FieldValue::Null => true,
        FieldValue::Text(_)
        | FieldValue::Int(_)
        | FieldValue::Float(_)
        | FieldValue::List(_)
        | FieldValue::Object(_)
        | FieldValue::Json(_) => false,
    }
}

/// The text of a value; numbers and booleans are converted.
fn into_text(value: FieldValue) -> Option<String> {
    match value {
        FieldValue::Text(text) => Some(text),
        FieldValue::Int(number) => Some(number.to_string()),
        FieldValue::Float(number) => Some(number.to_string()),
        FieldValue::Json(json) => {
            let text = json.as_str();
            (!text.starts_with(['[', '{'])).then(|| text.to_owned())
        }
        FieldValue::Null | FieldValue::List(_) | FieldValue::Object(_) => None,
    }
}

/// A whole number in English notation: `-12`, `1,234`.
fn int(text: &str) -> Option<i64> {
    ungrouped(text)?.parse().ok()
}

/// A number in English or in program notation: `1,234.5`, `.5`, `1e3`.
fn float(text: &str) -> Option<f64> {
    let text = ungrouped(text)?;
    // Rust accepts `inf` and `nan`, which JSON has no form for.
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    number.filter(|_| text.bytes().any(|byte| byte.is_ascii_digit()))
}

/// Removes the commas of a number, if they separate groups of three digits.
fn ungrouped(text: &str) -> Option<String> {
    let text = text.trim();
    if !text.contains(',') {
        return Some(text.to_owned());
    }
    let whole_end = text.find('.').unwrap_or(text.len());
    let (whole, rest) = text.split_at_checked(whole_end)?;
    let digits = whole.strip_prefix(['-', '+']).unwrap_or(whole);
    let mut groups = digits.split(',');
    let is_number = |group: &str| group.bytes().all(|byte| byte.is_ascii_digit());
    let first_fits = groups.next().is_some_and(|first| (1..=3).contains(&first.len()) && is_number(first));
    let rest_fits = groups.all(|group| group.len() == 3 && is_number(group)) && !rest.contains(',');
    (first_fits && rest_fits).then(|| text.replace(',', ""))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use url::Url;

    use super::*;

    fn check(steps: &str, found: FieldValue, want: &str) {
        let field = Field::parse(&format!("x[]=x {steps}")).unwrap();
        let url = Url::parse("http://a.example/b/").unwrap();
        let links = Links::new(Some(&url), None, encoding_rs::UTF_8);
        let deadline = Deadline::after(Duration::from_secs(60));
        let around = Around { links: &links, deadline: &deadline };
        let value = Steps::new(&field).unwrap().run(found, around).unwrap();
        assert_eq!(serde_json::to_string(&value).unwrap(), want, "{steps}");
    }

    fn list(values: &[&str]) -> FieldValue {
        FieldValue::List(values.iter().map(|text| FieldValue::Text((*text).to_owned())).collect())
    }

    #[test]
    fn steps_on_lists() {
        let texts = ["a1 - b", "c", " \u{a0}d2 - "];
        check("", list(&texts), "[\"a1 - b\",\"c\",\" \u{a0}d2 - \"]");
        check("| re(^(.*) - )", list(&texts), "[\"a1\",\" \u{a0}d2\"]");
        check("| re([0-9])", list(&texts), r#"["1","2"]"#);
        check("| re((x)?[0-9])", list(&texts), "[]");
        check("| strip", list(&texts), r#"["a1 - b","c","d2 -"]"#);
        check("| re([0-9]) | int", list(&texts), "[1,2]");
        check(
            "| url",
            list(&["x", "/y", "http://["]),
            r#"["http://a.example/b/x","http://a.example/y","http://["]"#,
        );
        check("| first", list(&texts), r#""a1 - b""#);
        check("| first", list(&[]), "null");
        check("| first | default(none)", list(&[]), r#""none""#);
        check("| first | int | default(0)", list(&["x"]), "0");
        check("| float | default(0.5)", list(&["x", "1"]), "[0.5,1.0]");
        check("| join(, )", list(&["a", "b"]), r#""a, b""#);
        check("| int | join(|)", list(&["1", "x", "3"]), r#""1|3""#);
        check("| join(\\n\\))", list(&["1", "2"]), r#""1\n)2""#);
        check("| join()", list(&[]), r#""""#);
    }

    #[test]
    fn numbers_are_read_as_documented() {
        for (text, as_int, as_float) in [
            ("12", "12", "12.0"),
            (" -7\n", "-7", "-7.0"),
            ("+7", "7", "7.0"),
            ("1,234", "1234", "1234.0"),
            ("-1,234,567.5", "null", "-1234567.5"),
            ("12,5", "null", "null"),
            ("1,2345", "null", "null"),
            ("1234,567", "null", "null"),
            (",123", "null", "null"),
            ("1.234,5", "null", "null"),
            ("1.5", "null", "1.5"),
            ("1e3", "null", "1000.0"),
            (".5", "null", "0.5"),
            ("", "null", "null"),
            ("inf", "null", "null"),
            ("NaN", "null", "null"),
            ("1e999", "null", "null"),
            ("9223372036854775807", "9223372036854775807", "9.223372036854776e+18"),
            ("9223372036854775808", "null", "9.223372036854776e+18"),
            ("12 pages", "null", "null"),
            ("\u{a3}12", "null", "null"),
        ] {
            check("| int", list(&[text]), &format!("[{as_int}]"));
            check("| float", list(&[text]), &format!("[{as_float}]"));
        }
    }

    #[test]
    fn values_of_json_count_as_their_text() {
        let json = |text: &str| FieldValue::from(&wire::json::parse(text).unwrap());
        let values = || FieldValue::List(["7", "1.50", "true", "null", "[1]", "\"8\""].map(json).to_vec());
        check("| int", values(), "[7,null,null,null,null,8]");
        check("| re(.+)", values(), r#"["7","1.50","true","8"]"#);
        check("| join(;)", values(), r#""7;1.50;true;8""#);
        check("| default(x)", values(), r#"[7,1.50,true,"x",[1],"8"]"#);
    }
}
