"""Web archives, checked by warcio: its own `warcio check`, and record by record against the JSON lines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

from warcio.archiveiterator import ArchiveIterator
from warcio.recordloader import ArcWarcRecord

from programs import Difference, Programs, expect, records

PATHS = [
    *(f"/site/page/{n}" for n in range(40)),
    "/redirect/3", "/redirect/nowhere", "/redirect/loop",
    "/status/404", "/status/500", "/status/204", "/empty", "/echo",
    "/encoding/gzip", "/encoding/deflate", "/encoding/br", "/encoding/zstd", "/corrupt/gzip",
    "/drip?seconds=0.2", "/drop", "/truncated", "/huge?bytes=20000000", "/charset/shift_jis", "/site/page/1#fragment",
]  # fmt: skip
"""Pages, redirects and their limits, errors, every content coding, chunks, and bodies that break off."""

ELSEWHERE = ["no url at all", "http://127.0.0.1:1/"]
"""Inputs that no server answers for."""


def check(programs: Programs) -> str:
    """Every archive holds, and says, what the JSON lines say."""
    count = 0
    with programs.origin() as origin:
        urls = [origin + path for path in PATHS] + ELSEWHERE
        (programs.home / "urls.txt").write_text("\n".join(urls))
        common = ["fetch", "-i", "urls.txt", "--retries", "0", "--redirects-max", "5", "--select", "t=title"]
        programs.supervisor(*common, "-o", "plain.jsonl", exits=3)
        lines = records(programs.home / "plain.jsonl")
        for mode in ["parallel", "both"]:
            for suffix in ["warc", "warc.gz"]:
                path = programs.home / f"{mode}.{suffix}"
                programs.supervisor("--workers", "2", "--mode", mode, *common, "-o", path, exits=3)
                checked_by_warcio(path)
                count += compare(path, lines)
    return f"warcio reads {count} records in 4 archives, and every digest holds"


RESUMED_PAGES = 120
COMMITTED_BYTES = 200_000
"""What must be in the archive before the run is killed: enough that some of it is certain."""


def check_resumed(programs: Programs) -> str:
    """An archive whose run was killed in the middle and resumed is whole, and every input is in it once."""
    with programs.origin() as origin:
        (programs.home / "urls.txt").write_text("".join(f"{origin}/site/page/{n}\n" for n in range(RESUMED_PAGES)))
        for name in ["killed.warc", "killed.warc.gz"]:
            path = programs.home / name
            command = ["fetch", "-i", "urls.txt", "-o", name, "--resume"]
            least = COMMITTED_BYTES if name.endswith(".warc") else COMMITTED_BYTES // 5
            programs.killed_when(lambda: path.exists() and path.stat().st_size > least, *command, "--rate", "40/s")
            programs.supervisor(*command)
            checked_by_warcio(path)
            with open(path, "rb") as file:
                kinds = [record.rec_type for record in ArchiveIterator(file, check_digests="raise")]
            expect(f"{name}: the first record", kinds[0], "warcinfo")
            expect(f"{name}: records", Counter(kinds), counts_of(RESUMED_PAGES))
    return "warcio reads archives that were killed and resumed, with every page in them once"


def counts_of(pages: int) -> Counter[str]:
    """The records of an archive of so many pages that were all there."""
    return Counter(warcinfo=1, request=pages, response=pages, metadata=pages)


def checked_by_warcio(path: Path) -> None:
    """`warcio check`, as its users run it."""
    command = [sys.executable, "-m", "warcio.cli", "check", "--verbose", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode or "fail" in done.stdout.lower() or not done.stdout.strip():
        raise Difference(f"warcio check {path}: {done.stdout[-1000:]}{done.stderr[-1000:]}")


def compare(path: Path, lines: list[dict[str, object]]) -> int:
    """One metadata record for each input, with what a JSON line says; how many records there are."""
    kinds: Counter[str] = Counter()
    metadata: list[dict[str, object]] = []
    requests: dict[str, str] = {}
    special: set[str] = set()
    with open(path, "rb") as file:
        for record in ArchiveIterator(file, check_digests="raise"):
            kinds[record.rec_type] += 1
            block = record.content_stream().read() if record.rec_type == "metadata" else record.raw_stream.read()
            if record.rec_type == "metadata":
                metadata.append(json.loads(block))
            elif record.rec_type == "request":
                requests[record.rec_headers["WARC-Concurrent-To"]] = record.rec_headers["WARC-Target-URI"]
            elif record.rec_type == "response":
                asked = requests.pop(record.rec_headers["WARC-Record-ID"], None)
                expect(f"{path.name}: whom a response answers", record.rec_headers["WARC-Target-URI"], asked)
                special |= peculiarities(record)
    metadata.sort(key=lambda record: record["id"])
    expect(f"{path.name}: records", list(map(essence, metadata)), list(map(essence, lines)))
    expect(f"{path.name}: first records", kinds["warcinfo"], 1)
    expect(f"{path.name}: requests", kinds["request"], kinds["response"])
    expect(f"{path.name}: kinds of responses", special, {"packed", "was chunked", "redirect", "error", "cut short"})
    if kinds["response"] < len(PATHS):
        raise Difference(f"{path.name}: {kinds['response']} responses to {len(PATHS)} pages")
    return sum(kinds.values())


def peculiarities(record: ArcWarcRecord) -> set[str]:
    """What is special about a response: without any of each, nothing of it was checked."""
    headers = record.http_headers
    code = int(headers.get_statuscode())
    found = {
        "packed": headers.get_header("content-encoding") is not None,
        "was chunked": headers.get_header("x-archive-orig-transfer-encoding") is not None,
        "redirect": 300 <= code < 400,
        "error": code >= 400,
        "cut short": record.rec_headers["WARC-Truncated"] is not None,
    }
    return {name for name, is_so in found.items() if is_so}


def essence(record: dict[str, object]) -> tuple[object, ...]:
    """What two runs say alike: not how long it took, nor how much had come when it broke off."""
    error = record.get("error") or {}
    return record["id"], record["url"], record.get("status"), record.get("fields"), error.get("kind")
