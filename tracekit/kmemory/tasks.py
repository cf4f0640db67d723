"""Names of tasks: the table that tracing kept, all that live, and who ran on each CPU last."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from tracekit.errors import SourceError
from tracekit.frozen import dataclass
from tracekit.kmemory.kernel import Kernel, NoMember, Struct
from tracekit.kmemory.lists import entries

__all__ = ["Running", "Task", "live_tasks", "panic_cpu", "running_tasks", "saved_cmdlines",
           "saved_tgids"]  # fmt: skip

_MAX_TASKS = 1 << 18
_MAX_SAVED = 1 << 22  # PID_MAX_LIMIT
_MAX_PID = 1 << 22
_UNUSED = (0, 0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class Task:
    """A thread; ``tgid`` is its process."""

    pid: int
    tgid: int
    comm: str


@dataclass(frozen=True, slots=True)
class Running:
    """Who a CPU had as its current task; None where that cannot be read."""

    cpu: int
    task: Task | None


def saved_cmdlines(kernel: Kernel) -> list[tuple[int, str]]:
    """The table behind ``saved_cmdlines``, in its order.

    ``struct saved_cmdlines_buffer`` (kernel/trace/trace_sched_switch.c): a ring of names, each of a
    pid, and for the low bits of each pid the place of its name.
    """
    address = kernel.pointer("savedcmd")
    if not address:
        return []
    table = kernel.struct("saved_cmdlines_buffer", address)
    count = table["cmdline_num"]
    if not 0 < count <= _MAX_SAVED:
        return []
    memory = kernel.memory
    place = kernel.place("saved_cmdlines_buffer", "map_pid_to_cmdline")
    entry = kernel.types.entry(place.type) if place else None
    if entry is None or not entry[1]:
        raise NoMember("map_pid_to_cmdline of struct saved_cmdlines_buffer is no array")
    mask = (1 << entry[1].bit_length() - 1) - 1  # the array has a power of two, and one more
    slots, names = table.at("map_pid_to_cmdline"), table.start_of("saved_cmdlines")
    pids = struct.unpack(f"<{count}I", memory.read(table.start_of("map_cmdline_to_pid"), 4 * count))
    found = []
    for pid in pids:
        if pid in _UNUSED:
            continue
        try:
            slot = memory.u32(slots + 4 * (pid & mask))
            known = slot < count and pids[slot] == pid
            # "<...>" is what the kernel prints of one that it has forgotten
            found.append((pid, memory.text(names + 16 * slot, 16) if known else "<...>"))
        except SourceError as error:
            kernel.notes.missing("saved names of tasks", f"pid {pid}", error)
    return found


def saved_tgids(kernel: Kernel) -> list[tuple[int, int]]:
    """(pid, tgid) that tracing noted; none where the option ``record-tgid`` never was on."""
    if kernel.symbols.find("tgid_map") is None or not (address := kernel.pointer("tgid_map")):
        return []
    last = kernel.memory.u64(kernel.symbol("tgid_map_max"))
    if not 0 < last <= _MAX_PID:
        return []
    found = []
    for first in range(0, last + 1, 1024):
        count = min(1024, last + 1 - first)
        tgids = struct.unpack(f"<{count}I", kernel.memory.read(address + 4 * first, 4 * count))
        found += [(first + i, tgid) for i, tgid in enumerate(tgids) if tgid]
    return found


def _task(task: Struct) -> Task:
    return Task(task["pid"], task["tgid"], task.text("comm"))


def live_tasks(kernel: Kernel) -> Iterator[Task]:
    """Every thread of every process, the idle ones excepted. What cannot be read is noted."""
    init = kernel.at("init_task", "task_struct")
    for leader in entries(kernel, init.at("tasks"), "task_struct", "tasks", "tasks"):
        try:
            signal = leader.follow("signal")
            head = signal.at("thread_head") if signal else None
        except NoMember:
            raise
        except SourceError as error:
            kernel.notes.missing("tasks", f"{leader.address:#x}", error)
            continue
        threads = [leader]
        if head is not None:
            link = "thread_node"
            threads = list(entries(kernel, head, "task_struct", link, "threads", limit=_MAX_TASKS))
        for thread in threads:
            try:
                yield _task(thread)
            except SourceError as error:
                kernel.notes.missing("tasks", f"{thread.address:#x}", error)


def running_tasks(kernel: Kernel) -> list[Running]:
    """The current task of each CPU that is possible: ``rq->curr``."""
    found = []
    for cpu in range(kernel.cpu_count):
        task = None
        try:
            queue = kernel.struct("rq", kernel.per_cpu("runqueues", cpu))
            current = queue.follow("curr")
            task = _task(current) if current else None
        except SourceError as error:
            kernel.notes.missing("CPUs' current tasks", f"cpu {cpu}", error)
        found.append(Running(cpu, task))
    return found


def panic_cpu(kernel: Kernel) -> int | None:
    """The CPU that panicked; None where none did, or the kernel does not say.

    ``panic_cpu`` (kernel/panic.c), else x86's ``crashing_cpu``; both are -1 until then.
    """
    for symbol in ("panic_cpu", "crashing_cpu"):
        address = kernel.symbols.find(symbol)
        if address is None:
            continue
        try:
            cpu = kernel.memory.s32(address)
        except SourceError as error:
            kernel.notes.missing("variables", symbol, error)
            continue
        if 0 <= cpu < kernel.cpu_count:
            return cpu
    return None
