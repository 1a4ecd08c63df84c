//! `[login]` and `[[profile]]`: how a job logs in, how it sees that it is no longer logged in, and which headers
//! it sends in each session. Data and pure rules; nothing here sends anything.
//!
//! A login has one step or two. If there is a form or a token, its page is fetched first, and the worker makes the
//! request out of that ([`LoginSpec::fill`]). The supervisor sends it on as a target of its own, so that it keeps the
//! pace of its host. Values of fields are secrets: they are in no text that is shown.

use std::fmt;

use http::{HeaderName, HeaderValue};
use select::Field;
use select::blocked::Rule;
use serde::{Deserialize, Serialize};
use url::Url;
use url::form_urlencoded::Serializer;

use crate::domain::registrable;

/// How a job logs in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginSpec {
    /// The page with the form, or the address that the request goes to.
    pub url: String,
    /// The selector of the form, if one is filled in.
    pub form: Option<String>,
    /// The method of the request, if there is no form.
    pub method: String,
    /// Names and values of its fields. They replace those of the form.
    pub fields: Vec<(String, String)>,
    /// Whether the fields are sent as a JSON object, and not as a form does.
    pub is_json: bool,
    /// A token that is taken out of the page.
    pub token: Option<Token>,
    /// Rules of which one must match an answer to the login; with none, a status below 400 is a success.
    pub success: Vec<LoginRule>,
    /// Rules of which one matches an answer to somebody who is not logged in.
    pub logged_out: Vec<LoginRule>,
    /// The names of hosts whose pages need the login; empty is the registrable domain of `url`.
    pub hosts: Vec<String>,
    /// A page that is asked for to see whether a session has ended.
    pub check: Option<String>,
}

/// A token that is taken out of the page of a login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// What finds it.
    pub select: Field,
    /// Where it goes.
    pub place: TokenPlace,
}

/// Where a token goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenPlace {
    /// Into a field of this name.
    Field(String),
    /// Into a header of this name.
    Header(String),
}

/// A rule about an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoginRule {
    /// One that `--blocked-if` has too.
    Answer(Rule),
    /// It redirects to this path or one below, or to a URL that begins like this.
    Redirect(String),
}

impl LoginRule {
    /// Parses a rule of the key `name`.
    ///
    /// # Errors
    /// Why it is not a rule.
    pub fn parse(name: &'static str, text: &str) -> Result<Self, String> {
        match text.strip_prefix("redirect:") {
            None => Rule::parse(name, text).map(Self::Answer).map_err(|error| error.to_string()),
            Some(to) if to.starts_with('/') || to.contains("://") => Ok(Self::Redirect(to.to_owned())),
            Some(_) => Err(format!("{name} '{text}': write redirect:/PATH or redirect:https://HOST/PATH")),
        }
    }

    /// Whether it matches a redirect to `next`.
    #[must_use]
    pub fn is_redirect_to(&self, next: &Url) -> bool {
        let Self::Redirect(to) = self else { return false };
        let path = next.path();
        if !to.starts_with('/') {
            return next.as_str().starts_with(to.as_str());
        }
        path.strip_prefix(to.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || to.ends_with('/'))
    }
}

/// The rule as a user would write it.
impl fmt::Display for LoginRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(rule) => rule.fmt(f),
            Self::Redirect(to) => write!(f, "redirect:{to}"),
        }
    }
}

/// The request of a login, ready to be sent.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginRequest {
    /// Where it goes.
    pub url: String,
    /// Its method.
    pub method: String,
    /// Its body and the type of that; `None` is a request without one.
    pub body: Option<(String, String)>,
    /// Its headers besides those of the job.
    pub headers: Vec<(String, String)>,
}

/// What came of one step of a login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoginAnswer {
    /// The page is there: this is to be sent.
    Send(LoginRequest),
    /// The job is logged in.
    Done,
    /// It is not: why.
    Failed(String),
}

/// What a form says, besides its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormHead {
    /// Where it is sent.
    pub action: Url,
    /// Whether its fields go into the URL.
    pub is_get: bool,
}

