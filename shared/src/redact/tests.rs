//! What is shown, and that no secret survives in whatever a user may give.

use std::time::Duration;

use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};

use super::*;

#[test]
fn urls_are_shown_without_credentials() {
    for (input, want) in [
        ("http://u:p@a/b#c", "http://***@a/b#c"),
        ("https://u@a", "https://***@a/"),
        ("http:/:p@a/?q=x@y", "http://***@a/?q=x@y"),
        ("http://a/x@y", "http://a/x@y"),
        ("HTTP://A", "HTTP://A"),
        ("no url", "no url"),
        // What cannot be parsed.
        ("http://u:p@a:99999/", "http://***@a:99999/"),
        ("http://u:p@a:99999/x@y", "http://***@a:99999/x@y"),
        ("http://u:p a@b", "http://***@b/"),
        ("http://u:p@[::1", "http://***@[::1"),
        ("http://u:p/q@a b/", "http://***@a b/"),
        ("http:///u:p@a:99999/", "http:///***@a:99999/"),
        ("http:/u:p@a:99999/", "http:/***@a:99999/"),
        ("http:u:p@a:99999/", "***@a:99999/"),
        ("u:p@example.com/x", "***@example.com/x"),
        ("//u:p@example.com", "//***@example.com"),
        // What cannot be parsed, but has no credentials.
        ("http://a:99999/x@y", "http://a:99999/x@y"),
        ("http://a b/x@y?z=x@y", "http://a b/x@y?z=x@y"),
        ("http://[::1/x@y", "http://[::1/x@y"),
        ("mailto:bob@example.com", "mailto:bob@example.com"),
        ("12:30@host", "12:30@host"),
        ("bob@example.com", "bob@example.com"),
        ("/data//12:x@y", "/data//12:x@y"),
        ("//ns:a[@id]", "//ns:a[@id]"),
        ("example.com/@name", "example.com/@name"),
        ("xpath://a[@id]/@href", "xpath://a[@id]/@href"),
        ("t=xpath://a/@href", "t=xpath://a/@href"),
        ("ftp://u:p@a/b", "ftp://***@a/b"),
    ] {
        assert_eq!(url(input), want, "{input}");
    }
}

