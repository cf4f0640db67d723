"""Sessions of events that are written down one by one, as the kernel's formats have them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

from tests.support.bpf_records import BootFiles, format_text, region, write_session
from tests.support.ring.region_writer import TEXT_ADDR

US = 1000
#: Functions of the kernel, by name.
CODE = {
    name: TEXT_ADDR + 0x1000 * n for n, name in enumerate(("outer", "middle", "leaf", "irq"), 1)
}
_KALLSYMS = "".join(
    f"{address:x} T {name}\n"
    for name, address in {"_stext": TEXT_ADDR, **CODE, "_etext": TEXT_ADDR + 0x9000}.items()
)
_U64 = ("u64", "Q", 8)
_S32 = ("int", "i", 4)
_STATES = '{0x01, "S"}, {0x02, "D"}, {0x04, "T"}, {0x10, "X"}, {0x20, "Z"}, {0x80, "I"}'
_SWITCH = (
    '"prev_pid=%d prev_state=%s%s ==> next_pid=%d", REC->prev_pid, (REC->prev_state & 0xff) ?'
    f' __print_flags(REC->prev_state & 0xff, "|", {_STATES}) : "R",'
    ' REC->prev_state & 0x100 ? "+" : "", REC->next_pid'
)
#: event -> (its arguments: name, C type; what is printed of it)
_EVENTS: dict[str, tuple[tuple[tuple[str, tuple[str, str, int]], ...], str]] = {
    "ftrace/funcgraph_entry": ((("func", _U64), ("depth", _U64)), '"%llu", REC->func'),
    "ftrace/funcgraph_exit": (
        (("func", _U64), ("depth", _U64), ("calltime", _U64), ("rettime", _U64)),
        '"%llu", REC->func',
    ),
    "ftrace/kernel_stack": ((("size", _U64), ("caller[8]", ("unsigned long", "8Q", 64))), '"x"'),
    "irq/irq_handler_entry": ((("irq", _U64), ("name", _U64)), '"irq=%llu", REC->irq'),
    "irq/irq_handler_exit": ((("irq", _U64), ("ret", _U64)), '"irq=%llu", REC->irq'),
    "irq/softirq_raise": ((("vec", _U64),), '"vec=%llu [action=TIMER]", REC->vec'),
    "irq/softirq_entry": ((("vec", _U64),), '"vec=%llu [action=TIMER]", REC->vec'),
    "irq/softirq_exit": ((("vec", _U64),), '"vec=%llu [action=TIMER]", REC->vec'),
    "syscalls/sys_enter_write": ((("__syscall_nr", _U64),), '"fd"'),
    "syscalls/sys_exit_write": ((("__syscall_nr", _U64), ("ret", _U64)), '"ret"'),
    "syscalls/sys_enter_read": ((("__syscall_nr", _U64),), '"fd"'),
    "syscalls/sys_exit_read": ((("__syscall_nr", _U64), ("ret", _U64)), '"ret"'),
    "raw_syscalls/sys_enter": ((("id", _U64),), '"NR %llu", REC->id'),
    "raw_syscalls/sys_exit": ((("id", _U64),), '"NR %llu", REC->id'),
    "block/block_rq_issue": ((("dev", _U64), ("sector", _U64)), '"8,0 W"'),
    "block/block_rq_complete": ((("dev", _U64), ("sector", _U64)), '"8,0 W"'),
    "power/cpu_frequency": ((("state", _U64), ("cpu_id", _U64)), '"state=%llu", REC->state'),
    "sched/sched_switch": (
        (("prev_pid", _S32), ("prev_state", _S32), ("next_pid", _S32)), _SWITCH,
    ),
    "sched/sched_waking": ((("pid", _S32), ("target_cpu", _S32)), '"pid=%d", REC->pid'),
    "sched/sched_wakeup": ((("pid", _S32), ("target_cpu", _S32)), '"pid=%d", REC->pid'),
    "sched/sched_process_exit": ((("pid", _S32),), '"pid=%d", REC->pid'),
}  # fmt: skip
_IDS = {name: 600 + number for number, name in enumerate(_EVENTS)}
HARDIRQ, SOFTIRQ = 0x08, 0x10


def _format(name: str) -> str:
    fields, offset = [], 8
    for label, (c_type, _, size) in _EVENTS[name][0]:
        signed = int(c_type == "int")
        fields.append(f"{c_type} {label};\toffset:{offset};\tsize:{size};\tsigned:{signed};")
        offset += size
    return format_text(name.partition("/")[2], _IDS[name], fields, _EVENTS[name][1])


def at(us: int, event: str, *values: int, pid: int = 7, flags: int = 0) -> tuple[int, bytes]:
    """One event of task ``pid``, so many µs after the first there can be; missing values are 0."""
    kinds = [code for _, (_, code, _) in _EVENTS[event][0]]
    total = sum(int(code[:-1] or 1) for code in kinds)
    head = struct.pack("<HBBi", _IDS[event], flags, 0, pid)
    body = struct.pack("<" + "".join(kinds), *[*values, *[0] * total][:total])
    return 1_000_000 + us * US, head + body + bytes(-len(body) % 4)


def graph(
    us: int, name: str, depth: int, took: int | None = None, pid: int = 7
) -> tuple[int, bytes]:
    """A call of the function graph; ``took`` (µs): its return."""
    if took is None:
        return at(us, "ftrace/funcgraph_entry", CODE[name], depth, pid=pid)
    values = (CODE[name], depth, 5_000_000, 5_000_000 + took * US)
    return at(us, "ftrace/funcgraph_exit", *values, pid=pid)


def switch(us: int, prev: int, state: int, come: int) -> tuple[int, bytes]:
    """A task switch, in the task that leaves."""
    return at(us, "sched/sched_switch", prev, state, come, pid=prev)


def made(path: Path, *cpus: Sequence[tuple[int, bytes]], enabled: str = "") -> Path:
    """A session of one boot with these events on each CPU; ``enabled``: its ``set_event``."""
    files: dict[str, str | bytes] = {
        f"tracefs/events/{name}/format": _format(name) for name in _EVENTS
    }
    files |= {"kallsyms": _KALLSYMS, "tracefs/instances/tk/set_event": enabled}
    return write_session(path, [BootFiles(region(*cpus), files=files)])
