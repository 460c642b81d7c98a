"""Results in a file that grows with a run, so that a stopped run goes on."""

import pandas as pd
from joblib import Parallel
from rich.progress import track


class Stored:
    """Rows of results in a parquet file, which one process writes at a time.

    Parameters
    ----------
    path : Path
    keys : list of str
        Columns that tell measurements apart; a later row replaces an earlier one.

    Attributes
    ----------
    rows : DataFrame
    """

    def __init__(self, path, keys):
        self.path, self.keys = path, keys
        self.rows = pd.read_parquet(path) if path.exists() else pd.DataFrame()

    def add(self, rows):
        """Store some more rows (dictionaries) at once."""
        if not rows:
            return
        self.rows = pd.concat([self.rows, pd.DataFrame(rows)], ignore_index=True)
        self.rows = self.rows.drop_duplicates(self.keys, keep="last")
        # In an order that does not depend on which job came first.
        self.rows = self.rows.sort_values(self.keys, ignore_index=True)
        part = self.path.with_suffix(".part")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.rows.to_parquet(part, index=False)
        part.replace(self.path)

    def collect(self, calls, n_jobs):
        """Run delayed calls that return rows, and store those as they come."""
        results = Parallel(n_jobs=n_jobs, return_as="generator_unordered")(calls)
        for rows in track(results, total=len(calls), description="runs"):
            self.add(rows)

    def has(self, *values):
        """Whether there is a result, and no failure, for these values of the keys."""
        if self.rows.empty:
            return False
        rows = self.rows
        if "error" in rows:
            rows = rows[rows.error.isna()]
        return bool((rows[self.keys] == list(values)).all(axis=1).any())
