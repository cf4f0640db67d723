"""``tracekit recover --dump``: a dead kernel's memory into a session, as a boot of it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from tracekit.capture.recover.dead_kernel import DeadKernel, DumpTree, place_of, read_dead_kernel
from tracekit.capture.save.boot_files import Saving, kernel_facts, save_boot
from tracekit.capture.save.boots import boot_of, known_boots
from tracekit.carriers.dumps.dump_file import open_dump
from tracekit.carriers.dumps.kdump import Kdump
from tracekit.carriers.memory import PhysicalMemory
from tracekit.errors import Diagnostic, NothingToRecover, SourceError
from tracekit.frozen import dataclass
from tracekit.kmemory.arrays import TraceArray, TraceBuffer
from tracekit.kmemory.kernel import open_kernel
from tracekit.kmemory.memory import Memory
from tracekit.kmemory.ring import CpuRing
from tracekit.kmemory.tasks import Running
from tracekit.remarks import Progress, Remarks, no_progress
from tracekit.session import SessionWriter
from tracekit.session.files import dump_json

__all__ = ["DeadMemory", "DumpResult", "SavedArray", "read_dead", "recover_dump", "save_dead"]

_USER_DATA = 8  # makedumpfile's dump level
_NAMED = 16  # CPUs in a remark
_PANIC = re.compile(r"^\[ *([0-9.]+)\] Kernel panic - not syncing: (.{1,200})", re.M)  # vpanic()


@dataclass(frozen=True, slots=True)
class SavedArray:
    """A trace array in the session; ``events`` is what the kernel counted in it."""

    name: str
    clock: str
    events: int
    pages: int
    recording: bool


@dataclass(frozen=True, slots=True)
class DumpResult:
    """The dead kernel in the session."""

    session: Path
    boot: int
    release: str
    formats: int
    arrays: tuple[SavedArray, ...]
    running: tuple[Running, ...]
    panic_cpu: int | None
    diagnostics: tuple[Diagnostic, ...]


def _same_boot(kernel: Mapping[str, Any], boots: Mapping[int, Mapping[str, Any]]) -> int | None:
    """The session's boot that is this one: by boot id, else by what two boots hardly share."""
    index = boot_of(kernel, boots)
    if index is not None or kernel.get("boot_id"):
        return index
    keys = ("text_address", "version", "cmdline")
    wanted = [kernel.get(key) for key in keys]
    alike = (i for i, known in boots.items() if [known.get(key) for key in keys] == wanted)
    return next(alike, None) if all(wanted) else None


def _open(path: str) -> PhysicalMemory:
    try:
        stream = open(path, "rb")  # noqa: SIM115, PTH123 - the memory closes it
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error
    return open_dump(stream, path)


def _save_ring(
    saving: Saving, dead: DeadKernel, array: TraceArray, ring: CpuRing, file: str
) -> int:
    """Write one CPU's pages; returns how many there were."""
    count = ring.count(dead.kernel, array.layout)
    if not count:
        return 0
    rel = saving.rel(f"tracefs/{place_of(array)}per_cpu/cpu{ring.cpu}/{file}")
    written = 0
    with saving.writer.stream(rel, count * ring.subbuf_size) as sink:
        for page in islice(ring.data(dead.kernel, array.layout), count):
            sink.write(page)
            written += 1
        for _ in range(count - written):  # a kernel that lives has taken them back meanwhile
            sink.write(bytes(ring.subbuf_size))
    return written


def _save_buffer(
    saving: Saving, dead: DeadKernel, array: TraceArray, buffer: TraceBuffer | None, file: str
) -> int:
    if buffer is None:
        return 0
    return sum(_save_ring(saving, dead, array, ring, file) for ring in buffer.rings)


def _save_arrays(saving: Saving, dead: DeadKernel) -> list[SavedArray]:
    saved = []
    with saving.progress("saving trace buffers", len(dead.arrays)) as advance:
        for array in dead.arrays:
            pages = _save_buffer(saving, dead, array, array.buffer, "trace_pipe_raw")
            _save_buffer(saving, dead, array, array.snapshot, "snapshot_raw")
            advance(1)
            buffer = array.buffer
            left = sum(max(0, r.entries_left) for r in buffer.rings) if buffer else 0
            recording = buffer.recording if buffer else False
            saved.append(SavedArray(array.name, array.clock, left, pages, recording))
    return saved


def _crash(dead: DeadKernel, source: str) -> dict[str, Any]:
    """``crash.json``: the state at the end."""
    return {
        "dump": os.path.basename(source),  # noqa: PTH119 - a name, no path
        "release": dead.about.release,
        "panic_cpu": dead.panic_cpu,
        "crash_time_s": _number(dead.kernel.info.values.get("CRASHTIME")),
        "printk_offset_ns": dead.clocks.printk_offset_ns,
        "clock_source": dead.clocks.source or None,
        "running": [
            {"cpu": r.cpu, "pid": r.task.pid, "comm": r.task.comm} if r.task else {"cpu": r.cpu}
            for r in dead.running
        ],
    }


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < 16 else None


