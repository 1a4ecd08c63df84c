//! Inputs that kill a worker, as hostile bytes may do in a parser.
//!
//! The test build of the worker calls [`apply`] where a parser would run, after the black box has named the
//! input. An input that contains `poison=KIND` gets that failure; with `early=KIND` it happens before the input's
//! first byte arrives.

use std::hint::black_box;
use std::sync::Mutex;

use shared::black_box::Phase;

/// The failures that an input can ask for, by the word after `poison=`. `leak` is another one, which does not
/// kill.
pub const KINDS: [&str; 5] = ["segfault", "abort", "overflow", "spin", "allocate"];

/// Bytes allocated at once.
const GULP_BYTES: usize = 16 << 20;

/// Makes this process fail as `input` asks, if it does.
pub fn apply(phase: Phase, input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let wanted = if phase == Phase::Fetch { "early=" } else { "poison=" };
    let Some((_, kind)) = text.split_once(wanted) else { return };
    match kind.split(['&', '.', '-']).next().unwrap_or_default() {
        "segfault" => segfault(),
        "abort" => std::process::abort(),
        "overflow" => {
            black_box(deeper(0));
        }
        "spin" => loop {
            std::hint::spin_loop();
        },
        "allocate" => allocate(),
        "leak" => leak(),
        _ => {}
    }
}

#[expect(unsafe_code, reason = "reading where nothing is mapped is the point")]
fn segfault() {
    let nowhere = black_box(std::ptr::dangling::<u64>());
    // SAFETY: none, on purpose: this is the crash that the supervisor must survive.
    black_box(unsafe { nowhere.read_volatile() });
}

#[expect(unconditional_recursion, reason = "running out of stack is the point")]
fn deeper(depth: u64) -> u64 {
    let ballast = black_box([depth; 64]);
    deeper(depth + 1) + ballast.iter().sum::<u64>()
}

fn allocate() {
    let mut held = Vec::new();
    loop {
        // Write to the memory, because the kernel only provides it then.
        held.push(black_box(vec![1_u8; GULP_BYTES]));
    }
}

/// Memory that a parser never frees.
static LEAKED: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

fn leak() {
    if let Ok(mut leaked) = LEAKED.lock() {
        leaked.push(black_box(vec![1; GULP_BYTES]));
    }
}
