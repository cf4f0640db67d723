"""Milestones of the ways down: which events mark the entry or return of which kernel function.

The paths are those of ``kernel_kexec()`` (kernel/kexec_core.c), ``kernel_restart()`` and its kin
(kernel/reboot.c), ``vpanic()`` (kernel/panic.c) and what they call. A function is seen
through a BPF probe, a kprobe or fprobe event on it, the function tracers, or (for system calls) a
syscall event. The names that people give to their probes do not matter: ``kprobe_events`` says
which function a probe is on. A panic is also seen by what the kernel prints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tracekit.analysis.kprobe_events import kprobes
from tracekit.frozen import dataclass
from tracekit.ftrace.columns import Payloads, as_numpy, fixed_size, intern, typed_column
from tracekit.probes.records import KINDS, RETURN
from tracekit.timeline.boot import Boot
from tracekit.timeline.events import Events
from tracekit.timeline.rows import different
from tracekit.timeline.saved.bpf_format import PROBE_ID

__all__ = ["PANICKED", "find_marks", "last_calls", "milestone_functions"]


@dataclass(frozen=True, slots=True)
class _Milestone:
    """What marks a point of a path: the entry of a function (or return), or an event.

    ``argument`` is (name, values): an event with such an argument counts only with one of them.
    ``text`` is (event, argument, what its text begins with).
    """

    name: str
    functions: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    returns: bool = False
    argument: tuple[str, tuple[int, ...]] | None = None
    text: tuple[str, str, str] | None = None


_LOAD = (
    "__x64_sys_kexec_file_load", "__arm64_sys_kexec_file_load", "__do_sys_kexec_file_load",
    "__x64_sys_kexec_load", "__arm64_sys_kexec_load",
)  # fmt: skip
_REBOOT = ("__x64_sys_reboot", "__arm64_sys_reboot", "__do_sys_reboot")
PANICKED = "Kernel panic - not syncing"  #: what vpanic() (kernel/panic.c) prints before its reason


def _reboot(name: str, *commands: int) -> _Milestone:
    """The reboot(2) call for a way; systemd-shutdown calls it for other things before."""
    return _Milestone(name, _REBOOT, ("syscalls:sys_enter_reboot",), argument=("cmd", commands))


_MILESTONES = (
    _Milestone(
        "load",
        _LOAD,
        ("syscalls:sys_enter_kexec_file_load", "syscalls:sys_enter_kexec_load"),
    ),
    _Milestone(
        "loaded",
        _LOAD,
        ("syscalls:sys_exit_kexec_file_load", "syscalls:sys_exit_kexec_load"),
        returns=True,
    ),
    # the commands: include/uapi/linux/reboot.h
    _reboot("reboot", 0x45584543),  # LINUX_REBOOT_CMD_KEXEC
    _reboot("reboot for restart", 0x01234567, 0xA1B2C3D4),
    _reboot("reboot for power off", 0x4321FEDC),
    _reboot("reboot for halt", 0xCDEF0123),
    _Milestone("reboot returned", _REBOOT, ("syscalls:sys_exit_reboot",), returns=True),
    _Milestone("kernel_kexec", ("kernel_kexec",)),
    _Milestone("kernel_kexec returned", ("kernel_kexec",), returns=True),
    _Milestone("kernel_restart", ("kernel_restart",)),
    _Milestone("kernel_power_off", ("kernel_power_off",)),
    _Milestone("kernel_halt", ("kernel_halt",)),
    _Milestone("liveupdate_reboot", ("liveupdate_reboot",)),
    _Milestone("kernel_restart_prepare", ("kernel_restart_prepare", "kernel_shutdown_prepare")),
    _Milestone("device_shutdown", ("device_shutdown",)),
    _Milestone("device_shutdown done", ("device_shutdown",), returns=True),
    _Milestone("migrate_to_reboot_cpu", ("migrate_to_reboot_cpu",)),
    _Milestone("syscore_shutdown", ("syscore_shutdown",)),
    _Milestone("machine_shutdown", ("native_machine_shutdown", "machine_shutdown")),
    _Milestone("machine_kexec", ("machine_kexec",)),
    _Milestone("machine_restart", ("native_machine_restart", "machine_restart")),
    _Milestone("machine_power_off", ("native_machine_power_off", "machine_power_off")),
    _Milestone("machine_halt", ("native_machine_halt", "machine_halt")),
    _Milestone("emergency_restart", ("emergency_restart",)),
    _Milestone(
        "machine_emergency_restart",
        ("native_machine_emergency_restart", "machine_emergency_restart"),
    ),
    _Milestone("panic", ("panic", "vpanic"), text=("printk:console", "msg", PANICKED)),
    _Milestone("crash_kexec", ("__crash_kexec",)),
    _Milestone(
        "machine_crash_shutdown", ("native_machine_crash_shutdown", "machine_crash_shutdown")
    ),
)


def milestone_functions() -> frozenset[str]:
    """The kernel functions that mark a milestone, at their entry or return."""
    return frozenset(function for m in _MILESTONES for function in m.functions)


def _traced_functions(
    events: Events, boot: Boot, wanted: frozenset[str]
) -> Mapping[tuple[str, bool], np.ndarray]:
    """(function, at its return) -> rows of the function tracers' events on it."""
    traced: dict[tuple[str, bool], np.ndarray] = {}
    rows = events.rows
    tracers = {
        "ftrace:function": ("ip", False),
        "ftrace:funcgraph_entry": ("func", False),
        "ftrace:funcgraph_exit": ("func", True),
    }
    for code in events.codes(boot.index, *tracers):
        fmt = boot.format(events.kinds[code].id)
        if fmt is None:
            continue
        name, returns = tracers[fmt.full_name]
        field = fmt.field(name)
        if field is None:
            continue
        mine = rows.of_kinds(boot.index, (code,))
        for number in different(rows.buffer[mine]):
            in_buffer = mine[rows.buffer[mine] == number]
            data = events.buffers[number].data
            address = typed_column(
                Payloads(data, rows.offset[in_buffer], rows.length[in_buffer]), field
            )
            known = as_numpy(address)  # 0, where no function is, of what was cut off
            codes, firsts = intern(fixed_size(known), 0)
            for i, ip in enumerate(known[firsts].tolist()):
                symbol = boot.context.symbols.lookup(ip)
                # fentry sites lie a few bytes into the function (endbr, patchable entries)
                if symbol is not None and symbol.name in wanted:
                    key = (symbol.name, returns)
                    hits = in_buffer[codes == i]
                    traced[key] = np.sort(np.concatenate([traced.get(key, hits[:0]), hits]))
    return traced


