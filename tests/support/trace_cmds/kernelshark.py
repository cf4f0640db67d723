"""Every entry of a trace.dat as KernelShark has it: its library, called through ctypes.

python kernelshark.py FILE 10    # each entry's CPU, ns, pid, event as JSON; every 10th has a text

Runs by itself, with Debian 13's libraries: see ``entries``.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Shown", "entries"]


class Shown(NamedTuple):
    """An entry; ``event`` is ``SYSTEM/NAME``, ``text`` '' where it was not asked for."""

    cpu: int
    ns: int
    pid: int
    event: str
    text: str


class _Entry(ctypes.Structure):
    """``struct kshark_entry`` (libkshark.h)."""

    _fields_ = (
        ("next", ctypes.c_void_p),
        ("visible", ctypes.c_uint16),
        ("stream_id", ctypes.c_int16),
        ("event_id", ctypes.c_int16),
        ("cpu", ctypes.c_int16),
        ("pid", ctypes.c_int32),
        ("offset", ctypes.c_int64),
        ("ts", ctypes.c_int64),
    )


_EntryP = ctypes.POINTER(_Entry)
_ContextP = ctypes.c_void_p


def _declared(library: Any, name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(library, name)
    function.restype, function.argtypes = result, list(arguments)
    return function


def _print(path: str, every: int) -> None:
    library = ctypes.CDLL("libkshark.so.2")
    context, rows = _ContextP(), ctypes.POINTER(_EntryP)()
    make = _declared(library, "kshark_instance", ctypes.c_bool, ctypes.POINTER(_ContextP))
    open_file = _declared(library, "kshark_open", ctypes.c_int, _ContextP, ctypes.c_char_p)
    buffers = _declared(
        library, "kshark_tep_init_all_buffers", ctypes.c_int, _ContextP, ctypes.c_int
    )
    load = _declared(
        library,
        "kshark_load_all_entries",
        ctypes.c_ssize_t,
        _ContextP,
        ctypes.POINTER(ctypes.POINTER(_EntryP)),
    )
    name, info = (
        _declared(library, f"kshark_get_{what}", ctypes.c_char_p, _EntryP)
        for what in ("event_name", "info")
    )
    assert make(ctypes.byref(context))
    stream = open_file(context, path.encode())
    assert stream >= 0, stream
    assert buffers(context, stream) >= 0
    count = load(context, ctypes.byref(rows))
    assert count >= 0, count
    for number in range(count):
        entry = rows[number].contents
        told = [name(rows[number]), b"" if number % every else info(rows[number])]
        texts = [(text or b"").decode("utf-8", "replace") for text in told]
        print(json.dumps([entry.cpu, entry.ts, entry.pid, *texts]))


def entries(file: Path, loader: list[str], every: int = 1) -> list[Shown]:
    """All buffers' entries, by time; the text (slow) of the first and each ``every``th further one.

    ``loader``: the words that run a program with libkshark's libraries.
    """
    command = [*loader, sys.executable, "-S", __file__, str(file), str(every)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [Shown(*json.loads(line)) for line in done.stdout.splitlines()]


if __name__ == "__main__":
    _print(sys.argv[1], int(sys.argv[2]))
