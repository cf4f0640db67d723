"""Builds the index that :mod:`tracekit.browse.index.load` maps, in a process of its own.

The memory that decoding takes is freed when that process ends.

``main([SESSION, FD])``: ``FD`` is an open, empty directory. Standard output gets JSON lines:
``[what, share]``, then either ``{"rows": ...}`` or ``{"error": ...}``. When standard input ends,
the process that wanted the index is gone: this one removes what it wrote and ends.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import mmap
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import fields
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit.browse.coverage import coverage
from tracekit.browse.index.codec import encode
from tracekit.browse.index.load import (
    ABOUT,
    AXIS_RAW,
    COLUMNS,
    DATA,
    GROUPS,
    ROWS,
    About,
    IndexedBuffer,
    IndexedGroups,
)
from tracekit.errors import TracekitError, explained
from tracekit.ftrace.columns import as_arrow
from tracekit.query.groups import Index
from tracekit.recording import Recording
from tracekit.session import Session
from tracekit.session.derived import stamp
from tracekit.session.files import sealed, write_all
from tracekit.session.owned import create_plain, marks
from tracekit.spill import FOLIO, releasable, release, room_of
from tracekit.timeline.rows import Rows

__all__ = ["build", "main"]

Say = Callable[[str, float | None], None]
_BLOCK = 4096  # bytes; blocks of zeros become holes
_STEP = 16 << 20  # bytes between which memory is let go of
_READING = 0.6  # share of the time
_NICE = 5  # the interface that waits for the index must stay responsive


def _need_room(fd: int, size: int) -> None:
    """Raise OSError rather than fill the disk."""
    free = room_of(os.fstatvfs(fd))
    if free < size:
        message = f"{os.strerror(errno.ENOSPC)}: {size - free:,} more bytes are needed"
        raise OSError(errno.ENOSPC, message)


class _Spool:
    """``data.bin``, being written."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._size = 0
        self._kept: dict[int, tuple[mmap.mmap, int]] = {}  # by id: where each mapping begins

    def put(self, data: bytes | memoryview) -> int:
        """Append ``data``, its empty blocks as holes; returns where it begins."""
        if not data:
            return 0
        _need_room(self._fd, len(data))
        start = -(-self._size // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        for step in range(0, len(data), _STEP):
            self._put(memoryview(data)[step : step + _STEP], start + step)
            release()
        self._size = start + len(data)
        os.ftruncate(self._fd, self._size)
        return start

    def _put(self, data: memoryview, offset: int) -> None:
        """Write what is not an empty block."""
        whole = len(data) // _BLOCK
        blocks = np.frombuffer(data, np.uint64, whole * _BLOCK // 8).reshape(whole, _BLOCK // 8)
        edge = np.zeros(1, bool)
        used = np.concatenate([edge, blocks.any(axis=1), edge])
        stretches = np.flatnonzero(used[1:] != used[:-1]).reshape(-1, 2) * _BLOCK
        for first, end in [*stretches.tolist(), (whole * _BLOCK, len(data))]:
            self._write(data[first:end], offset + first)

    def _write(self, data: memoryview, offset: int) -> None:
        while data:
            done = os.pwrite(self._fd, data[:FOLIO], offset)
            data, offset = data[done:], offset + done

    def swapped(self, data: bytes) -> bytes:
        """Move ``data`` to the file; returns a mapping of it there."""
        if not data:
            return data
        start = self.put(data)
        mapping = mmap.mmap(self._fd, len(data), access=mmap.ACCESS_READ, offset=start)
        releasable(mapping)
        self._kept[id(mapping)] = mapping, start
        return cast(bytes, memoryview(mapping))

    def place(self, data: bytes | memoryview) -> int:
        """Where ``data`` lies in the file; it is appended if it is not there yet."""
        known = self._kept.get(id(data.obj)) if isinstance(data, memoryview) else None
        return self.put(data) if known is None else known[1]


class _SwappingSession(Session):
    """A session that moves each region to the spool as it is read, and unpacks the next one."""

    spool: _Spool
    say: Say

    def read(self, rel: str) -> bytes:
        """As :meth:`Session.read`."""
        if not rel.endswith(".raw"):
            return super().read(rel)
        regions = [name for name in self.list("boots/") if name.endswith(".raw")]
        number = regions.index(rel) + 1
        self.say("decoding", _READING * number / len(regions))
        data = super().read(rel)
        self.read_ahead(regions[number : number + 1])
        return self.spool.swapped(data)


def _write_rows(fd: int, recording: Recording, index: Index, say: Say) -> dict[str, IndexedGroups]:
    """Write ``rows.arrow``; returns keys and starts of the groups."""
    rows, axis = recording.rows, recording.axis
    columns: dict[str, npt.NDArray[Any]] = {f.name: getattr(rows, f.name) for f in fields(Rows)}
    columns |= {"ts_ns": axis.ts_ns, "comm": recording.comm_codes[0]}
    if axis.raw is not rows.ts_raw:
        columns[AXIS_RAW] = axis.raw.astype(np.uint64, copy=False)
    groups = {}
    for n, name in enumerate(GROUPS):
        say("grouping events", 0.7 + n * 0.05)
        made = getattr(index, name)
        columns[name] = made.order
        groups[name] = IndexedGroups(tuple(made.keys), tuple(made.starts.tolist()))
    say("writing the index", 0.9)
    _need_room(fd, sum(column.nbytes for column in columns.values()))
    names = [*COLUMNS, *(name for name in columns if name not in COLUMNS)]
    batch = pa.RecordBatch.from_arrays([as_arrow(columns[name]) for name in names], names)
    with pa.ipc.new_file(pa.PythonFile(_Sink(fd), "w"), batch.schema) as writer:
        writer.write_batch(batch)
    return groups


class _Sink(io.RawIOBase):
    """A file, to which large columns are written without having them in memory."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any, /) -> int:
        """All of ``data``."""
        view = memoryview(data).cast("B")
        for start in range(0, len(view), FOLIO):
            write_all(self._fd, view[start : start + FOLIO])
            if not start % _STEP:
                release()
        return len(view)


def _about(
    recording: Recording, index: Index, made: str, spool: _Spool, groups: dict[str, IndexedGroups]
) -> dict[str, Any]:
    """The fields of ``about.json``, except the marks of the other files."""
    report = recording.report()
    axis = recording.axis
    buffers = tuple(
        IndexedBuffer(
            b.name, b.instance, b.clock, spool.place(b.data), len(b.data), b.diagnostics, b.extents
        )
        for b in recording.buffers
    )
    return {
        "stamp": made,
        "rows": len(recording),
        "kinds": tuple(recording.kinds),
        "comm_names": tuple(recording.comm_codes[1]),
        "comms": tuple(recording.comms),
        "buffers": buffers,
        "clock": axis.clock,
        "relations": dict(axis.relations),
        "sources": dict(axis.sources),
        "groups": groups,
        "remarks": tuple(recording.session.diagnostics),
        "notes": axis.diagnostics,
        "boot_notes": tuple(tuple(boot.diagnostics) for boot in recording.boots),
        "report": report,
        "coverage": coverage(recording, index),
    }


def build(path: str, directory: int, say: Say) -> int:
    """Write the index of the session at ``path`` into an open directory; returns its rows.

    Raises OSError and :class:`~tracekit.errors.TracekitError`.
    """
    say("reading", None)
    session = cast(_SwappingSession, _SwappingSession.open(path))
    made = stamp(session) if session.path.is_dir() else ""
    with contextlib.ExitStack() as stack:
        fds = {}
        for name in (DATA, ROWS, ABOUT):
            fds[name] = create_plain(name, directory)
            stack.callback(os.close, fds[name])
        session.spool, session.say = _Spool(fds[DATA]), say
        os.ftruncate(fds[DATA], _BLOCK)  # there is no mapping of an empty file
        recording = Recording(session)
        say(f"sorting {len(recording):,} events", _READING)
        index = Index(recording)
        groups = _write_rows(fds[ROWS], recording, index, say)
        about = _about(recording, index, made, session.spool, groups)
        for name in (DATA, ROWS):  # on disk before the file that describes them
            os.fsync(fds[name])
        say("writing the index", 0.99)
        kept = About(files={name: marks(fds[name]) for name in (DATA, ROWS)}, **about)
        body = json.dumps(encode(kept)).encode()
        with os.fdopen(os.dup(fds[ABOUT]), "wb") as file:
            file.write(sealed(body))
        os.fsync(fds[ABOUT])
    return len(recording)


def _end_with(parent: int, directory: int) -> None:
    """Wait for the end of ``parent`` (a pipe), then remove what was written and end."""
    while os.read(parent, 1):
        pass
    for name in (ABOUT, ROWS, DATA):
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=directory)
    os._exit(1)


def _tell(document: object) -> None:
    print(json.dumps(document), flush=True)


def main(argv: list[str] | None = None) -> int:
    """See the module; without ``argv``, the process's arguments."""
    argv = sys.argv[1:] if argv is None else argv
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that wanted the index decides
    os.nice(_NICE)
    path, directory = argv[0], int(argv[1])
    threading.Thread(target=_end_with, args=(0, directory), daemon=True).start()
    try:
        rows = build(path, directory, lambda step, share: _tell([step, share]))
    except OSError as error:
        _tell({"error": error.strerror or str(error)})
        return 1
    except (TracekitError, MemoryError, RuntimeError, ImportError) as error:
        known = error if isinstance(error, TracekitError) else explained(error)
        if known is None:
            raise
        _tell({"error": str(known)})
        return 1
    _tell({"rows": rows})
    return 0
