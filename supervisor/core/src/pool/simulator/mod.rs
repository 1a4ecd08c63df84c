//! Thousands of random runs of the pool in virtual time, each determined by its seed: workers that crash, hang,
//! lie and linger, targets that kill them, users who lose patience. An oracle keeps its own account and stops at
//! the first contradiction.
//!
//! ```sh
//! cargo test -p supervisor-core simulator                                # 7,500 seeds
//! MUSTER_SIM_SEEDS=1000000 cargo test -p supervisor-core simulator       # more of them
//! MUSTER_SIM_SEED=4711 cargo test -p supervisor-core simulator -- --nocapture   # one, with its trace
//! ```

mod blame;
mod deafness;
mod oracle;
mod process;
mod scenario;
mod seats;
mod worker;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use self::world::World;
use super::mutant::Mutant;

/// Seeds of each kind in every test run: three seconds of one core per kind without optimisation.
const SEEDS: u64 = 2_500;

/// From this seed on, workers are also recycled, rolled, added and removed. Lower seeds run without
/// that, so that the recorded seeds still show the bugs they were recorded for.
const WITH_RECYCLING: u64 = 1 << 32;

/// From this seed on, workers also pass their targets to a program.
const WITH_PROGRAM: u64 = 2 << 32;

/// Runs this seed, and returns what went wrong.
fn run(seed: u64, mutant: Option<Mutant>) -> Result<(), String> {
    catch_unwind(|| World::new(seed, mutant, false).run()).map_err(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        said.or_else(|| panic.downcast_ref::<&str>().map(|&said| said.to_owned())).unwrap_or_default()
    })
}

/// Runs this seed again and returns its last events.
fn trace(seed: u64, mutant: Option<Mutant>) -> String {
    let mut world = World::new(seed, mutant, true);
    // The failure is known; this time only the events before it matter.
    let _ = catch_unwind(AssertUnwindSafe(|| world.run()));
    world.take_trace()
}

fn check(seed: u64) {
    if let Err(why) = run(seed, None) {
        panic!("seed {seed}: {why}\nthe last events:\n{}", trace(seed, None));
    }
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

/// Returns `count` seeds of each kind, in turn.
fn seeds(count: u64) -> impl Iterator<Item = u64> {
    (0..count).flat_map(|seed| [seed, WITH_RECYCLING + seed, WITH_PROGRAM + seed])
}

#[test]
fn random_runs_keep_every_promise() {
    if let Some(seed) = from_environment("MUSTER_SIM_SEED") {
        println!("{}", trace(seed, None));
        return check(seed);
    }
    let count = from_environment("MUSTER_SIM_SEEDS").unwrap_or(SEEDS);
    seeds(count).for_each(check);
}

/// Each mutant is found within this many seeds of each kind.
const SEEDS_PER_MUTANT: u64 = 400;

#[test]
fn every_mutant_is_caught() {
    let table = [
        Mutant::NoGenerationCheck,
        Mutant::RequeueBeforeReap,
        Mutant::RequeueBeforeEof,
        Mutant::RequeueBeforeDeath,
        Mutant::BlameAll,
        Mutant::BlameNone,
        Mutant::OwnKillBlames,
        Mutant::BlameRunningForOverdue,
        Mutant::NeverQuarantine,
        Mutant::ForgetRetry,
        Mutant::KeepPermit,
        Mutant::NoCreditCheck,
        Mutant::NoHandshakeDeadline,
        Mutant::NeverEscalate,
        Mutant::WaitForEofForever,
        Mutant::NoHangCheck,
        Mutant::BlameOwnDelay,
        Mutant::IgnoreStop,
        Mutant::NoBackoff,
        Mutant::NeverGiveUp,
        Mutant::SpinWithoutRoom,
        Mutant::DrainBeforeReady,
        Mutant::TwoRecyclesAtOnce,
        Mutant::LoseWorkAtRecycle,
        Mutant::BlameTheRecycled,
        Mutant::CountRecycleAsRestart,
        Mutant::FailedReplacementEndsOld,
        Mutant::ShrinkToNone,
    ];
    for mutant in table {
        let caught = seeds(SEEDS_PER_MUTANT).find_map(|seed| Some((seed, run(seed, Some(mutant)).err()?)));
        let (seed, why) = caught.unwrap_or_else(|| panic!("{mutant:?} passes {SEEDS_PER_MUTANT} seeds"));
        println!("{mutant:?}: seed {seed}: {why}");
    }
}

/// Seeds that showed a bug, each with a description of it.
macro_rules! regressions {
    ($($(#[doc = $what:literal])* $name:ident: $seed:literal;)*) => {
        $($(#[doc = $what])* #[test] fn $name() { check($seed); })*
    };
}

regressions! {
    /// The clock jumped while one worker started and another worked. Both were ended for it.
    regression_seed_0: 0;
    /// The frontier was due and no worker had room. The loop spun until one had.
    regression_seed_1: 1;
    /// Another process held a worker's output open when the run was drained. The run never ended.
    regression_seed_11: 11;
    /// A worker reported ready before it was sent the job, and was given targets.
    regression_seed_12: 12;
    /// A worker crashed in a stage, its exit was reported late, and our SIGKILL was taken for the
    /// cause.
    regression_seed_13: 13;
    /// Inputs were about to be quarantined, and the pool gave up because nothing else got done.
    regression_seed_45: 45;
    /// A channel was held open in the middle of a run.
    regression_seed_67: 67;
    /// The clock jumped while a good target's stage was running, and the target was quarantined.
    regression_seed_79: 79;
    /// A full slice and the first target of the next one were both sent on the last of the credit.
    regression_seed_188: 188;
    /// The deadline of a target grew with all targets that had waited in front of it.
    regression_seed_2754: 2754;
}
