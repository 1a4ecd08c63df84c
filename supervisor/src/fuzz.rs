//! Inputs that nobody would write, made from inputs that somebody would. Each fuzz test runs for a moment with the other
//! tests, and for `MUSTER_FUZZ_SECONDS` when `scripts/chaos` runs it.
//!
//! Invariant: a number makes an input, so that a finding is repeated with `MUSTER_FUZZ_FROM`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use fastrand::Rng;
use nix::time::{ClockId, clock_gettime};
use shared::clock;

/// How long a test runs with the others.
const USUAL: Duration = Duration::from_millis(300);

/// Most CPU time that one input may take. In a debug build, small inputs take milliseconds.
const SLOW: Duration = Duration::from_secs(10);

/// Longest input.
const BYTES_MAX: usize = 64 * 1024;

/// Bytes and numbers at which parsers and decoders decide.
const TOKENS: [&[u8]; 18] = [
    b"\"",
    b"\\",
    b",",
    b"\n",
    b"\r",
    b"{",
    b"[",
    b"]",
    b"}",
    b":",
    b"\0",
    b"\xff\xff\xff\xff",
    b"\x80\x80\x80\x80\x80",
    b"null",
    b"-1",
    b"18446744073709551615",
    b"\\ud800",
    b"\xef\xbb\xbf",
];

/// Calls `target` with one input after the other until the time is over.
pub(crate) fn fuzz(seeds: &[Vec<u8>], mut target: impl FnMut(&[u8])) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let lasts = number("MUSTER_FUZZ_SECONDS").map_or(USUAL, Duration::from_secs);
    let from =
        number("MUSTER_FUZZ_FROM").unwrap_or_else(|| if lasts > USUAL { fastrand::u64(..) } else { 0 });
    let until = clock::now() + lasts;
    let mut count = 0;
    while clock::now() < until {
        let seed = from.wrapping_add(count);
        let input = mutated(seeds, &mut Rng::with_seed(seed));
        let began = cpu_time();
        let done = catch_unwind(AssertUnwindSafe(|| target(&input)));
        let took = cpu_time().saturating_sub(began);
        assert!(
            done.is_ok() && took < SLOW,
            "after {took:?}, MUSTER_FUZZ_FROM={seed}: {}",
            String::from_utf8_lossy(&input)
        );
        count += 1;
    }
    println!("{count} inputs from {from} on");
}

/// CPU time of this process.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap().into()
}

fn mutated(seeds: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut input = rng.choice(seeds).cloned().unwrap_or_default();
    for _ in 0..rng.usize(1..8) {
        mutate(&mut input, seeds, rng);
        input.truncate(BYTES_MAX);
    }
    input
}

fn mutate(input: &mut Vec<u8>, seeds: &[Vec<u8>], rng: &mut Rng) {
    let at = rng.usize(0..=input.len());
    let to = rng.usize(at..=input.len());
    match rng.u8(0..8) {
        0 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << rng.u8(0..8)),
        1 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte = rng.u8(..)),
        2 => drop(input.drain(at..to)),
        3 => input.truncate(at),
        4 => drop(input.splice(at..at, rng.choice(TOKENS).unwrap_or_default().iter().copied())),
        5 => {
            let part = input[at..to].repeat(rng.usize(1..20));
            drop(input.splice(at..at, part));
        }
        6 => {
            let part = rng.choice(TOKENS).unwrap_or_default().repeat(rng.usize(1..2000));
            drop(input.splice(at..at, part));
        }
        _ => {
            let other = rng.choice(seeds).cloned().unwrap_or_default();
            let from = rng.usize(0..=other.len());
            drop(input.splice(at..to, other[from..].iter().copied()));
        }
    }
}
