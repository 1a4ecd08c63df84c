//! Reads a robots.txt for the supervisor. Hostile bytes are parsed here, in the sandbox; the supervisor gets only the
//! rules that apply to this job.

use shared::record::ErrorKind;
use shared::robots::{RobotsAnswer, RobotsFile};

use super::fetch::{Failure, Outcome};
use super::findings::{Findings, Product};

/// What came of fetching a robots.txt (RFC 9309 § 2.3.1), for the robot with this product token.
pub(super) fn read(outcome: Outcome, token: &str) -> Findings {
    match outcome {
        Ok(fetched) => {
            let file = RobotsFile::parse(&fetched.body, token);
            Findings::of_response(fetched, None, Product::Robots(RobotsAnswer::File(file), None))
        }
        Err(failure) if is_missing(&failure) => Findings {
            status: failure.status,
            product: Product::Robots(RobotsAnswer::Missing, None),
            ..Findings::default()
        },
        Err(failure) => {
            let Failure { kind, message: why, status, retry_after, .. } = *failure;
            let after_ms = retry_after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
            let answer = RobotsAnswer::Unreachable { why, after_ms };
            Findings { status, product: Product::Robots(answer, Some(kind)), ..Findings::default() }
        }
    }
}

/// Whether the server says that there is no file, or leads nowhere. A page at an address that the job may not connect
/// to is not fetched either.
fn is_missing(failure: &Failure) -> bool {
    if failure.kind == ErrorKind::HttpStatus {
        return failure.status.is_some_and(|status| status < 500 && status != 429);
    }
    matches!(failure.kind, ErrorKind::TooManyRedirects | ErrorKind::AddressDenied | ErrorKind::InvalidUrl)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(kind: ErrorKind, status: Option<u16>) -> RobotsAnswer {
        let failure = Failure {
            kind,
            message: "why".to_owned(),
            final_url: None,
            status,
            bytes: 0,
            may_pass: false,
            retry_after: Some(std::time::Duration::from_secs(2)),
            page: None,
        };
        let Product::Robots(answer, _) = read(Err(Box::new(failure)), "muster").product else {
            panic!("it is no answer")
        };
        answer
    }

    #[test]
    fn a_file_that_is_not_there_differs_from_one_that_cannot_be_had() {
        for status in [400, 401, 403, 404, 410, 451] {
            assert_eq!(answer(ErrorKind::HttpStatus, Some(status)), RobotsAnswer::Missing, "{status}");
        }
        assert_eq!(answer(ErrorKind::TooManyRedirects, Some(302)), RobotsAnswer::Missing);
        assert_eq!(answer(ErrorKind::AddressDenied, None), RobotsAnswer::Missing);
        let unreachable = RobotsAnswer::Unreachable { why: "why".to_owned(), after_ms: Some(2000) };
        for status in [429, 500, 503] {
            assert_eq!(answer(ErrorKind::HttpStatus, Some(status)), unreachable, "{status}");
        }
        for kind in
            [ErrorKind::Timeout, ErrorKind::Dns, ErrorKind::Connect, ErrorKind::Tls, ErrorKind::Decode]
        {
            assert_eq!(answer(kind, None), unreachable, "{kind}");
        }
    }

    /// A file has a meaning whatever its bytes are, and the supervisor gets the rules as the worker read them.
    #[test]
    fn fuzz_robots_files() {
        let seeds = [
            "User-agent: muster\nDisallow: /a*b$\nAllow: /a%2fb\nCrawl-delay: 2.5\n",
            "user agent *\r\ndisalow /x # no\r\rAllow:/\u{e4}\nSitemap: http://a/\n",
            "\u{feff}User-agent: a\nUser-agent: *\nDisallow:\nDisallow: /*/*/*?*=*$\n",
        ];
        crate::stage::mutation::mutated(&seeds.map(|text| text.into()), |text, random| {
            let file = RobotsFile::parse(text, "muster");
            let end = random.below(text.len().min(200) + 1);
            let path = format!("/{}", String::from_utf8_lossy(&text[..end]));
            let rule = file.forbids(&path).map(|rule| (rule.line(), rule.pattern().to_owned()));
            let mut message = Vec::new();
            shared::framed::push(&file, &mut message);
            let (received, rest) = shared::framed::first::<RobotsFile>(&message).unwrap();
            assert_eq!((&received, rest.len()), (&file, 0));
            let again = received.forbids(&path).map(|rule| (rule.line(), rule.pattern().to_owned()));
            assert_eq!(rule, again, "{path:?}");
        });
    }
}
