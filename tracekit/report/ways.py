"""The ways down of a kernel: the milestones of each, and which of them a boot took.

``kernel_kexec()`` (kernel/kexec_core.c); ``kernel_restart()``, ``kernel_power_off()``,
``kernel_halt()`` and ``emergency_restart()`` (kernel/reboot.c); ``vpanic()`` (kernel/panic.c),
after which ``__crash_kexec()`` starts a crash kernel, where one is loaded, or the machine restarts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tracekit.frozen import dataclass
from tracekit.report.milestones import last_calls
from tracekit.timeline.started_by import StartedBy

__all__ = ["KEXEC", "NOT_SEEN", "PANIC", "SOME", "Down", "Way", "way_down"]

_Marks = Mapping[str, Sequence[np.ndarray]]
_SHUTDOWN = (
    ("kernel_restart_prepare", "notifiers"),
    ("device_shutdown", "device shutdown"),
    ("migrate_to_reboot_cpu", "migrate"),
    ("syscore_shutdown", "syscore shutdown"),
)
_RESET = (("machine_emergency_restart", "reset"),)


@dataclass(frozen=True, slots=True)
class Way:
    """One way down: ``along`` are its milestones in order and the phase that begins at each.

    ``own`` are those of no other way, ``begin`` the one where user space is gone, ``ends`` those of
    its last function.
    """

    name: str
    along: tuple[tuple[str, str], ...]
    own: frozenset[str]
    begin: str
    ends: frozenset[str]

    @property
    def path(self) -> tuple[str, ...]:
        """Its milestones in order, the loading of a kernel before them."""
        along = [name for name, _ in self.along]
        if "device_shutdown" in along:
            along.insert(along.index("device_shutdown") + 1, "device_shutdown done")
        return ("load", "loaded", *along)


def _way(name: str, along: Sequence[tuple[str, str]], own: str, ends: str, begin: str = "") -> Way:
    first = begin or (along[0][0] if along else "")
    return Way(name, tuple(along), frozenset(own.split()), first, frozenset(ends.split()))


KEXEC = _way(
    "kexec",
    (
        ("reboot", "reboot call"),
        ("kernel_kexec", "notifiers"),
        ("liveupdate_reboot", "liveupdate"),
        *_SHUTDOWN,
        ("machine_shutdown", "CPUs stopped"),
        ("machine_kexec", "machine_kexec"),
    ),
    "kernel_kexec liveupdate_reboot",
    "machine_kexec",
)
_REBOOT = _way(
    "reboot",
    (
        ("reboot for restart", "reboot call"),
        ("kernel_restart", "notifiers"),
        *_SHUTDOWN,
        ("machine_restart", "machine_restart"),
        ("machine_shutdown", "CPUs stopped"),
        *_RESET,
    ),
    "kernel_restart machine_restart",
    "machine_restart machine_emergency_restart",
)
_POWER_OFF = _way(
    "power off",
    (
        ("reboot for power off", "reboot call"),
        ("kernel_power_off", "notifiers"),
        *_SHUTDOWN,
        ("machine_power_off", "machine_power_off"),
        ("machine_shutdown", "CPUs stopped"),
    ),
    "kernel_power_off machine_power_off",
    "machine_power_off",
)
_HALT = _way(
    "halt",
    (
        ("reboot for halt", "reboot call"),
        ("kernel_halt", "notifiers"),
        *_SHUTDOWN,
        ("machine_halt", "machine_halt"),
        ("machine_shutdown", "CPUs stopped"),
    ),
    "kernel_halt machine_halt",
    "machine_halt",
)
_PANICKED = (
    ("panic", "panic"),
    ("crash_kexec", "crash kexec"),
    ("machine_crash_shutdown", "crash shutdown"),
)
PANIC = _way(
    "panic",
    (*_PANICKED, ("machine_kexec", "machine_kexec")),
    "panic crash_kexec machine_crash_shutdown",
    "machine_kexec",
)
#: A panic without a crash kernel: ``panic=`` says when it restarts.
_PANIC_RESTART = _way(
    "panic",
    (*_PANICKED[:2], ("emergency_restart", "emergency restart"), *_RESET),
    "panic crash_kexec",
    "machine_emergency_restart",
)
#: A panic of which nothing tells what came of it.
_PANIC_ALONE = _way("panic", _PANICKED[:1], "panic", "")
_EMERGENCY = _way(
    "emergency restart",
    (("emergency_restart", "emergency restart"), *_RESET),
    "emergency_restart",
    "emergency_restart machine_emergency_restart",
)
#: A shutdown of which nothing tells what for.
SOME = _way("shutdown", (*_SHUTDOWN, ("machine_shutdown", "CPUs stopped")), "", "")
NOT_SEEN = _way("not seen", (), "", "")
_CHOSEN = (KEXEC, _REBOOT, _POWER_OFF, _HALT, PANIC, _EMERGENCY)


@dataclass(frozen=True, slots=True)
class Down:
    """The way that a boot took: ``marks`` has the row of each milestone of it that was seen.

    ``recorded``: whether any milestone tells, and not only how the next kernel came up.
    """

    way: Way
    marks: Mapping[str, int]
    recorded: bool

    @property
    def left(self) -> bool:
        """Whether the last function of the way was seen."""
        return self.recorded and not self.way.ends.isdisjoint(self.marks)

    @property
    def last(self) -> str:
        """The last milestone that was seen; '' without any."""
        along = [name for name, _ in self.way.along if name in self.marks]
        return max(along, key=lambda name: self.marks[name], default="")


def _last(marked: _Marks, names: Sequence[str] | frozenset[str]) -> int:
    """The last row that one of the milestones marks; -1 without any."""
    return max((int(rows[-1]) for name in names for rows in marked.get(name, ())), default=-1)


def _by_starter(starter: StartedBy, otherwise: Way) -> Way:
    ways = {"crash kernel": PANIC, "kexec": KEXEC, "boot loader": _REBOOT}
    return ways.get(starter.kind, otherwise)


def _begun(marked: _Marks, given_up: int, starter: StartedBy) -> Way | None:
    """The way that the record itself tells of; None where it tells of none."""
    since = {way: _last(marked, way.own) for way in _CHOSEN}
    since = {way: row for way, row in since.items() if row > (-1 if way is PANIC else given_up)}
    if since:
        way = max(since, key=lambda way: since[way])
        return PANIC if way is _EMERGENCY and PANIC in since else way
    if _last(marked, ["machine_kexec"]) > given_up:
        return PANIC if starter.kind == "crash kernel" else KEXEC
    if _last(marked, ["machine_emergency_restart"]) > given_up:
        return _EMERGENCY
    called = [w for w in _CHOSEN[:4] if _last(marked, [w.begin]) > given_up]
    if len(called) == 1:
        return called[0]
    if called or _last(marked, [name for name, _ in _SHUTDOWN]) > given_up:
        return _by_starter(starter, SOME)
    return None


def _after_panic(marked: _Marks, starter: StartedBy) -> Way:
    """What followed a panic: a crash kernel, a restart, or nothing that is known."""
    if starter.kind == "crash kernel" or _last(marked, ["machine_crash_shutdown"]) >= 0:
        return PANIC
    restarted = _last(marked, ["emergency_restart", "machine_emergency_restart"])
    if restarted > _last(marked, ["panic"]) or starter.kind != "unknown":
        return _PANIC_RESTART
    return _PANIC_ALONE


def way_down(marked: _Marks, starter: StartedBy) -> Down:
    """Which way a boot went down; ``starter`` is how the next one came up."""
    given_up = _last(marked, ("reboot returned", "kernel_kexec returned"))
    way = _begun(marked, given_up, starter)
    recorded = way is not None
    if way is None:
        way = NOT_SEEN if starter.kind == "boot loader" else _by_starter(starter, NOT_SEEN)
    if way is PANIC:
        way = _after_panic(marked, starter)
    return Down(way, last_calls(marked, way.path), recorded)
