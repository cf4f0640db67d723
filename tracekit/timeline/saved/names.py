"""The names of one boot: tasks and format strings, the newest first, then earlier ones."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["names_of_tasks", "parse_comms", "parse_printk_formats"]

_PID = re.compile(r"[0-9]{1,9}")
_PRINTK = re.compile(r'^(0x[0-9a-f]+) : "(.*)"$', re.M | re.S)
_ESCAPES = {r"\n": "\n", r"\t": "\t", r"\"": '"'}  # all that t_show() escapes
_FORGOTTEN = ("<...>", "<XXX>")  # __trace_find_cmdline(), kernel/trace/trace_sched_switch.c


def parse_comms(text: str) -> dict[int, str]:
    """``saved_cmdlines``: ``PID COMM`` on each line (``saved_cmdlines_show()``)."""
    comms = {}
    for line in text.splitlines():
        pid, _, comm = line.partition(" ")
        if _PID.fullmatch(pid) and comm and comm not in _FORGOTTEN:
            comms[int(pid)] = comm
    return comms


def names_of_tasks(layers: Iterable[str]) -> dict[int, tuple[str, ...]]:
    """Pid -> every name that ``saved_cmdlines`` gave it, the newest first.

    ``layers`` are texts of that file, the newest first.
    """
    names: dict[int, dict[str, None]] = {}
    for layer in layers:
        for pid, comm in parse_comms(layer).items():
            names.setdefault(pid, {})[comm] = None
    return {pid: tuple(of_pid) for pid, of_pid in names.items()}


def parse_printk_formats(text: str) -> dict[int, str]:
    """``printk_formats``: ``0xADDRESS : "STRING"`` lines (``t_show()`` in trace_printk.c)."""
    formats = {}
    for line in text.splitlines():
        if (m := _PRINTK.match(line)) is not None:
            formats[int(m[1], 16)] = re.sub(r"\\[nt\"]", lambda e: _ESCAPES[e[0]], m[2])
    return formats
