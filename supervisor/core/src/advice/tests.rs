use std::time::Duration;

use super::measure::CONNECT_S;
use super::*;

const MACHINE: Machine = Machine {
    cores: 2,
    workers: 2,
    descriptors: 10_000,
    memory_bytes: Some(8e9),
    worker_memory_bytes: None,
    link_bytes_per_s: None,
};

const AROUND: Around =
    Around { hosts: 1, cores: 2.0, beside: true, secured: 0.0, mean_bytes: None, start: Duration::ZERO };

/// A server and its pages, as a sample of 18 and one of 182 targets sees them.
#[derive(Debug, Clone, Copy)]
struct Pages {
    latency_ms: f64,
    body_ms: f64,
    cpu_ms: f64,
    /// Most targets in flight that do not queue; of which part.
    capacity: f64,
    queue_in_body: bool,
}

const PAGES: Pages =
    Pages { latency_ms: 200.0, body_ms: 0.0, cpu_ms: 0.4, capacity: 1e9, queue_in_body: false };

fn phase(pages: Pages, targets: u32, in_flight: u32) -> Phase {
    let slow = (f64::from(in_flight) / pages.capacity).max(1.0);
    let (first, body) = (pages.latency_ms, pages.body_ms);
    let (first, body) = if pages.queue_in_body {
        (first, body + (first + body) * (slow - 1.0))
    } else {
        (first * slow, body)
    };
    let us = |ms: f64| (ms * 1e3) as u64;
    let attempts: Vec<_> = (0..targets)
        .map(|n| Attempt {
            host: 0,
            started_us: 50_000 + u64::from(n / in_flight) * us(first + body),
            elapsed_us: us(first + body),
            first_byte_us: Some(us(first)),
            cpu_us: us(pages.cpu_ms),
            bytes: 20_000,
            ok: true,
            refused: false,
        })
        .collect();
    let spanned = f64::from(targets.div_ceil(in_flight)) * (first + body);
    Phase {
        attempts,
        wall: Duration::from_secs_f64((60.0 + spanned) / 1e3),
        cpu: Duration::from_secs_f64(
            (30.0 + f64::from(targets) * pages.cpu_ms) / 1e3 + f64::from(in_flight) * CONNECT_S,
        ),
        other_cpu: None,
        disk_bytes: 0,
        resident_bytes: 10_000_000,
    }
}

fn measured(pages: Pages) -> Measured {
    Measured::of(&phase(pages, 18, 8), &phase(pages, 182, 91), &AROUND).unwrap()
}

fn host(inputs: u64, limit: Option<u32>, interval_s: f64) -> Host {
    Host { inputs, limit, interval_s }
}

fn question<'a>(measured: &'a Measured, hosts: &'a [Host]) -> Question<'a> {
    let inputs = Some(hosts.iter().map(|host| host.inputs).sum());
    Question { fetches: true, hosts, inputs, sizes: &[], machine: MACHINE, concurrency: None, measured }
}

/// Advises on pages of these hosts.
fn ask(pages: Pages, hosts: &[Host]) -> Advice {
    let measured = measured(pages);
    advise(&question(&measured, hosts))
}

