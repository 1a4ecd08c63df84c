"""The cost of formats other than JSON lines: the main job into each, against the main job into JSON lines."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TYPE_CHECKING

import polars

from corpus import FETCHED_PAGES
from measure import Contender

if TYPE_CHECKING:
    from cases import Bar, Case, Setting

LINES = "to JSON lines"
METADATA = b"\r\nWARC-Type: metadata\r\n"


def contender(setting: Setting, name: str, inputs: str, count: int, output: str) -> Contender:
    """The main job, into an output of that name."""
    from cases import BOTH, LINKS, TITLE

    command = [str(setting.release / "supervisor"), *BOTH, "fetch", "-i", inputs, *TITLE, *LINKS]
    files = ["-o", "{out}" + output, "--overwrite", "--summary", "{out}.summary"]
    return Contender(name, [*command, *files], count, counted=COUNTERS.get(output))


def no_slower_than(other: str, times: float) -> Bar:
    """A bar on the wall-clock time, ours against another contender's."""
    from cases import OURS, Bar

    value = lambda runs: runs[OURS].wall_s / runs[other].wall_s  # noqa: E731
    return Bar(f"wall clock against {other}", times, False, value, (OURS, other), "×")


def warc(setting: Setting) -> Case:
    """Pages that nginx sends uncompressed, so that Muster does all of the compression."""
    from cases import OURS, Case

    count = setting.scaled(FETCHED_PAGES)
    inputs = setting.written("pages", setting.corpus.urls(setting.origin, count))
    contenders = [
        contender(setting, OURS, inputs, count, ".warc.gz"),
        contender(setting, LINES, inputs, count, ""),
        contender(setting, "to .warc, unpacked", inputs, count, ".warc"),
    ]
    title = f"{count:,} real pages into a .warc.gz, sent plain, title + links, both 2 × 64"
    return Case(title, contenders, [no_slower_than(LINES, 1.25)], repeats=2, reads=setting.corpus.files(count))


def warc_packed(setting: Setting) -> Case:
    """The same pages sent with gzip, as most servers do. They are stored as received."""
    from cases import OURS, Case

    count = setting.scaled(FETCHED_PAGES)
    packed = pack(setting, count)
    urls = [url.replace(setting.origin, f"{setting.origin}/packed", 1) for url in setting.corpus.urls(setting.origin, count)]
    inputs = setting.written("pages-packed", urls)
    contenders = [
        contender(setting, OURS, inputs, count, ".warc.gz"),
        contender(setting, LINES, inputs, count, ""),
    ]
    title = f"{count:,} real pages into a .warc.gz, sent with gzip, title + links, both 2 × 64"
    return Case(title, contenders, [no_slower_than(LINES, 1.25)], repeats=2, reads=packed)


def pack(setting: Setting, count: int) -> list[str]:
    """Compress the pages once, beside the corpus, so that nginx need not compress them."""
    packed = []
    for page in setting.corpus.pages[:count]:
        path = setting.work / "packed" / f"{page}.gz"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(gzip.compress((setting.corpus.root / page).read_bytes(), 6))
        packed.append(str(path))
    return packed


def parquet(setting: Setting) -> Case:
    """Columns instead of lines."""
    from cases import OURS, Case

    count = setting.scaled(FETCHED_PAGES)
    inputs = setting.written("pages", setting.corpus.urls(setting.origin, count))
    contenders = [
        contender(setting, OURS, inputs, count, ".parquet"),
        contender(setting, LINES, inputs, count, ""),
    ]
    title = f"{count:,} real pages into a .parquet, title + links, both 2 × 64"
    return Case(title, contenders, [no_slower_than(LINES, 1.25)], repeats=2, reads=setting.corpus.files(count))


def inputs_archived(out: Path) -> int:
    """Count the metadata records of an archive: one per input."""
    with gzip.open(out.with_name("out.warc.gz")) as file:
        return count_in(file.read())


def inputs_archived_plain(out: Path) -> int:
    """The same for an uncompressed archive."""
    return count_in(out.with_name("out.warc").read_bytes())


def count_in(archive: bytes) -> int:
    """Count a header in the archive; no page of the corpus contains it."""
    return archive.count(METADATA)


def rows(out: Path) -> int:
    """Count the rows of a Parquet file."""
    return polars.scan_parquet(out.with_name("out.parquet")).select(polars.len()).collect().item()


COUNTERS = {".warc.gz": inputs_archived, ".warc": inputs_archived_plain, ".parquet": rows}
