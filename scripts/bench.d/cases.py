"""The cases: our command, other programs that can do the work, and the bars."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Iterable

import api
import csvfile
import formats
from corpus import FETCHED_PAGES, SAVED_PAGES, Corpus
import programs
from measure import Contender, Run

PEERS = Path(__file__).parent / "peers"
OURS = "muster"
TITLE = ["--select", "title=title::text"]
LINKS = ["--select", "links[]=a::attr(href)"]


@dataclass(frozen=True)
class Bar:
    """A value that a case must reach, computed for each pair of runs."""

    says: str
    limit: float
    at_least: bool
    value: Callable[[dict[str, Run]], float]
    needs: tuple[str, ...] = (OURS,)
    """The contenders whose runs it compares."""
    unit: str = ""

    def met(self, measured: float) -> bool:
        """Whether the value is on the right side of the limit."""
        return measured >= self.limit if self.at_least else measured <= self.limit


@dataclass(frozen=True)
class Case:
    """One piece of work and its contenders, ours first."""

    title: str
    contenders: list[Contender]
    bars: list[Bar]
    watch_rss: bool = False
    watch_tree: bool = False
    """Add up the anonymous memory of all processes."""
    same_table: bool = False
    """All contenders write one table, and the tables must be equal."""
    repeats: int = 1
    """Runs per contender in each round: short work needs more."""
    single: bool = False
    """Run once, not in pairs: it takes minutes and is compared with nothing."""
    scratch: list[Path] = field(default_factory=list)
    """Files that are too large to keep; deleted after the case."""
    reads: list[str] = field(default_factory=list)
    """Files to read before the first round, so that every contender finds them in the page cache."""


@dataclass(frozen=True)
class Setting:
    """What the cases are built from."""

    work: Path
    release: Path
    origin: str
    corpus: Corpus
    quick: bool

    def scaled(self, count: int) -> int:
        """Return the number of inputs: a tenth for a quick run."""
        return count // 10 if self.quick else count

    def written(self, name: str, lines: Iterable[str]) -> str:
        """Write a list of inputs to disk."""
        path = self.work / "inputs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in lines)
        return str(path)

    def ours(self, verb: str, inputs: str, items: int, options: list[str], fields: list[str]) -> Contender:
        """Our command, as a user types it."""
        files = ["-i", inputs, "-o", "{out}", "--overwrite", "--summary", "{out}.summary"]
        return Contender(OURS, [str(self.release / "supervisor"), *options, verb, *files, *fields], items)

    def delays(self, count: int) -> str:
        """URLs that each take one second."""
        return self.written(f"delays-{count}", (f"{self.origin}/delay/1?n={n}" for n in range(count)))

    def tiny(self, count: int) -> str:
        """URLs of a page of 40 bytes, all different."""
        return self.written(f"tiny-{count}", (f"{self.origin}/tiny?n={n}" for n in range(count)))


def peer(name: str, script: str, inputs: str, items: int, *options: str) -> Contender:
    """A Python script from `peers/`."""
    return Contender(name, [sys.executable, str(PEERS / script), inputs, "{out}", *options], items)


WRK = ["wrk", "-t2", "-c128", "-d3s"]


def wrk(url: str) -> Contender:
    """The limit: requests one small response repeatedly for three seconds, and discards it."""
    return Contender("wrk", [*WRK, url], 0)


def wrk_list(setting: Setting, inputs: str) -> Contender:
    """The same, over a list."""
    script = str(PEERS / "wrk_list.lua")
    return Contender("wrk", [*WRK, "-s", script, setting.origin, "--", inputs], 0)


def within(seconds: float) -> Bar:
    """A bar on the wall-clock time."""
    return Bar("wall clock of the whole process", seconds, False, lambda runs: runs[OURS].wall_s, unit=" s")


def faster_than(other: str, times: float) -> Bar:
    """A bar on items per second, ours against another contender's."""
    return Bar(
        f"items/s against {other}", times, True, lambda runs: runs[OURS].rate / runs[other].rate, (OURS, other), "×"
    )


