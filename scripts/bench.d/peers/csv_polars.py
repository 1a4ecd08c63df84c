"""Groups a CSV with Polars on all cores: csv_polars.py IN OUT. The lazy engine reads only the needed columns."""

from __future__ import annotations

import sys

import polars as pl

groups = (
    pl.scan_csv(sys.argv[1])
    .group_by("city")
    .agg(
        pl.len().alias("n"),
        pl.col("price").sum().alias("revenue"),
        pl.col("quantity").mean().alias("per_sale"),
        pl.col("price").min().alias("lowest"),
        pl.col("price").max().alias("highest"),
    )
    .sort("city")
)
groups.collect(engine=sys.argv[3] if len(sys.argv) > 3 else "auto").write_csv(sys.argv[2])
