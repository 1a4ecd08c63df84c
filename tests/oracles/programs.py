"""Our executables, run as a user runs them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from dataclasses import dataclass
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

    def supervisor(self, *args: str | Path, exits: int = 0) -> str:
        """Run it; its standard output."""
        command = [str(self.bin / "supervisor"), *map(str, args)]
        # Bytes: as text, a line end within a cell would become another.
        done = subprocess.run(
            command, cwd=self.home, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S
        )
        if done.returncode != exits:
            said = done.stderr.decode(errors="replace")[-2000:]
            raise Difference(f"{' '.join(command)} exited {done.returncode}, not {exits}:\n{said}")
        return done.stdout.decode()

    def killed_when(self, condition: Callable[[], bool], *args: str) -> None:
        """Start it, and kill it as soon as something holds."""
        run = subprocess.Popen(
            [str(self.bin / "supervisor"), *args],
            cwd=self.home, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
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
