use super::*;

fn field(name: &str, selector: &str, take: Take, every: bool) -> Field {
    Field {
        name: name.into(),
        source: Source::Css { selector: selector.into(), take },
        every,
        pipes: Vec::new(),
    }
}

fn attribute(name: &str) -> Take {
    Take::Attribute(name.into())
}

#[test]
fn fields_parse() {
    let cases = [
        ("title=title::text", field("title", "title", Take::Text, false)),
        ("title=title", field("title", "title", Take::Text, false)),
        ("links[]=a::attr(href)", field("links", "a", attribute("href"), true)),
        ("links[]=a::attr( HREF )", field("links", "a", attribute("HREF"), true)),
        ("x=use::attr(xlink:href)", field("x", "use", attribute("xlink:href"), false)),
        ("x=svg::attr(viewBox)", field("x", "svg", attribute("viewBox"), false)),
        ("x=div ::text", field("x", "div *", Take::Text, false)),
        ("x=div\n::attr(id)", field("x", "div *", attribute("id"), false)),
        ("x=h1, h2 > ::html", field("x", "h1, h2 > *", Take::Html, false)),
        ("x=div ", field("x", "div", Take::Text, false)),
        ("x=a:is(:link, :not(:hover))", field("x", "a:is(:link, :not(:hover))", Take::Text, false)),
        ("x=p:lang(en, '*-CH'):dir(rtl)", field("x", "p:lang(en, '*-CH'):dir(rtl)", Take::Text, false)),
        ("heads[]=h1, h2::text", field("heads", "h1, h2", Take::Text, true)),
        ("x=a[title=\"x::y\"]::attr(id)", field("x", "a[title=\"x::y\"]", attribute("id"), false)),
        ("x=a[title='=']", field("x", "a[title='=']", Take::Text, false)),
        (" x [] = div > p::text ", field("x", "div > p", Take::Text, true)),
        ("größe=span.größe", field("größe", "span.größe", Take::Text, false)),
        ("x=a\\:\\:b::text", field("x", "a\\:\\:b", Take::Text, false)),
        ("x=li:nth-child(2n+1)", field("x", "li:nth-child(2n+1)", Take::Text, false)),
        ("x=:is(h1, h2):not(.a)", field("x", ":is(h1, h2):not(.a)", Take::Text, false)),
        ("x=a::HTML", field("x", "a", Take::Html, false)),
        ("x=a::ATTR(data-id)", field("x", "a", attribute("data-id"), false)),
    ];
    for (flag, expected) in cases {
        assert_eq!(Field::parse(flag).unwrap(), expected, "{flag}");
    }
}

#[test]
fn refusals_say_what_where_and_how() {
    // (flag, position, a part of the problem, a part of the fix)
    let cases = [
        ("title", 6, "no `=`", "NAME=SELECTOR"),
        ("", 1, "no `=`", "NAME=SELECTOR"),
        ("=title", 1, "name before `=` is empty", "NAME=SELECTOR"),
        ("[]=title", 1, "name before `=` is empty", "NAME=SELECTOR"),
        ("a[href=x]=a", 2, "brackets", "NAME=SELECTOR"),
        ("[]links=a", 1, "brackets", "NAME=SELECTOR"),
        ("t=", 3, "selector is empty", "h1::text"),
        ("t=  ", 5, "selector is empty", "h1::text"),
        ("t=::text", 3, "selector is empty", "h1::text"),
        ("t=h1::htm", 5, "`::htm` is not a step", "did you mean ::html"),
        ("t=a::href", 4, "`::href` is not a step", "did you mean ::attr(href)"),
        ("t=a::xyzzy", 4, "`::xyzzy` is not a step", "end it with ::text, ::attr(NAME) or ::html"),
        ("t=h1::text::attr(x)", 5, "is not a step", "once"),
        ("t=h1::text, h2::text", 5, "inside a list", "after the whole selector"),
        ("t=a::attr(href", 4, "not closed", "::attr(NAME)"),
        ("t=a::attr()", 4, "`` is not an attribute's name", "::attr(NAME)"),
        ("t=a::attr('href')", 4, "not an attribute's name", "::attr(NAME)"),
        ("t=a::attr(href) b", 4, "`b` follows the last step", "::attr(NAME)"),
        ("t=a[href", 4, "bracket is not closed", "`]`"),
        ("t=a[title=\"x]::text", 11, "string", "close it"),
        ("t=a:not(b", 8, "bracket is not closed", "`)`"),
        ("t=a\\", 4, "nothing to escape", "drop it"),
        ("t=a /* b */", 5, "a comment", "drop it"),
        ("t=h1 >", 7, "combinator", "drop it"),
        ("t=h1,", 6, "selector is missing", "CSS selector"),
        ("t=, h1", 3, "selector is missing", "CSS selector"),
        ("t=é, a:hovr", 7, "no pseudo-class `:hovr`", "did you mean `:hover`?"),
        ("t=a:xyzzy", 4, "no pseudo-class `:xyzzy`", ":not()"),
        ("t=a:is(b, :xyzzy)", 11, "no pseudo-class", ":not()"),
        ("t=a:where(:not(:chked(x)))", 16, "no pseudo-class", "`:checked`"),
        ("t=a:not(:has(:is(:nth-chld(2))))", 18, "no pseudo-class", "`:nth-child`"),
        ("t=a:before", 4, "no pseudo-elements", ":not()"),
        ("t=a:dir(up)", 11, "not CSS", "CSS selector"),
        ("t=a:is()", 9, "selector is missing", "CSS selector"),
        ("t=p:nth-child(2 of)", 20, "selector is missing", "CSS selector"),
        ("t=a:lang()", 10, "not CSS", "CSS selector"),
        ("t=a:is(b,)", 11, "selector is missing", "CSS selector"),
        ("t=h1, ::text", 6, "selector is missing", "CSS selector"),
        ("t=h1 + $", 9, "combinator", "name the element"),
        ("t=a[=x]", 7, "attribute test", "[href]"),
        ("t=svg|a", 7, "`a` is not a step", "the steps are"),
        ("t=a.", 4, "not CSS", "CSS selector"),
    ];
    for (flag, position, problem, fix) in cases {
        let error = Field::parse(flag).unwrap_err();
        assert_eq!(error.position, position, "{error}");
        assert!(error.problem.contains(problem), "{error}");
        assert!(error.fix.contains(fix), "{error}");
        assert!(error.to_string().contains(flag), "{error}");
    }
}

