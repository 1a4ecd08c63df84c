//! Flags for the network: limits per target, and limits that spare hosts.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum, ValueHint};
use shared::request_headers::HeaderScope;
use shared::select::blocked::BlockedIf;

use super::RequestFlags;
use super::proxies::ProxyFlags;
use crate::cli::amounts::{self, Delay, PerSecond};
use crate::cli::values::{self, Header, Limit};

/// Most requests in flight to one host: one address has no more ports.
const PER_HOST_MAX: u32 = 65_535;

#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(in crate::cli) struct NetworkFlags {
    /// Maximum time for one target, including redirects
    #[arg(
        long,
        value_name = "TIME",
        default_value = "30s",
        allow_negative_numbers = true,
        value_parser = amounts::duration,
    )]
    pub(in crate::cli) timeout: Duration,
    /// Maximum time for DNS resolution, connection and TLS handshake together
    #[arg(
        long,
        value_name = "TIME",
        default_value = "10s",
        allow_negative_numbers = true,
        value_parser = amounts::duration,
    )]
    pub(in crate::cli) connect_timeout: Duration,
    /// Retries after a temporary failure, from 0 to 100
    #[arg(
        long,
        value_name = "N",
        default_value = "2",
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(0..=100),
    )]
    pub(in crate::cli) retries: u32,
    /// Maximum redirects to follow for one target, from 0 to 100
    #[arg(
        long,
        value_name = "N",
        default_value = "10",
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(0..=100),
    )]
    pub(in crate::cli) redirects_max: u32,
    /// Addresses that may be connected to, including redirects
    #[arg(long, value_name = "POLICY", value_enum, default_value = "any")]
    pub(in crate::cli) address_policy: AddressPolicyFlag,
    /// Maximum concurrent requests per host, over all workers
    ///
    /// auto adapts to each host: from 4 to at most 16. auto:N sets another maximum. A loopback or private address has
    /// no limit if --mode or --concurrency is given; otherwise it gets from 64 to 16384.
    #[arg(
        long,
        value_name = "auto|auto:N|N|unlimited",
        default_value = "auto",
        allow_negative_numbers = true,
        value_parser = values::limit(PER_HOST_MAX),
    )]
    pub(in crate::cli) per_host: Limit,
    /// What counts as one host in the limits per host
    #[arg(long, value_name = "KEY", value_enum, default_value = "host")]
    pub(in crate::cli) per_host_key: PerHostKeyFlag,
    /// Maximum request rate per host, over all workers, such as 5/s, 300/m or 1000/h [default: no limit]
    #[arg(long, value_name = "N/s", allow_negative_numbers = true, value_parser = amounts::rate)]
    pub(in crate::cli) rate: Option<PerSecond>,
    /// Time between the starts of two requests to one host, such as 2s, or 1s..3s to draw it anew each time
    #[arg(
        long,
        value_name = "TIME|MIN..MAX",
        allow_negative_numbers = true,
        conflicts_with = "rate",
        value_parser = amounts::delay,
    )]
    pub(in crate::cli) delay: Option<Delay>,
    /// Count answers that match this rule as blocked (repeatable)
    ///
    /// RULE is status:403, header:NAME~REGEX, css:SELECTOR or body~REGEX. A blocked answer is an error of the kind
    /// blocked, is retried, and slows its host. By default, vendors (documented headers of Cloudflare and AWS WAF) and
    /// repeats (a host that answers different URLs with the same page) are on; rules are added to them. none turns
    /// them off, and vendors or repeats turns one of them on again.
    #[arg(long, value_name = "RULE", value_parser = values::blocked_if)]
    pub(in crate::cli) blocked_if: Vec<BlockedIf>,
    /// Whether to fetch what a site's robots.txt disallows
    ///
    /// obey reads the robots.txt of each site before its first page, and keeps its Crawl-delay. A URL that it disallows
    /// gets a record with the error "robots". So does one whose robots.txt cannot be fetched for five minutes. The
    /// group that applies is that of the product named by --user-agent.
    #[arg(long, value_name = "POLICY", value_enum, default_value = "ignore")]
    pub(in crate::cli) robots: RobotsFlag,
    /// Send this request header (repeatable)
    #[arg(short = 'H', long, value_name = "NAME: VALUE", value_parser = values::header)]
    pub(in crate::cli) header: Vec<Header>,
    /// Which servers get headers that may be secrets: origin, domain, any, or a list of origins
    ///
    /// All that --header gives may be a secret, such as Cookie, Authorization or X-Api-Key, apart from Accept,
    /// Accept-Charset, Accept-Encoding, Accept-Language, Cache-Control, DNT, Pragma, Priority, Save-Data, Sec-CH-*,
    /// Sec-Fetch-*, Sec-GPC, Upgrade-Insecure-Requests and User-Agent. Credentials within a URL go to the origin of
    /// that URL, whatever the scope. origin sends secrets to the origin (scheme, host and port) of each URL that the user names. A page or sitemap that a sitemap lists
    /// gets them if its origin is that of a sitemap named by --sitemap; a redirect, if it leads to such an origin. domain
    /// adds other hosts of the same registrable domain, but never sends from https to http. any sends them to every
    /// server. A list, such as https://a.example,https://b.example, sends them to these origins only. Host goes to the
    /// named origins in every case.
    #[arg(
        long,
        value_name = "SCOPE|ORIGIN,...",
        default_value = "origin",
        value_parser = values::header_scope,
    )]
    pub(in crate::cli) header_scope: HeaderScope,
    /// Whether to keep cookies and send them back [default: off, or on with --cookie-jar]
    ///
    /// on keeps them as a browser does, in one jar for all workers: by host, path, Secure and the public suffix list.
    /// A redirect both sets and gets them. At most 180 are kept for a registrable domain and 10000 in all, each of up
    /// to 4096 bytes; beyond that, the oldest goes. With a journal, they are kept beside it until the run is complete.
    #[arg(long, value_name = "on|off", value_enum)]
    pub(in crate::cli) cookies: Option<CookiesFlag>,
    /// Read cookies from this file, and keep them there (cookies.txt, as curl and wget have it)
    ///
    /// The file need not exist. It is written at the end of the run, and every 10 s while cookies change, so that only
    /// its owner can read it (mode 600).
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) cookie_jar: Option<PathBuf>,
    /// Value of the User-Agent header
    #[arg(
        short = 'A',
        long,
        value_name = "TEXT",
        default_value = concat!("muster/", env!("CARGO_PKG_VERSION")),
        value_parser = values::user_agent,
    )]
    pub(in crate::cli) user_agent: String,
    #[command(flatten)]
    pub(in crate::cli) request: RequestFlags,
    #[command(flatten)]
    pub(in crate::cli) proxies: ProxyFlags,
}

/// `--cookies`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum CookiesFlag {
    /// Keep cookies, and send them back
    On,
    /// Ignore cookies
    Off,
}

/// `--robots`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum RobotsFlag {
    /// Fetch only what robots.txt allows
    Obey,
    /// Do not read robots.txt
    Ignore,
}

/// `--per-host-key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum PerHostKeyFlag {
    /// A name or address, and its port
    Host,
    /// A registrable domain, such as example.co.uk, over all its subdomains and ports
    Domain,
    /// An address, over all names and ports; each name is looked up when the list is read
    Ip,
}

/// `--address-policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum AddressPolicyFlag {
    /// No private, loopback, link-local, metadata or reserved addresses
    Public,
    /// All addresses
    Any,
}
