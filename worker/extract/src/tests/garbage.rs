//! Any text is either refused as a selector, or can be run on any body.

use proptest::prelude::*;

use super::*;
use crate::soup::{Random, page as soup};

/// Parts of selectors in all three languages.
const PIECES: &[&str] = &[
    "a",
    "b",
    "title",
    "$",
    ".",
    "..",
    "*",
    "/",
    "//",
    "[",
    "]",
    "(",
    ")",
    "@",
    "::",
    "::text",
    "::html",
    "::attr(href)",
    ",",
    ":",
    "#",
    ">",
    "~",
    "+",
    "-",
    "=",
    "==",
    "!",
    "<",
    "|",
    "||",
    "&&",
    "?",
    "'",
    "\"",
    "'a'",
    "1",
    "-1",
    "0",
    "count(",
    "position()",
    "last()",
    "contains(",
    "text()",
    "node()",
    "ancestor::",
    "preceding::",
    ":scope",
    ":not(",
    ":has(",
    ":nth-child(",
    " of ",
    ":is(",
    ":checked",
    ":default",
    ":valid",
    ":lang(",
    ":dir(rtl)",
    ":hover",
    " | strip",
    " | re(",
    "^(.*)",
    "\\",
    " | int",
    " | join(, )",
    " | first",
    " | default(1)",
    " or ",
    " and ",
    " div ",
    " ",
    "\u{e9}",
    "[0]",
    "[*]",
    "[?@.a]",
    "//*",
    "$..*",
    "xpath:",
];

fn check(flag: &str, html: &[u8]) {
    let Ok(field) = Field::parse(flag) else { return };
    let again = Field::parse(&field.to_string()).unwrap_or_else(|error| panic!("{flag} as {field}: {error}"));
    assert_eq!(again, field, "{flag}");
    let extractor = Extractor::new(std::slice::from_ref(&field), None, &[]).unwrap();
    for kind in [Kind::Html, Kind::Xml, Kind::Unknown] {
        let page = Page { kind, ..page(None) };
        let _ = extractor.extract(page, &mut Cursor::new(html));
    }
    let _ = extractor.extract(
        Page { kind: Kind::Json, ..page(None) },
        &mut Cursor::new(br#"{"a":[{"b":1},"x"],"b":null}"#),
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]
    #[test]
    fn garbage_is_refused_or_runs(
        start in "x(\\[\\])?=",
        flag in prop::collection::vec(prop::sample::select(PIECES), 1..9),
        seed in 0_u64..50,
    ) {
        check(&format!("{start}{}", flag.concat()), soup(&mut Random::new(seed), 12).as_bytes());
    }

    #[test]
    fn anything_at_all_is_refused_or_runs(flag in any::<String>(), start in "(x=)?(\\$|/|xpath:|a::)?") {
        check(&format!("{start}{flag}"), b"<a href=x>y</a>");
    }
}

#[test]
fn each_takes_garbage_too() {
    for seed in 0..2000 {
        let mut random = Random::new(seed);
        let pieces =
            ["div", "//", "$", "[", "]", "a", ".", "*", "::text", "@", "(", ")", "|", " ", "'", ":scope"];
        let flag: String = (0..random.below(6)).map(|_| pieces[random.below(pieces.len())]).collect();
        let Ok(each) = Each::parse(&flag) else { continue };
        let fields = Field::parse_all(&["x=b", "y=./a", "z=$.a"]).unwrap();
        let extractor = Extractor::new(&fields, Some(&each), &[Preset::Microdata]).unwrap();
        let html = soup(&mut random, 20);
        extractor.extract(page(None), &mut Cursor::new(html.as_bytes())).unwrap();
    }
}
