"""Calls that a boot recorded, each with its task and the events that bound it.

Shutdowns of devices, initcalls, notifiers, and every function that was probed at both its ends but
those whose entry begins a phase (:mod:`tracekit.report.milestones`): the phases have them already.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tracekit.analysis.kprobe_events import kprobes
from tracekit.analysis.rows_of_events import EventRows
from tracekit.frozen import dataclass
from tracekit.probes.records import KINDS
from tracekit.report.devices import CallEnd, Device, call_ends, device_shutdowns
from tracekit.report.initcalls import Initcall
from tracekit.report.milestones import milestone_functions
from tracekit.timeline.boot import Boot
from tracekit.timeline.events import Events

__all__ = ["Call", "Calls", "recorded_calls"]

_Array = npt.NDArray[Any]
_CHAIN = "blocking_notifier_call_chain"
_RUNS = (("notifier:notifier_run", "cb"), ("kexec:notifier", "function"))
_NAMES = ("device", "session", "name", "chain", "clock")


@dataclass(frozen=True, slots=True)
class Call:
    """One call. ``kind``: device, initcall, notifier, notifier chain, LUO or KHO step, or call.

    ``end_ns`` is None where it never returned. ``at_most``: nothing marks its end but the begin of
    what came next, so it took no longer than that. ``rows``: the events that tell.
    """

    kind: str
    name: str
    detail: str
    boot: int
    pid: int
    start_ns: int
    end_ns: int | None
    at_most: bool = False
    rows: tuple[int, ...] = ()

    @property
    def duration_ns(self) -> int | None:
        """How long it took, None where it never returned."""
        return None if self.end_ns is None else self.end_ns - self.start_ns


class _End(NamedTuple):
    row: int
    ns: int
    pid: int
    fields: dict[str, Any]


class Calls:
    """The calls of one boot, to be asked for those of a task in a stretch of time."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self.all = tuple(sorted(calls, key=lambda c: (c.start_ns, -(c.end_ns or c.start_ns))))

    @cached_property
    def _by_pid(self) -> dict[int, list[Call]]:
        found: dict[int, list[Call]] = {}
        for call in self.all:
            found.setdefault(call.pid, []).append(call)
        return found

    def within(self, pid: int, start: int, end: int) -> list[Call]:
        """Those of a task that returned and lie in ``[start, end]`` whole, outer ones first."""
        mine = self._by_pid.get(pid, ())
        return [c for c in mine if c.start_ns >= start and c.end_ns is not None and c.end_ns <= end]


class _Record(EventRows):
    """The rows of one boot, and the events in them."""

    def __init__(self, events: Events, boot: Boot) -> None:
        super().__init__(events, boot.index)
        self.boot = boot

    def ends(self, event: str) -> list[_End]:
        """Every such event, with its arguments."""
        at = self.of(event)
        if not len(at):
            return []
        rows, stamps = self.events.rows, self.events.axis.ts_ns[at].tolist()
        return [
            _End(row, ns, pid, fields)
            for row, ns, pid, fields in zip(
                at.tolist(), stamps, rows.pid[at].tolist(), self.events.fields(at), strict=True
            )
        ]


def _paired(begins: Sequence[_End], returns: Sequence[_End]) -> Iterator[tuple[_End, _End | None]]:
    """Begins with their returns, by task; the calls of a task are nested."""
    open_: dict[int, list[_End]] = {}
    ordered = [(e, False) for e in begins] + [(e, True) for e in returns]
    for end, returned in sorted(ordered, key=lambda pair: pair[0].row):
        mine = open_.setdefault(end.pid, [])
        if not returned:
            mine.append(end)
        elif mine:
            yield mine.pop(), end
    for left in open_.values():
        yield from ((begun, None) for begun in left)


def _text(value: object) -> str:
    return value if isinstance(value, str) and value != "(fault)" else ""


def _symbol(boot: Boot, value: object) -> str:
    if not isinstance(value, int):
        return _text(value)
    symbol = boot.context.symbols.lookup(value)
    return symbol.name if symbol else f"{value:#x}"


def _probed(record: _Record) -> Iterator[Call]:
    """Calls of functions that were probed at both ends, by BPF or by kprobe events."""
    boot = record.boot
    skipped = milestone_functions() - {"liveupdate_reboot"}
    pairs = [
        (k.event, f"{k.event}_return", k.functions[0] if k.functions else k.event, k.subject)
        for k in KINDS.values()
        if not k.instant and k.functions and skipped.isdisjoint(k.functions)
    ]
    probes = kprobes(boot)
    returns = {function: event for event, function, returned in probes if returned}
    pairs += [
        (event, returns[function], function, "")
        for event, function, returned in probes
        if not returned and function in returns and function not in skipped
        and not event.startswith("tracekit:shutdown_")
    ]  # fmt: skip
    for begin, end, function, subject in pairs:
        both = record.ends(begin), record.ends(end)
        for begun, back in _paired(*both):
            kind = "notifier chain" if function == _CHAIN else _kind(begin, function, subject)
            label = next((t for n in _NAMES if (t := _symbol(boot, begun.fields.get(n)))), "")
            name = f"{function} {label}".rstrip()
            rows = (begun.row,) if back is None else (begun.row, back.row)
            yield Call(kind, name, "", boot.index, begun.pid, begun.ns,
                       None if back is None else back.ns, rows=rows)  # fmt: skip


