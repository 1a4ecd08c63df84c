//! See [`supervisor::run`].

fn main() -> std::process::ExitCode {
    supervisor::run()
}
