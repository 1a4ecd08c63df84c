//! See [`worker::run`].

fn main() -> std::process::ExitCode {
    worker::run()
}
