//! `fetch`: a target is a URL. Its page is fetched, then parsed.

use shared::job::FetchSpec;
use shared::record::ErrorKind;
use shared::redact;
use shared::request::RequestSpec;
use shared::template::Template;

use super::facts::{self, COMMAND, Fact};
use super::{Auto, FirstSignal, Kind, ORDERED_WINDOW, ProgressUnit, Rules, Spooled, Window};
use crate::plan::{Plan, Twice};
use crate::source::{Source, TargetKind, Targets};

/// A fetch job.
pub(super) struct Fetch<'a>(pub(super) &'a FetchSpec);

impl Kind for Fetch<'_> {
    fn rules(&self) -> Rules {
        Rules {
            target: TargetKind::Url,
            refused_as: ErrorKind::InvalidUrl,
            auto: Auto::Waits { body_bytes_max: self.0.body_bytes_max },
            wait_max: self.0.timeout,
            has_deadline: true,
            always_ordered: false,
            window: Window::Inputs(ORDERED_WINDOW),
            watches_repeats: self.0.blocked.repeats,
            progress: ProgressUnit::Inputs,
            first_signal: FirstSignal::Finish,
            twice: twice(self.0),
            crawls: false,
        }
    }

    fn targets(&self, plan: &Plan, spooled: Spooled) -> Box<dyn Targets + Send> {
        let url = self.0.request.as_ref().and_then(|request| request.url.as_ref());
        let source = Source::of(plan, self.rules().target).with_urls(url);
        Box::new(source.with_stdin(spooled.stdin).with_sitemaps(spooled.sitemaps))
    }

    fn keeps_cookies(&self) -> bool {
        self.0.cookies
    }

    fn robots_token(&self) -> Option<&str> {
        Some(self.0.product_token())
    }

    fn secrets(&self) -> Option<String> {
        self.0.secrets()
    }

    fn facts(&self, plan: &Plan) -> Vec<Fact> {
        // Names every field, so that a new one is not forgotten here.
        let FetchSpec {
            timeout: _,
            connect_timeout: _,
            body_bytes_max,
            redirects_max,
            headers,
            // A user may find out which servers need the headers, and resume.
            header_scope: _,
            user_agent,
            // Decides which servers are asked, as a timeout decides whether they answer in time. A user may
            // allow a denied host when resuming.
            address_policy: _,
            // A user may find out what blocked pages look like, and resume.
            blocked: _,
            save,
            request,
            // Decides which servers are reached, and how.
            transport: _,
            response_headers,
            // A user may find out that pages need them, and resume.
            cookies: _,
            // A proxy may have died since.
            proxies: _,
            since,
            // A user may mend the password, and resume.
            login: _,
            profiles,
            next,
        } = self.0;
        let mut facts = vec![
            Fact::new(COMMAND, "fetch"),
            Fact::new("--body-bytes-max", body_bytes_max),
            Fact::new("--redirects-max", redirects_max),
            Fact::new("--header", headers_in_words(headers)),
            Fact::new("--user-agent", agent_in_words(user_agent)),
        ];
        if let Some(save) = save {
            facts.push(Fact::new("--save", save.directory.display()));
            facts.push(Fact::new("--save-name", &save.name));
            facts.push(Fact::new("--save-bytes-max", save.bytes_max));
        }
        // Left out if not given, so that journals of earlier versions still fit.
        facts.extend(request.iter().flat_map(|request| request_in_words(request)));
        if !response_headers.is_empty() {
            facts.push(Fact::new("--response-header", response_headers.join(", ")));
        }
        if !profiles.is_empty() {
            let text = serde_json::to_vec(profiles).unwrap_or_default();
            facts.push(Fact::new("--profile", facts::hashed(&text)));
        }
        if let Some(since) = since {
            facts.push(Fact::new("--since", since.earlier.display()));
        }
        if let Some(next) = next {
            facts.push(Fact::new("--next", &next.link));
            facts.push(Fact::new("--pages-max", next.pages_max));
        }
        facts.append(&mut facts::of_extraction(plan));
        facts
    }
}

fn twice(spec: &FetchSpec) -> Twice {
    match &spec.request {
        Some(request) if request.at_most_once => Twice::Forbidden,
        Some(request) if request.has_effect() => Twice::Avoided,
        Some(_) | None => Twice::Harmless,
    }
}

/// What makes a request another one. Whether it is sent again does not.
fn request_in_words(request: &RequestSpec) -> Vec<Fact> {
    let RequestSpec { url, method, body, headers, retries_unsafe: _, at_most_once: _ } = request;
    let mut facts = Vec::new();
    facts.extend(url.iter().map(|url| Fact::new("--url", redact::url(&url.to_string()))));
    facts.extend(method.iter().map(|method| Fact::new("--method", method)));
    // A body may hold a secret, as a header may.
    let hash = |template: &Template| facts::hashed(&template.source());
    facts.extend(body.iter().map(|body| Fact::new(body.flag(), hash(&body.text))));
    let named =
        headers.iter().map(|(name, template)| Fact::new("--header", format!("{name} ({})", hash(template))));
    facts.extend(named);
    facts
}

/// The default user agent carries a version, and a newer version may finish what an older one began.
fn agent_in_words(agent: &str) -> &str {
    if agent.starts_with("muster/") { "the default" } else { agent }
}

/// Hashes the headers: they hold passwords and cookies, which must not be in a file beside the output.
fn headers_in_words(headers: &[(String, String)]) -> String {
    if headers.is_empty() {
        return "nothing".to_owned();
    }
    let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    format!("{} ({})", names.join(", "), facts::hashed(format!("{headers:?}").as_bytes()))
}
