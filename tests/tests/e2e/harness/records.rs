//! Output lines as JSON.

use std::collections::BTreeMap;

use serde_json::Value;

/// The keys whose values may differ between two runs over the same inputs.
const VARIABLE: [&str; 3] = ["worker", "elapsed_ms", "attempts"];

/// One object a line, each line ended; panics on anything else.
pub(crate) fn parse_lines(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).expect("records are UTF-8");
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is not whole: {:?}", text.lines().last());
    text.lines()
        .map(|line| {
            let record: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(record.is_object(), "{line}");
            record
        })
        .collect()
}

/// The ids, in the order of the lines.
pub(crate) fn ids(records: &[Value]) -> Vec<u64> {
    records.iter().map(|record| record["id"].as_u64().expect("an id")).collect()
}

/// The records by their id; panics if one is there twice.
pub(crate) fn by_id(records: Vec<Value>) -> BTreeMap<u64, Value> {
    let mut map = BTreeMap::new();
    for record in records {
        let id = record["id"].as_u64().expect("an id");
        if let Some(first) = map.insert(id, record) {
            panic!("two records for {id}: {first}");
        }
    }
    map
}

/// The records by id, without what may differ between two runs.
pub(crate) fn normalised(records: Vec<Value>) -> BTreeMap<u64, Value> {
    let mut records = by_id(records);
    for record in records.values_mut() {
        for key in VARIABLE {
            record.as_object_mut().unwrap().remove(key);
        }
    }
    records
}

/// The kind of a record's error; empty when it has fields.
pub(crate) fn kind(record: &Value) -> &str {
    let Some(error) = record.get("error") else {
        assert!(record["fields"].is_object(), "neither fields nor an error: {record}");
        return "";
    };
    assert!(record.get("fields").is_none(), "both fields and an error: {record}");
    assert!(!error["message"].as_str().unwrap().is_empty(), "no message: {record}");
    error["kind"].as_str().unwrap()
}
