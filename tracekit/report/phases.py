"""Where the time of a handover went: phases that follow one another without a hole.

Each phase runs from its own milestone to the next one that was observed. A milestone that nothing
marks has a phase all the same, which says so; its time lies in the phase before.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tracekit.errors import Diagnostic
from tracekit.report.milestones import OLD_KERNEL, find_milestones
from tracekit.report.systemd import shutdown_begin, shutdown_exec, startup_end
from tracekit.report.time_zero import time_zero
from tracekit.timeline.boot import Boot
from tracekit.timeline.events import Events
from tracekit.timeline.filter import Filter

__all__ = ["MEANING", "Handover", "Initcall", "Phase", "handover"]

_ALONG = (  # milestone -> the phase that begins there
    ("reboot", "reboot call"),
    ("kernel_kexec", "notifiers"),
    ("liveupdate_reboot", "liveupdate"),
    ("kernel_restart_prepare", "notifiers"),
    ("device_shutdown", "device shutdown"),
    ("migrate_to_reboot_cpu", "migrate"),
    ("syscore_shutdown", "syscore shutdown"),
    ("machine_shutdown", "CPUs stopped"),
    ("machine_kexec", "machine_kexec"),
)

#: What happens in a phase, by its name up to a colon.
MEANING: Mapping[str, str] = {
    "kexec load": "kexec_file_load(2) reads the next kernel; nothing is stopped yet",
    "systemd": "systemd stops or starts its units; outside the blackout",
    "systemd-shutdown": "process 1 is systemd-shutdown: it kills and unmounts what is left",
    "reboot call": "from the reboot(2) system call on user space is gone",
    "kernel_kexec": "kernel_kexec(): live update and reboot notifiers, not marked one by one",
    "liveupdate": "liveupdate_reboot(): the live update orchestrator serializes what it keeps",
    "notifiers": "the reboot notifiers, before any device is stopped",
    "device shutdown": "device_shutdown() calls every device's shutdown callback, one by one",
    "migrate": "migrate_to_reboot_cpu(): the rest runs on one CPU",
    "syscore shutdown": "syscore_shutdown(): timers, interrupt controllers",
    "CPUs stopped": "machine_shutdown(): the other CPUs stop",
    "machine_kexec": "machine_kexec() leaves the old kernel: its last recorded events",
    "dark": "nothing can record: purgatory, decompression, the new kernel before its trace buffer",
    "initcalls": "the new kernel's initcalls of this level",
    "first user process": "from the last initcall to the first exec of process 1",
}


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of time on the session's axis, in ns; None where it was not observed.

    ``in_blackout``: whether it lies between the reboot call and the first user process.
    ``handover``: which one it is part of, counted from 0.
    """

    name: str
    boot: int
    start_ns: int | None
    duration_ns: int | None
    observed: bool
    note: str = ""
    in_blackout: bool = True
    handover: int = 0


@dataclass(frozen=True, slots=True)
class Initcall:
    """One initcall of the new kernel."""

    function: str
    level: str
    boot: int
    start_ns: int
    duration_ns: int
    ret: int | None


@dataclass(frozen=True, slots=True)
class Handover:
    """One jump: its phases in order, and the instants that bound gap and blackout (rows).

    ``reboot`` and ``user`` are the rows of the reboot call and of the new kernel's first
    user-space process; None where nothing marks them.
    """

    old: int
    new: int
    phases: tuple[Phase, ...]
    initcalls: tuple[Initcall, ...]
    last_old: int | None
    first_new: int | None
    reboot: int | None
    user: int | None
    notes: tuple[Diagnostic, ...] = ()


def _unobserved(name: str, boot: int, note: str) -> Phase:
    return Phase(name, boot, None, None, False, note)


def _first_of_call(last: Sequence[int], others: np.ndarray) -> int:
    """The first of the rows by which several sources mark the same call.

    ``last`` has the last row of each source; a row that lies before another milestone is of an
    earlier call.
    """
    newest = max(last)
    behind = np.searchsorted(others, newest)
    return min(row for row in last if np.searchsorted(others, row) == behind)


def _pick(found: Mapping[str, Sequence[np.ndarray]]) -> dict[str, int]:
    """The row of each milestone on the way that led to the jump: the last call, in order."""
    picked: dict[str, int] = {}
    limit = None
    for m in reversed(OLD_KERNEL):
        sources = [r[r <= limit] if limit is not None else r for r in found.get(m.name, ())]
        last = [int(rows[-1]) for rows in sources if len(rows)]
        if last:
            others = [r for name, of in found.items() if name != m.name for r in of]
            merged = np.sort(np.concatenate(others)) if others else np.empty(0, np.int64)
            picked[m.name] = limit = _first_of_call(last, merged)
    return picked