def delay(setting: Setting, count: int, options: list[str], bar: float, other: list[str]) -> Case:
    """Only waiting; `other` is the peer's script and its options."""
    inputs, (script, *rest) = setting.delays(count), other
    named = " ".join([script.removesuffix(".py").removeprefix("fetch_"), *rest])
    contenders = [
        setting.ours("fetch", inputs, count, options, []),
        peer(named, script, inputs, count, *rest),
    ]
    return Case(f"{count} × a 1 s delay: {' '.join(options)}", contenders, [within(bar)])


def delay_sequential(setting: Setting) -> Case:
    """One after the other."""
    return delay(setting, 10, ["--mode", "sequential"], 10.2, ["fetch_requests.py"])


def delay_concurrent(setting: Setting) -> Case:
    """One event loop."""
    options = ["--mode", "concurrent", "--workers", "1", "--concurrency", "50"]
    return delay(setting, 50, options, 1.15, ["fetch_aiohttp.py", "--connections", "50"])


def delay_parallel(setting: Setting) -> Case:
    """Blocking processes."""
    options = ["--mode", "parallel", "--workers", "4"]
    return delay(setting, 8, options, 2.2, ["fetch_requests.py", "--processes", "4"])


def delay_both(setting: Setting) -> Case:
    """An event loop in each of four processes."""
    options = ["--mode", "both", "--workers", "4", "--concurrency", "50"]
    other = ["fetch_aiohttp.py", "--processes", "4", "--connections", "50"]
    return delay(setting, 200, options, 1.3, other)


BOTH = ["--mode", "both", "--workers", "2", "--concurrency", "64"]
CAREFUL = "2 × aiohttp + selectolax"


def pages(setting: Setting) -> Case:
    """The main job."""
    count = setting.scaled(FETCHED_PAGES)
    inputs = setting.written("pages", setting.corpus.urls(setting.origin, count))
    contenders = [
        setting.ours("fetch", inputs, count, BOTH, TITLE + LINKS),
        peer(CAREFUL, "fetch_aiohttp.py", inputs, count, "--processes", "2"),
        peer(f"{CAREFUL} + uvloop + orjson", "fetch_aiohttp.py", inputs, count, "--processes", "2", "--tuned"),
        peer("1 × aiohttp + selectolax", "fetch_aiohttp.py", inputs, count),
        peer("requests in a loop + selectolax", "fetch_requests.py", inputs, count),
        peer("Scrapy", "fetch_scrapy.py", inputs, count),
        wrk_list(setting, inputs),
    ]
    share = Bar("supervisor's share of all CPU", 0.15, False, lambda runs: runs[OURS].supervisor_share or 0.0)
    megabytes = setting.corpus.size(count) / 1e6
    title = f"{count:,} real pages ({megabytes:.0f} MB) over HTTP, title + links, both 2 × 64"
    bars = [faster_than(CAREFUL, 3), faster_than("Scrapy", 40), share]
    return Case(title, contenders, bars, reads=setting.corpus.files(count))


def journal(setting: Setting) -> Case:
    """The main job into a file, which is resumable, and into redirected standard output, which is not."""
    count = setting.scaled(FETCHED_PAGES)
    inputs = setting.written("pages", setting.corpus.urls(setting.origin, count))
    journaled = setting.ours("fetch", inputs, count, BOTH, TITLE + LINKS)
    plain = shlex.join([part for part in journaled.argv if part != "--overwrite"]).replace("-o '{out}'", "-o -")
    without = Contender("without a journal", ["sh", "-c", f"exec {plain} > '{{out}}'"], count)
    bar = Bar(
        "items/s with the journal against without",
        0.95,
        True,
        lambda runs: runs[OURS].rate / runs[without.name].rate,
        (OURS, without.name),
        "×",
    )
    title = f"{count:,} real pages over HTTP, title + links, both 2 × 64, with and without a journal"
    return Case(title, [journaled, without], [bar], repeats=3, reads=setting.corpus.files(count))