#[test]
fn texts_are_shown_without_secrets() {
    for (input, want) in [
        ("cannot read urls.txt: permission denied", "cannot read urls.txt: permission denied"),
        ("the token is wrong", "the token is wrong"),
        ("cannot use the token in /etc/t: it has 5", "cannot use the token in /etc/t: it has 5"),
        ("--token-file: No such file", "--token-file: No such file"),
        ("mail bob@example.com, or see http://a/@bob", "mail bob@example.com, or see http://a/@bob"),
        ("write to mailto:bob@example.com at 12:30@host", "write to mailto:bob@example.com at 12:30@host"),
        ("redirect to \"http://u:p@h/\": refused", "redirect to \"http://***@h/\": refused"),
        (r#""redirect to \"http://u:p@h/\"""#, r#""redirect to \"http://***@h/\"""#),
        ("no scheme: write https://u:p@h/x", "no scheme: write https://***@h/x"),
        ("u:p@h is no URL", "***@h is no URL"),
        ("cannot read /data/10:30@x: gone", "cannot read /data/10:30@x: gone"),
        ("GET /x?a=1&access_token=abc&b=2#c", "GET /x?a=1&access_token=***&b=2#c"),
        ("?api_key=1&X-Amz-Signature=f00", "?api_key=***&X-Amz-Signature=***"),
        ("Authorization: Bearer abc def\nnext", "Authorization: ***\nnext"),
        ("'Cookie: a=b; c=d' is refused", "'Cookie: ***' is refused"),
        ("sent X-Api-Key:k", "sent X-Api-Key:***"),
        (
            "{\"headers\":{\"authorization\": \"Basic eA==\"},\"x\":1}",
            "{\"headers\":{\"authorization\": \"***\"},\"x\":1}",
        ),
        ("with Bearer abc.def", "with Bearer ***"),
        ("status=404 items: 3", "status=404 items: 3"),
        ("--password=x y", "--password=*** y"),
        // Quotes within quotes.
        (r#"password="a\"b", c"#, r#"password="***", c"#),
        (r#""password=\"a b\", c""#, r#""password=\"***\", c""#),
        (r#""password=\"a\\\"b\\\\\", c""#, r#""password=\"***\", c""#),
        (r#""password=\"a b", c"#, r#""password=\"***", c"#),
        (r#"{"m":"{\"x-api-key\": \"k\"}"}"#, r#"{"m":"{\"x-api-key\": \"***\"}"}"#),
        // Which quote begins the value is not known if there is one too many.
        ("pwd=\"\n password=\"a b\" c", "pwd=\"***\" c"),
        ("pwd=\" password=\"a b\", c", "pwd=\"***\", c"),
        // A value that ends with a secret name takes that name's value along.
        ("pwd=\"x` {\"Cookie\": \"a b\"} c", "pwd=\"***\"} c"),
        ("key=Cookie: a b\nnext", "key=***\nnext"),
        ("pwd=\"x {\"token\": \"sid\": \"a\"} c", "pwd=\"***\"} c"),
        ("token=\"key\", items: 3", "token=\"***\", items: 3"),
        ("{\"token\":\"a\",\"b\":1}", "{\"token\":\"***\",\"b\":1}"),
        (r#"{"m":"token=a\" b"}"#, r#"{"m":"token=***\" b"}"#),
        (r#"{"m":"'Cookie: a=b\""}"#, r#"{"m":"'Cookie: ***\""}"#),
    ] {
        assert_eq!(text(input), want, "{input}");
    }
}

#[test]
fn command_lines_are_shown_without_secrets() {
    for (input, want) in [
        (
            "fetch|-H|Authorization: Bearer x|-HCookie: a=b|http://u:p@h/",
            "fetch -H Authorization: *** -HCookie: *** http://***@h/",
        ),
        (
            "fetch|--header|X-Mine: 1|--header=Accept: text/html",
            "fetch --header X-Mine: *** --header=Accept: text/html",
        ),
        ("fetch|-H|Authorization Bearer x|u:p q@h", "fetch -H *** ***@h"),
        ("fetch|-H|User-Agent: a (http://u:p@h)", "fetch -H User-Agent: a (http://***@h/)"),
        (
            "map|--|prog|--password|x|TOKEN=y|--api-key=z|-v",
            "map -- prog --password *** TOKEN=*** --api-key=*** -v",
        ),
        ("fetch|-d|a=b|--data=a|-da=b|--json|{}|-X|PUT", "fetch -d *** --data=*** -d*** --json *** -X PUT"),
        ("fetch|--json|@a.json|-d@b|http://h/", "fetch --json @a.json -d@b http://h/"),
        ("serve|--token-file|/etc/token", "serve --token-file /etc/token"),
        ("parse|a.html|--select|t=title", "parse a.html --select t=title"),
    ] {
        assert_eq!(command_line(input.split('|')), want, "{input}");
    }
}

/// Secrets without anything in them that would end them everywhere.
fn secret() -> impl proptest::strategy::Strategy<Value = String> {
    "[a-zA-Z0-9!$*+,.~^-]{8,24}"
}

/// Runs `check` on generated values: a few thousand, or for `MUSTER_FUZZ_SECONDS`.
fn fuzz<S: proptest::strategy::Strategy>(values: &S, check: impl Fn(S::Value)) {
    let seconds = std::env::var("MUSTER_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let until = seconds.map(|seconds| wire::clock::now() + Duration::from_secs(seconds));
    let mut runner = TestRunner::new(Config::default());
    let mut runs = 0;
    while until.map_or(runs < 3_000, |until| wire::clock::now() < until) {
        check(values.new_tree(&mut runner).unwrap().current());
        runs += 1;
    }
    println!("{runs} values");
}

/// URLs with a secret at `@@`.
const URLS: [&str; 10] = [
    "http://u:@@@h/",
    "https://@@@h:8080/p?q#f",
    "http://@@:@h",
    "HTTP://u:x/@@@h/",
    "http://u:@@@h:99999/",
    "http://u:a b@@@[::1",
    "http://u:@@#?/x@h/@name",
    "socks5h://u:@@@h:1080",
    "//u:@@@h/",
    "u:@@@h/p",
];

/// Texts with one.
const TEXTS: [&str; 19] = [
    "cannot fetch http://u:@@@h/p: refused",
    "redirect to \"https://@@@h\": invalid port number",
    "no scheme: write https://u:@@@h",
    "'u:@@@h' is no URL",
    "Authorization: Bearer @@",
    "authorization:@@",
    "{\"Cookie\": \"@@\"}",
    "{'api_key':'@@'}",
    "with Basic @@ in it",
    "GET /p?access_token=@@&x=1 HTTP/1.1",
    "http://h/?a=b;sig=@@",
    "http://h/#id_token=@@",
    "AWS_SECRET_ACCESS_KEY=@@",
    "X-Auth-Token: a @@",
    "Set-Cookie: sid=@@; Path=/",
    "--password=@@",
    "password=\"@@ @@\"",
    "{\"x-api-key\": \"@@\\\" @@\"}",
    "it said 'token': '@@ \"@@'",
];

/// Command lines with one, their arguments divided by `|`.
const LINES: [&str; 12] = [
    "fetch|http://u:@@@h/",
    "fetch|u:a @@@h/",
    "fetch|-H|Authorization: Bearer @@",
    "fetch|-HCookie: a=b; @@",
    "fetch|--header|X-Anything: @@",
    "fetch|--header=@@",
    "fetch|-H|Bearer @@",
    "fetch|-H|Referer: http://u:@@@h/",
    "fetch|http://h/?token=@@",
    "map|--|prog|--token|@@",
    "map|--|prog|PASSWORD=@@",
    "fetch|--proxy|http://u:@@@h:3128",
];

/// Whether it is shown as a URL, a text or a command line.
#[test]
fn no_secret_survives() {
    fuzz(&(secret(), "[ -~\n\u{e4}]{0,30}"), |(secret, noise)| {
        let with = |template: &str| template.replace("@@", &secret);
        for template in URLS {
            let (input, shown) = (with(template), url(&with(template)).into_owned());
            assert!(!shown.contains(&secret), "{input:?} is shown as {shown:?}");
            assert_eq!(url(&shown), shown, "{input:?} is not shown twice alike");
        }
        for template in TEXTS {
            for input in [
                with(template),
                format!("{noise} {}", with(template)),
                format!("{noise}\n{}", with(template)),
            ] {
                let shown = text(&input);
                assert!(!shown.contains(&secret), "{input:?} is shown as {shown:?}");
            }
            // As it is, in quotes, and in quotes within quotes.
            let (once, twice) =
                (format!("{:?}", with(template)), format!("{:?}", format!("{:?}", with(template))));
            for input in [once, twice] {
                let shown = text(&input);
                assert!(!shown.contains(&secret), "{input:?} is shown as {shown:?}");
                let is_whole = serde_json::from_str::<String>(&shown).is_ok();
                assert!(is_whole, "{input:?} is shown as {shown:?}, whose quotes do not match");
            }
        }
        for template in LINES {
            let line = with(template);
            let shown = command_line(line.split('|'));
            assert!(!shown.contains(&secret), "{line:?} is shown as {shown:?}");
        }
        // Nothing fails, whatever it is.
        let _ = (url(&noise), text(&noise), header(&noise), command_line([noise.as_str()]));
    });
}