def _along(at: Mapping[str, int]) -> list[tuple[str, str]]:
    """The milestones on the way out, and what begins at each.

    ``kernel_kexec()`` serializes the live update before it runs the notifiers; where neither is
    marked by itself, both are in the phase that begins with it.
    """
    inner = {"liveupdate_reboot", "kernel_restart_prepare"}
    if inner.isdisjoint(at):
        return [(mark, name) for mark, name in _ALONG if mark not in inner]
    return [(mark, "kernel_kexec" if mark == "kernel_kexec" else name) for mark, name in _ALONG]


def _load_phase(events: Events, old: Boot, at: Mapping[str, int]) -> Phase:
    if "load" in at and "loaded" in at:
        start, end = (int(events.axis.ts_ns[at[mark]]) for mark in ("load", "loaded"))
        phase = Phase("kexec load", old.index, start, end - start, True)
    else:
        phase = _unobserved("kexec load", old.index, "no event marks kexec_file_load")
    return replace(phase, in_blackout=False)


def _stopping_phases(events: Events, old: Boot, reboot: int | None) -> Iterator[Phase]:
    """What systemd does on the way out; nothing where it was not seen to run."""
    ready = shutdown_exec(events, old)
    if ready is None:
        return
    name = "systemd: stopping units"
    begin = shutdown_begin(events, old, ready)
    if begin is None:
        why = "nothing marks the begin: record sched:sched_process_exec of systemctl"
        yield replace(_unobserved(name, old.index, why), in_blackout=False)
    else:
        yield Phase(name, old.index, begin, ready - begin, True, in_blackout=False)
    if reboot is not None and reboot >= ready:
        yield Phase("systemd-shutdown", old.index, ready, reboot - ready, True, in_blackout=False)


def _old_phases(events: Events, old: Boot, at: Mapping[str, int], last: int) -> list[Phase]:
    ts = events.axis.ts_ns
    reboot = int(ts[at["reboot"]]) if "reboot" in at else None
    phases = [_load_phase(events, old, at), *_stopping_phases(events, old, reboot)]
    along = _along(at)
    seen = [(mark, name) for mark, name in along if mark in at]
    ends = [at[mark] for mark, _ in seen[1:]] + [last]
    held_by = ""
    for mark, name in along:
        if mark not in at:
            inside = f"; its time is part of '{held_by}'" if held_by else ""
            phases.append(_unobserved(name, old.index, f"no event marks {mark}{inside}"))
            continue
        held_by = name
        start, end = int(ts[at[mark]]), int(ts[ends[seen.index((mark, name))]])
        phases.append(Phase(name, old.index, start, end - start, True))
    return phases


def _short(ns: int) -> str:
    return f"{ns / 1e6:.1f} ms" if ns >= 100_000 else f"{ns / 1e3:.1f} µs"


def _dark_phases(
    events: Events, old: Boot, new: Boot, last: int, first: int
) -> tuple[list[Phase], tuple[Diagnostic, ...]]:
    ts = events.axis.ts_ns
    start, end = int(ts[last]), int(ts[first])
    before, after = "dark: until the new kernel runs", "dark: early boot, unrecorded"
    zero, notes = time_zero(events, new)
    if zero is None:
        note = "the new kernel's time zero is not known, so the dark part cannot be split"
        return [Phase("dark", old.index, start, end - start, True, note)], notes
    known = f"the new kernel's time zero, known to ± {_short(zero.error_ns)}"
    if zero.ns >= end:
        late = f"{known}, falls {_short(zero.ns - end)} after its first event"
        return [Phase("dark", old.index, start, end - start, True, late)], notes
    split = max(zero.ns, start)
    return [
        Phase(before, old.index, start, split - start, True, f"up to {known}"),
        Phase(after, new.index, split, end - split, True),
    ], notes


def _column(events: Events, event: str, boot: int, field: str) -> tuple[list[int], list]:  # type: ignore[type-arg]
    """(ts_ns, values of one argument) of every such event in a boot; both empty where none."""
    if not events.has_event(event, boot):
        return [], []
    table = events.event(event, Filter(boots=frozenset({boot})))
    if field not in table.column_names:
        return [], []
    return events.common(table, "ts_ns"), table[field].to_pylist()