#[test]
fn each_kind_of_job_has_its_bottleneck_mode_and_time() {
    let slow = Pages { latency_ms: 1_000.0, ..PAGES };
    let fast = Pages { latency_ms: 2.0, ..PAGES };
    let full = Pages { latency_ms: 100.0, capacity: 8.0, ..PAGES };
    let narrow = Pages { latency_ms: 5.0, body_ms: 45.0, capacity: 10.0, queue_in_body: true, ..PAGES };
    let cases = [
        ("one slow host", slow, vec![host(2_000, None, 0.0)], Resource::Hosts, Mode::Concurrent, 2.26),
        ("a rate", PAGES, vec![host(400, None, 0.05)], Resource::Delays, Mode::Concurrent, 20.2),
        ("two a host", PAGES, vec![host(40, Some(2), 0.0); 50], Resource::Hosts, Mode::Concurrent, 4.06),
        ("fast pages", fast, vec![host(20_000, None, 0.0)], Resource::Cpu, Mode::Both, 4.06),
        ("eight threads", full, vec![host(2_000, None, 0.0)], Resource::Hosts, Mode::Concurrent, 25.2),
        ("a narrow link", narrow, vec![host(2_000, None, 0.0)], Resource::Bandwidth, Mode::Concurrent, 10.1),
        ("three pages", PAGES, vec![host(3, None, 0.0)], Resource::Hosts, Mode::Concurrent, 0.26),
        (
            "one of many hosts is large",
            PAGES,
            {
                let mut hosts = vec![host(2, Some(2), 0.0); 500];
                hosts.push(host(1_000, Some(2), 0.0));
                hosts
            },
            Resource::Hosts,
            Mode::Concurrent,
            100.0,
        ),
    ];
    for (name, pages, hosts, resource, mode, seconds) in cases {
        let advice = ask(pages, &hosts);
        let bottleneck = advice.bottleneck().unwrap();
        assert_eq!((bottleneck.resource, advice.mode), (resource, mode), "{name}: {advice:#?}");
        let predicted_s = advice.predicted_s.unwrap();
        assert!((predicted_s / seconds - 1.0).abs() < 0.1, "{name}: {predicted_s} s\n{advice:#?}");
        assert!(advice.why.contains("waiting"), "{name}: {}", advice.why);
    }
}

#[test]
fn no_more_is_in_flight_than_helps() {
    let slow = Pages { latency_ms: 1_000.0, ..PAGES };
    let full = Pages { latency_ms: 100.0, capacity: 8.0, ..PAGES };
    for (name, pages, hosts, in_flight) in [
        ("whole rounds", slow, vec![host(2_000, None, 0.0)], 1_000..=1_000),
        ("eight threads", full, vec![host(2_000, None, 0.0)], 8..=16),
        ("a public host", PAGES, vec![host(2_000, Some(16), 0.0)], 16..=16),
        ("a rate", PAGES, vec![host(400, None, 0.05)], 4..=8),
        ("fewer inputs", PAGES, vec![host(3, None, 0.0)], 3..=3),
    ] {
        let advice = ask(pages, &hosts);
        let total = advice.workers * advice.concurrency;
        assert!(in_flight.contains(&total), "{name}: {total} in flight\n{advice:#?}");
    }
}

#[test]
fn files_are_bound_by_the_cores_or_by_the_disk() {
    // A busy machine makes the first time longer, too; but nothing is read from the disk then.
    for (wait_ms, cpu_ms, disk_bytes, resource) in [
        (0.1, 1.0, 4_000_000, Resource::Cpu),
        (9.0, 1.0, 4_000_000, Resource::Disk),
        (9.0, 1.0, 0, Resource::Cpu),
    ] {
        let cached = Pages { latency_ms: cpu_ms, cpu_ms, ..PAGES };
        let files = Pages { latency_ms: wait_ms + cpu_ms, cpu_ms, ..PAGES };
        let around = Around { hosts: 0, beside: false, ..AROUND };
        let few = Phase { disk_bytes, ..phase(files, 200, 2) };
        let measured = Measured::of(&few, &phase(cached, 2_000, 2), &around).unwrap();
        let advice = advise(&Question {
            fetches: false,
            hosts: &[],
            inputs: Some(10_000),
            sizes: &[],
            machine: MACHINE,
            concurrency: None,
            measured: &measured,
        });
        assert_eq!(advice.bottleneck().unwrap().resource, resource, "{advice:#?}");
        assert_eq!((advice.mode, advice.workers, advice.concurrency), (Mode::Parallel, 2, 1));
        let waited_ms = if disk_bytes > 0 { wait_ms } else { 0.0 };
        let seconds = 10_000.0 * (waited_ms + cpu_ms) / 2.0 / 1e3;
        assert!((advice.predicted_s.unwrap() / seconds - 1.0).abs() < 0.15, "{advice:#?}");
    }
}

