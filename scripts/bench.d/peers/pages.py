"""The extraction that every peer does, with each parser, written in its usual fast way."""

from __future__ import annotations

from typing import Callable

Fields = dict[str, object]
Extract = Callable[[bytes], Fields]


def selectolax(title_only: bool) -> Extract:
    """Lexbor: the fastest HTML parser Python has."""
    from selectolax.lexbor import LexborHTMLParser

    def extract(body: bytes) -> Fields:
        tree = LexborHTMLParser(body)
        title = tree.css_first("title")
        fields: Fields = {"title": title.text().strip() if title else None}
        if not title_only:
            fields["links"] = [a.attributes["href"] for a in tree.css("a[href]")]
        return fields

    return extract


def lxml(title_only: bool) -> Extract:
    """libxml2, which most scrapers use."""
    from lxml import html

    def extract(body: bytes) -> Fields:
        tree = html.document_fromstring(body)
        fields: Fields = {"title": tree.findtext(".//title")}
        if not title_only:
            fields["links"] = tree.xpath("//a/@href")
        return fields

    return extract


def bs4(title_only: bool) -> Extract:
    """BeautifulSoup over lxml, its faster tree builder, as in tutorials."""
    from bs4 import BeautifulSoup

    def extract(body: bytes) -> Fields:
        soup = BeautifulSoup(body, "lxml")
        fields: Fields = {"title": soup.title.get_text() if soup.title else None}
        if not title_only:
            fields["links"] = [a["href"] for a in soup.find_all("a", href=True)]
        return fields

    return extract


PARSERS: dict[str, Callable[[bool], Extract]] = {"selectolax": selectolax, "lxml": lxml, "bs4": bs4}


def lines(path: str) -> list[str]:
    """Read the inputs, one per line."""
    with open(path, encoding="utf-8") as file:
        return file.read().splitlines()
