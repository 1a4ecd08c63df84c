#!/usr/bin/env python3
"""Sends POST requests from a table to httpbin, kills the supervisor on the way, and reads in the server's log what
arrived how often.

    posts.py SUPERVISOR [--rows 10000] [--kills 10]

Needs httpbin and gunicorn. Without --at-most-once, only what was in flight at a kill may arrive twice; with it, nothing
may, and what may have been sent has a record with the error "uncertain".
"""

import argparse
import collections
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time

# Logs each request when it begins and when it has been answered, one short line with a single write each.
APP = '''
import os, time
from httpbin import app as httpbin
log = os.open(os.environ["REQUEST_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def app(environ, start_response):
    path = environ["PATH_INFO"]
    os.write(log, f"begin {path} {time.time()}\\n".encode())
    answer = b"".join(httpbin(environ, start_response))
    os.write(log, f"end {path} {time.time()}\\n".encode())
    return [answer]
'''

IN_FLIGHT = 16


def serve(directory):
    """Starts httpbin; returns the process and its URL."""
    (directory / "logged.py").write_text(APP)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = [str(directory), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = dict(os.environ, REQUEST_LOG=str(directory / "requests.log"), PYTHONPATH=os.pathsep.join(places))
    command = [sys.executable, "-m", "gunicorn", "--workers", "2", "--threads", "8", "--keep-alive", "20",
               "--bind", f"127.0.0.1:{port}", "--log-level", "warning", "logged:app"]
    server = subprocess.Popen(command, cwd=directory, env=environment)
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return server, f"http://127.0.0.1:{port}"
        except OSError:
            time.sleep(0.1)
    raise SystemExit("httpbin does not start")


def arrived(directory):
    """The requests so far, in order."""
    log = directory / "requests.log"
    return [line.split() for line in log.read_text().splitlines()] if log.exists() else []


def run(supervisor, directory, url, flags):
    command = [supervisor, "--workers", "2", "fetch", "-i", "rows.csv", "--url", url + "/anything/{n}",
               "--json", '{"n": {n}, "text": "{text}"}', "--select", "json=$.json", "-o", "out.jsonl", "--resume",
               "--mode", "both", "--concurrency", str(IN_FLIGHT // 2), "--progress", "never", *flags]
    return subprocess.Popen(command, cwd=directory, stderr=subprocess.DEVNULL)


def check(supervisor, rows, kills, flags):
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        texts = [f'row "{n}" \\ ü, {{x}}' for n in range(rows)]
        cells = "".join(f'{n},"{text.replace(chr(34), chr(34) * 2)}"\n' for n, text in enumerate(texts))
        (directory / "rows.csv").write_text("n,text\n" + cells)
        server, url = serve(directory)
        try:
            open_at_kills, began = 0, time.time()
            for kill in range(kills):
                target = rows * (kill + 1) // (kills + 1) * 2 - random.randrange(200)
                process = run(supervisor, directory, url, flags)
                while len(arrived(directory)) < target and process.poll() is None:
                    time.sleep(0.01)
                process.send_signal(signal.SIGKILL)
                process.wait()
                counts = collections.Counter(line[0] for line in arrived(directory))
                open_at_kills = max(open_at_kills, counts["begin"] - counts["end"])
            status = run(supervisor, directory, url, flags).wait()
            took = time.time() - began
        finally:
            server.terminate()
            server.wait()
        counts = collections.Counter(line[1] for line in arrived(directory) if line[0] == "begin")
        records = [json.loads(line) for line in (directory / "out.jsonl").read_text().splitlines()]
    assert sorted(record["id"] for record in records) == list(range(rows)), "each row has one record"
    more = sum(counts.values()) - len(counts)
    uncertain = [record["id"] for record in records if record.get("error", {}).get("kind") == "uncertain"]
    others = [record for record in records if "error" in record and record["error"]["kind"] != "uncertain"]
    assert not others, others[:3]
    for record in records:
        if "error" not in record:
            got = json.loads(record["fields"]["json"]) if isinstance(record["fields"]["json"], str) else record["fields"]["json"]
            assert got == {"n": record["id"], "text": texts[record["id"]]}, record
            assert counts[f"/anything/{record['id']}"] >= 1, record
    print(f"{' '.join(flags) or 'default'}: {rows} rows, {kills} kills, {took:.0f} s, exit status {status}: "
          f"{more} arrived more than once, {len(uncertain)} uncertain, at most {open_at_kills} open at a kill")
    return more, max(counts.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("supervisor")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=10)
    options = parser.parse_args()
    supervisor = os.path.abspath(options.supervisor)
    more, _ = check(supervisor, options.rows, options.kills, [])
    assert more <= options.kills * IN_FLIGHT, f"{more} arrived more than once"
    more, _ = check(supervisor, options.rows, options.kills, ["--at-most-once"])
    assert more == 0, f"{more} arrived more than once"


if __name__ == "__main__":
    main()
