"""A session as one Perfetto trace: both kernels on one clock, each as a machine of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from tracekit._native import perfetto
from tracekit.export.perfetto.chosen import Chosen
from tracekit.export.perfetto.programs import Kind, Programs
from tracekit.export.perfetto.tracks import tracks_of, write_tracks
from tracekit.export.perfetto.wire import message, number, packet, text
from tracekit.export.targets import opened_target
from tracekit.frozen import dataclass
from tracekit.ftrace.columns import Payloads, typed_column
from tracekit.ftrace.format import Field
from tracekit.recording import Recording
from tracekit.report.make import BootReport, Report
from tracekit.spill import release
from tracekit.timeline.filter import Filter
from tracekit.timeline.rows import different
from tracekit.timeline.when.wall_clock import wall_clocks

__all__ = ["Written", "write_perfetto"]

_Array = npt.NDArray[Any]
_BATCH = 1 << 14  # events of a bundle
_SECOND = 10**9
_SEQUENCE = 1  # trusted_packet_sequence_id of the kernels' packets
_BOOTTIME = 6  # BUILTIN_CLOCK_BOOTTIME, what traces count in
_REALTIME = 1  # BUILTIN_CLOCK_REALTIME
_START, _END = 1, 2  # FtraceStats.Phase
_SWITCH = "sched:sched_switch"
_PRINT = "ftrace:print"
#: What Perfetto draws slices and counters of; it takes any other text of print for an error.
_ATRACE = re.compile(r"[BCEFGHIN](\||$)")
#: What is open when its begin is the last of a CPU, and the event that ends it with its fields.
_PAIRS = (
    ("irq:irq_handler_entry", "irq:irq_handler_exit", "irq", 37, 1),
    ("irq:softirq_entry", "irq:softirq_exit", "vec", 25, 1),
)
_OPEN = frozenset((_SWITCH, *(event for pair in _PAIRS for event in pair[:2])))


@dataclass(frozen=True, slots=True)
class Written:
    """How many events of the session are in the file, and how many were added where it jumps."""

    events: int
    added: int


def write_perfetto(
    recording: Recording, target: Path, wanted: Filter, advance: Callable[[int], None]
) -> Written:
    """Write the trace; ``.gz`` compresses it, which Perfetto reads as it is.

    ``advance`` is called with the number of further events. The filter's ``grep`` is looked at in
    the rendered arguments, which takes as long as rendering them.
    """
    kinds = [n for n, kind in enumerate(recording.kinds) if kind.name in _OPEN]
    chosen = Chosen(recording, wanted, kinds)
    report = recording.report()
    tracks = tracks_of(recording, report)
    first = min([chosen.first_ns, *(one.start for track in tracks for one in track.slices)])
    base = -(first // _SECOND) * _SECOND if first < 0 else 0  # the jump is at a whole second

    def stamp(ns: int) -> int:
        return ns + base

    with opened_target(target, "perfetto") as out:
        out.write(_clock_snapshot(recording, stamp(first), base))
        for boot in report.boots:
            out.write(_system(recording, boot))
            out.write(_stats(boot, _START))
        written = _Kernels(recording, report, chosen, base, out, advance).write()
        for boot in report.boots:
            out.write(_stats(boot, _END))
        for part in write_tracks(tracks, stamp):
            out.write(part)
    return written


def _clock_snapshot(recording: Recording, now: int, base: int) -> bytes:
    """The axis, as boot time; beside it the time of day, by the first kernel that tells it.

    Each kernel has a wall clock of its own: a trace has one.
    """
    clocks = [message(1, number(1, _BOOTTIME), number(2, now))]
    walls = wall_clocks(recording.axis, recording.boots)
    if walls:
        real = now - base + walls[min(walls)].offset_ns
        clocks.append(message(1, number(1, _REALTIME), number(2, max(0, real))))
    snapshot = message(6, *clocks, number(2, _BOOTTIME))
    return packet(number(8, now), number(10, _SEQUENCE), snapshot)


def _machine(boot: int) -> bytes:
    """Machine 0 is the host, and is not written."""
    return number(98, boot) if boot else b""


def _system(recording: Recording, boot: BootReport) -> bytes:
    kernel = recording.boot(boot.index)
    names = [text(1, "Linux"), text(3, boot.release), text(2, str(kernel.kernel.get("version")))]
    if machine := kernel.kernel.get("machine"):
        names.append(text(4, str(machine)))
    info = [message(1, *names), number(8, kernel.cpus), text(17, f"boot {boot.index}")]
    if page := kernel.kernel.get("page_size"):
        info.append(number(6, int(page)))
    return packet(number(10, _SEQUENCE), _machine(boot.index), message(45, *info))


def _stats(boot: BootReport, phase: int) -> bytes:
    """What each CPU lost, as the kernel's counters would be before and after."""
    cpus = []
    for cpu in boot.cpus:
        lost = (cpu.lost or 0) if phase == _END else 0
        cpus.append(message(2, number(1, cpu.cpu), number(2, cpu.events), number(3, lost)))
    return packet(number(10, _SEQUENCE), _machine(boot.index), message(34, number(1, phase), *cpus))


