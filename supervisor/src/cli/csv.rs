//! `csv`: parses `--group-by`, `--agg` and `--where`, and finds their columns in the files.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use encoding_rs::{Encoding, UTF_8};
use shared::csv::{Aggregate, Comparison, CsvFile, CsvSpec, Filter, Function, Number};
use shared::job::Work;

use super::Environment;
use super::encoding::encoding;
use super::flags::{ReadingFlags, TableFlags};
use super::problem::Problem;
use crate::nearest::nearest;
use crate::source::{CsvReading, Header, HeaderError, NamedFile, Patience, column_hint, read_header};

/// Time for a header, if another process reads it.
const HEADER_TIME: Duration = Duration::from_millis(200);

/// The least time for all headers of a job. Its submission waits for them.
const HEADERS_TIME_MIN: Duration = Duration::from_secs(10);

/// Every function, as it is typed.
const FUNCTIONS: [&str; 9] = ["count", "sum", "min", "max", "mean", "var", "stddev", "distinct", "quantile"];

/// Names of the functions in other tools, for suggestions.
const ALIASES: [(&str, &str); 10] = [
    ("avg", "mean"),
    ("average", "mean"),
    ("variance", "var"),
    ("std", "stddev"),
    ("stdev", "stddev"),
    ("median", "quantile(COL, 0.5)"),
    ("percentile", "quantile(COL, 0.95)"),
    ("nunique", "distinct"),
    ("count_distinct", "distinct"),
    ("len", "count"),
];

/// Reads the headers and builds the job, with the files that workers cannot open by name.
pub(super) fn work(
    files: &[PathBuf],
    table: &TableFlags,
    reading: &ReadingFlags,
    env: &Environment<'_>,
) -> Result<(Work, Vec<Arc<File>>), Problem> {
    let encoding = reading.encoding.as_deref().map(encoding).transpose()?;
    if files.is_empty() {
        return Err(Problem::Usage("csv needs at least one file; - is standard input".to_owned()));
    }
    if files.iter().filter(|path| *path == Path::new("-")).count() > 1 {
        return Err(Problem::Usage("standard input can be read only once; give - once".to_owned()));
    }
    let (given, found) = headers(files, reading, encoding, env)?;
    let mut columns = Columns {
        named: Vec::new(),
        known: found.first().map(|header| header.names.clone()).unwrap_or_default(),
    };
    // If rows are not decoded first, conditions compare undecoded bytes, all in this one encoding.
    let raw = found.first().map(|header| header.encoding).filter(|encoding| {
        *encoding != UTF_8
            && found.iter().all(|header| header.encoding == *encoding && header.file.decode.is_none())
    });
    let keys = table.group_by.iter().flat_map(|keys| columns.split(keys)).collect::<Vec<_>>();
    let keys = keys.iter().map(|key| columns.place(key)).collect();
    let count = ["count".to_owned()];
    let aggregates = if table.agg.is_empty() { count.as_slice() } else { table.agg.as_slice() };
    let aggregates = aggregates.iter().map(|text| aggregate(text, &mut columns)).collect::<Result<_, _>>()?;
    let filters =
        table.conditions.iter().map(|text| condition(text, raw, &mut columns)).collect::<Result<_, _>>()?;
    let spec = CsvSpec {
        files: located(found, &columns.named)?,
        columns: columns.named,
        keys,
        aggregates,
        filters,
        groups_max: table.groups_max,
        encoding: raw.map(|encoding| encoding.name().to_owned()),
    };
    check_names(&spec)?;
    let held = given.into_iter().filter_map(|given| given.held).map(|held| held.file).collect();
    Ok((Work::Csv(Box::new(spec)), held))
}

