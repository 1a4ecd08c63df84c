//! A web server on loopback that is good, slow, broken or hostile on request; see [`e2e::origin`].

fn main() -> std::process::ExitCode {
    e2e::origin::run()
}
