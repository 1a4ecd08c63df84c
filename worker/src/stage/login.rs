//! Reads the answers of a login: fills in the form of its page, and judges whether it succeeded. Hostile bytes are parsed
//! here, in the sandbox; the supervisor gets only what is to be sent next.

use std::io::Cursor;
use std::time::Duration;

use anyhow::Context as _;
use extract::{Extractor, Kind, Page};
use shared::login::{FormHead, LoginAnswer, LoginRequest, LoginSpec, TokenPlace};
use shared::record::{ErrorKind, FieldValue};
use shared::select::{Each, Field, Source, Take};

use super::blocked::{Matcher, PageRules};
use super::fetch::login::{LoginSeen, about_answers};
use super::fetch::{Failure, Fetched, Outcome};
use super::findings::{Findings, Problem, Product};
use super::media_type::MediaType;

/// Types of inputs whose values a form sends only if they are checked, and those that it sends only if they are clicked.
const CHECKED: [&str; 2] = ["checkbox", "radio"];
const CLICKED: [&str; 5] = ["submit", "button", "image", "reset", "file"];

/// The login of a job, compiled.
pub(super) struct Login {
    spec: LoginSpec,
    success: Matcher,
    form: Option<Form>,
    token: Option<Extractor>,
    parse_timeout: Duration,
}

/// What finds the form and its inputs.
struct Form {
    head: Extractor,
    inputs: Extractor,
}

impl Login {
    pub(super) fn new(spec: &LoginSpec, parse_timeout: Duration) -> anyhow::Result<Self> {
        let form = spec.form.as_deref().map(Form::new).transpose().context("[login] form")?;
        let token = spec.token.as_ref();
        let token = token.map(|token| Extractor::new(std::slice::from_ref(&token.select), None, &[]));
        let token = token.transpose().context("[login] token")?;
        let success = Matcher::new(&about_answers(&spec.success), parse_timeout)?;
        Ok(Self { spec: spec.clone(), success, form, token, parse_timeout })
    }

    /// What came of a request: of the page of a login, or of the login.
    pub(super) fn read(
        &self,
        outcome: Outcome,
        seen: &LoginSeen,
        rules: &PageRules,
        is_page: bool,
    ) -> Findings {
        let fetched = match outcome {
            Ok(fetched) => fetched,
            Err(failure)
                if !is_page && seen.success && seen.logged_out.is_none() && failure.status.is_some() =>
            {
                return findings(failure.status, LoginAnswer::Done);
            }
            Err(failure) => return failed(*failure),
        };
        let status = Some(fetched.status);
        let answer = if is_page { self.fill(&fetched) } else { self.judge(&fetched, seen, rules) };
        findings(status, answer)
    }

    fn judge(&self, fetched: &Fetched, seen: &LoginSeen, rules: &PageRules) -> LoginAnswer {
        let status = fetched.status;
        if let Some(rule) = seen.logged_out.as_deref().or_else(|| rules.logged_out(fetched)) {
            return LoginAnswer::Failed(format!("its answer ({status}) matches logged-out-if '{rule}'"));
        }
        let has_succeeded = self.spec.success.is_empty()
            || seen.success
            || matches!(self.success.matching(fetched.into()), Ok(Some(_)));
        if has_succeeded {
            LoginAnswer::Done
        } else {
            LoginAnswer::Failed(format!("its answer ({status}) matches no rule of success"))
        }
    }

    fn fill(&self, fetched: &Fetched) -> LoginAnswer {
        self.request(fetched).map_or_else(LoginAnswer::Failed, LoginAnswer::Send)
    }

