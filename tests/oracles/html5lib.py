"""html5lib's tests of encodings, the tokenizer and tree construction, put to both of our engines and to XPath.

Browsers run these tests. They are in html5lib's source package only, which is never installed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator

from html5lib_differences import DIFFERENCES
from programs import Difference, Programs, records

PACKAGE = "html5lib==1.1"
SHA256 = "b2e5b40261e20f354d198eae92afc10d750afb487ed5e50f9c4eaf07c184146f"
SPACE = " \t\n\r\f"
VOID = set("area base basefont bgsound br col embed frame hr img input keygen link meta param source track wbr".split())
RAW = set("style script xmp iframe noembed noframes plaintext".split())
SPECIAL = VOID | RAW | set("html head body title textarea svg math table select option template frameset noscript a p".split())
"""Elements that a tree treats in a way of its own, so that tokens do not show in it as they are."""

Expected = dict[str, object]
"""What each field should be, by its name."""


def check(programs: Programs) -> str:
    """All tests that can be put to a program that reads whole pages."""
    suite = download()
    found: dict[str, list[tuple[str, object, object]]] = {}
    said = []
    for kind, tests in [("encoding", encoding(suite)), ("tokenizer", tokenizer(suite)), ("tree", trees(suite))]:
        tests = list(tests)
        run(programs, kind, tests, found)
        said.append(f"{len(tests)} of {kind}")
    wrong = sorted(set(found) - set(DIFFERENCES))
    if stale := sorted(set(DIFFERENCES) - set(found)):
        raise Difference(f"expected to differ, and do not: {' '.join(stale)}")
    if wrong:
        shown = "\n".join(f"{name}: {one[0]} is {one[1]!r}, not {one[2]!r}" for name in wrong for one in found[name][:1])
        raise Difference(f"{len(wrong)} tests differ:\n{shown}")
    reasons = Counter(DIFFERENCES.values())
    return f"{', '.join(said)}; as expected, {', '.join(f'{n} differ: {why}' for why, n in reasons.items())}"


@dataclass
class Test:
    """A page, and what should be found in it."""

    name: str
    page: bytes
    streamed: Expected
    """What both engines should find."""
    of_tree: Expected = field(default_factory=dict)
    """What the tree engine alone is asked for."""


STREAMED = {"text": "body::text", "texts[]": "*::text"}
OF_TREE = {**STREAMED, "html": "html::html", "first": "body > *::html", "paths[]": "//*"}


def run(programs: Programs, kind: str, tests: list[Test], found: dict[str, list[tuple[str, object, object]]]) -> None:
    """Put tests to the programs, and keep what differs."""
    pages = programs.home / kind
    pages.mkdir()
    for n, test in enumerate(tests):
        (pages / f"{n:05}.html").write_bytes(test.page)
    for engine, selects in [("streamed", STREAMED), ("tree", OF_TREE)]:
        args = [word for name, select in selects.items() for word in ("--select", f"{name}={select}")]
        out = programs.home / f"{kind}-{engine}.jsonl"
        programs.supervisor("parse", pages, *args, "-o", out)
        for record in records(out):
            test = tests[int(Path(record["path"]).stem)]
            expected = {**test.streamed, **(test.of_tree if engine == "tree" else {})}
            got = {**record["fields"], "charset": record["charset"]}
            for name, want in expected.items():
                value = normal(str(got[name])) if name in ("html", "first") else got[name]
                if value != want:
                    found.setdefault(test.name, []).append((f"{engine} {name}", value, want))


def download() -> Path:
    """The suite, brought in once for each environment."""
    home = Path(sys.prefix) / "suites"
    suite = home / "html5lib-1.1" / "html5lib" / "tests" / "testdata"
    if suite.exists():
        return suite
    home.mkdir(exist_ok=True)
    # Its setup script, which pip runs to learn the package's name, needs what later versions have dropped.
    (home / "constraints.txt").write_text("setuptools<80\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
               "--no-binary", "html5lib", "--dest", str(home), PACKAGE]  # fmt: skip
    subprocess.run(command, check=True, env={**os.environ, "PIP_CONSTRAINT": str(home / "constraints.txt")})
    archive = home / "html5lib-1.1.tar.gz"
    if (digest := hashlib.sha256(archive.read_bytes()).hexdigest()) != SHA256:
        raise Difference(f"{archive} has the SHA-256 {digest}, not {SHA256}")
    with tarfile.open(archive) as tar:
        tar.extractall(home, filter="data")
    return suite


def sections(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """The tests of a `.dat` file, each with its name and its parts by their headings."""
    heading = re.compile(rb"^#(data|errors|new-errors|document-fragment|script-on|script-off|document|encoding)\n", re.M)
    pieces = heading.split(path.read_bytes() + b"\n")
    parts: dict[str, bytes] = {}
    n = 0
    for name, text in zip(pieces[1::2], pieces[2::2]):
        if name == b"data" and parts:
            yield f"{path.parent.name}/{path.name}#{n}", parts
            parts = {}
        n += name == b"data"
        parts[name.decode()] = text[:-1] if text.endswith(b"\n") else text
    yield f"{path.parent.name}/{path.name}#{n}", parts


def encoding(suite: Path) -> Iterator[Test]:
    """Which encoding a page is in."""
    for path in sorted((suite / "encoding").glob("*.dat")):
        for name, parts in sections(path):
            yield Test(name, parts["data"], {"charset": parts["encoding"].decode().strip().lower()})


STATES = {
    "Data state": ("", None),
    "PLAINTEXT state": ("<plaintext>", "plaintext"),
    "RCDATA state": ("<textarea>\n", "textarea"),
    "RAWTEXT state": ("<xmp>", "xmp"),
    "Script data state": ("<script>", "script"),
}
"""What puts the tokenizer into a state within a body, and the start tag that it has seen last then."""


def tokenizer(suite: Path) -> Iterator[Test]:
    """Tokens, as far as they show as text and as attributes of an element without rules of its own."""
    for path in sorted((suite / "tokenizer").glob("*.test")):
        for n, test in enumerate(json.loads(path.read_text()).get("tests", []), 1):
            page, tokens = test["input"], test["output"]
            tags = [token for token in tokens if token[0] in ("StartTag", "EndTag")]
            if test.get("doubleEscaped") or any("\ud800" <= c <= "\udfff" for c in page):
                continue
            for state in test.get("initialStates", ["Data state"]):
                start, last = STATES.get(state, (None, None))
                if start is None or test.get("lastStartTag", last) != last or any(token[1] in SPECIAL - {last} for token in tags):
                    continue
                # In the body NUL is dropped; in raw text it is a character of its own already.
                text = "".join(token[1] for token in tokens if token[0] == "Character").replace("\0", "")
                of_tree: Expected = {}
                if not start and not text and len(tags) == 1 and tags[0][0] == "StartTag":
                    of_tree["first"] = normal(Element(tags[0][1], tags[0][2]).html())
                # The mark at the start makes the encoding certain.
                head = "\ufeff<!doctype html><html><head></head><body>" + start
                name = f"{path.parent.name}/{path.name}#{n}" + (f" in {state}" if start else "")
                yield Test(name, (head + page).encode(), {"text": text.strip(SPACE)}, of_tree)


def trees(suite: Path) -> Iterator[Test]:
    """Whole pages and their trees. No script runs in ours."""
    for path in sorted((suite / "tree-construction").glob("*.dat")):
        for name, parts in sections(path):
            if "document-fragment" in parts or "script-on" in parts:
                continue
            root = tree(parts["document"].decode())
            texts = [element.text().strip(SPACE) for element in root.elements()]
            page = "\ufeff".encode() + parts["data"]
            yield Test(name, page, {"texts": texts}, {"html": normal(root.html()), "paths": texts})


@dataclass
class Element:
    """An element of an expected tree."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[Element | str] = field(default_factory=list)
    is_html: bool = True
    contents: Element | None = None
    """What a template holds."""

    def elements(self) -> Iterator[Element]:
        """This one and all inside it, in their order."""
        yield self
        for child in self.children:
            if isinstance(child, Element) and not child.is_comment:
                yield from child.elements()

    @property
    def is_comment(self) -> bool:
        """Whether it stands for a comment, whose text is its only child."""
        return self.name == "!--"

    def text(self) -> str:
        """All the text inside."""
        inside = [child for child in self.children if isinstance(child, str) or not child.is_comment]
        return "".join(child if isinstance(child, str) else child.text() for child in inside)

    def html(self) -> str:
        """The element as HTML 13.3 serialises it."""
        if self.is_comment:
            return f"<!--{self.children[0]}-->"
        attributes = "".join(f' {name}="{escaped(value, True)}"' for name, value in self.attributes.items())
        start = f"<{self.name}{attributes}>"
        if self.is_html and self.name in VOID:
            return start
        is_raw = self.is_html and self.name in RAW
        inside = "".join(
            child.html() if isinstance(child, Element) else child if is_raw else escaped(child, False)
            for child in [*self.children, *(self.contents.children if self.contents else [])]
        )
        return f"{start}{inside}</{self.name}>"


