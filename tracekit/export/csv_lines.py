"""The timeline as lines of CSV, made in one pass of what programs print."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.export.cells import guarded
from tracekit.export.lines import Records, coded_texts, combined, print_lines, print_rows
from tracekit.ftrace.columns import packed_texts
from tracekit.recording import Recording
from tracekit.timeline.filter import Filter
from tracekit.timeline.rows import numbers

__all__ = ["csv_blocks"]

_ROWS = 1 << 16  # at a time
_HEAD = ["boot", "cpu", "pid", "comm", "event", "source", "flags"]


def csv_blocks(recording: Recording, wanted: Filter) -> Iterator[tuple[int, bytes]]:
    """(how many rows, their lines): times, the columns between them, arguments, raw times."""
    programs = []
    for kind in recording.kinds:
        programs.append(recording.boot(kind.boot).renderer(kind.id).program("csv"))
    for index in recording.row_batches(wanted, _ROWS):
        at = numbers(index)
        rows, ts = recording.rows.take(index), np.ascontiguousarray(recording.axis.ts_ns[index])
        codes, firsts = combined(rows.boot, rows.cpu, rows.pid, rows.flags, rows.kind)
        some = recording.table(at[firsts], args=False).select(_HEAD).to_pylist()
        heads = packed_texts([_head(row) for row in some])
        parts = _parts(ts, (codes, *heads), Records(programs), rows.ts_raw)
        made, left = print_rows(recording, rows, parts)
        if len(left):
            texts = recording.render(rows.take(left)).to_pylist()
            cells = [guarded(text).replace('"', '""') for text in texts]
            args = coded_texts(np.arange(len(cells)), cells)
            parts = _parts(ts[left], (codes[left], *heads), args, rows.ts_raw[left])
            made.put(left, print_lines(len(left), parts))
        yield len(rows), made.text()


def _parts(ts: npt.NDArray[Any], head: Any, args: Any, raw: npt.NDArray[Any]) -> list[Any]:
    return [("i", ts), head, args, b'",', ("u", np.ascontiguousarray(raw)), b"\n"]


def _head(row: dict[str, Any]) -> str:
    """What stands between the time and the arguments."""
    return f',{",".join(_cell(value) for value in row.values())},"'


def _cell(value: Any) -> str:
    """Strings are quoted, numbers are not, and what is unknown is nothing."""
    if isinstance(value, str):
        doubled = guarded(value).replace('"', '""')
        return f'"{doubled}"'
    return "" if value is None else str(value)
