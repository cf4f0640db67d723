"""Holes: events that must have happened between two that were recorded, and are not there.

Each rule follows from what the kernel does, and needs nobody's count:

- ``sched_switch`` (``__schedule()``): a CPU switches from the task that it last switched to.
- ``softirq_entry``/``_exit`` (``handle_softirqs()``) take turns on a CPU.
- ``sys_enter_X`` (``syscall_enter_from_user_mode()``): a task is in one system call at a time; only
  exit, exit_group and rt_sigreturn have no exit event.

Where an event's filter or a pid filter hides some events, or recording was paused, the rules do not
hold; a rule that is broken by more than one event in a hundred is therefore not used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.errors import Diagnostic
from tracekit.ftrace.columns import as_signed
from tracekit.timeline.boot import Buffer
from tracekit.timeline.events import Events
from tracekit.timeline.merge import BootPart
from tracekit.timeline.rows import different, grouped, numbers, one_of

__all__ = ["find_holes"]

_Array = npt.NDArray[Any]
_NO_EXIT = frozenset(("exit", "exit_group", "rt_sigreturn"))
#: Trace clocks that all CPUs share, so that a task's events are in order across CPUs.
_ONE_TIME = frozenset(("x86-tsc", "global", "mono", "mono_raw", "boot", "tai"))
_SWITCH, _SOFTIRQS = "sched:sched_switch", ("irq:softirq_entry", "irq:softirq_exit")
_ENTER, _EXIT = "syscalls:sys_enter_", "syscalls:sys_exit_"
_OTHER_TASK = "the CPU switches from another task than it had switched to"
_NO_TURNS = "softirq entries and exits do not take turns"
_STILL_IN = "a task enters a system call before it has left the last one"


@dataclass(slots=True)
class _Places:
    """Where events are missing on a CPU; ``late`` are those after its counters were read.

    ``first`` is the first of these: (CPU or task, row, stamp).
    """

    all: int = 0
    late: int = 0
    first: tuple[int, int, int] | None = None

    def add(self, more: _Places) -> None:
        """Count more of them."""
        self.all, self.late = self.all + more.all, self.late + more.late
        self.first = min((f for f in (self.first, more.first) if f is not None), default=None)


class _Rule:
    """A rule about two events that follow one another on a CPU or in a task.

    The rows come in parts. ``places`` are by the kind of the event before, and CPU.
    """

    def __init__(self, events: Events, buffer: Buffer) -> None:
        self._rows = events.rows
        self._taken = {cpu: counters.taken for cpu, counters in buffer.counters.items()}
        self._before: dict[int, tuple[int, int]] = {}  # key -> (value, kind) of its last event
        self.looked_at = Counter[int]()  # CPU -> events
        self.kinds: dict[int, set[int]] = {}  # CPU -> those of its events
        self.places: dict[tuple[int, int], _Places] = {}

    def former(self, at: _Array, keys: _Array, values: _Array) -> tuple[_Array, _Array, _Array]:
        """(of each row the value and the kind of the event before, whether there is one).

        ``at`` are rows by their ``keys``, which are ascending.
        """
        kinds = self._rows.kind[at].astype(np.int64)
        for cpu, mine in grouped(self._rows.cpu[at], kinds).items():
            self.looked_at[cpu] += len(mine)
            self.kinds.setdefault(cpu, set()).update(different(mine))
        starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
        ends = np.append(starts[1:], len(keys))[: len(starts)] - 1
        before, kind = np.roll(values, 1), np.roll(kinds, 1)
        known = np.ones(len(keys), bool)
        for start, end, key in zip(
            starts.tolist(), ends.tolist(), keys[starts].tolist(), strict=True
        ):
            known[start] = key in self._before
            before[start], kind[start] = self._before.get(key, (0, 0))
            self._before[key] = int(values[end]), int(kinds[end])
        return before, kind, known

    def note(self, at: _Array, keys: _Array, kinds: _Array) -> None:
        """Something is missing before the rows ``at``; ``kinds`` are of the events before them."""
        cpus = self._rows.cpu[at].astype(np.int64)
        for group, mine in grouped(kinds << 16 | cpus, np.arange(len(at))).items():
            kind, cpu = group >> 16, group & 0xFFFF
            stamps = self._rows.ts_raw[at[mine]]
            late = np.flatnonzero(stamps > self._taken.get(cpu, -1))
            first = None
            if len(late):
                one = int(late[0])
                first = int(keys[mine[one]]), int(at[mine[one]]), int(stamps[one])
            places = self.places.setdefault((kind, cpu), _Places())
            places.add(_Places(len(mine), len(late), first))


class _Buffer:
    """The rules, applied to the rows of one buffer of a boot, which come in parts."""

    def __init__(self, events: Events, boot: int, buffer: Buffer) -> None:
        self._events, self._one_time = events, buffer.clock in _ONE_TIME
        self._switch = events.codes(boot, _SWITCH)
        self._softirq = events.codes(boot, *_SOFTIRQS)
        names = {code: k.name for code, k in enumerate(events.kinds) if k.boot == boot}
        self._enter = {c: n.removeprefix(_ENTER) for c, n in names.items() if n.startswith(_ENTER)}
        self._exit = {c: n.removeprefix(_EXIT) for c, n in names.items() if n.startswith(_EXIT)}
        self._switches, self._softirqs, self._calls = (_Rule(events, buffer) for _ in range(3))

    def look(self, rows: _Array) -> None:
        """Apply the rules to the next rows (ascending)."""
        columns = self._events.rows
        kind = columns.kind[rows]

        at, cpus = _by(columns.cpu, rows[one_of(kind, self._switch)])
        left, came = self._values(at, "prev_pid"), self._values(at, "next_pid")
        before, kinds, known = self._switches.former(at, cpus, came)
        bad = known & (before != left)
        self._switches.note(at[bad], cpus[bad], kinds[bad])

        at, cpus = _by(columns.cpu, rows[one_of(kind, self._softirq)])
        _, kinds, known = self._softirqs.former(at, cpus, cpus)
        bad = known & (kinds == columns.kind[at])
        self._softirqs.note(at[bad], cpus[bad], kinds[bad])

        if self._one_time:
            at, pids = _by(columns.pid, rows[one_of(kind, {*self._enter, *self._exit})])
            _, kinds, known = self._calls.former(at, pids, pids)
            bad = known & one_of(kinds, self._enter) & one_of(columns.kind[at], self._enter)
            self._calls.note(at[bad], pids[bad], kinds[bad])

    def _values(self, at: _Array, name: str) -> _Array:
        """An integer argument of the rows ``at``."""
        out = np.full(len(at), -1, np.int64)
        for part, values in self._events.values(at, name):
            numbers = as_signed(values, -1)
            if numbers is not None:
                out[part] = numbers
        return out

    def holes(self) -> Iterator[tuple[int, _Places, str]]:
        """(CPU, where something is missing, why) by every rule that holds."""
        for cpu in sorted({*self._switches.looked_at, *self._softirqs.looked_at}):
            yield from _of_cpu(self._switches, cpu, _OTHER_TASK)
            if len(self._softirqs.kinds.get(cpu, ())) > 1:  # both events were recorded
                yield from _of_cpu(self._softirqs, cpu, _NO_TURNS)
        found: dict[int, _Places] = {}
        there = set[int]().union(*self._calls.kinds.values())
        leave = {self._exit[code] for code in there if code in self._exit}
        for (kind, cpu), places in self._calls.places.items():
            # those whose exits were recorded
            if self._enter[kind] in leave - _NO_EXIT:
                found.setdefault(cpu, _Places()).add(places)
        if sum(p.all for p in found.values()) * 100 <= self._calls.looked_at.total():
            yield from ((cpu, found[cpu], _STILL_IN) for cpu in sorted(found))


def _by(column: _Array, rows: _Array) -> tuple[_Array, _Array]:
    """(the rows in the order of a column, else as they are; the column in that order, int64)."""
    keys = column[rows].astype(np.int64)
    order = np.argsort(keys, kind="stable")
    return rows[order], keys[order]


def _of_cpu(rule: _Rule, cpu: int, what: str) -> Iterator[tuple[int, _Places, str]]:
    """What a rule found on a CPU, if it holds there."""
    whole = _Places()
    for (_, of), places in rule.places.items():
        if of == cpu:
            whole.add(places)
    if whole.all * 100 <= rule.looked_at[cpu]:
        yield cpu, whole, what


def find_holes(events: Events, part: BootPart) -> list[Diagnostic]:
    """A remark for each CPU and rule.

    What is missing from before the kernel's counters were read was not recorded, not lost, if the
    counters account for every event: it is not remarked on.
    """
    boot, remarks = part.boot, []
    buffers = [_Buffer(events, boot.index, buffer) for buffer in part.buffers]
    for some in events.rows.each_of_boot(boot.index):
        for number, mine in grouped(events.rows.buffer[some], numbers(some)).items():
            buffers[number - part.first].look(mine)
    for buffer, rules in zip(part.buffers, buffers, strict=True):
        for cpu, places, what in rules.holes():
            if places.first is not None:
                message = (
                    f"events are missing in {places.late} places, the first before the stamp "
                    f"{places.first[2]}, unless recording was paused there: {what}"
                )
                where = f"{boot.where} {buffer.name} cpu {cpu}"
                remarks.append(Diagnostic("buffer-hole", "warning", where, message))
    return remarks
