"""A large session's index: decoded once, kept in ``SESSION/index/``, mapped into memory from there.

``rows.arrow`` has the rows' columns and the rows of each CPU, event and task, as one record batch;
``data.bin`` the ring buffers as they were, with holes where they were empty; ``about.json`` the
rest. The files are mapped, so only what is used is read.

The index is derived data, no evidence, and may be deleted at any time. It is trusted only if this
user made it, of the session's files as they are (a stamp, as for ``timeline.parquet``), and its own
files are unchanged down to the ns of their ctime. One that came with a session from elsewhere does
not meet this, so it is built again.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit.analysis.stretches import ENDLESS, Stretch
from tracekit.browse.index.codec import decode
from tracekit.clocks.model import SessionClock
from tracekit.clocks.relate import Relation
from tracekit.errors import Diagnostic
from tracekit.frozen import dataclass
from tracekit.ftrace.columns import as_numpy
from tracekit.query.groups import Groups, Index
from tracekit.recording import Recording
from tracekit.report.make import Report
from tracekit.session import Session
from tracekit.session.files import unsealed
from tracekit.session.owned import marks, opened_own
from tracekit.timeline.axis import Axis
from tracekit.timeline.boot import Buffer, Extent
from tracekit.timeline.clock_evidence import Source
from tracekit.timeline.events import Decoded
from tracekit.timeline.rows import EventKind, Rows

__all__ = [
    "ABOUT",
    "AXIS_RAW",
    "COLUMNS",
    "DATA",
    "GROUPS",
    "ROWS",
    "About",
    "Indexed",
    "IndexedBuffer",
    "IndexedGroups",
    "load",
]

_Array = npt.NDArray[Any]
#: What an index holds (see ``browse.open.Opened``), and the files that are mapped for it.
Indexed = tuple[
    Recording, Report, Index, Mapping[int, Sequence[Stretch]], tuple[mmap.mmap, ...]
]  # fmt: skip
ROWS, DATA, ABOUT = "rows.arrow", "data.bin", "about.json"
GROUPS = ("cpus", "events", "tasks")
#: The columns of ``rows.arrow``: those of :class:`Rows`, and others with a value for every row.
COLUMNS: Mapping[str, str] = {
    "ts_raw": "u8", "boot": "u1", "cpu": "u2", "pid": "i4", "kind": "i4", "flags": "u1",
    "preempt": "u1", "buffer": "u2", "offset": "u8", "length": "u4",
    "ts_ns": "i8", "comm": "i4", **dict.fromkeys(GROUPS, "u4"),
}  # fmt: skip
AXIS_RAW = "axis_raw"  # only if it differs from ts_raw
_MAX_ABOUT = 256 << 20


@dataclass(frozen=True)
class IndexedBuffer:
    """A :class:`Buffer`, whose bytes are ``size`` from ``start`` on in ``data.bin``."""

    name: str
    instance: str
    clock: str | None
    start: int
    size: int
    diagnostics: tuple[Diagnostic, ...]
    extents: tuple[Extent, ...]


@dataclass(frozen=True)
class IndexedGroups:
    """The keys and starts of :class:`Groups`."""

    keys: tuple[int, ...]
    starts: tuple[int, ...]


@dataclass(frozen=True)
class About:
    """``about.json``. ``stamp``: of the session; ``files``: of the index's others (:func:`marks`).

    ``remarks`` concern the session, ``notes`` its axis, ``boot_notes`` each boot.
    """

    stamp: str
    files: dict[str, tuple[int, ...]]
    rows: int
    kinds: tuple[EventKind, ...]
    comm_names: tuple[str, ...]
    comms: tuple[dict[int, str], ...]
    buffers: tuple[IndexedBuffer, ...]
    clock: SessionClock
    relations: dict[int, Relation]
    sources: dict[int, Source]
    groups: dict[str, IndexedGroups]
    remarks: tuple[Diagnostic, ...]
    notes: tuple[Diagnostic, ...]
    boot_notes: tuple[tuple[Diagnostic, ...], ...]
    report: Report
    coverage: dict[int, tuple[Stretch, ...]]


def _mapped(name: str, directory: int, expected: tuple[int, ...]) -> mmap.mmap:
    """A file's bytes, mapped; ValueError if it is empty or was changed."""
    with opened_own(name, directory) as fd:
        if marks(fd) != expected:
            raise ValueError(f"{name} was changed")
        return mmap.mmap(fd, 0, access=mmap.ACCESS_READ)


def _about(directory: int) -> About:
    with opened_own(ABOUT, directory) as fd, os.fdopen(os.dup(fd), "rb") as file:
        body = unsealed(file.read(_MAX_ABOUT), ABOUT)
    return decode(About, json.loads(body))