#[test]
fn steps_parse() {
    use Pipe::{Default, First, Float, Int, Join, Re, Strip, Url};
    let cases = [
        ("t=title::text | re(^(.*) - )", vec![Re("^(.*) - ".into())]),
        ("t=h1|strip|int", vec![Strip, Int]),
        ("t[]=h1 | float | first", vec![Float, First]),
        ("t[]=h1 | join(, )", vec![Join(", ".into())]),
        ("t[]=h1 | join( | ) | strip", vec![Join(" | ".into()), Strip]),
        ("t[]=h1 | join(\\n\\)\\\\)", vec![Join("\n)\\".into())]),
        ("t[]=h1 | join()", vec![Join(String::new())]),
        ("t=h1 | re([)]\\)(x|y)) | url", vec![Re("[)]\\)(x|y)".into()), Url]),
        ("t=h1 | re([]()]x)", vec![Re("[]()]x".into())]),
        ("t=h1 | re([^]()]x)", vec![Re("[^]()]x".into())]),
        ("t=h1 | re([^^]x)", vec![Re("[^^]x".into())]),
        ("t=h1 | int | default(0)", vec![Int, Default("0".into())]),
        ("t=h1 | default(none) | strip", vec![Default("none".into()), Strip]),
        ("t=$.a | int", vec![Int]),
        ("t[]=$..a[?@.b || @.c] | join(;) | re(x)", vec![Join(";".into()), Re("x".into())]),
    ];
    for (flag, expected) in cases {
        let field = Field::parse(flag).unwrap();
        assert_eq!(field.pipes, expected, "{flag}");
        // A field that is written and parsed again is the same field.
        assert_eq!(Field::parse(&field.to_string()).unwrap(), field, "{flag}");
    }
}

