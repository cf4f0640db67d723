"""The timeline as CSV and Parquet files, written in batches."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit.errors import SourceError, UsageError
from tracekit.recording import Recording
from tracekit.session.parts import replacing, sweep
from tracekit.timeline.filter import Filter

__all__ = ["COLUMNS", "write_csv", "write_events", "write_parquet", "write_rows"]

#: The columns of both formats, in order: a contract.
COLUMNS = ("ts_ns", "boot", "cpu", "pid", "comm", "event", "source", "flags", "args", "ts_raw")

_BATCH = 1 << 17  # rows
_PIECE = 1 << 12  # rows of a batch between two calls of ``advance``
_ROW_GROUP = 1 << 20
_Advance = Callable[[int], None]
#: Which events: those that meet a filter, or those of these rows.
_Wanted = Filter | npt.NDArray[Any]
# Stamps are all different, so a dictionary of them is wasted work, but their differences are small.
# Statistics let a reader skip row groups; those of strings cost a third of the writing.
_PARQUET = {
    "compression": "zstd",
    "use_dictionary": [c for c in COLUMNS if not c.startswith("ts_")],
    "write_statistics": ["ts_ns", "ts_raw", "boot", "cpu", "pid"],
    "column_encoding": {"ts_ns": "DELTA_BINARY_PACKED", "ts_raw": "DELTA_BINARY_PACKED"},
}


@contextmanager
def _replacing(target: Path) -> Iterator[BinaryIO]:
    """As :func:`replacing`, for a file the user named.

    A symbolic link is followed; what is not a plain file is not replaced.
    """
    target = target.resolve()
    if target.exists() and not target.is_file():
        raise UsageError(f"{target} is not a plain file: name one that is, or one to be made")
    try:
        with replacing(target) as part:
            yield part
    except OSError as error:
        raise SourceError(f"{target}: cannot be written: {error.strerror or error}") from error


@contextmanager
def _stream(target: Path) -> Iterator[BinaryIO]:
    """A stream to write to: a plain file, ``-`` (stdout), a pipe or a device."""
    if str(target) == "-":
        yield sys.stdout.buffer
    elif target.exists() and not target.is_file():
        with target.open("wb") as out:
            yield out
    else:
        with _replacing(target) as part:
            yield part


def _batches(recording: Recording, wanted: _Wanted, advance: _Advance) -> Iterator[pa.Table]:
    empty = True
    if isinstance(wanted, Filter):
        for rows, table in recording.batches(wanted, size=_BATCH):
            empty = False
            yield table.select(COLUMNS)
            advance(len(rows))
    else:
        for start in range(0, len(wanted), _BATCH):
            empty = False
            yield _batch(recording, wanted[start : start + _BATCH], advance)
    if empty:
        yield recording.table(slice(0, 0)).select(COLUMNS)


def _batch(recording: Recording, rows: npt.NDArray[Any], advance: _Advance) -> pa.Table:
    """The table of some rows, made in pieces between which ``advance`` is called."""
    pieces = []
    for start in range(0, len(rows), _PIECE):
        piece = rows[start : start + _PIECE].astype(np.int64)
        pieces.append(recording.table(piece).select(COLUMNS))
        advance(len(piece))
    return pa.concat_tables(pieces).unify_dictionaries().combine_chunks()


def _metadata(recording: Recording) -> dict[bytes, bytes]:
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


def _plain(table: pa.Table) -> pa.Table:
    """Dictionary columns as plain strings: CSV has no dictionaries."""
    fields = [
        f.with_type(pa.string()) if pa.types.is_dictionary(f.type) else f for f in table.schema
    ]
    return table.cast(pa.schema(fields))


def write_csv(recording: Recording, target: Path, wanted: _Wanted, advance: _Advance) -> int:
    """Write CSV with a header line; returns the number of rows.

    ``wanted``: a filter, or row numbers. ``advance`` is called with the number of further rows
    made; if it raises, the writing ends and an existing file is left as it was.
    Strings are quoted, numbers are not; an unknown task name is an empty field.
    """
    import pyarrow.csv  # neither format is imported for the other

    rows = 0
    with _stream(target) as out:
        options = pyarrow.csv.WriteOptions(include_header=True)
        for table in _batches(recording, wanted, advance):
            pyarrow.csv.write_csv(_plain(table), out, options)
            options = pyarrow.csv.WriteOptions(include_header=False)
            rows += len(table)
    return rows


def write_parquet(recording: Recording, target: Path, wanted: _Wanted, advance: _Advance) -> int:
    """Write Parquet (zstd, dictionaries for names and arguments); see :func:`write_csv`."""
    import pyarrow.parquet as pq

    rows = 0
    metadata = _metadata(recording)
    schema = recording.table(slice(0, 0)).select(COLUMNS).schema.with_metadata(metadata)
    with (
        _replacing(target) as part,
        pq.ParquetWriter(part, schema, **_PARQUET) as writer,
        ThreadPoolExecutor(1) as pool,  # encodes one batch while the next is rendered
    ):
        pending: Future[None] | None = None
        for table in _batches(recording, wanted, advance):
            if pending is not None:
                pending.result()
            table = table.replace_schema_metadata(metadata)
            pending = pool.submit(writer.write_table, table, row_group_size=_ROW_GROUP)
            rows += len(table)
        if pending is not None:
            pending.result()
    return rows


def write_rows(rows: Sequence[Mapping[str, object]], target: Path, *, parquet: bool) -> int:
    """Write a small table, one mapping per row, as Parquet or CSV; returns the number of rows."""
    import pyarrow.csv
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist(list(rows))
    with _replacing(target) as part:
        if parquet:
            pq.write_table(table, part, compression="zstd")
        else:
            pyarrow.csv.write_csv(table, part)
    return len(table)


def _file_name(event: str) -> str:
    """``system.name.parquet``, with only characters that every file system allows."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", event.replace(":", ".", 1)) + ".parquet"


def write_events(
    recording: Recording, directory: Path, wanted: Filter, advance: _Advance
) -> dict[str, int]:
    """One Parquet file per event, with typed arguments; returns the rows by file name.

    The filter's ``grep`` is ignored: there are no rendered arguments here.
    """
    import pyarrow.parquet as pq

    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SourceError(f"{directory}: cannot be made: {error.strerror}") from error
    written, rows = {}, recording.select(wanted)
    for name in recording.event_names:
        if not wanted.wants_event(name):
            continue
        table = recording.event_at(name, rows)
        if not len(table):
            continue
        table = table.replace_schema_metadata(_metadata(recording))
        with _replacing(directory / _file_name(name)) as part:
            pq.write_table(table, part, compression="zstd", row_group_size=_ROW_GROUP)
        written[_file_name(name)] = len(table)
        advance(len(table))
    return written
