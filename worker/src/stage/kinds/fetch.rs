//! `fetch`: a target is a URL. Its page is fetched, then its fields are extracted.

use std::borrow::Cow;
use std::io::Cursor;
use std::time::Duration;

use anyhow::Context as _;
use http::StatusCode;
use shared::job::{FetchSpec, JobSpec, RecordEncoding};
use shared::pages::NextPage;
use shared::protocol::Target;
use shared::record::FieldValue;
use shared::save::SaveSpec;
use shared::select;

use super::response::{Client, Response, at_once, conclude, fetch, fetch_interleaved};
use crate::shortage::Shortages;
use crate::stage::blocked::PageRules;
use crate::stage::context::{Computed, Context};
use crate::stage::fetch::cookies::Cookies;
use crate::stage::fetch::since::{Condition, Notes};
use crate::stage::fetch::{Fetched, Wanted, blocking, event_loop};
use crate::stage::findings::{Findings, Product};
use crate::stage::links::{self, Links, PageLinks};
use crate::stage::login::Login;
use crate::stage::media_type::MediaType;
use crate::stage::next::NextFinder;
use crate::stage::save::{FileSlot, Files};
use crate::stage::{Blocking, Compute, Interleaved, robots};
use extract::{Extracted, Extractor, Kind, Page};

/// Fetches pages.
pub(crate) struct Fetch<C> {
    client: C,
    extractor: Extractor,
    /// Number of values that it finds in a page.
    fields: usize,
    rules: PageRules,
    /// How the job logs in, if it does.
    login: Option<Login>,
    parse_timeout: Duration,
    /// Which groups of a robots.txt apply.
    robots_token: String,
    /// Where bodies are saved, if they are.
    files: Option<Files>,
    /// What an earlier run has noted of pages, if they are compared with it.
    notes: Option<Notes>,
    /// Finds the links of pages, for a crawl.
    links: Option<Links>,
    /// Finds the link to the next page, if pages are followed.
    next: Option<NextFinder>,
}

impl<C: Client> Fetch<C> {
    pub(crate) fn new(
        client: C,
        spec: &FetchSpec,
        links: Option<Links>,
        job: &JobSpec,
        shortages: &Shortages,
    ) -> anyhow::Result<Self> {
        if let RecordEncoding::Warc(_) = job.encoding {
            client.name_peers();
        }
        let each = job.each.as_ref();
        let (next, wanted) = match &spec.next {
            Some(next) => {
                let (finder, wanted) = NextFinder::new(next, &job.fields, each)?;
                (Some(finder), Cow::Owned(wanted))
            }
            None => (None, Cow::Borrowed(job.fields.as_slice())),
        };
        let extractor = Extractor::new(&wanted, each, &job.presets)?;
        let rules = PageRules::new(spec, job.parse_timeout)?;
        let login = spec.login.as_deref().map(|login| Login::new(login, job.parse_timeout)).transpose()?;
        let robots_token = spec.product_token().to_owned();
        let open = |save: &SaveSpec| {
            Files::open(save, job.executor, shortages)
                .with_context(|| format!("cannot open the directory {}", save.directory.display()))
        };
        let files = spec.save.as_deref().map(open).transpose()?;
        let fields = select::names(&job.fields, job.each.as_ref(), &job.presets).len();
        let (parse_timeout, notes) = (job.parse_timeout, spec.since.as_ref().map(|_| Notes::default()));
        Ok(Self {
            client,
            extractor,
            fields,
            rules,
            login,
            parse_timeout,
            robots_token,
            files,
            notes,
            next,
            links,
        })
    }

    /// What is asked and noted of a target's page, if pages are compared with those of an earlier run.
    fn condition(&self, target: &Target) -> Option<Box<Condition>> {
        let notes = self.notes.as_ref().filter(|_| !target.is_own())?;
        Some(Box::new(notes.condition(target.id, self.fields)))
    }

    pub(crate) fn notes(&self) -> Option<Notes> {
        self.notes.clone()
    }

    /// The file of a target, if its body is to be saved.
    fn file(&self, target: &Target) -> Option<Box<FileSlot>> {
        self.files.as_ref().filter(|_| !target.is_own()).map(|files| files.slot(target.id))
    }

