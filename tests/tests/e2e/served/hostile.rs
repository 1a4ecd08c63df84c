//! Lists and documents that are made to blow up in whoever reads them. They cost their job, and not the service.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use nix::sys::signal::Signal;
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};

use super::{Answer, Served};
use crate::harness::{Dir, Origin};

/// Memory that the service takes besides its workers and readers, as the manual says.
const ALLOWANCE_KIB: u64 = 100 * 1024;

/// Whether the attacks have their full size.
fn is_full_size() -> bool {
    std::env::var_os("MUSTER_CHAOS").is_some()
}

/// Hands in a job with one file, as a form.
fn upload(served: &Served, document: &Value, name: &str, bytes: &[u8]) -> Answer {
    let mut body = format!(
        "--b\r\nContent-Disposition: form-data; name=\"job\"\r\n\r\n{document}\r\n--b\r\nContent-Disposition: form-data; \
         name=\"input\"; filename=\"{name}\"\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(bytes);
    body.extend_from_slice(b"\r\n--b--\r\n");
    let mut connection = UnixStream::connect(served.socket()).unwrap();
    let head = format!(
        "POST /v1/jobs HTTP/1.1\r\nHost: muster\r\nConnection: close\r\nContent-Type: multipart/form-data; boundary=b\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes()).unwrap();
    connection.write_all(&body).unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).unwrap();
    Answer::parse(&answer).unwrap()
}

/// The same, and what becomes of the job. Returns the detail of a refusal as its error.
fn ended(served: &Served, more: &Value, name: &str, bytes: &[u8]) -> Value {
    let mut document = json!({"command": "fetch", "mode": "both", "retries": 0});
    for (key, value) in more.as_object().into_iter().flatten() {
        document[key] = value.clone();
    }
    let answer = upload(served, &document, name, bytes);
    let told: Value = serde_json::from_slice(&answer.body).unwrap();
    if answer.status != 201 {
        return json!({"state": "refused", "status": answer.status, "error": told["detail"]});
    }
    served.wait_for_state(told["id"].as_u64().unwrap(), &["done", "failed", "paused"])
}

/// Checks what the process took at most.
#[track_caller]
fn check_memory(served: &Served, what: &str) {
    let status = fs::read_to_string(format!("/proc/{}/status", served.running().id())).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let most: u64 = most.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(most <= ALLOWANCE_KIB, "{what}: {most} KiB");
}

fn zstd(part: &[u8], times: usize) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    (0..times).for_each(|_| encoder.write_all(part).unwrap());
    encoder.finish().unwrap()
}

/// A Parquet file of one row, whose cell has so many MiB.
fn parquet(mib: usize) -> Vec<u8> {
    let schema = Arc::new(parse_message_type("message m { required binary url (UTF8); }").unwrap());
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_compression(Compression::ZSTD(ZstdLevel::default()));
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties.build())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let cell = [ByteArray::from(vec![b'x'; mib << 20])];
    column.typed::<ByteArrayType>().write_batch(&cell, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn a_parquet_cell_of_a_gigabyte_costs_its_job_and_not_the_service() {
    let mut served = Served::start(&[]);
    let bomb = parquet(if is_full_size() { 1024 } else { 300 });
    let job = ended(&served, &json!({"column": "url"}), "urls.parquet", &bomb);
    assert_eq!(job["state"], "failed", "{job}");
    let why = job["error"].as_str().unwrap();
    assert!(why.contains("urls.parquet") && why.contains("more than 256 MiB of memory"), "{why}");
    check_memory(&served, "a large cell");
    // A cell that fits into a reader, and into no target, is one bad input.
    let job = ended(&served, &json!({"column": "url"}), "urls.parquet", &parquet(16));
    assert_eq!((&job["state"], &job["errors"]), (&json!("done"), &json!({"invalid_url": 1})), "{job}");
    // Nothing of it is tried again at the next start.
    served.take().signal(Signal::SIGKILL);
    served.start_again();
    let job = served.job(job["id"].as_u64().unwrap());
    assert_eq!(job["state"], "done", "{job}");
    check_memory(&served, "the start after it");
}

#[test]
fn lists_that_blow_up_cost_their_job_and_not_the_service() {
    let (served, origin) = (Served::start(&[]), Origin::shared());
    let scale = if is_full_size() { 16 } else { 1 };
    let url = origin.url("/site/page/1");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(format!("{url}\n").as_bytes()).unwrap();
    let empty = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()).finish().unwrap();
    let members = [empty.repeat(50_000 * scale), gzip.finish().unwrap()].concat();
    let mib = vec![b'x'; 1 << 20];
    let deep = format!("{{\"url\":{}\n{{\"url\":\"{url}\"}}\n", "[".repeat(1 << 20));
    let commas = zstd(&vec![b','; 1 << 20], 16 * scale);
    let cells = zstd(format!("{},", "x".repeat(20_000)).as_bytes(), 1000 * scale);
    let column = json!({"column": "url"});
    type List<'a> = (&'a str, &'a Value, Vec<u8>, Result<(u64, u64), (&'a str, &'a str)>);
    let lists: [List<'_>; 6] = [
        ("commas.csv.zst", &column, commas, Err(("refused", "the header has more than 100000 cells"))),
        ("names.csv.zst", &column, cells, Err(("refused", "the header has more than 100000 cells"))),
        ("line.txt.zst", &json!({}), zstd(&mib, 64 * scale), Ok((0, 1))),
        ("blank.txt.zst", &json!({}), zstd(&vec![b'\n'; 1 << 20], scale), Ok((0, 0))),
        ("members.txt.gz", &json!({}), members, Err(("failed", "it is almost empty"))),
        ("deep.jsonl", &column, deep.into_bytes(), Ok((1, 1))),
    ];
    for (name, more, bytes, want) in lists {
        let job = ended(&served, more, name, &bytes);
        match want {
            Err((state, why)) => {
                assert_eq!(job["state"], state, "{name}: {job}");
                assert!(job["error"].as_str().unwrap().contains(why), "{name}: {job}");
            }
            Ok((ok, failed)) => {
                let got = (&job["state"], &job["counts"]["ok"], &job["counts"]["failed"]);
                assert_eq!(got, (&json!("done"), &json!(ok), &json!(failed)), "{name}: {job}");
            }
        }
        check_memory(&served, name);
    }
}

