"""Rows of the tables of statistics: plain values, of a subject, each with its worst instance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracekit.analysis.columns import ints, labels
from tracekit.analysis.scheduling.names import whose
from tracekit.analysis.scheduling.task_states import STATES
from tracekit.analysis.statistics import durations, histogram
from tracekit.browse.subject import Subject
from tracekit.frozen import dataclass
from tracekit.ftrace.columns import as_arrow
from tracekit.recording import Recording

__all__ = ["Call", "Figure", "calls_of", "figures_of", "spark"]

_RAMP = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Figure:
    """Statistics of one name, ns. ``worst_row`` and ``worst_at``: the event and when it began.

    ``histogram``: (from, up to and with, how many), ns. ``open``: begun, never ended; ``cut``: how
    many had events lost in them. ``total`` and what follows are None where nothing ended.
    """

    name: str
    count: int
    total: int | None
    mean: int | None
    p50: int | None
    p99: int | None
    most: int | None
    worst_at: int | None
    worst_row: int | None
    histogram: tuple[tuple[int, int, int], ...] = ()
    open: int = 0
    cut: int = 0
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class Call:
    """A node of the tree of calls; ``parent``: its number, -1 for none."""

    parent: int
    depth: int
    function: str
    count: int
    total: int
    alone: int


def spark(buckets: Sequence[tuple[int, int, int]]) -> str:
    """A histogram as one line of blocks; what is there is seen, however little it is."""
    most = max((n for _, _, n in buckets), default=0)
    return "".join(_RAMP[-(-n * (len(_RAMP) - 1) // most) if n else 0] for _, _, n in buckets)


def _figures(table: Any) -> list[Figure]:
    rows = table.to_pylist()
    whole = sum(row["total_ns"] or 0 for row in rows) or 1
    return [
        Figure(
            str(row["name"]), row["count"], row["total_ns"], row["mean_ns"], row["p50_ns"],
            row["p99_ns"], row["max_ns"], row["max_at_ns"], row["max_row"],
            tuple(histogram(row["histogram"] or ())), row.get("open") or 0, row.get("cut") or 0,
            (row["total_ns"] or 0) / whole,
        )
        for row in rows
    ]  # fmt: skip


def figures_of(recording: Recording, kind: str, subject: Subject) -> tuple[list[Figure], str]:
    """(the rows of a table, what it leaves of the filter aside, '' if nothing).

    ``kind``: ``wakeups``, ``waits`` (how long each task was in each state but running), or what
    :meth:`~tracekit.analysis.analysis.Analysis.statistics` takes.
    """
    analysis = recording.analysis
    if kind not in ("wakeups", "waits"):
        return _figures(analysis.statistics(kind, subject.wanted)), ""
    wanted, whole = subject.of_tasks
    aside = "" if whole else "of all tasks: this filter chooses events, and states belong to tasks"
    if kind == "wakeups":
        return _figures(analysis.latency("task", wanted)), aside
    table = analysis.states(wanted)
    state = _states(table)
    table = table.filter(as_arrow(state != STATES.index("running")))
    state = state[state != STATES.index("running")]
    which, names = whose(table, "task", len(recording.boots) > 1)
    key = which.astype(np.int64) * len(STATES) + state
    every = [f"{name}: {one}" for name in names for one in STATES]
    start, end = ints(table, "start_ns"), ints(table, "end_ns")
    if subject.span is not None:  # the part inside counts
        start, end = np.maximum(start, subject.span[0]), np.minimum(end, subject.span[1])
    took = np.maximum(end - start, 0)
    return _figures(durations(key, every, took, start, ints(table, "row"))), aside


def _states(table: Any) -> Any:
    codes, names = labels(table, "state")
    numbers = np.array([*(STATES.index(name) for name in names), 0])
    return numbers[codes]


def calls_of(recording: Recording, subject: Subject) -> list[Call]:
    """The calls of the function graph as a tree: parents before their children."""
    table = recording.analysis.calls(subject.wanted)
    names = ("parent", "depth", "function", "count", "total_ns", "self_ns")
    columns = [table[name].to_pylist() for name in names]
    return [
        Call(-1 if parent is None else parent, *rest)
        for parent, *rest in zip(*columns, strict=True)
    ]