#[test]
fn refusals_of_steps_say_what_where_and_how() {
    let cases = [
        ("t=h1 | ", 8, "a step is missing", "the steps are"),
        ("t=h1 | lower", 8, "`lower` is not a step", "the steps are"),
        ("t=h1 | stripp", 8, "`stripp` is not a step", "did you mean `strip`"),
        ("t=h1::text | flaot", 14, "not a step", "did you mean `float`"),
        ("t=h1 | strip int", 14, "`int` follows a step", "`|`"),
        ("t=h1 | strip()", 13, "`strip` takes no argument", "parentheses"),
        ("t=h1 | re", 10, "`re` needs an argument", "re("),
        ("t=h1 | re(a", 10, "parenthesis is not closed", "`)`"),
        ("t=h1 | re((a)", 10, "parenthesis is not closed", "`)`"),
        ("t=h1 | re([)", 10, "parenthesis is not closed", "`)`"),
        ("t=h1 | re(é{2,1})", 12, "regular expression", "look-around"),
        ("t=h1 | re((?=x))", 11, "regular expression", "look-around"),
        ("t=h1 | re((\\w{100}){100}{100})", 11, "too large", "repetitions"),
        ("t=h1 | re(a))", 13, "`)` follows a step", "`|`"),
        ("t=h1 | first", 8, "`first` takes a list", "NAME[]="),
        ("t=h1 | join(,)", 8, "`join` takes a list", "NAME[]="),
        ("t[]=h1 | first | join(,)", 18, "`join` takes a list", "NAME[]="),
        ("t=h1 | int | re(x)", 14, "`re` takes text", "before `int`"),
        ("t=h1 | float | int", 16, "`int` takes text", "before `int`"),
        ("t=h1 | int | default(x)", 14, "`x` is not a number", "default(0)"),
        ("t=h1 | default()", 8, "needs a value", "default(none)"),
        ("t=//h1 | lowr", 10, "`lowr` is not a step", "the steps are"),
        ("t=$.a | nope(x)", 9, "`nope` is not a step", "the steps are"),
    ];
    for (flag, position, problem, fix) in cases {
        let error = Field::parse(flag).expect_err(flag);
        assert_eq!(error.position, position, "{error}");
        assert!(error.problem.contains(problem), "{error}");
        assert!(error.fix.contains(fix), "{error}");
    }
}

#[test]
fn json_path_is_recognized_by_its_start_and_errors_have_a_position() {
    for path in [
        "$",
        "$.store.book[0].title",
        "$..price",
        "$['a b'][\"c\"][-1][1:2:3][:][::-1][*].*",
        "$..[?@.price < 10 && !(@.x == 'y' || @.z)].title",
        "$[?length(@.a) > 2][?count(@.*) == 1][?match(@.b, 'x.*')][?search(@.b, @.c)]",
        "$[?@.a == $.b][?value(@..c) != null][?@['d'] >= -1.5e3][?!@.e]",
        "$.größe['\\u00e9\\ud83d\\ude00\\n']",
        "$ .a [0] ..b",
    ] {
        let field = Field::parse(&format!("x={path} | int")).unwrap();
        assert_eq!(field.source, Source::JsonPath(path.to_owned()));
    }
    for (path, position, problem) in [
        ("$.", 5, "a name is missing"),
        ("$.a b", 7, "`b` is not allowed"),
        ("$a", 4, "`a` is not allowed"),
        ("$[", 5, "a name in quotes"),
        ("$[a]", 5, "a name in quotes"),
        ("$['a'", 8, "`]` is missing"),
        ("$['a]", 5, "not closed"),
        ("$[01]", 5, "write 1 instead of"),
        ("$[99999999999999999]", 5, "too large"),
        ("$[-9223372036854775808]", 5, "too large"),
        ("$[?@.a = 1]", 10, "`]` is missing before `=`"),
        ("$[?1]", 7, "a comparison is missing"),
        ("$[?@.* == 1]", 6, "several values"),
        ("$[?match(@.a, '[')]", 17, "not a regular expression"),
        ("$[?match(@.a, 'b') == true]", 6, "cannot be compared"),
        ("$[?lenght(@.a) > 1]", 6, "`lenght` is not a function"),
        ("$[?!@.a == 1]", 7, "parentheses"),
        ("$['\\x']", 7, "is not an escape"),
        ("$['\\ud800']", 12, "surrogate"),
    ] {
        let flag = format!("x={path}");
        let error = Field::parse(&flag).expect_err(&flag);
        assert_eq!(error.position, position, "{error}");
        assert!(error.problem.contains(problem), "{error}");
    }
    for nested in
        ["$[?(".repeat(100), format!("$[?{}", "(".repeat(50_000)), format!("${}", "[?@".repeat(50_000))]
    {
        let error = Field::parse(&format!("x={nested}")).unwrap_err();
        assert!(error.problem.contains("too deep"), "{}", error.problem);
    }
}

