//! The origin's command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

use super::robots::RobotsKind;

/// A web server on loopback that behaves well, slowly, wrongly or maliciously on request
#[derive(Debug, Parser)]
#[command(name = "origin")]
pub(super) struct Options {
    /// Listen on this address; port 0 takes a free port, which is printed
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    pub(super) listen: SocketAddr,

    /// Number of pages under /site/
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub(super) pages: u32,

    /// Use TLS (HTTP/2 and HTTP/1.1) with a new certificate, and write its CA certificate to this file
    #[arg(long, value_name = "FILE")]
    pub(super) tls_ca: Option<PathBuf>,

    /// With --tls-ca: use the CA's own certificate for the server, as appliances and home servers do
    #[arg(long, requires = "tls_ca")]
    pub(super) tls_serve_ca: bool,

    /// What /robots.txt is
    #[arg(long, value_enum, default_value_t = RobotsKind::Missing, value_name = "KIND")]
    pub(super) robots: RobotsKind,

    /// Exit when standard input ends
    #[arg(long)]
    pub(super) exit_with_stdin: bool,
}