def _columns(raw: mmap.mmap, rows: int) -> dict[str, _Array]:
    with pa.ipc.open_file(pa.BufferReader(pa.py_buffer(raw))) as file:
        if file.num_record_batches != 1:
            raise ValueError(f"{ROWS} has {file.num_record_batches} record batches")
        batch = file.get_batch(0)
    batch.validate()
    if batch.num_rows != rows:
        raise ValueError(f"{ROWS} has {batch.num_rows} rows, not {rows}")
    columns = {}
    for name in batch.schema.names:
        column = batch.column(name)
        dtype = np.dtype(COLUMNS.get(name, "u8"))
        if column.null_count or not column.type.equals(pa.from_numpy_dtype(dtype)):
            raise ValueError(f"{ROWS}: {name} is a {column.type}")
        columns[name] = as_numpy(column)
    if missing := COLUMNS.keys() - columns.keys():
        raise ValueError(f"{ROWS} has no {', '.join(sorted(missing))}")
    return columns


def _buffers(about: About, data: memoryview) -> list[Buffer]:
    buffers = []
    for b in about.buffers:
        if not 0 <= b.start <= b.start + b.size <= len(data):
            raise ValueError(f"{DATA} does not hold buffer {b.name}")
        mine = cast(bytes, data[b.start : b.start + b.size])
        buffers.append(
            Buffer(b.name, b.instance, b.clock, mine, (), None, b.diagnostics, b.extents)
        )
    return buffers


def _groups(kept: IndexedGroups, order: _Array) -> Groups:
    starts = np.array(kept.starts, np.int64)
    sound = len(starts) == len(kept.keys) + 1 and starts[0] == 0 and starts[-1] == len(order)
    if not sound or bool(np.any(np.diff(starts) < 0)):
        raise ValueError("the groups do not cover the rows")
    return Groups(kept.keys, starts, order)


def _check(about: About, session: Session, names: Sequence[str]) -> None:
    """Raise ValueError if the rows refer to boots, events or clocks that do not exist."""
    boots = set(session.boots)
    if not {k.boot for k in about.kinds} | about.sources.keys() <= boots:
        raise ValueError("events of a boot that the session does not have")
    if not len(about.comms) == len(about.boot_notes) == len(session.boots):
        raise ValueError("not as many boots as the session has")
    if about.groups["events"].keys != tuple(range(len(names))):
        raise ValueError("the groups are not those of the events")
    if not boots >= {m.boot for m in about.clock.models} == set(about.sources):
        raise ValueError("clocks of other boots than the session has")
    for stretches in about.coverage.values():
        edges = [-ENDLESS, *(ns for s in stretches for ns in (s.start_ns, s.end_ns)), ENDLESS]
        if any(later < earlier for earlier, later in pairwise(edges)):
            raise ValueError("stretches of time that are not in order")


def _restored(directory: int, session: Session, stamp: str) -> Indexed:
    about = _about(directory)
    if about.stamp != stamp:
        raise ValueError("it is stale")
    maps = [_mapped(name, directory, about.files[name]) for name in (ROWS, DATA)]
    columns = _columns(maps[0], about.rows)
    buffers = _buffers(about, memoryview(maps[1]))
    rows = Rows(*(columns[field.name] for field in fields(Rows)))
    axis = Axis(
        columns["ts_ns"], about.clock, {m.boot: m for m in about.clock.models}, about.notes,
        columns.get(AXIS_RAW, rows.ts_raw), about.relations, about.sources,
    )  # fmt: skip
    decoded = Decoded(rows, about.kinds, buffers, axis, about.remarks)
    codes = (columns["comm"], list(about.comm_names))
    recording = Recording.decoded_before(session, decoded, list(about.comms), codes)
    _check(about, session, recording.event_names)
    for boot, notes in zip(recording.boots, about.boot_notes, strict=True):
        boot.diagnostics += notes
    groups = [_groups(about.groups[name], columns[name]) for name in GROUPS]
    report = replace(about.report, session=str(session.path))
    index = Index.of_groups(recording, *groups)
    return recording, report, index, about.coverage, tuple(maps)


def load(session: Session, stamp: str, directory: Path) -> Indexed | None:
    """The index in ``directory``; None if that is not a complete one of this session."""
    with (
        contextlib.suppress(
            OSError,
            ValueError,
            LookupError,
            TypeError,
            ArithmeticError,
            RecursionError,
            pa.ArrowException,
        ),
        opened_own(directory, folder=True) as fd,
    ):
        return _restored(fd, session, stamp)
    return None
