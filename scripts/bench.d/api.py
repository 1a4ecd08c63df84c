"""What a crowd of clients that polls a job costs the job, and how long the crowd waits:
a service runs the job, and wrk polls its progress.

    api.py [--load] SUPERVISOR WORK LIST OUT -- FIELDS...

It is started as a contender: it runs the service, submits the list as a job, and writes the
job's records to OUT and its measurements to OUT.measured."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from measure import Contender

if TYPE_CHECKING:
    from cases import Case, Setting

CONNECTIONS = 64
ROUNDS_OF_PAGES = 5
"""How often the pages are fetched. One round would be over before the crowd has warmed up."""
UNITS_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


def load(setting: Setting) -> Case:
    """The main job in the service, alone and polled by a crowd."""
    from cases import LINKS, OURS, TITLE, Bar, Case
    from corpus import FETCHED_PAGES

    pages = setting.scaled(FETCHED_PAGES)
    urls = setting.corpus.urls(setting.origin, pages)
    count = pages * ROUNDS_OF_PAGES
    inputs = setting.written("pages-repeated", (url for _ in range(ROUNDS_OF_PAGES) for url in urls))
    script = [sys.executable, "-B", __file__]
    job = [str(setting.release / "supervisor"), str(setting.work), inputs, "{out}", "--", *TITLE, *LINKS]
    alone = "the job alone"
    contenders = [Contender(OURS, [*script, "--load", *job], count), Contender(alone, [*script, *job], count)]
    bars = [
        Bar("items/s of the job against the job alone", 0.9, True, lambda runs: runs[OURS].rate / runs[alone].rate, (OURS, alone), "×"),
        Bar("99th percentile of the answers' latency", 20, False, lambda runs: runs[OURS].p99_ms or 0.0, unit=" ms"),
    ]  # fmt: skip
    title = f"{count:,} real pages as a job of the service, with {CONNECTIONS} connections of wrk on GET /v1/jobs/ID"
    return Case(title, contenders, bars, repeats=2, reads=setting.corpus.files(pages))


def main() -> None:
    """Run one service with one job."""
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("supervisor")
    args.add_argument("work")
    args.add_argument("inputs")
    args.add_argument("out", type=Path)
    args.add_argument("fields", nargs="*")
    args.add_argument("--load", action="store_true")
    asked = args.parse_args()
    # Not below OUT, where every file counts as part of the output.
    home = Path(tempfile.mkdtemp(dir=asked.work, prefix="served-"))
    sock, port = str(home / "s"), free_port()
    serve = [asked.supervisor, "--workers", "2", "serve", "--allow-private-addresses", "--socket", sock]
    service = subprocess.Popen([*serve, "--state-dir", str(home / "state"), "--listen", f"127.0.0.1:{port}"])
    try:
        wait_until_ready(asked.supervisor, sock, service)
        fetch = ["fetch", "-i", asked.inputs, "--mode", "both", "--concurrency", "64", *asked.fields]
        job, p99_ms = run_job(asked.supervisor, sock, fetch, f"http://127.0.0.1:{port}" if asked.load else None)
        measured = {"wall_s": job["summary"]["wall_s"], "p99_ms": p99_ms}
        asked.out.with_name("out.measured").write_text(json.dumps(measured))
        results = [asked.supervisor, "results", str(job["id"]), "--socket", sock, "-o", str(asked.out)]
        subprocess.run(results, check=True)
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait()
        shutil.rmtree(home)


def run_job(supervisor: str, sock: str, job: list[str], watched: str | None) -> tuple[dict[str, object], float | None]:
    """Return the finished job and, if a crowd polled it, the 99th percentile of the response times."""
    submit = [supervisor, "submit", "--wait", *job, "--socket", sock, "--progress", "never"]
    with subprocess.Popen(submit, stdout=subprocess.PIPE, text=True) as waiting:
        number = waiting.stdout.readline().strip()
        wrk = None
        if watched:
            crowd = ["wrk", "-t2", f"-c{CONNECTIONS}", "-d600s", "--latency", f"{watched}/v1/jobs/{number}"]
            wrk = subprocess.Popen(crowd, stdout=subprocess.PIPE, text=True)
        code = waiting.wait()
        p99_ms = stopped(wrk) if wrk else None
    if code:
        raise SystemExit(f"submit --wait ended with {code}")
    ended = subprocess.run([supervisor, "status", number, "--json", "--socket", sock], check=True, stdout=subprocess.PIPE)
    return json.loads(ended.stdout), p99_ms


def stopped(wrk: subprocess.Popen[str]) -> float:
    """Stop wrk and read its report. Every request must have succeeded."""
    wrk.send_signal(signal.SIGINT)
    said, _ = wrk.communicate()
    if "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"some requests failed: {said}")
    found = re.search(r"99%\s+([\d.]+)(us|ms|s)\b", said)
    if not found:
        raise SystemExit(f"wrk reported no percentile: {said}")
    return float(found[1]) * UNITS_MS[found[2]]


def wait_until_ready(supervisor: str, sock: str, service: subprocess.Popen[bytes]) -> None:
    """Return once the service answers."""
    for _ in range(200):
        if service.poll() is None and not subprocess.run([supervisor, "status", "--socket", sock], capture_output=True).returncode:
            return
        time.sleep(0.05)
    raise SystemExit("the service did not start")


def free_port() -> int:
    """Return a port that is free right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    main()
