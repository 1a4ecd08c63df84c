"""Compares two tables: text byte by byte, numbers up to the error of sums of doubles in another order."""

from __future__ import annotations

import csv
import math
from pathlib import Path

NEAR = 1e-9


def rows(path: Path) -> list[list[str]]:
    """Return the sorted rows, because every contender has its own order."""
    with open(path, newline="", encoding="utf-8") as file:
        header, *rest = csv.reader(file)
    return [header, *sorted(rest)]


def same(one: str, other: str) -> bool:
    """Return whether two cells are equal."""
    if one == other:
        return True
    try:
        return math.isclose(float(one), float(other), rel_tol=NEAR)
    except ValueError:
        return False


def check(ours: Path, theirs: Path, name: str) -> None:
    """Stop the measurement if a contender's result differs."""
    left, right = rows(ours), rows(theirs)
    if len(left) != len(right):
        raise SystemExit(f"bench: {name} has {len(right)} rows, but ours has {len(left)}")
    for one, other in zip(left, right):
        if len(one) != len(other) or not all(map(same, one, other)):
            raise SystemExit(f"bench: {name} has {other}, but ours has {one}")
