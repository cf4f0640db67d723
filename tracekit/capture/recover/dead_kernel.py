"""A dead kernel as a tree of files: what its ``/proc`` and tracefs would have shown.

So it is saved into a session by what saves a running kernel.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from tracekit.errors import SourceError
from tracekit.frozen import dataclass
from tracekit.kmemory.arrays import TraceArray, TraceBuffer, trace_arrays
from tracekit.kmemory.dynamic import dynamic_events
from tracekit.kmemory.formats import event_formats, header_page
from tracekit.kmemory.kernel import Kernel
from tracekit.kmemory.log import dmesg, log_records
from tracekit.kmemory.machine import About, about, iomem
from tracekit.kmemory.modules import (
    bpf_symbols,
    module_symbols,
    module_types,
    modules,
    modules_text,
)
from tracekit.kmemory.ring import CpuRing
from tracekit.kmemory.strings import printk_formats
from tracekit.kmemory.tasks import (
    Running,
    Task,
    live_tasks,
    panic_cpu,
    running_tasks,
    saved_cmdlines,
    saved_tgids,
)
from tracekit.kmemory.timekeeping import Clocks, read_clocks
from tracekit.session import safe_name
from tracekit.sysroot import TRACEFS, Sysroot

__all__ = ["DeadKernel", "DumpTree", "read_dead_kernel"]

_TRACEFS = TRACEFS[0]
_BTF = "sys/kernel/btf"
_SAMPLES = 11  # of each clock, over a second
_SECOND_NS = 10**9
_NT_GNU_BUILD_ID = 3


class DumpTree(Sysroot):
    """Files that are in memory, each made when it is first read."""

    __slots__ = ("_files", "_folders")

    def __init__(self, source: str, files: Mapping[str, bytes]) -> None:
        """``source`` names the dump in messages."""
        self.path = Path(source)
        self._files = files
        self._folders: dict[str, set[str]] = {}
        for rel in files:
            folder = rel
            while folder:
                folder, _, name = folder.rpartition("/")
                self._folders.setdefault(folder, set()).add(name)

    @property
    def live(self) -> bool:
        """It is not."""
        return False

    def where(self, rel: str) -> str:
        """``rel`` as messages name it."""
        return f"{self.path}: {rel}"

    def get(self, rel: str, limit: int | None = None) -> bytes | None:
        """The file, or None; there is no limit to what is in memory already."""
        return self._files.get(rel)

    def exists(self, rel: str) -> bool:
        """Whether there is a file or a directory of this name."""
        return rel in self._files or rel in self._folders

    def names(self, rel: str) -> list[str]:
        """The names in a directory."""
        return sorted(self._folders.get("" if rel == "." else rel, ()))

    def link(self, rel: str) -> str:
        """There are no links."""
        return ""

    def open_binary(self, rel: str) -> BinaryIO | None:
        """The file, or None."""
        data = self._files.get(rel)
        return None if data is None else io.BytesIO(data)

    def open_memory(self, rel: str) -> BinaryIO | None:
        """No device of memory: what is in the dump has been read."""
        return None


@dataclass(frozen=True, slots=True)
class DeadKernel:
    """What was found: the files, and the arrays, whose pages are still in memory."""

    kernel: Kernel
    files: Mapping[str, bytes]
    about: About
    arrays: tuple[TraceArray, ...]
    clocks: Clocks
    running: tuple[Running, ...]
    panic_cpu: int | None


def _lines(pairs: Iterator[tuple[object, ...]] | list[tuple[int, str]]) -> bytes:
    return "".join(f"{' '.join(map(str, pair))}\n" for pair in pairs).encode()


def _names(kernel: Kernel) -> bytes:
    """``saved_cmdlines``, and behind it the tasks that live and are not in it."""
    saved: list[tuple[int, str]] = []
    _try(kernel, "saved names of tasks", lambda: saved.extend(saved_cmdlines(kernel)))
    known = {pid for pid, name in saved if name != "<...>"}
    saved = [entry for entry in saved if entry[0] in known]
    _try(
        kernel,
        "tasks",
        lambda: saved.extend((t.pid, t.comm) for t in live_tasks(kernel) if t.pid not in known),
    )
    return _lines([(pid, name.replace("\n", "\\n")) for pid, name in saved])


def _try(kernel: Kernel, what: str, read: Callable[[], object]) -> None:
    """Read something; where it cannot be read at all, that is noted."""
    try:
        read()
    except SourceError as error:
        kernel.notes.missing(what, "all of it", error)


def _symbols(kernel: Kernel) -> tuple[bytes, bytes]:
    """(``kallsyms``, ``modules``)."""
    loaded = []
    _try(kernel, "modules", lambda: loaded.extend(modules(kernel)))
    parts = [
        f"{s.address:016x} {s.type} {s.name}\t[{module}]\n"
        for module, s in module_symbols(kernel, loaded)
    ]

    def bpf() -> None:
        parts.extend(f"{s.address:016x} {s.type} {s.name}\t[bpf]\n" for s in bpf_symbols(kernel))

    _try(kernel, "BPF symbols", bpf)
    return kernel.symbols.kallsyms() + "".join(parts).encode(), modules_text(loaded).encode()


def _notes(build_id: str | None) -> bytes:
    """``/sys/kernel/notes`` with the build id."""
    try:
        data = bytes.fromhex(build_id or "")
    except ValueError:
        return b""
    return struct.pack("<III4s", 4, len(data), _NT_GNU_BUILD_ID, b"GNU") + data if data else b""


def _samples(clocks: Clocks) -> bytes:
    """``clocks.json``: what each clock would have read from the last update of timekeeping on.

    The lines hold from then on, so these are samples as exact as there are.
    """
    start = clocks.cycle_last
    line = clocks.lines.get("mono") or clocks.lines.get("local")
    if start is None or line is None:
        return b""
    second = (_SECOND_NS << line.shift) // line.mult
    counts = [start + second * i // (_SAMPLES - 1) for i in range(_SAMPLES)]
    samples = [
        {"clock": name, "tsc_before": tsc, "ns": ns, "tsc_after": tsc}
        for name, each in sorted(clocks.lines.items())
        for tsc in counts
        if tsc >= 0 and (ns := each.ns(tsc)) >= 0
    ]
    return json.dumps({"samples": samples}).encode()


def _stats(ring: CpuRing, clock: str) -> bytes:
    """``per_cpu/cpuN/stats``; "now" is the time of the last event that was written."""
    c, stamp = ring.counters, ring.counters["write_stamp"]
    if clock in ("x86-tsc", "counter", "uptime"):
        now = f"now ts: {stamp}"
    else:
        now = f"now ts: {stamp // _SECOND_NS:5d}.{stamp % _SECOND_NS // 1000:06d}"
    return (
        f"entries: {max(0, ring.entries_left)}\noverrun: {c['overrun']}\n"
        f"commit overrun: {c['commit_overrun']}\nbytes: {c['entries_bytes'] - c['read_bytes']}\n"
        f"{now}\ndropped events: {c['dropped_events']}\nread events: {c['read']}\n"
    ).encode()


def _array_files(array: TraceArray) -> Iterator[tuple[str, bytes]]:
    """(name below the array's directory, content)."""
    clocks = array.clocks or ((array.clock,) if array.clock else ())
    chosen = " ".join(f"[{name}]" if name == array.clock else name for name in clocks)
    if chosen:
        yield "trace_clock", f"{chosen}\n".encode()
    if array.tracer:
        yield "current_tracer", f"{array.tracer}\n".encode()
    if array.options:
        yield "trace_options", "".join(f"{line}\n" for line in array.options).encode()
    buffer: TraceBuffer | None = array.buffer
    if buffer is None:
        return
    yield "buffer_subbuf_size_kb", f"{buffer.subbuf_size >> 10}\n".encode()
    yield "tracing_on", f"{buffer.recording:d}\n".encode()
    for ring in buffer.rings:
        yield f"per_cpu/cpu{ring.cpu}/stats", _stats(ring, array.clock)


def place_of(array: TraceArray) -> str:
    """The array's directory below tracefs."""
    return f"instances/{safe_name(array.name)}/" if array.name else ""


def _tracing(kernel: Kernel, arrays: tuple[TraceArray, ...], files: dict[str, bytes]) -> None:
    """Fill in tracefs."""

    def formats() -> None:
        for event in event_formats(kernel):
            system, name = safe_name(event.system), safe_name(event.name)
            files[f"{_TRACEFS}/events/{system}/{name}/format"] = event.text.encode()

    _try(kernel, "event formats", formats)
    for array in arrays:
        for name, data in _array_files(array):
            files[f"{_TRACEFS}/{place_of(array)}{name}"] = data
        if not array.name and array.buffer is not None:
            text = header_page(array.layout, array.buffer.subbuf_size)
            files[f"{_TRACEFS}/events/header_page"] = text.encode()
    files[f"{_TRACEFS}/saved_cmdlines"] = _names(kernel)

    def strings() -> None:
        files[f"{_TRACEFS}/printk_formats"] = printk_formats(kernel).encode()
        if tgids := saved_tgids(kernel):
            files[f"{_TRACEFS}/saved_tgids"] = _lines(iter(tgids))

    def dynamic() -> None:
        files[f"{_TRACEFS}/dynamic_events"] = "".join(dynamic_events(kernel)).encode()

    def types() -> None:
        for name, data in module_types(kernel):
            files[f"{_BTF}/{safe_name(name)}"] = data

    _try(kernel, "printk formats", strings)
    _try(kernel, "modules' types", types)
    _try(kernel, "dynamic events", dynamic)


def _said(known: About, cpus: int | None) -> Iterator[tuple[str, str]]:
    """What the kernel says of itself, in its files."""
    if known.version:
        yield "proc/version", f"{known.version}\n"
    if known.cmdline is not None:
        yield "proc/cmdline", f"{known.cmdline}\n"
    if known.boot_id:
        yield "proc/sys/kernel/random/boot_id", f"{known.boot_id}\n"
    if cpus:
        yield "proc/stat", "".join(f"cpu{number} 0\n" for number in range(cpus))


def _panic_cpu(kernel: Kernel) -> int | None:
    try:
        return panic_cpu(kernel)
    except SourceError:
        return None


def _by_pid(kernel: Kernel, running: list[Running], pids: tuple[int, ...]) -> tuple[Running, ...]:
    """Each CPU's task: as its runqueue has it, else as it noted itself when it stopped."""
    known = kernel.info.crashed and len(pids) == len(running)
    if not known or all(r.task for r in running):
        return tuple(running)
    tasks = {task.pid: task for task in live_tasks(kernel)}
    idle = {cpu: Task(0, 0, f"swapper/{cpu}") for cpu in range(len(pids))}
    return tuple(
        r if r.task else Running(r.cpu, tasks.get(pid) or (None if pid else idle[r.cpu]))
        for r, pid in zip(running, pids, strict=True)
    )


def read_dead_kernel(kernel: Kernel, pids: tuple[int, ...] = ()) -> DeadKernel:
    """Everything but the pages of the buffers; ``kernel.notes`` says what was not there.

    ``pids``: the task that each CPU noted when it stopped, in order of CPUs.
    """
    arrays: list[TraceArray] = []
    _try(kernel, "trace arrays", lambda: arrays.extend(trace_arrays(kernel)))
    files: dict[str, bytes] = {}
    _tracing(kernel, tuple(arrays), files)
    known = about(kernel)
    had = [len(a.buffer.rings) for a in arrays if a.buffer is not None]
    files.update(
        (rel, text.encode()) for rel, text in _said(known, known.cpus or max(had, default=None))
    )
    files["proc/kallsyms"], files["proc/modules"] = _symbols(kernel)
    files["sys/kernel/notes"] = _notes(known.build_id)
    files[f"{_BTF}/vmlinux"] = kernel.types.data

    def log() -> None:
        files["dmesg"] = dmesg(log_records(kernel)).encode()

    def memory() -> None:
        files["proc/iomem"] = iomem(kernel).encode()

    _try(kernel, "the kernel log", log)
    _try(kernel, "the memory map", memory)
    clocks = Clocks("", None)
    running: list[Running] = []
    try:
        clocks = read_clocks(kernel)
        running = list(_by_pid(kernel, running_tasks(kernel), pids))
    except SourceError as error:
        kernel.notes.missing("CPUs", "all of them", error)
    files["clocks.json"] = _samples(clocks)
    present = {rel: data for rel, data in files.items() if data or rel == "proc/modules"}
    return DeadKernel(
        kernel, present, known, tuple(arrays), clocks, tuple(running),
        _panic_cpu(kernel),
    )  # fmt: skip
