"""Task switches, wakeups and interrupts, made by hand."""

from __future__ import annotations

import struct

from tests.support.bpf_records import format_text

__all__ = ["SCHED_FILES", "interrupt", "interrupt_left", "switch", "waking"]

_SWITCH_ID, _WAKING_ID, _IRQ_ID, _IRQ_EXIT_ID = 81, 82, 83, 84
HARDIRQ = 0x08  # TRACE_FLAG_HARDIRQ, include/linux/trace_events.h

#: The formats of these, as files of a boot.
SCHED_FILES = {
    f"tracefs/events/{name}/format": format_text(name.partition("/")[2], number, fields, text)
    for name, number, fields, text in (
        ("sched/sched_switch", _SWITCH_ID,
         ["char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;",
          "pid_t prev_pid;\toffset:24;\tsize:4;\tsigned:1;",
          "long prev_state;\toffset:32;\tsize:8;\tsigned:1;",
          "char next_comm[16];\toffset:40;\tsize:16;\tsigned:0;",
          "pid_t next_pid;\toffset:56;\tsize:4;\tsigned:1;"],
         '"%d ==> %d", REC->prev_pid, REC->next_pid'),
        ("sched/sched_waking", _WAKING_ID,
         ["char comm[16];\toffset:8;\tsize:16;\tsigned:0;",
          "pid_t pid;\toffset:24;\tsize:4;\tsigned:1;"],
         '"comm=%s pid=%d", REC->comm, REC->pid'),
        ("irq/irq_handler_entry", _IRQ_ID,
         ["int irq;\toffset:8;\tsize:4;\tsigned:1;"], '"irq=%d", REC->irq'),
        ("irq/irq_handler_exit", _IRQ_EXIT_ID,
         ["int irq;\toffset:8;\tsize:4;\tsigned:1;"], '"irq=%d", REC->irq'),
    )
}  # fmt: skip


def _entry(number: int, pid: int, flags: int = 0) -> bytes:
    return struct.pack("<HBBi", number, flags, 0, pid)


def switch(prev: int, following: int, state: int = 0) -> bytes:
    """``sched_switch`` from a task to another; ``state`` as the kernel stores it, 0 is R."""
    names = (f"t{prev}".encode(), f"t{following}".encode())
    return _entry(_SWITCH_ID, prev) + struct.pack(
        "<16siiq16sii", names[0], prev, 0, state, names[1], following, 0
    )


def waking(pid: int, by: int, *, in_interrupt: bool = False) -> bytes:
    """``sched_waking`` of a task in the context of another, or of an interrupt there."""
    flags = HARDIRQ if in_interrupt else 0
    return _entry(_WAKING_ID, by, flags) + struct.pack("<16si", f"t{pid}".encode(), pid)


def interrupt(irq: int, pid: int = 0) -> bytes:
    """``irq_handler_entry``."""
    return _entry(_IRQ_ID, pid, HARDIRQ) + struct.pack("<i", irq)


def interrupt_left(irq: int, pid: int = 0) -> bytes:
    """``irq_handler_exit``."""
    return _entry(_IRQ_EXIT_ID, pid, HARDIRQ) + struct.pack("<i", irq)
