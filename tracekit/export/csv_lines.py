"""The timeline as lines of CSV, made in one pass of what programs print."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.export.cells import guarded
from tracekit.export.lines import Columns, Lines, Records, coded_texts, print_lines, print_rows
from tracekit.recording import Recording
from tracekit.timeline.filter import Filter
from tracekit.timeline.rows import Rows, numbers

__all__ = ["csv_blocks"]

_ROWS = 1 << 16  # at a time


def csv_blocks(recording: Recording, wanted: Filter) -> Iterator[tuple[int, Lines]]:
    """(how many rows, their lines): times, the columns between them, arguments, raw times."""
    programs = []
    for kind in recording.kinds:
        programs.append(recording.boot(kind.boot).renderer(kind.id).program("csv"))
    columns, records = Columns(recording, _cell, "flags"), Records(programs)
    for index in recording.row_batches(wanted, _ROWS):
        rows = recording.rows.take(index)
        parts = _parts(recording.axis.ts_ns[index], columns.parts(rows, index), records, rows)
        made, left = print_rows(recording, rows, parts)
        if len(left):
            at = numbers(index)[left]
            rows = rows.take(left)
            texts = recording.render(rows).to_pylist()
            cells = [guarded(text).replace('"', '""') for text in texts]
            args = coded_texts(np.arange(len(cells)), cells)
            parts = _parts(recording.axis.ts_ns[at], columns.parts(rows, at), args, rows)
            made.put(left, print_lines(len(left), parts))
        yield len(made.ends), made


def _parts(ts: npt.NDArray[Any], head: list[Any], args: Any, rows: Rows) -> list[Any]:
    return [("i", ts), *head, b',"', args, b'",', ("u", rows.ts_raw), b"\n"]


def _cell(_: str, value: str | int | None) -> str:
    """Strings are quoted, numbers are not, and what is unknown is nothing."""
    if isinstance(value, str):
        doubled = guarded(value).replace('"', '""')
        return f',"{doubled}"'
    return "," if value is None else f",{value}"