#[test]
fn limits_of_user_and_machine_are_bounds_too() {
    let slow = measured(Pages { latency_ms: 1_000.0, ..PAGES });
    let hosts = [host(100_000, Some(50_000), 0.0)];
    let question = Question {
        fetches: true,
        hosts: &hosts,
        inputs: None,
        sizes: &[],
        machine: MACHINE,
        concurrency: None,
        measured: &slow,
    };
    for (resource, machine, concurrency) in [
        (Resource::Concurrency, MACHINE, Some(10)),
        (Resource::Descriptors, Machine { descriptors: 100, ..MACHINE }, None),
        (Resource::Descriptors, Machine { workers: 1, descriptors: 200, ..MACHINE }, None),
        (Resource::Memory, Machine { memory_bytes: Some(20e6), ..MACHINE }, None),
        (Resource::Memory, Machine { worker_memory_bytes: Some(20e6), ..MACHINE }, None),
        (Resource::Bandwidth, Machine { link_bytes_per_s: Some(1e6), ..MACHINE }, None),
    ] {
        let advice = advise(&Question { machine, concurrency, ..question });
        let bottleneck = advice.bottleneck().unwrap();
        assert_eq!(bottleneck.resource, resource, "{advice:#?}");
        assert!(
            f64::from(advice.workers * advice.concurrency) <= bottleneck.targets_per_s.unwrap() * 1.3 + 2.0
        );
        assert_eq!(advice.predicted_s, None);
    }
}

#[test]
fn nothing_is_measured_where_everything_fails() {
    let mut few = phase(PAGES, 3, 3);
    few.attempts.iter_mut().for_each(|one| one.ok = false);
    assert_eq!(Measured::of(&few, &Phase::default(), &AROUND), None);
    few.attempts[0].ok = true;
    let measured = Measured::of(&few, &Phase::default(), &AROUND).unwrap();
    assert_eq!((measured.targets, measured.failed), (3, 2));
}

#[test]
fn the_cpu_time_of_files_follows_their_sizes() {
    // Each takes 0.1 ms, and 1 ms per 100 kB. A hundredth of the inputs are large, but none of this sample is.
    let of_sizes = |sizes: &[u64]| {
        let mut phase = phase(PAGES, 200, 2);
        for (one, bytes) in phase.attempts.iter_mut().zip(sizes.iter().cycle()) {
            (one.bytes, one.cpu_us) = (*bytes, 100 + bytes / 100);
        }
        let cpu = Duration::from_micros(phase.attempts.iter().map(|one| one.cpu_us).sum());
        Phase { cpu, ..phase }
    };
    for (sizes, mean_bytes, cpu_ms) in [
        (vec![1_000, 5_000, 20_000], Some(60_000.0), 0.7),
        (vec![1_000, 5_000, 2_000_000], Some(60_000.0), 0.7),
        (vec![30_000], Some(60_000.0), 0.4),
        (vec![10_000, 30_000], None, 0.3),
    ] {
        let around = Around { hosts: 0, beside: false, mean_bytes, ..AROUND };
        let measured = Measured::of(&of_sizes(&sizes), &of_sizes(&sizes), &around).unwrap();
        assert!((measured.cpu_s * 1e3 / cpu_ms - 1.0).abs() < 0.05, "{sizes:?}: {measured:?}");
    }
}

#[test]
fn time_for_which_a_target_waited_for_a_core_is_no_cpu_time() {
    // Each computes 0.4 ms, and a third of the time another process has its core.
    let preempted = |targets, in_flight| {
        let mut phase = phase(PAGES, targets, in_flight);
        phase.attempts.iter_mut().for_each(|one| one.cpu_us = 600);
        phase
    };
    let measured = Measured::of(&preempted(18, 8), &preempted(182, 16), &AROUND).unwrap();
    assert!((measured.cpu_s * 1e3 / 0.4 - 1.0).abs() < 0.05, "{measured:?}");
}

