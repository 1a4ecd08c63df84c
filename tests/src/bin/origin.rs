//! A web server on loopback that behaves well, slowly, wrongly or maliciously on request; see [`e2e::origin`].

fn main() -> std::process::ExitCode {
    e2e::origin::run()
}
