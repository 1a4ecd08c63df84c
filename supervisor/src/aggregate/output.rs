//! Writes the groups as a table: sorted, with a header, all or nothing.

use std::cmp::Ordering;
use std::io;

use encoding_rs::Encoding;
use shared::csv::{CsvSpec, Groups, Number, Value, cells_of_key, order};
use shared::table::quoted;

use crate::format::Format;
use crate::sink;

/// Encodes the groups as a table; compresses it if the format says so.
///
/// # Errors
/// If it cannot be compressed.
pub(crate) fn encode(spec: &CsvSpec, groups: &Groups, format: Format) -> io::Result<Vec<u8>> {
    let text = plain(spec, groups, format);
    match format.packing() {
        None => Ok(text),
        Some(packing) => sink::packed(packing, &text),
    }
}

fn plain(spec: &CsvSpec, groups: &Groups, format: Format) -> Vec<u8> {
    let encoding = spec.encoding.as_ref().and_then(|name| Encoding::for_label(name.as_bytes()));
    let keys = spec.keys.iter().filter_map(|key| spec.columns.get(*key as usize));
    let names: Vec<&str> =
        keys.chain(spec.aggregates.iter().map(|aggregate| &aggregate.name)).map(String::as_str).collect();
    let mut table = Table { delimiter: format.delimiter(), names, encoding, out: Vec::new() };
    table.header();
    for group in sorted(spec, groups) {
        let cells = cells_of_key(groups.key(group), spec.keys.len());
        let cells = cells.into_iter().map(|cell| Value::Text(cell.to_vec()));
        let values = spec.aggregates.iter().map(|aggregate| aggregate.of(groups, group));
        table.row(cells.chain(values));
    }
    table.out
}

/// Returns the groups sorted by their keys, column by column: empty cells, then numbers by value, then text by bytes.
fn sorted(spec: &CsvSpec, groups: &Groups) -> Vec<usize> {
    type Cell<'a> = (Number, &'a [u8]);
    let by_cell = |a: &Cell<'_>, b: &Cell<'_>| {
        let rank = |number: Number| match number {
            Number::Missing => 0,
            Number::Exact { .. } | Number::Long(_) => 1,
            Number::Not => 2,
        };
        rank(a.0)
            .cmp(&rank(b.0))
            .then_with(|| order(*a, *b).unwrap_or(Ordering::Equal))
            .then_with(|| a.1.cmp(b.1))
    };
    let width = spec.keys.len();
    let cells = (0..groups.len()).map(|group| {
        let cells = cells_of_key(groups.key(group), width).into_iter();
        (group, cells.map(|cell| (Number::parse(cell), cell)).collect::<Vec<Cell<'_>>>())
    });
    let mut cells: Vec<_> = cells.collect();
    cells.sort_by(|(_, a), (_, b)| {
        a.iter().zip(b).map(|(a, b)| by_cell(a, b)).find(|found| found.is_ne()).unwrap_or(Ordering::Equal)
    });
    cells.into_iter().map(|(group, _)| group).collect()
}

/// The table while it is being written.
struct Table<'a> {
    /// `None` is JSON lines.
    delimiter: Option<u8>,
    names: Vec<&'a str>,
    encoding: Option<&'static Encoding>,
    out: Vec<u8>,
}

