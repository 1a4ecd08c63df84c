//! Reading, acting on jobs, and every kind of refusal.

use super::*;

#[test]
fn existing_resources_are_shown() {
    let bench = Bench::new();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(bench.get(path).json(), json!({"status": "ok"}));
    }
    assert_eq!(bench.get("/v1/jobs").json(), json!({"jobs": []}));
    let ids: Vec<u64> = (0..5).map(|_| bench.job()).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5]);
    bench.set_state(2, JobState::Running);
    bench.set_state(4, JobState::Done);
    let listed = |query: &str| {
        let answer = bench.get(&format!("/v1/jobs?{query}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        let jobs = answer.json()["jobs"].as_array().unwrap().clone();
        jobs.iter().map(|job| job["id"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(listed(""), [5, 4, 3, 2, 1]);
    assert_eq!(listed("limit=2"), [5, 4]);
    assert_eq!(listed("limit=2&before=4"), [3, 2]);
    assert_eq!(listed("state=running,done"), [4, 2]);
    assert_eq!(bench.get("/v1/jobs/2").json()["state"], "running");
    assert_eq!(bench.get("/v1/workers").json(), json!({"count": 2, "workers": []}));
    assert_eq!(bench.get("/v1/hosts").json(), json!({"hosts": []}));
    assert_eq!(bench.get("/v1/service").json()["version"], "0.1.0");
}

#[test]
fn jobs_are_acted_on() {
    let bench = Bench::new();
    let id = bench.job();
    assert_eq!(bench.post(&format!("/v1/jobs/{id}/pause")).json()["state"], "paused");
    bench.post(&format!("/v1/jobs/{id}/pause")).problem(409, "is Paused");
    assert_eq!(bench.post(&format!("/v1/jobs/{id}/resume")).json()["state"], "queued");
    bench.post(&format!("/v1/jobs/{id}/retry-failed")).problem(409, "is Queued");
    let delete = || bench.request(&format!("DELETE /v1/jobs/{id}"), "", b"");
    let cancelled = delete();
    assert_eq!((cancelled.status, &cancelled.json()["state"]), (202, &json!("cancelled")));
    assert_eq!((delete().status, delete().status), (204, 404));
    bench.post("/v1/jobs/99/pause").problem(404, "no job 99");
    let id = bench.job();
    bench.set_state(id, JobState::Done);
    let retried = bench.post(&format!("/v1/jobs/{id}/retry-failed"));
    assert_eq!((retried.status, retried.header("location")), (201, Some("/v1/jobs/1")));
}

#[test]
fn the_number_of_workers_is_changed() {
    let bench = Bench::new();
    let json = "Content-Type: application/json\r\n";
    let scale = |body: &str| bench.request("POST /v1/workers", json, body.as_bytes());
    assert_eq!(scale("{\"count\":4}").json(), json!({"count": 4}));
    assert_eq!(scale("{\"count\":\"auto\"}").json(), json!({"count": 2}));
    scale("{\"count\":0}").problem(422, "there must be a worker");
    scale("{\"count\":-1}").problem(422, "\"auto\"");
    scale("{\"count\":1,\"more\":2}").problem(422, "nothing else");
    scale("{").problem(400, "not JSON");
    bench.request("POST /v1/workers", "", b"{}").problem(415, "application/json");
    scale(&" ".repeat(5_000)).problem(413, "larger than 4096");
}

#[test]
fn every_mistake_is_a_problem_document() {
    let bench = Bench::new();
    bench.job();
    bench.get("/v2").problem(404, "/v2");
    bench.get("/v1/jobs/7").problem(404, "no job 7");
    bench.get("/v1/jobs/seven").problem(404, "seven");
    bench.get("/v1/jobs?limit=0").problem(400, "1 to 1000");
    bench.get("/v1/jobs?state=runing").problem(400, "did you mean \"running\"?");
    bench.get("/v1/jobs?stat=done").problem(400, "did you mean \"state\"?");
    bench.get("/v1/jobs/1?x=1").problem(400, "this path takes none");
    bench.get("/v1/jobs/1/records?from=x").problem(400, "from must be a number");
    bench.get("/v1/jobs/1/records?only=ok").problem(400, "quarantined");
    bench.request("GET /v1/jobs", "Accept: text/html\r\n", b"").problem(406, "application/json");
    let put = bench.request("PUT /v1/jobs", "", b"");
    put.problem(405, "Allow");
    assert_eq!(put.header("allow"), Some("GET,HEAD,POST"));
    bench.request("DELETE /metrics", "", b"").problem(405, "Allow");
    *bench.service.board().service.write().unwrap() = None;
    let starting = bench.get("/readyz");
    starting.problem(503, "starting");
    assert!(starting.header("retry-after").is_some());
    assert_eq!(bench.get("/healthz").status, 200);
}

#[test]
fn answers_are_safe_to_show_in_a_browser() {
    let bench = Bench::new();
    for path in ["/", "/v1/jobs", "/nothing", "/metrics"] {
        let answer = bench.get(path);
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{path}");
    }
    assert_eq!(bench.get("/v1/jobs").header("cache-control"), Some("no-store"));
    let page = bench.get("/");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.text().contains("<title>Muster"));
    let known = format!("If-None-Match: {}\r\n", page.header("etag").unwrap());
    let again = bench.request("GET /", &known, b"");
    assert_eq!((again.status, again.body.len()), (304, 0));
}

#[test]
fn metrics_have_bounded_labels() {
    let bench = Bench::new();
    for _ in 0..3 {
        bench.job();
    }
    for path in ["/v1/jobs/1", "/v1/jobs/2", "/made/up/1", "/made/up/2"] {
        bench.get(path);
    }
    let answer = bench.get("/metrics");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = answer.text();
    for line in [
        "# TYPE muster_jobs gauge",
        "muster_jobs{state=\"queued\"} 3",
        "muster_jobs_submitted_total 3",
        "# TYPE muster_record_duration_seconds histogram",
        "muster_record_duration_seconds_bucket{le=\"0.0001\"} 0",
        "muster_record_duration_seconds_bucket{le=\"+Inf\"} 0",
        "muster_http_requests_total{code=\"200\",method=\"GET\",route=\"/v1/jobs/{id}\"} 2",
        "muster_http_requests_total{code=\"404\",method=\"GET\",route=\"other\"} 2",
        "muster_build_info{version=\"0.1.0\"} 1",
    ] {
        let has = text.lines().any(|shown| shown == line) || {
            // The encoder keeps the order in which labels were given.
            let sorted = |line: &str| {
                let mut letters: Vec<char> = line.chars().collect();
                letters.sort_unstable();
                letters
            };
            text.lines().any(|shown| sorted(shown) == sorted(line))
        };
        assert!(has, "no {line}: {text}");
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let helped = |name: &str| text.contains(&format!("# HELP {name} "));
        assert!(helped(name) || family.is_some_and(helped), "{name} has no HELP");
        assert!(name.starts_with("muster_"), "{name}");
    }
}

/// Words that look like a metric name.
fn metrics_named(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("muster_"))
}

#[test]
fn the_grafana_dashboard_uses_existing_metrics() {
    let bench = Bench::new();
    bench.get("/healthz");
    // An error kind appears with its first error.
    let mut job = view(JobId(9), "fetch");
    job.errors.insert(shared::record::ErrorKind::Dns, 1);
    bench.service.board().metrics.job_changed(None, &job);
    let text = bench.get("/metrics");
    let dashboard = include_str!("../../../../scripts/grafana.json");
    assert!(metrics_named(dashboard).count() > 10);
    for name in metrics_named(dashboard) {
        assert!(metrics_named(text.text()).any(|known| known == name), "there is no metric {name}");
    }
}

#[test]
fn the_description_names_every_path() {
    let bench = Bench::new();
    let description = bench.get("/openapi.json").json();
    assert_eq!(description["openapi"], "3.1.0");
    let paths = description["paths"].as_object().unwrap();
    for (path, methods) in [
        ("/v1/jobs", &["get", "post"][..]),
        ("/v1/jobs/{id}", &["get", "delete"]),
        ("/v1/jobs/{id}/records", &["get"]),
        ("/v1/jobs/{id}/pause", &["post"]),
        ("/v1/jobs/{id}/resume", &["post"]),
        ("/v1/jobs/{id}/retry-failed", &["post"]),
        ("/v1/workers", &["get", "post"]),
        ("/v1/hosts", &["get"]),
        ("/v1/service", &["get"]),
        ("/v1/events", &["get"]),
        ("/metrics", &["get"]),
        ("/healthz", &["get"]),
        ("/readyz", &["get"]),
        ("/openapi.json", &["get"]),
    ] {
        for method in methods {
            assert!(paths[path][method].is_object(), "{method} {path}");
            assert_ne!(routes::label(&path.replace("{id}", "1")), "other", "{path}");
        }
    }
    // The fields of a job are described one by one.
    let job = &description["components"]["schemas"]["JobView"]["properties"];
    let shown = serde_json::to_value(view(JobId(1), "fetch")).unwrap();
    for field in shown.as_object().unwrap().keys() {
        assert!(job[field].is_object(), "{field}: {job}");
    }
}