/// Reads all headers. Compared text must have one encoding, so if the files differ, all are decoded.
fn headers(
    files: &[PathBuf],
    flags: &ReadingFlags,
    encoding: Option<&'static Encoding>,
    env: &Environment<'_>,
) -> Result<(Vec<NamedFile>, Vec<Header>), Problem> {
    let files = files.get(..env.headers_max).unwrap_or(files);
    let count = u32::try_from(files.len()).unwrap_or(u32::MAX);
    let patience = Patience::starting_now(HEADERS_TIME_MIN.max(HEADER_TIME * count));
    let read = |path: &PathBuf, given: &NamedFile, decodes: bool| {
        let delimiter = flags.delimiter.unwrap_or_else(|| delimiter(path));
        let reading = CsvReading {
            delimiter,
            header: !flags.no_header,
            encoding,
            decodes,
            isolated: env.isolates_lists.then_some(patience),
        };
        read_header(given, reading).map_err(header_problem)
    };
    let (mut given, mut found) = (Vec::new(), Vec::new());
    for path in files {
        let file = NamedFile::new(path).map_err(header_problem)?;
        found.push(read(path, &file, false)?);
        given.push(file);
    }
    let standing = |header: &Header| (header.encoding, header.file.decode.is_some());
    if found.windows(2).any(|two| matches!(two, [a, b] if standing(a) != standing(b))) {
        let again = files.iter().zip(&given).map(|(path, given)| read(path, given, true));
        found = again.collect::<Result<_, _>>()?;
    }
    Ok((given, found))
}

fn header_problem(error: HeaderError) -> Problem {
    match error {
        _ if error.lacks_descriptors() => Problem::Short(error.to_string()),
        HeaderError::NotCsv { .. } => Problem::Usage(error.to_string()),
        HeaderError::Unreadable { .. }
        | HeaderError::NotAFile { .. }
        | HeaderError::Empty { .. }
        | HeaderError::Told(_)
        | HeaderError::NoReader { .. }
        | HeaderError::TooLong { .. } => Problem::Impossible(error.to_string()),
    }
}

/// The delimiter by file name: a tab for .tsv, else a comma.
fn delimiter(path: &Path) -> u8 {
    let name = path.to_string_lossy().to_ascii_lowercase();
    let name = name.trim_end_matches(".gz").trim_end_matches(".zst");
    if name.ends_with(".tsv") || name.ends_with(".tab") { b'\t' } else { b',' }
}

/// The columns that the job names, each once.
struct Columns {
    named: Vec<String>,
    /// The columns of the first file.
    known: Vec<String>,
}

impl Columns {
    fn place(&mut self, name: &str) -> u32 {
        let place = self.named.iter().position(|named| named == name).unwrap_or_else(|| {
            self.named.push(name.to_owned());
            self.named.len() - 1
        });
        u32::try_from(place).unwrap_or(u32::MAX)
    }

    /// Splits `a,b` into two columns, unless a column has that name.
    fn split(&self, keys: &str) -> Vec<String> {
        if self.known.iter().any(|name| name == keys) {
            return vec![keys.to_owned()];
        }
        keys.split(',').map(|key| self.spelled(key)).collect()
    }

    /// Trims spaces, unless they are part of a column's name.
    fn spelled(&self, name: &str) -> String {
        let exact = self.known.iter().any(|known| known == name);
        if exact { name.to_owned() } else { name.trim().to_owned() }
    }
}

/// Finds the position of each column in each file.
fn located(found: Vec<Header>, columns: &[String]) -> Result<Vec<CsvFile>, Problem> {
    let mut files = Vec::with_capacity(found.len());
    for Header { mut file, names, .. } in found {
        for column in columns {
            let mut places = (0..).zip(&names).filter(|(_, name)| *name == column).map(|(place, _)| place);
            match (places.next(), places.next()) {
                (Some(place), None) => file.positions.push(place),
                (Some(one), Some(other)) => {
                    return Err(Problem::Usage(format!(
                        "{}: columns {} and {} are both called \"{column}\"; use --no-header to name columns by number",
                        file.path.display(),
                        one + 1,
                        other + 1
                    )));
                }
                (None, _) => return Err(no_column(&file.path, column, &names)),
            }
        }
        files.push(file);
    }
    Ok(files)
}

fn no_column(path: &Path, column: &str, names: &[String]) -> Problem {
    let hint = column_hint(names, nearest(column, names.iter().map(String::as_str)));
    Problem::Usage(format!("{}: no column \"{column}\"; {hint}", path.display()))
}

