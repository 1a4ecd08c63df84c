"""What we write, read by tools that we had no hand in; what we work out, worked out by them.

    check.py --bin DIR --packages DIR --work DIR [CHECK]...

A check fails with the first difference. `scripts/test oracles` makes the environment and runs them all.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path
from typing import Callable

import archives
import html5lib
import jsonpath
import jsonsuite
import objects
import outputs
import robots
import spectrum
import tables
from programs import Difference, Programs

CHECKS: dict[str, Callable[[Programs], str]] = {
    "archives": archives.check,
    "random-tables": tables.check_random,
    "large-table": tables.check_large,
    "csv-spectrum": spectrum.check,
    "jsonpath": jsonpath.check,
    "json-suite": jsonsuite.check,
    "outputs": outputs.check,
    "resumed-archives": archives.check_resumed,
    "objects": objects.check,
    "resumed-objects": objects.check_resumed,
    "html5lib": html5lib.check,
    "robots": robots.check,
}


def main() -> None:
    """Run what was asked for; the exit code is 1 if anything differed."""
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("checks", nargs="*", metavar="CHECK", help=" ".join(CHECKS))
    args.add_argument("--bin", type=Path, required=True, help="where supervisor, worker and origin are")
    args.add_argument("--packages", type=Path, required=True, help="where the packages of package.json are")
    args.add_argument("--work", type=Path, required=True, help="a directory for what is written; emptied first")
    asked = args.parse_args()
    if unknown := [name for name in asked.checks if name not in CHECKS]:
        args.error(f"no check {unknown[0]}; there are: {' '.join(CHECKS)}")
    failed = False
    for name in asked.checks or CHECKS:
        home = asked.work / name
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        began = time.monotonic()
        try:
            said = CHECKS[name](Programs(asked.bin.resolve(), home.resolve(), asked.packages.resolve()))
        except Difference as difference:
            failed, said = True, f"FAILED: {difference}"
        print(f"{name}: {said} ({time.monotonic() - began:.1f} s)", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
