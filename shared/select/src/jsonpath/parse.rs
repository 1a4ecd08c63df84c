//! Parses a query. Its grammar is recursive: a filter, `[?…]`, contains queries.

use std::borrow::Cow;

use super::text::Text;
use super::{
    Comparison, DEPTH_MAX, JsonPath, JsonPathError, Logic, Operand, Pattern, Query, Segment, Selector,
    pattern,
};
use wire::json::{self, Json};

/// Parses a whole query.
pub(super) fn query(text: &str) -> Result<JsonPath, JsonPathError> {
    let mut text = Text::new(text);
    text.expect("$")?;
    let segments = segments(&mut text, 0)?;
    text.skip_space();
    match text.peek() {
        None => Ok(JsonPath { segments }),
        Some(c) => text.refuse(format!("`{c}` is not allowed here")),
    }
}

/// Parses segments as far as there are any.
fn segments(text: &mut Text<'_>, depth: usize) -> Result<Vec<Segment>, JsonPathError> {
    if depth > DEPTH_MAX {
        return text.refuse("brackets are nested too deeply");
    }
    let mut segments = Vec::new();
    loop {
        let before_space = text.at;
        text.skip_space();
        let descends = text.take("..");
        if text.peek() == Some('[') {
            segments.push(Segment { descends, selectors: bracketed(text, depth)? });
        } else if descends || text.take(".") {
            segments.push(Segment { descends, selectors: vec![shorthand(text)?] });
        } else {
            // The rest belongs to the caller, including the space before it.
            text.at = before_space;
            return Ok(segments);
        }
    }
}

fn shorthand(text: &mut Text<'_>) -> Result<Selector, JsonPathError> {
    if text.take("*") {
        return Ok(Selector::Wildcard);
    }
    match text.name() {
        Some(name) => Ok(Selector::Name(name.to_owned())),
        None => text.refuse(
            "a name is missing; write names with characters other than letters, digits and _ as ['name']",
        ),
    }
}

fn bracketed(text: &mut Text<'_>, depth: usize) -> Result<Vec<Selector>, JsonPathError> {
    text.expect("[")?;
    let mut selectors = Vec::new();
    loop {
        text.skip_space();
        selectors.push(selector(text, depth)?);
        text.skip_space();
        if !text.take(",") {
            text.expect("]")?;
            return Ok(selectors);
        }
    }
}

fn selector(text: &mut Text<'_>, depth: usize) -> Result<Selector, JsonPathError> {
    if let Some(name) = text.string()? {
        return Ok(Selector::Name(name));
    }
    if text.take("*") {
        return Ok(Selector::Wildcard);
    }
    if text.take("?") {
        text.skip_space();
        return logic(text, depth + 1).map(Selector::Filter);
    }
    let start = text.integer()?;
    let after = text.at;
    text.skip_space();
    if !text.take(":") {
        text.at = after;
        return match start {
            Some(index) => Ok(Selector::Index(index)),
            None => text.refuse("a name in quotes, a number, `*`, a slice or `?` is missing"),
        };
    }
    text.skip_space();
    let end = text.integer()?;
    text.skip_space();
    let step = if text.take(":") {
        text.skip_space();
        text.integer()?
    } else {
        None
    };
    Ok(Selector::Slice { start, end, step: step.unwrap_or(1) })
}

/// A term before its use is known.
enum Term {
    Logic(Logic),
    Value(Operand),
    /// A query that may select several values: allowed as a test, but not in a comparison.
    Values(Query),
}

const FUNCTIONS: &str = "the functions are length, count, match, search and value";

/// Parses a condition.
fn logic(text: &mut Text<'_>, depth: usize) -> Result<Logic, JsonPathError> {
    if depth > DEPTH_MAX {
        return text.refuse("brackets are nested too deeply");
    }
    let mut any = vec![conjunction(text, depth)?];
    loop {
        text.skip_space();
        if !text.take("||") {
            break;
        }
        text.skip_space();
        any.push(conjunction(text, depth)?);
    }
    Ok(if any.len() > 1 { Logic::Or(any) } else { any.pop().unwrap_or(Logic::Or(Vec::new())) })
}

fn conjunction(text: &mut Text<'_>, depth: usize) -> Result<Logic, JsonPathError> {
    let mut all = vec![condition(text, depth)?];
    loop {
        text.skip_space();
        if !text.take("&&") {
            break;
        }
        text.skip_space();
        all.push(condition(text, depth)?);
    }
    Ok(if all.len() > 1 { Logic::And(all) } else { all.pop().unwrap_or(Logic::And(Vec::new())) })
}

fn condition(text: &mut Text<'_>, depth: usize) -> Result<Logic, JsonPathError> {
    let negated = text.take("!");
    if negated {
        text.skip_space();
    }
    let found = if text.take("(") {
        text.skip_space();
        let inner = logic(text, depth + 1)?;
        text.skip_space();
        text.expect(")")?;
        inner
    } else {
        tested(text, depth, negated)?
    };
    Ok(if negated { Logic::Not(Box::new(found)) } else { found })
}

