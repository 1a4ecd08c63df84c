//! The core function library: names and how many arguments each takes.

/// A function of the core library (XPath 1.0, section 4).
#[expect(missing_docs, reason = "the names say what they are")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    Last,
    Position,
    Count,
    Id,
    LocalName,
    NamespaceUri,
    Name,
    String,
    Concat,
    StartsWith,
    Contains,
    SubstringBefore,
    SubstringAfter,
    Substring,
    StringLength,
    NormalizeSpace,
    Translate,
    Boolean,
    Not,
    True,
    False,
    Lang,
    Number,
    Sum,
    Floor,
    Ceiling,
    Round,
}

impl Function {
    /// Name, function, minimum and maximum number of arguments.
    pub(super) const ALL: [(&'static str, Self, usize, usize); 27] = [
        ("last", Self::Last, 0, 0),
        ("position", Self::Position, 0, 0),
        ("count", Self::Count, 1, 1),
        ("id", Self::Id, 1, 1),
        ("local-name", Self::LocalName, 0, 1),
        ("namespace-uri", Self::NamespaceUri, 0, 1),
        ("name", Self::Name, 0, 1),
        ("string", Self::String, 0, 1),
        ("concat", Self::Concat, 2, usize::MAX),
        ("starts-with", Self::StartsWith, 2, 2),
        ("contains", Self::Contains, 2, 2),
        ("substring-before", Self::SubstringBefore, 2, 2),
        ("substring-after", Self::SubstringAfter, 2, 2),
        ("substring", Self::Substring, 2, 3),
        ("string-length", Self::StringLength, 0, 1),
        ("normalize-space", Self::NormalizeSpace, 0, 1),
        ("translate", Self::Translate, 3, 3),
        ("boolean", Self::Boolean, 1, 1),
        ("not", Self::Not, 1, 1),
        ("true", Self::True, 0, 0),
        ("false", Self::False, 0, 0),
        ("lang", Self::Lang, 1, 1),
        ("number", Self::Number, 0, 1),
        ("sum", Self::Sum, 1, 1),
        ("floor", Self::Floor, 1, 1),
        ("ceiling", Self::Ceiling, 1, 1),
        ("round", Self::Round, 1, 1),
    ];
}
