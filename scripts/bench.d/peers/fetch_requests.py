"""The simplest script: requests, one URL after the other.

With --processes N the loop runs in a multiprocessing pool. The session is kept, so
connections are reused; many such scripts do not even do that.
"""

from __future__ import annotations

import argparse
import json
from multiprocessing import Pool

import requests

from pages import lines, selectolax

session = requests.Session()
extract = selectolax(title_only=False)


def fetch(url: str) -> str:
    """Fetch one URL and return one line."""
    response = session.get(url, timeout=30)
    return json.dumps({"url": url, "status": response.status_code, **extract(response.content)})


def main() -> None:
    """Fetch the list, write JSON lines."""
    args = argparse.ArgumentParser()
    args.add_argument("urls")
    args.add_argument("out")
    args.add_argument("--processes", type=int, default=1)
    options = args.parse_args()
    urls = lines(options.urls)
    with open(options.out, "w", encoding="utf-8") as out:
        if options.processes == 1:
            out.writelines(fetch(url) + "\n" for url in urls)
        else:
            with Pool(options.processes) as pool:
                out.writelines(line + "\n" for line in pool.imap_unordered(fetch, urls))


if __name__ == "__main__":
    main()
