//! Steps, items, presets, JSON and XPath, from the command line to the record.

use e2e::origin::shop;
use serde_json::{Value, json};

use crate::harness::{Dir, MODES, Origin, by_id, fetch, kind, parse, supervisor};

/// The fields of one URL.
fn fields(url: &str, flags: &[&str]) -> Value {
    fetch().args(flags).arg(url).run().exits(0).records()[0]["fields"].clone()
}

#[test]
fn steps_make_typed_values() {
    let shop = Origin::shared().url("/shop/");
    let flags = [
        "--select",
        "title=title::text | re(^(.*) - )",
        "--select",
        "none=title | re(^x)",
        "--select",
        "prices[]=.price | re([0-9,.]+) | float",
        "--select",
        "cheapest[]=.price | re([0-9,.]+) | float | first",
        "--select",
        "count=h1 | re([0-9]+) | int",
        "--select",
        "not=.price | int",
        "--select",
        "tags[]=li | strip | join(, )",
        "--select",
        "image=meta[property='og:image']::attr(content) | url",
        "--select",
        "missing=video::attr(src) | default(none)",
    ];
    let want = json!({
        "title": "Kettles", "none": null, "prices": [1249.5, 39.0], "cheapest": 1249.5, "count": 3, "not": null,
        "tags": "2 l, whistles", "image": Origin::shared().url("/img/1.jpg"), "missing": "none",
    });
    assert_eq!(fields(&shop, &flags), want);
    // The same when the page needs a tree.
    let with_tree = [&flags[..], &["--select", "h=h1::html"]].concat();
    let mut found = fields(&shop, &with_tree);
    assert_eq!(found.as_object_mut().unwrap().remove("h").unwrap(), "<h1>Kettles <small>(3)</small></h1>");
    assert_eq!(found, want);
}

#[test]
fn items_are_objects_in_every_mode() {
    let origin = Origin::shared();
    let base = origin.url("/shop/");
    let want = json!({"items": [
        {"id": "k1", "name": "Copper", "price": 1249.5, "more": format!("{base}copper?ref=list"), "tags": ["2 l", "whistles"]},
        {"id": "k2", "name": "Steel", "price": 39.0, "more": format!("{base}steel"), "tags": []},
        {"id": "k3", "name": "Glass", "price": null, "more": null, "tags": []},
    ]});
    for mode in MODES {
        let run = fetch().args(["--mode", mode, "--each", "div.product", "--select", "id=:scope::attr(id)"]);
        let run = run.args(["--select", "name=h2", "--select", "price=.price | re([0-9,.]+) | float"]);
        let run = run.args(["--select", "more=a::attr(href)", "--select", "tags[]=./ul/li"]).arg(&base).run();
        assert_eq!(run.exits(0).records()[0]["fields"], want, "{mode}");
    }
}

#[test]
fn presets_say_what_a_page_is() {
    let origin = Origin::shared();
    let presets =
        ["--preset", "jsonld", "--preset", "opengraph", "--preset", "microdata", "--preset", "meta"];
    let found = fields(&origin.url("/shop/"), &[&["--select", "t=title"][..], &presets].concat());
    assert_eq!(
        found,
        json!({
            "t": "Kettles - The Shop",
            "jsonld": [{"@context": "https://schema.org", "@type": "ItemList", "numberOfItems": 3, "name": "Kettles"}],
            "opengraph": {"og:title": "Kettles", "og:image": ["/img/1.jpg", "/img/2.jpg"]},
            "microdata": [{"type": ["https://schema.org/Organization"],
                "properties": {"name": ["The Shop"], "url": [origin.url("/")]}}],
            "meta": {"description": "Three kettles & nothing else"},
        })
    );
    let alone = fields(&origin.url("/shop/"), &["--preset", "opengraph"]);
    assert_eq!(alone["opengraph"], found["opengraph"]);
    let none = fields(&origin.url("/site/page/1"), &presets);
    assert_eq!(
        (&none["jsonld"], &none["opengraph"], &none["microdata"]),
        (&json!([]), &json!({}), &json!([]))
    );
}

