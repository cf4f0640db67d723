"""Spans: what began and ended, from pairs of events, with what lies inside what and how long alone.

See :func:`spans_of` for the table. A begin without an end is there too, and so is an end whose
begin was not recorded.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit.analysis.arguments import (
    Labels,
    integers,
    labels_of_functions,
    labels_of_texts,
    values_as_texts,
)
from tracekit.analysis.columns import dictionary, ints, labels, nullable
from tracekit.analysis.found_spans import (
    END_LOST,
    OPEN,
    STATES,
    FoundSpans,
    find_spans,
)
from tracekit.analysis.losses import Losses
from tracekit.analysis.match import combined, innermost
from tracekit.analysis.pairs import KINDS_OF_SPANS, Pair, pairs_of
from tracekit.analysis.rows_of_events import Record, owners
from tracekit.analysis.stretches import ENDLESS
from tracekit.ftrace.columns import as_arrow
from tracekit.query.groups import Index, stable_order
from tracekit.timeline.events import Events

__all__ = ["Spans", "spans_of"]

_Array = npt.NDArray[Any]
_OF_CPU, _OF_NOBODY = 0, 2


def _every(events: Events, index: Index) -> FoundSpans:
    found = FoundSpans.joined(
        find_spans(Record(events, index, boot.index), pairs_of(events, boot))
        for boot in events.boots
    )
    anchor = np.where(found.begin >= 0, found.begin, found.end)
    return found.take(stable_order(combined(anchor, found.kind)))


def _times(events: Events, found: FoundSpans, timed: _Array) -> tuple[_Array, ...]:
    """(start, whether it is known, end, whether it is known), ns on the axis."""
    ts = events.axis.ts_ns
    has_start, has_end = found.begin >= 0, found.end >= 0
    start, end = np.zeros(len(has_start), np.int64), np.zeros(len(has_start), np.int64)
    start[has_start], end[has_end] = ts[found.begin[has_start]], ts[found.end[has_end]]
    told = ~has_start & (found.duration >= 0)
    start[told] = end[told] - found.duration[told]
    return start, (has_start | told) & timed, end, has_end & timed


def _inner(events: Events, found: FoundSpans, start: _Array) -> _Array:
    """The index of the span that each is directly inside of, -1 for none.

    One whose begin was not recorded lies where it began by its own measure, if it has one.
    """
    nests = (found.state != END_LOST) & (found.context != _OF_NOBODY)
    nests &= (found.begin >= 0) | (found.duration >= 0)
    nests &= found.kind != KINDS_OF_SPANS.index("softirq wait")
    mine = np.flatnonzero(nests)
    begin = found.begin[mine]
    there = np.where(begin >= 0, begin, found.end[mine])
    told = np.flatnonzero(begin < 0)
    begin[told] = np.searchsorted(events.axis.ts_ns, start[mine[told]])
    end = np.where(found.end[mine] >= 0, found.end[mine], len(events))
    context = combined(events.rows.boot[there], owners(events, there))
    outer = innermost(context, begin, end)
    parent = np.full(len(nests), -1, np.int64)
    parent[mine] = np.where(outer >= 0, mine[outer], -1)
    return parent


def _self_times(duration: _Array, known: _Array, parent: _Array) -> _Array:
    """Each duration without those of the spans directly inside; never below 0."""
    inside = np.flatnonzero((parent >= 0) & known)
    used = np.zeros(len(duration), np.int64)
    np.add.at(used, parent[inside], duration[inside])
    return np.maximum(duration - used, 0)


def _cut(events: Events, found: FoundSpans, start: _Array, end: _Array, losses: Losses) -> _Array:
    """Whether events were lost inside, so that another begin or end may be missing."""
    anchor = np.where(found.begin >= 0, found.begin, found.end)
    cpu = events.rows.cpu[anchor].astype(np.int64)
    there = np.where(found.end >= 0, found.end, anchor)
    moved = events.rows.cpu[there] != cpu
    cpu[(found.context != _OF_CPU) & (moved | (found.end < 0))] = -1
    cpu[found.context == _OF_NOBODY] = -1
    last = int(events.axis.ts_ns[-1]) + 1 if len(events) else 0
    never = (found.state == OPEN) | (found.state == END_LOST)
    begun = (found.begin >= 0) | (found.duration >= 0)
    return losses.within(cpu, np.where(begun, start, -ENDLESS), np.where(never, last, end))


def _labels(events: Events, pair: Pair, rows: _Array) -> Labels:
    """The names of begins and ends; an end alone is asked as a begin is."""
    if pair.by == "event":
        return np.zeros(len(rows), np.int32), [pair.label or pair.begin]
    if pair.by == "symbol":
        addresses, has = integers(events, rows, pair.name[0])
        which, names = labels_of_functions(events, events.rows.boot[rows], addresses)
        return np.where(has, which, len(names)), [*names, "unknown"]
    if pair.by == "text":
        return labels_of_texts(events, rows, pair.name)
    which, names = values_as_texts(events, rows, pair.name)
    if pair.kind == "syscall":
        names = [f"syscall {name}" for name in names]
    return which, names


class Spans:
    """Every span of the events; their names are looked up when they are asked for.

    ``table`` is as :func:`spans_of` says, without ``name``.
    """

    def __init__(self, events: Events, table: pa.Table, found: FoundSpans) -> None:
        self.table = table
        self._events, self._pair, self._pairs = events, found.pair, found.pairs

    def of_kinds(self, *kinds: str) -> _Array:
        """Which of them are of these kinds."""
        codes, names = labels(self.table, "kind")
        mine: _Array = np.array([*(name in kinds for name in names), False])[codes]
        return mine

    def names(self, which: _Array) -> Labels:
        """The names of some spans (ascending)."""
        rows, pair = ints(self.table, "row")[which], self._pair[which]
        known: dict[str, int] = {}
        codes, order = np.empty(len(which), np.int32), stable_order(pair)
        edges = np.searchsorted(pair[order], np.arange(len(self._pairs) + 1))
        for one, start, end in zip(self._pairs, edges[:-1], edges[1:], strict=True):
            mine = order[start:end]
            if len(mine):
                own, names = _labels(self._events, one, rows[mine])
                there = np.bincount(own, minlength=len(names)) > 0
                place = [known.setdefault(name, len(known)) if used else -1
                         for name, used in zip(names, there.tolist(), strict=True)]  # fmt: skip
                codes[mine] = np.array(place, np.int32)[own]
        return codes, list(known)

    @cached_property
    def named(self) -> pa.Table:
        """The table with ``name``."""
        names = dictionary(self.names(np.arange(len(self.table))))
        return self.table.add_column(1, "name", names)


def spans_of(events: Events, index: Index, losses: Losses) -> Spans:
    """Every span of the events, by the time of their first event.

    :attr:`Spans.named` has the columns

    ==============  ==========  ==================================================================
    ``kind``        dictionary  one of :data:`~tracekit.analysis.pairs.KINDS_OF_SPANS`
    ``name``        dictionary  the irq, function, system call, device, ...
    ``boot``        uint8
    ``cpu``         uint16      where it began
    ``pid``         int32       the task it began in
    ``comm``        dictionary  null if not known
    ``start_ns``    int64       ns on the axis; null: not recorded, or the clock counts no time
    ``end_ns``      int64       the same
    ``duration_ns`` int64       null if either is not known; functions and probes measure their own
    ``self_ns``     int64       that without the spans directly inside it, on the same task
    ``parent``      int64       the index, in this table, of the span it is directly inside of
    ``state``       dictionary  ``ended``; ``open``: begun, never ended; ``end lost``: ended, not
                                recorded when; ``begin lost``: ended, begun before the record
    ``inferred``    bool        the end is no event of its own: what came next
    ``cut``         bool        events were lost inside it: it may be two
    ``row``         int64       its first recorded event
    ``end_row``     int64       its last; null if none was recorded
    ==============  ==========  ==================================================================
    """
    found = _every(events, index)
    anchor = np.where(found.begin >= 0, found.begin, found.end)
    rows = events.rows
    boots = rows.boot[anchor]
    timed = np.isin(boots, events.timed_boots)
    start, has_start, end, has_end = _times(events, found, timed)
    known = has_start & has_end | (found.duration >= 0)
    duration = np.where(found.duration >= 0, found.duration, end - start)
    parent = _inner(events, found, start)
    alone = _self_times(duration, known, parent)
    codes, names = events.comm_codes
    table = pa.table({
        "kind": dictionary((found.kind.astype(np.int32), list(KINDS_OF_SPANS))),
        "boot": nullable(boots, np.array(True)),
        "cpu": nullable(rows.cpu[anchor], np.array(True)),
        "pid": nullable(rows.pid[anchor], np.array(True)),
        "comm": dictionary((codes[anchor], names)),
        "start_ns": nullable(start, has_start),
        "end_ns": nullable(end, has_end),
        "duration_ns": nullable(duration, known),
        "self_ns": nullable(alone, known),
        "parent": nullable(parent, parent >= 0),
        "state": dictionary((found.state.astype(np.int32), list(STATES))),
        "inferred": as_arrow(found.inferred),
        "cut": as_arrow(_cut(events, found, start, end, losses)),
        "row": nullable(anchor, np.array(True)),
        "end_row": nullable(found.end, found.end >= 0),
    })  # fmt: skip
    return Spans(events, table, found)
