"""Real pages: the HTML of Debian's documentation packages.

The packages are chosen for their generators (javadoc, rustdoc, doxygen, Sphinx,
DocBook, gtk-doc, and one written by hand in many languages). The hash of a page's path
decides whether it is used: so every machine uses the same pages, mixed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import debian

PACKAGES = [
    "apache2-doc",
    "libglib2.0-doc",
    "libstdc++-12-doc",
    "openjdk-17-doc",
    "postgresql-doc-15",
    "python3.11-doc",
    "rust-doc",
]
SAVED_PAGES = 18_900
FETCHED_PAGES = 10_000
SIZE_MIN = 1024
"""Shorter pages are stubs that only forward to another page; rust-doc has 10,000 of them."""


@dataclass(frozen=True)
class Corpus:
    """Pages on disk, in a fixed order."""

    root: Path
    pages: list[str]
    bytes: int
    versions: dict[str, str]

    def urls(self, origin: str, count: int) -> list[str]:
        """Return the URLs of the first pages at the origin."""
        return [f"{origin}/{quote(page)}" for page in self.pages[:count]]

    def files(self, count: int) -> list[str]:
        """Return the files of the first pages."""
        return [str(self.root / page) for page in self.pages[:count]]

    def size(self, count: int) -> int:
        """Return the total size of the first pages."""
        return sum((self.root / page).stat().st_size for page in self.pages[:count])


def prepare(work: Path) -> Corpus:
    """Return the corpus; it is downloaded and unpacked the first time."""
    root, manifest = work / "corpus", work / "corpus.json"
    if not manifest.exists():
        shutil.rmtree(root, ignore_errors=True)
        manifest.write_text(json.dumps(build(work, root)))
    return Corpus(root=root, **json.loads(manifest.read_text()))


def build(work: Path, root: Path) -> dict[str, object]:
    """Unpack every package, keep the chosen pages, drop the rest."""
    debs = debian.fetch(PACKAGES, work / "debs")
    for deb in debs.values():
        debian.unpack(deb, root, "*.html")
    found = [path for path in root.rglob("*.html") if path.is_file() and not path.is_symlink()]
    named = {path.relative_to(root).as_posix(): path for path in found if path.stat().st_size >= SIZE_MIN}
    pages = sorted(named, key=lambda name: hashlib.sha256(os.fsencode(name)).digest())
    pages = pages[:SAVED_PAGES]
    chosen = {named[page] for page in pages}
    for path in found:
        if path not in chosen:
            path.unlink()
    if len(pages) < SAVED_PAGES:
        raise SystemExit(f"bench: only {len(pages)} pages in {PACKAGES}")
    versions = {name: debian.version(deb) for name, deb in debs.items()}
    size = sum(named[page].stat().st_size for page in pages)
    return {"pages": pages, "bytes": size, "versions": versions}
