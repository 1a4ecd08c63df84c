//! `retry-failed`, for each command whose inputs can fail one by one.

use serde_json::{Value, json};

use super::Served;
use crate::harness::Origin;

/// Hands in `document`, tries what failed again, and gives both jobs as they ended.
fn retried(served: &Served, document: &Value, between: impl FnOnce()) -> (Value, Value) {
    let id = served.ask("POST", "/v1/jobs", Some(document), 201)["id"].as_u64().unwrap();
    let first = served.wait_for_state(id, &["done", "failed"]);
    between();
    let again = served.ask("POST", &format!("/v1/jobs/{id}/retry-failed"), None, 201);
    assert_eq!(again["retry_of"], id, "{again}");
    (first, served.wait_for_state(again["id"].as_u64().unwrap(), &["done", "failed"]))
}

#[test]
fn files_are_parsed_again() {
    let served = Served::start(&["--allow-path", "/"]);
    for n in 0..6 {
        served.dir.write(format!("pages/{n}.html"), format!("<title>{n}</title>"));
    }
    let bad = served.dir.write("pages/poison=segfault.html", "<title>bad</title>");
    let document = json!({"command": "parse", "paths": [served.dir.path("pages")], "select": ["t=title"]});
    let (first, again) = retried(&served, &document, || {});
    assert_eq!((&first["counts"]["ok"], &first["counts"]["failed"]), (&json!(6), &json!(1)), "{first}");
    assert_eq!((&again["command"], &again["counts"]["done"]), (&json!("parse"), &json!(1)), "{again}");
    let records = served.records(again["id"].as_u64().unwrap());
    assert_eq!(records[0]["path"], json!(bad), "{records:?}");
    assert_eq!(records[0]["error"]["kind"], "worker_crash", "{records:?}");
}

#[test]
fn lines_go_through_their_program_again() {
    let served = Served::start(&["--allow-path", "/", "--allow-programs"]);
    let lines: String = (0..20).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    let input = served.dir.write("lines.jsonl", lines);
    let mended = served.dir.path("mended");
    // It dies on two of the lines, until somebody mends it.
    let program = format!(
        "while read -r line; do case \"$line\" in *:7}}|*:13}}) [ -e '{}' ] || kill -SEGV $$;; esac; echo \"$line\"; done",
        mended.display()
    );
    let document = json!({"command": "map", "input": [input], "program": ["sh", "-c", program]});
    let (first, again) = retried(&served, &document, || drop(served.dir.write("mended", "")));
    assert_eq!((&first["counts"]["ok"], &first["counts"]["failed"]), (&json!(18), &json!(2)), "{first}");
    assert_eq!((&again["counts"]["ok"], &again["counts"]["failed"]), (&json!(2), &json!(0)), "{again}");
    let records = served.records(again["id"].as_u64().unwrap());
    let mut values: Vec<_> = records.iter().map(|record| record["value"]["n"].as_u64().unwrap()).collect();
    values.sort_unstable();
    assert_eq!(values, [7, 13], "{records:?}");
}

#[test]
fn pages_that_a_crawl_found_are_fetched_again() {
    let (origin, served) = (Origin::start(), Served::start(&[]));
    let document =
        json!({"command": "crawl", "urls": [origin.url("/linked/")], "depth": 2, "select": ["t=title"]});
    let (first, again) = retried(&served, &document, || {});
    let counts = |job: &Value| (job["counts"]["ok"].clone(), job["counts"]["failed"].clone());
    assert_eq!((&first["command"], counts(&first)), (&json!("crawl"), (json!(9), json!(3))), "{first}");
    // One of them says noindex, which only a crawl obeys.
    assert_eq!((&again["command"], counts(&again)), (&json!("fetch"), (json!(1), json!(2))), "{again}");
}

#[test]
fn requests_made_from_rows_are_not_made_up() {
    let served = Served::start(&["--allow-path", "/"]);
    let input = served.dir.write("rows.csv", "n\n1\n");
    let url = "http://127.0.0.1:1/{n}";
    let document = json!({"command": "fetch", "input": [input], "url": url, "data": "n={n}", "retries": 0});
    let id = served.ask("POST", "/v1/jobs", Some(&document), 201)["id"].as_u64().unwrap();
    served.wait_for_state(id, &["done", "failed"]);
    let answer = served.ask("POST", &format!("/v1/jobs/{id}/retry-failed"), None, 409);
    assert!(answer.to_string().contains("makes its requests from columns"), "{answer}");
}

#[test]
fn requests_without_columns_are_made_again_as_they_were() {
    let served = Served::start(&["--allow-path", "/"]);
    let document = json!({
        "command": "fetch", "urls": ["http://127.0.0.1:1/"], "header": ["X-Text: {id}"], "retries": 0,
        "json": r#"{{"text": "{{id}"}"#,
    });
    let (_, again) = retried(&served, &document, || {});
    let records = served.records(again["id"].as_u64().unwrap());
    assert_eq!(records[0]["error"]["kind"], "connect", "{records:?}");
    assert_eq!(records[0]["url"], "http://127.0.0.1:1/", "{records:?}");
}

#[test]
fn pages_of_a_sitemap_keep_their_columns() {
    let (origin, served) = (Origin::start(), Served::start(&[]));
    let document = json!({
        "command": "fetch", "sitemap": [origin.url("/sitemap-of?pages=http://127.0.0.1:1/")], "keep": ["lastmod"],
        "header": ["Accept: text/html"], "retries": 0,
    });
    let (first, again) = retried(&served, &document, || {});
    assert_eq!((&first["counts"]["failed"], &again["counts"]["failed"]), (&json!(1), &json!(1)), "{again}");
    let records = served.records(again["id"].as_u64().unwrap());
    assert_eq!(
        (&records[0]["url"], &records[0]["keep"]),
        (&json!("http://127.0.0.1:1/"), &json!({"lastmod": null}))
    );
}

/// A list is fetched from its first page on, because what follows may be others by now.
#[test]
fn a_list_of_pages_is_fetched_again_from_its_first_page() {
    let (origin, served) = (Origin::start(), Served::start(&[]));
    let whole = origin.url("/list/whole/1?of=3");
    let broken = origin.url("/list/broken/1?of=2&end=broken");
    let document = json!({
        "command": "fetch", "urls": [whole, broken], "next": "a[rel=next]", "retries": 0, "select": ["t=title"],
    });
    let (first, again) = retried(&served, &document, || drop(origin.get("/mend-list/broken")));
    assert_eq!((&first["counts"]["ok"], &first["counts"]["failed"]), (&json!(5), &json!(1)), "{first}");
    assert_eq!((&again["counts"]["ok"], &again["counts"]["failed"]), (&json!(3), &json!(0)), "{again}");
    let records = served.records(again["id"].as_u64().unwrap());
    let mut titles: Vec<_> = records.iter().map(|record| record["fields"]["t"].as_str().unwrap()).collect();
    titles.sort_unstable();
    assert_eq!(titles, ["broken, page 1", "broken, page 2", "broken, page 3"]);
}