def _initcalls(events: Events, new: Boot) -> list[Initcall]:
    stamps, names = _column(events, "initcall:initcall_level", new.index, "level")
    levels = list(zip(stamps, names, strict=True))
    starts = _column(events, "initcall:initcall_start", new.index, "func")
    ends = _column(events, "initcall:initcall_finish", new.index, "func")
    rets = _column(events, "initcall:initcall_finish", new.index, "ret")[1]
    open_at = dict[int, list[int]]()
    for ts, func in zip(*starts, strict=True):
        open_at.setdefault(func, []).append(ts)
    found, level = [], 0
    for ts, func, ret in zip(*ends, rets or [None] * len(ends[0]), strict=True):
        begun = open_at.get(func, [])
        before = bisect_right(begun, ts)
        if not before or func is None:
            continue
        start = begun.pop(before - 1)
        while level + 1 < len(levels) and levels[level + 1][0] <= start:
            level += 1
        symbol = new.context.symbols.lookup(func)
        name = symbol.name if symbol else f"{func:#x}"
        of = str(levels[level][1]) if levels and levels[level][0] <= start else "unknown"
        found.append(Initcall(name, of, new.index, start, ts - start, ret))
    return found


def _level_phases(
    events: Events, new: Boot, calls: Sequence[Initcall]
) -> tuple[list[Phase], int | None]:
    """A phase for each initcall level, and when the last of them ended."""
    stamps, names = _column(events, "initcall:initcall_level", new.index, "level")
    if not stamps or not calls:
        note = "no initcall events: put trace_event=initcall:* on the new kernel's command line"
        return [_unobserved("initcalls", new.index, note)], None
    last = max(c.start_ns + c.duration_ns for c in calls)
    phases = []
    for i, (start, name) in enumerate(zip(stamps, names, strict=True)):
        end = stamps[i + 1] if i + 1 < len(stamps) else max(last, start)
        inside = sum(c.duration_ns for c in calls if c.level == name and start <= c.start_ns <= end)
        rest = end - start - inside
        note = f"{rest / 1e6:.1f} ms of it outside initcalls" if rest * 4 > end - start else ""
        phases.append(Phase(f"initcalls: {name}", new.index, start, end - start, True, note))
    return phases, max(last, stamps[-1])


def _first_user(events: Events, new: Boot) -> int | None:
    """The row of the first exec of pid 1, else of any process."""
    codes = [
        i
        for i, k in enumerate(events.kinds)
        if k.boot == new.index and k.name == "sched:sched_process_exec"
    ]
    rows = np.flatnonzero(np.isin(events.rows.kind, codes))
    of_init = rows[events.rows.pid[rows] == 1]
    chosen = of_init if len(of_init) else rows
    return int(chosen[0]) if len(chosen) else None


def _starting_phase(events: Events, new: Boot, user: int) -> Iterator[Phase]:
    """What systemd does in the new boot; nothing where it does not say."""
    end = startup_end(events, new)
    if end is not None and end >= user:
        name = "systemd: starting units"
        yield Phase(name, new.index, user, end - user, True, in_blackout=False)


def _known(events: Events, phases: Sequence[Phase], new: Boot) -> Iterator[Phase]:
    """The phases, without the times that no clock tells."""
    axis = events.axis
    for p in phases:
        dark = p.name.startswith("dark")
        if not p.observed or (axis.placed(p.boot) and (not dark or axis.placed(new.index))):
            yield p
        elif not axis.timed(p.boot):
            clock = axis.clocks[p.boot].trace_clock
            note = f"the trace clock {clock} does not tell how long"
            yield replace(p, start_ns=None, duration_ns=None, note=note)
        else:
            note = "no clock relates the two kernels"
            yield replace(p, start_ns=None, duration_ns=None if dark else p.duration_ns, note=note)


def handover(events: Events, old: Boot, new: Boot) -> Handover:
    """What happened between two boots that follow each other."""
    rows, ts = events.rows, events.axis.ts_ns
    of_old, of_new = (np.flatnonzero(rows.boot == b.index) for b in (old, new))
    last = int(of_old[-1]) if len(of_old) else None
    first = int(of_new[0]) if len(of_new) else None
    at = _pick(find_milestones(events, old, OLD_KERNEL)) if last is not None else {}
    phases = _old_phases(events, old, at, last) if last is not None else []
    notes: tuple[Diagnostic, ...] = ()
    if last is not None and first is not None:
        dark, notes = _dark_phases(events, old, new, last, first)
        phases += dark
    calls = _initcalls(events, new)
    levels, done = _level_phases(events, new, calls)
    phases += levels
    user = _first_user(events, new)
    if user is None:
        note = "no exec was recorded: put sched:sched_process_exec into trace_event="
        phases.append(_unobserved("first user process", new.index, note))
    elif (begin := done if done is not None else int(ts[first or 0])) <= int(ts[user]):
        phases.append(Phase("first user process", new.index, begin, int(ts[user]) - begin, True))
    if user is not None:
        phases += _starting_phase(events, new, int(ts[user]))
    return Handover(
        old.index,
        new.index,
        tuple(_known(events, phases, new)),
        tuple(calls) if events.axis.timed(new.index) else (),
        last,
        first,
        at.get("reboot"),
        user,
        notes,
    )