#[test]
fn json_is_read_by_json_path() {
    let origin = Origin::shared();
    let flags = [
        "--select",
        "total=$.total",
        "--select",
        "names[]=$.items[*].name",
        "--select",
        "new=$.items[?@.tags[?@ == 'new']].id",
        "--select",
        "tags[]=$..tags[*] | join(;)",
        "--select",
        "title=title",
        "--select",
        "links[]=a::attr(href)",
    ];
    let want = json!({"total": 3, "names": ["Copper", "Steel", "Glass"], "new": "k3", "tags": "2 l;whistles;new",
        "title": null, "links": []});
    for path in ["/shop/items.json", "/shop/problem", "/shop/untyped"] {
        assert_eq!(fields(&origin.url(path), &flags), want, "{path}");
    }
    let page = fields(&origin.url("/shop/"), &flags);
    assert_eq!(
        (&page["total"], &page["names"], &page["title"]),
        (&json!(null), &json!([]), &json!("Kettles - The Shop"))
    );
    let items = fields(
        &origin.url("/shop/items.json"),
        &["--each", "$.items[*]", "--select", "id=$.id", "--select", "p=$.price"],
    );
    assert_eq!(
        items,
        json!({"items": [{"id": "k1", "p": 1249.5}, {"id": "k2", "p": 39}, {"id": "k3", "p": null}]})
    );
    // What is cut off is an error, and one of its own.
    let run = fetch()
        .args(["--select", "t=$.total", "--ordered"])
        .arg(origin.url("/shop/cut.json"))
        .arg(origin.url("/shop/items.json"));
    let records = run.run().exits(3).records();
    assert_eq!((kind(&records[0]), &records[1]["fields"]["t"]), ("parse", &json!(3)));
    assert!(records[0]["error"]["message"].as_str().unwrap().starts_with("not JSON: "), "{}", records[0]);
}

#[test]
fn saved_json_is_known_by_its_name_or_its_look() {
    let dir = Dir::new();
    let page = shop::PAGE;
    let files = [
        dir.write("a.json", shop::ITEMS),
        dir.write("b.txt", format!("\n {}", shop::ITEMS)),
        dir.write("c.html", shop::ITEMS),
        dir.write("d.txt", page),
    ];
    let run = parse().args(["--select", "t=$.total", "--select", "h=title"]).args(&files).run().exits(0);
    let records = by_id(run.records());
    let totals: Vec<_> = records.values().map(|record| &record["fields"]["t"]).collect();
    assert_eq!(totals, [&json!(3), &json!(3), &json!(3), &json!(null)]);
    assert_eq!(records[&3]["fields"]["h"], "Kettles - The Shop");
}

#[test]
fn x_path_finds_what_css_cannot() {
    let shop = Origin::shared().url("/shop/");
    let found = fields(
        &shop,
        &[
            "--select",
            "sold=//div[b = 'sold out']/@id",
            "--select",
            "own=//h1/text()",
            "--select",
            "links[]=//div[@class='product']/a/@href",
            "--select",
            "n=xpath:count(//div[@class='product'])",
            "--select",
            "both[]=//h1/small | //h2[1] | strip",
        ],
    );
    assert_eq!(
        found,
        json!({"sold": "k3", "own": "Kettles ", "links": [format!("{shop}copper?ref=list"), format!("{shop}steel")],
            "n": 3, "both": ["(3)", "Copper", "Steel", "Glass"]})
    );
}

#[test]
fn garbage_is_refused_before_anything_starts() {
    let origin = Origin::start();
    let url = origin.url("/shop/");
    for (flags, says) in [
        (&["--select", "t=h1 | lowr(x)"][..], "the steps are re(REGEX), strip, int"),
        (&["--select", "t=h1 | srtip"], "did you mean `strip`?"),
        (&["--select", "t=h1 | re((a)"], "a parenthesis is not closed, at character 10"),
        (&["--select", "t=h1 | re(a{2,1})"], "at character 12"),
        (&["--select", "t=h1 | join(,)"], "take every match with NAME[]="),
        (&["--select", "t=$.a[?"], "JSONPath"),
        (&["--select", "t=//h1[contains(.)]"], "does not take 1 arguments, at character 8"),
        (&["--select", "t=xpath:"], "a name, `*`, `@` or `.` is missing before the end"),
        (&["--each", "div["], "a bracket is not closed"),
        (&["--each", "div"], "needs at least one --select"),
        (&["--each", "$.a", "--select", "t=h1"], "use JSONPath in both"),
        (&["--preset", "json-ld"], "jsonld"),
    ] {
        fetch().args(flags).arg(&url).run().exits(2).says(says);
    }
    assert_eq!(origin.requests("/shop/"), 0);
}