    fn request(&self, fetched: &Fetched) -> Result<LoginRequest, String> {
        let token = match (&self.token, &self.spec.token) {
            (Some(extractor), Some(token)) => {
                let found = self.extract(extractor, fetched)?.into_iter().next();
                let text = found.and_then(text);
                let place = match &token.place {
                    TokenPlace::Field(name) | TokenPlace::Header(name) => name,
                };
                Some(text.ok_or_else(|| format!("its page has no token for {place}"))?)
            }
            (_, _) => None,
        };
        let Some(form) = &self.form else { return self.spec.fill(None, Vec::new(), token) };
        let mut head = self.extract(&form.head, fetched)?.into_iter();
        let (found, action, method) = (head.next(), head.next().and_then(text), head.next().and_then(text));
        if found.is_none_or(|found| found == FieldValue::Null) {
            let selector = self.spec.form.as_deref().unwrap_or_default();
            return Err(format!("its page has no form that matches {selector}"));
        }
        let action = match action.as_deref().map(str::trim).filter(|action| !action.is_empty()) {
            Some(action) => fetched.final_url.join(action).map_err(|error| format!("its form: {error}"))?,
            None => fetched.final_url.clone(),
        };
        let is_get = !method.is_some_and(|method| method.trim().eq_ignore_ascii_case("post"));
        let inputs = self.extract(&form.inputs, fetched)?.into_iter().next();
        let inputs = if let Some(FieldValue::List(inputs)) = inputs { inputs } else { Vec::new() };
        let values = inputs.into_iter().filter_map(value).collect();
        self.spec.fill(Some(FormHead { action, is_get }), values, token)
    }

    fn extract(&self, extractor: &Extractor, fetched: &Fetched) -> Result<Vec<FieldValue>, String> {
        let media_type = fetched.content_type.as_deref().and_then(MediaType::extract);
        let media_type = media_type.as_ref();
        let page = Page {
            kind: Kind::of_content_type(media_type.map(|media_type| media_type.essence.as_str())),
            content_type_charset: media_type.and_then(|media_type| media_type.charset.as_deref()),
            url: Some(&fetched.final_url),
            parse_timeout: self.parse_timeout,
        };
        let extracted = extractor.extract(page, &mut Cursor::new(fetched.body.as_slice()));
        extracted.map(|extracted| extracted.values).map_err(|error| format!("its page: {error}"))
    }
}

impl Form {
    fn new(selector: &str) -> anyhow::Result<Self> {
        let of_form = |take| field(selector.to_owned(), String::new(), take);
        let attribute = |name: &str| Take::Attribute(name.to_owned());
        let head = [of_form(Take::Html), of_form(attribute("action")), of_form(attribute("method"))];
        let own = |name: &str| field(":scope".to_owned(), name.to_owned(), attribute(name));
        let inputs = ["name", "value", "type", "checked"].map(own);
        let each = Each::Css(format!(":is({selector}) input[name]"));
        Ok(Self {
            head: Extractor::new(&head, None, &[])?,
            inputs: Extractor::new(&inputs, Some(&each), &[])?,
        })
    }
}

fn field(selector: String, name: String, take: Take) -> Field {
    Field { name, source: Source::Css { selector, take }, every: false, pipes: Vec::new() }
}

fn text(value: FieldValue) -> Option<String> {
    if let FieldValue::Text(text) = value { Some(text) } else { None }
}

/// Returns the name and the value of an input that a form sends by itself.
fn value(input: FieldValue) -> Option<(String, String)> {
    let FieldValue::Object(members) = input else { return None };
    let mut members = members.into_iter().map(|(_, value)| text(value));
    let (name, value) = (members.next()??, members.next()?);
    let (kind, checked) = (members.next()?.unwrap_or_default().to_ascii_lowercase(), members.next()?);
    let is_sent =
        !CLICKED.contains(&kind.as_str()) && (!CHECKED.contains(&kind.as_str()) || checked.is_some());
    let default = if CHECKED.contains(&kind.as_str()) { "on" } else { "" };
    is_sent.then(|| (name, value.unwrap_or_else(|| default.to_owned())))
}

fn findings(status: Option<u16>, answer: LoginAnswer) -> Findings {
    let problem = match &answer {
        LoginAnswer::Failed(why) => {
            let (kind, message) = (ErrorKind::HttpStatus, why.clone());
            Some(Problem { kind, message, may_pass: false, retry_after: None })
        }
        LoginAnswer::Send(_) | LoginAnswer::Done => None,
    };
    Findings { status, product: Product::Login(answer, problem), ..Findings::default() }
}

fn failed(failure: Failure) -> Findings {
    let Failure { kind, message, status, may_pass, retry_after, .. } = failure;
    let answer = LoginAnswer::Failed(message.clone());
    let product = Product::Login(answer, Some(Problem { kind, message, may_pass, retry_after }));
    Findings { status, product, ..Findings::default() }
}
