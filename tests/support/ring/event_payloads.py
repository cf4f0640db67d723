"""Event payloads and the ``format`` text that describes each, for tests of the decoder.

The common header is kernel/trace/trace_events.c's; the built-in events are those of
kernel/trace/trace_entries.h; ``__data_loc`` and ``__rel_loc`` words are ``length << 16 | offset``
(include/trace/stages/stage1_struct_define.h), the offset from the record's start, or from the end
of the word itself for ``__rel_loc``.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

__all__ = [
    "FORMATS",
    "IDS",
    "data_loc_string",
    "dynamic_u64",
    "funcgraph_entry",
    "funcgraph_exit",
    "function",
    "header",
    "rel_loc_string",
    "sched_switch",
]

IDS = {
    "ftrace:function": 1,
    "ftrace:funcgraph_exit": 10,
    "ftrace:funcgraph_entry": 11,
    "test:switch": 300,
    "test:data_loc": 301,
    "test:rel_loc": 302,
    "test:dynamic": 303,
}

_FIELDS = {
    "ftrace:function": (
        ("unsigned long ip", 8, 8, 0),
        ("unsigned long parent_ip", 16, 8, 0),
        ("unsigned long args[]", 24, 0, 0),
    ),
    "ftrace:funcgraph_exit": (
        ("unsigned long func", 8, 8, 0),
        ("unsigned int depth", 16, 4, 0),
        ("unsigned int overrun", 20, 4, 0),
        ("unsigned long long calltime", 24, 8, 0),
        ("unsigned long long rettime", 32, 8, 0),
    ),
    "ftrace:funcgraph_entry": (
        ("unsigned long func", 8, 8, 0),
        ("unsigned long depth", 16, 8, 0),
        ("unsigned long args[]", 24, 0, 0),
    ),
    "test:switch": (
        ("char prev_comm[16]", 8, 16, 0),
        ("pid_t prev_pid", 24, 4, 1),
        ("int prev_prio", 28, 4, 1),
        ("long prev_state", 32, 8, 1),
        ("char next_comm[16]", 40, 16, 0),
        ("pid_t next_pid", 56, 4, 1),
        ("int next_prio", 60, 4, 1),
    ),
    "test:data_loc": (("int number", 8, 4, 1), ("__data_loc char[] text", 12, 4, 0)),
    "test:rel_loc": (("int number", 8, 4, 1), ("__rel_loc char[] text", 12, 4, 0)),
    "test:dynamic": (("u32 count", 8, 4, 0), ("__data_loc u64[] values", 12, 4, 0)),
}

_PRINT = {
    "ftrace:function": '" %ps <-- %ps", (void *)REC->ip, (void *)REC->parent_ip',
    "ftrace:funcgraph_exit": '"<-- %ps (%u) (start: %llx  end: %llx) over: %u", '
    "(void *)REC->func, REC->depth, REC->calltime, REC->rettime, REC->depth",
    "ftrace:funcgraph_entry": '"--> %ps (%lu)", (void *)REC->func, REC->depth',
    "test:switch": '"%s:%d [%d] ==> %s:%d", REC->prev_comm, REC->prev_pid, REC->prev_prio, '
    "REC->next_comm, REC->next_pid",
    "test:data_loc": '"%d %s", REC->number, __get_str(text)',
    "test:rel_loc": '"%d %s", REC->number, __get_rel_str(text)',
    "test:dynamic": '"%u %s", REC->count, __print_array(__get_dynamic_array(values), '
    "__get_dynamic_array_len(values) / 8, 8)",
}

_COMMON = (
    ("unsigned short common_type", 0, 2, 0),
    ("unsigned char common_flags", 2, 1, 0),
    ("unsigned char common_preempt_count", 3, 1, 0),
    ("int common_pid", 4, 4, 1),
)


def _format(name: str) -> str:
    def lines(fields: Sequence[tuple[str, int, int, int]]) -> str:
        return "".join(
            f"\tfield:{text};\toffset:{offset};\tsize:{size};\tsigned:{signed};\n"
            for text, offset, size, signed in fields
        )

    return (
        f"name: {name.split(':')[1]}\nID: {IDS[name]}\nformat:\n"
        f"{lines(_COMMON)}\n{lines(_FIELDS[name])}\nprint fmt: {_PRINT[name]}\n"
    )


FORMATS = {name: _format(name) for name in IDS}
"""``system:name`` -> the text of its ``format`` file."""


def header(name: str, pid: int = 1, flags: int = 0, preempt: int = 0) -> bytes:
    """struct trace_entry (include/linux/trace_events.h)."""
    return struct.pack("<HBBi", IDS[name], flags, preempt, pid)


def function(ip: int, parent_ip: int, args: Sequence[int] = (), pid: int = 1) -> bytes:
    """ftrace:function."""
    return header("ftrace:function", pid) + struct.pack(f"<{2 + len(args)}Q", ip, parent_ip, *args)


def funcgraph_entry(func: int, depth: int, args: Sequence[int] = (), pid: int = 1) -> bytes:
    """ftrace:funcgraph_entry."""
    head = header("ftrace:funcgraph_entry", pid)
    return head + struct.pack(f"<{2 + len(args)}Q", func, depth, *args)


def funcgraph_exit(func: int, depth: int, calltime: int, rettime: int, pid: int = 1) -> bytes:
    """ftrace:funcgraph_exit, with an overrun of 0."""
    head = header("ftrace:funcgraph_exit", pid)
    return head + struct.pack("<QIIQQ", func, depth, 0, calltime, rettime)


def sched_switch(
    prev_comm: bytes, prev_pid: int, next_comm: bytes, next_pid: int, prev_state: int = 0
) -> bytes:
    """test:switch, fields as sched:sched_switch has them."""
    body = struct.pack(
        "<16siiq16sii", prev_comm, prev_pid, 120, prev_state, next_comm, next_pid, 120
    )
    return header("test:switch", prev_pid) + body


def data_loc_string(number: int, text: bytes, pid: int = 1) -> bytes:
    """test:data_loc: a string at the record's end."""
    word = (len(text) + 1) << 16 | 16
    return header("test:data_loc", pid) + struct.pack("<iI", number, word) + text + b"\0"


def rel_loc_string(number: int, text: bytes, pid: int = 1) -> bytes:
    """test:rel_loc: the same, its offset counted from the end of the word."""
    word = (len(text) + 1) << 16 | 0
    return header("test:rel_loc", pid) + struct.pack("<iI", number, word) + text + b"\0"


def dynamic_u64(values: Sequence[int], pid: int = 1) -> bytes:
    """test:dynamic: an array of u64 of any length."""
    word = 8 * len(values) << 16 | 16
    return (
        header("test:dynamic", pid)
        + struct.pack("<II", len(values), word)
        + struct.pack(f"<{len(values)}Q", *values)
    )
