//! A record as a row: the columns of a job, and what of a JSON line stands in
//! each. Used by the workers for CSV, by the supervisor for Parquet and SQLite,
//! so that all tables of one job have the same columns in the same order.
//!
//! A row is read off the finished line and not off what it was made of: whoever
//! makes records (`fetch`, `map`, the supervisor in place of a dead worker)
//! makes them in one form. A cell that cannot be what its column holds is null.

mod delimited;

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

pub use self::delimited::{Delimited, quoted};
use crate::json::{self, Json};
use crate::select::{Each, Field, Pipe, Preset, names};

/// The columns of a job's records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// In the order in which they are written. No two have the same name, upper and lower case being one.
    pub columns: Vec<Column>,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// What it is called.
    pub name: String,
    /// Which part of a record it shows.
    pub part: Part,
    /// What its cells are.
    pub kind: Kind,
}

/// A part of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// What stands under this key.
    Top(String),
    /// What was carried along under this name.
    Kept(String),
    /// The field of this name.
    Field(String),
    /// What stands under this key of the error.
    Error(String),
}

/// What the cells of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// One value.
    One(Element),
    /// Several of a kind.
    List(Element),
    /// Anything, as JSON.
    Json,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Element {
    /// Text; what is no text is shown as JSON.
    Text,
    /// A whole number.
    Int,
    /// Any number.
    Float,
}

/// Whose records they are.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'a> {
    /// Pages, under this key, with what is taken of each.
    Page {
        /// `url` or `path`.
        input: &'a str,
        /// Of `--select`.
        fields: &'a [Field],
        /// Of `--each`.
        each: Option<&'a Each>,
        /// Of `--preset`.
        presets: &'a [Preset],
        /// Whether a program adds a value.
        mapped: bool,
    },
    /// Lines, and what a program made of them.
    Line,
}

impl Table {
    /// The columns of the records of `subject`, which carry `kept` along.
    #[must_use]
    pub fn of(subject: Subject<'_>, kept: &[String]) -> Self {
        let mut table = Self { columns: Vec::new() };
        let (text, int) = (Kind::One(Element::Text), Kind::One(Element::Int));
        table.top("id", int);
        let (fields, is_page, mapped) = match subject {
            Subject::Page { input, fields, each, presets, mapped } => {
                table.top(input, text);
                if input == "url" {
                    table.top("final_url", text);
                    table.top("status", int);
                }
                (columns_of(fields, each, presets), true, mapped)
            }
            Subject::Line => (Vec::new(), false, true),
        };
        table.top("attempts", int);
        table.top("worker", int);
        if is_page {
            table.top("elapsed_ms", Kind::One(Element::Float));
            table.top("bytes", int);
            table.top("charset", text);
        }
        // The last columns' names are taken before anybody else can have them.
        let last: &[(&str, Part)] = &[
            ("error_kind", Part::Error("kind".to_owned())),
            ("error_message", Part::Error("message".to_owned())),
        ];
        let value = if mapped { Some("value") } else { None };
        let reserved: Vec<&str> = value.into_iter().chain(last.iter().map(|(name, _)| *name)).collect();
        for name in kept {
            table.named(name, "keep", Part::Kept(name.clone()), text, &reserved);
        }
        for (name, kind) in fields {
            table.named(&name, "fields", Part::Field(name.clone()), kind, &reserved);
        }
        if let Some(value) = value {
            table.top(value, Kind::Json);
        }
        for (name, part) in last {
            table.push((*name).to_owned(), part.clone(), text);
        }
        table
    }

    fn top(&mut self, key: &str, kind: Kind) {
        self.push(key.to_owned(), Part::Top(key.to_owned()), kind);
    }

    /// A column whose name is the user's: with its origin before it, if it is taken otherwise.
    fn named(&mut self, name: &str, origin: &str, part: Part, kind: Kind, reserved: &[&str]) {
        let mut free = name.to_owned();
        while self.has(&free) || reserved.iter().any(|taken| same(taken, &free)) {
            free = format!("{origin}.{free}");
        }
        self.push(free, part, kind);
    }

    fn has(&self, name: &str) -> bool {
        self.columns.iter().any(|column| same(&column.name, name))
    }

    fn push(&mut self, name: String, part: Part, kind: Kind) {
        self.columns.push(Column { name, part, kind });
    }
}

/// Whether two names are one for SQL, which does not tell upper from lower case.
fn same(one: &str, other: &str) -> bool {
    one == other || one.to_lowercase() == other.to_lowercase()
}

