//! Flags for proxies.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use shared::proxy::Proxy;

#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(in crate::cli) struct ProxyFlags {
    /// Send requests through this proxy (repeatable)
    ///
    /// URL is http://, https://, socks5:// or socks5h://, with host, port and credentials, such as
    /// socks5h://user:password@host:1080. Without a scheme it is http://. With several proxies, each request goes
    /// through the one with less to do of two drawn at random. A proxy that fails rests, and its targets go through
    /// another one at no attempt's cost. The limits per host hold over all proxies. On the command line, the variables
    /// HTTP_PROXY, HTTPS_PROXY and ALL_PROXY name proxies if no flag does, and NO_PROXY names the hosts that are reached
    /// directly.
    #[arg(long, value_name = "URL")]
    pub(in crate::cli) proxy: Vec<Proxy>,
    /// Also use the proxies in this file: one URL a line, # for comments
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) proxy_file: Option<PathBuf>,
    /// Use the proxies in this file only where all before it fail (repeatable, cheapest first)
    ///
    /// The proxies of --proxy and --proxy-file come before the first tier.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) proxy_tier: Vec<PathBuf>,
    /// What keeps its proxy as long as the proxy works
    #[arg(long, value_name = "WHAT", value_enum, default_value = "none")]
    pub(in crate::cli) proxy_sticky: StickyFlag,
}

/// `--proxy-sticky`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum StickyFlag {
    /// Each request may go through another proxy
    None,
    /// All requests to a host go through one proxy
    Host,
    /// All requests of a session go through one proxy
    Session,
}
