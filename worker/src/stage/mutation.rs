//! Mutated inputs, for tests that look for panics and disagreements: a fuzzer that needs no tool and no other
//! compiler, because it knows nothing about coverage. Its tests are called `fuzz_…`.
//!
//! Each lasts for a moment, or for `MUSTER_FUZZ_SECONDS` (`scripts/chaos fuzz`). A finding names its round, and
//! `MUSTER_FUZZ_ROUND` begins there.

use std::time::Duration;

use shared::clock;

/// How long a test lasts in every run.
const MOMENT: Duration = Duration::from_millis(300);

/// Maximum size of an input.
const BYTES_MAX: usize = 64 * 1024;

/// Pieces that mean something to a parser of heads, chunks or compressed data.
const WORDS: [&[u8]; 24] = [
    b"\r\n",
    b"\n",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b": ",
    b";",
    b"\0",
    b" ",
    b"\t",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 103 Early Hints\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 18446744073709551615\r\n",
    b"Content-Encoding: gzip, br\r\n",
    b"Connection: close\r\n",
    b"ffffffffffffffff",
    b"00000000000000000000",
    b"\x1f\x8b\x08\0\0\0\0\0\0\x03",
    b"\0\0\0\xff\xff",
    b"\x28\xb5\x2f\xfd",
    b"\x50\x2a\x4d\x18",
    b"\xff\xff\xff\xff",
    b"\x06",
];

/// A generator of the splitmix64 kind.
pub(crate) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }
}

/// Names the round in which a check fails.
struct Round(u64);

impl Drop for Round {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("MUSTER_FUZZ_ROUND={} repeats this", self.0);
        }
    }
}

/// Calls `check` with every seed, then with one mutation after the other.
pub(crate) fn mutated(seeds: &[Vec<u8>], mut check: impl FnMut(&[u8], &mut Random)) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seconds = number("MUSTER_FUZZ_SECONDS");
    let end = clock::now() + seconds.map_or(MOMENT, Duration::from_secs);
    for seed in seeds {
        check(seed, &mut Random(0));
    }
    // A long run goes where none went before.
    let elsewhere = seconds.map(|_| clock::monotonic_us() << 20);
    let first = number("MUSTER_FUZZ_ROUND").or(elsewhere).unwrap_or(0);
    let mut rounds = 0;
    for round in (first..).take_while(|_| clock::now() < end) {
        let named = Round(round);
        let mut random = Random(round.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let input = mutation(seeds, &mut random);
        check(&input, &mut random);
        drop(named);
        rounds += 1;
    }
    println!("{rounds} inputs from {first} on");
}

fn mutation(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = seeds[random.below(seeds.len())].clone();
    for _ in 0..1 + random.below(6) {
        let at = random.below(input.len() + 1);
        let end = (at + random.below(40)).min(input.len());
        match random.below(8) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = u8::try_from(random.below(256)).unwrap(),
            2 => drop(input.drain(at..end)),
            3 => input.truncate(at),
            4 => {
                let other = &seeds[random.below(seeds.len())];
                input.truncate(at);
                input.extend_from_slice(&other[random.below(other.len() + 1)..]);
            }
            5 => {
                let piece = input[at..end].repeat(random.below(300));
                drop(input.splice(at..at, piece));
            }
            _ => drop(input.splice(at..at, WORDS[random.below(WORDS.len())].iter().copied())),
        }
        input.truncate(BYTES_MAX);
    }
    input
}
