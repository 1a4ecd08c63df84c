use proptest::prelude::*;

use super::*;

fn outcome(started_us: u64, elapsed_us: u64, cpu_us: u64, verdict: Verdict) -> Outcome {
    Outcome {
        id: started_us,
        verdict,
        bytes: 10,
        started_us,
        elapsed_us,
        cpu_us,
        endings: None,
        reply: None,
        retry_after_ms: None,
        exit_use: None,
        over_budget: false,
        session: None,
        line_bytes: 1,
        found_bytes: 0,
        note_bytes: 0,
    }
}

fn retry() -> Verdict {
    Verdict::Retry { kind: ErrorKind::Timeout }
}

#[test]
fn every_count_follows_from_the_events() {
    let mut gather = Gather::new(2);
    gather.started(0);
    gather.started(1);
    gather.record(0, &outcome(0, 1_000, 100, Verdict::Ok));
    gather.record(0, &outcome(500, 2_000, 100, retry()));
    gather.record(1, &outcome(0, 3_000, 100, Verdict::Failed(ErrorKind::Dns)));
    gather.retried(1);
    gather.started(1);
    gather.restarted(1);
    gather.quarantined(1, ErrorKind::WorkerCrash, 9_000);
    gather.reaped(1, Duration::from_secs(2));
    gather.reaped(1, Duration::from_secs(3));
    gather.resident(1, 70);
    gather.resident(1, 50);

    assert_eq!(
        gather.counts(),
        Counts { ok: 1, failed: 2, quarantined: 1, retries: 2, bytes: 30, unchanged: 0 }
    );
    assert_eq!(gather.errors(), &BTreeMap::from([(ErrorKind::Dns, 1), (ErrorKind::WorkerCrash, 1)]));
    assert_eq!(gather.restarts(), 1);
    assert_eq!(
        gather.slots(),
        [
            SlotCounts { starts: 1, items: 1, ..SlotCounts::default() },
            SlotCounts { starts: 2, items: 2, cpu: Duration::from_secs(5), rss_bytes_max: 70 },
        ]
    );
    assert!((gather.in_flight_mean(Duration::from_millis(3)) - 2.0).abs() < 1e-9);
    assert_eq!(gather.latency().max_us(), 3_000);
}

#[test]
fn balance_reports_missing_and_extra_results() {
    let mut gather = Gather::new(1);
    gather.record(0, &outcome(0, 1, 0, Verdict::Ok));
    gather.record(0, &outcome(0, 1, 0, retry()));
    gather.quarantined(0, ErrorKind::WorkerOom, 5);
    assert_eq!(gather.balance(5, 3), Ok(()));
    for submitted in [4, 6] {
        let unbalanced = Unbalanced { earlier: 0, submitted, ok: 1, failed: 1, left: 3 };
        assert_eq!(gather.balance(submitted, 3), Err(unbalanced));
    }
}

#[test]
fn the_balance_of_a_resumed_run_names_both_sides_in_full() {
    let counts = Counts { ok: 7, failed: 2, ..Counts::default() };
    let mut gather = Gather::resumed(counts, BTreeMap::from([(ErrorKind::Dns, 2)]));
    gather.record(0, &outcome(0, 1, 0, Verdict::Ok));
    assert_eq!(gather.balance(4, 3), Ok(()));
    let unbalanced = gather.balance(5, 3).unwrap_err();
    assert_eq!(
        unbalanced.to_string(),
        "the counts do not add up: 9 finished by earlier runs + 5 taken by this run, but 8 ok + 2 failed + 3 left; \
         this is a bug in the supervisor"
    );
}

#[test]
fn a_slot_added_during_the_run_is_counted() {
    let mut gather = Gather::new(1);
    gather.record(3, &outcome(0, 1_000, 0, Verdict::Ok));
    assert_eq!((gather.slots().len(), gather.slots()[3].items, gather.timeline().slots()), (4, 1, 4));
}

#[test]
fn the_peak_counts_all_slots_and_the_shortest_run_has_one() {
    let mut gather = Gather::new(2);
    for slot in [0, 0, 0, 1, 1] {
        gather.record(slot, &outcome(2_000, 50_000, 10, Verdict::Ok));
    }
    assert_eq!(gather.in_flight_peak(), 5);
    let mut short = Gather::new(1);
    assert_eq!(short.in_flight_peak(), 0);
    short.record(0, &outcome(10, 20, 5, Verdict::Ok));
    assert_eq!(short.in_flight_peak(), 1);
}

