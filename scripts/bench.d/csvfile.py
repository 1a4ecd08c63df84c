"""A CSV file for benchmarks: sales with quoted notes that contain commas, quotes and line breaks.

    csvfile.py PATH BYTES

It is made from a fixed seed, in blocks that repeat with other numbers. So a large file takes seconds to write, and
no two rows are alike. It is written in full, without holes.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

HEADER = "id,sold_at,city,product,price,quantity,note\n"
CITIES = [
    "Amsterdam", "Athens", "Barcelona", "Berlin", "Bologna", "Bordeaux", "Bruges", "Brussels", "Budapest", "Copenhagen",
    "Dublin", "Florence", "Geneva", "Ghent", "Hamburg", "Helsinki", "Kraków", "Lisbon", "Ljubljana", "London", "Lyon",
    "Madrid", "Malmö", "Marseille", "Milan", "Munich", "Naples", "Oslo", "Paris", "Porto", "Prague", "Riga", "Rome",
    "Seville", "Sofia", "Stockholm", "Tallinn", "Turin", "Valencia", "Venice", "Vienna", "Vilnius", "Warsaw", "Zagreb",
]
WORDS = "left at the door ring twice fragile second floor call before a gift for anna no stairs please".split()
BLOCK_ROWS = 20_000


def note(rng: random.Random) -> str:
    """Return a note as people write them: mostly empty, some one line, some several."""
    kind = rng.random()
    if kind < 0.4:
        return ""
    words = " ".join(rng.choices(WORDS, k=rng.randint(3, 12)))
    if kind < 0.7:
        return words
    if kind < 0.85:
        return f'"{words}, {rng.choice(WORDS)}"'
    if kind < 0.95:
        return f'"{words}\n{rng.choice(WORDS)} {rng.choice(WORDS)}"'
    return f'"say ""{rng.choice(WORDS)}"", then\n{words}"'


def rows(rng: random.Random) -> list[str]:
    """Return the columns after the id and the day, for each row of a block."""
    made = []
    for _ in range(BLOCK_ROWS):
        hour, minute, second = rng.randrange(24), rng.randrange(60), rng.randrange(60)
        rest = (
            f"T{hour:02}:{minute:02}:{second:02}Z,{rng.choice(CITIES)},P-{rng.randrange(5000):04},"
            f"{rng.randrange(99, 99_999) / 100:.2f},{rng.randrange(1, 20)},{note(rng)}\n"
        )
        made.append(rest)
    return made


def write(path: Path, size: int) -> int:
    """Write a file of at least `size` bytes, and return its number of rows."""
    rng = random.Random(4)
    blocks = [rows(rng) for _ in range(5)]
    temporary = path.with_suffix(".part")
    count = 0
    with open(temporary, "w", encoding="utf-8", newline="") as file:
        written = file.write(HEADER)
        while written < size:
            block = blocks[count // BLOCK_ROWS % len(blocks)]
            day = f",202{count // 9_000_000 % 6}-{count // 750_000 % 12 + 1:02}-{count // 25_000 % 28 + 1:02}"
            text = "".join(f"{count + n}{day}{rest}" for n, rest in enumerate(block))
            file.write(text)
            written += len(text.encode())
            count += BLOCK_ROWS
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    return count


if __name__ == "__main__":
    print(write(Path(sys.argv[1]), int(sys.argv[2])))
