//! Generates tag soup for the tests: pages that no person would write, but that all
//! parsers must read alike. A seed always gives the same page.

/// A small generator of random numbers (xorshift), so that a seed names a test.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % n
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

const INLINE: &[&str] =
    &["a", "b", "i", "code", "em", "font", "nobr", "span", "tt", "u", "small", "q", "x-y"];
const BLOCK: &[&str] =
    &["p", "div", "ul", "ol", "li", "dl", "dt", "dd", "h1", "h2", "pre", "section", "main", "center"];
const TABLE: &[&str] = &["table", "tr", "td", "th", "tbody", "thead", "tfoot", "caption", "colgroup", "col"];
const CONTROL: &[&str] =
    &["form", "button", "select", "option", "optgroup", "input", "textarea", "object", "marquee"];
const VOID: &[&str] =
    &["br", "hr", "img", "wbr", "area", "embed", "param", "source", "image", "keygen", "track"];
const HEAD: &[&str] =
    &["html", "head", "body", "title", "meta", "link", "base", "style", "script", "noscript"];
const RARE: &[&str] = &[
    "svg",
    "math",
    "template",
    "frameset",
    "frame",
    "plaintext",
    "xmp",
    "iframe",
    "noembed",
    "noframes",
    "ruby",
    "rt",
    "rp",
    "rb",
    "rtc",
    "listing",
    "address",
    "search",
    "dialog",
    "applet",
    "path",
    "desc",
    "mi",
    "foreignobject",
    "menuitem",
    "isindex",
    "details",
    "summary",
    "figure",
    "nav",
    "article",
    "a\0b",
];

const ATTRIBUTES: &[&str] = &[
    " href=x",
    " href='y z'",
    " href=\"&amp;q=1&copy=2\"",
    " HREF=Z",
    " href",
    " href=",
    " href=''",
    " href=a/",
    " class=c",
    " class=' c d '",
    " CLASS=C",
    " id=i",
    " id='i'",
    " title='a>b'",
    " title=it's",
    " a=\"'\" href=w",
    " href=1 href=2",
    "/href=v",
    " =href=u",
    " 'href'=t",
    " type=hidden",
    " type=HIDDEN",
    " type=text",
    " rel=Next",
    " rel='next prev'",
    " src=s.png",
    " href='\r\n a\0b '",
    " href=caf\u{e9}",
    " /",
    " lang=en",
    " color=red",
    " href=javascript:x",
    " href=#f",
    " href=../u",
];

const TEXTS: &[&str] = &[
    "text", " ", "\n", " a b ", "&amp;", "&lt", "&ampx", "&#65;", "&#13;", "&nbsp;", "\u{e9}", "\n\nx",
    "\r\n", "<", "< a", "&", "&;", "\0", "x\0y", "&notit;", "&#10;", "</", "</>", "</ p>", "<3", "<!",
    "<?pi x>", "]]>",
];

const ODD: &[&str] = &[
    "<!-- c -->",
    "<!-->",
    "<!--->",
    "<!-- a -- b -->",
    "<!--x--!>",
    "<!doctype html>",
    "<!DOCTYPE x>",
    "<![CDATA[x]]>",
    "<!-- <a href=no> -->",
    "<!bogus>",
    "</p>",
    "</br>",
    "<script>var a='<a href=no>';</script>",
    "<script><!-- <script> </script> --></script>",
    "<script><!--</script>",
    "<style>a{}</style>",
    "<title>T &amp; <b>t</b></title>",
    "<textarea>\n<p>x</textarea>",
    "<svg><title>s</title><path d=x /></svg>",
    "<svg><a href=no>",
    "<math><mi>x</mi></math>",
    "<a href=x>",
    "</a>",
    "<p><a href=p1>x</a></p>",
    "<table><tr><td><a href=t1>x</a></td></tr></table>",
    "<li><a href=l1>x</a>",
    "<select><option>o</select>",
    "<p class=c>",
    "<div id=i>",
    "<base href=http://b.example/c/>",
    "<meta property=og:title content='a &amp; b'>",
    "<meta name=author property='' content=x>",
    "<meta name=k content>",
    "<meta property=og:x>",
    "<script type=application/ld+json>{\"a\": \"&amp;<b>\"}</script>",
    "<script type=' application/ld+json'>[1]</script>",
    "<script TYPE=Application/LD+JSON>[{}",
    "</body>",
    "</html>",
    "</title>",
    "</script>",
    "<noscript><img src=n></noscript>",
    "<iframe src=f><a href=no></iframe>",
    "<a href=x><table>",
    "<b><p>",
    "</b>",
    "<meta charset=koi8-r>",
    "<meta http-equiv=Content-Type content='text/html; charset=gbk'>",
    "<template><meta charset=big5></template>",
    "<math><annotation-xml encoding=text/html>",
];

/// A page of about `parts` parts.
pub(crate) fn page(random: &mut Random, parts: usize) -> String {
    let mut page = String::new();
    if random.below(2) == 0 {
        page.push_str(random.pick(&[
            "<!doctype html>",
            "<!DOCTYPE html PUBLIC \"-//W3C//DTD HTML 4.01 Transitional//EN\">",
            "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 3.2//EN\">",
            " <html><head><title>t</title></head><body>",
        ]));
    }
    // A page uses few names, so that its tags match each other.
    let mut names = Vec::new();
    for _ in 0..3 + random.below(5) {
        let kind = [INLINE, BLOCK, TABLE, BLOCK, INLINE, TABLE, CONTROL, VOID, HEAD, RARE][random.below(10)];
        names.push(random.pick(kind));
    }
    let mut open: Vec<&str> = Vec::new();
    for _ in 0..random.below(parts) {
        part(random, &names, &mut open, &mut page);
    }
    page
}

fn part<'n>(random: &mut Random, names: &[&'n str], open: &mut Vec<&'n str>, page: &mut String) {
    match random.below(16) {
        0..=5 => {
            let name = random.pick(names);
            page.push('<');
            page.push_str(&if random.below(20) == 0 { name.to_uppercase() } else { name.to_owned() });
            for _ in 0..random.below(3) {
                page.push_str(random.pick(ATTRIBUTES));
            }
            page.push_str(random.pick(&[">", ">", ">", ">", " >", "/>", ""]));
            open.push(name);
        }
        // Close the open elements in order, or any element anywhere.
        6..=9 => {
            let name = if random.below(3) == 0 { None } else { open.pop() };
            let name = name.unwrap_or_else(|| random.pick(names));
            page.push_str("</");
            page.push_str(name);
            page.push_str(random.pick(&[">", ">", ">", ">", " a='>'>", "/>", ""]));
        }
        10..=13 => page.push_str(random.pick(TEXTS)),
        _ => page.push_str(random.pick(ODD)),
    }
}