class _Kernels:
    """The events of all boots, a bundle after the other."""

    def __init__(
        self,
        recording: Recording,
        report: Report,
        chosen: Chosen,
        base: int,
        out: BinaryIO,
        advance: Callable[[int], None],
    ) -> None:
        self._recording, self._chosen, self._base = recording, chosen, base
        self._out, self._advance = out, advance
        self._last = report.boots[-1].index if report.boots else 0
        self._lost = {
            (boot.index, cpu.cpu) for boot in report.boots for cpu in boot.cpus if cpu.lost != 0
        }
        names = [kind.name for kind in recording.kinds]
        short = {name: name.partition(":")[2] for name in names}
        twice = {s for s in short.values() if list(dict(short).values()).count(s) > 1}
        self._kinds = [
            Kind(
                kind.boot, kind.id, kind.name,
                kind.name if short[kind.name] in twice else short[kind.name],
                recording.boot(kind.boot).format(kind.id),
            )
            for kind in recording.kinds
        ]  # fmt: skip
        self._plain = {n for n, kind in enumerate(self._kinds) if kind.full_name == _PRINT}
        # the same kinds once more, none of them with a message of its own
        self._programs = Programs.of([*self._kinds, *(k._replace(own=False) for k in self._kinds)])
        self._packed = self._programs.packed()

    def write(self) -> Written:
        """All events that are wanted, then what ends the slices of a kernel that is gone."""
        for rows in self._chosen.groups(_BATCH):
            self._bundle(rows)
            release()
        return Written(len(self._chosen), sum(self._ends()))

    def _bundle(self, at: _Array) -> None:
        """The events of one CPU of one buffer."""
        some = self._recording.rows.take(at)
        boot, cpu, buffer = int(some.boot[0]), int(some.cpu[0]), int(some.buffer[0])
        payloads = Payloads(self._recording.buffers[buffer].data, some.offset, some.length)
        stamps = (self._recording.axis.ts_ns[at] + self._base).astype(np.uint64)
        kinds = self._told_apart(some.kind, payloads)
        events = perfetto.events(
            (payloads.data, _flat(payloads.offsets), _flat(payloads.lengths)),
            (_flat(stamps), _flat(some.pid), _flat(kinds)),
            self._packed,
            self._texts(at, kinds, payloads),
        )
        self._put(boot, cpu, events, (boot, cpu) in self._lost)
        self._lost.discard((boot, cpu))
        self._advance(len(at))

    def _told_apart(self, kinds: _Array, payloads: Payloads) -> _Array:
        """The kinds, where a marker that is plain text is a generic event."""
        made = kinds
        for kind in self._plain & set(different(kinds)):
            part = np.flatnonzero(kinds == kind)
            fmt = self._kinds[kind].format
            buf = fmt.field("buf") if fmt else None
            if buf is None:
                continue
            texts = typed_column(payloads.take(part), buf).to_pylist()
            plain = [_ATRACE.match(text_ or "") is None for text_ in texts]
            made = made.copy()
            made[part[plain]] += len(self._kinds)
        return made

    def _put(self, boot: int, cpu: int, events: bytes, lost: bool) -> None:
        bundle = message(1, number(1, cpu), events, number(3, 1) if lost else b"")
        self._out.write(packet(number(10, _SEQUENCE), _machine(boot), bundle))

    def _texts(
        self, at: _Array, kinds: _Array, payloads: Payloads
    ) -> tuple[tuple[_Array, bytes], ...]:
        """The columns of texts that the programs of these rows' kinds ask for."""
        asked = {k: t for k, t in self._programs.texts.items() if (kinds == k).any()}
        every = max((len(t) for t in self._programs.texts.values()), default=0)
        columns = []
        for column in range(every):
            texts: dict[int, bytes] = {}
            for kind, fields in asked.items():
                if column >= len(fields):
                    continue
                part = np.flatnonzero(kinds == kind)
                values = self._values(fields[column], at[part], payloads.take(part))
                encoded = (value.encode("utf-8", "backslashreplace") for value in values)
                texts.update(zip(part.tolist(), encoded, strict=True))
            columns.append(_packed(len(at), texts))
        return tuple(columns)

    def _values(self, one: Field | None, at: _Array, payloads: Payloads) -> list[str]:
        if one is None:
            rendered: list[str] = self._recording.table(at)["args"].to_pylist()
            return rendered
        return [_as_text(value) for value in typed_column(payloads, one).to_pylist()]

    # -- what ends at the jump --------------------------------------------------------------------

    def _ends(self) -> Iterator[int]:
        """Add, for each boot but the last and each CPU, what ends a slice; how many each time."""
        last_of: dict[int, dict[int, int]] = {}
        for (boot, cpu, kind), row in self._chosen.last.items():
            if kind < 0 and boot != self._last:
                last_of.setdefault(boot, {})[cpu] = row
        for boot, of in sorted(last_of.items()):
            now = int(self._recording.axis.ts_ns[max(of.values())]) + self._base
            for cpu in sorted(of):
                events = [*self._open_calls(boot, cpu), *self._running(boot, cpu)]
                made = [message(2, number(1, now), number(2, pid), body) for pid, body in events]
                if made:
                    self._put(boot, cpu, b"".join(made), False)
                    yield len(made)

    def _latest(self, boot: int, cpu: int, name: str) -> int:
        """The last row of an event, -1 if there is none."""
        kinds = [n for n, k in enumerate(self._kinds) if k.boot == boot and k.full_name == name]
        return max((self._chosen.last.get((boot, cpu, kind), -1) for kind in kinds), default=-1)

    def _open_calls(self, boot: int, cpu: int) -> Iterator[tuple[int, bytes]]:
        for begin, end, name, tag, member in _PAIRS:
            last = self._latest(boot, cpu, begin)
            if last > self._latest(boot, cpu, end):
                (fields,) = self._recording.fields(np.array([last]))
                pid = int(self._recording.rows.pid[last])
                yield pid, message(tag, number(member, int(fields.get(name) or 0)))

    def _running(self, boot: int, cpu: int) -> Iterator[tuple[int, bytes]]:
        """A switch to the idle task, where another one runs."""
        last = self._latest(boot, cpu, _SWITCH)
        if last < 0:
            return
        (fields,) = self._recording.fields(np.array([last]))
        pid = int(fields.get("next_pid") or 0)
        if pid:
            comm = text(1, str(fields.get("next_comm"))), text(5, "swapper")
            prio = number(3, int(fields.get("next_prio") or 0)), number(7, 120)
            yield pid, message(4, comm[0], number(2, pid), prio[0], comm[1], number(6, 0), prio[1])


def _flat(column: _Array) -> _Array:
    return np.ascontiguousarray(column)


def _packed(rows: int, texts: dict[int, bytes]) -> tuple[_Array, bytes]:
    """(where each row's text begins, and the last ends; the texts), most rows having none."""
    ends = np.zeros(rows + 1, np.int64)
    if texts:
        ordered = sorted(texts)
        ends[np.array(ordered) + 1] = [len(texts[row]) for row in ordered]
        return np.cumsum(ends), b"".join(texts[row] for row in ordered)
    return ends, b""


def _as_text(value: object) -> str:
    """An argument that is neither number nor string."""
    if value is None:
        return ""
    return value.hex() if isinstance(value, bytes) else str(value)
