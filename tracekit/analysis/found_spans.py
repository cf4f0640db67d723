"""Spans as they are found: pairs of one kind of events, matched, before they are put together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from tracekit.analysis.arguments import integers, values_as_texts
from tracekit.analysis.match import Matched, combined, levels, matched, running
from tracekit.analysis.pairs import GRAPH_ENTRIES, GRAPH_EXIT, KINDS_OF_SPANS, Pair
from tracekit.analysis.rows_of_events import Record, owners
from tracekit.analysis.scheduling.switches import SWITCH, decode_switches
from tracekit.frozen import dataclass
from tracekit.query.groups import stable_order

__all__ = ["ENDED", "END_LOST", "LOST_BEGIN", "OPEN", "STATES", "FoundSpans", "find_spans"]

_Array = npt.NDArray[Any]
#: ``ended``: both events are there. ``open``: begun, and nothing says that it ended. ``end lost``:
#: it must have ended, as what came later shows. ``begin lost``: it was begun before the record.
STATES = ("ended", "open", "end lost", "begin lost")
ENDED, OPEN, END_LOST, LOST_BEGIN = range(len(STATES))
_OF_TASK = 1  # a context
_BIRTHS = (("sched:sched_process_fork", "child_pid"), ("task:task_newtask", "pid"),
           ("sched:sched_wakeup_new", "pid"))  # fmt: skip
_UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class FoundSpans:
    """Parallel arrays: rows of begin and end (int64, -1 for none), kind and state (int8), the
    context (0 of a CPU, 1 of a task, 2 of nobody), the index into ``pairs`` (int16), the duration
    as the record itself tells (int64 ns, -1 where it does not), and whether the end is inferred.
    """

    begin: _Array
    end: _Array
    kind: _Array
    state: _Array
    context: _Array
    pair: _Array
    duration: _Array
    inferred: _Array
    pairs: list[Pair]

    def take(self, at: _Array) -> Self:
        """Those at ``at`` (indices or a mask)."""
        columns = {f.name: getattr(self, f.name)[at] for f in fields(self) if f.name != "pairs"}
        return replace(self, **columns)

    @classmethod
    def of(
        cls, pair: Pair, found: Matched, rows: _Array, open_: _Array, duration: _Array,
        *, inferred: bool = False,
    ) -> Self:  # fmt: skip
        """Of one match; ``open_`` of its lone begins; durations are of all ``rows``."""
        ended, begun, lost = len(found.begin), len(found.lone_begins), len(found.lone_ends)
        none = np.full(max(begun, lost), -1, np.int64)
        begin = np.concatenate([rows[found.begin], rows[found.lone_begins], none[:lost]])
        end = np.concatenate([rows[found.end], none[:begun], rows[found.lone_ends]])
        told = np.concatenate([duration[found.end], none[:begun], duration[found.lone_ends]])
        state = np.concatenate([
            np.full(ended, ENDED), np.where(open_, OPEN, END_LOST), np.full(lost, LOST_BEGIN),
        ])  # fmt: skip
        total = len(begin)
        return cls(
            begin, end, np.full(total, KINDS_OF_SPANS.index(pair.kind), np.int8),
            state.astype(np.int8),
            np.full(total, ("cpu", "task", "any").index(pair.context), np.int8),
            np.zeros(total, np.int16), told, np.full(total, inferred), [pair],
        )  # fmt: skip

    @classmethod
    def joined(cls, parts: Iterable[Self]) -> Self:
        """All parts in one, the pairs too."""
        every = list(parts)
        if len(every) == 1:
            return every[0]
        pairs: dict[Pair, int] = {}
        tables = [
            np.array([pairs.setdefault(one, len(pairs)) for one in p.pairs], np.int16)
            for p in every
        ]
        columns: dict[str, _Array] = {}
        for f in fields(cls)[:-1]:
            own = [
                table[p.pair] if f.name == "pair" else getattr(p, f.name)
                for p, table in zip(every, tables, strict=True)
            ]
            columns[f.name] = np.concatenate(own) if own else np.empty(0, np.int64)
        return cls(**columns, pairs=list(pairs))


def _key(record: Record, pair: Pair, rows: _Array) -> _Array:
    """Equal for what can be a begin and its end."""
    columns = record.events.rows
    if pair.context == "task":
        whose = owners(record.events, rows)
    else:
        whose = columns.cpu[rows].astype(np.int64) if pair.context == "cpu" else rows * 0
    key = [whose]
    if pair.what != "call":  # a probe's records may have come on two ways
        key.append(columns.buffer[rows])
    for field in pair.identity:
        if field == "device":
            key.append(values_as_texts(record.events, rows, (field,))[0])
            continue
        values, has = integers(record.events, rows, field)
        if has.all():  # an exit may not say of what
            key.append(values)
    return combined(*key)


def _of_pair(record: Record, pair: Pair) -> FoundSpans | None:
    begins, ends = record.of(pair.begin), record.of(pair.end)
    rows = np.sort(np.concatenate([begins, ends]))
    if not len(rows):
        return None
    is_begin = np.isin(rows, begins, assume_unique=True)
    if pair.begin.startswith("raw_syscalls:"):
        rows, is_begin = _unnamed(record, rows, is_begin)
    key = _key(record, pair, rows)
    if pair.recursive:
        key = combined(key, levels(key, is_begin))
    found = matched(key, is_begin, first=pair.first)
    if pair.kind.endswith(" wait"):  # a softirq may run without being raised again
        found = Matched(found.begin, found.end, found.lone_begins[:0], found.last[:0],
                        found.lone_ends[:0])  # fmt: skip
    duration, has = integers(record.events, rows, "duration_ns", _UNKNOWN)
    return FoundSpans.of(pair, found, rows, found.last, np.where(has, duration, _UNKNOWN))


def _unnamed(record: Record, rows: _Array, is_begin: _Array) -> tuple[_Array, _Array]:
    """Without the system calls that have events of their own, too."""
    names = [n for n in record.events.event_names if n.startswith("syscalls:sys_enter_")]
    named = record.of(*names)
    numbers, has = integers(record.events, named, "__syscall_nr")
    ids, _ = integers(record.events, rows, "id")
    keep = ~np.isin(ids, numbers[has])
    return rows[keep], is_begin[keep]


def _graph(record: Record) -> FoundSpans | None:
    """The calls of the function graph; a return knows by itself how long its call took."""
    events = record.events
    exits = record.of(GRAPH_EXIT)
    rows = np.sort(np.concatenate([record.of(*GRAPH_ENTRIES), exits]))
    if not len(rows):
        return None
    is_begin = ~np.isin(rows, exits, assume_unique=True)
    func, _ = integers(events, rows, "func")
    depth, _ = integers(events, rows, "depth")
    depth = (depth & 0xFFFFFFFF ^ 1 << 31) - (1 << 31)  # signed, though formats say unsigned
    task = owners(events, rows)
    found = matched(combined(task, depth, events.rows.buffer[rows]), is_begin)
    same = func[found.begin] == func[found.end]
    lone = np.concatenate([found.lone_begins, found.begin[~same]])
    last = np.concatenate([found.last, np.zeros(np.count_nonzero(~same), bool)])
    order = stable_order(task)
    shallower = np.empty(len(rows), np.int64)
    shallower[order] = running(task[order], depth[order])
    found = Matched(
        found.begin[same], found.end[same], lone, last & (shallower[lone] >= depth[lone]),
        np.concatenate([found.lone_ends, found.end[~same]]),
    )  # fmt: skip
    called, has = integers(events, rows, "calltime")
    returned, _ = integers(events, rows, "rettime")
    took = np.where(has & (returned >= called), returned - called, _UNKNOWN)
    pair = Pair("function", GRAPH_ENTRIES[0], GRAPH_EXIT, "task", by="symbol", name=("func",))
    return FoundSpans.of(pair, found, rows, found.last, took)


def _notifiers(record: Record) -> FoundSpans | None:
    """The callbacks of a chain: each ends where the next begins, or the chain, at the latest."""
    runs = record.of("notifier:notifier_run")
    field = "cb"
    if not len(runs):
        runs, field = record.of("kexec:notifier"), "function"
    chain, done = record.of("kexec:notifiers"), record.of("kexec:notifiers_return")
    if not len(runs) or not len(chain):
        return None
    rows = np.sort(np.concatenate([runs, chain, done]))
    change = np.isin(rows, chain).astype(np.int64) - np.isin(rows, done)
    task = owners(record.events, rows)
    order = stable_order(task)
    deep = np.cumsum(change[order])
    is_run = np.isin(rows, runs)[order]
    same = np.append(task[order][1:] == task[order][:-1], False)
    inside = is_run & (deep > 0)
    pairs = np.flatnonzero(inside & same)
    alone = np.flatnonzero(inside & ~same)
    nothing = np.empty(0, np.int64)
    found = Matched(order[pairs], order[pairs + 1], order[alone], np.ones(len(alone), bool),
                    nothing)  # fmt: skip
    pair = Pair("notifier", "notifier:notifier_run", "", "task", by="symbol", name=(field,))
    unknown = np.full(len(rows), _UNKNOWN, np.int64)
    return FoundSpans.of(pair, found, rows, found.last, unknown, inferred=True)


def _last_of(rows: _Array, whose: _Array, asked: _Array) -> _Array:
    """For each of ``asked`` the last of the ascending ``rows`` that is its own; -1 for none."""
    if not len(rows):
        return np.full(len(asked), -1, np.int64)
    known, back = np.unique(whose[::-1], return_index=True)
    last = rows[len(rows) - 1 - back]
    place = np.minimum(np.searchsorted(known, asked), len(known) - 1)
    return np.where(known[place] == asked, last[place], -1)


def _deaths(record: Record) -> tuple[_Array, _Array]:
    """(rows, ascending; the tasks that ended there)."""
    exits, switches = record.of("sched:sched_process_exit"), record.of(SWITCH)
    left = decode_switches(record.events, switches)
    dead = [i for i, letter in enumerate(left.letters) if letter[0] in "XZ"]
    gone = np.isin(left.letter, dead)
    rows = np.concatenate([exits, switches[gone]])
    tasks = np.concatenate([owners(record.events, exits), left.prev[gone]])
    order = stable_order(rows)
    return rows[order], tasks[order]


def _settled(record: Record, found: FoundSpans) -> FoundSpans:
    """Without what looks open or begun earlier and is not, as other events show.

    A hard interrupt is over when its CPU switches, a system call when its task makes another one
    or ends. A new task returns from a call that another one made.
    """
    events, state = record.events, found.state.copy()
    switches = record.of(SWITCH)
    open_ = np.flatnonzero(state == OPEN)
    hard = [KINDS_OF_SPANS.index(kind) for kind in ("irq", "vector", "ipi")]
    mine = open_[np.isin(found.kind[open_], hard)]
    cpus = events.rows.cpu
    switched = _last_of(switches, cpus[switches], cpus[found.begin[mine]])
    state[mine[switched > found.begin[mine]]] = END_LOST
    mine = open_[found.context[open_] == _OF_TASK]
    died = _last_of(*_deaths(record), owners(events, found.begin[mine]))
    state[mine[died > found.begin[mine]]] = END_LOST
    call = found.kind == KINDS_OF_SPANS.index("syscall")
    seen = np.concatenate([found.begin[call], found.end[call]])
    seen = np.sort(seen[seen >= 0])
    mine = open_[call[open_]]
    again = _last_of(seen, owners(events, seen), owners(events, found.begin[mine]))
    state[mine[again > found.begin[mine]]] = END_LOST
    keep = np.ones(len(state), bool)
    mine = np.flatnonzero(call & (state == LOST_BEGIN))
    tasks, first = np.unique(owners(events, seen), return_index=True)
    owner = owners(events, found.end[mine])
    keep[mine] = seen[first[np.searchsorted(tasks, owner)]] != found.end[mine]
    keep[mine] |= ~np.isin(owner, _new_tasks(record))
    return replace(found, state=state).take(keep)


def _new_tasks(record: Record) -> _Array:
    """The pids of the tasks that were made within the record."""
    made = [integers(record.events, record.of(event), field)[0] for event, field in _BIRTHS]
    return np.unique(np.concatenate(made))


def find_spans(record: Record, pairs: Iterable[Pair]) -> FoundSpans:
    """All spans of one boot, in no order."""

    def parts() -> Iterator[FoundSpans]:
        for pair in pairs:
            one = _of_pair(record, pair)
            if one is not None:
                yield one
        for one in (_graph(record), _notifiers(record)):
            if one is not None:
                yield one

    return _settled(record, FoundSpans.joined(parts()))
