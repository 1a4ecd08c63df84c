"""Do our titles and links equal those of independent parsers?

We fetch every real page; selectolax (Lexbor, an HTML5 parser) and lxml (libxml2, an
older kind) read it from disk. w3lib chooses the charset, and ada-url resolves links as
browsers do. A page counts as equal when its title and all of its links are, in order.
Differences are sorted into classes, each with an example.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Callable, Iterator

import ada_url
from lxml import html
from selectolax.lexbor import LexborHTMLParser
from w3lib.encoding import html_to_unicode

from cases import BOTH, LINKS, TITLE, Setting
from corpus import SAVED_PAGES
from measure import run

BAR = 0.999
SPACE = " \t\n\r\f"


@dataclass(frozen=True)
class Page:
    """The result of one parser."""

    title: str | None
    base: str | None
    hrefs: list[str]

    def links(self, url: str) -> list[str]:
        """Return the links as a browser resolves them; a link that is not a URL is kept unchanged."""
        base = resolved(url, self.base) if self.base else url
        return [resolved(base, href) for href in self.hrefs]


def resolved(base: str, href: str) -> str:
    """Resolve one link against its base."""
    try:
        return ada_url.join_url(base, href)
    except ValueError:
        return href.strip(SPACE)


def by_selectolax(text: str) -> Page:
    """Return what an HTML5 parser finds."""
    tree = LexborHTMLParser(text)
    title, base = tree.css_first("title"), tree.css_first("base[href]")
    return Page(
        title.text().strip() if title else None,
        base.attributes["href"] if base else None,
        [a.attributes["href"] or "" for a in tree.css("a[href]")],
    )


def by_lxml(text: str) -> Page:
    """Return what libxml2 finds."""
    # lxml rejects an encoding declaration in text that is already decoded.
    tree = html.document_fromstring(text.encode(), parser=html.HTMLParser(encoding="utf-8"))
    title, base = tree.find(".//title"), tree.xpath("//base/@href")
    return Page(
        title.text_content().strip() if title is not None else None,
        base[0] if base else None,
        [str(href) for href in tree.xpath("//a/@href")],
    )


@dataclass
class Tally:
    """How well one oracle agrees with us."""

    pages: int = 0
    equal: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, url: str, differences: list[tuple[str, str]]) -> None:
        """Record the result of one page."""
        self.pages += 1
        self.equal += not differences
        for kind, example in differences:
            self.classes[kind] += 1
            self.examples.setdefault(kind, f"{url.split('/', 3)[3]}: {example}")


def differences(ours: dict[str, object], theirs: Page, url: str) -> list[tuple[str, str]]:
    """Return (class, example) for each kind of difference; a class counts once per page."""
    found = {}
    if ours["title"] != theirs.title:
        found[title_class(ours["title"], theirs.title)] = f"{ours['title']!r} against {theirs.title!r}"
    links, expected = ours["links"], theirs.links(url)
    if len(links) != len(expected):
        missing, extra = Counter(expected) - Counter(links), Counter(links) - Counter(expected)
        kind = "fewer links" if len(links) < len(expected) else "more links"
        found[kind] = f"{len(links)} against {len(expected)}, e.g. {next(iter(missing or extra), '')!r}"
    else:
        for mine, other in zip(links, expected):
            if mine != other:
                found.setdefault(link_class(mine, other), f"{mine!r} against {other!r}")
    return list(found.items())


def title_class(ours: str | None, theirs: str | None) -> str:
    """Return how two titles differ."""
    if ours is None or theirs is None:
        return "title: only one has it"
    if ours.split() == theirs.split():
        return "title: white space"
    if "\ufffd" in ours or "\ufffd" in theirs:
        return "title: charset"
    return "title: text"


def link_class(ours: str | None, theirs: str) -> str:
    """Return how two links differ."""
    if ours is None:
        return "link: missing value"
    if ours.split() == theirs.split():
        return "link: white space"
    if ":" not in theirs.split("/")[0] or ":" not in ours.split("/")[0]:
        return "link: only one takes it for a URL"
    if ours.rstrip("/") == theirs.rstrip("/"):
        return "link: trailing slash"
    if ours.split("#")[0] == theirs.split("#")[0]:
        return "link: fragment"
    return "link: address"


def records(setting: Setting, count: int) -> Iterator[dict[str, object]]:
    """Return our records of all pages, in the order of the corpus."""
    inputs = setting.written("equality", setting.corpus.urls(setting.origin, count))
    home = setting.work / "equality"
    run(setting.ours("fetch", inputs, count, BOTH, [*TITLE, *LINKS, "--ordered"]), home)
    with open(home / "out", encoding="utf-8") as file:
        yield from map(json.loads, file)


ORACLES: dict[str, Callable[[str], Page]] = {"selectolax": by_selectolax, "lxml": by_lxml}


def check(setting: Setting) -> str:
    """Compare every page with every oracle, and return the result as Markdown."""
    count = setting.scaled(SAVED_PAGES)
    tallies = {name: Tally() for name in ORACLES}
    for path, record in zip(setting.corpus.files(count), records(setting, count)):
        with open(path, "rb") as file:
            _, text = html_to_unicode("text/html", file.read())
        for name, oracle in ORACLES.items():
            url = record["final_url"]
            tallies[name].add(url, differences(record["fields"], oracle(text), url))
    verdict = "\n".join(line for name, tally in tallies.items() for line in told(name, tally))
    print(verdict, flush=True)
    return verdict


def told(name: str, tally: Tally) -> Iterator[str]:
    """Format a tally as Markdown."""
    share = tally.equal / tally.pages
    word = "met" if share >= BAR else "**missed**"
    yield f"- {name}: {tally.equal:,} of {tally.pages:,} pages equal ({share:.3%}; bar {BAR:.1%}: {word})"
    for kind, pages in tally.classes.most_common():
        yield f"    - {kind}: {pages} pages, such as {tally.examples[kind][:300]}"
