"""`supervisor csv` against Python's `csv` module, DuckDB and Polars."""

from __future__ import annotations

import csv
import io
import random
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Iterator

import duckdb
import polars

from programs import Difference, Programs, expect

SEED = 20_261_128
SMALL_FILES = 80
CUT_FILES = 3
CUT_BYTES = 4_000_000
"""Ranges have at least a MiB, so a file of this size is read in four."""

LARGE_ROWS = 300_000

WORDS = ["", "a", "b c", "Åbo", "x,y", 'say "hi"', "two\nlines", "crlf\r\ninside", " spaces ", "0", "#", "'", "\t", "日本"]
ENDS = ["\n", "\r\n", "\r"]


def check_random(programs: Programs) -> str:
    """Files of every shape the format allows: the same groups, counts and sums as Python finds."""
    rng = random.Random(SEED)
    path = programs.home / "random.csv"
    for number in range(SMALL_FILES + CUT_FILES):
        least = CUT_BYTES if number < CUT_FILES else 0
        text = random_file(rng, least)
        path.write_bytes(text)
        ours = programs.supervisor(
            "csv", path, "--group-by", "key,other", "--agg", "n=count", "--agg", "filled=count(note)",
            "--agg", "total=sum(value)", "--workers", str(rng.randint(1, 3)), "--strict",
        )  # fmt: skip
        mine, theirs = parsed(ours), by_python(text)
        for key in mine.keys() | theirs.keys():
            expect(f"file {number} of seed {SEED}, kept as {path}, group {key!r}", mine.get(key), theirs.get(key))
    return f"Python finds the same groups, counts and sums in {SMALL_FILES + CUT_FILES} random files"


def random_file(rng: random.Random, least: int) -> bytes:
    """A table with a header, of at least so many bytes: any quoting, any line end, with or without a mark."""
    end = rng.choice(ENDS)
    always = rng.random() < 0.3
    rows, size = [row(["key", "value", "note", "other"], rng, always)], 0
    while size < least or len(rows) < rng.randint(1, 60):
        cells = [rng.choice(WORDS), number(rng), rng.choice(WORDS) * rng.randint(0, 3), rng.choice(["l", "r"])]
        rows.append(row(cells, rng, always))
        size += len(rows[-1]) + len(end)
        if rng.random() < 0.02:
            rows.append("")
    text = end.join(rows) + rng.choice(["", end])
    return (b"\xef\xbb\xbf" if rng.random() < 0.3 else b"") + text.encode()


def row(cells: list[str], rng: random.Random, always: bool) -> str:
    """One row: quotes where they must be, and some where they may."""
    return ",".join(quoted(cell, always or rng.random() < 0.2) for cell in cells)


def quoted(cell: str, anyway: bool) -> str:
    """One cell."""
    if anyway or any(c in cell for c in ',"\r\n'):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def number(rng: random.Random) -> str:
    """What a sum takes, an empty cell included."""
    long = [str(-rng.randrange(10**30)), f"{rng.randrange(10**20)}.{rng.randrange(10**19):019}", repr(rng.random() / 1e6)]
    short = ["", "0", "-7", "1e3", "+2.50", "0.1", f"{rng.uniform(-1e6, 1e6):.3f}", str(rng.randrange(10**12))]
    return rng.choice(long if rng.random() < 0.1 else short)


def parsed(text: str) -> dict[tuple[str, ...], tuple[object, ...]]:
    """Our table: what the last three columns hold, by the keys before them."""
    reader = csv.reader(io.StringIO(text, newline=""))
    expect("our header", next(reader), ["key", "other", "n", "filled", "total"])
    return {
        (key, other): (int(count), int(filled), Decimal(total or 0)) for key, other, count, filled, total in reader
    }


def by_python(text: bytes) -> dict[tuple[str, ...], tuple[object, ...]]:
    """The same table, worked out by Python's reader and decimal numbers."""
    groups: dict[tuple[str, ...], list[object]] = {}
    with localcontext(prec=200):
        for cells in python_rows(text):
            key, value, note, other = cells
            group = groups.setdefault((key, other), [0, 0, Decimal(0)])
            group[0] += 1
            group[1] += bool(note)
            group[2] += Decimal(value or 0)
    return {key: tuple(group) for key, group in groups.items()}


def python_rows(text: bytes) -> Iterator[list[str]]:
    """The rows below the header; blank lines are none."""
    rows = [cells for cells in csv.reader(io.StringIO(text.decode("utf-8-sig"), newline="")) if cells]
    return iter(rows[1:])