/// The keys under `fields`, with what is under them.
fn columns_of(fields: &[Field], each: Option<&Each>, presets: &[Preset]) -> Vec<(String, Kind)> {
    let known = if each.is_some() { &[] } else { fields };
    let kinds = known.iter().map(kind_of).chain(std::iter::repeat(Kind::Json));
    names(fields, each, presets).into_iter().zip(kinds).collect()
}

/// What a field comes to after its last step.
fn kind_of(field: &Field) -> Kind {
    let (mut element, mut is_list) = (Element::Text, field.every);
    for pipe in &field.pipes {
        match pipe {
            Pipe::Int => element = Element::Int,
            Pipe::Float => element = Element::Float,
            Pipe::First => is_list = false,
            Pipe::Join(_) => (element, is_list) = (Element::Text, false),
            Pipe::Re(_) | Pipe::Strip | Pipe::Url | Pipe::Default(_) => {}
        }
    }
    if is_list { Kind::List(element) } else { Kind::One(element) }
}

/// One cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell<'a> {
    /// Nothing.
    Null,
    /// Of [`Element::Text`] and of [`Kind::Json`].
    Text(Cow<'a, str>),
    /// Of [`Element::Int`].
    Int(i64),
    /// Of [`Element::Float`].
    Float(f64),
}

/// A record, cut into its parts.
#[derive(Debug, Default)]
pub struct Row<'a> {
    top: Members<'a>,
    kept: Members<'a>,
    fields: Members<'a>,
    error: Members<'a>,
}

/// The members of a JSON object, in order.
#[derive(Debug, Default)]
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(16);
                while let Some((Key(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl<'a> Members<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.get())
    }
}

/// All three parts are cut out in one reading: most of a record is in its fields, and reading over text costs.
impl<'de> Deserialize<'de> for Row<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Record;
        impl<'de> Visitor<'de> for Record {
            type Value = Row<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a record")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut row = Row::default();
                while let Some(Key(name)) = map.next_key()? {
                    match &*name {
                        "keep" => row.kept = map.next_value()?,
                        "fields" => row.fields = map.next_value()?,
                        "error" => row.error = map.next_value()?,
                        _ => row.top.0.push((name, map.next_value()?)),
                    }
                }
                Ok(row)
            }
        }
        deserializer.deserialize_map(Record)
    }
}

impl<'a> Row<'a> {
    /// Cuts a record's line into its parts.
    ///
    /// # Errors
    /// When it is no record.
    pub fn parse(line: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(line)
    }

    /// What stands in `column`, as JSON; `None` is nothing, or `null`.
    #[must_use]
    pub fn json(&self, column: &Column) -> Option<&'a str> {
        let json = match &column.part {
            Part::Top(key) => self.top.get(key),
            Part::Kept(name) => self.kept.get(name),
            Part::Field(name) => self.fields.get(name),
            Part::Error(key) => self.error.get(key),
        };
        json.filter(|json| *json != "null")
    }

    /// What stands in `column`; a list as JSON.
    #[must_use]
    pub fn cell(&self, column: &Column) -> Cell<'a> {
        let Some(json) = self.json(column) else { return Cell::Null };
        match column.kind {
            Kind::One(element) => element.cell(json),
            Kind::List(_) | Kind::Json => Cell::Text(Cow::Borrowed(json)),
        }
    }
}

impl Element {
    fn cell(self, json: &str) -> Cell<'_> {
        match self {
            Self::Text => Cell::Text(text(json)),
            Self::Int => json.parse().map_or(Cell::Null, Cell::Int),
            Self::Float => json.parse().map_or(Cell::Null, Cell::Float),
        }
    }

    /// The values of a list, which is given as JSON.
    #[must_use]
    pub fn cells(self, list: &str) -> Vec<Cell<'_>> {
        // Almost always they are texts, which are read once then.
        if self == Self::Text
            && let Ok(texts) = serde_json::from_str::<Vec<Option<Key<'_>>>>(list)
        {
            let cells = texts.into_iter().map(|text| text.map_or(Cell::Null, |Key(text)| Cell::Text(text)));
            return cells.collect();
        }
        let values: Vec<&RawValue> = serde_json::from_str(list).unwrap_or_default();
        values
            .into_iter()
            .map(|value| if value.get() == "null" { Cell::Null } else { self.cell(value.get()) })
            .collect()
    }
}