def parse(setting: Setting, title_only: bool) -> Case:
    """Saved pages: all links, or the title alone."""
    count = setting.scaled(SAVED_PAGES)
    files = setting.corpus.files(count)
    inputs, few = setting.written("files", files), setting.written("files-few", files[: count // 5])
    options = ["--title-only"] if title_only else []
    contenders = [
        setting.ours("parse", inputs, count, ["--mode", "parallel"], TITLE if title_only else TITLE + LINKS),
        peer("Pool(2) × selectolax", "parse_pool.py", inputs, count, "--parser", "selectolax", *options),
        peer("Pool(2) × lxml", "parse_pool.py", inputs, count, "--parser", "lxml", *options),
        peer("Pool(2) × BeautifulSoup", "parse_pool.py", few, count // 5, "--parser", "bs4", *options),
    ]
    bars = [faster_than("Pool(2) × selectolax", 4), faster_than("Pool(2) × BeautifulSoup", 60)]
    if not title_only:
        resolving = ["--parser", "selectolax", "--resolve"]
        contenders.insert(2, peer("Pool(2) × selectolax + urljoin", "parse_pool.py", inputs, count, *resolving))
        bars = [faster_than("Pool(2) × selectolax", 2)]
    megabytes = setting.corpus.size(count) / 1e6
    fields = "title alone" if title_only else "title + all links"
    title = f"{count:,} saved pages ({megabytes:.0f} MB), {fields}, parallel"
    return Case(title, contenders, bars, reads=files)


def fetch_cpu(setting: Setting) -> Case:
    """The cost of one small fetch, against a client that discards the response."""
    count = setting.scaled(100_000)
    inputs = setting.tiny(count)
    bar = Bar(
        "CPU per fetch, all processes, against wrk",
        2.2,
        False,
        lambda runs: runs[OURS].cpu_per_item / runs["wrk"].cpu_per_item,
        (OURS, "wrk"),
        "×",
    )
    contenders = [setting.ours("fetch", inputs, count, BOTH, []), wrk(f"{setting.origin}/tiny")]
    return Case(f"{count:,} small keep-alive fetches, both 2 × 64", contenders, [bar])


def memory(setting: Setting) -> Case:
    """A list far larger than should be held in memory; every line is fetched."""
    count = setting.scaled(10_000_000)
    contenders = [setting.ours("fetch", setting.tiny(count), count, BOTH, [])]
    bars = [
        Bar("supervisor's resident memory, highest", 120, False, lambda runs: peak(runs[OURS]), unit=" MB"),
        Bar("the same, last quarter against second", 1.1, False, lambda runs: growth(runs[OURS]), unit="×"),
    ]
    return Case(f"{count:,} URLs, both 2 × 64", contenders, bars, watch_rss=True, single=True)


def peak(run: Run) -> float:
    """Return the highest sample, in MB."""
    return max(mib for _, mib in run.rss_series) * 1.048576


def growth(run: Run) -> float:
    """Return how much higher the last quarter of the run is than the second; the first is warm-up."""
    series = [mib for _, mib in run.rss_series]
    quarter = max(1, len(series) // 4)
    return max(series[-quarter:]) / max(series[quarter : 2 * quarter] or series)


def one_url(setting: Setting) -> Case:
    """The smallest possible run: the cost of starting."""
    inputs = setting.tiny(1)
    url = Path(inputs).read_text().strip()
    argv = [str(setting.release / "supervisor"), "fetch", url, "-o", "{out}", "--overwrite", *TITLE]
    contenders = [Contender(OURS, argv, 1), peer("requests", "fetch_requests.py", inputs, 1)]
    return Case("one URL, whole process", contenders, [within(0.040)], repeats=4)


GROUPS = len(csvfile.CITIES)
AGGREGATES = [
    "--group-by", "city", "--agg", "n=count", "--agg", "revenue=sum(price)", "--agg", "per_sale=mean(quantity)",
    "--agg", "lowest=min(price)", "--agg", "highest=max(price)",
]  # fmt: skip


def table(setting: Setting, name: str, workers: int, path: Path, rows: int) -> Contender:
    """Our command on a CSV file."""
    command = [str(setting.release / "supervisor"), "--workers", str(workers), "csv", str(path), *AGGREGATES]
    return Contender(name, [*command, "-o", "{out}", "--overwrite", "--summary", "{out}.summary"], rows, GROUPS + 1)


def csv_file(setting: Setting, size: int) -> tuple[Path, int]:
    """Return a file of that size and its number of rows; it is made once and kept."""
    size = size // 10 if setting.quick else size
    path = setting.work / f"sales-{size}.csv"
    count = path.with_suffix(".rows")
    if not (path.exists() and count.exists()):
        count.write_text(str(csvfile.write(path, size)))
    # Every contender finds it in memory, because this measures reading CSV, not the disk.
    with open(path, "rb") as file:
        while file.read(1 << 24):
            pass
    return path, int(count.read_text())


def csv(setting: Setting) -> Case:
    """A gigabyte with quoted line ends, one grouping, five aggregates."""
    path, rows = csv_file(setting, 1_000_000_000)

    def other(name: str, script: str, *options: str) -> Contender:
        argv = [sys.executable, str(PEERS / script), str(path), "{out}", *options]
        return Contender(name, argv, rows, GROUPS + 1)

    contenders = [
        table(setting, OURS, 2, path, rows),
        other("Polars", "csv_polars.py"),
        other("Polars, streaming", "csv_polars.py", "streaming"),
        other("DuckDB", "csv_duckdb.py"),
    ]
    bars = [
        faster_than("Polars", 1.8),
        faster_than("Polars, streaming", 1.8),
        faster_than("DuckDB", 2),
    ]
    title = f"CSV of {path.stat().st_size / 1e9:.1f} GB, {rows:,} rows, quoted line ends: one grouping, five aggregates"
    return Case(title, contenders, bars, same_table=True)


def csv_scaling(setting: Setting) -> Case:
    """The same file with one worker and with two."""
    path, rows = csv_file(setting, 1_000_000_000)
    one = "muster, 1 worker"
    contenders = [table(setting, OURS, 2, path, rows), table(setting, one, 1, path, rows)]
    title = f"CSV of {path.stat().st_size / 1e9:.1f} GB, {rows:,} rows: 2 workers"
    return Case(title, contenders, [faster_than(one, 1.8)], repeats=2, same_table=True)


def csv_memory(setting: Setting) -> Case:
    """Ten times the data, and no more memory."""
    path, rows = csv_file(setting, 10_000_000_000)
    limit = 200 / 1.048576
    bar = Bar("anonymous memory of all processes", limit, False, lambda runs: runs[OURS].anonymous_mib or 0.0, unit=" MiB")
    title = f"CSV of {path.stat().st_size / 1e9:.1f} GB, {rows:,} rows: memory"
    return Case(title, [table(setting, OURS, 2, path, rows)], [bar], watch_tree=True, single=True, scratch=[path])


CASES: dict[str, Callable[[Setting], Case]] = {
    "delay-sequential": delay_sequential,
    "delay-concurrent": delay_concurrent,
    "delay-parallel": delay_parallel,
    "delay-both": delay_both,
    "pages": pages,
    "journal": journal,
    "parse-links": lambda setting: parse(setting, title_only=False),
    "parse-title": lambda setting: parse(setting, title_only=True),
    "fetch-cpu": fetch_cpu,
    "one-url": one_url,
    "api-load": api.load,
    "map-cat": programs.cat,
    "map-jq": programs.jq,
    "warc": formats.warc,
    "warc-packed": formats.warc_packed,
    "parquet": formats.parquet,
    "csv": csv,
    "csv-scaling": csv_scaling,
    "csv-memory": csv_memory,
    "memory": memory,
}
"""Every case, in the order of running and reporting. Each is built when it is its turn:
some write long lists of inputs."""