impl Table<'_> {
    fn header(&mut self) {
        if let Some(delimiter) = self.delimiter {
            for (n, name) in self.names.iter().enumerate() {
                separate(&mut self.out, n, delimiter);
                quoted(&mut self.out, name.as_bytes(), delimiter);
            }
            self.out.push(b'\n');
        }
    }

    fn row(&mut self, values: impl Iterator<Item = Value>) {
        match self.delimiter {
            Some(delimiter) => {
                for (n, value) in values.enumerate() {
                    separate(&mut self.out, n, delimiter);
                    let text = self.delimited(value);
                    // A single empty cell would be a blank line.
                    if text.is_empty() && self.names.len() == 1 {
                        self.out.extend_from_slice(b"\"\"");
                    }
                    quoted(&mut self.out, &text, delimiter);
                }
            }
            None => {
                self.out.push(b'{');
                for (n, value) in values.enumerate() {
                    separate(&mut self.out, n, b',');
                    self.json_text(self.names.get(n).copied().unwrap_or_default());
                    self.out.push(b':');
                    self.json(value);
                }
                self.out.push(b'}');
            }
        }
        self.out.push(b'\n');
    }

    /// Bytes that are not decoded stay as they are, as they were in the file.
    fn delimited(&self, value: Value) -> Vec<u8> {
        match value {
            Value::Nothing => Vec::new(),
            Value::Count(count) => count.to_string().into_bytes(),
            Value::Decimal(text) => text.into_bytes(),
            Value::Spelled(text) => text,
            Value::Float(value) => float(value).into_bytes(),
            Value::Text(text) => match self.encoding {
                Some(encoding) => encoding.decode_without_bom_handling(&text).0.into_owned().into_bytes(),
                None => text,
            },
        }
    }

    fn json(&mut self, value: Value) {
        match value {
            Value::Nothing => self.out.extend_from_slice(b"null"),
            Value::Text(_) => {
                let text = self.delimited(value);
                self.json_text(&String::from_utf8_lossy(&text));
            }
            Value::Spelled(text) => json_number(&mut self.out, &text),
            Value::Count(_) | Value::Decimal(_) | Value::Float(_) => {
                let text = self.delimited(value);
                self.out.extend_from_slice(&text);
            }
        }
    }

    fn json_text(&mut self, text: &str) {
        // Text into memory: this does not fail.
        let _ = serde_json::to_writer(&mut self.out, text);
    }
}

fn separate(out: &mut Vec<u8>, n: usize, delimiter: u8) {
    if n > 0 {
        out.push(delimiter);
    }
}

/// Writes a number as JSON spells it: no plus sign, a digit on either side of a point, no leading zeros.
fn json_number(out: &mut Vec<u8>, text: &[u8]) {
    let unsigned = text.strip_prefix(b"+").unwrap_or(text);
    let (sign, digits) = match unsigned.strip_prefix(b"-") {
        Some(digits) => (&b"-"[..], digits),
        None => (&b""[..], unsigned),
    };
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    let (whole, rest) = digits.split_at(end);
    let zeros = whole.iter().take_while(|digit| **digit == b'0').count();
    let whole = whole.get(zeros..).filter(|whole| !whole.is_empty()).unwrap_or(b"0");
    out.extend_from_slice(sign);
    out.extend_from_slice(whole);
    match rest {
        // A point without a digit behind it.
        [b'.'] => {}
        [b'.', exponent @ (b'e' | b'E'), power @ ..] => {
            out.push(*exponent);
            out.extend_from_slice(power);
        }
        rest => out.extend_from_slice(rest),
    }
}