#[test]
fn a_page_that_makes_a_query_run_away_costs_only_its_record() {
    let dir = Dir::new();
    let deep = dir.write("deep.html", "<div><p>x</p>".repeat(300) + &"<p>y</p>".repeat(4000));
    let calm = dir.write("calm.html", "<p>x</p>");
    let run = parse().args([
        "--select",
        "x[]=//*[preceding::*[following::*[preceding::*]]]",
        "--parse-timeout",
        "300ms",
    ]);
    let records = by_id(run.arg(deep).arg(calm).run().exits(3).records());
    assert_eq!((kind(&records[&0]), kind(&records[&1])), ("parse", ""));
    assert_eq!(records[&0]["attempts"], 1, "no worker died of it");
    assert_eq!(records[&1]["fields"]["x"], json!(["x", "x"]), "the body and what is in it");
}

#[test]
fn jobs_variables_and_comparisons_take_them_too() {
    let origin = Origin::shared();
    let dir = Dir::new();
    dir.write(
        "job.toml",
        format!(
            "command = \"fetch\"\nurls = [\"{}\"]\neach = \"div.product\"\npreset = [\"meta\", \"opengraph\"]\n\
             select = [\"n=h2 | strip\", 'p=.price | re(\\d+) | int']\n",
            origin.url("/shop/")
        ),
    );
    let job = || supervisor().current_dir(dir.root()).args(["--job", "job.toml"]);
    let found = job().run().exits(0).records()[0]["fields"].clone();
    assert_eq!(found["items"][1], json!({"n": "Steel", "p": 39}));
    assert_eq!(found.as_object().unwrap().keys().collect::<Vec<_>>(), ["items", "meta", "opengraph"]);
    // A list in the environment is one a line.
    let run = fetch()
        .env("MUSTER_PRESET", "opengraph\nmeta")
        .env("MUSTER_EACH", "li")
        .env("MUSTER_SELECT", "t=:scope");
    let found = run.arg(origin.url("/shop/")).run().exits(0).records()[0]["fields"].clone();
    assert_eq!(found["items"], json!([{"t": "2 l"}, {"t": "whistles"}]));
    assert_eq!(found["opengraph"]["og:title"], "Kettles");
    supervisor()
        .current_dir(dir.root())
        .args(["compare", "--job", "job.toml"])
        .run()
        .exits(0)
        .says("sequential");
}

#[test]
fn a_run_is_resumed_only_with_the_same_selection() {
    let origin = Origin::start();
    let dir = Dir::new();
    let urls: Vec<_> = (0..40).map(|n| origin.url(&format!("/counted/{n}?delay=0.05"))).collect();
    dir.write("urls.txt", urls.join("\n"));
    let command = |flags: &[&str]| {
        let run = fetch().current_dir(dir.root()).args(["-i", "urls.txt", "-o", "out.jsonl", "--resume"]);
        run.args(["--mode", "concurrent", "--concurrency", "2"]).args(flags)
    };
    let flags = ["--each", "h1", "--select", "t=:scope | re(\\d+) | int", "--preset", "meta"];
    let run = command(&flags).spawn();
    run.until("requests", || (origin.stats()["requests"].as_u64().unwrap() > 10).then_some(()));
    run.signal(nix::sys::signal::Signal::SIGTERM);
    run.wait().exits(143);
    for (other, says) in [
        (&["--each", "h1", "--select", "t=:scope | re(\\d) | int", "--preset", "meta"][..], "--select was"),
        (
            &["--each", "h2", "--select", "t=:scope | re(\\d+) | int", "--preset", "meta"],
            "--each was 'h1', and is 'h2'",
        ),
        (&["--each", "h1", "--select", "t=:scope | re(\\d+) | int"], "--preset was meta, and is not there"),
    ] {
        command(other).run().exits(1).says(says);
    }
    command(&flags).run().exits(0);
    let records = by_id(crate::harness::parse_lines(dir.read("out.jsonl").as_bytes()));
    assert_eq!(records.len(), 40);
    for (id, record) in &records {
        assert_eq!(record["fields"]["items"], json!([{"t": id}]), "{record}");
    }
}