def _probe_ids(m: _Milestone) -> frozenset[int]:
    """The ids of the BPF probes on the milestone's functions."""
    end = PROBE_ID | (RETURN if m.returns else 0)
    return frozenset(
        end | kind.id for kind in KINDS.values() if not {*kind.functions}.isdisjoint(m.functions)
    )


def _with_argument(
    events: Events, boot: Boot, code: int, argument: tuple[str, tuple[int, ...]] | None
) -> np.ndarray:
    """The rows of an event, without those whose argument has another value."""
    rows = events.rows
    candidates = rows.of_kinds(boot.index, (code,))
    fmt = boot.format(events.kinds[code].id)
    field = fmt.field(argument[0]) if fmt and argument else None
    if field is None or argument is None:
        return candidates
    fitting = []
    for number in different(rows.buffer[candidates]):
        mine = candidates[rows.buffer[candidates] == number]
        payloads = Payloads(events.buffers[number].data, rows.offset[mine], rows.length[mine])
        values = typed_column(payloads, field).to_pylist()
        fitting += [
            row
            for row, v in zip(mine.tolist(), values, strict=True)
            if not isinstance(v, int) or v & 0xFFFFFFFF in argument[1]
        ]
    return np.array(sorted(fitting), np.int64)


def _with_text(events: Events, boot: Boot, text: tuple[str, str, str]) -> np.ndarray:
    """The rows of an event whose argument begins with a text."""
    event, argument, begin = text
    rows = events.rows.of_kinds(boot.index, events.codes(boot.index, event))
    found = [rows[:0]]
    for part, values in events.values(rows, argument):
        fits = [isinstance(v, str) and v.startswith(begin) for v in values.to_pylist()]
        found.append(rows[part][np.array(fits, bool)])
    return np.sort(np.concatenate(found))


def find_marks(events: Events, boot: Boot) -> dict[str, list[np.ndarray]]:
    """Milestone -> for each source that marks it (an event, a tracer) its rows, in order.

    A milestone that nothing marks is absent.
    """
    wanted = frozenset(f for m in _MILESTONES for f in m.functions)
    probes = [(e, f, r) for e, f, r in kprobes(boot) if f in wanted]
    traced = _traced_functions(events, boot, wanted)
    marked: dict[str, list[np.ndarray]] = {}
    mine = [(i, k) for i, k in enumerate(events.kinds) if k.boot == boot.index]
    for m in _MILESTONES:
        named = {*m.events, *(e for e, f, r in probes if f in m.functions and r == m.returns)}
        ids = _probe_ids(m)
        codes = [i for i, k in mine if k.id in ids or (k.id < PROBE_ID and k.name in named)]
        sources = [_with_argument(events, boot, code, m.argument) for code in codes]
        sources += [hits for (f, r), hits in traced.items() if f in m.functions and r == m.returns]
        sources += [_with_text(events, boot, m.text)] if m.text else []
        if sources := [hits for hits in sources if len(hits)]:
            marked[m.name] = sources
    return marked


def _first_of_call(last: Sequence[int], others: np.ndarray) -> int:
    """The first of the rows with which several sources mark the same call.

    ``last`` has the last row of each source; a row with another milestone after it belongs to an
    earlier call.
    """
    newest = max(last)
    behind = np.searchsorted(others, newest)
    return min(row for row in last if np.searchsorted(others, row) == behind)


def last_calls(marked: Mapping[str, Sequence[np.ndarray]], path: Sequence[str]) -> dict[str, int]:
    """The row of each milestone of ``path`` (in order): of the last call of each on that way."""
    on_path = {name: sources for name, sources in marked.items() if name in path}
    picked: dict[str, int] = {}
    limit = None
    for name in reversed(path):
        sources = [r[r <= limit] if limit is not None else r for r in on_path.get(name, ())]
        last = [int(rows[-1]) for rows in sources if len(rows)]
        if last:
            others = [r for other, rs in on_path.items() if other != name for r in rs]
            merged = np.sort(np.concatenate(others)) if others else np.empty(0, np.int64)
            picked[name] = limit = _first_of_call(last, merged)
    return picked
