"""Cases in which another program does the work, and Muster keeps copies of it busy."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Iterator

from measure import Contender

if TYPE_CHECKING:
    from cases import Case, Setting

RECORDS = 1_000_000


def lines(count: int) -> Iterator[str]:
    """Generate small records of about a hundred bytes, the same every time."""
    some = random.Random(1)
    for n in range(count):
        record = {
            "id": n,
            "name": f"user {n * 7919 % 100_003}",
            "score": round(some.random() * 100, 3),
            "tags": ["a", "bc", "def"],
            "active": n % 3 == 0,
            "note": "x" * (n % 17),
        }
        yield json.dumps(record, separators=(",", ":"))


def ours(setting: Setting, inputs: str, items: int, program: list[str]) -> Contender:
    """Our command, as a user types it."""
    from cases import OURS

    files = ["-i", inputs, "-o", "{out}", "--overwrite", "--summary", "{out}.summary"]
    return Contender(OURS, [str(setting.release / "supervisor"), "map", *files, "--", *program], items)


def shell(name: str, command: str, items: int) -> Contender:
    """A pipeline, as a user types it."""
    return Contender(name, ["sh", "-c", command], items)


def parallel(inputs: str, items: int, program: str) -> Contender:
    """GNU parallel: blocks of one megabyte, a new process for each, two at a time."""
    command = f"parallel --will-cite --pipe --block 1M -j2 {program} < {inputs} > {{out}}"
    return shell("GNU parallel --pipe", command, items)


def cat(setting: Setting) -> Case:
    """A program that costs nothing, so that the rest is Muster's own cost."""
    from cases import OURS, Bar, Case

    count = setting.scaled(RECORDS)
    inputs = setting.written("records.jsonl", lines(count))
    contenders = [ours(setting, inputs, count, ["cat"]), parallel(inputs, count, "cat")]
    bar = Bar("records/s", 300_000, True, lambda runs: runs[OURS].rate)
    return Case(f"{count:,} JSON lines of about 100 bytes through cat", contenders, [bar])


def jq(setting: Setting) -> Case:
    """A program that computes."""
    from cases import Case, faster_than

    count = setting.scaled(RECORDS)
    inputs = setting.written("records.jsonl", lines(count))
    contenders = [
        ours(setting, inputs, count, ["jq", "-c", "."]),
        shell("jq alone", f"jq -c . {inputs} > {{out}}", count),
        parallel(inputs, count, "jq -c ."),
    ]
    return Case(f"{count:,} JSON lines of about 100 bytes through jq -c .", contenders, [faster_than("jq alone", 1.8)])
