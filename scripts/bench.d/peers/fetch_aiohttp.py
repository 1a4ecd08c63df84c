"""A well-tuned Python program: N processes, each with its own event loop and its own
share of the list, a fixed number of tasks that pull from it, and the fastest parser.

--tuned swaps in uvloop and orjson.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from multiprocessing import Process
from typing import BinaryIO, Iterator

import aiohttp

from pages import lines, selectolax


async def pull(session: aiohttp.ClientSession, urls: Iterator[str], out: BinaryIO, dumps) -> None:
    """One of many tasks: takes the next URL until none is left."""
    extract = selectolax(title_only=False)
    for url in urls:
        async with session.get(url) as response:
            body = await response.read()
            record = {"url": url, "status": response.status, **extract(body)}
        out.write(dumps(record) + b"\n")


async def fetch(urls: list[str], path: str, connections: int, dumps) -> None:
    """Fetch all URLs of one process, over that many connections."""
    connector = aiohttp.TCPConnector(limit=connections)
    timeout = aiohttp.ClientTimeout(total=30)
    queue = iter(urls)
    with open(path, "wb") as out:
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            await asyncio.gather(*(pull(session, queue, out, dumps) for _ in range(connections)))


def process(urls: list[str], path: str, connections: int, tuned: bool) -> None:
    """Run one process, which shares nothing with the others."""
    if tuned:
        import orjson
        import uvloop

        uvloop.run(fetch(urls, path, connections, orjson.dumps))
    else:
        asyncio.run(fetch(urls, path, connections, lambda record: json.dumps(record).encode()))


def main() -> None:
    """Distribute the list and wait."""
    args = argparse.ArgumentParser()
    args.add_argument("urls")
    args.add_argument("out")
    args.add_argument("--processes", type=int, default=1)
    args.add_argument("--connections", type=int, default=64)
    args.add_argument("--tuned", action="store_true")
    options = args.parse_args()
    urls = lines(options.urls)
    if options.processes == 1:
        process(urls, options.out, options.connections, options.tuned)
        return
    parts = [
        Process(target=process, args=(urls[n :: options.processes], f"{options.out}.{n}", options.connections, options.tuned))
        for n in range(options.processes)
    ]
    for part in parts:
        part.start()
    for part in parts:
        part.join()


if __name__ == "__main__":
    main()
