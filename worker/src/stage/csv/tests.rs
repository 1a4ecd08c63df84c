use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;
use shared::csv::{
    Aggregate, Bad, BadRow, Comparison, Filter, Function, Groups, Place, StrayKind, Value, unframe,
    write_part,
};

use shared::file_state::FileState;

use super::*;
use crate::stage::mutation::mutated;

const FUNCTIONS: [(Function, Option<u32>); 9] = [
    (Function::Count, None),
    (Function::Count, Some(1)),
    (Function::Sum, Some(1)),
    (Function::Mean, Some(1)),
    (Function::Min, Some(2)),
    (Function::Max, Some(2)),
    (Function::Var, Some(1)),
    (Function::Distinct, Some(2)),
    (Function::Quantile(0.5), Some(1)),
];

/// A file with three columns, all of them used, grouped by the first.
struct Bench {
    dir: tempfile::TempDir,
    csv: Csv,
    black_box: BlackBox,
}

impl Bench {
    fn new(text: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.csv");
        fs::write(&path, text).unwrap();
        let file = CsvFile {
            state: FileState::from(&fs::metadata(&path).unwrap()),
            at: path.clone(),
            path,
            delimiter: b',',
            fields: 3,
            positions: vec![0, 1, 2],
            bytes: text.len() as u64,
            ..CsvFile::default()
        };
        let aggregate = |(function, column)| Aggregate { name: String::new(), function, column };
        let spec = CsvSpec {
            files: vec![file],
            columns: ["a", "b", "c"].map(str::to_owned).to_vec(),
            keys: vec![0],
            aggregates: FUNCTIONS.map(aggregate).to_vec(),
            filters: Vec::new(),
            groups_max: 1000,
            encoding: None,
        };
        Self { dir, csv: Csv::new(spec, 0, Shortages::default()), black_box: BlackBox::create().unwrap().0 }
    }

    fn file(&mut self) -> &mut CsvFile {
        &mut self.csv.spec.files[0]
    }

    fn found(&self, part: Part) -> Found {
        let mut line = Vec::new();
        self.csv.run(&write_part(part), &self.black_box, &mut line);
        let (report, rest) = unframe(&line).unwrap();
        assert!(rest.is_empty());
        assert_eq!(report.part, part);
        report.found
    }

    fn whole(&self) -> Done {
        done(self.found(Part::Whole { file: 0 }))
    }

    fn range(&self, start: usize, end: usize) -> Found {
        let last = end as u64 == self.csv.spec.files[0].bytes;
        self.found(Part::Range { file: 0, start: start as u64, end: end as u64, last })
    }

    /// Returns the result of each group.
    fn values(&self, groups: &Groups) -> BTreeMap<Vec<u8>, Vec<Value>> {
        let of =
            |group| self.csv.spec.aggregates.iter().map(|aggregate| aggregate.of(groups, group)).collect();
        (0..groups.len()).map(|group| (groups.key(group).to_vec(), of(group))).collect()
    }
}

fn done(found: Found) -> Done {
    match found {
        Found::Done(done) => *done,
        other @ (Found::Stray(_) | Found::GroupsFull | Found::Failed(_)) => panic!("{other:?}"),
    }
}

/// Returns the rows that csv-core reads.
fn oracle(text: &[u8]) -> Vec<Vec<String>> {
    let mut reader = csv_core::ReaderBuilder::new().build();
    let (mut rows, mut row, mut cell, mut at) = (Vec::new(), Vec::new(), Vec::new(), 0);
    loop {
        let mut out = [0; 64];
        let (result, read, written) = reader.read_field(&text[at..], &mut out);
        at += read;
        cell.extend_from_slice(&out[..written]);
        match result {
            csv_core::ReadFieldResult::InputEmpty | csv_core::ReadFieldResult::OutputFull => {}
            csv_core::ReadFieldResult::Field { record_end } => {
                row.push(String::from_utf8(std::mem::take(&mut cell)).unwrap());
                if record_end {
                    rows.push(std::mem::take(&mut row));
                }
            }
            csv_core::ReadFieldResult::End => return rows,
        }
    }
}