impl LoginSpec {
    /// Whether its page must be fetched before the request can be sent.
    #[must_use]
    pub const fn needs_page(&self) -> bool {
        self.form.is_some() || self.token.is_some()
    }

    /// Whether the pages of this host need the login.
    #[must_use]
    pub fn covers(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        if self.hosts.is_empty() {
            let own = Url::parse(&self.url).ok();
            let own = own.as_ref().and_then(Url::host_str);
            return own.is_some_and(|own| registrable(own) == registrable(host));
        }
        self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
    }

    /// Makes the request out of what the page says: the form and the values that it has, and the token.
    ///
    /// # Errors
    /// Why there can be no such request.
    pub fn fill(
        &self,
        form: Option<FormHead>,
        mut values: Vec<(String, String)>,
        token: Option<String>,
    ) -> Result<LoginRequest, String> {
        let own = Url::parse(&self.url).map_err(|error| error.to_string())?;
        let method = match &form {
            Some(FormHead { is_get: true, .. }) => "GET",
            Some(FormHead { is_get: false, .. }) => "POST",
            None => self.method.as_str(),
        };
        if matches!(method, "GET" | "HEAD") && !self.fields.is_empty() {
            return Err("its form sends its fields in the URL, where others see them; give the request itself, without \
                        form"
                .to_owned());
        }
        let mut url = form.map_or_else(|| own.clone(), |form| form.action);
        if own.scheme() == "https" && url.scheme() != "https" {
            return Err("its form sends its fields without TLS".to_owned());
        }
        let mut headers = Vec::new();
        let mut given = self.fields.clone();
        if let (Some(Token { place, .. }), Some(token)) = (&self.token, token) {
            match place {
                TokenPlace::Field(name) => given.push((name.clone(), token)),
                TokenPlace::Header(name) => {
                    HeaderValue::try_from(token.as_str())
                        .map_err(|_| "the token cannot be sent in a header".to_owned())?;
                    headers.push((name.clone(), token));
                }
            }
        }
        values.retain(|(name, _)| !given.iter().any(|(known, _)| known == name));
        values.append(&mut given);
        let encoded = Serializer::new(String::new()).extend_pairs(&values).finish();
        let body = if matches!(method, "GET" | "HEAD") {
            url.set_query(Some(encoded.as_str()).filter(|query| !query.is_empty()));
            None
        } else if self.is_json {
            let members: serde_json::Map<_, _> =
                values.into_iter().map(|(name, value)| (name, value.into())).collect();
            Some((serde_json::Value::Object(members).to_string(), "application/json".to_owned()))
        } else {
            Some((encoded, "application/x-www-form-urlencoded".to_owned()))
        };
        Ok(LoginRequest { url: url.into(), method: method.to_owned(), body, headers })
    }
}

/// Shows the names of its fields alone.
impl fmt::Debug for LoginSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields: Vec<&str> = self.fields.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("LoginSpec").field("fields", &fields).finish_non_exhaustive()
    }
}

impl fmt::Debug for LoginRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginRequest").field("method", &self.method).finish_non_exhaustive()
    }
}

/// As which browser a session shows itself.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The `User-Agent` header; `None` is that of the job.
    pub user_agent: Option<String>,
    /// Headers that take the place of the job's headers of the same names.
    pub headers: Vec<(String, String)>,
}

impl Profile {
    /// Returns its headers, checked.
    ///
    /// # Errors
    /// Which of them cannot be sent.
    pub fn checked(&self) -> Result<Vec<(HeaderName, HeaderValue)>, crate::request_headers::HeaderError> {
        let agent = self.user_agent.iter().map(|agent| ("user-agent", agent.as_str()));
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        agent.chain(headers).map(|(name, value)| crate::request_headers::check(name, value)).collect()
    }
}