/// A JSON text without its quotes; anything else as it is.
fn text(json: &str) -> Cow<'_, str> {
    if !json.starts_with('"') {
        return Cow::Borrowed(json);
    }
    match json::parse(json) {
        Ok(Json::String(text)) => text,
        Ok(_) | Err(_) => Cow::Borrowed(json),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(select: &[&str], kept: &[&str]) -> Table {
        let fields = Field::parse_all(select).unwrap();
        let kept: Vec<String> = kept.iter().map(|name| (*name).to_owned()).collect();
        let subject =
            Subject::Page { input: "url", fields: &fields, each: None, presets: &[], mapped: false };
        Table::of(subject, &kept)
    }

    fn names(table: &Table) -> Vec<&str> {
        table.columns.iter().map(|column| column.name.as_str()).collect()
    }

    #[test]
    fn columns_come_in_the_order_of_a_record() {
        let table = page(&["title=title", "links[]=a::attr(href)"], &["sku"]);
        assert_eq!(
            names(&table).join(" "),
            "id url final_url status attempts worker elapsed_ms bytes charset sku title links error_kind error_message"
        );
        let each = Each::parse("li").unwrap();
        let fields = Field::parse_all(&["a=b"]).unwrap();
        let subject = Subject::Page {
            input: "path",
            fields: &fields,
            each: Some(&each),
            presets: &[Preset::JsonLd],
            mapped: true,
        };
        assert_eq!(
            names(&Table::of(subject, &[])).join(" "),
            "id path attempts worker elapsed_ms bytes charset items jsonld value error_kind error_message"
        );
        assert_eq!(
            names(&Table::of(Subject::Line, &[])).join(" "),
            "id attempts worker value error_kind error_message"
        );
    }

    #[test]
    fn no_name_is_given_twice() {
        let table = page(&["URL=a", "Sku=b", "fields.sku=c", "error_kind=d"], &["sku", "id"]);
        let named = names(&table);
        assert_eq!(
            &named[9..],
            [
                "sku",
                "keep.id",
                "fields.URL",
                "fields.Sku",
                "fields.fields.sku",
                "fields.error_kind",
                "error_kind",
                "error_message"
            ]
        );
    }

    #[test]
    fn a_column_holds_what_the_last_step_gives() {
        for (select, want) in [
            ("a=b", Kind::One(Element::Text)),
            ("a=b | int", Kind::One(Element::Int)),
            ("a=b | float | default(0)", Kind::One(Element::Float)),
            ("a[]=b", Kind::List(Element::Text)),
            ("a[]=b | int", Kind::List(Element::Int)),
            ("a[]=b | int | first", Kind::One(Element::Int)),
            ("a[]=b | int | join(,)", Kind::One(Element::Text)),
        ] {
            assert_eq!(kind_of(&Field::parse(select).unwrap()), want, "{select}");
        }
    }

    #[test]
    fn cells_are_what_the_line_says() {
        let table = page(&["n=a | int", "t=b", "l[]=c", "f=d | float"], &["k"]);
        let line = br#"{"id":7,"url":"a\nb","keep":{"k":1.50},"status":200,"elapsed_ms":1.5,"fields":{"n":-3,"t":"\u0000\"","l":["x",null],"f":null}}"#;
        let row = Row::parse(line).unwrap();
        let cell = |name: &str| row.cell(table.columns.iter().find(|column| column.name == name).unwrap());
        assert_eq!(cell("id"), Cell::Int(7));
        assert_eq!(cell("url"), Cell::Text("a\nb".into()));
        assert_eq!(cell("k"), Cell::Text("1.50".into()));
        assert_eq!(cell("elapsed_ms"), Cell::Float(1.5));
        assert_eq!(cell("n"), Cell::Int(-3));
        assert_eq!(cell("t"), Cell::Text("\0\"".into()));
        assert_eq!(cell("l"), Cell::Text(r#"["x",null]"#.into()));
        assert_eq!(cell("f"), Cell::Null);
        assert_eq!(cell("error_kind"), Cell::Null);
        assert_eq!(
            Element::Text.cells(r#"["x\n",null,{"a":1}]"#),
            [Cell::Text("x\n".into()), Cell::Null, Cell::Text("{\"a\":1}".into())]
        );
        assert_eq!(Element::Int.cells("[1,\"x\"]"), [Cell::Int(1), Cell::Null]);
        assert!(Row::parse(b"[]").is_err() && Row::parse(b"{\"id\":").is_err());
        let half = Row::parse(br#"{"url":"\ud800"}"#).unwrap();
        assert_eq!(half.cell(&table.columns[1]), Cell::Text("\u{fffd}".into()));
    }
}