/// Rows, bad rows, and for each key the count, sum, minimum and maximum, computed in a simple way.
type Slow = (u64, u64, BTreeMap<Vec<u8>, (u64, i64, String, String)>);

fn slowly(text: &[u8]) -> Slow {
    let (mut bad, mut groups) = (0, BTreeMap::new());
    let rows = oracle(text);
    for row in &rows {
        let number = row
            .get(1)
            .map(|cell| if cell.trim().is_empty() { Some(0) } else { cell.trim().parse::<i64>().ok() });
        let (3, Some(Some(number))) = (row.len(), number) else {
            bad += 1;
            continue;
        };
        let group = groups.entry(row[0].clone().into_bytes()).or_insert((0, 0, String::new(), String::new()));
        group.0 += 1;
        group.1 += number;
        let text = &row[2];
        if !text.trim().is_empty() {
            if group.2.is_empty() || *text < group.2 {
                group.2.clone_from(text);
            }
            if *text > group.3 {
                group.3.clone_from(text);
            }
        }
    }
    (rows.len() as u64, bad, groups)
}

fn check_against_oracle(text: &[u8], found: &Done, bench: &Bench) {
    let (rows, bad, groups) = slowly(text);
    assert_eq!((found.rows, found.bad), (rows, bad), "{:?}", String::from_utf8_lossy(text));
    let values = bench.values(&found.groups);
    assert_eq!(values.keys().collect::<Vec<_>>(), groups.keys().collect::<Vec<_>>());
    for (key, (count, sum, least, greatest)) in groups {
        let got = &values[&key];
        assert_eq!(got[0], Value::Count(count));
        assert!(
            got[2] == Value::Decimal(sum.to_string()) || got[2] == Value::Nothing && sum == 0,
            "{:?}",
            got[2]
        );
        if format!("{least}{greatest}").contains('1') {
            // Here numbers sort before text; the simple computation does not do that.
            continue;
        }
        let text =
            |cell: String| if cell.is_empty() { Value::Nothing } else { Value::Text(cell.into_bytes()) };
        assert_eq!((&got[4], &got[5]), (&text(least), &text(greatest)));
    }
}

