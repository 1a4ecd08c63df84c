//! Hostile bodies among many pages.

use std::time::Duration;

use shared::clock;

use super::scale;
use crate::harness::{Origin, by_id, fetch, kind};
use crate::hostile::HOLLOW;

/// Twenty gigabytes of nothing behind a few hundred bytes, four times among 2,000 pages at full size.
#[test]
fn hollow_bodies_cost_a_run_little() {
    let (origin, full) = (Origin::start(), scale() > 1);
    let (pages, bytes) = if full { (2000, 20_u64 << 30) } else { (300, 1 << 30) };
    let hollow = HOLLOW.map(|kind| origin.url(&format!("/hollow/{kind}?bytes={bytes}")));
    let run = |urls: &[String], exit: i32| {
        let begun = clock::now();
        let run = fetch().args(["--select", "t=title"]).urls(urls).run().exits(exit);
        (begun.elapsed(), by_id(run.records()))
    };
    // The server makes each body once.
    let (_, refused) = run(&hollow, 3);
    assert!(refused.values().all(|record| kind(record) == "decode"), "{refused:?}");
    let plain: Vec<String> = (0..pages).map(|n| origin.url(&format!("/site/page/{}", n % 300))).collect();
    let mut mixed = plain.clone();
    for (n, url) in hollow.iter().enumerate() {
        mixed.insert((n + 1) * pages / 5, url.clone());
    }
    // A release build is done within a second, so one run says little.
    let rounds = if full { 5 } else { 1 };
    let (mut without, mut with) = (Duration::MAX, Duration::MAX);
    for _ in 0..rounds {
        without = without.min(run(&plain, 0).0);
        let (took, records) = run(&mixed, 3);
        with = with.min(took);
        assert_eq!(records.values().filter(|record| kind(record) == "decode").count(), 4);
        assert_eq!(records.len(), pages + 4);
    }
    eprintln!("{pages} pages took {without:?}, with four hollow bodies among them {with:?}");
    if full {
        assert!(with <= without.mul_f64(1.5), "{with:?} instead of {without:?}");
    }
}