def _kind(event: str, function: str, subject: str) -> str:
    if event.startswith("luo:") or function.startswith(("luo_", "liveupdate_")):
        return "LUO step"
    return "KHO step" if subject == "kho" or function.startswith("kho_") else "call"


def _notifiers(record: _Record, chains: Sequence[Call]) -> Iterator[Call]:
    """Single notifiers of the chains that were probed: each ends where the next one begins."""
    for event, field in _RUNS:
        runs, boot = record.ends(event), record.boot
        if not runs:
            continue
        for chain in (c for c in chains if c.end_ns is not None):
            mine = [r for r in runs if r.pid == chain.pid
                    and chain.rows[0] < r.row < chain.rows[-1]]  # fmt: skip
            for run, following in zip(mine, [*mine[1:], None], strict=True):
                end = chain.end_ns if following is None else following.ns
                row = chain.rows[-1] if following is None else following.row
                name = _symbol(boot, run.fields.get(field))
                yield Call("notifier", name, "", boot.index, run.pid, run.ns, end, True,
                           (run.row, row))  # fmt: skip
        return


class _Returns:
    """When the calls of devices returned, by the boot's own clock."""

    def __init__(self, ends: Sequence[CallEnd]) -> None:
        self._at: dict[tuple[int, str, str], list[int]] = {}
        for end in sorted((e for e in ends if e.returned), key=lambda e: e.at):
            key = end.pid, end.device.function, end.device.name
            self._at.setdefault(key, []).append(end.at)

    def of(self, device: Device, pid: int) -> int | None:
        """When a call returned: by its event, else by how long it took."""
        start = device.start_ns or 0
        found: list[int] = []
        for name in {device.name, ""}:
            stamps = self._at.get((pid, device.function, name), [])
            at = bisect_left(stamps, start)
            found += stamps[at : at + 1]
        took = None if device.duration_ns is None else start + device.duration_ns
        return min(found, default=took)


def _devices(record: _Record) -> Iterator[Call]:
    events, boot = record.events, record.boot
    ends = call_ends(events, boot)
    pids = {(e.at, e.device.function): e.pid for e in ends}
    returns = _Returns(ends)
    names = {"device:shutdown", "device:shutdown_return"}
    names |= {event for event, _, _ in kprobes(boot) if event.startswith("tracekit:shutdown_")}
    rows = record.of(*names)
    stamps = events.axis.ts_ns[rows]
    for device in device_shutdowns(ends, timed=True):
        if device.start_ns is None:
            continue
        begun = (device.start_ns, device.function)
        pid = pids.get(begun, -1)
        end = returns.of(device, pid) if device.finished else None
        at = int(np.searchsorted(stamps, device.start_ns))
        told = (int(rows[at]),) if begun in pids and at < len(rows) else ()
        detail = " ".join(t for t in (device.driver, device.function) if t)
        yield Call("device", device.name or device.function, detail, boot.index, pid,
                   device.start_ns, end, rows=told)  # fmt: skip


def _initcalls(record: _Record, calls: Sequence[Initcall]) -> Iterator[Call]:
    events, boot = record.events, record.boot
    rows = record.of("initcall:initcall_start", "initcall:initcall_finish")
    stamps = events.axis.ts_ns[rows]
    for one in calls:
        if one.boot != boot.index or not len(rows):
            continue
        ends = np.searchsorted(stamps, [one.start_ns, one.start_ns + one.duration_ns])
        told = tuple(int(rows[i]) for i in ends.tolist() if i < len(rows))
        pid = int(events.rows.pid[told[0]]) if told else -1
        failed = f"returned {one.ret}" if one.ret else ""
        yield Call("initcall", one.function, failed, boot.index, pid, one.start_ns,
                   one.start_ns + one.duration_ns, rows=told)  # fmt: skip


def recorded_calls(events: Events, boot: Boot, initcalls: Sequence[Initcall]) -> Calls:
    """Every call of a boot whose stamps count time; ``initcalls`` are those of the report."""
    if not events.axis.timed(boot.index):
        return Calls(())
    record = _Record(events, boot)
    probed = list(_probed(record))
    chains = [call for call in probed if call.kind == "notifier chain"]
    return Calls([
        *probed,
        *_notifiers(record, chains),
        *_devices(record),
        *_initcalls(record, initcalls),
    ])  # fmt: skip