fn any_text() -> impl Strategy<Value = (String, Vec<usize>)> {
    let cell = "([a-c]{1,2}|[a-c,\"\r\n ]{0,9})";
    let number = "(-?[0-9]{1,4}|[0-9]{1,3}|)";
    let rows = proptest::collection::vec(((cell, number, cell), 0..40_u8), 0..70);
    let end = prop_oneof![Just("\n"), Just("\r\n"), Just("\r")];
    (rows, end, any::<bool>()).prop_map(|(rows, end, final_end)| {
        let (mut text, mut begins) = (String::new(), vec![0]);
        let quote = |cell: &str, kind: u8| {
            let plain = !cell.contains([',', '"', '\r', '\n']) && !kind.is_multiple_of(3);
            if plain { cell.to_owned() } else { format!("\"{}\"", cell.replace('"', "\"\"")) }
        };
        for ((a, b, c), kind) in &rows {
            let cells = [quote(a, *kind), quote(b, kind / 3), quote(c, kind / 2)];
            text.push_str(match kind {
                0 => "1,2",
                1 => "a,no number,c",
                _ => "",
            });
            if *kind > 1 {
                text.push_str(&cells.join(","));
            }
            text.push_str(end);
            if *kind == 2 {
                text.push_str(end);
            }
            begins.push(text.len());
        }
        if !final_end {
            text.truncate(text.trim_end_matches(['\r', '\n']).len());
            begins.retain(|begin| *begin < text.len() || *begin == 0);
            begins.push(text.len());
        }
        (text, begins)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Every division into 1 to 64 ranges gives the same result as one pass, and that is what csv-core reads.
    #[test]
    fn every_division_gives_the_same_result_as_one_pass((text, begins) in any_text()) {
        let bench = Bench::new(text.as_bytes());
        let whole = bench.whole();
        prop_assert!(whole.stray.is_none());
        check_against_oracle(text.as_bytes(), &whole, &bench);
        for ranges in 1..=64_usize {
            let mut cuts: Vec<usize> = (0..=ranges)
                .map(|n| {
                    let at = n * text.len() / ranges;
                    *begins.iter().find(|begin| **begin >= at).unwrap_or(&text.len())
                })
                .collect();
            cuts[0] = 0;
            cuts.dedup();
            let mut merged = Done { groups: Groups::new(&bench.csv.spec), ..Done::default() };
            for cut in cuts.windows(2) {
                let part = done(bench.range(cut[0], cut[1]));
                merged.groups.merge(part.groups, 1000).unwrap();
                merged.rows += part.rows;
                merged.bad += part.bad;
            }
            prop_assert_eq!((merged.rows, merged.bad), (whole.rows, whole.bad));
            let (got, want) = (bench.values(&merged.groups), bench.values(&whole.groups));
            for (key, want) in want {
                for ((n, got), want) in got[&key].iter().enumerate().zip(want) {
                    match (got, &want) {
                        // Rounding in variance and quantile depends on the ranges, which are fixed for a file.
                        (Value::Float(got), Value::Float(want)) if n > 5 => {
                            prop_assert!((got - want).abs() <= 1e-6 * want.abs().max(1.0), "{} {}", got, want);
                        }
                        _ => prop_assert_eq!(got, &want),
                    }
                }
            }
        }
    }

    /// Whatever the quotes, one pass reads what csv-core reads.
    #[test]
    fn stray_quotes_are_read_as_elsewhere(text in "([ab1,]|[\"\n]){0,80}") {
        let bench = Bench::new(text.as_bytes());
        let whole = bench.whole();
        check_against_oracle(text.as_bytes(), &whole, &bench);
    }
}

#[test]
fn a_range_with_stray_quotes_is_reported() {
    for (text, cut, kind) in [
        ("a,1,x\nb,2,\"y\n", 0, StrayKind::Open),
        ("a,1,x\nb,2,y\"\n", 0, StrayKind::Inside),
        ("a,1,x\nb,2,\"y\"z\n", 0, StrayKind::After),
        // The row continues after the end of the range.
        ("a,1,\"x\ny\"\nb,2,y\n", 8, StrayKind::Cut),
    ] {
        let end = if cut == 0 { text.len() } else { cut };
        let bench = Bench::new(text.as_bytes());
        let Found::Stray(stray) = bench.range(0, end) else { panic!("{text:?}") };
        assert_eq!(stray.kind, kind, "{text:?}");
    }
}

#[test]
fn bad_rows_are_located() {
    let text = "a,1,x\n\"b\n\",2\nc,z,y\n\nd,1,2,3\n";
    let bench = Bench::new(text.as_bytes());
    let expected = |places: [Place; 3]| {
        let bads = [Bad::Ragged(2), Bad::NotANumber { column: 1, cell: b"z".to_vec() }, Bad::Ragged(4)];
        places.into_iter().zip(bads).map(|(place, bad)| BadRow { place, bad }).collect::<Vec<_>>()
    };
    let range = done(bench.range(0, text.len()));
    assert_eq!(range.bad_first, expected([6, 13, 20].map(Place::Offset)));
    assert_eq!(bench.whole().bad_first, expected([2, 4, 6].map(Place::Line)));
    // The same lines, read leniently, because the last line has a stray quote.
    let stray = format!("{text}e,1,x\"y\n");
    let lenient = Bench::new(stray.as_bytes()).whole();
    assert_eq!(lenient.bad_first, expected([2, 4, 6].map(Place::Line)));
    assert_eq!(lenient.stray.unwrap().place, Place::Line(7));
    assert_eq!((lenient.rows, lenient.bad), (5, 3));
}

#[test]
fn overlong_cells_make_their_row_bad_only_if_used() {
    let long = "y".repeat(CELL_BYTES_MAX_PLUS_ONE);
    for quote in ["\"", "\"x\"\""] {
        // The second file has a stray quote, so it is read leniently.
        let text = format!("a,1,{long}\n\"{long}\n\",1,z\nb,1,{quote}q\n");
        let text = if quote == "\"" { text.replace("\"q", "q") } else { text };
        let mut bench = Bench::new(text.as_bytes());
        let whole = bench.whole();
        assert_eq!((whole.rows, whole.bad), (3, 2));
        assert_eq!(whole.bad_first[0].bad, Bad::TooLong { column: 2 });
        bench.csv.spec.columns.truncate(2);
        bench.file().positions.truncate(2);
        bench.csv.spec.aggregates.retain(|aggregate| aggregate.column != Some(2));
        assert_eq!(bench.whole().bad, 1);
    }
}

const CELL_BYTES_MAX_PLUS_ONE: usize = shared::csv::CELL_BYTES_MAX + 1;

#[test]
fn excluded_rows_are_not_bad() {
    let mut bench = Bench::new(b"a,1,x\nb,no,y\nc,3,z\n");
    let filter = Filter { column: 0, comparison: Comparison::NotEqual, text: b"b".to_vec(), number: None };
    bench.csv.spec.filters = vec![filter];
    let whole = bench.whole();
    assert_eq!((whole.rows, whole.bad, whole.groups.len()), (3, 0, 2));
}

#[test]
fn a_changed_file_is_not_read() {
    let failed = |bench: &Bench, part| match bench.found(part) {
        Found::Failed(why) => why,
        other @ (Found::Done(_) | Found::Stray(_) | Found::GroupsFull) => panic!("{other:?}"),
    };
    for text in ["a,1,x\nb,2,y\n", "a,1,x\nb,2,y\"\n"] {
        let parts = [Part::Whole { file: 0 }, Part::Range { file: 0, start: 0, end: 12, last: true }];
        for part in parts {
            let bench = Bench::new(text.as_bytes());
            let path = &bench.csv.spec.files[0].path;
            fs::write(path, format!("{text}c,3,z\n")).unwrap();
            assert!(failed(&bench, part).contains("it grew from"));
            let other = bench.dir.path().join("other");
            fs::write(&other, text).unwrap();
            fs::rename(&other, path).unwrap();
            assert!(failed(&bench, part).contains("another file replaced it"));
            // Also if the new file cannot be opened, as in the sandbox.
            fs::remove_file(path).unwrap();
            assert!(failed(&bench, part).contains("it was there when the run began"));
            fs::create_dir(path).unwrap();
            assert!(failed(&bench, part).contains("it changed while it was read"));
        }
    }
}

#[test]
fn failures_are_reported() {
    let mut bench = Bench::new(b"a,1,x\nb,2,y\n");
    bench.csv.spec.groups_max = 1;
    assert!(matches!(bench.found(Part::Whole { file: 0 }), Found::GroupsFull));
    bench.csv.spec.groups_max = 1000;
    let Found::Failed(why) = bench.range(0, 99) else { panic!() };
    assert!(why.contains("became shorter"), "{why}");
    bench.file().bytes = 13;
    let Found::Failed(why) = bench.found(Part::Whole { file: 0 }) else { panic!() };
    assert!(why.contains("near byte 12") && why.contains("became shorter"), "{why}");
    fs::remove_file(bench.dir.path().join("x.csv")).unwrap();
    let Found::Failed(why) = bench.found(Part::Whole { file: 0 }) else { panic!() };
    assert!(why.contains("cannot read it"), "{why}");
}

/// Whatever the bytes, rows are read or refused, and the careful reader finds what the fast one does.
#[test]
fn fuzz_rows() {
    let seeds: [&[u8]; 4] = [
        b"a,1,x\nb,2,\"y, \"\"z\"\"\"\r\n\"c\nd\",-3.50,\n",
        b"a,1e9,x\ra,99999999999999999999999.5,\xff\r",
        b"\xef\xbb\xbfa,,\"\"\n\n,,\n1,2\n",
        b"b,2,y\"\nb,2,\"y\"z\nb,2,\"y\n",
    ];
    mutated(&seeds.map(<[u8]>::to_vec), |text, _| {
        let bench = Bench::new(text);
        let (Found::Done(whole), Found::Done(range)) =
            (bench.found(Part::Whole { file: 0 }), bench.range(0, text.len()))
        else {
            return;
        };
        if whole.stray.is_some() {
            return;
        }
        let text = String::from_utf8_lossy(text);
        assert_eq!((range.rows, range.bad), (whole.rows, whole.bad), "{text:?}");
        assert_eq!(bench.values(&range.groups), bench.values(&whole.groups), "{text:?}");
    });
}
