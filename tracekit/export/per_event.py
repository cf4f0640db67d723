"""One Parquet file an event, with typed arguments.

The rows are put in order of their events first, so many at a time, each with its payload beside
it: an event of which there are few everywhere would be looked for in all of the time.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit._native.columns import gather_var
from tracekit.errors import SourceError
from tracekit.export.files import metadata_of
from tracekit.export.targets import replaced_file
from tracekit.ftrace.columns import Payloads
from tracekit.query.groups import Groups
from tracekit.recording import Recording
from tracekit.session.parts import sweep
from tracekit.spill import release
from tracekit.timeline.boot import Buffer
from tracekit.timeline.checks import check_payloads
from tracekit.timeline.events import Decoded
from tracekit.timeline.filter import Filter
from tracekit.timeline.rows import Rows, grouped, pieces, row_column
from tracekit.timeline.unify import unify

__all__ = ["write_events"]

_BATCH = 1 << 16  # rows of a row group
_GATHERED, _BYTES = 1 << 18, 32 << 20  # rows that are put together, and bytes of their payloads
_STRETCH = 1 << 19  # rows of the timeline, of which some are looked at together
_TO_THE_END = 2  # what gather_var() takes of a payload: all of it from a place on
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
_LONGEST_NAME = 200  # characters of a file's name, without its ending
_Advance = Callable[[int], None]
_Array = npt.NDArray[Any]


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
    """Write one file for each event that occurs; returns the rows by file name.

    The filter's ``grep`` is ignored: there are no rendered arguments here.
    """
    import pyarrow.parquet as pq

    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SourceError(f"{directory}: cannot be made: {error.strerror}") from error
    _sweep(directory)
    written, metadata = dict[str, int](), metadata_of(recording)
    every, groups = _by_event(recording, replace(wanted, grep=None))
    for code, parts in groupby(_parts(recording, every, groups), lambda part: part[0]):
        name = recording.event_names[code]
        first = recording.event_at(name, _firsts(recording, name, every, groups.rows(code)))
        schema = first.schema.with_metadata(metadata)
        file = _file_name(name)
        with (
            replaced_file(directory / file) as made,
            pq.ParquetWriter(made, schema, compression="zstd") as writer,
        ):
            for _, events, at in parts:
                table = _as_first(events.event_at(name, at), first)
                writer.write_table(table.replace_schema_metadata(metadata))
                advance(len(table))
        written[file] = len(groups.rows(code))
    return written


def _by_event(recording: Recording, wanted: Filter) -> tuple[_Array, Groups]:
    """(the rows that meet the filter, which of these are of each of the ``event_names``)."""
    spill, names = recording.session.spill, recording.event_names
    rows = row_column(recording.row_batches(wanted), len(recording), spill)
    codes = Groups.by(
        range(len(names)), lambda at: recording.name_codes(rows[at]), len(rows), spill
    )
    return rows, codes


def _parts(
    recording: Recording, every: _Array, groups: Groups
) -> Iterator[tuple[int, Recording, _Array]]:
    """(index of an event's name, events that lie together, which of them), in order of names."""
    start, order = 0, groups.order
    while start < len(order):
        events = _gathered(recording, every, order[start : start + _GATHERED])
        end = start + len(events)
        code = int(np.searchsorted(groups.starts, start, "right")) - 1
        while code < len(groups.keys) and groups.starts[code] < end:
            last = min(int(groups.starts[code + 1]), end)
            for at in range(max(int(groups.starts[code]), start), last, _BATCH):
                yield code, events, np.arange(at, min(at + _BATCH, last)) - start
            code += 1
        start = end
        del events  # before there are others


def _gathered(recording: Recording, every: _Array, places: _Array) -> Recording:
    """The events at these places among the rows, or the first, with payloads in one buffer."""
    lengths = np.empty(len(places), np.int64)
    for which, rows in _in_time(every, places):
        lengths[which] = recording.rows.length[rows]
    ends = np.cumsum(lengths)
    places = places[: max(1, int(np.searchsorted(ends, _BYTES, "right")))]
    payloads, filled = np.empty(int(ends[len(places) - 1]), np.uint8), 0
    parts, times, comms, order = list[Rows](), list[_Array](), list[_Array](), list[_Array]()
    codes, names = recording.comm_codes
    for which, rows in _in_time(every, places):
        some = recording.rows.take(rows)
        for buffer, mine in grouped(some.buffer, np.arange(len(rows))).items():
            found = Payloads(recording.buffers[buffer].data, some.offset[mine], some.length[mine])
            starts, data = _copied(found)
            some.offset[mine] = starts + filled
            payloads[filled : filled + len(data)] = np.frombuffer(data, np.uint8)
            filled += len(data)
        some.buffer[:] = 0
        parts.append(some)
        times.append(recording.axis.ts_ns[rows])
        comms.append(codes[rows])
        order.append(which)
    back = np.argsort(np.concatenate(order))
    axis = replace(recording.axis, ts_ns=np.concatenate(times)[back])
    together = Buffer("", "", None, cast(bytes, payloads.data), (), None, ())
    decoded = Decoded(Rows.joined(parts, back), recording.kinds, [together], axis)
    return recording.showing(decoded, (np.concatenate(comms)[back], names))


def _in_time(every: _Array, places: _Array) -> Iterator[tuple[_Array, _Array]]:
    """(which of the places, the rows there), in order, those together that lie near one another.

    Few that lie anywhere in a large recording touch all of it: memory is let go of after each.
    """
    order = np.argsort(places, kind="stable")
    ascending = places[order]
    edges = np.flatnonzero(np.diff(ascending // _STRETCH)) + 1
    for which, some in zip(np.split(order, edges), np.split(ascending, edges), strict=True):
        yield which, every[some]
        release()


def _copied(payloads: Payloads) -> tuple[_Array, bytes]:
    """(where each begins, the payloads one after the other)."""
    check_payloads(payloads)
    data, offsets, lengths = payloads.data, payloads.offsets, payloads.lengths
    starts, copied, _ = gather_var(data, offsets, lengths, _TO_THE_END, 0, 0, False, 1)
    return np.frombuffer(starts, np.int64)[:-1], copied


def _firsts(recording: Recording, name: str, every: _Array, mine: _Array) -> _Array:
    """A row of each kind of an event that there is: it alone says which columns there are."""
    if sum(kind.name == name for kind in recording.kinds) == 1:
        return every[mine[:1]]
    found: dict[int, int] = {}
    for piece in pieces(len(mine)):
        rows = every[mine[piece]]
        kinds, first = np.unique(recording.rows.kind[rows], return_index=True)
        found = {**dict(zip(kinds.tolist(), rows[first].tolist(), strict=True)), **found}
    return np.sort(np.array(list(found.values()), np.int64))


def _as_first(table: pa.Table, first: pa.Table) -> pa.Table:
    """The table with the columns that ``first`` has."""
    whole = pa.concat_tables(unify([first, table]), promote_options="permissive")
    return whole.slice(len(first)).unify_dictionaries().combine_chunks()