def escaped(text: str, is_attribute: bool) -> str:
    """Text as it stands between tags or quotes."""
    text = text.replace("&", "&amp;").replace("\xa0", "&nbsp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace('"', "&quot;") if is_attribute else text


def normal(html: str) -> str:
    """The same with the attributes of each tag sorted: the tests do not say how they were."""
    attribute = r' [^\s="]+="[^"]*"'

    def in_order(tag: re.Match[str]) -> str:
        return f"<{tag[1]}{''.join(sorted(re.findall(attribute, tag[2])))}>"

    return re.sub(rf"<([^\s<>]+)((?:{attribute})+)>", in_order, html)


def tree(document: str) -> Element:
    """The root element of a tree as the tests write one."""
    root = Element("")
    open_elements = [root]
    for indent, line in lines(document):
        del open_elements[indent + 1 :]
        parent = open_elements[-1]
        if line.startswith("<!DOCTYPE"):
            continue
        if line.startswith("<!-- "):
            parent.children.append(Element("!--", children=[line[5:-4]]))
        elif line.startswith('"'):
            parent.children.append(line[1:-1])
        elif line.startswith("<") and line.endswith(">"):
            *namespace, name = line[1:-1].split(" ", 1)
            element = Element(name, is_html=not namespace)
            parent.children.append(element)
            open_elements.append(element)
        elif line == "content":
            parent.contents = Element("")
            open_elements.append(parent.contents)
        else:
            name, value = line.split("=", 1)
            parent.attributes[name.replace(" ", ":")] = value[1:-1]
    return next(child for child in root.children if isinstance(child, Element) and not child.is_comment)


def lines(document: str) -> Iterator[tuple[int, str]]:
    """The lines of a tree, each with its depth; a text may go on over several."""
    for line in re.split(r"\n(?=\| )", document.rstrip("\n")):
        text = line.removeprefix("| ")
        yield (len(text) - len(text.lstrip(" "))) // 2, text.lstrip(" ")
