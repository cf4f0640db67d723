"""The timeline as CSV and Parquet files, written in batches."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit.errors import SourceError
from tracekit.export.cells import as_cells
from tracekit.export.csv_lines import csv_blocks
from tracekit.export.targets import Form, check_target, opened_target, replaced_file
from tracekit.query.groups import Groups
from tracekit.recording import Recording
from tracekit.session.parts import sweep
from tracekit.spill import release
from tracekit.text import printable
from tracekit.timeline.filter import Filter
from tracekit.timeline.rows import row_column
from tracekit.timeline.unify import unify

__all__ = ["COLUMNS", "write_csv", "write_events", "write_parquet", "write_rows", "write_text"]

#: The columns of both formats, in order: a contract.
COLUMNS = ("ts_ns", "boot", "cpu", "pid", "comm", "event", "source", "flags", "args", "ts_raw")

_BATCH = 1 << 16  # rows of a row group
_PIECE = 1 << 12  # rows of a batch between two calls of ``advance``
_LINES = 1 << 15  # rows that become lines together
_STRETCH = 1 << 19  # rows of the timeline, of which some are looked at together
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
_LONGEST_NAME = 200  # characters of a file's name, without its ending
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
                out.write(lines.text())
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
    metadata = _metadata(recording)
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


def _file_name(event: str) -> str:
    """``system.name.parquet``, with only characters that every file system allows.

    No two events have one name: where anything else is in it, a digest tells them apart.
    """
    system, _, name = event.partition(":")
    if _PLAIN.fullmatch(system) and _PLAIN.fullmatch(name) and len(event) < _LONGEST_NAME:
        return f"{system}.{name}.parquet"
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", f"{system}.{name}"[:_LONGEST_NAME])
    digest = hashlib.sha256(event.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{plain}.{digest}.parquet"


def _sweep(directory: Path) -> None:
    """Remove what a killed export of other events left here."""
    with suppress(OSError):
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            sweep(fd)
        finally:
            os.close(fd)


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
    _sweep(directory)
    written, metadata = {}, _metadata(recording)
    for name, every, mine in _by_event(recording, replace(wanted, grep=None)):
        several = sum(kind.name == name for kind in recording.kinds) > 1
        firsts = _first_of_kinds(recording, every, mine) if several else every[mine[:1]]
        first = recording.event_at(name, firsts)
        schema = first.schema.with_metadata(metadata)
        with (
            replaced_file(directory / _file_name(name)) as part,
            pq.ParquetWriter(part, schema, compression="zstd") as writer,
        ):
            for rows in _parts(every, mine):
                table = _of_event(recording, name, rows, first)
                writer.write_table(table.replace_schema_metadata(metadata))
                advance(len(table))
        written[_file_name(name)] = len(mine)
    return written


def _by_event(recording: Recording, wanted: Filter) -> Iterator[tuple[str, _Array, _Array]]:
    """(event, the rows that meet the filter, which of these are of it), of each that has any."""
    spill, names = recording.session.spill, recording.event_names
    rows = row_column(recording.row_batches(wanted), len(recording), spill)
    groups = Groups.by(
        range(len(names)), lambda at: recording.name_codes(rows[at]), len(rows), spill
    )
    for code, name in enumerate(names):
        mine = groups.rows(code)
        if len(mine):
            yield name, rows, mine


def _parts(every: _Array, mine: _Array) -> Iterator[list[_Array]]:
    """Rows of an event, so many at a time, those together that lie near one another."""
    for start in range(0, len(mine), _BATCH):
        places = _near(mine[start : start + _BATCH])
        yield [rows for some in places for rows in _near(every[some])]


def _near(rows: _Array) -> Iterator[_Array]:
    """The rows, those together that lie near one another; memory is let go of after each.

    Few that lie anywhere in a large recording touch all of it.
    """
    edges = np.flatnonzero(np.diff(rows // _STRETCH)) + 1
    for some in np.split(rows, edges):
        yield some
        release()


def _first_of_kinds(recording: Recording, every: _Array, mine: _Array) -> _Array:
    """A row of each kind that there is: it alone says which columns there are."""
    found: dict[int, int] = {}
    for rows in (some for part in _parts(every, mine) for some in part):
        kinds, first = np.unique(recording.rows.kind[rows], return_index=True)
        found = {**dict(zip(kinds.tolist(), rows[first].tolist(), strict=True)), **found}
        release()
    return np.sort(np.array(list(found.values()), np.int64))


def _of_event(
    recording: Recording, name: str, parts: Sequence[_Array], first: pa.Table
) -> pa.Table:
    """The table of some rows of an event, with the columns that ``first`` has."""
    tables = []
    for rows in parts:
        tables.append(recording.event_at(name, rows))
        release()
    whole = pa.concat_tables(unify([first, *tables]), promote_options="permissive")
    return whole.slice(len(first)).unify_dictionaries().combine_chunks()
