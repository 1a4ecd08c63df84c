"""Groups a CSV with DuckDB on all cores: csv_duckdb.py IN OUT."""

from __future__ import annotations

import sys

import duckdb

duckdb.sql(
    f"""
    COPY (
        SELECT city, count(*) AS n, sum(price) AS revenue, avg(quantity) AS per_sale,
               min(price) AS lowest, max(price) AS highest
        FROM read_csv('{sys.argv[1]}') GROUP BY city ORDER BY city
    ) TO '{sys.argv[2]}' (FORMAT csv, HEADER)
    """
)
