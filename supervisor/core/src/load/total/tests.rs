//! A machine whose throughput is known, and what the controller makes of it.

use super::*;

/// A machine: each target waits, and takes some of a core.
struct Machine {
    now: Instant,
    total: Total,
    workers: u32,
    cores: u32,
    wait_s: f64,
    cpu_s: f64,
    /// Throughput at which something else is the bottleneck.
    most_per_s: f64,
    /// Parts of targets that ended but were not yet counted.
    rest: f64,
    busy: f64,
    in_flight_most: u32,
}

impl Machine {
    fn new(room: Room, cores: u32, wait_s: f64, cpu_s: f64, most_per_s: f64) -> Self {
        let now = wire::clock::now();
        let (total, workers) = (Total::new(room, 1, now), 1);
        Self {
            now,
            total,
            workers,
            cores,
            wait_s,
            cpu_s,
            most_per_s,
            rest: 0.0,
            busy: 0.0,
            in_flight_most: 0,
        }
    }

    fn per_s(&self) -> f64 {
        let in_flight = f64::from(self.total.in_flight_max());
        let by_cpu = f64::from(self.workers.min(self.cores)) / self.cpu_s;
        (in_flight / (self.wait_s + self.cpu_s)).min(by_cpu).min(self.most_per_s)
    }

    /// Lets this time pass, with a tick each tenth of a second.
    fn runs(&mut self, seconds: f64) {
        for step in 0..(seconds * 1000.0) as u32 {
            self.now += Duration::from_millis(1);
            let per_s = self.per_s();
            self.busy = per_s * self.cpu_s / f64::from(self.workers);
            self.rest += per_s / 1000.0;
            let in_flight = self.total.in_flight_max();
            self.in_flight_most = self.in_flight_most.max(in_flight);
            while self.rest >= 1.0 {
                self.rest -= 1.0;
                self.total.on_end(self.now, in_flight, false);
            }
            if step % 100 == 0 {
                let tick = Tick {
                    workers: self.workers,
                    busy: self.busy,
                    waiting: 1_000_000,
                    in_flight,
                    awake: in_flight,
                };
                self.workers = self.total.on_tick(self.now, tick);
            }
        }
    }
}

fn room(in_flight_max: u32, workers_max: u32) -> Room {
    Room { in_flight_max, bound: Bound::Descriptors, workers_max }
}

#[test]
fn waits_grow_to_the_bound_in_one_process() {
    let mut machine = Machine::new(room(8000, 4), 4, 1.0, 1e-5, f64::INFINITY);
    machine.runs(12.0);
    assert_eq!((machine.total.in_flight_max(), machine.workers), (8000, 1));
    assert_eq!(
        machine.total.why(),
        "up to 8000 targets in flight, bounded by the limit of open files; one event loop, busy for 8 % of a core"
    );
}

#[test]
fn computing_adds_workers_and_few_targets_in_flight() {
    for workers_max in [1, 2, 8, 64] {
        let mut machine = Machine::new(room(100_000, workers_max), workers_max, 0.001, 0.001, f64::INFINITY);
        machine.runs(8.0);
        assert_eq!(machine.workers, workers_max);
        // As many for each worker as the first began with, and one doubling that is tried.
        let most = 2 * START * workers_max.max(2);
        assert!(machine.in_flight_most <= most, "{workers_max}: {}", machine.in_flight_most);
        let why = machine.total.why();
        assert!(why.contains("twice as many added less than 10 %"), "{why}");
    }
}

#[test]
fn workers_that_do_not_help_leave_again() {
    // The servers, on the same machine, give no more than this.
    let mut machine = Machine::new(room(1000, 8), 8, 0.001, 0.001, 990.0);
    machine.runs(1.5);
    assert_eq!(machine.workers, 1, "they were tried");
    machine.runs(10.0);
    assert_eq!(machine.workers, 1);
    assert_eq!(machine.total.workers_most, 2);
}

#[test]
fn a_knee_of_the_network_is_found() {
    let mut machine = Machine::new(room(100_000, 8), 8, 1.0, 1e-5, 3_000.0);
    machine.runs(60.0);
    let limit = machine.total.in_flight_max();
    assert!((2_048..=8_192).contains(&limit), "{limit}");
}

#[test]
fn a_shortage_shrinks_it_and_passes() {
    let mut machine = Machine::new(room(8000, 1), 1, 1.0, 1e-5, f64::INFINITY);
    machine.runs(12.0);
    for _ in 0..10 {
        machine.total.on_short(machine.now, Bound::Shortage, 5_000);
    }
    assert_eq!(machine.total.in_flight_max(), 4_000, "once, however many workers report it");
    assert!(machine.total.why().contains("bounded by a shortage"));
    machine.runs(4.0);
    assert_eq!(machine.total.in_flight_max(), 4_000);
    machine.runs(20.0);
    assert_eq!(machine.total.in_flight_max(), 8_000, "it is over");
}

#[test]
fn less_room_holds_at_once() {
    let mut machine = Machine::new(room(8000, 8), 8, 0.001, 0.001, f64::INFINITY);
    machine.runs(8.0);
    machine.total.on_room(Room { in_flight_max: 10, bound: Bound::Told, workers_max: 2 });
    assert_eq!(machine.total.in_flight_max(), 10);
    machine.runs(0.2);
    assert_eq!(machine.workers, 2);
}

#[test]
fn nobody_is_hired_for_the_last_targets() {
    let mut machine = Machine::new(room(8000, 8), 8, 0.001, 0.001, f64::INFINITY);
    let tick = Tick { workers: 1, busy: 1.0, waiting: 10, in_flight: 8, awake: 8 };
    for _ in 0..20 {
        machine.now += Duration::from_millis(100);
        (0..100).for_each(|_| machine.total.on_end(machine.now, 8, false));
        assert_eq!(machine.total.on_tick(machine.now, tick), 1);
    }
}
