"""The timeline as CSV and Parquet files, written in batches."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit.export.cells import as_cells
from tracekit.export.csv_lines import csv_blocks
from tracekit.export.targets import Form, check_target, opened_target, replaced_file
from tracekit.recording import Recording
from tracekit.text import printable
from tracekit.timeline.filter import Filter

__all__ = ["COLUMNS", "metadata_of", "write_csv", "write_parquet", "write_rows", "write_text"]

#: The columns of both formats, in order: a contract.
COLUMNS = ("ts_ns", "boot", "cpu", "pid", "comm", "event", "source", "flags", "args", "ts_raw")

_BATCH = 1 << 16  # rows of a row group
_PIECE = 1 << 12  # rows of a batch between two calls of ``advance``
_LINES = 1 << 15  # rows that become lines together
_Advance = Callable[[int], None]
_Array = npt.NDArray[Any]
#: Which events: those that meet a filter, or those of these rows.
_Wanted = Filter | _Array
# Stamps are all different, so a dictionary of them is wasted work, but their differences are small.
# Statistics let a reader skip row groups; those of strings cost a third of the writing.
_PARQUET = {
    "compression": "zstd",
    "use_dictionary": [c for c in COLUMNS if not c.startswith("ts_")],
    "write_statistics": ["ts_ns", "ts_raw", "boot", "cpu", "pid"],
    "column_encoding": {"ts_ns": "DELTA_BINARY_PACKED", "ts_raw": "DELTA_BINARY_PACKED"},
}


def _batches(
    recording: Recording, wanted: _Wanted, advance: _Advance, size: int = _BATCH
) -> Iterator[pa.Table]:
    empty = True
    if isinstance(wanted, Filter):
        for rows, table in recording.batches(wanted, size=size):
            empty = False
            yield table.select(COLUMNS)
            advance(len(rows))
    else:
        for start in range(0, len(wanted), size):
            empty = False
            yield _batch(recording, wanted[start : start + size], advance)
    if empty:
        yield recording.table(slice(0, 0)).select(COLUMNS)


def _batch(recording: Recording, rows: _Array, advance: _Advance) -> pa.Table:
    """The table of some rows, made in pieces between which ``advance`` is called."""
    pieces = []
    for start in range(0, len(rows), _PIECE):
        piece = rows[start : start + _PIECE].astype(np.int64)
        pieces.append(recording.table(piece).select(COLUMNS))
        advance(len(piece))
    return pa.concat_tables(pieces).unify_dictionaries().combine_chunks()


def metadata_of(recording: Recording) -> dict[bytes, bytes]:
    """Units and clock models, for the schema's metadata (key ``tracekit``, JSON)."""
    clocks = {
        str(index): {
            "clock": model.trace_clock,
            "ts_raw_unit": model.unit,
            "method": model.method,
            "error_ns": model.error_ns,
            "residual_ns": model.residual_ns,
        }
        for index, model in recording.axis.clocks.items()
    }
    about = {
        "ts_ns": "nanoseconds; 0 is the last jump",
        "ts_raw": "as the kernel wrote it, in the units of the boot's trace clock",
        "common_clock": recording.axis.common,
        "clocks": clocks,
    }
    return {b"tracekit": json.dumps(about).encode()}


def write_csv(recording: Recording, target: Path, wanted: _Wanted, advance: _Advance) -> int:
    """Write CSV with a header line; returns the number of rows.

    ``wanted``: a filter, or row numbers. ``advance`` is called with the number of further rows
    made; if it raises, the writing ends and an existing file is left as it was.
    Strings are quoted, numbers are not; an unknown task name is an empty field. What a spreadsheet
    would run is guarded (:mod:`tracekit.export.cells`). ``.gz`` and ``.zst`` are compressed.
    """
    rows = 0
    to_terminal = str(target) == "-" and sys.stdout.isatty()
    clean = printable if to_terminal else None
    with opened_target(target, "csv") as out:
        if type(recording) is Recording and isinstance(wanted, Filter) and clean is None:
            out.write(",".join(f'"{name}"' for name in COLUMNS).encode() + b"\n")
            for count, lines in csv_blocks(recording, wanted):
                for piece in lines.pieces():
                    out.write(piece)
                advance(count)
                rows += count
            return rows
        import pyarrow.csv  # neither format is imported for the other

        options = pyarrow.csv.WriteOptions(include_header=True)
        for table in _batches(recording, wanted, advance, _LINES):
            pyarrow.csv.write_csv(as_cells(table, clean), out, options)
            options = pyarrow.csv.WriteOptions(include_header=False)
            rows += len(table)
    return rows


def write_parquet(recording: Recording, target: Path, wanted: _Wanted, advance: _Advance) -> int:
    """Write Parquet (zstd, dictionaries for names and arguments); see :func:`write_csv`."""
    import pyarrow.parquet as pq

    check_target(target, "parquet")
    rows = 0
    metadata = metadata_of(recording)
    schema = recording.table(slice(0, 0)).select(COLUMNS).schema.with_metadata(metadata)
    with (
        replaced_file(target) as part,
        pq.ParquetWriter(part, schema, **_PARQUET) as writer,
        ThreadPoolExecutor(1) as pool,  # encodes one batch while the next is rendered
    ):
        pending: Future[None] | None = None
        for table in _batches(recording, wanted, advance):
            if pending is not None:
                pending.result()
            table = table.replace_schema_metadata(metadata)
            pending = pool.submit(writer.write_table, table)
            rows += len(table)
        if pending is not None:
            pending.result()
    return rows


def write_rows(rows: Sequence[Mapping[str, object]], target: Path, *, parquet: bool) -> int:
    """Write a small table, one mapping per row, as Parquet or CSV; returns the number of rows."""
    import pyarrow.csv
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist(list(rows))
    if parquet:
        check_target(target, "parquet")
        with replaced_file(target) as part:
            pq.write_table(table, part, compression="zstd")
    else:
        with opened_target(target, "csv") as out:
            pyarrow.csv.write_csv(as_cells(table), out)
    return len(table)


def write_text(text: str, target: Path, form: Form) -> None:
    """Write a text file, as all of these are written: compressed if it is named so."""
    with opened_target(target, form) as out:
        out.write(text.encode("utf-8"))
