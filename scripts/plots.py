"""Draws docs/images/load-*.svg from the series that the simulations wrote. Called by scripts/plots."""

import csv
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

# The same picture gives the same file.
plt.rcParams.update({"svg.hashsalt": "muster", "svg.fonttype": "none", "font.size": 9, "axes.grid": True,
                     "grid.alpha": 0.3, "axes.spines.top": False, "axes.spines.right": False})

FIGURES = {
    "unlimited": "2,000 targets of 1 s, a server without limits, on loopback",
    "threads": "A server with 8 threads, 100 ms each: it can answer 80 a second",
    "knee": "A server good at 64 at once (50 ms each), quadratically slower beyond",
    "pace": "A server that refuses more than 20 requests a second, and more than 5 from 60 s on",
    "outage": "A server with 8 threads, 50 ms each, that answers nothing from 20 s to 40 s",
    "total": "500 servers with 20 targets of 1 s each: all hosts together",
}
# Steps that one point of the rates is the mean of.
WINDOW = 10


def read(path: Path) -> dict[str, list[float]]:
    with path.open() as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


def rate(counts: list[float], at_s: list[float]) -> list[float]:
    step_s = at_s[0]
    windows = (counts[max(0, n + 1 - WINDOW):n + 1] for n in range(len(counts)))
    return [sum(window) / len(window) / step_s for window in windows]


def draw(series: dict[str, list[float]], title: str, out: Path) -> None:
    at_s = series["at_s"]
    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(7, 3.6), height_ratios=(3, 2))
    above.set_title(title, loc="left", fontsize=9)
    served = rate(series["served"], at_s)
    above.plot(at_s, served, color="#1b6ca8", label="answers a second")
    if any(series["refused"]):
        above.plot(at_s, rate(series["refused"], at_s), color="#c0392b", label="refusals a second")
    above.legend(loc="best", frameon=False)
    # The first requests to an unknown server may all be refused at once: that peak would flatten the rest.
    above.set_ylim(0, 1.3 * max(served))
    below.step(at_s, series["limit"], where="post", color="#555555", label="limit")
    below.plot(at_s, series["in_flight"], color="#e08e0b", linewidth=0.8, label="in flight")
    below.legend(loc="best", frameon=False)
    below.set_ylim(bottom=0)
    below.set_xlabel("seconds")
    figure.tight_layout()
    figure.savefig(out, metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    source, images = (Path(argument) for argument in sys.argv[1:])
    for name, title in FIGURES.items():
        draw(read(source / f"{name}.csv"), title, images / f"load-{name}.svg")


main()