/// Parses `NAME=FUNC(COL)`, or `FUNC(COL)`, whose name is its own text.
fn aggregate(text: &str, columns: &mut Columns) -> Result<Aggregate, Problem> {
    let wrong = |why: String| Problem::Usage(format!("--agg '{text}': {why}"));
    let (name, call) = match (text.find('='), text.find('(')) {
        (Some(equals), paren) if paren.is_none_or(|paren| equals < paren) => {
            let (name, call) = text.split_at(equals);
            (name.trim(), call.trim_start_matches('=').trim())
        }
        _ => (text.trim(), text.trim()),
    };
    let (function, argument) = match call.split_once('(') {
        None => (call, None),
        Some((function, rest)) => match rest.strip_suffix(')') {
            Some(argument) => (function.trim_end(), Some(argument)),
            None => return Err(wrong("the closing ) is missing".to_owned())),
        },
    };
    if name.is_empty() {
        return Err(wrong("the name before = is missing".to_owned()));
    }
    let (function, column) = parsed(function, argument, columns).map_err(wrong)?;
    let column = column.map(|column| columns.place(&column));
    Ok(Aggregate { name: name.to_owned(), function, column })
}

fn parsed(
    name: &str,
    argument: Option<&str>,
    columns: &Columns,
) -> Result<(Function, Option<String>), String> {
    let function = match name.to_ascii_lowercase().as_str() {
        "count" => Function::Count,
        "sum" => Function::Sum,
        "min" => Function::Min,
        "max" => Function::Max,
        "mean" => Function::Mean,
        "var" => Function::Var,
        "stddev" => Function::Stddev,
        "distinct" => Function::Distinct,
        "quantile" => return quantile(argument, columns),
        other => {
            let alias = ALIASES.iter().find(|(alias, _)| *alias == other).map(|(_, meant)| *meant);
            let hint = match alias.or_else(|| nearest(other, FUNCTIONS)) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("the functions are: {}", FUNCTIONS.join(", ")),
            };
            return Err(format!("unknown function \"{name}\"; {hint}"));
        }
    };
    match argument.map(|column| columns.spelled(column)).filter(|column| !column.is_empty() && column != "*")
    {
        Some(column) => Ok((function, Some(column))),
        None if function == Function::Count => Ok((function, None)),
        None => Err(format!("{name} needs a column: {name}(COL)")),
    }
}

fn quantile(argument: Option<&str>, columns: &Columns) -> Result<(Function, Option<String>), String> {
    let usage = || "quantile needs a column and a number from 0 to 1: quantile(COL, 0.95)".to_owned();
    let (column, rank) = argument.and_then(|argument| argument.rsplit_once(',')).ok_or_else(usage)?;
    let rank: f64 = rank.trim().parse().map_err(|_| usage())?;
    if !(0.0..=1.0).contains(&rank) || column.trim().is_empty() {
        return Err(usage());
    }
    Ok((Function::Quantile(rank), Some(columns.spelled(column))))
}

/// Parses `COL OP VALUE`. A quoted value is compared as text, even if it looks like a number.
fn condition(text: &str, raw: Option<&'static Encoding>, columns: &mut Columns) -> Result<Filter, Problem> {
    const OPERATORS: [(&str, Comparison); 7] = [
        ("!=", Comparison::NotEqual),
        ("<=", Comparison::AtMost),
        (">=", Comparison::AtLeast),
        ("=", Comparison::Equal),
        ("<", Comparison::Less),
        (">", Comparison::Greater),
        ("~", Comparison::Contains),
    ];
    // The first operator in the text; at the same position, the longest.
    let place = |(operator, comparison): &(&str, Comparison)| {
        Some((text.find(operator)?, operator.len(), *comparison))
    };
    let first =
        OPERATORS.iter().filter_map(place).min_by_key(|(at, length, _)| (*at, std::cmp::Reverse(*length)));
    let Some((at, length, comparison)) = first else {
        return Err(Problem::Usage(format!("--where '{text}': no operator; use one of = != < <= > >= ~")));
    };
    let (column, value) = (text.get(..at).unwrap_or_default(), text.get(at + length..).unwrap_or_default());
    let value = if comparison == Comparison::Equal { value.trim_start_matches('=') } else { value }.trim();
    let column = columns.spelled(column);
    if column.is_empty() {
        return Err(Problem::Usage(format!("--where '{text}': the column before the operator is missing")));
    }
    let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    let number = match (inner, Number::parse(value.as_bytes())) {
        (None, number @ (Number::Exact { .. } | Number::Long(_))) => Some(number),
        _ => None,
    };
    let value = inner.unwrap_or(value);
    let bytes =
        raw.map_or_else(|| value.as_bytes().to_vec(), |encoding| encoding.encode(value).0.into_owned());
    Ok(Filter { column: columns.place(&column), comparison, text: bytes, number })
}

