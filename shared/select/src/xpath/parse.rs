//! Parses an expression according to the levels of the grammar, weakest operator first.

use super::token::{Token, tokens};
use super::{Axis, Expr, Function, NodeTest, Operator, Start, Step, XPathError};
use crate::refusal::nearest;

/// Maximum depth of nested brackets and parentheses, more than any real expression needs.
const DEPTH_MAX: usize = 32;

/// The levels of operators, weakest first.
const LEVELS: [&[(&str, Operator)]; 6] = [
    &[("or", Operator::Or)],
    &[("and", Operator::And)],
    &[("=", Operator::Equal), ("!=", Operator::NotEqual)],
    &[
        ("<", Operator::Less),
        ("<=", Operator::LessOrEqual),
        (">", Operator::Greater),
        (">=", Operator::GreaterOrEqual),
    ],
    &[("+", Operator::Add), ("-", Operator::Subtract)],
    &[("*", Operator::Multiply), ("div", Operator::Divide), ("mod", Operator::Remainder)],
];

/// Parses an expression.
///
/// # Errors
/// Fails if the text is not XPath 1.0, or if it uses variables or namespaces.
pub fn parse(text: &str) -> Result<Expr, XPathError> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, end: text.len(), depth: 0 };
    let expr = parser.whole()?;
    match parser.tokens.get(parser.at) {
        None => Ok(expr),
        Some(_) => parser.refuse(format!("{} is not allowed here", parser.shown())),
    }
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
    end: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(_, token)| token)
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Some(Token::Sign(next)) if *next == sign)
    }

    fn next_is(&self, sign: &str) -> bool {
        matches!(self.tokens.get(self.at + 1), Some((_, Token::Sign(next))) if *next == sign)
    }

    fn take(&mut self, sign: &str) -> bool {
        let is_next = self.is(sign);
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, sign: &str) -> Result<(), XPathError> {
        if self.take(sign) {
            Ok(())
        } else {
            self.refuse(format!("`{sign}` is missing before {}", self.shown()))
        }
    }

    fn refuse<T>(&self, problem: impl Into<String>) -> Result<T, XPathError> {
        let at = self.tokens.get(self.at).map_or(self.end, |(at, _)| *at);
        Err(XPathError { at, problem: problem.into() })
    }

    fn shown(&self) -> String {
        match self.peek() {
            None => "the end".to_owned(),
            Some(Token::Sign("*name")) => "`*`".to_owned(),
            Some(Token::Sign(sign)) => format!("`{sign}`"),
            Some(Token::Name(name)) => format!("`{name}`"),
            Some(Token::Text(text)) => format!("'{text}'"),
            Some(Token::Number(number)) => format!("`{number}`"),
        }
    }

    /// An expression of any kind.
    fn whole(&mut self) -> Result<Expr, XPathError> {
        if self.depth == DEPTH_MAX {
            return self.refuse("brackets are nested too deeply");
        }
        self.depth += 1;
        let expr = self.binary(0);
        self.depth -= 1;
        expr
    }

    fn binary(&mut self, level: usize) -> Result<Expr, XPathError> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        while let Some((_, operator)) = operators.iter().find(|(sign, _)| self.is(sign)) {
            self.at += 1;
            let right = self.binary(level + 1)?;
            left = Expr::Binary(Box::new(left), *operator, Box::new(right));
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expr, XPathError> {
        let mut negations = 0;
        while self.take("-") {
            negations += 1;
        }
        if negations > 0 {
            let inner = Box::new(self.unary()?);
            let negated = Expr::Negate(inner);
            // Two minus signs give a number, which may not be the type of the operand.
            return Ok(if negations % 2 == 1 { negated } else { Expr::Negate(Box::new(negated)) });
        }
        let first = self.path()?;
        if !self.is("|") {
            return Ok(first);
        }
        let mut all = vec![first];
        while self.take("|") {
            all.push(self.path()?);
        }
        match all.iter().find(|expr| !gives_nodes(expr)) {
            Some(_) => self.refuse("`|` joins nodes, but one side of it returns no nodes"),
            None => Ok(Expr::Union(all)),
        }
    }

    fn path(&mut self) -> Result<Expr, XPathError> {
        let mut steps = Vec::new();
        if self.take("/") {
            if self.starts_step() {
                self.relative(&mut steps)?;
            }
            return Ok(Expr::Path(Start::Root, steps));
        }
        if self.take("//") {
            steps.push(anything_below());
            self.relative(&mut steps)?;
            return Ok(Expr::Path(Start::Root, steps));
        }
        if let Some(primary) = self.primary()? {
            let predicates = self.predicates()?;
            let goes_on = self.is("/") || self.is("//");
            if (goes_on || !predicates.is_empty()) && !gives_nodes(&primary) {
                return self.refuse("the expression before this returns no nodes");
            }
            if !goes_on && predicates.is_empty() {
                return Ok(primary);
            }
            if goes_on {
                if self.take("//") {
                    steps.push(anything_below());
                } else {
                    self.at += 1;
                }
                self.relative(&mut steps)?;
            }
            return Ok(Expr::Path(Start::Of(Box::new(primary), predicates), steps));
        }
        self.relative(&mut steps)?;
        Ok(Expr::Path(Start::Here, steps))
    }

    fn relative(&mut self, steps: &mut Vec<Step>) -> Result<(), XPathError> {
        loop {
            steps.push(self.step()?);
            if self.take("//") {
                steps.push(anything_below());
            } else if !self.take("/") {
                return Ok(());
            }
        }
    }

    fn starts_step(&self) -> bool {
        match self.peek() {
            Some(Token::Name(_)) => true,
            Some(Token::Sign(sign)) => matches!(*sign, "." | ".." | "@" | "*name"),
            Some(Token::Text(_) | Token::Number(_)) | None => false,
        }
    }

    fn step(&mut self) -> Result<Step, XPathError> {
        for (sign, axis) in [(".", Axis::Itself), ("..", Axis::Parent)] {
            if self.take(sign) {
                return Ok(Step { axis, test: NodeTest::Node, predicates: Vec::new() });
            }
        }
        let axis = if self.take("@") {
            Axis::Attribute
        } else if let (Some(Token::Name(name)), true) = (self.peek(), self.next_is("::")) {
            let name = name.clone();
            let Some((_, axis)) = Axis::NAMES.into_iter().find(|(known, _)| *known == name) else {
                let near = nearest(&name, Axis::NAMES.iter().map(|(known, _)| *known));
                let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}::`?"));
                return self.refuse(format!("`{name}::` is not an axis{near}"));
            };
            self.at += 2;
            axis
        } else {
            Axis::Child
        };
        let test = self.node_test()?;
        Ok(Step { axis, test, predicates: self.predicates()? })
    }

    fn node_test(&mut self) -> Result<NodeTest, XPathError> {
        if self.take("*name") {
            return Ok(NodeTest::AnyName);
        }
        let Some(Token::Name(name)) = self.peek() else {
            return self.refuse(format!("a name, `*`, `@` or `.` is missing before {}", self.shown()));
        };
        let name = name.clone();
        if !self.next_is("(") {
            self.at += 1;
            return Ok(NodeTest::Name(name));
        }
        let mut test = match name.as_str() {
            "node" => NodeTest::Node,
            "text" => NodeTest::Text,
            "comment" => NodeTest::Comment,
            "processing-instruction" => NodeTest::Instruction(None),
            _ => return self.refuse(format!("`{name}()` cannot be a step of a path")),
        };
        self.at += 2;
        if let (NodeTest::Instruction(target), Some(Token::Text(text))) = (&mut test, self.peek()) {
            *target = Some(text.clone());
            self.at += 1;
        }
        self.expect(")")?;
        Ok(test)
    }

    fn predicates(&mut self) -> Result<Vec<Expr>, XPathError> {
        let mut predicates = Vec::new();
        while self.take("[") {
            predicates.push(self.whole()?);
            self.expect("]")?;
        }
        Ok(predicates)
    }

    /// Parentheses, a text, a number or a function.
    fn primary(&mut self) -> Result<Option<Expr>, XPathError> {
        if self.take("(") {
            let inner = self.whole()?;
            self.expect(")")?;
            return Ok(Some(inner));
        }
        let primary = match self.peek() {
            Some(Token::Text(text)) => Expr::Text(text.clone()),
            Some(Token::Number(number)) => Expr::Number(*number),
            Some(Token::Name(name)) if self.next_is("(") => {
                let name = name.clone();
                if matches!(name.as_str(), "node" | "text" | "comment" | "processing-instruction") {
                    return Ok(None);
                }
                return self.call(&name).map(Some);
            }
            Some(Token::Name(_) | Token::Sign(_)) | None => return Ok(None),
        };
        self.at += 1;
        Ok(Some(primary))
    }

    fn call(&mut self, name: &str) -> Result<Expr, XPathError> {
        let Some((_, function, fewest, most)) = Function::ALL.into_iter().find(|(known, ..)| *known == name)
        else {
            let near = nearest(name, Function::ALL.iter().map(|(known, ..)| *known));
            let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}()`?"));
            return self.refuse(format!("`{name}()` is not a function of XPath 1.0{near}"));
        };
        let at = self.at;
        self.at += 2;
        let mut arguments = Vec::new();
        if !self.take(")") {
            loop {
                arguments.push(self.whole()?);
                if !self.take(",") {
                    break;
                }
            }
            self.expect(")")?;
        }
        if !(fewest..=most).contains(&arguments.len()) {
            self.at = at;
            return self.refuse(format!("`{name}()` does not take {} arguments", arguments.len()));
        }
        let takes_nodes = matches!(
            function,
            Function::Count | Function::Sum | Function::LocalName | Function::NamespaceUri | Function::Name
        );
        if takes_nodes && !arguments.iter().all(gives_nodes) {
            self.at = at;
            return self.refuse(format!("`{name}()` takes nodes"));
        }
        Ok(Expr::Call(function, arguments))
    }
}

/// The step that `//` stands for.
const fn anything_below() -> Step {
    Step { axis: Axis::DescendantOrSelf, test: NodeTest::Node, predicates: Vec::new() }
}

/// Whether an expression returns nodes, and not a text, a number or a boolean.
fn gives_nodes(expr: &Expr) -> bool {
    matches!(expr, Expr::Path(..) | Expr::Union(_) | Expr::Call(Function::Id, _))
}
