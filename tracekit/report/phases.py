"""Phases of a handover: where its time went, without gaps between them.

Each phase runs from its own milestone to the next one that was observed. A milestone that nothing
marks has a phase all the same, which says so; its time is part of the phase before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from tracekit.errors import Diagnostic
from tracekit.frozen import dataclass
from tracekit.report.initcalls import Initcall
from tracekit.report.observations import Entering, Instant, Leaving
from tracekit.report.ways import KEXEC, SOME, Down, Way

__all__ = ["MEANING", "Handover", "Phase", "handover_between", "phase_at"]

#: What happens in a phase, by its name up to a colon.
MEANING: Mapping[str, str] = {
    "kexec load": "kexec_file_load(2) reads the next kernel; nothing is stopped yet",
    "tracekit's own": "the recorder takes its last snapshot; outside the blackout",
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
    "machine_restart": "machine_restart() is about to reset the machine",
    "machine_power_off": "machine_power_off() turns the machine off",
    "machine_halt": "machine_halt() stops the machine",
    "reset": "machine_emergency_restart() resets the machine: its last recorded events",
    "emergency restart": "emergency_restart(): no notifier and no device is asked",
    "panic": "vpanic() stops the other CPUs, prints why, and runs the panic notifiers",
    "crash kexec": "__crash_kexec() saves the registers for the crash kernel, if one is loaded",
    "crash shutdown": "machine_crash_shutdown() stops the other CPUs by NMI",
    "dark": "nothing can record: purgatory, decompression, the new kernel before its trace buffer",
    "initcalls": "the new kernel's initcalls of this level",
    "first user process": "from the last initcall to the first exec of process 1",
}


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of time on the session's axis, in ns; None if it was not observed.

    ``in_blackout``: whether it lies between the reboot call and the first user process.
    ``handover``: the number (from 0) of the handover it is part of.
    """

    name: str
    boot: int
    start_ns: int | None
    duration_ns: int | None
    observed: bool
    note: str = ""
    in_blackout: bool = True
    handover: int = 0


def phase_at(phases: Iterable[Phase], ns: int) -> Phase | None:
    """The shortest of one boot's phases that an instant lies in."""
    hits = [
        p for p in phases
        if p.start_ns is not None and p.start_ns <= ns < p.start_ns + (p.duration_ns or 0)
    ]  # fmt: skip
    return min(hits, key=lambda p: p.duration_ns or 0, default=None)


@dataclass(frozen=True, slots=True)
class Handover:
    """One jump: its phases in order, and the instants that bound gap and blackout (rows).

    ``begun`` and ``user`` are the rows where the old kernel's user space ended (the reboot call, a
    panic) and of the new kernel's first user-space process; None if nothing marks them.
    """

    old: int
    new: int
    phases: tuple[Phase, ...]
    initcalls: tuple[Initcall, ...]
    down: Down
    last_old: int | None
    first_new: int | None
    begun: int | None
    user: int | None
    notes: tuple[Diagnostic, ...] = ()


def _unobserved(name: str, boot: int, note: str) -> Phase:
    return Phase(name, boot, None, None, False, note)


def _along(way: Way, marks: Mapping[str, Instant]) -> list[tuple[str, str]]:
    """The milestones on the way out, and the phase that begins at each.

    ``kernel_kexec()`` serializes the live update before it runs the notifiers; where neither is
    marked by itself, both are in the phase that begins with it. On the other ways the notifiers
    are the first thing: one mark is enough.
    """
    inner = {"liveupdate_reboot", "kernel_restart_prepare"}
    if inner.isdisjoint(marks) and way is not SOME:
        return [(mark, name) for mark, name in way.along if mark not in inner]
    if way is KEXEC:
        return [(m, "kernel_kexec" if m == "kernel_kexec" else name) for m, name in way.along]
    twice = [m for m, name in way.along if name == "notifiers" and m in marks][1:]
    unseen = [m for m, name in way.along if name == "notifiers" and m not in marks]
    return [(m, name) for m, name in way.along if m not in (*twice, *unseen)]


def _load_phases(old: Leaving) -> Iterator[Phase]:
    """When the next kernel was loaded; nothing on a way that needs none, unless it was seen."""
    if "load" in old.marks and "loaded" in old.marks:
        start, end = old.marks["load"].ns, old.marks["loaded"].ns
        yield Phase("kexec load", old.boot, start, end - start, True, in_blackout=False)
    elif old.down.way is KEXEC:
        phase = _unobserved("kexec load", old.boot, "no event marks kexec_file_load")
        yield replace(phase, in_blackout=False)


def _own_phase(old: Leaving) -> Iterator[Phase]:
    """What the recorder itself needed before it let the jump come."""
    if old.own is not None:
        begin, end = old.own
        yield Phase("tracekit's own", old.boot, begin, end - begin, True, in_blackout=False)


def _stopping_phases(old: Leaving) -> Iterator[Phase]:
    """The phases of systemd on the way out; none if its execs were not recorded."""
    if old.stopped is None:
        return
    name, reboot = "systemd: stopping units", old.marks.get(old.down.way.begin)
    if old.stopping is None:
        why = "nothing marks the begin: record sched:sched_process_exec of systemctl"
        yield replace(_unobserved(name, old.boot, why), in_blackout=False)
    else:
        took = old.stopped - old.stopping
        yield Phase(name, old.boot, old.stopping, took, True, in_blackout=False)
    if reboot is not None and reboot.ns >= old.stopped:
        took = reboot.ns - old.stopped
        yield Phase("systemd-shutdown", old.boot, old.stopped, took, True, in_blackout=False)