/// A comparison, or a test for existence.
fn tested(text: &mut Text<'_>, depth: usize, negated: bool) -> Result<Logic, JsonPathError> {
    let at = text.at;
    let left = term(text, depth)?;
    let after = text.at;
    text.skip_space();
    let Some(comparison) = comparison(text) else {
        text.at = after;
        return match left {
            Term::Logic(logic) => Ok(logic),
            Term::Values(query) | Term::Value(Operand::Query(query)) => Ok(Logic::Exists(query)),
            Term::Value(_) => text.refuse("a comparison is missing, such as == or <"),
        };
    };
    if negated {
        text.at = at;
        return text.refuse("put what `!` negates in parentheses");
    }
    let left = operand(text, at, left)?;
    text.skip_space();
    let at = text.at;
    let right = term(text, depth)?;
    let right = operand(text, at, right)?;
    Ok(Logic::Compare(left, comparison, right))
}

fn operand(text: &mut Text<'_>, at: usize, term: Term) -> Result<Operand, JsonPathError> {
    let problem = match term {
        Term::Value(operand) => return Ok(operand),
        Term::Values(_) => "this query may find several values, but a comparison needs one",
        Term::Logic(_) => "match() and search() return true or false and cannot be compared",
    };
    text.at = at;
    text.refuse(problem)
}

fn comparison(text: &mut Text<'_>) -> Option<Comparison> {
    [
        ("==", Comparison::Equal),
        ("!=", Comparison::NotEqual),
        ("<=", Comparison::LessOrEqual),
        (">=", Comparison::GreaterOrEqual),
        ("<", Comparison::Less),
        (">", Comparison::Greater),
    ]
    .into_iter()
    .find_map(|(token, comparison)| text.take(token).then_some(comparison))
}

fn term(text: &mut Text<'_>, depth: usize) -> Result<Term, JsonPathError> {
    if let Some(query) = embedded(text, depth)? {
        return Ok(if query.is_singular() {
            Term::Value(Operand::Query(query))
        } else {
            Term::Values(query)
        });
    }
    if let Some(string) = text.string()? {
        return Ok(Term::Value(Operand::Literal(Json::String(Cow::Owned(string)))));
    }
    if text.peek().is_some_and(|c| c == '-' || c.is_ascii_digit()) {
        return number(text).map(|number| Term::Value(Operand::Literal(number)));
    }
    let at = text.at;
    let literal = match text.name() {
        Some("true") => Json::Bool(true),
        Some("false") => Json::Bool(false),
        Some("null") => Json::Null,
        Some(name) if text.peek() == Some('(') => return function(text, at, name, depth),
        _ => {
            text.at = at;
            return text.refuse("a query that begins with @ or $, a value or a function is missing");
        }
    };
    Ok(Term::Value(Operand::Literal(literal)))
}

fn embedded(text: &mut Text<'_>, depth: usize) -> Result<Option<Query>, JsonPathError> {
    let from_root = text.take("$");
    if !from_root && !text.take("@") {
        return Ok(None);
    }
    Ok(Some(Query { from_root, segments: segments(text, depth + 1)? }))
}

fn number(text: &mut Text<'_>) -> Result<Json<'static>, JsonPathError> {
    let rest = text.rest();
    let end = rest.find(|c: char| !(c.is_ascii_digit() || "+-.eE".contains(c))).unwrap_or(rest.len());
    let written = rest.get(..end).unwrap_or_default();
    match json::parse(written) {
        Ok(_) => {
            text.at += end;
            Ok(Json::Number(Cow::Owned(written.to_owned())))
        }
        Err(_) => text.refuse(format!("`{written}` is not a number")),
    }
}

fn function(text: &mut Text<'_>, at: usize, name: &str, depth: usize) -> Result<Term, JsonPathError> {
    if depth > DEPTH_MAX {
        return text.refuse("parentheses are nested too deeply");
    }
    text.expect("(")?;
    let found = match name {
        "length" => Term::Value(Operand::Length(Box::new(value(text, depth)?))),
        "count" => Term::Value(Operand::Count(values(text, depth)?)),
        "value" => Term::Value(Operand::Value(values(text, depth)?)),
        "match" | "search" => {
            let whole = name == "match";
            let subject = value(text, depth)?;
            text.skip_space();
            text.expect(",")?;
            text.skip_space();
            let pattern_at = text.at;
            let written = value(text, depth)?;
            let pattern = if let Operand::Literal(Json::String(written)) = &written {
                match pattern(written, whole) {
                    Some(regex) => Pattern::Fixed(regex),
                    None => {
                        text.at = pattern_at;
                        return text.refuse("this is not a regular expression");
                    }
                }
            } else {
                Pattern::Found(written)
            };
            Term::Logic(Logic::Matches { whole, text: subject, pattern })
        }
        _ => {
            text.at = at;
            return text.refuse(format!("`{name}` is not a function; {FUNCTIONS}"));
        }
    };
    text.skip_space();
    text.expect(")")?;
    Ok(found)
}

/// An argument that takes a value.
fn value(text: &mut Text<'_>, depth: usize) -> Result<Operand, JsonPathError> {
    text.skip_space();
    let at = text.at;
    let term = term(text, depth + 1)?;
    operand(text, at, term)
}

/// An argument that takes the values of a query.
fn values(text: &mut Text<'_>, depth: usize) -> Result<Query, JsonPathError> {
    text.skip_space();
    match embedded(text, depth + 1)? {
        Some(query) => Ok(query),
        None => text.refuse("a query that begins with @ or $ is missing"),
    }
}
