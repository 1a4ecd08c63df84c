//! The columns of a job's records, and what of a record stands in each.
//!
//! Workers make rows from the records themselves: text with a delimiter ([`Delimited`]), or cells of a type
//! ([`Typed`]) from which the supervisor builds Parquet and SQLite. So all tables of one job have the same columns in
//! the same order. A cell that cannot be what its column holds is null.

mod delimited;
mod typed;
mod value;

use serde::{Deserialize, Serialize};
use wire::record::{Ending, Record};

pub use self::delimited::{Delimited, quoted};
pub use self::typed::{Cell, Cells, Typed, first_row};
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
    pub origin: Origin,
    /// What its cells are.
    pub kind: Kind,
}

/// A part of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// The input's position.
    Id,
    /// The URL as given.
    Url,
    /// The path as given.
    Path,
    /// Links from a page that the user named.
    Depth,
    /// The page that it was found on, or the page before in a list of pages.
    Parent,
    /// Pages that its links lead to.
    Found,
    /// Which page of its list it is.
    Page,
    /// The URL after redirects.
    FinalUrl,
    /// The status of the response.
    Status,
    /// Attempts made.
    Attempts,
    /// The slot of the worker.
    Worker,
    /// How long it took.
    ElapsedMs,
    /// The size of the body.
    Bytes,
    /// The encoding of the text.
    Charset,
    /// The type of the saved file's content.
    ContentType,
    /// The file that the body was saved as.
    File,
    /// The hash of its content.
    Sha256,
    /// Headers of the response.
    Headers,
    /// The value carried along under this name.
    Kept(String),
    /// The field at this position, from 0.
    Field(u32),
    /// What the user's program answered.
    Value,
    /// The kind of the error.
    ErrorKind,
    /// The message of the error.
    ErrorMessage,
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
    /// Text; other values are written as JSON.
    Text,
    /// A whole number.
    Int,
    /// Any number.
    Float,
}

/// What names a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageInput {
    /// Its URL; the records tell of a response.
    Url,
    /// The same; the records tell of the file that the body was saved as, too.
    SavedUrl,
    /// Its path.
    Path,
}

