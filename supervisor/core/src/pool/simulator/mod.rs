//! Thousands of random runs of the pool in virtual time, each decided by its
//! seed: workers that crash, hang, lie and linger, targets that kill them, users
//! who lose patience. An oracle keeps its own books and stops at the first contradiction.
//!
//! ```sh
//! cargo test -p supervisor simulator                                # 7,500 seeds
//! MUSTER_SIM_SEEDS=1000000 cargo test -p supervisor simulator       # more of them
//! MUSTER_SIM_SEED=4711 cargo test -p supervisor simulator -- --nocapture   # one, with its trace
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

/// Seeds of each kind in every test run: three seconds of one core a kind without optimisation.
const SEEDS: u64 = 2_500;

/// From this seed on, workers are also recycled, rolled, added and taken away. Lower seeds are the
/// world without that, so that the seeds which were kept still show what they were kept for.
const WITH_RECYCLING: u64 = 1 << 32;

/// From this seed on, workers also have a program that they pass their targets on to.
const WITH_PROGRAM: u64 = 2 << 32;

/// What went wrong with this seed, if anything did.
fn run(seed: u64, mutant: Option<Mutant>) -> Result<(), String> {
    catch_unwind(|| World::new(seed, mutant, false).run()).map_err(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        said.or_else(|| panic.downcast_ref::<&str>().map(|&said| said.to_owned())).unwrap_or_default()
    })
}

/// Runs this seed again and gives its last events.
fn trace(seed: u64, mutant: Option<Mutant>) -> String {
    let mut world = World::new(seed, mutant, true);
    // The failure is known; this time only the way to it is of interest.
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

/// So many of each kind, in turn.
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

/// Each way to be wrong is found within this many seeds of each kind.
const SEEDS_PER_MUTANT: u64 = 400;

#[test]
fn every_mutant_is_caught() {
    let table = [
        Mutant::NoGenerationCheck,
        Mutant::RequeueBeforeReap,
        Mutant::RequeueBeforeEof,
        Mutant::RequeueBeforeDeath,
        Mutant::BlameAll,
        Mutant::BlameNobody,
        Mutant::OwnKillBlames,
        Mutant::BlameWhatRunsForWhatIsLate,
        Mutant::NeverQuarantine,
        Mutant::ForgetRetry,
        Mutant::KeepPermit,
        Mutant::NoCreditCheck,
        Mutant::NoHandshakeDeadline,
        Mutant::NeverSterner,
        Mutant::WaitForEofForEver,
        Mutant::NoHangCheck,
        Mutant::CallOurSlownessAHang,
        Mutant::IgnoreStop,
        Mutant::NoBackoff,
        Mutant::NeverGiveUp,
        Mutant::SpinWithoutRoom,
        Mutant::DrainBeforeReady,
        Mutant::TwoRecyclesAtOnce,
        Mutant::LoseWorkAtRecycle,
        Mutant::BlameTheRecycled,
        Mutant::CountRecycleAsRestart,
        Mutant::CallOffEndsTheOld,
        Mutant::ShrinkToNone,
    ];
    for mutant in table {
        let caught = seeds(SEEDS_PER_MUTANT).find_map(|seed| Some((seed, run(seed, Some(mutant)).err()?)));
        let (seed, why) =
            caught.unwrap_or_else(|| panic!("{mutant:?} gets through {SEEDS_PER_MUTANT} seeds"));
        println!("{mutant:?}: seed {seed}: {why}");
    }
}

/// Seeds that showed a bug, each with the bug it showed.
macro_rules! regressions {
    ($($(#[doc = $what:literal])* $name:ident: $seed:literal;)*) => {
        $($(#[doc = $what])* #[test] fn $name() { check($seed); })*
    };
}

regressions! {
    /// The clock jumped while a worker started and another worked: both were ended for it.
    regression_seed_0: 0;
    /// The frontier was due and no worker had room: the loop spun until one had.
    regression_seed_1: 1;
    /// A worker's output was held open by somebody else when the run was drained: it never ended.
    regression_seed_11: 11;
    /// A worker said that it was ready before it was told the job, and was given targets.
    regression_seed_12: 12;
    /// A worker crashed in a stage, its exit was reported late, and our SIGKILL was taken for the cause.
    regression_seed_13: 13;
    /// Inputs were on their way to being set aside, and the pool gave up because nothing else got done.
    regression_seed_45: 45;
    /// The same channel without an end, in the middle of a run.
    regression_seed_67: 67;
    /// The clock jumped while a good target's stage was running, and the target was set aside.
    regression_seed_79: 79;
    /// A full slice and the first target of the next one were both sent on the last of the credit.
    regression_seed_188: 188;
    /// The deadline of a target grew with all that had waited in front of it.
    regression_seed_2754: 2754;
}
