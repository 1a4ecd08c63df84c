//! What an error of the store means for the user.
//!
//! Only what the store calls the error and says about it is shown, of what it
//! sent: the rest of an answer may repeat what was signed.

use std::error::Error;

use crate::objects::{Object, ObjectError};
use object_store::client::{HttpError, HttpErrorKind};

/// Longest of a store's own words that is shown.
const WORDS_MAX: usize = 200;

/// What to do about it.
const MAKE_BUCKET: &str = "make it first, or name another";
const CREDENTIALS: &str = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_SESSION_TOKEN if they came \
     with one";
const PERMISSIONS: &str = "it takes s3:PutObject, s3:GetObject, s3:ListBucket and s3:AbortMultipartUpload; with \
     --split also s3:DeleteObject";
const REGION: &str = "set AWS_REGION to the region of the bucket";
const NETWORK: &str = "is AWS_ENDPOINT_URL right, and the network up?";

/// Tells the user.
pub(super) fn fault(object: &Object, doing: &'static str, error: &object_store::Error) -> ObjectError {
    let (why, advice) = explained(object, error);
    ObjectError::Store { doing, url: object.url.to_string(), why, advice }
}

fn explained(object: &Object, error: &object_store::Error) -> (String, Option<&'static str>) {
    let text = chain(error);
    let code = between(&text, "<Code>", "</Code>");
    let said = between(&text, "<Message>", "</Message>");
    let place = object.access.endpoint().unwrap_or("Amazon's S3");
    if let Some(http) = http_error(error) {
        if !object.access.has_credentials() {
            let why = "there are no credentials, and this machine has no role that gives some".to_owned();
            return (why, Some(CREDENTIALS));
        }
        let cause = deepest(http);
        let is_connect = http.kind() == HttpErrorKind::Connect;
        let what = if is_connect { "cannot connect to" } else { "no good connection to" };
        return (format!("{what} {place}: {cause}"), Some(NETWORK));
    }
    let words = match (&code, &said) {
        (Some(code), Some(said)) => format!("{code}: {said}"),
        (Some(code), None) => code.clone(),
        (None, _) => status(&text).unwrap_or_else(|| plain(&error.to_string())),
    };
    let bucket = &object.url.bucket;
    match code.as_deref() {
        Some("NoSuchBucket") => (format!("there is no bucket {bucket} at {place}"), Some(MAKE_BUCKET)),
        Some(
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "ExpiredToken"
            | "InvalidToken"
            | "TokenRefreshRequired",
        ) => (format!("the store does not take the credentials ({words})"), Some(CREDENTIALS)),
        Some("AuthorizationHeaderMalformed" | "PermanentRedirect" | "IllegalLocationConstraintException") => {
            (format!("the bucket is in another region ({words})"), Some(REGION))
        }
        _ if text.contains("redirect without LOCATION") => {
            ("the bucket is in another region".to_owned(), Some(REGION))
        }
        _ if is_denied(error) => (format!("the store does not allow it ({words})"), Some(PERMISSIONS)),
        _ => (format!("the store says {words}"), None),
    }
}

const fn is_denied(error: &object_store::Error) -> bool {
    matches!(
        error,
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }
    )
}

/// Whether the store can do without what was asked for.
pub(super) fn is_not_implemented(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. })
        || chain(error).contains("code: 501")
}

fn causes(error: &object_store::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    let first: &(dyn Error + 'static) = error;
    std::iter::successors(Some(first), |error: &&(dyn Error + 'static)| (*error).source())
}

fn chain(error: &object_store::Error) -> String {
    causes(error).map(|error| error.to_string()).collect::<Vec<_>>().join("\n")
}

fn http_error(error: &object_store::Error) -> Option<&HttpError> {
    causes(error).find_map(|error| error.downcast_ref())
}

fn deepest(error: &HttpError) -> String {
    let mut error: &dyn Error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    plain(&error.to_string())
}

/// The status that an answer without words had.
fn status(text: &str) -> Option<String> {
    between(text, "status code: ", ":").filter(|status| !status.is_empty())
}

fn between(text: &str, start: &str, end: &str) -> Option<String> {
    let (_, rest) = text.split_once(start)?;
    rest.split_once(end).map(|(inside, _)| plain(inside))
}

/// Without what could disturb a terminal, and not too long.
fn plain(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(WORDS_MAX).collect()
}
