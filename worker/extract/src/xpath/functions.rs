//! The core function library (XPath 1.0, section 4).

#![expect(clippy::wildcard_enum_match_arm, reason = "each part of the library names its own functions")]

use select::xpath::{Expr, Function};

use super::eval::{Eval, Place};
use super::nodes::{Kind, NodeId};
use super::value::{Value, number_of};
use crate::ExtractError;

impl Eval<'_, '_> {
    pub(super) fn call(
        &mut self,
        function: Function,
        arguments: &[Expr],
        at: Place,
    ) -> Result<Value, ExtractError> {
        match function {
            Function::Last | Function::Position | Function::Count | Function::Sum | Function::Id => {
                self.of_sets(function, arguments, at)
            }
            Function::LocalName | Function::NamespaceUri | Function::Name | Function::Lang => {
                self.of_names(function, arguments, at)
            }
            Function::Boolean | Function::Not | Function::True | Function::False => {
                let truth = match arguments.first() {
                    Some(argument) => self.eval(argument, at)?.is_true(),
                    None => function == Function::True,
                };
                Ok(Value::Truth(truth != (function == Function::Not)))
            }
            Function::Number | Function::Floor | Function::Ceiling | Function::Round => {
                let number = match arguments.first() {
                    Some(argument) => self.number(argument, at)?,
                    None => number_of(&self.string(at.node)?),
                };
                Ok(Value::Number(match function {
                    Function::Floor => number.floor(),
                    Function::Ceiling => number.ceil(),
                    Function::Round => rounded(number),
                    _ => number,
                }))
            }
            Function::String
            | Function::Concat
            | Function::StartsWith
            | Function::Contains
            | Function::SubstringBefore
            | Function::SubstringAfter
            | Function::Substring
            | Function::StringLength
            | Function::NormalizeSpace
            | Function::Translate => self.of_texts(function, arguments, at),
        }
    }

