"""Sessions of one boot of which something is missing: two CPUs that switch between tasks.

CPU 0 has a switch every 10 ms from 1 s on the kernel's clock to 3 s. CPU 1 has one every 50 ms.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.ring.region_writer import TEXT_ADDR, Region, RingBuffer, layout_615
from tests.support.session_trees import make_session

START, END = 1_000_000_000, 3_000_000_000
OFFLINE, ONLINE = 1_800_000_000, 2_400_000_000  # CPU 1 in `offline`
_TAKEDOWN = TEXT_ADDR + 0x1800
_COMMON = (
    ("unsigned short common_type", 0, 2, 0), ("unsigned char common_flags", 2, 1, 0),
    ("unsigned char common_preempt_count", 3, 1, 0), ("int common_pid", 4, 4, 1),
)  # fmt: skip
_SWITCH, _ENTER, _EXIT, _CONSOLE = 310, 311, 312, 313
_FORMATS = {
    ("sched/sched_switch", _SWITCH): (
        ("char prev_comm[16]", 8, 16, 0), ("pid_t prev_pid", 24, 4, 1),
        ("int prev_prio", 28, 4, 1), ("long prev_state", 32, 8, 1),
        ("char next_comm[16]", 40, 16, 0), ("pid_t next_pid", 56, 4, 1),
        ("int next_prio", 60, 4, 1),
    ),
    ("cpuhp/cpuhp_enter", _ENTER): (
        ("unsigned int cpu", 8, 4, 0), ("int target", 12, 4, 1), ("int idx", 16, 4, 1),
        ("void * fun", 24, 8, 0),
    ),
    ("cpuhp/cpuhp_exit", _EXIT): (
        ("unsigned int cpu", 8, 4, 0), ("int state", 12, 4, 1), ("int idx", 16, 4, 1),
        ("int ret", 20, 4, 1),
    ),
    ("printk/console", _CONSOLE): (("__data_loc char[] msg", 8, 4, 0),),
}  # fmt: skip
_TASKS = ((0, b"swapper"), (70, b"worker"), (71, b"reader"))


def _format(name: str, number: int, fields: Sequence[tuple[str, int, int, int]]) -> str:
    lines = [
        "".join(f"\tfield:{t};\toffset:{o};\tsize:{s};\tsigned:{n};\n" for t, o, s, n in part)
        for part in (_COMMON, fields)
    ]
    names = [text.split()[-1].partition("[")[0] for text, *_ in fields]
    printed = f'"{" ".join(f"{name}=%d" for name in names)}", REC->{", REC->".join(names)}'
    if number == _CONSOLE:
        printed = '"%s", __get_str(msg)'
    elif number == _SWITCH:
        printed = '"%s ==> %s", REC->prev_comm, REC->next_comm'
    return (
        f"name: {name.split('/')[1]}\nID: {number}\nformat:\n{lines[0]}\n{lines[1]}\n"
        f"print fmt: {printed}\n"
    )


FILES = {
    f"sys/kernel/tracing/events/{name}/format": _format(name, number, fields)
    for (name, number), fields in _FORMATS.items()
} | {
    "proc/stat": "cpu  1 2 3\ncpu0 1 2 3\ncpu1 1 2 3\n",
    "proc/kallsyms": f"{TEXT_ADDR:x} T _text\n{TEXT_ADDR:x} T _stext\n"
    f"{TEXT_ADDR + 0x1000:x} T some_function\n{_TAKEDOWN:x} t takedown_cpu\n"
    f"{TEXT_ADDR + 0x2000:x} T _etext\n",
}


def _head(number: int, pid: int) -> bytes:
    return struct.pack("<HBBi", number, 0, 0, pid)


def switch(n: int) -> bytes:
    """The ``n``-th switch of a CPU: idle, worker, idle, reader, and again."""
    order = (0, 1, 0, 2)
    (left, old), (then, new) = _TASKS[order[n % 4]], _TASKS[order[(n + 1) % 4]]
    body = struct.pack("<16siiq16sii", old, left, 120, 0, new, then, 120)
    return _head(_SWITCH, left) + body


def cpuhp(enter: bool, cpu: int, idx: int = 60, ret: int = 0) -> bytes:
    """A step of taking a CPU offline, in the worker: it begins, or it is done."""
    if enter:
        return _head(_ENTER, 70) + struct.pack("<Iii4xQ", cpu, 0, idx, _TAKEDOWN)
    return _head(_EXIT, 70) + struct.pack("<Iiii", cpu, 0, idx, ret)


def console(text: bytes) -> bytes:
    return _head(_CONSOLE, 1) + struct.pack("<I", (len(text) + 1) << 16 | 12) + text + b"\0"


def rings(subbufs: int = 20) -> list[RingBuffer]:
    """CPU 0 and CPU 1, as the module says."""
    made = [RingBuffer(subbufs), RingBuffer(subbufs)]
    for ring, step in zip(made, (10_000_000, 50_000_000), strict=True):
        for n, ts in enumerate(range(START, END, step)):
            ring.write(ts, switch(n))
    return made


def session(
    where: Path, region: Region | bytes, files: Mapping[str, str | bytes] | None = None
) -> Path:
    return make_session(where, region, {**FILES, **(files or {})})


def whole(where: Path) -> Path:
    """Nothing is missing."""
    return session(where, layout_615(rings()))


def wrapped(where: Path) -> Path:
    """CPU 0 overwrote all but its last events."""
    return session(where, layout_615(rings(subbufs=4)))


def damaged_region(pages: Sequence[int] = (1, 2)) -> bytes:
    """These sub-buffers of CPU 0, in the order of time, are overwritten with something else."""
    region = layout_615(rings())
    data = bytearray(region.data)
    for page in pages:
        at = region.places[0].subbufs + (page + 1) * 4096  # the first is the reader page
        data[at + 8 : at + 4096] = b"\xa5" * 4088
    return bytes(data)


def damaged(where: Path) -> Path:
    return session(where, damaged_region())


def offline(where: Path) -> Path:
    """CPU 1 is taken offline, and comes back."""
    made = [RingBuffer(20), RingBuffer(20)]
    for n, ts in enumerate(range(START, END, 10_000_000)):
        made[0].write(ts, switch(n))
        if ts == OFFLINE:
            made[0].write(ts + 1_000_000, cpuhp(True, 1))
            made[0].write(ts + 3_000_000, cpuhp(False, 1))
    times = [t for t in range(START, END, 50_000_000) if not OFFLINE <= t < ONLINE]
    for n, ts in enumerate(times):
        made[1].write(ts, switch(n))
    return session(where, layout_615(made))


def short(where: Path) -> Path:
    """CPU 1's last event is long before CPU 0's, which was copied before it: it was quiet.

    CPU 0's is 500 ms before CPU 1's: nothing tells whether it would have recorded anything.
    """
    made = [RingBuffer(20), RingBuffer(20)]
    for n, ts in enumerate(range(START, END - 500_000_000, 10_000_000)):
        made[0].write(ts, switch(n))
    for n, ts in enumerate(range(START, END, 50_000_000)):
        made[1].write(ts, switch(n))
    return session(where, layout_615(made))
