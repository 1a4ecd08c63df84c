//! The e2e package's own build of `worker`, so that tests find it beside them. It has a hook that does what
//! poisoned inputs ask for.

fn main() -> std::process::ExitCode {
    worker::run_with(Some(e2e::poison::apply))
}
