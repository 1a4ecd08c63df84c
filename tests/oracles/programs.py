"""Our executables, run as a user runs them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Iterator

TIMEOUT_S = 120
"""A run that takes longer hangs."""


class Difference(Exception):
    """We say one thing, and somebody else another."""


@dataclass(frozen=True)
class Programs:
    """Where the executables are, and where one check may write."""

    bin: Path
    home: Path
    packages: Path
    """Where the packages of `package.json` are."""
    variables: dict[str, str] = field(default_factory=dict)
    """What is set for them besides what is set for us."""

    @property
    def environment(self) -> dict[str, str]:
        """What they are started in."""
        return {**os.environ, **self.variables}

    def supervisor(self, *args: str | Path, exits: int = 0) -> str:
        """Run it; its standard output."""
        done = self.run(*args)
        if done.returncode != exits:
            said = done.stderr.decode(errors="replace")[-2000:]
            raise Difference(f"{' '.join(map(str, args))} exited {done.returncode}, not {exits}:\n{said}")
        return done.stdout.decode()

    def run(self, *args: str | Path) -> subprocess.CompletedProcess[bytes]:
        """Run it, however it ends. Bytes: as text, a line end within a cell would become another."""
        return subprocess.run(
            [str(self.bin / "supervisor"), *map(str, args)],
            cwd=self.home, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S,
        )  # fmt: skip

    def refused(self, says: str, *args: str | Path, exits: int = 1) -> None:
        """Run it; it must say no, and why."""
        done = self.run(*args)
        said = done.stderr.decode(errors="replace")
        if done.returncode != exits or says not in said:
            raise Difference(f"{' '.join(map(str, args))} exited {done.returncode}, not {exits} with {says!r}:\n{said[-2000:]}")

    def killed_when(self, condition: Callable[[], bool], *args: str) -> None:
        """Start it, and kill it as soon as something holds."""
        run = subprocess.Popen(
            [str(self.bin / "supervisor"), *args],
            cwd=self.home, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + TIMEOUT_S
        while not condition():
            if run.poll() is not None or time.monotonic() > deadline:
                run.kill()
                raise Difference(f"{' '.join(args)} ended, or hung, before it could be killed")
            time.sleep(0.01)
        run.kill()
        run.wait()

    @contextlib.contextmanager
    def origin(self) -> Iterator[str]:
        """The test server, as long as it is needed; its address."""
        command = [str(self.bin / "origin"), "--exit-with-stdin"]
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert server.stdin and server.stdout
        try:
            yield server.stdout.readline().strip().removeprefix("listening on ")
        finally:
            server.stdin.close()
            server.wait(TIMEOUT_S)
            server.stdout.close()


def expect(what: str, ours: object, theirs: object) -> None:
    """Both must be the same."""
    if ours != theirs:
        raise Difference(f"{what}: ours is {ours!r:.500}, theirs {theirs!r:.500}")


def records(path: Path) -> list[dict[str, object]]:
    """JSON lines, by id."""
    with open(path, encoding="utf-8") as file:
        return sorted(map(json.loads, file), key=lambda record: record["id"])