#[test]
fn a_document_of_many_values_is_refused_or_read_in_time() {
    let served = Served::start(&[]);
    let document = |count: usize| json!({"command": "fetch", "urls": vec!["a"; count], "retries": 0});
    let answer = served.request("POST", "/v1/jobs", Some(&document(400_000)));
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, 413, "{text}");
    assert!(text.contains("more than 50000 values; send long lists as a file"), "{text}");
    let began = shared::clock::now();
    let job = served.ask("POST", "/v1/jobs", Some(&document(49_000)), 201);
    let took = began.elapsed();
    assert!(took < super::WITHIN / 6, "{took:?}");
    let job = served.wait_for_state(job["id"].as_u64().unwrap(), &["done", "failed"]);
    assert_eq!(job["errors"], json!({"invalid_url": 49_000}), "{job}");
    check_memory(&served, "a document of many values");
}

/// Whatever a list is, all of its targets come out of the process that reads it.
#[test]
fn lists_are_read_whole_by_another_process() {
    let (served, origin) = (Served::start(&["--allow-programs"]), Origin::shared());
    let urls: Vec<String> = (0..3000).map(|n| origin.url(&format!("/site/page/{}?n={n}", n % 300))).collect();
    let csv: String = urls.iter().enumerate().map(|(n, url)| format!("{n};\"{url}\"\n")).collect();
    let csv = encoding_rs::UTF_8.encode(&format!("n;é\n{csv}")).0.into_owned();
    let text = urls.join("\r\n");
    for (name, more, bytes) in [
        ("urls.txt", json!({}), text.as_bytes().to_vec()),
        ("urls.txt.zst", json!({}), zstd(text.as_bytes(), 1)),
        ("urls.csv", json!({"column": "é", "delimiter": ";", "keep": "n"}), csv),
    ] {
        let job = ended(&served, &more, name, &bytes);
        assert_eq!((&job["state"], &job["counts"]["ok"]), (&json!("done"), &json!(3000)), "{name}: {job}");
        let records = crate::harness::by_id(served.records(job["id"].as_u64().unwrap()));
        for (n, record) in &records {
            assert_eq!(record["url"], urls[usize::try_from(*n).unwrap()].as_str(), "{name}");
        }
    }
    let lines: String = (0..1000).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    let document = json!({"command": "map", "program": ["cat"]});
    let answer = upload(&served, &document, "lines.jsonl", lines.as_bytes());
    assert_eq!(answer.status, 201, "{answer:?}");
    let told: Value = serde_json::from_slice(&answer.body).unwrap();
    let job = served.wait_for_state(told["id"].as_u64().unwrap(), &["done", "failed"]);
    assert_eq!((&job["state"], &job["counts"]["ok"]), (&json!("done"), &json!(1000)), "{job}");
    let refused = ended(&served, &json!({"column": "link"}), "urls.csv", b"links,x\n");
    assert!(refused["error"].as_str().unwrap().contains("did you mean \"links\"?"), "{refused}");
    assert!(!refused["error"].as_str().unwrap().contains("incoming"), "no path of the service: {refused}");
}

#[test]
fn words_about_descriptors_in_a_name_queue_no_job_again() {
    let served = Served::start(&[]);
    let mut damaged = zstd(b"http://127.0.0.1:9/\n", 10);
    damaged.truncate(damaged.len() - 4);
    damaged.extend_from_slice(b"not a frame");
    let job = ended(&served, &json!({}), "a (os error 24).txt.zst", &damaged);
    assert_eq!(job["state"], "failed", "{job}");
    assert!(job["error"].as_str().unwrap().contains("(os error 24)"), "{job}");
}

/// A submission waits only for the first files; the job finds out about the others.
#[test]
fn of_many_csv_files_the_first_are_checked_at_once() {
    let dir = Dir::new();
    let served = Served::start(&["--allow-path", dir.root().to_str().unwrap()]);
    let files: Vec<_> = (0..40).map(|n| dir.write(format!("{n}.csv"), "city\nRome\n")).collect();
    let document = json!({"command": "csv", "files": files, "group-by": "city"});
    dir.write("39.csv", "");
    let id = served.ask("POST", "/v1/jobs", Some(&document), 201)["id"].as_u64().unwrap();
    let job = served.wait_for_state(id, &["failed", "done"]);
    assert_eq!(job["state"], "failed", "{job}");
    assert!(job["error"].as_str().unwrap().contains("39.csv is empty"), "{job}");
    dir.write("39.csv", "city\nRome\n");
    let id = served.ask("POST", "/v1/jobs", Some(&document), 201)["id"].as_u64().unwrap();
    served.wait_for_state(id, &["done"]);
    dir.write("3.csv", "");
    let refused = served.ask("POST", "/v1/jobs", Some(&document), 422);
    assert!(refused["detail"].as_str().unwrap().contains("3.csv is empty"), "{refused}");
}
