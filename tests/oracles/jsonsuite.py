"""JSONTestSuite: which bodies are JSON, and what comes out of them."""

from __future__ import annotations

import json
from typing import Any

from programs import Difference, Programs

SUITE = "json-test-suite/data"

REFUSED = {
    "i_string_UTF-16LE_with_BOM.json": "the package has U+FFFD for the mark, and what follows is then no JSON",
    "i_string_utf16BE_no_BOM.json": "UTF-16 without a mark is not UTF-8",
    "i_string_utf16LE_no_BOM.json": "UTF-16 without a mark is not UTF-8",
    "i_structure_500_nested_arrays.json": "nested deeper than 127 levels",
}
"""Of what a parser may take or not (`i_…`), what we do not take, and why."""

ACCEPTED = {
    "i_structure_UTF-8_BOM_empty_object.json": "a byte order mark is skipped",
}
"""Of the others, what we take although Python does not, and why."""


def check(programs: Programs) -> str:
    """What must be taken is, with the value that Python reads; what must be refused is. Numbers stay as they are."""
    cases = {case["name"]: case["input"] for case in cases_of(programs, "parsing.js")}
    found = read(programs, cases)
    wrong = []
    for name, text in cases.items():
        line = found[name]
        refused = "error" in json.loads(line)
        expected = name.startswith("n_") or name in REFUSED
        if refused != expected:
            wrong.append(f"{name}: {'refused' if refused else 'taken'}: {text[:60]!r}")
        elif name.startswith("y_") and repr(value_of(line)) != repr(replaced(json.loads(text))):
            wrong.append(f"{name}: {value_of(line)!r}, not {json.loads(text)!r}")
    transforms = {f"transform_{case['name']}": case["input"] for case in cases_of(programs, "transform.js")}
    for name, line in read(programs, transforms).items():
        text = transforms[name]
        if "number" in name and f'"v":{text.strip()}}}' not in line:
            wrong.append(f"{name}: {text.strip()} comes out as {line}")
        elif repr(value_of(line)) != repr(replaced(json.loads(text))):
            wrong.append(f"{name}: {value_of(line)!r}, not {json.loads(text)!r}")
    if wrong:
        raise Difference("\n  ".join([f"{len(wrong)} cases of JSONTestSuite:", *wrong]))
    return f"{len(cases)} texts are JSON or not as they should be, {len(transforms)} come out as they went in"


def cases_of(programs: Programs, file: str) -> list[dict[str, str]]:
    """The package has the files' characters, in a script; bytes that are no UTF-8 are U+FFFD in it."""
    script = (programs.packages / SUITE / file).read_text()
    return json.loads(script[script.index("[") :].rstrip().removesuffix(";"))


def read(programs: Programs, cases: dict[str, str]) -> dict[str, str]:
    """The record of each, all in one run."""
    paths = []
    for name, text in cases.items():
        path = programs.home / name
        path.write_bytes(text.encode())
        paths.append(path)
    done = programs.run("parse", *paths, "--select", "v=$")
    lines = done.stdout.decode().removesuffix("\n").split("\n")
    if len(lines) != len(cases):
        raise Difference(f"{len(lines)} records for {len(cases)} files: {done.stderr.decode(errors='replace')[-500:]}")
    return {json.loads(line)["path"].rsplit("/", 1)[1]: line for line in lines}


def value_of(line: str) -> Any:
    """What was found."""
    return json.loads(line)["fields"]["v"]


def replaced(value: Any) -> Any:
    """With U+FFFD for each half of a surrogate pair."""
    if isinstance(value, str):
        return "".join("\ufffd" if 0xD800 <= ord(c) < 0xE000 else c for c in value)
    if isinstance(value, list):
        return [replaced(item) for item in value]
    if isinstance(value, dict):
        return {replaced(name): replaced(item) for name, item in value.items()}
    return value
