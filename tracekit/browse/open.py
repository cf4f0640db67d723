"""Opens a session for browsing: its recording, its report and its index.

A small session is decoded here. For a large one an index is kept (see
:mod:`tracekit.browse.index.load`), which another process builds the first time.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import select
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import IO

import numpy as np

import tracekit
from tracekit.analysis.analysis import Analysis
from tracekit.analysis.losses import Losses
from tracekit.analysis.stretches import Stretch
from tracekit.browse.coverage import coverage
from tracekit.browse.index import build
from tracekit.browse.index.load import load
from tracekit.errors import Diagnostic
from tracekit.frozen import dataclass
from tracekit.interpreter import python_command
from tracekit.query.groups import Index, cell_counts, cell_edges
from tracekit.recording import Recording
from tracekit.report.make import Report
from tracekit.session import Session
from tracekit.session.derived import (
    INDEX,
    raw_sizes,
    replacing_directory,
    scratch_directory,
    stamp,
    sweep_derived,
)
from tracekit.spill import releasable

__all__ = ["MANY", "Opened", "kept_events", "open_events", "open_recording"]

Progress = Callable[[str, float | None], None]
#: An index is kept from this many events on: decoding them takes a second, and 200 bytes each.
MANY = 2_000_000
_SMALLEST = 4, 28  # bytes of an event: compressed, and in a ring buffer (ftrace:function, 7.2)
_STEPS = 256  # cells of a wide terminal
_RELEASED = 64 << 20  # bytes released at a time
_BEAT = 0.1  # seconds between two calls of ``progress``
_LONGEST = 1 << 16  # characters of a line from the process that builds


class _NotKept(Exception):
    """No index could be built or kept; the message says why."""


@dataclass(frozen=True, eq=False)
class Opened:
    """An opened session: what every view is made from; ``coverage``: CPU -> its stretches."""

    recording: Recording
    report: Report
    index: Index
    coverage: Mapping[int, Sequence[Stretch]]
    maps: Sequence[mmap.mmap] = ()

    def __post_init__(self) -> None:
        """What is derived from the events goes by the same index, losses and report."""
        self.recording.reported = self.report
        losses = Losses.of_stretches(self.coverage)
        self.recording.analysis = Analysis(
            self.recording, self.recording.row_batches, self.recording.resolved, self.index, losses
        )

    def warm_up(self, pause: Callable[[], None]) -> None:
        """Read what every picture needs: symbols, tasks' names, the axis in coarse steps.

        Otherwise the first picture has to wait for it. ``pause`` is called between the parts.
        """
        for boot in self.recording.boots:
            boot.context.symbols.lookup(0)
            pause()
        ts_ns = self.recording.axis.ts_ns
        if not len(ts_ns):
            return
        self.recording.table(np.array([0]))
        pause()
        edges = cell_edges(ts_ns, int(ts_ns[0]), int(ts_ns[-1]) + 1, _STEPS)
        for cpu in self.index.cpus.keys:
            cell_counts(self.index.cpus.of(cpu), edges)
            pause()

    def release(self) -> None:
        """Release the resident pages of the mapped files, after a pass over all rows.

        They are faulted in again from the page cache when needed; any thread may call this.
        """
        for mapping in self.maps:
            for start in range(0, len(mapping), _RELEASED):  # other threads wait for each
                length = min(_RELEASED, len(mapping) - start)
                mapping.madvise(mmap.MADV_DONTNEED, start, length)


def open_recording(path: str | PathLike[str], progress: Progress, *, many: int = MANY) -> Opened:
    """Open the session at ``path``; decode it, or its index if it may have ``many`` events.

    ``progress(what, share)`` is called from this thread now and then; ``share`` is 0 to 1, None
    if it is not known. It may raise to end the work; nothing is left behind then. Raises
    :class:`~tracekit.errors.SessionError`.
    """
    progress("reading", None)
    session = Session.open(path)
    if _at_most(session) < many:
        return _decoded(session, progress)
    note = None
    try:
        kept = _kept(session)
        if kept is None:
            kept, note = _build(session, progress)
    except (_NotKept, OSError) as why:
        note = _remark(f"no index could be kept, the session is held in memory instead: {why}")
        kept = _decoded(session, progress)
    if note is None:
        return kept
    report = replace(kept.report, diagnostics=(*kept.report.diagnostics, note))
    return replace(kept, report=report)


def open_events(path: str | PathLike[str], progress: Progress, *, many: int = MANY) -> Recording:
    """The events of a session, from its index if it may have ``many`` of them.

    As :func:`open_recording`, for those who do not need all that a picture does.
    """
    session = Session.open(path)
    if _at_most(session) < many:
        return tracekit.open(session)
    return _streamed(open_recording(path, progress, many=many))


def kept_events(session: Session) -> Recording | None:
    """The events of a session from the index that an earlier command left, if it is valid."""
    kept = _kept(session)
    return None if kept is None else _streamed(kept)


def _streamed(opened: Opened) -> Recording:
    """The events for those who pass over them: nobody waits for a key."""
    for mapping in opened.maps:
        releasable(mapping)
    return opened.recording


def _remark(message: str) -> Diagnostic:
    return Diagnostic("index-not-kept", "info", "session", message)


def _at_most(session: Session) -> int:
    """An upper bound of the number of events, by the sizes of the files; often far too high."""
    stored, unpacked = raw_sizes(session)
    guess = stored // _SMALLEST[0]
    return guess if unpacked is None else min(guess, unpacked // _SMALLEST[1])


def _decoded(session: Session, progress: Progress) -> Opened:
    recording = tracekit.open(session)
    progress("decoding", None)
    progress(f"reading {len(recording):,} events as one story", None)
    index = Index(recording)
    return Opened(recording, recording.report(), index, coverage(recording, index))


def _kept(session: Session) -> Opened | None:
    if not session.path.is_dir():
        return None
    sweep_derived(session)
    indexed = load(session, stamp(session), session.path / INDEX)
    return Opened(*indexed) if indexed else None


def _build(session: Session, progress: Progress) -> tuple[Opened, Diagnostic | None]:
    """Build the index in the session, or in a temporary directory if that is not possible."""
    if not session.path.is_dir():
        return _build_aside(session, "", progress, "an archive keeps no index")
    try:
        made = stamp(session)
        with replacing_directory(session, INDEX) as fd:
            _run(session, fd, progress)
    except OSError as error:
        reason = f"{session.path} cannot be written ({error.strerror})"
        return _build_aside(session, stamp(session), progress, reason)
    indexed = load(session, made, session.path / INDEX)
    if indexed is None:
        raise _NotKept("the session changed meanwhile")
    return Opened(*indexed), None


def _build_aside(
    session: Session, made: str, progress: Progress, reason: str
) -> tuple[Opened, Diagnostic]:
    try:
        with scratch_directory() as (path, fd):
            _run(session, fd, progress)
            indexed = load(session, made, path)  # mapped, it outlives its names
    except OSError as error:
        raise _NotKept(error.strerror or str(error)) from error
    if indexed is None:
        raise _NotKept("the session changed meanwhile")
    return Opened(*indexed), _remark(f"{reason}: opening it takes as long every time")


@contextlib.contextmanager
def _builder(
    session: Session, directory: int, complaints: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """The process that builds the index; it ends with this block at the latest."""
    command = python_command(build.__name__, [str(session.path), str(directory)])
    with subprocess.Popen(
        command, pass_fds=[directory],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints,
    ) as child:  # fmt: skip
        try:
            yield child
        finally:
            child.kill()


def _run(session: Session, directory: int, progress: Progress) -> None:
    """Have the index built into an open directory, passing its progress on."""
    progress("starting", None)
    result: object = None
    with tempfile.TemporaryFile() as complaints:
        try:
            with _builder(session, directory, complaints) as child:
                for line in _lines(child, progress):
                    result = json.loads(line)
        except (OSError, ValueError) as error:
            raise _NotKept(f"the process that builds it: {error}") from error
        complaints.seek(0)
        last = complaints.read(_LONGEST).decode(errors="replace").strip().rpartition("\n")[2]
    if not isinstance(result, dict) or "rows" not in result:
        reason = result.get("error") if isinstance(result, dict) else None
        raise _NotKept(str(reason or f"the process that builds it was ended: {last or 'killed'}"))


def _lines(child: subprocess.Popen[bytes], progress: Progress) -> Iterator[bytes]:
    """The lines of a child's output, to its end; ``progress`` is called with each step."""
    assert child.stdout is not None
    step, share, rest = "starting", None, b""
    while True:
        ready, _, _ = select.select([child.stdout], [], [], _BEAT)
        if ready:
            read = os.read(child.stdout.fileno(), _LONGEST)
            if not read:
                return
            *lines, rest = (rest + read).split(b"\n")
            for line in lines:
                yield line
                message = json.loads(line)
                step, share = message if isinstance(message, list) else (step, share)
        progress(step, share)