    fn of_sets(&mut self, function: Function, arguments: &[Expr], at: Place) -> Result<Value, ExtractError> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a page has fewer nodes than a float has whole numbers"
        )]
        let number = |count: usize| Value::Number(count as f64);
        let Some(argument) = arguments.first() else {
            return Ok(number(if function == Function::Last { at.size } else { at.position }));
        };
        match function {
            Function::Id => {
                let ids = match self.eval(argument, at)? {
                    Value::Nodes(set) => {
                        let mut ids = String::new();
                        for node in set {
                            ids.push_str(&self.string(node)?);
                            ids.push(' ');
                        }
                        ids
                    }
                    other => self.text_of(other)?,
                };
                self.with_ids(&ids).map(Value::Nodes)
            }
            Function::Sum => {
                let mut sum = 0.0;
                for node in self.set(argument, at)? {
                    sum += number_of(&self.string(node)?);
                }
                Ok(Value::Number(sum))
            }
            _ => Ok(number(self.set(argument, at)?.len())),
        }
    }

    /// The first element with each of the given ids.
    fn with_ids(&mut self, ids: &str) -> Result<Vec<NodeId>, ExtractError> {
        let mut wanted: std::collections::HashSet<&str> = ids.split_ascii_whitespace().collect();
        let mut set = Vec::new();
        for place in 0..self.nodes.len() {
            self.look()?;
            let node = NodeId::node(place);
            if wanted.is_empty() {
                break;
            }
            if self.nodes.attribute_of(node, "id").is_some_and(|id| wanted.remove(id)) {
                set.push(node);
            }
        }
        Ok(set)
    }

    fn of_names(&mut self, function: Function, arguments: &[Expr], at: Place) -> Result<Value, ExtractError> {
        if function == Function::Lang {
            let Some(argument) = arguments.first() else { return Ok(Value::Truth(false)) };
            let wanted = self.text(argument, at)?;
            return self.lang(at.node, &wanted).map(Value::Truth);
        }
        let node = match arguments.first() {
            Some(argument) => self.set(argument, at)?.first().copied(),
            None => Some(at.node),
        };
        Ok(Value::Text(node.map_or_else(String::new, |node| match function {
            Function::NamespaceUri => self.nodes.namespace(node).to_owned(),
            Function::LocalName => self.nodes.name(node).to_owned(),
            _ => self.nodes.full_name(node),
        })))
    }

    /// Whether a node is in a language or in a dialect of it.
    fn lang(&mut self, from: NodeId, wanted: &str) -> Result<bool, ExtractError> {
        let mut next = Some(from);
        while let Some(node) = next {
            self.look()?;
            if self.nodes.kind(node) == Kind::Element
                && let Some(language) =
                    ["xml:lang", "lang"].iter().find_map(|name| self.nodes.attribute_of(node, name))
            {
                let (head, tail) = language.split_at_checked(wanted.len()).unwrap_or((language, ""));
                return Ok(head.eq_ignore_ascii_case(wanted) && (tail.is_empty() || tail.starts_with('-')));
            }
            next = self.nodes.parent(node);
        }
        Ok(false)
    }

    fn of_texts(&mut self, function: Function, arguments: &[Expr], at: Place) -> Result<Value, ExtractError> {
        let mut texts = Vec::with_capacity(arguments.len());
        for (n, argument) in arguments.iter().enumerate() {
            // All arguments of substring() except the first are numbers.
            if function == Function::Substring && n > 0 {
                break;
            }
            texts.push(self.text(argument, at)?);
        }
        if texts.is_empty() {
            texts.push(self.string(at.node)?.into_owned());
        }
        let first = texts.first().map_or("", String::as_str);
        let second = texts.get(1).map_or("", String::as_str);
        Ok(Value::Text(match function {
            Function::Concat => texts.concat(),
            Function::StartsWith => return Ok(Value::Truth(first.starts_with(second))),
            Function::Contains => return Ok(Value::Truth(first.contains(second))),
            #[expect(
                clippy::cast_precision_loss,
                reason = "a text is shorter than a float has whole numbers"
            )]
            Function::StringLength => return Ok(Value::Number(first.chars().count() as f64)),
            Function::SubstringBefore => first.split_once(second).map_or("", |(before, _)| before).to_owned(),
            Function::SubstringAfter => first.split_once(second).map_or("", |(_, after)| after).to_owned(),
            Function::Substring => return self.substring(first, arguments, at).map(Value::Text),
            Function::NormalizeSpace => {
                let words = first.split([' ', '\t', '\r', '\n']).filter(|word| !word.is_empty());
                words.collect::<Vec<_>>().join(" ")
            }
            Function::Translate => translated(first, second, texts.get(2).map_or("", String::as_str)),
            _ => first.to_owned(),
        }))
    }

    fn substring(&mut self, text: &str, arguments: &[Expr], at: Place) -> Result<String, ExtractError> {
        let start = match arguments.get(1) {
            Some(argument) => rounded(self.number(argument, at)?),
            None => 1.0,
        };
        let end = match arguments.get(2) {
            Some(argument) => start + rounded(self.number(argument, at)?),
            None => f64::INFINITY,
        };
        #[expect(clippy::cast_precision_loss, reason = "a text is shorter than a float has whole numbers")]
        let position = |n: usize| (n + 1) as f64;
        let within = |n: usize| position(n) >= start && position(n) < end;
        Ok(text.chars().enumerate().filter(|(n, _)| within(*n)).map(|(_, c)| c).collect())
    }
}

/// Rounds to the nearest whole number (XPath 1.0, section 4.4). Halves are rounded up, also below zero,
/// and values just below zero become negative zero.
fn rounded(number: f64) -> f64 {
    let floor = number.floor();
    // To add a half first would round twice.
    let nearest = if number - floor >= 0.5 { floor + 1.0 } else { floor };
    nearest.copysign(number)
}

/// Replaces each character of `from` by the one at the same position in `to`, or removes it.
fn translated(text: &str, from: &str, to: &str) -> String {
    let mut table = std::collections::HashMap::new();
    let mut to = to.chars();
    for c in from.chars() {
        let becomes = to.next();
        table.entry(c).or_insert(becomes);
    }
    text.chars().filter_map(|c| table.get(&c).copied().unwrap_or(Some(c))).collect()
}
