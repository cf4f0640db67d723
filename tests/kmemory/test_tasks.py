"""Names of tasks."""

from __future__ import annotations

import struct

from tests.support.memory.dead_kernels import with_memory, words
from tracekit.kmemory.tasks import (
    Task,
    live_tasks,
    panic_cpu,
    running_tasks,
    saved_cmdlines,
    saved_tgids,
)


def test_the_table_of_names(dead) -> None:
    lines = [f"{pid} {name}" for pid, name in saved_cmdlines(dead.kernel)]
    assert lines == dead.text("saved_cmdlines").splitlines()
    assert saved_tgids(dead.kernel) == []


def test_the_tasks_that_lived(dead) -> None:
    tasks = {task.pid: task for task in live_tasks(dead.kernel)}
    assert tasks[2] == Task(2, 2, "kthreadd")
    assert 1 in tasks
    assert len(tasks) > 40
    assert 0 not in tasks  # idle tasks are in no list


def test_the_cpu_that_panicked(dead) -> None:
    assert panic_cpu(dead.kernel) == 0


def test_who_ran_on_each_cpu(lab) -> None:
    """Per-CPU memory is not in the cut dump: it is put where there is some."""
    kernel = lab.kernel
    physical = kernel.memory.physical
    memory = lab.memory.copy()
    task = next(live_tasks(kernel))
    init = kernel.at("init_task", "task_struct")
    tasks = kernel.memory.u64(init.at("tasks"))
    address = tasks - kernel.place("task_struct", "tasks").offset
    spare = kernel.pointer("savedcmd") & -4096
    queues = kernel.symbol("runqueues")
    memory.poke(physical(kernel.symbol("__per_cpu_offset")), words(spare - queues, 0x10 - queues))
    offset = kernel.place("rq", "curr").offset
    memory.poke(physical(spare) + offset, words(address))
    first, second = running_tasks(other := with_memory(kernel, memory))
    assert (first.cpu, first.task) == (0, task)
    assert (second.cpu, second.task) == (1, None)
    assert other.notes.count("CPUs' current tasks") == 1


def test_a_circle_of_tasks_ends(lab) -> None:
    kernel = lab.kernel
    physical = kernel.memory.physical
    init = kernel.at("init_task", "task_struct")
    first = kernel.memory.u64(init.at("tasks"))
    second = kernel.memory.u64(first)
    memory = lab.memory.copy()
    memory.poke(physical(second), words(first))
    assert len(list(live_tasks(other := with_memory(kernel, memory)))) > 40  # from the other end
    assert other.notes.count("tasks") == 1


def test_a_table_of_no_size(lab) -> None:
    kernel = lab.kernel
    table = kernel.struct("saved_cmdlines_buffer", kernel.pointer("savedcmd"))
    memory = lab.memory.copy()
    physical = kernel.memory.physical(table.at("cmdline_num"))
    memory.poke(physical, struct.pack("<I", 0xFFFFFFFF))
    assert saved_cmdlines(with_memory(kernel, memory)) == []
