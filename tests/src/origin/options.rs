//! The origin's command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

/// A web server on loopback that is good, slow, broken or hostile on request.
#[derive(Debug, Parser)]
#[command(name = "origin")]
pub(super) struct Options {
    /// Where to listen; port 0 takes a free one, which is printed.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    pub(super) listen: SocketAddr,

    /// Pages of the site under /site/.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub(super) pages: u32,

    /// Speak TLS (HTTP/2 and HTTP/1.1) with a fresh certificate, and write the CA that signed it here.
    #[arg(long, value_name = "FILE")]
    pub(super) tls_ca: Option<PathBuf>,

    /// With --tls-ca: serve with the CA's own certificate, as appliances and home servers do.
    #[arg(long, requires = "tls_ca")]
    pub(super) tls_serve_ca: bool,

    /// Exit when standard input ends.
    #[arg(long)]
    pub(super) exit_with_stdin: bool,
}
