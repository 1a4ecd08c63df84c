//! The e2e package's own build of `worker`, so that tests find it beside them.

fn main() -> std::process::ExitCode {
    worker::run()
}