def _old_phases(old: Leaving, last: Instant) -> list[Phase]:
    phases = [*_load_phases(old), *_own_phase(old), *_stopping_phases(old)]
    along = _along(old.down.way, old.marks)
    seen = [(mark, name) for mark, name in along if mark in old.marks]
    ends = [old.marks[mark] for mark, _ in seen[1:]] + [last]
    held_by = ""
    for mark, name in along:
        if mark not in old.marks:
            inside = f"; its time is part of '{held_by}'" if held_by else ""
            phases.append(_unobserved(name, old.boot, f"no event marks {mark}{inside}"))
            continue
        held_by = name
        start, end = old.marks[mark].ns, ends[seen.index((mark, name))].ns
        phases.append(Phase(name, old.boot, start, end - start, True))
    return phases


def _short(ns: int) -> str:
    return f"{ns / 1e6:,.1f} ms" if ns >= 100_000 else f"{ns / 1e3:.1f} µs"


def _dark_phases(old: Leaving, new: Entering, start: int, end: int) -> list[Phase]:
    """From the old kernel's last event to the new one's first (ns)."""
    zero = new.zero
    if zero is None:
        note = "the new kernel's time zero is not known, so the dark part cannot be split"
        if early := new.clock.early_ns:
            note = f"at most: its clock had no source yet, and may have lost up to {_short(early)}"
        return [Phase("dark", old.boot, start, end - start, True, note)]
    known = f"the new kernel's time zero, known to ± {_short(zero.error_ns)}"
    if zero.ns >= end:
        late = f"{known}, falls {_short(zero.ns - end)} after its first event"
        return [Phase("dark", old.boot, start, end - start, True, late)]
    split = max(zero.ns, start)
    before, after = "dark: until the new kernel runs", "dark: early boot, unrecorded"
    return [
        Phase(before, old.boot, start, split - start, True, f"up to {known}"),
        Phase(after, new.boot, split, end - split, True),
    ]


def _last_initcall(new: Entering) -> int:
    """When the last of the kernel's own initcalls ended; those of modules come with user space."""
    user = new.user.ns if new.user is not None else None
    ends = [
        c.start_ns + c.duration_ns if user is None else min(c.start_ns + c.duration_ns, user)
        for c in new.initcalls
        if user is None or c.start_ns < user
    ]
    return max(ends, default=new.levels[-1][0])


def _level_phases(new: Entering) -> tuple[list[Phase], int | None]:
    """A phase for each initcall level, and when the last of them ended."""
    calls, levels = new.initcalls, new.levels
    if not levels or not calls:
        note = "no initcall events: put trace_event=initcall:* on the new kernel's command line"
        return [_unobserved("initcalls", new.boot, note)], None
    last = _last_initcall(new)
    phases = []
    for i, (start, name) in enumerate(levels):
        end = levels[i + 1][0] if i + 1 < len(levels) else max(last, start)
        inside = sum(c.duration_ns for c in calls if c.level == name and start <= c.start_ns <= end)
        rest = end - start - inside
        note = f"{rest / 1e6:.1f} ms of it outside initcalls" if rest * 4 > end - start else ""
        phases.append(Phase(f"initcalls: {name}", new.boot, start, end - start, True, note))
    return phases, max(last, levels[-1][0])


def _user_phases(new: Entering, ready: int | None) -> Iterator[Phase]:
    """From the end of the initcalls (``ready``) on."""
    user = new.user
    if user is None:
        note = "no exec was recorded: put sched:sched_process_exec into trace_event="
        yield _unobserved("first user process", new.boot, note)
        return
    begin = ready if ready is not None else new.first.ns if new.first else user.ns
    if begin <= user.ns:
        yield Phase("first user process", new.boot, begin, user.ns - begin, True)
    if new.started is not None and new.started >= user.ns:
        took = new.started - user.ns
        yield Phase("systemd: starting units", new.boot, user.ns, took, True, in_blackout=False)


def _known(phases: Sequence[Phase], old: Leaving, new: Entering) -> Iterator[Phase]:
    """The phases, without the times that no clock can give."""
    clocks = {old.boot: old.clock, new.boot: new.clock}
    for p in phases:
        dark, clock = p.name.startswith("dark"), clocks[p.boot]
        if not p.observed or (clock.placed and (not dark or new.clock.placed)):
            yield p
        elif not clock.timed:
            note = f"the trace clock {clock.name} does not tell how long"
            yield replace(p, start_ns=None, duration_ns=None, note=note)
        else:
            note = "no clock relates the two kernels"
            yield replace(p, start_ns=None, duration_ns=None if dark else p.duration_ns, note=note)


def handover_between(old: Leaving, new: Entering) -> Handover:
    """What happened between two boots that follow each other."""
    phases = _old_phases(old, old.last) if old.last is not None else []
    notes: tuple[Diagnostic, ...] = ()
    if old.last is not None and new.first is not None:
        phases += _dark_phases(old, new, old.last.ns, new.first.ns)
        notes = new.notes
    levels, ready = _level_phases(new)
    phases += [*levels, *_user_phases(new, ready)]
    begun = old.marks.get(old.down.way.begin)
    return Handover(
        old.boot,
        new.boot,
        tuple(_known(phases, old, new)),
        tuple(new.initcalls) if new.clock.timed else (),
        old.down,
        old.last.row if old.last else None,
        new.first.row if new.first else None,
        begun.row if begun else None,
        new.user.row if new.user else None,
        notes,
    )
