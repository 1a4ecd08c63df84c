"""Writes the results as tables into docs/BENCHMARKS.md, between its markers."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
Result = dict[str, object]


def number(value: float) -> str:
    """Format a number with three significant digits and grouped thousands."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"


def spread(values: list[float], unit: str = "") -> str:
    """Format the median and the range."""
    middle = number(statistics.median(values)) + unit
    return middle if len(values) == 1 else f"{middle} ({number(min(values))}–{number(max(values))})"


def bars(results: dict[str, Result]) -> list[str]:
    """Return one row per bar."""
    rows = ["| work | what | bar | measured: median (min–max) | |", "|---|---|---|---|---|"]
    for result in results.values():
        for bar in result["bars"]:
            sign = "≥" if bar["at_least"] else "≤"
            limit = f"{sign} {bar['limit']:g}{bar['unit']}"
            verdict = "met" if bar["met"] else "**missed**"
            measured = spread(bar["values"], bar["unit"])
            rows.append(f"| {result['title']} | {bar['says']} | {limit} | {measured} | {verdict} |")
    return rows


def contenders(results: dict[str, Result]) -> list[str]:
    """Return one row per contender of each case."""
    rows = [
        "| work | contender | items | wall s: median (min–max) | items/s | CPU ms per item | largest process MiB |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for result in results.values():
        for name, runs in result["runs"].items():
            items = statistics.median(run["items"] for run in runs)
            rate = statistics.median(run["items"] / run["wall_s"] for run in runs)
            cpu = statistics.median(1000 * run["cpu_s"] / run["items"] for run in runs)
            rss = max(run["rss_mib"] for run in runs)
            wall = spread([run["wall_s"] for run in runs])
            rows.append(
                f"| {result['title']} | {name} | {items:,.0f} | {wall} | {number(rate)} | {number(cpu)} | {rss:.0f} |"
            )
    return rows


def render(machine: dict[str, str], results: dict[str, Result], equality: str | None) -> str:
    """Return everything between the markers."""
    parts = [f"- {name}: {value}" for name, value in machine.items()]
    others = sorted({str(result["commit"]) for result in results.values()} - {machine["commit"]})
    if others:
        parts.append(f"- some rows were measured at: {', '.join(others)}")
    parts += ["", "### The bars", "", *bars(results), "", "### All contenders", "", *contenders(results)]
    if equality:
        parts += ["", "### Equal output", "", equality]
    return "\n".join(parts)


def write(page: Path, results: Path) -> None:
    """Write the stored results into the page."""
    stored = json.loads(results.read_text())
    before, rest = page.read_text().split(BEGIN)
    after = rest.split(END)[1]
    body = render(stored["machine"], stored["cases"], stored.get("equality"))
    page.write_text(f"{before}{BEGIN}\n{body}\n{END}{after}")
