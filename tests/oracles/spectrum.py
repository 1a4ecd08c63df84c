"""csv-spectrum: files that readers of CSV get wrong, with what is in them as JSON."""

from __future__ import annotations

import json

from programs import Difference, Programs

ERRATA = {"location_coordinates": "its JSON has another telephone number than its CSV"}
"""What the suite itself has wrong."""


def check(programs: Programs) -> str:
    """Grouped by all of its columns, a table comes to its rows."""
    suite = programs.packages / "csv-spectrum"
    files = sorted((suite / "csvs").glob("*.csv"))
    wrong = []
    for file in files:
        rows = json.loads((suite / "json" / f"{file.stem}.json").read_text())
        # One row is given without a list around it.
        rows = rows if isinstance(rows, list) else [rows]
        expected = sorted(json.dumps(row) for row in rows)
        out = programs.home / f"{file.stem}.jsonl"
        groups = [part for column in rows[0] for part in ("--group-by", column)]
        programs.supervisor("csv", file, *groups, "--agg", "n=count", "-o", out, "--strict")
        found = []
        for line in out.read_text().splitlines():
            row = json.loads(line)
            times = row.pop("n")
            found += [json.dumps(row)] * times
        if (sorted(found) != expected) != (file.stem in ERRATA):
            wrong.append(f"{file.name}: {found}, not {expected}")
    if wrong or not files:
        raise Difference("\n  ".join([f"{len(wrong)} of {len(files)} files of csv-spectrum:", *wrong]))
    return f"{len(files) - len(ERRATA)} files have the rows they should"