/// Whose records they are.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'a> {
    /// Pages, with what is taken of each.
    Page {
        /// What names a page.
        input: PageInput,
        /// Of `--select`.
        fields: &'a [Field],
        /// Of `--each`.
        each: Option<&'a Each>,
        /// Of `--preset`.
        presets: &'a [Preset],
        /// Whether headers of the response are kept.
        headers: bool,
        /// Whether a crawl has found them.
        crawled: bool,
        /// Whether a program adds a value.
        mapped: bool,
        /// Whether pages are followed to the next ones.
        paged: bool,
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
        table.push("id", Origin::Id, int);
        let is_saved = matches!(subject, Subject::Page { input: PageInput::SavedUrl, .. });
        let (fields, is_page, headers, mapped) = match subject {
            Subject::Page { input, fields, each, presets, headers, crawled, mapped, paged } => {
                match input {
                    PageInput::Path => table.push("path", Origin::Path, text),
                    PageInput::Url | PageInput::SavedUrl => {
                        table.push("url", Origin::Url, text);
                        if crawled {
                            table.push("depth", Origin::Depth, int);
                            table.push("parent", Origin::Parent, int);
                            table.push("found", Origin::Found, int);
                        } else if paged {
                            table.push("parent", Origin::Parent, int);
                            table.push("page", Origin::Page, int);
                        }
                        table.push("final_url", Origin::FinalUrl, text);
                        table.push("status", Origin::Status, int);
                    }
                }
                (columns_of(fields, each, presets), true, headers, mapped)
            }
            Subject::Line => (Vec::new(), false, false, true),
        };
        table.push("attempts", Origin::Attempts, int);
        table.push("worker", Origin::Worker, int);
        if is_page {
            table.push("elapsed_ms", Origin::ElapsedMs, Kind::One(Element::Float));
            table.push("bytes", Origin::Bytes, int);
            table.push("charset", Origin::Charset, text);
        }
        if is_saved {
            table.push("content_type", Origin::ContentType, text);
            table.push("file", Origin::File, text);
            table.push("sha256", Origin::Sha256, text);
        }
        if headers {
            table.push("headers", Origin::Headers, Kind::Json);
        }
        // The last columns' names are taken before anybody else can have them.
        let errors = [("error_kind", Origin::ErrorKind), ("error_message", Origin::ErrorMessage)];
        let value = if mapped { Some("value") } else { None };
        let reserved: Vec<&str> = value.into_iter().chain(errors.iter().map(|(name, _)| *name)).collect();
        for name in kept {
            table.named(name, "keep", Origin::Kept(name.clone()), text, &reserved);
        }
        for (number, (name, kind)) in (0..).zip(fields) {
            table.named(&name, "fields", Origin::Field(number), kind, &reserved);
        }
        if let Some(value) = value {
            table.push(value, Origin::Value, Kind::Json);
        }
        for (name, origin) in errors {
            table.push(name, origin, text);
        }
        table
    }

    /// The first column that depends on whether the user's program answers: the first field, or what follows them.
    fn first_field(&self) -> usize {
        self.position(|origin| matches!(origin, Origin::Field(_)) || is_ending(origin))
    }

    /// The first column behind the fields.
    fn first_ending(&self) -> usize {
        self.position(is_ending)
    }

    /// What is left to write of a row that was begun: from which column, and of which record.
    fn ended<'a>(&self, ending: &Ending<'a>) -> (usize, Record<'a>) {
        match *ending {
            Ending::Value(value) => (self.first_ending(), Record { value: Some(value), ..Record::default() }),
            Ending::Error(error) => (self.first_field(), Record { error: Some(error), ..Record::default() }),
        }
    }

    fn position(&self, is_meant: impl Fn(&Origin) -> bool) -> usize {
        let found = self.columns.iter().position(|column| is_meant(&column.origin));
        found.unwrap_or(self.columns.len())
    }

    /// Adds a column with a name of the user's; the prefix is put before a name that is taken.
    fn named(&mut self, name: &str, prefix: &str, origin: Origin, kind: Kind, reserved: &[&str]) {
        let mut free = name.to_owned();
        while self.has(&free) || reserved.iter().any(|taken| same(taken, &free)) {
            free = format!("{prefix}.{free}");
        }
        self.push(&free, origin, kind);
    }

    fn has(&self, name: &str) -> bool {
        self.columns.iter().any(|column| same(&column.name, name))
    }

    fn push(&mut self, name: &str, origin: Origin, kind: Kind) {
        self.columns.push(Column { name: name.to_owned(), origin, kind });
    }
}

/// Whether a part is known only when the user's program has answered.
const fn is_ending(origin: &Origin) -> bool {
    matches!(origin, Origin::Value | Origin::ErrorKind | Origin::ErrorMessage)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn page(select: &[&str], kept: &[&str]) -> Table {
        let fields = Field::parse_all(select).unwrap();
        let kept: Vec<String> = kept.iter().map(|name| (*name).to_owned()).collect();
        let subject = Subject::Page {
            input: PageInput::Url,
            fields: &fields,
            each: None,
            presets: &[],
            headers: false,
            crawled: false,
            mapped: false,
            paged: false,
        };
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
        let subject = Subject::Page {
            input: PageInput::SavedUrl,
            fields: &[],
            each: None,
            presets: &[],
            headers: false,
            crawled: false,
            mapped: false,
            paged: false,
        };
        assert_eq!(
            names(&Table::of(subject, &["file".to_owned()])).join(" "),
            "id url final_url status attempts worker elapsed_ms bytes charset content_type file sha256 keep.file \
             error_kind error_message"
        );
        let each = Each::parse("li").unwrap();
        let fields = Field::parse_all(&["a=b"]).unwrap();
        let subject = Subject::Page {
            input: PageInput::Path,
            fields: &fields,
            each: Some(&each),
            presets: &[Preset::JsonLd],
            headers: false,
            crawled: false,
            mapped: true,
            paged: false,
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
}