/// Shows the names of its headers alone.
impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Profile").field("user_agent", &self.user_agent).field("headers", &names).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> LoginSpec {
        LoginSpec {
            url: "https://www.a.example/login".to_owned(),
            form: None,
            method: "POST".to_owned(),
            fields: vec![("user".to_owned(), "me".to_owned()), ("password".to_owned(), "p&w".to_owned())],
            is_json: false,
            token: None,
            success: Vec::new(),
            logged_out: Vec::new(),
            hosts: Vec::new(),
            check: None,
        }
    }

    #[test]
    fn a_form_keeps_its_own_values_but_for_those_that_are_given() {
        let action = Url::parse("https://a.example/do").unwrap();
        let values = [("csrf", "t"), ("user", "")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let head = |is_get| Some(FormHead { action: action.clone(), is_get });
        let post = spec().fill(head(false), values.to_vec(), None).unwrap();
        assert_eq!((post.url.as_str(), post.method.as_str()), ("https://a.example/do", "POST"));
        assert_eq!(post.body.unwrap().0, "csrf=t&user=me&password=p%26w");
    }

    #[test]
    fn secrets_are_sent_neither_in_a_url_nor_in_the_clear() {
        let head = |action: &str, is_get| Some(FormHead { action: Url::parse(action).unwrap(), is_get });
        for (action, is_get, why) in [
            ("https://a.example/do", true, "its form sends its fields in the URL"),
            ("http://a.example/do", false, "its form sends its fields without TLS"),
        ] {
            let refused = spec().fill(head(action, is_get), Vec::new(), None).unwrap_err();
            assert!(refused.starts_with(why), "{refused}");
        }
        let without = LoginSpec { fields: Vec::new(), ..spec() };
        let get =
            without.fill(head("https://a.example/do", true), vec![("a".into(), "b".into())], None).unwrap();
        assert_eq!((get.url.as_str(), get.body), ("https://a.example/do?a=b", None));
    }

    #[test]
    fn a_token_goes_where_it_is_wanted() {
        let select = Field::parse("token=meta::attr(content)").unwrap();
        let with = |place| LoginSpec {
            token: Some(Token { select: select.clone(), place }),
            is_json: true,
            ..spec()
        };
        let field = with(TokenPlace::Field("csrf".to_owned())).fill(None, Vec::new(), Some("t".into()));
        assert_eq!(field.unwrap().body.unwrap().0, r#"{"user":"me","password":"p&w","csrf":"t"}"#);
        let header = with(TokenPlace::Header("x-csrf".to_owned()));
        let filled = header.fill(None, Vec::new(), Some("t".into())).unwrap();
        assert_eq!(filled.headers, [("x-csrf".to_owned(), "t".to_owned())]);
        assert!(header.fill(None, Vec::new(), Some("a\nb".into())).is_err());
    }

    #[test]
    fn a_login_is_for_its_site_or_for_named_hosts() {
        let covers = |spec: &LoginSpec, url: &str| spec.covers(&Url::parse(url).unwrap());
        assert!(covers(&spec(), "http://b.a.example:81/") && !covers(&spec(), "http://b.example/"));
        let named = LoginSpec { hosts: vec!["x.example".to_owned()], ..spec() };
        assert!(covers(&named, "http://X.example/") && !covers(&named, "https://www.a.example/"));
    }

    #[test]
    fn a_redirect_is_known_by_whole_parts_of_its_path() {
        let matches = |rule: &str, to: &str| {
            let rule = LoginRule::parse("logged-out-if", &format!("redirect:{rule}")).unwrap();
            rule.is_redirect_to(&Url::parse(to).unwrap())
        };
        for (rule, to, is_match) in [
            ("/login", "http://a/login?next=/", true),
            ("/login", "http://a/login/2", true),
            ("/login", "http://a/logins", false),
            ("/", "http://a/x", true),
            ("https://sso.a/", "https://sso.a/in?x", true),
            ("https://sso.a/", "https://other.a/in", false),
        ] {
            assert_eq!(matches(rule, to), is_match, "{rule} {to}");
        }
        assert!(LoginRule::parse("success", "redirect:login").unwrap_err().contains("redirect:/PATH"));
        assert!(LoginRule::parse("success", "repeats").unwrap_err().contains("not a rule"));
    }

    #[test]
    fn values_are_in_no_text() {
        let request = spec().fill(None, Vec::new(), None).unwrap();
        let shown = format!("{:?} {:?}", spec(), LoginAnswer::Send(request));
        assert!(shown.contains("password") && !shown.contains("p&w") && !shown.contains("p%26w"), "{shown}");
    }
}