/// Returns the shortest spelling that reads as the same double; whole numbers have no point.
fn float(value: f64) -> String {
    let text = serde_json::Number::from_f64(value).map_or_else(String::new, |number| number.to_string());
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use shared::csv::{Aggregate, Function, Kept};

    use super::*;

    fn spec(keys: &[&str], aggregates: &[(&str, Function, Option<u32>)]) -> CsvSpec {
        CsvSpec {
            files: Vec::new(),
            columns: keys.iter().map(|key| (*key).to_owned()).collect(),
            keys: (0..keys.len() as u32).collect(),
            aggregates: aggregates
                .iter()
                .map(|(name, function, column)| Aggregate {
                    name: (*name).to_owned(),
                    function: *function,
                    column: *column,
                })
                .collect(),
            filters: Vec::new(),
            groups_max: 99,
            encoding: None,
        }
    }

    fn groups(spec: &CsvSpec, keys: &[&[u8]]) -> Groups {
        let mut groups = Groups::new(spec);
        for key in keys {
            let group = groups.find(key, 99).unwrap();
            groups.rows[group as usize] += 1;
        }
        let count = groups.len();
        groups.columns.iter_mut().for_each(|column| column.grow(count));
        groups
    }

    fn written(spec: &CsvSpec, keys: &[&[u8]], format: Format) -> String {
        String::from_utf8_lossy(&plain(spec, &groups(spec, keys), format)).into_owned()
    }

    #[test]
    fn groups_are_sorted_numbers_before_text() {
        let spec = spec(&["k"], &[("n", Function::Count, None)]);
        let keys: [&[u8]; 8] = [b"b", b"10", b"9", b"", b"a,b", b"-1", b"9.0", b"say \"x\""];
        assert_eq!(
            written(&spec, &keys, Format::Csv(None)),
            "k,n\n,1\n-1,1\n9,1\n9.0,1\n10,1\n\"a,b\",1\nb,1\n\"say \"\"x\"\"\",1\n"
        );
        assert_eq!(
            written(&spec, &[b"a\"b", b""], Format::JsonLines(None)),
            "{\"k\":\"\",\"n\":1}\n{\"k\":\"a\\\"b\",\"n\":1}\n"
        );
    }

    #[test]
    fn what_there_is_nothing_of_is_empty_or_null() {
        let spec = spec(&["k"], &[("s", Function::Sum, Some(0)), ("v", Function::Var, Some(0))]);
        assert_eq!(written(&spec, &[b"a"], Format::Tsv(None)), "k\ts\tv\na\t\t\n");
        assert_eq!(written(&spec, &[b"a"], Format::JsonLines(None)), "{\"k\":\"a\",\"s\":null,\"v\":null}\n");
    }

    #[test]
    fn a_spelled_number_is_one_in_json_too() {
        for (spelled, want) in [
            ("12.50", "12.50"),
            ("+7", "7"),
            ("-007", "-7"),
            (".5", "0.5"),
            ("-.5e3", "-0.5e3"),
            ("5.", "5"),
            ("5.e2", "5e2"),
            ("000", "0"),
            ("00.10E+2", "0.10E+2"),
            ("12345678901234567890123", "12345678901234567890123"),
            ("1e400", "1e400"),
        ] {
            let mut out = Vec::new();
            json_number(&mut out, spelled.as_bytes());
            assert_eq!(String::from_utf8(out).unwrap(), want, "{spelled}");
            serde_json::from_str::<&serde_json::value::RawValue>(want).unwrap();
        }
    }

    #[test]
    fn long_keys_are_sorted_by_value() {
        let spec = spec(&["k"], &[]);
        let keys: [&[u8]; 6] = [
            b"100000000000000000000",
            b"99999999999999999999",
            b"-99999999999999999999",
            b"-100000000000000000000",
            b"99999999999999999998.5",
            b"99999999999999999999.0",
        ];
        assert_eq!(
            written(&spec, &keys, Format::Csv(None)),
            "k\n-100000000000000000000\n-99999999999999999999\n99999999999999999998.5\n99999999999999999999\n\
             99999999999999999999.0\n100000000000000000000\n"
        );
    }

    #[test]
    fn what_no_double_can_hold_is_empty_or_null() {
        let spec = spec(&[], &[("s", Function::Sum, Some(0)), ("v", Function::Var, Some(0))]);
        let mut groups = groups(&spec, &[b""]);
        for column in &mut groups.columns {
            if let Kept::Sums(sums) = &mut column.kept {
                sums[0].add(Number::parse(b"1e5000"), b"1e5000");
            } else if let Kept::Moments(moments) = &mut column.kept {
                [1e200, -1e200].iter().for_each(|value| moments[0].add(*value));
            }
        }
        assert_eq!(plain(&spec, &groups, Format::Csv(None)), b"s,v\n,\n");
        assert_eq!(plain(&spec, &groups, Format::JsonLines(None)), b"{\"s\":null,\"v\":null}\n");
    }

    #[test]
    fn without_groups_there_is_one_row_also_of_nothing() {
        let spec = spec(&[], &[("n", Function::Count, None), ("s", Function::Sum, Some(0))]);
        assert_eq!(plain(&spec, &Groups::new(&spec), Format::Csv(None)), b"n,s\n0,\n");
        let mut merged = Groups::new(&spec);
        merged.merge(groups(&spec, &[b"", b""]), 1).unwrap();
        assert_eq!(plain(&spec, &merged, Format::Csv(None)), b"n,s\n2,\n");
    }

    #[test]
    fn keys_are_decoded() {
        let mut latin = spec(&["k"], &[]);
        assert_eq!(plain(&latin, &groups(&latin, &[b"caf\xe9"]), Format::Csv(None)), b"k\ncaf\xe9\n");
        latin.encoding = Some("windows-1252".to_owned());
        assert_eq!(written(&latin, &[b"caf\xe9"], Format::Csv(None)), "k\ncafé\n");
        assert_eq!(written(&latin, &[b""], Format::Csv(None)), "k\n\"\"\n");
    }

    #[test]
    fn floats_are_short() {
        for (value, want) in [(1.0, "1"), (0.1, "0.1"), (-2.5, "-2.5"), (1e300, "1e+300"), (f64::NAN, "")] {
            assert_eq!(float(value), want);
        }
    }
}
