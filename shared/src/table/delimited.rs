//! Rows with a delimiter between their cells (RFC 4180): text is quoted when it
//! has to be. Nothing is an empty cell, and an empty text is `""`, so that readers
//! who care can tell them apart.

use serde::{Deserialize, Serialize};

use super::{Kind, Row, Table, text};

/// How rows are written as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delimited {
    /// What stands between two cells.
    pub delimiter: u8,
    /// The columns.
    pub table: Table,
}

impl Delimited {
    /// Appends the names of the columns.
    pub fn header(&self, out: &mut Vec<u8>) {
        for (n, column) in self.table.columns.iter().enumerate() {
            if n > 0 {
                out.push(self.delimiter);
            }
            quoted(out, column.name.as_bytes(), self.delimiter);
        }
        out.push(b'\n');
    }

    /// Appends a record, which is given as its JSON line.
    ///
    /// # Errors
    /// When it is no JSON object.
    pub fn row(&self, line: &[u8], out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        let row = Row::parse(line)?;
        for (n, column) in self.table.columns.iter().enumerate() {
            if n > 0 {
                out.push(self.delimiter);
            }
            let Some(json) = row.json(column) else { continue };
            match column.kind {
                Kind::One(_) if json == "\"\"" => out.extend_from_slice(b"\"\""),
                // Numbers keep the digits they have.
                Kind::One(_) => quoted(out, text(json).as_bytes(), self.delimiter),
                Kind::List(_) | Kind::Json => quoted(out, json.as_bytes(), self.delimiter),
            }
        }
        out.push(b'\n');
        Ok(())
    }

    /// Replaces the JSON lines that `lines` holds after its first `from` bytes with rows.
    pub fn replace(&self, lines: &mut Vec<u8>, from: usize) {
        let json = lines.split_off(from.min(lines.len()));
        lines.reserve(json.len());
        for line in json.split_inclusive(|byte| *byte == b'\n') {
            // We have encoded it ourselves: it is an object.
            let _ = self.row(line, lines);
        }
    }
}

/// Appends a cell, in quotes if it needs them.
pub fn quoted(out: &mut Vec<u8>, cell: &[u8], delimiter: u8) {
    if !cell.iter().any(|byte| *byte == delimiter || matches!(byte, b'"' | b'\n' | b'\r')) {
        return out.extend_from_slice(cell);
    }
    out.push(b'"');
    for byte in cell {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::super::{Subject, Table};
    use super::*;

    #[test]
    fn what_a_reader_would_take_for_something_else_is_quoted() {
        let delimited = Delimited { delimiter: b',', table: Table::of(Subject::Line, &[]) };
        let mut out = Vec::new();
        delimited.header(&mut out);
        out.extend_from_slice(b"{\"id\":1,\"value\":\"a,\\u0000\"}\n");
        out.extend_from_slice(b"{\"id\":2,\"attempts\":3,\"worker\":0,\"error\":{\"kind\":\"child\",\"message\":\"it \\\"died\\\"\\n\"}}\n");
        out.extend_from_slice(
            b"{\"id\":3,\"value\":[1, 2.50]}\n{\"id\":4,\"value\":null,\"error\":{\"message\":\"\"}}\n",
        );
        let from = out.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        delimited.replace(&mut out, from);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "id,attempts,worker,value,error_kind,error_message\n1,,,\"\"\"a,\\u0000\"\"\",,\n\
             2,3,0,,child,\"it \"\"died\"\"\n\"\n3,,,\"[1, 2.50]\",,\n4,,,,,\"\"\n"
        );
    }
}
