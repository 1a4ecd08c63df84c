"""Are two tables the same? Text byte by byte, numbers as far as doubles that were added up in another order can be."""

from __future__ import annotations

import csv
import math
from pathlib import Path

NEAR = 1e-9


def rows(path: Path) -> list[list[str]]:
    """The rows, sorted: everybody has an order of their own."""
    with open(path, newline="", encoding="utf-8") as file:
        header, *rest = csv.reader(file)
    return [header, *sorted(rest)]


def same(one: str, other: str) -> bool:
    """Whether two cells say the same."""
    if one == other:
        return True
    try:
        return math.isclose(float(one), float(other), rel_tol=NEAR)
    except ValueError:
        return False


def check(ours: Path, theirs: Path, name: str) -> None:
    """Stops the measurement if somebody found something else."""
    left, right = rows(ours), rows(theirs)
    if len(left) != len(right):
        raise SystemExit(f"bench: {name} has {len(right)} rows, and we have {len(left)}")
    for one, other in zip(left, right):
        if len(one) != len(other) or not all(map(same, one, other)):
            raise SystemExit(f"bench: {name} has {other}, and we have {one}")
