//! Explains errors of the store to the user.
//!
//! Of a response, only the store's error code and message are shown. The rest may repeat data that
//! was signed.

use std::error::Error;

use crate::objects::{Object, ObjectError};
use object_store::client::{HttpError, HttpErrorKind};

/// Maximum length of the store's own message that is shown.
const WORDS_MAX: usize = 200;

/// Advice for the user.
const MAKE_BUCKET: &str = "create it first, or name another";
const CREDENTIALS: &str = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_SESSION_TOKEN if they came \
     with one";
const PERMISSIONS: &str = "this requires s3:PutObject, s3:GetObject, s3:ListBucket and s3:AbortMultipartUpload; with \
     --split also s3:DeleteObject";
const REGION: &str = "set AWS_REGION to the region of the bucket";
const NETWORK: &str = "check AWS_ENDPOINT_URL and the network";

/// Converts an error of the store for the user.
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
            let why = "there are no credentials, and this machine has no role that provides them".to_owned();
            return (why, Some(CREDENTIALS));
        }
        let cause = deepest(http);
        let is_connect = http.kind() == HttpErrorKind::Connect;
        let what = if is_connect { "cannot connect to" } else { "the connection failed to" };
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
        ) => (format!("the store rejects the credentials ({words})"), Some(CREDENTIALS)),
        Some("AuthorizationHeaderMalformed" | "PermanentRedirect" | "IllegalLocationConstraintException") => {
            (format!("the bucket is in another region ({words})"), Some(REGION))
        }
        _ if text.contains("redirect without LOCATION") => {
            ("the bucket is in another region".to_owned(), Some(REGION))
        }
        _ if is_denied(error) => (format!("the store denies access ({words})"), Some(PERMISSIONS)),
        _ => (format!("the store reports {words}"), None),
    }
}

const fn is_denied(error: &object_store::Error) -> bool {
    matches!(
        error,
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }
    )
}

/// Whether the store does not support what was asked for.
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

/// Returns the status of a response without a message.
fn status(text: &str) -> Option<String> {
    between(text, "status code: ", ":").filter(|status| !status.is_empty())
}

fn between(text: &str, start: &str, end: &str) -> Option<String> {
    let (_, rest) = text.split_once(start)?;
    rest.split_once(end).map(|(inside, _)| plain(inside))
}

/// Removes characters that could disturb a terminal, and limits the length.
fn plain(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(WORDS_MAX).collect()
}
