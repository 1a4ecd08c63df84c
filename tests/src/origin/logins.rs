//! A site with accounts. A session shows so many pages and then ends; the login has a form with a token.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Form, Json, Router};
use serde::{Deserialize, Serialize};

use super::Origin;
use super::answers::html;
use super::redirects::to;

/// Pages that a session shows, unless the login says otherwise.
const LASTS: u32 = 50;

pub(super) fn routes() -> Router<Arc<Origin>> {
    Router::new()
        .route("/account/login", get(form).post(log_in))
        .route("/account/token", get(form).post(log_in_with_token))
        .route("/account/home", get(home))
        .route("/account/page/{*name}", get(page).post(page))
        .route("/account/counts", get(counts))
}

/// What became of the accounts.
#[derive(Debug, Default)]
pub(super) struct Accounts(Mutex<Known>);

#[derive(Debug, Default, Clone, Serialize)]
struct Known {
    logins: u64,
    /// Logins with a wrong password or token.
    refused: u64,
    /// Pages shown to somebody who is logged in.
    pages: u64,
    /// Pages not shown.
    turned_away: u64,
    /// The user agents of each session.
    agents: BTreeMap<u64, BTreeSet<String>>,
    #[serde(skip)]
    left: BTreeMap<u64, u32>,
}

impl Known {
    fn begin(&mut self, lasts: u32) -> Response {
        self.logins += 1;
        self.left.insert(self.logins, lasts);
        let mut response = to("/account/home", 303);
        let cookie = HeaderValue::try_from(format!("sid={}; Path=/; HttpOnly", self.logins));
        if let Ok(cookie) = cookie {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        response
    }

    /// The session of a request, if it has one that is not over.
    fn session(&self, headers: &HeaderMap) -> Option<u64> {
        let sid = cookie(headers, "sid")?.parse().ok()?;
        self.left.get(&sid).filter(|left| **left > 0).map(|_| sid)
    }
}

fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split("; ")).filter_map(|pair| pair.split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
}

#[derive(Debug, Deserialize)]
struct FormQuery {
    lasts: Option<u32>,
}

/// The login. Its token is also in a cookie, as frameworks have it.
async fn form(Query(query): Query<FormQuery>) -> Response {
    login_page(query.lasts.unwrap_or(LASTS), StatusCode::OK)
}

fn login_page(lasts: u32, status: StatusCode) -> Response {
    let text = format!(
        "<!DOCTYPE html>\n<title>Log in</title><meta name=csrf content=t0k3n>\n\
         <form id=login method=post action=/account/login><input type=hidden name=csrf value=t0k3n>\n\
         <input type=hidden name=lasts value={lasts}><input name=user><input type=password name=password>\n\
         <input type=checkbox name=stay checked><input type=submit name=go value=go></form>\n"
    );
    let mut response = html(text);
    *response.status_mut() = status;
    let cookie = HeaderValue::from_static("csrf=t0k3n; Path=/account");
    response.headers_mut().append(header::SET_COOKIE, cookie);
    response
}

#[derive(Debug, Deserialize)]
struct LoginForm {
    #[serde(default)]
    csrf: String,
    user: String,
    password: String,
    lasts: Option<u32>,
    #[serde(default)]
    stay: String,
}

async fn log_in(
    State(origin): State<Arc<Origin>>,
    headers: HeaderMap,
    Form(form): Form<LoginForm>,
) -> Response {
    let Ok(mut known) = origin.accounts.0.lock() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let is_good = cookie(&headers, "csrf").is_some_and(|token| token == form.csrf);
    if form.user == "me" && form.password == "hunter2" && form.stay == "on" && is_good {
        return known.begin(form.lasts.unwrap_or(LASTS));
    }
    known.refused += 1;
    login_page(LASTS, StatusCode::OK)
}

#[derive(Debug, Deserialize)]
struct TokenLogin {
    user: String,
    password: String,
}

async fn log_in_with_token(
    State(origin): State<Arc<Origin>>,
    headers: HeaderMap,
    Json(login): Json<TokenLogin>,
) -> Response {
    let Ok(mut known) = origin.accounts.0.lock() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let has_token = headers.get("x-csrf").is_some_and(|token| token == "t0k3n");
    if login.user == "me" && login.password == "hunter2" && has_token {
        return known.begin(LASTS);
    }
    known.refused += 1;
    StatusCode::FORBIDDEN.into_response()
}

async fn home() -> Response {
    html("<!DOCTYPE html>\n<title>Home</title><a class=logout href=/account/out>log out</a>\n".to_owned())
}

/// A page for somebody who is logged in. One whose name begins with `secret` is shown to nobody; with `moved`, somebody
/// who is not logged in is sent to the login, and with `401`, refused.
async fn page(State(origin): State<Arc<Origin>>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Ok(mut known) = origin.accounts.0.lock() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let session = known.session(&headers).filter(|_| !name.starts_with("secret"));
    let Some(sid) = session else {
        known.turned_away += 1;
        return match name.split('-').next() {
            Some("moved") => to("/account/login?next=1", 302),
            Some("401") => login_page(LASTS, StatusCode::UNAUTHORIZED),
            Some(_) | None => login_page(LASTS, StatusCode::OK),
        };
    };
    known.pages += 1;
    known.left.entry(sid).and_modify(|left| *left -= 1);
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    known.agents.entry(sid).or_default().insert(agent.to_owned());
    html(format!(
        "<!DOCTYPE html>\n<title>Page {name}</title><a class=logout href=/account/out>log out</a>\n"
    ))
}

async fn counts(State(origin): State<Arc<Origin>>) -> Response {
    origin.accounts.0.lock().map_or_else(
        |_| StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        |known| Json(known.clone()).into_response(),
    )
}