/// Refuses two columns of the output with the same name.
fn check_names(spec: &CsvSpec) -> Result<(), Problem> {
    let keys = spec.keys.iter().filter_map(|key| spec.columns.get(*key as usize));
    let mut names: Vec<&String> = Vec::new();
    for name in keys.chain(spec.aggregates.iter().map(|aggregate| &aggregate.name)) {
        if names.contains(&name) {
            return Err(Problem::Usage(format!(
                "two columns of the output are called \"{name}\"; rename one with --agg 'NAME=…'"
            )));
        }
        names.push(name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Columns {
        Columns { named: Vec::new(), known: ["city", "price", "a,b", "x "].map(str::to_owned).to_vec() }
    }

    #[test]
    fn aggregates_are_read() {
        let check = |text: &str, want: Result<(&str, Function, Option<&str>), &str>| {
            let mut columns = columns();
            let got = aggregate(text, &mut columns);
            match (got, want) {
                (Ok(got), Ok((name, function, column))) => {
                    let of =
                        got.column.and_then(|place| columns.named.get(place as usize)).map(String::as_str);
                    assert_eq!((got.name.as_str(), got.function, of), (name, function, column), "{text}");
                }
                (Err(Problem::Usage(message)), Err(part)) => {
                    assert!(message.contains(part), "{text}: {message}")
                }
                (got, want) => panic!("{text}: {got:?}, not {want:?}"),
            }
        };
        check("n=count", Ok(("n", Function::Count, None)));
        check("n = count( )", Ok(("n", Function::Count, None)));
        check("n=count(*)", Ok(("n", Function::Count, None)));
        check("count", Ok(("count", Function::Count, None)));
        check("sum(price)", Ok(("sum(price)", Function::Sum, Some("price"))));
        check("r=SUM( price )", Ok(("r", Function::Sum, Some("price"))));
        check("m=max(a,b)", Ok(("m", Function::Max, Some("a,b"))));
        check("m=max(x )", Ok(("m", Function::Max, Some("x "))));
        check("p=quantile(a,b, 0.95)", Ok(("p", Function::Quantile(0.95), Some("a,b"))));
        check("p=quantile(price)", Err("quantile(COL, 0.95)"));
        check("p=quantile(price, 95)", Err("quantile(COL, 0.95)"));
        check("s=summ(price)", Err("did you mean sum?"));
        check("s=avg(price)", Err("did you mean mean?"));
        check("s=median(price)", Err("did you mean quantile(COL, 0.5)?"));
        check("s=frobnicate(price)", Err("the functions are: count, sum"));
        check("s=sum", Err("sum needs a column"));
        check("s=sum(price", Err("the closing ) is missing"));
        check("=sum(price)", Err("the name before ="));
    }

    #[test]
    fn conditions_are_read() {
        use Comparison::{AtLeast, AtMost, Contains, Equal, Less, NotEqual};
        let check = |text: &str, column: &str, comparison, value: &str, is_number: bool| {
            let mut columns = columns();
            let got = condition(text, None, &mut columns).unwrap();
            assert_eq!(columns.named, [column], "{text}");
            assert_eq!((got.comparison, got.text.as_slice()), (comparison, value.as_bytes()), "{text}");
            assert_eq!(got.number.is_some(), is_number, "{text}");
        };
        check("price >= 10", "price", AtLeast, "10", true);
        check("price<=1.5e3", "price", AtMost, "1.5e3", true);
        check("city = New York", "city", Equal, "New York", false);
        check("city == Rome", "city", Equal, "Rome", false);
        check("city=\"007\"", "city", Equal, "007", false);
        check("city != ", "city", NotEqual, "", false);
        check("city < a=b", "city", Less, "a=b", false);
        check("city ~ ork", "city", Contains, "ork", false);
        for (text, part) in [("price", "no operator"), ("= 4", "the column before")] {
            let Err(Problem::Usage(message)) = condition(text, None, &mut columns()) else {
                panic!("{text}")
            };
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn text_is_compared_in_the_encoding_of_the_files() {
        let latin = Encoding::for_label(b"windows-1252");
        assert_eq!(condition("city = café", latin, &mut columns()).unwrap().text, b"caf\xe9");
    }

    #[test]
    fn a_list_of_columns_is_cut_at_commas_unless_it_is_a_name() {
        assert_eq!(columns().split("city, price"), ["city", "price"]);
        assert_eq!(columns().split("a,b"), ["a,b"]);
    }
}
