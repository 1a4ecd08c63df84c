"""What real robots.txt files allow, by protego, which Scrapy uses: `fetch --robots obey` decides the same.

The files are protego's own test data: those of some 4,200 sites, in its source package only. Each is served at an
address of its own, so that the whole way of a robots.txt is taken: fetched, parsed in a worker, obeyed.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import re
import resource
import subprocess
import sys
import tarfile
import threading
from collections import Counter
from pathlib import Path
from typing import Iterator
from urllib.parse import quote

from protego import Protego

from programs import Difference, Programs, records

PACKAGE = "protego==0.7.0"
SHA256 = "2c032d9736a1f4f0c4318f3558353ae34da5cd038f1a5e064ded7548df315e5a"
AGENTS = ["muster", "googlebot"]
PATHS = ["/", "/index.html", "/search?q=a&b=c", "/wp-admin/x"]
PATTERNS_MAX = 5
"""Rules of each file from which paths are made."""
EQUAL_MIN = 0.999

DIFFERENCES = {
    "docs.oracle.com": "we read the first 500 KiB of a file",
    "hootsuite.com": "for us an unknown field, here Noindex, does not end the list of agents (RFC 9309 section 2.2.4)",
    "msdn.microsoft.com": "for us %26 is not & (RFC 9309 section 2.2.2)",
    "www.audible.com": "for us a no-break space at the end of a line is part of the path",
    "www.santabanta.com": "for us the group of Google is not that of Googlebot",
}
"""Files of which verdicts may differ, and why."""


def check(programs: Programs) -> str:
    """All files, for a robot without groups of its own and for one that many files name."""
    # Their delays would be kept, which takes days.
    delays = re.compile(rb"^(\s*crawl[- ]?delay\s*:?\s*)\S+", re.I | re.M)
    paths = sorted(path for path in download().iterdir() if path.is_file())
    files = {path.name: delays.sub(rb"\g<1>0", path.read_bytes()) for path in paths}
    names = list(files)
    differ: Counter[str] = Counter()
    count = 0
    with served(list(files.values())) as urls:
        for agent in AGENTS:
            wanted = [(n, *test) for n, name in enumerate(names) for test in tests(name, files[name], agent)]
            listed, out = programs.home / f"{agent}.txt", programs.home / f"{agent}.jsonl"
            listed.write_text("".join(f"{urls[n]}{path}\n" for n, path, _ in wanted))
            flags = ["--robots", "obey", "--user-agent", f"{agent}/1.0", "--mode", "both", "--concurrency", "200"]
            programs.supervisor("fetch", *flags, "-i", listed, "-o", out, exits=3)
            for record in records(out):
                n, path, allowed = wanted[record["id"]]
                kind = record.get("error", {}).get("kind")
                if kind not in (None, "robots"):
                    raise Difference(f"{names[n]}: {path}: {record['error']}")
                differ[names[n]] += (kind is None) != allowed
            count += len(wanted)
    differ = +differ
    if unexplained := sorted(set(differ) - set(DIFFERENCES)):
        raise Difference(f"verdicts differ for {' '.join(unexplained)}")
    if (equal := 1 - differ.total() / count) < EQUAL_MIN:
        raise Difference(f"{equal:.3%} of {count} verdicts are equal")
    reasons = "; ".join(f"{differ[name]} for {name}: {DIFFERENCES[name]}" for name in sorted(differ))
    return f"{count} verdicts on {len(files)} files, {differ.total()} differ as expected ({reasons})"


def tests(name: str, raw: bytes, agent: str) -> Iterator[tuple[str, bool]]:
    """Paths for a file, and whether they are allowed."""
    theirs = Protego.parse(raw.decode("utf-8-sig", "replace"))
    rng = random.Random(name)
    patterns = re.findall(rb"(?im)^\s*(?:dis)?allow\s*:\s*([/*]\S*)", raw)
    paths = set(PATHS)
    for pattern in rng.sample(patterns, min(len(patterns), PATTERNS_MAX)):
        text = pattern.decode("utf-8", "replace").replace("*", rng.choice(["", "x", "/x/"])).replace("$", "")
        text = "".join(c if "!" <= c <= "~" else quote(c) for c in text).split("#")[0]
        text = text if text.startswith("/") else f"/{text}"
        # The parser of URLs makes other paths of these, before any rule is asked.
        if not re.search(r'\\|//|/\.|["<>`{}|^\']|%2e', text, re.I):
            paths |= {text, f"{text}y", re.sub(r"(%..|.)$", "", text) or "/"}
    for one in sorted(paths - {"/robots.txt"}):
        yield one, theirs.can_fetch(f"http://site.test{one}", agent)


@contextlib.contextmanager
def served(files: list[bytes]) -> Iterator[list[str]]:
    """A server with an address for each file; their URLs."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    hosts = {f"127.{64 + n // 62500}.{n // 250 % 250}.{n % 250 + 1}": file for n, file in enumerate(files)}
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    class Serve(asyncio.Protocol):
        """Answers `/robots.txt` with its file, and anything else with nothing."""

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport, self.received = transport, b""

        def data_received(self, data: bytes) -> None:
            self.received += data
            while b"\r\n\r\n" in self.received:
                head, self.received = self.received.split(b"\r\n\r\n", 1)
                here = self.transport.get_extra_info("sockname")[0]
                body = hosts[here] if head.startswith(b"GET /robots.txt ") else b""
                assert isinstance(self.transport, asyncio.Transport)
                self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    async def listen() -> tuple[asyncio.Server, int]:
        first, *others = hosts
        one = await loop.create_server(Serve, first, 0)
        port = one.sockets[0].getsockname()[1]
        await loop.create_server(Serve, others, port, backlog=16)
        return one, port

    try:
        _, port = asyncio.run_coroutine_threadsafe(listen(), loop).result()
        yield [f"http://{host}:{port}" for host in hosts]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def download() -> Path:
    """The files, brought in once for each environment."""
    home = Path(sys.prefix) / "suites"
    suite = home / "protego-0.7.0" / "tests" / "test_data"
    if suite.exists():
        return suite
    home.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
               "--no-binary", "protego", "--dest", str(home), PACKAGE]  # fmt: skip
    subprocess.run(command, check=True)
    archive = home / "protego-0.7.0.tar.gz"
    if (digest := hashlib.sha256(archive.read_bytes()).hexdigest()) != SHA256:
        raise Difference(f"{archive} has the SHA-256 {digest}, not {SHA256}")
    with tarfile.open(archive) as tar:
        tar.extractall(home, filter="data")
    return suite
