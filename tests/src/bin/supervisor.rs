//! The e2e package's own build of `supervisor`, so that tests find it beside them.

fn main() -> std::process::ExitCode {
    supervisor::run()
}
