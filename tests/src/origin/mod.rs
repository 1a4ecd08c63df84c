//! A web server that behaves well, slowly, wrongly or maliciously on request.
//!
//! [`site`] is a deterministic web site. Every other endpoint does one thing that a fetcher must survive, named by
//! its path. Nothing here is random: the same request gets the same bytes, so that two runs can be compared record
//! by record.
//!
//! ```text
//! origin --pages 10000        prints "listening on http://127.0.0.1:PORT" when ready
//! ```

mod answers;
mod bans;
pub mod blobs;
mod bodies;
mod broken;
pub mod charsets;
mod echo;
mod encodings;
mod feeds;
mod hollow;
pub mod linked;
mod listener;
mod logins;
mod options;
mod pages;
pub mod prose;
mod redirects;
mod robots;
mod sessions;
pub mod shop;
pub mod site;
mod sitemaps;
mod stats;
mod versions;
mod wire;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::http::{HeaderMap, Uri};
use axum::routing::get;
use clap::Parser as _;

use self::encodings::Bombs;
use self::listener::Incoming;
use self::options::Options;
use self::site::Site;
use self::stats::Stats;
use self::wire::Sabotage;

/// State shared by all handlers.
#[derive(Debug)]
struct Origin {
    scheme: &'static str,
    site: Site,
    stats: Stats,
    bombs: Bombs,
    flaky: answers::Flaky,
    broken: blobs::Broken,
    visits: bans::Visits,
    echoed: echo::Log,
    robots: robots::RobotsKind,
    versions: versions::Versions,
    accounts: logins::Accounts,
    mended: pages::Mended,
}

impl Origin {
    /// Returns the address that a request was sent to, without the path.
    fn base_url(&self, headers: &HeaderMap, uri: &Uri) -> String {
        format!("{}://{}", self.scheme, stats::host_of(headers, uri))
    }
}

/// Runs the server. Called by `main` of `origin`.
#[must_use]
pub fn run() -> ExitCode {
    match serve(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If standard error is closed too, there is nothing left to report to.
            let _ = writeln!(std::io::stderr(), "origin: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(options: &Options) -> anyhow::Result<()> {
    // One thread, so that the server competes little with what is measured against it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let incoming = Incoming::bind(options).await?;
        let url = incoming.url();
        let origin = Arc::new(Origin {
            scheme: incoming.scheme(),
            site: Site::new(options.pages),
            stats: Stats::default(),
            bombs: Bombs::default(),
            flaky: answers::Flaky::default(),
            broken: blobs::Broken::default(),
            visits: bans::Visits::default(),
            echoed: echo::Log::default(),
            robots: options.robots,
            versions: versions::Versions::default(),
            accounts: logins::Accounts::default(),
            mended: pages::Mended::default(),
        });
        let app = router(&origin).into_make_service_with_connect_info::<Sabotage>();
        writeln!(std::io::stdout(), "listening on {url}").context("cannot say where I listen")?;
        tokio::select! {
            served = async { axum::serve(incoming, app).await } => served.context("the server stopped"),
            () = end_of_stdin(options.exit_with_stdin) => Ok(()),
        }
    })
}

fn router(origin: &Arc<Origin>) -> Router {
    Router::new()
        .route("/", get(answers::index))
        .route("/stats", get(stats::report))
        .merge(site::routes())
        .merge(shop::routes())
        .merge(sitemaps::routes())
        .merge(answers::routes())
        .merge(bans::routes())
        .merge(redirects::routes())
        .merge(robots::routes())
        .merge(blobs::routes())
        .merge(sessions::routes())
        .merge(logins::routes())
        .merge(bodies::routes())
        .merge(charsets::routes())
        .merge(echo::routes())
        .merge(encodings::routes())
        .merge(feeds::routes())
        .merge(hollow::routes())
        .merge(linked::routes())
        .merge(broken::routes())
        .merge(versions::routes())
        .merge(pages::routes())
        .layer(axum::middleware::from_fn_with_state(Arc::clone(origin), stats::track))
        .with_state(Arc::clone(origin))
}

/// Returns when the parent process has exited. Otherwise a failed test would leave a server running.
async fn end_of_stdin(wanted: bool) {
    if !wanted {
        return std::future::pending().await;
    }
    let (gone, stdin_ended) = tokio::sync::oneshot::channel::<()>();
    // A blocking read cannot be cancelled, so it runs on a thread that ends with the process.
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        drop(gone);
    });
    let _ = stdin_ended.await;
}
