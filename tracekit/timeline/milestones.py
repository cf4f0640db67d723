"""The instants of a kexec that events mark: which event stands for which kernel function.

The path is that of ``kernel_kexec()`` (kernel/kexec_core.c) and what it calls. A function is seen
through a kprobe or fprobe event on it, the function tracers, or (for system calls) a syscall
event. Nothing is tied to names that people give to their probes: ``kprobe_events`` says which
function a probe sits on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tracekit.ftrace.columns import Payloads, as_numpy, typed_column
from tracekit.timeline.boot import Boot
from tracekit.timeline.recording import Recording

__all__ = ["OLD_KERNEL", "Milestone", "find_milestones"]

_PROBE = re.compile(r"^(?P<kind>[pfr])\d*(?::(?P<name>\S+))?\s+(?P<function>[^\s+%]+)(?P<rest>\S*)")


@dataclass(frozen=True, slots=True)
class Milestone:
    """How a point of the path is seen: functions entered, or events that happen."""

    name: str
    functions: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    returns: bool = False


#: The way out of the old kernel, in order.
OLD_KERNEL = (
    Milestone(
        "load",
        ("__x64_sys_kexec_file_load", "__arm64_sys_kexec_file_load", "__do_sys_kexec_file_load"),
        ("syscalls:sys_enter_kexec_file_load", "syscalls:sys_enter_kexec_load"),
    ),
    Milestone(
        "loaded",
        ("__x64_sys_kexec_file_load", "__arm64_sys_kexec_file_load", "__do_sys_kexec_file_load"),
        ("syscalls:sys_exit_kexec_file_load", "syscalls:sys_exit_kexec_load"),
        returns=True,
    ),
    Milestone(
        "reboot",
        ("__x64_sys_reboot", "__arm64_sys_reboot", "__do_sys_reboot"),
        ("syscalls:sys_enter_reboot",),
    ),
    Milestone("kernel_kexec", ("kernel_kexec",)),
    Milestone("liveupdate_reboot", ("liveupdate_reboot",)),
    Milestone("kernel_restart_prepare", ("kernel_restart_prepare",)),
    Milestone("device_shutdown", ("device_shutdown",)),
    Milestone("device_shutdown done", ("device_shutdown",), returns=True),
    Milestone("migrate_to_reboot_cpu", ("migrate_to_reboot_cpu",)),
    Milestone("syscore_shutdown", ("syscore_shutdown",)),
    Milestone("machine_shutdown", ("native_machine_shutdown", "machine_shutdown")),
    Milestone("machine_kexec", ("machine_kexec",)),
)


def _probes(boot: Boot) -> Iterator[tuple[str, str, bool]]:
    """(event, function, at its return) of every kprobe and fprobe event of the boot."""
    for rel in ("kprobe_events", "dynamic_events"):
        for line in boot.text(f"tracefs/{rel}").splitlines():
            m = _PROBE.match(line.strip())
            if m is None:
                continue
            group, _, event = (m["name"] or f"kprobes/{m['function']}").rpartition("/")
            returns = m["kind"] == "r" or "%return" in m["rest"]
            at_entry = m["rest"].removeprefix("%return") in ("", "+0", "+0x0")
            if returns or at_entry:
                yield f"{group or 'kprobes'}:{event}", m["function"].rpartition(":")[2], returns


def _traced_functions(
    recording: Recording, boot: Boot, wanted: frozenset[str]
) -> Mapping[tuple[str, bool], np.ndarray]:
    """(function, at its return) -> rows of the function tracers' events on it."""
    found: dict[tuple[str, bool], np.ndarray] = {}
    rows = recording.rows
    tracers = {
        "ftrace:function": ("ip", False),
        "ftrace:funcgraph_entry": ("func", False),
        "ftrace:funcgraph_exit": ("func", True),
    }
    for code, kind in enumerate(recording.kinds):
        fmt = boot.format(kind.id) if kind.boot == boot.index else None
        if fmt is None or fmt.full_name not in tracers:
            continue
        name, returns = tracers[fmt.full_name]
        field = fmt.field(name)
        if field is None:
            continue
        mine = np.flatnonzero(rows.kind == code)
        for number in np.unique(rows.buffer[mine]).tolist():
            at = mine[rows.buffer[mine] == number]
            data = recording.buffers[number].data
            address = typed_column(Payloads(data, rows.offset[at], rows.length[at]), field)
            coded = address.dictionary_encode()
            codes = as_numpy(coded.indices, null=-1)
            for i, ip in enumerate(coded.dictionary.to_pylist()):
                symbol = boot.context.symbols.lookup(ip) if ip is not None else None
                # fentry sites lie a few bytes into the function (endbr, patchable entries)
                if symbol is not None and symbol.name in wanted:
                    key = (symbol.name, returns)
                    hits = at[codes == i]
                    found[key] = np.sort(np.concatenate([found.get(key, hits[:0]), hits]))
    return found


def find_milestones(
    recording: Recording, boot: Boot, milestones: Sequence[Milestone]
) -> dict[str, list[np.ndarray]]:
    """Milestone -> for each source that marks it (an event, a tracer) its rows, in order.

    Absent where nothing marks it.
    """
    rows = recording.rows
    wanted = frozenset(f for m in milestones for f in m.functions)
    probes = [(e, f, r) for e, f, r in _probes(boot) if f in wanted]
    traced = _traced_functions(recording, boot, wanted)
    found: dict[str, list[np.ndarray]] = {}
    for m in milestones:
        events = {*m.events, *(e for e, f, r in probes if f in m.functions and r == m.returns)}
        codes = [
            i for i, k in enumerate(recording.kinds) if k.boot == boot.index and k.name in events
        ]
        hits = [np.flatnonzero(rows.kind == code) for code in codes]
        hits += [at for (f, r), at in traced.items() if f in m.functions and r == m.returns]
        if hits := [at for at in hits if len(at)]:
            found[m.name] = hits
    return found