AGGREGATES = [
    "n=count", "revenue=sum(price)", "lowest=min(quantity)", "highest=max(quantity)", "per_sale=mean(price)",
    "buyers=distinct(buyer)", "p95=quantile(price, 0.95)",
]  # fmt: skip


def check_large(programs: Programs) -> str:
    """One file of some 20 MB: DuckDB and Polars find the same, within what is promised where we estimate."""
    path = programs.home / "sales.csv"
    write_sales(path)
    options = [part for aggregate in AGGREGATES for part in ("--agg", aggregate)]
    ours = list(csv.reader(io.StringIO(programs.supervisor("csv", path, "--group-by", "city", *options))))[1:]
    for name, theirs in [("DuckDB", by_duckdb(path)), ("Polars", by_polars(path))]:
        expect(f"{name}: groups", [row[0] for row in ours], [row[0] for row in theirs])
        for mine, other in zip(ours, theirs):
            agree(f"{name}, {mine[0]}", mine, other, ranks(path, mine[0], float(mine[7])))
    size = path.stat().st_size / 1e6
    return f"DuckDB and Polars find the same in {size:.0f} MB and {LARGE_ROWS:,} rows"


def write_sales(path: Path) -> None:
    """Rows with quoted line ends in them, the same every time."""
    rng = random.Random(SEED)
    with open(path, "w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["id", "city", "price", "quantity", "buyer", "note"])
        for n in range(LARGE_ROWS):
            city = rng.choice(["Rome", "Paris", "Åbo", 'New York, "NY"', "São\nPaulo"])
            note = rng.choice(["", "plain words on it", "two\nlines", 'a "quoted" word, and a comma'])
            cents = int(rng.lognormvariate(8, 1.5))
            out.writerow([n, city, f"{cents / 100:.2f}", rng.randint(-9, 99), f"buyer {rng.randrange(20_000)}", note])


def agree(what: str, ours: list[str], theirs: tuple[object, ...], rank: tuple[float, float]) -> None:
    """One group. Counts, sums, the least and the greatest are exact; distinct and quantile as docs/CSV.md says."""
    _, count, revenue, lowest, highest, per_sale, buyers, _ = ours
    expect(f"{what}: count", int(count), theirs[1])
    expect(f"{what}: sum", Decimal(revenue), Decimal(str(theirs[2])).quantize(Decimal("0.01")))
    expect(f"{what}: min and max", (int(lowest), int(highest)), theirs[3:5])
    if abs(float(per_sale) / float(theirs[5]) - 1) > 1e-9:
        raise Difference(f"{what}: our mean is {per_sale}, theirs {theirs[5]}")
    # Five standard errors of 0.81 %.
    if abs(int(buyers) / int(theirs[6]) - 1) > 0.0405:
        raise Difference(f"{what}: our distinct is {buyers}, theirs {theirs[6]}")
    if not rank[0] - 0.01 <= 0.95 <= rank[1] + 0.01:
        raise Difference(f"{what}: our 0.95 quantile has the ranks {rank}")


def ranks(path: Path, city: str, value: float) -> tuple[float, float]:
    """The share of a city's prices below a value, and up to it."""
    query = (
        "select avg((price < $value)::int), avg((price <= $value)::int)"
        " from read_csv($path, header = true, quote = '\"', escape = '\"') where city = $city"
    )
    below, up_to = duckdb.execute(query, {"path": str(path), "city": city, "value": value}).fetchone()
    return below, up_to


def by_duckdb(path: Path) -> list[tuple[object, ...]]:
    """The table in SQL; sums in decimals, which are exact."""
    query = (
        "select city, count(*), sum(price), min(quantity), max(quantity), avg(price::double), count(distinct buyer)"
        " from read_csv($path, header = true, quote = '\"', escape = '\"', types = {'price': 'decimal(18,2)'})"
        " group by city order by city"
    )
    return duckdb.execute(query, {"path": str(path)}).fetchall()


def by_polars(path: Path) -> list[tuple[object, ...]]:
    """The table as expressions; sums of whole cents, which are exact."""
    col = polars.col
    frame = polars.read_csv(path, schema_overrides={"price": polars.Float64})
    cents = (col("price") * 100).round().cast(polars.Int64)
    grouped = frame.group_by("city").agg(
        polars.len(), cents.sum(), col("quantity").min().alias("low"), col("quantity").max().alias("high"),
        col("price").mean().alias("mean"), col("buyer").n_unique(),
    )  # fmt: skip
    # In bytes, as we sort; all of these are text.
    rows = sorted(grouped.iter_rows(), key=lambda row: row[0].encode())
    return [(row[0], row[1], Decimal(row[2]) / 100, *row[3:]) for row in rows]
