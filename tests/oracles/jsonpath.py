"""The compliance test suite of JSONPath (RFC 9535), as `--select` answers it."""

from __future__ import annotations

import json
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from programs import Difference, Programs

EMPTY = "empty.json"

SUITE = "jsonpath-rfc9535/src/__tests__/jsonpath-compliance-test-suite/cts.json"

ACCEPTED = {
    "basic, no leading whitespace": "white space around the selector of a flag is the flag's",
    "basic, no trailing whitespace": "white space around the selector of a flag is the flag's",
}
"""Selectors that the suite refuses and we take, and why."""


def check(programs: Programs) -> str:
    """Valid selectors find what the suite says they find; the others are refused before anything starts."""
    tests = json.loads((programs.packages / SUITE).read_text())["tests"]
    (programs.home / EMPTY).write_text("{}")
    valid = [test for test in tests if not test.get("invalid_selector")]
    documents: dict[str, list[Any]] = defaultdict(list)
    for test in valid:
        documents[json.dumps(test["document"])].append(test)
    wrong = []
    with ThreadPoolExecutor() as pool:
        runs = pool.map(lambda of: evaluated(programs, *of), enumerate(documents.items()))
        wrong += [name for names in runs for name in names]
        invalid = [test for test in tests if test.get("invalid_selector")]
        taken = pool.map(lambda test: is_taken(programs, test["selector"]), invalid)
        names = {test["name"] for test, is_valid in zip(invalid, taken) if is_valid}
    wrong += [f"{name}: taken, and should be refused" for name in names - ACCEPTED.keys()]
    wrong += [f"{name}: refused now, and no longer a difference" for name in ACCEPTED.keys() - names]
    if wrong:
        raise Difference("\n  ".join([f"{len(wrong)} of {len(tests)} tests of JSONPath:", *sorted(wrong)]))
    return f"{len(valid)} selectors find what they should, {len(invalid) - len(ACCEPTED)} are refused"


def evaluated(programs: Programs, number: int, of: tuple[str, list[Any]]) -> list[str]:
    """All selectors for one document in one run; what is wrong."""
    document, tests = of
    path = programs.home / f"{number}.json"
    path.write_text(document)
    wrong = []
    for test in [test for test in tests if not is_taken(programs, test["selector"])]:
        wrong.append(f"{test['name']}: {test['selector']!r} is refused")
        tests.remove(test)
    if not tests:
        return wrong
    selects = [part for n, test in enumerate(tests) for part in ("--select", f"t{n}[]={test['selector']}")]
    fields = json.loads(programs.supervisor("parse", path, *selects))["fields"]
    for n, test in enumerate(tests):
        allowed = test.get("results", [test.get("result")])
        # As texts: to Python, 1 is True.
        if json.dumps(fields[f"t{n}"]) not in map(json.dumps, allowed):
            wrong.append(f"{test['name']}: {test['selector']!r} finds {fields[f't{n}']}, not {allowed}")
    return wrong


def is_taken(programs: Programs, selector: str) -> bool:
    """Whether a run with this selector begins. One with a NUL cannot even be asked for: it ends an argument."""
    if "\0" in selector:
        return False
    run = programs.run("parse", programs.home / EMPTY, "--select", f"t[]={selector}")
    if run.returncode not in (0, 2):
        raise Difference(f"{selector!r} exited {run.returncode}: {run.stderr.decode(errors='replace')[-500:]}")
    return run.returncode == 0
