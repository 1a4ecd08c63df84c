"""Runs the cases: all contenders in turn, round after round, so that other load on the
machine affects all of them alike. Ratios are taken within a round."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import statistics
import subprocess
from importlib.metadata import version
from pathlib import Path

import cases
import corpus
import equality
import origin
import report
import tables
from measure import Contender, Run, run

REPO = Path(__file__).resolve().parents[2]


def options() -> argparse.Namespace:
    """Parse the command line."""
    args = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    args.add_argument("cases", nargs="*", metavar="CASE", help="cases to run; default: all that need not be named")
    args.add_argument("--pairs", type=int, default=5, metavar="N", help="rounds of all contenders in turn (default 5)")
    args.add_argument("--quick", action="store_true", help="a tenth of the inputs, two rounds; does not write the page")
    args.add_argument("--peers-only", action="store_true", help="run the peers only; does not write the page")
    args.add_argument("--target", type=Path, required=True, help=argparse.SUPPRESS)
    return args.parse_args()


def rounds(case: cases.Case, pairs: int, home: Path, peers_only: bool) -> dict[str, list[Run]]:
    """Return every contender's runs."""
    running = [c for c in case.contenders if not (peers_only and c.name == cases.OURS)]
    runs: dict[str, list[Run]] = {contender.name: [] for contender in running}
    for path in case.reads:
        Path(path).read_bytes()
    for _ in range(1 if case.single else pairs * case.repeats):
        for contender in running:
            done = run(contender, home, case.watch_rss, case.watch_tree)
            if case.same_table:
                compare(contender, home)
            runs[contender.name].append(done)
            print(f"  {contender.name:<42}{done.wall_s:9.3f} s {done.rate:12,.1f}/s {done.cpu_s:8.2f} s CPU", flush=True)
    return runs


def compare(contender: Contender, home: Path) -> None:
    """Check that every contender writes our table: a fast wrong answer does not count."""
    kept = home.parent / "table.csv"
    if contender.name == cases.OURS:
        shutil.copyfile(home / "out", kept)
    elif kept.exists():
        tables.check(kept, home / "out", contender.name)


def judge(bar: cases.Bar, runs: dict[str, list[Run]]) -> dict[str, object] | None:
    """Return the bar's value in each round; nothing if a contender it needs did not run."""
    if not all(runs.get(name) for name in bar.needs):
        return None
    names = list(runs)
    values = [bar.value(dict(zip(names, round_))) for round_ in zip(*runs.values())]
    median = statistics.median(values)
    verdict = {"says": bar.says, "limit": bar.limit, "at_least": bar.at_least, "unit": bar.unit}
    return verdict | {"values": values, "met": bar.met(median)}


def measure(case: cases.Case, pairs: int, home: Path, peers_only: bool) -> dict[str, object]:
    """Measure one case, in the form in which it is stored."""
    print(case.title, flush=True)
    try:
        runs = rounds(case, pairs, home, peers_only)
    finally:
        for path in case.scratch:
            path.unlink(missing_ok=True)
    judged = [verdict for bar in case.bars if (verdict := judge(bar, runs))]
    for bar in judged:
        sign, word = ("≥" if bar["at_least"] else "≤"), ("met" if bar["met"] else "MISSED")
        measured = report.spread(bar["values"], bar["unit"])
        print(f"  → {bar['says']}: {measured}, bar {sign} {bar['limit']:g}{bar['unit']}: {word}", flush=True)
    stored = {name: [one.to_json() for one in many] for name, many in runs.items()}
    return {"title": case.title, "commit": commit(), "runs": stored, "bars": judged}


def machine(target: Path, pages: corpus.Corpus, pairs: int) -> dict[str, str]:
    """Describe the machine and the software of this measurement."""
    cpu = next(line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    pinned = (Path(__file__).parent / "requirements.txt").read_text().splitlines()
    packages = [line.split("==")[0] for line in pinned if "==" in line]
    return {
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "machine": f"{len(os.sched_getaffinity(0))} CPUs of {cpu}, Linux {platform.release()}, "
        f"load {os.getloadavg()[0]:.1f} at the start",
        "rounds": f"{pairs}, all contenders in turn",
        "built with": output("rustc", "--version"),
        "origin": f"nginx {origin.version(target)}",
        "peers": f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in packages),
        "pages": ", ".join(f"{name} {found}" for name, found in pages.versions.items()),
    }


def commit() -> str:
    """Return the commit of the working tree."""
    return output("git", "-C", str(REPO), "describe", "--always", "--dirty")


def output(*command: str) -> str:
    """Return the output of a command."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def chosen(asked: argparse.Namespace) -> list[str]:
    """Return the names of the cases to run; all must be known."""
    known = [*cases.CASES, "equality"]
    for name in asked.cases:
        if name not in known:
            raise SystemExit(f"scripts/bench: unknown case {name}; cases are: {' '.join(known)}")
    names = asked.cases or list(known)
    return [name for name in names if not (asked.peers_only and name in ("memory", "equality"))]


def keep(results: dict[str, object], store: Path) -> None:
    """Store the results so far, in the order of the cases, and write the page."""
    measured = results["cases"]
    results["cases"] = {name: measured[name] for name in cases.CASES if name in measured}
    store.write_text(json.dumps(results))
    report.write(REPO / "docs/BENCHMARKS.md", store)


def main() -> None:
    """Prepare everything, run the chosen cases, keep the results."""
    asked = options()
    names = chosen(asked)
    work = asked.target.resolve() / "bench"
    pages = corpus.prepare(work)
    pairs = min(asked.pairs, 2) if asked.quick else asked.pairs
    store = work / "results.json"
    results = json.loads(store.read_text()) if store.exists() else {"cases": {}}
    results["machine"] = machine(work, pages, pairs)
    with origin.serve(work, pages.root) as address:
        setting = cases.Setting(work, asked.target.resolve() / "release", address, pages, asked.quick)
        for name in names:
            if name == "equality":
                results["equality"] = equality.check(setting)
            else:
                case = cases.CASES[name](setting)
                results["cases"][name] = measure(case, pairs, work / "run", asked.peers_only)
            if not (asked.quick or asked.peers_only):
                keep(results, store)


if __name__ == "__main__":
    main()