#[cfg(feature = "xpath")]
#[test]
fn x_path_is_recognized_by_its_start_and_errors_have_a_position() {
    for path in [
        "//h1/text()",
        "/html/head/title",
        "./a/@href",
        "../b",
        "(//a)[1]",
        "//a[@href and not(contains(@class, 'x'))]/@href",
        "//h1 | //h2",
        "//*[position() > 1 and last() - 1 div 2 mod 3 * 4 = -1]",
        "//div[* * * = div div div]",
        "//p/following-sibling::*[1]/self::p[.//b]",
        "//text()[normalize-space()] | //comment() | //node()",
        "//processing-instruction('x')",
    ] {
        let field = Field::parse(&format!("x[]={path} | first")).unwrap();
        assert_eq!(field.source, Source::XPath(path.to_owned()));
    }
    let element = Field::parse("x=xpath").unwrap();
    assert!(matches!(element.source, Source::Css { .. }));
    assert_eq!(Field::parse(&element.to_string()).unwrap(), element);
    let field = Field::parse("n=xpath:count(//a) | int").unwrap();
    assert_eq!(field.source, Source::XPath("count(//a)".to_owned()));
    for (path, position, problem) in [
        ("//", 5, "a name, `*`, `@` or `.` is missing before the end"),
        ("//a[", 7, "is missing before the end"),
        ("//a[1", 8, "`]` is missing before the end"),
        ("//a]", 6, "`]` is not allowed"),
        ("//a['x]", 7, "not closed"),
        ("//a[$x]", 7, "variables are not supported"),
        ("//a b", 7, "an operator is missing before `b`"),
        ("//svg:path", 8, "`:` is not allowed"),
        ("//sibling::a", 5, "`sibling::` is not an axis"),
        ("//a[contain(., 'x')]", 7, "did you mean `contains()`"),
        ("//a[contains('x')]", 7, "does not take 1 arguments"),
        ("//a[count(1)]", 7, "takes nodes"),
        ("//a[local-name(3)]", 7, "takes nodes"),
        ("//a[name('x')]", 7, "takes nodes"),
        ("//a[namespace-uri(true())]", 7, "takes nodes"),
        ("//a[sum(string(.))]", 7, "takes nodes"),
        ("//a[true(1)]", 7, "does not take 1 arguments"),
        ("//a/foo()", 7, "cannot be a step"),
        ("//a | (1)", 12, "returns no nodes"),
        ("//a[!b]", 7, "`!` is not an operator"),
    ] {
        let flag = format!("x={path}");
        let error = Field::parse(&flag).expect_err(&flag);
        assert_eq!(error.position, position, "{error}");
        assert!(error.problem.contains(problem), "{error}");
    }
    for (garbage, problem) in [
        (format!("//a{}", "[b".repeat(100)), "too deep"),
        ("(".repeat(100_000), "too"),
        (format!("//a[{}1]", "-".repeat(100_000)), "too long"),
        (format!("//a[1{}]", "+1".repeat(100_000)), "too long"),
    ] {
        let error = Field::parse(&format!("x={garbage}")).unwrap_err();
        assert!(error.problem.contains(problem), "{}", error.problem);
    }
}

#[cfg(not(feature = "xpath"))]
#[test]
fn a_build_without_x_path_says_so() {
    let error = Field::parse("x=//h1").unwrap_err();
    assert!(error.to_string().contains("no XPath, at character 3; use CSS, or build"), "{error}");
}

#[test]
fn items_parse_and_go_with_their_fields() {
    assert_eq!(Each::parse(" div.product ").unwrap(), Each::Css("div.product".into()));
    assert_eq!(Each::parse("$.items[*]").unwrap(), Each::JsonPath("$.items[*]".into()));
    for (flag, position, problem) in [
        ("", 1, "selector is empty"),
        ("div::text", 4, "is not allowed here"),
        ("div | strip", 5, "is not allowed here"),
        ("div[", 4, "not closed"),
        ("$.", 3, "a name is missing"),
    ] {
        let error = Each::parse(flag).unwrap_err();
        assert_eq!((error.option, error.position), ("--each", position), "{error}");
        assert!(error.problem.contains(problem), "{error}");
    }
    let fields = |flags: &[&str]| Field::parse_all(flags).unwrap();
    let (elements, values) = (Each::parse("div").unwrap(), Each::parse("$.a").unwrap());
    assert_eq!(elements.check(&fields(&["t=h1"])), Ok(()));
    assert_eq!(values.check(&fields(&["t=$.b"])), Ok(()));
    assert!(elements.check(&[]).unwrap_err().contains("needs at least one --select"));
    assert!(elements.check(&fields(&["t=$.b"])).unwrap_err().contains("use CSS or XPath in both"));
    assert!(values.check(&fields(&["t=h1"])).unwrap_err().contains("use JSONPath in both"));
    assert_eq!(names(&fields(&["t=h1", "u=a"]), None, &[Preset::Meta]), ["t", "u", "meta"]);
    assert_eq!(names(&fields(&["t=h1", "u=a"]), Some(&elements), &[Preset::JsonLd]), ["items", "jsonld"]);
}

#[test]
fn a_name_can_be_used_once() {
    let fields = Field::parse_all(&["a=h1", "b=h2"]).unwrap();
    assert_eq!(fields.len(), 2);
    let error = Field::parse_all(&["a=h1", "a[]=h2"]).unwrap_err();
    assert!(error.to_string().contains("'a[]=h2': the name `a` is already used"), "{error}");
}
