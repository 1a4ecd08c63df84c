"""Runs one command once, and measures its time, CPU and memory."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Callable


@dataclass(frozen=True)
class Contender:
    """One way to do a case's work."""

    name: str
    argv: list[str]
    """`{out}` stands for a new path to write to."""
    items: int
    """Number of inputs it handles; 0 for wrk, which reports it itself."""
    lines: int | None = None
    """Number of lines it must write, if that is not one per input."""
    counted: Callable[[Path], int] | None = None
    """Counts its output, if that is not lines; called with the path that `{out}` stands for."""


@dataclass(frozen=True)
class Run:
    """The measurements of one run. CPU covers the whole process tree."""

    wall_s: float
    cpu_s: float
    rss_mib: float
    """Of the largest single process."""
    items: int
    supervisor_share: float | None = None
    """The supervisor's share of all CPU, in our own runs."""
    rss_series: list[tuple[float, float]] = field(default_factory=list)
    """(seconds, MiB) of the started process, if requested."""
    anonymous_mib: float | None = None
    """Highest sample of the anonymous memory of the process and its children, if requested."""
    p99_ms: float | None = None
    """99th percentile of the response times, if the contender measures it."""

    @property
    def rate(self) -> float:
        """Items per second."""
        return self.items / self.wall_s

    @property
    def cpu_per_item(self) -> float:
        """CPU seconds for one item."""
        return self.cpu_s / self.items

    def to_json(self) -> dict[str, object]:
        """Convert to the format of the results file."""
        return asdict(self)


def run(contender: Contender, home: Path, watch_rss: bool = False, watch_tree: bool = False) -> Run:
    """Run a contender once, and check that it did all the work."""
    home.mkdir(parents=True, exist_ok=True)
    for old in home.iterdir():
        old.unlink()
    out, log = home / "out", home / "log"
    argv = [part.replace("{out}", str(out)) for part in contender.argv]
    with open(log, "wb") as sink:
        began = time.perf_counter()
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink)
        series = watch(child, began) if watch_rss else []
        anonymous = anonymous_memory(child) if watch_tree else None
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
    said = log.read_text(errors="replace")
    if child.returncode:
        raise SystemExit(f"bench: {contender.name} exited {child.returncode}: {' '.join(argv)}\n{said[-2000:]}")
    cpu = usage.ru_utime + usage.ru_stime
    items = handled(contender, home, said)
    share = supervisor_share(home / "out.summary", cpu)
    # A contender that does more than the work reports itself how long the work took.
    measured = json.loads(path.read_text()) if (path := home / "out.measured").exists() else {}
    wall, p99_ms = measured.get("wall_s", wall), measured.get("p99_ms")
    return Run(wall, cpu, usage.ru_maxrss / 1024, items, share, series, anonymous, p99_ms)


def watch(child: subprocess.Popen[bytes], began: float) -> list[tuple[float, float]]:
    """Sample the resident memory of the started process once a second until it ends."""
    series = []
    pid_fd = os.pidfd_open(child.pid)
    try:
        while not ended(pid_fd, 1.0):
            status = Path(f"/proc/{child.pid}/status").read_text()
            if found := re.search(r"VmRSS:\s+(\d+) kB", status):
                series.append((time.perf_counter() - began, int(found[1]) / 1024))
    finally:
        os.close(pid_fd)
    return series


def anonymous_memory(child: subprocess.Popen[bytes]) -> float:
    """Return the highest sum of the anonymous memory of the process and its children, sampled every 20 ms, in MiB."""
    highest = 0
    pid_fd = os.pidfd_open(child.pid)
    try:
        while not ended(pid_fd, 0.02):
            children = Path(f"/proc/{child.pid}/task/{child.pid}/children")
            pids = [str(child.pid), *(children.read_text().split() if children.exists() else [])]
            highest = max(highest, sum(map(anonymous_kib, pids)))
    finally:
        os.close(pid_fd)
    return highest / 1024


def anonymous_kib(pid: str) -> int:
    """Return one process's anonymous memory; 0 if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    return int(found[1]) if found else 0


def ended(pid_fd: int, timeout: float) -> bool:
    """Return whether a process ends within that time."""
    return bool(select.select([pid_fd], [], [], timeout)[0])


def handled(contender: Contender, home: Path, said: str) -> int:
    """Return the number of records written, which must equal the number of inputs."""
    if found := re.search(r"(\d+) requests in", said):
        return int(found[1])
    if contender.counted:
        count = contender.counted(home / "out")
    else:
        parts = [home / "out", *home.glob("out.[0-9]*")]
        count = sum(count_lines(path) for path in parts if path.exists())
    if count != (contender.items if contender.lines is None else contender.lines):
        raise SystemExit(f"bench: {contender.name} wrote {count} records for {contender.items} inputs")
    return contender.items or count


def count_lines(path: Path) -> int:
    """Count the lines of a file of any size."""
    with open(path, "rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def supervisor_share(summary: Path, cpu_s: float) -> float | None:
    """Return the supervisor's share of the measured CPU, according to the summary."""
    if not summary.exists():
        return None
    return json.loads(summary.read_text())["supervisor_cpu_s"] / cpu_s
