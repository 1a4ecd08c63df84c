//! The stage of the run that reads sitemaps: a target is the URL of one. It is fetched, then its entries are listed.

use shared::job::{FetchSpec, JobSpec};
use shared::protocol::Target;
use shared::sitemap::Listing;

use super::response::{Client, Response, conclude, fetch, fetch_interleaved};
use crate::stage::blocked::PageRules;
use crate::stage::context::{Computed, Context};
use crate::stage::fetch::cookies::Cookies;
use crate::stage::fetch::{Fetched, Wanted, blocking, event_loop};
use crate::stage::findings::{Findings, Product};
use crate::stage::sitemap::read;
use crate::stage::{Blocking, Compute, Interleaved};

/// Fetches sitemaps.
pub(crate) struct Sitemap<C> {
    client: C,
    rules: PageRules,
}

impl<C: Client> Sitemap<C> {
    pub(crate) fn new(client: C, spec: &FetchSpec, job: &JobSpec) -> anyhow::Result<Self> {
        Ok(Self { client, rules: PageRules::new(spec, job.parse_timeout)? })
    }

    pub(crate) fn cookies(&self) -> Option<Cookies> {
        self.client.cookies()
    }
}

impl<C: Client> Compute for Sitemap<C> {
    type Answer = Response;

    fn compute(&self, context: &Context, target: &Target, answer: Response, out: &mut Vec<u8>) -> Computed {
        conclude(&self.client, context, target, answer, out, |outcome, _, recording| {
            self.rules.apply(outcome, None, recording, |fetched| list(target, fetched))
        })
    }
}

fn list(target: &Target, fetched: Fetched) -> Findings {
    let product = match read(&fetched.body) {
        Ok(found) => Product::Listing(Listing { id: target.id, found }),
        Err(error) => Product::problem(error.kind(), error.to_string()),
    };
    Findings::of_response(fetched, None, product)
}

impl Blocking for Sitemap<blocking::Client> {
    fn wait(&mut self, context: &Context, target: &Target) -> Response {
        fetch(&mut self.client, context, target, Wanted::Listed, None, None)
    }
}

impl Interleaved for Sitemap<event_loop::Client> {
    async fn wait(&self, context: &Context, target: &Target) -> Response {
        fetch_interleaved(&self.client, context, target, Wanted::Listed, None, None).await
    }
}
