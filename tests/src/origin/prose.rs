//! Words, sentences and blocks of HTML as real pages have them: entities, unclosed tags, odd quoting, foreign
//! scripts. Seeded, so that a page has the same bytes at each request.

use fastrand::Rng;

const WORDS: &[&str] = &[
    "account",
    "after",
    "archive",
    "as",
    "at",
    "balance",
    "batch",
    "before",
    "between",
    "bridge",
    "café",
    "carrier",
    "channel",
    "city",
    "column",
    "copper",
    "count",
    "crossing",
    "daily",
    "delay",
    "depot",
    "district",
    "each",
    "engine",
    "every",
    "façade",
    "ferry",
    "field",
    "for",
    "fraction",
    "freight",
    "from",
    "garden",
    "grain",
    "harbour",
    "host",
    "in",
    "index",
    "journal",
    "kernel",
    "ledger",
    "library",
    "lighthouse",
    "Łódź",
    "market",
    "measure",
    "meadow",
    "mill",
    "more",
    "naïve",
    "never",
    "night",
    "north",
    "of",
    "on",
    "orchard",
    "page",
    "passage",
    "platform",
    "query",
    "quiet",
    "railway",
    "record",
    "reservoir",
    "river",
    "römisch",
    "signal",
    "silver",
    "since",
    "slice",
    "station",
    "summer",
    "table",
    "than",
    "the",
    "through",
    "timber",
    "to",
    "tower",
    "train",
    "under",
    "valley",
    "village",
    "water",
    "weather",
    "west",
    "window",
    "winter",
    "with",
    "without",
    "Москва",
    "東京",
    "yard",
    "year",
];

/// Fragments that parsers disagree about if they decode entities carelessly.
const ENTITIES: &[&str] = &[
    "&amp;",
    "&lt;b&gt;",
    "&quot;so&quot;",
    "&nbsp;",
    "&eacute;t&eacute;",
    "&#8212;",
    "&#x1F682;",
    "&copy",
    "&notit;",
    "AT&T",
    "a &lt b",
    "&hellip;",
    "&#128;",
    "&unknown;",
];

/// Returns one word.
pub fn word(rng: &mut Rng) -> &'static str {
    rng.choice(WORDS).copied().unwrap_or("word")
}

/// Returns `count` words separated by spaces.
#[must_use]
pub fn words(rng: &mut Rng, count: usize) -> String {
    let words: Vec<_> = (0..count).map(|_| word(rng)).collect();
    words.join(" ")
}

/// Returns an entity for one word in thirty.
#[must_use]
pub fn sentence(rng: &mut Rng) -> String {
    let mut text = String::new();
    for place in 0..rng.usize(6..20) {
        if place > 0 {
            text.push(' ');
        }
        if rng.u8(..) < 9 {
            text.push_str(rng.choice(ENTITIES).copied().unwrap_or("&amp;"));
        } else {
            text.push_str(word(rng));
        }
    }
    text.push('.');
    text
}

/// Returns an anchor to `href`, in one of seven styles.
#[must_use]
pub fn anchor(rng: &mut Rng, href: &str) -> String {
    let text = words(rng, 2);
    match rng.u8(..12) {
        0 => format!("<A HREF='{href}'>{text}</A>"),
        1 => format!("<a class=more href={href}>{text}</a>"),
        2 => format!("<a  title=\"{text} &amp; more\"\n   href = \"{href}\" ><b>{text}</b></a>"),
        3 => format!("<a href=\" {href}\n\"><img src=\"/site/image/{}.png\" alt=\"{text}\"></a>", rng.u8(..)),
        _ => format!("<a href=\"{href}\">{text}</a>"),
    }
}

/// Returns one block of a page's body, and places `links` in it where they fit.
#[must_use]
pub fn block(rng: &mut Rng, links: &[String]) -> String {
    match rng.u8(..10) {
        0 => table(rng, links),
        1 | 2 => list(rng, links),
        3 => figure(rng),
        4 => format!("<pre><code>{}\n{}\n</code></pre>\n", sentence(rng), sentence(rng)),
        5 => format!(
            "<h2 id=\"{}\">{}</h2>\n<!-- <a href=\"/hidden\">not a link</a> -->\n",
            word(rng),
            words(rng, 4)
        ),
        _ => paragraph(rng, links),
    }
}

fn paragraph(rng: &mut Rng, links: &[String]) -> String {
    let mut html = String::from("<p>");
    for href in links {
        html.push_str(&sentence(rng));
        html.push(' ');
        html.push_str(&anchor(rng, href));
        html.push(' ');
    }
    for _ in 0..rng.usize(2..8) {
        html.push_str(&sentence(rng));
        html.push('\n');
    }
    // The end tag of a paragraph is optional and often left out.
    html.push_str(if rng.bool() { "</p>\n" } else { "\n" });
    html
}

fn list(rng: &mut Rng, links: &[String]) -> String {
    let mut html = String::from("<ul class=\"plain\">\n");
    for href in links {
        html.push_str(&format!("  <li>{}: {}\n", sentence(rng), anchor(rng, href)));
    }
    for _ in 0..rng.usize(1..6) {
        html.push_str(&format!("  <li>{}</li>\n", sentence(rng)));
    }
    html.push_str("</ul>\n");
    html
}

fn table(rng: &mut Rng, links: &[String]) -> String {
    let mut html = format!("<table border=1><caption>{}</caption>\n<tr><th>Name<th>Value\n", words(rng, 3));
    for href in links {
        html.push_str(&format!("<tr><td>{}<td>{}\n", anchor(rng, href), rng.u32(..)));
    }
    for _ in 0..rng.usize(2..9) {
        html.push_str(&format!("<tr><td>{}</td><td class=\"n\">{}</td></tr>\n", words(rng, 2), rng.u16(..)));
    }
    html.push_str("</table>\n");
    html
}

fn figure(rng: &mut Rng) -> String {
    format!(
        "<figure><svg viewBox=\"0 0 9 9\"><title>{}</title><path d=\"M0 0h{}\"/></svg>\
         <img src=\"/site/image/{}.png\" alt=\"{}\"><figcaption>{}</figcaption></figure>\n",
        words(rng, 2),
        rng.u8(1..9),
        rng.u8(..),
        words(rng, 3),
        sentence(rng),
    )
}