#[test]
fn memory_does_not_grow_with_the_run() {
    let mut gather = Gather::new(1);
    for n in 0..200_000_u64 {
        gather.record(0, &outcome(n * 700, 90_000, 50, Verdict::Ok));
    }
    let timeline = gather.timeline();
    assert_eq!(timeline.intervals(0).len(), INTERVALS_MAX);
    assert!(timeline.total().len() <= BUCKETS_MAX);
    assert_eq!(timeline.total().iter().map(|point| point.items).sum::<u64>(), 200_000);
    // 90 ms each, one every 0.7 ms: 128.57 in flight at any time.
    let steady = &timeline.series(0)[2..250];
    assert!(steady.iter().all(|point| (point.in_flight - 128.57).abs() < 0.1), "{steady:?}");
    assert!(steady.iter().all(|point| (128..=129).contains(&point.in_flight_at_end)));
}

#[test]
fn intervals_before_the_cut_are_complete() {
    let mut gather = Gather::new(1);
    let mut begun = Vec::new();
    for n in 0..30_000_u64 {
        // Every fifth takes long enough to end thousands of results later.
        let elapsed_us = if n % 5 == 0 { 3_000_000 } else { 1_000 };
        begun.push(outcome(n * 100, elapsed_us, 10, Verdict::Ok));
    }
    begun.sort_by_key(|outcome| outcome.started_us + outcome.elapsed_us);
    begun.iter().for_each(|outcome| gather.record(0, outcome));
    let timeline = gather.timeline();
    let cut = timeline.complete_before_us().unwrap();
    assert!(cut > 0 && timeline.intervals(0).len() <= INTERVALS_MAX + 1_024);
    let kept = timeline.intervals(0).iter().filter(|interval| interval.started_us < cut).count();
    assert_eq!(kept, begun.iter().filter(|outcome| outcome.started_us < cut).count());
}

proptest! {
    /// The area under each curve equals the input, however often buckets merge.
    #[test]
    fn areas_survive_merging(attempts in prop::collection::vec((0..3_000_000_u64, 0..2_000_000_u64, 0..500_000_u64), 1..60)) {
        let mut gather = Gather::new(1);
        for &(started_us, elapsed_us, cpu_us) in &attempts {
            gather.record(0, &outcome(started_us, elapsed_us, cpu_us, Verdict::Ok));
        }
        let timeline = gather.timeline();
        let area = |of: fn(&Point) -> f64| timeline.total().iter().map(of).sum::<f64>() * timeline.width_us() as f64;
        let elapsed: u64 = attempts.iter().map(|attempt| attempt.1).sum();
        let computed: u64 = attempts.iter().map(|attempt| attempt.2.min(attempt.1)).sum();
        prop_assert!((area(|point| point.in_flight) - elapsed as f64).abs() < 1.0);
        prop_assert!((area(|point| point.computing) - computed as f64).abs() < 1.0);
        prop_assert_eq!(timeline.total().last().unwrap().in_flight_at_end, 0);
        prop_assert_eq!(timeline.end_us(), attempts.iter().map(|attempt| attempt.0 + attempt.1).max().unwrap());
    }

    /// The number in flight at a boundary is exactly the number of attempts that cover it.
    #[test]
    fn boundaries_are_exact(attempts in prop::collection::vec((0..3_000_000_u64, 0..2_000_000_u64), 1..60)) {
        let mut gather = Gather::new(1);
        for &(started_us, elapsed_us) in &attempts {
            gather.record(0, &outcome(started_us, elapsed_us, 0, Verdict::Ok));
        }
        let timeline = gather.timeline();
        for (index, point) in timeline.series(0).iter().enumerate() {
            let boundary = (index as u64 + 1) * timeline.width_us();
            let covering = attempts.iter().filter(|(start, elapsed)| *start < boundary && start + elapsed >= boundary).count();
            prop_assert_eq!(point.in_flight_at_end, covering as i64);
        }
    }
}
