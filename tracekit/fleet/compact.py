"""The small files of many adds as few large ones."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tracekit.fleet.dataset import Dataset
from tracekit.fleet.tables import TABLES, Tables, joined

__all__ = ["compact"]

_WHERE = re.compile(r"\w+/kernel=([^/]*)/date=([^/]*)/[^/]+\.parquet")


def _place(name: str) -> tuple[str, str]:
    match = _WHERE.fullmatch(name)
    assert match is not None, name
    return unquote(match[1]), unquote(match[2])


def _rows(dataset: Dataset, name: str, table: str, left_out: Sequence[int]) -> pa.Table:
    rows = pq.read_table(io.BytesIO(dataset.place.read(name)), schema=TABLES[table])
    if left_out:
        double = pc.is_in(rows["handover"], pa.array(left_out, pa.int64()))
        rows = rows.filter(pc.invert(double))
    return rows


def compact(dataset: Dataset) -> tuple[int, int]:
    """Join the files of each kernel and day; returns how many there were and are.

    The new commit replaces the old ones at once; a reader sees either. Files of the old ones are
    removed afterwards. One kernel and day is held in memory at a time.
    """
    with dataset.place.lock():
        dataset.refresh()
        old, doubles = dict(dataset.commits), dataset.doubles()
        names = [n for c in old.values() for files in c.files.values() for n in files]
        if len(old) < 2:
            return len(names), len(names)
        where: dict[tuple[str, str], dict[str, list[tuple[str, str]]]] = {}
        for identity, commit in old.items():
            for table, files in commit.files.items():
                for name in files if table != "sums" else ():
                    part = where.setdefault(_place(name), {})
                    part.setdefault(table, []).append((identity, name))

        def read(files: dict[str, list[tuple[str, str]]]) -> Tables:
            made = {
                table: [_rows(dataset, name, table, doubles.get(i, ())) for i, name in some]
                for table, some in files.items()
            }
            return joined([{table: pa.concat_tables(some) for table, some in made.items()}])

        sessions = {m: about for c in reversed(old.values()) for m, about in c.sessions.items()}
        parts = ((place, read(files)) for place, files in where.items())
        made = dataset.commit_parts(sessions, parts, tuple(dataset.bad), tuple(old))
        for identity in old:
            dataset.place.remove(f"commits/{identity}.json")
        for name in names:
            dataset.place.remove(name)
        dataset.refresh()
        return len(names), sum(len(files) for files in made.files.values())