#[test]
fn phases_of_one_size_are_not_subtracted() {
    // The first one took longer, for another reason.
    let few = phase(PAGES, 200, 2);
    let few = Phase { cpu: few.cpu * 2, ..few };
    let measured = Measured::of(&few, &phase(PAGES, 250, 2), &AROUND).unwrap();
    // The page, and its request.
    assert!((measured.cpu_s * 1e3 / 0.445 - 1.0).abs() < 0.05, "{measured:?}");
}

#[test]
fn connections_are_opened_once_and_not_for_each_target() {
    let measured = measured(PAGES);
    assert!((measured.cpu_s * 1e3 / 0.4 - 1.0).abs() < 0.05, "{measured:?}");
    let hosts = [host(500, None, 0.0)];
    let advice = advise(&question(&measured, &hosts));
    assert_eq!((advice.workers, advice.concurrency), (2, 250), "{advice:#?}");
    // Starting, connecting, computing, and waiting for the last one.
    let seconds = 0.061 + 0.025 + 0.1 + 0.2;
    assert!((advice.predicted_s.unwrap() / seconds - 1.0).abs() < 0.05, "{advice:#?}");
}

#[test]
fn a_page_of_a_few_bytes_takes_at_least_a_request() {
    // What the sample computed is too little for the clocks of processes.
    let tiny = Pages { latency_ms: 0.1, cpu_ms: 0.002, capacity: 8.0, ..PAGES };
    let few = phase(tiny, 25, 8);
    let many = Phase { cpu: few.cpu, ..phase(tiny, 175, 54) };
    let measured = Measured::of(&few, &many, &AROUND).unwrap();
    let advice = advise(&question(&measured, &[host(30_000, None, 0.0)]));
    assert_eq!(advice.bottleneck().map(|bound| bound.resource), Some(Resource::Cpu), "{advice:#?}");
    assert_eq!((advice.mode, advice.workers), (Mode::Both, 2), "{advice:#?}");
}

#[test]
fn a_sample_of_a_few_milliseconds_does_not_blame_the_servers() {
    // They seem to do no more than one at a time, but connecting explains half of that.
    let tiny = Pages { latency_ms: 0.1, cpu_ms: 0.02, capacity: 1.0, ..PAGES };
    let measured = Measured::of(&phase(tiny, 18, 8), &phase(tiny, 182, 83), &AROUND).unwrap();
    let advice = advise(&question(&measured, &[host(30_000, None, 0.0)]));
    assert_eq!(measured.saturated, Saturated::Unclear);
    assert_eq!(advice.bottleneck().map(|bound| bound.resource), Some(Resource::Cpu), "{advice:#?}");
    assert!(advice.why.contains("too short to see a limit"), "{}", advice.why);
    let hosts = advice.bounds.iter().find(|bound| bound.resource == Resource::Hosts).unwrap();
    assert!(hosts.how.contains("too short to see their limit"), "{}", hosts.how);
}

#[test]
fn the_last_file_is_waited_for() {
    let of_sizes = |count: u32| {
        let mut phase = phase(PAGES, count, 2);
        for (one, bytes) in phase.attempts.iter_mut().zip([10_000, 20_000, 60_000].iter().cycle()) {
            (one.bytes, one.cpu_us) = (*bytes, 100 + bytes / 100);
        }
        let cpu = Duration::from_micros(phase.attempts.iter().map(|one| one.cpu_us).sum());
        Phase { cpu, ..phase }
    };
    for (sizes, ms) in [
        (vec![10_000; 300], 150.0 * 0.2),
        // 50 ms of small ones on each of two cores, and one of 100 ms: at the beginning, and at the end.
        ([vec![10_000_000], vec![10_000; 500]].concat(), 100.0),
        ([vec![10_000; 500], vec![10_000_000]].concat(), 150.0),
    ] {
        let mean_bytes = Some(sizes.iter().sum::<u64>() as f64 / sizes.len() as f64);
        let around = Around { hosts: 0, beside: false, mean_bytes, ..AROUND };
        let measured = Measured::of(&of_sizes(150), &of_sizes(1_500), &around).unwrap();
        let question = Question {
            fetches: false,
            hosts: &[],
            inputs: Some(sizes.len() as u64),
            sizes: &sizes,
            ..question(&measured, &[])
        };
        let advice = advise(&question);
        let predicted_ms = (advice.predicted_s.unwrap() - measured.overhead_s) * 1e3;
        assert!((predicted_ms / ms - 1.0).abs() < 0.05, "{predicted_ms} ms, not {ms}: {advice:#?}");
    }
}

