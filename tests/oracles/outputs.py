"""The files that `fetch` writes for other tools, read by those: the same rows as in the JSON lines.

Run only when asked for by name: it fails where `-o x.parquet`, `-o x.csv` or `-o x.db` is refused.
"""

from __future__ import annotations

import csv
import json
import sqlite3
from pathlib import Path

import duckdb
import polars

from programs import Difference, Programs, expect, records

PATHS = [*(f"/site/page/{n}" for n in range(60)), "/redirect/2", "/status/404", "/empty", "/corrupt/gzip", "/charset/shift_jis"]
SELECT = ["--select", "title=title", "--select", "links[]=a::attr(href)", "--select", "none=nosuch"]
PLAIN = ["id", "url", "final_url", "status", "attempts", "bytes", "charset"]
"""Members of a record that are a column of the same name in every format."""


def check(programs: Programs) -> str:
    """Each format, by each tool that reads it."""
    with programs.origin() as origin:
        urls = [origin + path for path in PATHS] + ["no url at all", "http://127.0.0.1:1/"]
        (programs.home / "urls.txt").write_text("\n".join(urls))
        for name in ["x.jsonl", "x.parquet", "x.csv", "x.db"]:
            command = ["fetch", "-i", "urls.txt", "--retries", "0", *SELECT, "-o", name]
            programs.supervisor(*command, exits=3)
    lines = records(programs.home / "x.jsonl")
    read = {
        "DuckDB, Parquet": duckdb_rows(f"read_parquet('{programs.home}/x.parquet')"),
        "Polars, Parquet": polars.read_parquet(programs.home / "x.parquet").to_dicts(),
        "DuckDB, CSV": duckdb_rows(f"read_csv('{programs.home}/x.csv', all_varchar = true, header = true)"),
        "Polars, CSV": polars.read_csv(programs.home / "x.csv", infer_schema=False).to_dicts(),
        "Python, CSV": python_csv(programs.home / "x.csv"),
        "sqlite3": sqlite_rows(programs.home / "x.db"),
    }
    for name, rows in read.items():
        compare(name, rows, lines)
    return f"{len(read)} readers find the rows of the {len(lines)} JSON lines"


def compare(name: str, rows: list[dict[str, object]], lines: list[dict[str, object]]) -> None:
    """One reader's rows: as many, and in each the same members, fields and error."""
    rows = sorted(rows, key=lambda row: int(str(row["id"])))
    expect(f"{name}: ids", [int(str(row["id"])) for row in rows], [line["id"] for line in lines])
    for row, line in zip(rows, lines):
        what = f"{name}: record {line['id']}"
        for member in PLAIN:
            expect(f"{what}: {member}", text(row[member]), text(line.get(member)))
        fields, error = line.get("fields") or {}, line.get("error") or {}
        expect(f"{what}: title", text(member_of(row, "title")), text(fields.get("title")))
        expect(f"{what}: none", text(member_of(row, "none")), "")
        expect(f"{what}: links", listed(member_of(row, "links")), listed(fields.get("links")))
        expect(f"{what}: error", text(member_of(row, "error_kind", "kind")), text(error.get("kind")))


def member_of(row: dict[str, object], *names: str) -> object:
    """A column, or a member of a nested one: `fields` and `error` may be either."""
    for name in names:
        if name in row:
            return row[name]
    for nested in ("fields", "error"):
        inside = row.get(nested)
        if isinstance(inside, str) and inside.startswith("{"):
            inside = json.loads(inside)
        for name in names:
            if isinstance(inside, dict) and name in inside:
                return inside[name]
    if any(name in row for name in ("fields", "error")):
        return None
    raise Difference(f"there is no column {names[0]}; there are: {', '.join(row)}")


def text(value: object) -> str:
    """A value as every format can hold it: nothing is an empty text in CSV."""
    return "" if value is None else str(value)


def listed(value: object) -> list[str]:
    """A list, which is JSON where a format has none."""
    if isinstance(value, str):
        return json.loads(value) if value else []
    return list(value or [])


def duckdb_rows(source: str) -> list[dict[str, object]]:
    """A table function's rows."""
    cursor = duckdb.execute(f"select * from {source}")
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row)) for row in cursor.fetchall()]


def python_csv(path: Path) -> list[dict[str, object]]:
    """Python's own reader."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def sqlite_rows(path: Path) -> list[dict[str, object]]:
    """The only table there is, or the one of the records."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        database.row_factory = sqlite3.Row
        names = [row[0] for row in database.execute("select name from sqlite_schema where type = 'table'")]
        table = "records" if "records" in names else names[0]
        expect("integrity", database.execute("pragma integrity_check").fetchone()[0], "ok")
        return [dict(row) for row in database.execute(f'select * from "{table}"')]