def _say_panic(saving: Saving, dead: DeadKernel) -> None:
    """Name the panic, as the last words of the log do, and who was on each CPU."""
    found = _PANIC.findall(dead.files.get("dmesg", b"").decode("utf-8", "backslashreplace"))
    if not found and dead.panic_cpu is None:
        return
    where = f"cpu {dead.panic_cpu}" if dead.panic_cpu is not None else "an unknown cpu"
    stamp, reason = found[-1] if found else ("", "the log does not say why")
    when = f", {stamp} s by its log" if stamp else ""
    tasks = ", ".join(
        f"cpu {r.cpu} {r.task.comm}-{r.task.pid}" for r in dead.running[:_NAMED] if r.task
    )
    saving.remarks.add(
        "panic", "info", "the kernel log",
        f"{where} panicked{when}: {reason}{f'; running then: {tasks}' if tasks else ''}",
    )  # fmt: skip


def _level(memory: PhysicalMemory) -> int | None:
    """The dump level of a compressed dump; an ELF core does not tell, unless a kernel makes it."""
    if memory.source.startswith("/proc/"):
        return 0
    return memory.level if isinstance(memory, Kdump) else None


def _remarks(saving: Saving, dead: DeadKernel, level: int | None) -> None:
    _say_panic(saving, dead)
    missing = dead.kernel.notes.diagnostics()
    for d in missing:
        saving.remarks.add(d.code, d.severity, d.where, d.message)
    if not any(d.code == "dump-incomplete" for d in missing):
        return
    if level is not None and not level & _USER_DATA:
        return
    made = f"it was written with dump level {level}, which" if level else "dump level 31"
    saving.remarks.add(
        "dump-level", "warning", "the dump",
        f"{made} takes pages of new kernels for user data and leaves them out: "
        "makedumpfile -d 23 does not",
    )  # fmt: skip


def recover_dump(
    path: str,
    session_path: str | os.PathLike[str],
    progress: Progress = no_progress,
) -> DumpResult:
    """Save the kernel whose memory the file ``path`` is into a session.

    Raises :class:`~tracekit.errors.SourceError` where no kernel can be read in it, and
    :class:`~tracekit.errors.NothingToRecover` where that kernel has no trace array.
    """
    with _open(path) as memory:
        return save_dead(read_dead(memory, path), path, session_path, progress, _level(memory))


class DeadMemory(Memory, Protocol):
    """A dead kernel's memory, with the notes that came with it."""

    @property
    def vmcoreinfo(self) -> bytes:
        """The note of this name, b'' without one."""
        ...

    @property
    def current_pids(self) -> tuple[int, ...]:
        """The task that each CPU had when a panic stopped it, where that was noted."""
        ...


def read_dead(memory: DeadMemory, source: str) -> DeadKernel:
    """The kernel in a memory, of which ``source`` is the name. Raises as :func:`recover_dump`."""
    dead = read_dead_kernel(open_kernel(memory, memory.vmcoreinfo), memory.current_pids)
    if not dead.arrays:
        missing = "; ".join(d.message for d in dead.kernel.notes.diagnostics())
        raise NothingToRecover(
            f"{source}: kernel {dead.about.release} has no trace array that can be read: "
            f"{missing or 'it was built without tracing'}"
        )
    return dead


def save_dead(
    dead: DeadKernel,
    source: str,
    session_path: str | os.PathLike[str],
    progress: Progress = no_progress,
    level: int | None = 0,
) -> DumpResult:
    """Save a dead kernel into a session.

    ``level``: that with which makedumpfile wrote the dump; None where that is not known. 0 is all
    of the memory.
    """
    tree = DumpTree(source, dead.files)
    with SessionWriter.open(session_path) as writer:
        remarks = Remarks()
        kernel, at_hand = kernel_facts(tree, remarks)
        kernel |= {"release": dead.about.release, "machine": dead.about.machine,
                   "page_size": dead.about.page_size}  # fmt: skip
        boots = known_boots(writer)
        index = _same_boot(kernel, boots)
        boot = max(boots, default=-1) + 1 if index is None else index
        remarks.where = f"boot {boot}"
        saving = Saving(tree, writer, boot, remarks, progress, at_hand)
        arrays = _save_arrays(saving, dead)
        formats = save_boot(saving, kernel)
        writer.write(saving.rel("crash.json"), dump_json(_crash(dead, source)))
        _remarks(saving, dead, level)
        writer.set_diagnostics(boot, remarks.diagnostics)
        writer.finish("recovered")
        return DumpResult(
            writer.path, boot, dead.about.release, formats, tuple(arrays), dead.running,
            dead.panic_cpu, tuple(remarks.diagnostics),
        )  # fmt: skip