    pub(crate) fn cookies(&self) -> Option<Cookies> {
        self.client.cookies()
    }

    /// Extracts the fields of a page, and finds its links if the job crawls. `tags` is what its head says to robots.
    fn read(&self, target: &Target, fetched: Fetched, tags: &[String]) -> Findings {
        let media_type = fetched.content_type.as_deref().and_then(MediaType::extract);
        let media_type = media_type.as_ref();
        let page = Page {
            kind: Kind::of_content_type(media_type.map(|media_type| media_type.essence.as_str())),
            content_type_charset: media_type.and_then(|media_type| media_type.charset.as_deref()),
            url: Some(&fetched.final_url),
            parse_timeout: self.parse_timeout,
        };
        let extracted = self.extractor.extract(page, &mut Cursor::new(fetched.body.as_slice()));
        let mut next = None;
        let (charset, product) = match extracted {
            Ok(Extracted { mut values, charset }) => {
                let found = self.next.as_ref().map(|finder| finder.find(page, &fetched.body, &mut values));
                // The server was not asked whether the page has changed, so this is its last word.
                next = found.filter(|_| fetched.status != StatusCode::NOT_MODIFIED);
                (Some(charset), Product::Fields(values))
            }
            Err(error) => (None, Product::problem(error.kind(), error.to_string())),
        };
        let Some(links) = &self.links else {
            return Findings { next, ..Findings::of_response(fetched, charset, product) };
        };
        match links.find(target, &fetched, page, tags) {
            Ok(PageLinks { found, is_indexed }) => {
                let product = if is_indexed { product } else { links::not_indexed() };
                Findings { found: Some(found), ..Findings::of_response(fetched, charset, product) }
            }
            Err(error) => {
                let product = Product::problem(error.kind(), format!("cannot find its links: {error}"));
                Findings::of_response(fetched, charset, product)
            }
        }
    }

    /// What is known of a page that only its file holds.
    fn unread(&self, fetched: Fetched) -> Findings {
        let product = Product::Fields(vec![FieldValue::Null; self.fields]);
        let next = self.next.as_ref().map(|_| NextPage::Unread);
        let found = self.links.as_ref().map(|_| links::unread());
        Findings { next, found, ..Findings::of_response(fetched, None, product) }
    }
}

impl<C: Client> Compute for Fetch<C> {
    type Answer = Response;

    fn compute(&self, context: &Context, target: &Target, answer: Response, out: &mut Vec<u8>) -> Computed {
        conclude(&self.client, context, target, answer, out, |outcome, judged, recording| {
            if target.is_robots() {
                return robots::read(outcome, &self.robots_token);
            }
            if let Some(login) = self.login.as_ref().filter(|_| target.is_login()) {
                return login.read(outcome, &recording.login, &self.rules, target.kept.is_empty());
            }
            if let (Ok(fetched), Some(unchanged)) = (&outcome, recording.unchanged()) {
                if let Some(mark) = unchanged.mark {
                    recording.page(mark);
                }
                return Findings::unchanged(fetched, unchanged);
            }
            match outcome {
                Ok(fetched) if !recording.holds_page() => self.unread(fetched),
                outcome => {
                    let tags = recording.take_robots_tags();
                    self.rules.apply(outcome, judged, recording, |fetched| self.read(target, fetched, &tags))
                }
            }
        })
    }
}

impl Blocking for Fetch<blocking::Client> {
    fn wait(&mut self, context: &Context, target: &Target) -> Response {
        let (file, condition) = (self.file(target), self.condition(target));
        let mut response = fetch(&mut self.client, context, target, Wanted::of(target), file, condition);
        at_once(response.end_file(&self.client, context, target, &self.rules));
        response
    }
}

impl Interleaved for Fetch<event_loop::Client> {
    async fn wait(&self, context: &Context, target: &Target) -> Response {
        let (file, condition) = (self.file(target), self.condition(target));
        let wanted = Wanted::of(target);
        let mut response = fetch_interleaved(&self.client, context, target, wanted, file, condition).await;
        response.end_file(&self.client, context, target, &self.rules).await;
        response
    }
}
