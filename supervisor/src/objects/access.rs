//! How to reach a store, according to the `AWS_*` variables. Pure.
//!
//! Only known variables are read, by name: a variable for another program changes nothing here.

use std::ffi::OsString;
use std::fmt;

use url::{Host, Url};

/// The variables that are read.
const VARIABLES: [&str; 19] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_STS",
    "AWS_ALLOW_HTTP",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_SERVER_SIDE_ENCRYPTION",
    "AWS_SSE_KMS_KEY_ID",
    "AWS_SSE_BUCKET_KEY_ENABLED",
];

/// Variables that provide credentials.
const CREDENTIALS: [&str; 4] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

/// Endpoints that credentials are sent to.
const ENDPOINTS: [&str; 3] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS"];

/// The variables that are set. Its debug output shows their names only, because some are secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Access {
    set: Vec<(&'static str, String)>,
}

impl Access {
    /// Reads the variables.
    ///
    /// # Errors
    /// The variable that is invalid, and why; never the value of a secret.
    pub fn read(variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, String> {
        let mut set = Vec::new();
        for name in VARIABLES {
            let Some(value) = variable(name).filter(|value| !value.is_empty()) else { continue };
            let value = value.into_string().map_err(|_| format!("{name} is not valid UTF-8"))?;
            set.push((name, value));
        }
        let access = Self { set };
        let (id, secret) = (access.get("AWS_ACCESS_KEY_ID"), access.get("AWS_SECRET_ACCESS_KEY"));
        match (id, secret) {
            (Some(_), None) => {
                return Err("AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not".to_owned());
            }
            (None, Some(_)) => {
                return Err("AWS_SECRET_ACCESS_KEY is set, but AWS_ACCESS_KEY_ID is not".to_owned());
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
        ENDPOINTS.into_iter().try_for_each(|name| access.check_endpoint(name))?;
        Ok(access)
    }

    /// Returns the variables that are set, with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.set.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// Returns the store's address, if it does not follow from the region.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        self.get("AWS_ENDPOINT_URL_S3").or_else(|| self.get("AWS_ENDPOINT_URL"))
    }

    /// Whether a variable provides credentials. Otherwise only the machine itself may have some.
    #[must_use]
    pub fn has_credentials(&self) -> bool {
        CREDENTIALS.iter().any(|name| self.get(name).is_some())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// Checks an endpoint, to which records and session tokens are sent. Unencrypted connections
    /// are only allowed to this machine, or if the user says so.
    fn check_endpoint(&self, name: &str) -> Result<(), String> {
        let Some(text) = self.get(name) else { return Ok(()) };
        let bad = || format!("{name} is not the address of a store; use one such as https://s3.example.org");
        let url = Url::parse(text).map_err(|_| bad())?;
        let is_plain = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        let host = url.host().filter(|_| is_plain).ok_or_else(bad)?;
        let is_here = match &host {
            Host::Domain(domain) => *domain == "localhost" || domain.ends_with(".localhost"),
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        };
        let is_allowed = self.get("AWS_ALLOW_HTTP").is_some_and(|value| matches!(value, "true" | "1"));
        match url.scheme() {
            "https" => Ok(()),
            "http" if is_here || is_allowed => Ok(()),
            "http" => Err(format!(
                "{name} is http://{host}: records would be sent unencrypted; use an https:// address, or set \
                 AWS_ALLOW_HTTP=true to allow that"
            )),
            _ => Err(bad()),
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.set.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[(&str, &str)]) -> Result<Access, String> {
        Access::read(&|name| set.iter().find(|(other, _)| *other == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn set_variables_count_and_stay_hidden() {
        let access = read(&[
            ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "hush"),
            ("AWS_REGION", ""),
            ("AWS_PAGER", "less"),
            ("AWS_ENDPOINT_URL", "https://one.example"),
            ("AWS_ENDPOINT_URL_S3", "https://two.example"),
        ])
        .unwrap();
        assert_eq!(access.endpoint(), Some("https://two.example"));
        assert_eq!(access.iter().count(), 4);
        assert!(access.has_credentials() && !read(&[]).unwrap().has_credentials());
        let shown = format!("{access:?}");
        assert!(!shown.contains("hush") && !shown.contains("AKIA"), "{shown}");
    }

    #[test]
    fn invalid_variables_are_named() {
        for (set, says) in [
            (&[("AWS_ACCESS_KEY_ID", "a")] as &[_], "AWS_SECRET_ACCESS_KEY is not"),
            (&[("AWS_SECRET_ACCESS_KEY", "hush")], "AWS_ACCESS_KEY_ID is not"),
            (&[("AWS_ENDPOINT_URL", "s3.example.org")], "not the address of a store"),
            (&[("AWS_ENDPOINT_URL", "ftp://s3.example.org")], "not the address of a store"),
            (&[("AWS_ENDPOINT_URL", "https://me:hush@s3.example.org")], "not the address of a store"),
            (&[("AWS_ENDPOINT_URL", "http://s3.example.org")], "unencrypted"),
            (&[("AWS_ENDPOINT_URL_S3", "http://10.0.0.1:9000")], "http://10.0.0.1: records"),
            (&[("AWS_ENDPOINT_URL_STS", "http://sts.example.org")], "AWS_ENDPOINT_URL_STS"),
        ] {
            let why = read(set).unwrap_err();
            assert!(why.contains(says) && !why.contains("hush"), "{set:?}: {why}");
        }
        for endpoint in
            ["http://127.0.0.1:5000", "http://localhost:9000", "http://[::1]:1", "https://a.example/x"]
        {
            assert!(read(&[("AWS_ENDPOINT_URL", endpoint)]).is_ok(), "{endpoint}");
        }
        assert!(read(&[("AWS_ENDPOINT_URL", "http://minio:9000"), ("AWS_ALLOW_HTTP", "true")]).is_ok());
    }
}
