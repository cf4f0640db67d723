"""The event filters that ``events``, ``export`` and the Python interface share."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tracekit.errors import UsageError
from tracekit.frozen import dataclass
from tracekit.timeline.rows import EventKind, Rows, one_of

__all__ = ["Filter", "chosen_of", "fitting", "parse_time"]

_Array = npt.NDArray[Any]
_TIME = re.compile(r"^\s*([-+]?\d+(?:\.\d+)?)\s*(ns|us|µs|ms|s|)\s*$")
_UNITS = {"": 1, "ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9}


def parse_time(text: str) -> int:
    """``-1.5s``, ``200ms``, ``-3us`` or plain nanoseconds on the session's axis (0 is the jump).

    Raises :class:`~tracekit.errors.UsageError`.
    """
    m = _TIME.match(text)
    if m is None or len(m[1]) > 24:
        raise UsageError(f"not a time: {text!r}; write e.g. -1.5s, 200ms, -3us or -250000 (ns)")
    whole, _, part = m[1].partition(".")
    scale = _UNITS[m[2]]
    ns = abs(int(whole)) * scale + (int(part) * scale // 10 ** len(part) if part else 0)
    return -ns if whole.startswith("-") else ns


@dataclass(frozen=True)
class Filter:
    """The conditions that events must all meet. Globs match ``system:name`` or ``name``.

    ``since`` and ``until`` are ns on the session's axis or texts as ``--from`` and ``--to`` take
    them (:meth:`tracekit.recording.Recording.resolved`), both inclusive; ``grep`` is searched in
    ``EVENT ARGS`` as the text format prints them. ``where`` is an expression of
    :mod:`tracekit.query.expr`.
    """

    boots: frozenset[int] = frozenset()
    cpus: frozenset[int] = frozenset()
    events: tuple[str, ...] = ()
    pids: frozenset[int] = frozenset()
    comms: tuple[str, ...] = ()
    since: int | str | None = None
    until: int | str | None = None
    grep: re.Pattern[str] | None = None
    where: str = ""

    def wants_event(self, name: str) -> bool:
        """Whether an event called ``system:name`` is asked for."""
        short = name.partition(":")[2]
        return not self.events or any(
            fnmatchcase(name, glob) or fnmatchcase(short, glob) for glob in self.events
        )

    def wants_comm(self, comm: str | None) -> bool:
        """Whether a task of that name is asked for."""
        return not self.comms or any(fnmatchcase(comm or "", glob) for glob in self.comms)


def _stretch(rows: Rows, ts_ns: _Array, wanted: Filter) -> slice:
    """From the first to the last row in a filter's window, of its boot if it names one."""
    part = rows.within(*wanted.boots) if len(wanted.boots) == 1 else slice(0, len(rows))
    if isinstance(wanted.since, int):
        part = slice(max(part.start, _place(ts_ns, wanted.since, "left")), part.stop)
    if isinstance(wanted.until, int):
        part = slice(part.start, min(part.stop, _place(ts_ns, wanted.until, "right")))
    return slice(part.start, max(part.start, part.stop))


def fitting(
    rows: Rows,
    kinds: Sequence[EventKind],
    ts_ns: _Array,
    wanted: Filter,
    limit: Callable[[str, slice], int | _Array],
) -> tuple[slice, Callable[[slice], _Array] | None]:
    """(a stretch of the rows, what tells which of a part of it meet the filter; None: all).

    All conditions but those on task names, ``where`` and ``grep``. ``limit`` gives the instant on
    the axis, ns, that a date is for each of a part of the rows.
    """
    wants = np.array([*(wanted.wants_event(kind.name) for kind in kinds), False])

    def masks(part: slice) -> Iterator[_Array]:
        for column, allowed in (
            (rows.boot, wanted.boots), (rows.cpu, wanted.cpus), (rows.pid, wanted.pids),
        ):  # fmt: skip
            if allowed:
                yield one_of(column[part], allowed)
        if wanted.events:
            yield wants[rows.kind[part]]
        if isinstance(wanted.since, str):
            yield ts_ns[part] >= limit(wanted.since, part)
        if isinstance(wanted.until, str):
            yield ts_ns[part] <= limit(wanted.until, part)

    dated = isinstance(wanted.since, str) or isinstance(wanted.until, str)
    some = wanted.boots or wanted.cpus or wanted.pids or wanted.events or dated
    fits = (lambda part: functools.reduce(np.logical_and, masks(part))) if some else None
    return _stretch(rows, ts_ns, wanted), fits


def chosen_of(part: slice, mask: _Array | None) -> _Array | slice:
    """The rows of a stretch that a mask over it has; None: all."""
    return part if mask is None else np.flatnonzero(mask) + part.start


def _place(ts_ns: _Array, ns: int, side: Literal["left", "right"]) -> int:
    """Where a time is among all rows', which are in its order."""
    bounds = np.iinfo(np.int64)
    return int(np.searchsorted(ts_ns, min(max(ns, bounds.min), bounds.max), side))
