"""Parses saved pages in a multiprocessing pool, with a choice of parsers.

--resolve also makes every link absolute, which is what `supervisor parse` does.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from multiprocessing import Pool
from urllib.parse import urljoin

from pages import PARSERS, lines

extract = None


def set_up(parser: str, title_only: bool) -> None:
    """Called once in each process."""
    global extract
    extract = PARSERS[parser](title_only)


def parse(resolve: bool, path: str) -> str:
    """Parse one file and return one line."""
    with open(path, "rb") as file:
        fields = extract(file.read())
    if resolve:
        fields["links"] = [absolute(path, href) for href in fields["links"]]
    return json.dumps({"path": path, **fields})


def absolute(path: str, href: str | None) -> str | None:
    """Resolve a link against its page; a link that is not a URL is kept unchanged."""
    try:
        return urljoin(f"file://{path}", href or "")
    except ValueError:
        return href


def main() -> None:
    """Parse the list on all processes, write JSON lines."""
    args = argparse.ArgumentParser()
    args.add_argument("files")
    args.add_argument("out")
    args.add_argument("--parser", choices=PARSERS, required=True)
    args.add_argument("--title-only", action="store_true")
    args.add_argument("--resolve", action="store_true")
    args.add_argument("--processes", type=int, default=2)
    args.add_argument("--chunksize", type=int, default=32)
    options = args.parse_args()
    with (
        open(options.out, "w", encoding="utf-8") as out,
        Pool(options.processes, set_up, (options.parser, options.title_only)) as pool,
    ):
        work = partial(parse, options.resolve)
        for line in pool.imap_unordered(work, lines(options.files), options.chunksize):
            out.write(line + "\n")


if __name__ == "__main__":
    main()