#[test]
fn two_files_begin_at_the_same_time() {
    let cached = Pages { latency_ms: 1_000.0, cpu_ms: 1_000.0, ..PAGES };
    let around = Around { hosts: 0, beside: false, ..AROUND };
    let few = Phase { disk_bytes: 40_000, ..phase(Pages { latency_ms: 2_500.0, ..cached }, 2, 2) };
    let measured = Measured::of(&few, &phase(cached, 2, 2), &around).unwrap();
    let advice = advise(&Question { fetches: false, inputs: Some(2), ..question(&measured, &[]) });
    assert_eq!(advice.bottleneck().unwrap().resource, Resource::Disk, "{advice:#?}");
    assert!((advice.predicted_s.unwrap() / 2.56 - 1.0).abs() < 0.02, "{advice:#?}");
}

#[test]
fn places_for_all_inputs_are_one_round() {
    // 10,000 connections take half a second, in which the first answers are awaited. There are 20,000 descriptors.
    let tiny = Pages { latency_ms: 1_000.0, cpu_ms: 0.08, ..PAGES };
    let advice = ask(tiny, &[host(20, None, 0.0); 500]);
    assert_eq!((advice.workers, advice.concurrency), (2, 5_000), "{advice:#?}");
    let predicted_s = advice.predicted_s.unwrap();
    assert!((1.9..2.2).contains(&predicted_s), "{predicted_s}: {advice:#?}");
}

#[test]
fn a_server_that_refuses_sets_the_pace() {
    // It takes 20 a second. The sample starts with a burst that is mostly refused, and finds that pace in the end.
    let mut many = phase(PAGES, 90, 45);
    for (n, one) in many.attempts.iter_mut().enumerate() {
        one.refused = n % 2 == 1 || n > 3 && n < 40;
        (one.ok, one.elapsed_us) = (!one.refused, if one.refused { 1_000 } else { 100_000 });
        one.started_us = if n < 40 { 0 } else { (n as u64 - 40) * 25_000 };
    }
    let measured = Measured::of(&phase(PAGES, 18, 8), &many, &AROUND).unwrap();
    let hosts = [host(300, None, 0.0)];
    let advice = advise(&Question {
        fetches: true,
        hosts: &hosts,
        inputs: Some(300),
        sizes: &[],
        machine: MACHINE,
        concurrency: None,
        measured: &measured,
    });
    assert_eq!(advice.bottleneck().unwrap().resource, Resource::Delays, "{advice:#?}");
    assert!((advice.predicted_s.unwrap() / 15.2 - 1.0).abs() < 0.05, "{advice:#?}");
    assert!(advice.workers * advice.concurrency <= 8, "{advice:#?}");
}

#[test]
fn one_host_with_a_long_delay_among_others_is_waited_for() {
    let hosts = [host(100, None, 0.0), host(50, None, 2.0)];
    let advice = ask(PAGES, &hosts);
    assert_eq!(advice.bottleneck().unwrap().resource, Resource::Delays, "{advice:#?}");
    assert!((advice.predicted_s.unwrap() / 98.0 - 1.0).abs() < 0.02, "{advice:#?}");
}

#[test]
fn nearby_pages_are_probed_with_few_in_flight() {
    let few = |latency_ms| phase(Pages { latency_ms, cpu_ms: 0.5, ..PAGES }, 25, 8);
    for (latency_ms, in_flight) in [(0.5, 16), (10.0, 154), (1_000.0, 15_385)] {
        assert!(few(latency_ms).worth_in_flight(2).abs_diff(in_flight) <= 1, "{latency_ms} ms");
    }
}
