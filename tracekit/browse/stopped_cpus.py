"""When a kernel's CPUs were stopped, from the events that say so.

- The functions with which a kernel that is left stops all CPUs but the one they run on:
  ``native_stop_other_cpus()`` (arch/x86/kernel/smp.c), ``smp_send_stop()`` (arch/arm64/kernel/
  smp.c), ``smp_shutdown_nonboot_cpus()`` (kernel/cpu.c), as BPF probes or kprobes mark them.
- ``takedown_cpu()`` (kernel/cpu.c), the step of taking a CPU offline after which it is dead, in
  ``cpuhp:cpuhp_enter`` and ``cpuhp:cpuhp_exit``.
- What the kernel logs then: ``CPU 1 is now offline`` (x86), ``CPU1 killed`` (arm64).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.analysis.kprobe_events import kprobes
from tracekit.analysis.stretches import Stretch
from tracekit.frozen import dataclass
from tracekit.probes.records import KINDS, RETURN
from tracekit.query.groups import Index
from tracekit.query.selection import among
from tracekit.recording import Recording
from tracekit.timeline.boot import Boot
from tracekit.timeline.saved.bpf_format import PROBE_ID

__all__ = ["stops_of"]

_Array = npt.NDArray[Any]
_STOP_OTHERS = next(kind for kind in KINDS.values() if kind.event == "kexec:stop_other_cpus")
_TAKEDOWN = "takedown_cpu"
_ENTER, _EXIT = "cpuhp:cpuhp_enter", "cpuhp:cpuhp_exit"
_LOGGED = re.compile(r"(?:^|: )CPU ?([0-9]{1,5}) ?(?:is now offline|killed|: shutdown)")
_MOST = 1 << 14  # log lines, or steps of taking CPUs on- and offline, that are looked at


@dataclass(frozen=True, slots=True)
class _Stop:
    """``cpu`` still ran at ``row`` and did not any more at ``done``; either may not be known."""

    cpu: int
    row: int | None
    done: int | None
    note: str


def stops_of(
    recording: Recording, index: Index, boot: Boot, cpus: Sequence[int], end_ns: int
) -> dict[int, list[Stretch]]:
    """For each CPU of a boot, when it was stopped; up to its next event, or ``end_ns``.

    ``stopping`` where it was being stopped, ``stopped`` from where it is known to be.
    """
    made: dict[int, list[Stretch]] = {}
    for stop in _stops(recording, index, boot, cpus):
        mine = index.cpus.of(stop.cpu)
        mine = mine[recording.rows.boot[mine] == boot.index]
        made.setdefault(stop.cpu, []).extend(_stretches(recording, mine, stop, end_ns))
    return made


def _stretches(recording: Recording, mine: _Array, stop: _Stop, end_ns: int) -> Iterator[Stretch]:
    """``mine``: the rows of the CPU in this boot."""
    ts = recording.axis.ts_ns
    place = int(among(mine, stop.done)) if stop.done is not None else len(mine)
    known = [int(ts[row]) for row in (stop.row, *mine[:place][-1:].tolist()) if row is not None]
    after = int(ts[mine[place]]) if place < len(mine) else end_ns
    done = int(ts[stop.done]) if stop.done is not None else after
    yield Stretch(max(known, default=done), done, "stopping", f"being stopped: {stop.note}")
    yield Stretch(done, after, "stopped", stop.note)


def _stops(recording: Recording, index: Index, boot: Boot, cpus: Sequence[int]) -> Iterator[_Stop]:
    yield from _logged(recording, index, boot)
    yield from _taken_down(recording, index, boot)
    begins, ends = (_calls(recording, index, boot, returns) for returns in (False, True))
    if len(begins) or len(ends):
        done = int(ends[-1]) if len(ends) else None
        begin = begins[begins < done] if done is not None else begins
        row = int(begin[-1]) if len(begin) else None
        by = int(recording.rows.cpu[row if row is not None else done])
        note = f"CPU {by} stopped all others"
        yield from (_Stop(cpu, row, done, note) for cpu in cpus if cpu != by)


def _rows(recording: Recording, index: Index, boot: Boot, names: Sequence[str]) -> _Array:
    """The rows of a boot's events of these names, ascending."""
    codes = [code for code, name in enumerate(recording.event_names) if name in names]
    rows = np.sort(np.concatenate([index.cpus.order[:0], *map(index.events.rows, codes)]))
    mine: _Array = rows[recording.rows.boot[rows] == boot.index]
    return mine


def _calls(recording: Recording, index: Index, boot: Boot, returns: bool) -> _Array:
    """The rows at which a function that stops the other CPUs began, or returned."""
    wanted = PROBE_ID | _STOP_OTHERS.id | (RETURN if returns else 0)
    names = [kind.name for kind in recording.kinds if kind.id == wanted]
    names += [e for e, f, r in kprobes(boot) if f in _STOP_OTHERS.functions and r == returns]
    return _rows(recording, index, boot, names)


def _logged(recording: Recording, index: Index, boot: Boot) -> Iterator[_Stop]:
    rows = _rows(recording, index, boot, ["printk:console"])[-_MOST:]
    for row, values in zip(rows.tolist(), _fields(recording, rows), strict=True):
        found = _LOGGED.search(str(values.get("msg") or "").strip())
        if found is not None:
            yield _Stop(int(found[1]), None, row, "the kernel logged that it is offline")


def _taken_down(recording: Recording, index: Index, boot: Boot) -> Iterator[_Stop]:
    rows = _rows(recording, index, boot, [_ENTER, _EXIT])[-_MOST:]
    codes, note = recording.name_codes(rows).tolist(), "it was taken offline"
    began: dict[tuple[int, int], int] = {}
    for row, code, values in zip(rows.tolist(), codes, _fields(recording, rows), strict=True):
        step = _number(values, "cpu"), _number(values, "idx")
        if recording.event_names[code] == _ENTER:
            symbol = boot.context.symbols.lookup(_number(values, "fun"))
            if symbol is not None and symbol.name == _TAKEDOWN:
                began[step] = row
        elif step in began:
            begin = began.pop(step)
            if _number(values, "ret") == 0:
                yield _Stop(step[0], begin, row, note)
    yield from (_Stop(cpu, row, None, note) for (cpu, _), row in began.items())


def _fields(recording: Recording, rows: _Array) -> list[dict[str, Any]]:
    return recording.fields(rows) if len(rows) else []


def _number(values: Mapping[str, Any], name: str) -> int:
    value = values.get(name)
    return value if isinstance(value, int) else -1
