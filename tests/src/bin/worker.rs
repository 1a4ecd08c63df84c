//! The e2e package's own build of `worker`, so that tests find it beside them. It has a hook that does what
//! poisoned inputs and those of an attacker ask for.

use shared::black_box::Phase;

fn main() -> std::process::ExitCode {
    worker::run_with(Some(misbehave))
}

fn misbehave(phase: Phase, input: &[u8]) {
    e2e::poison::apply(phase, input);
    if phase == Phase::Extract {
        e2e::attack::apply(input);
    }
}
