"""Where a ring that two kernels recorded into passes from the one to the other.

A kernel that finds a valid buffer in a region goes on writing in it: its first record on a CPU
overwrites the sub-buffer that the kernel before was writing, from its begin (seen on 7.3.4;
``rb_meta_buffer_update()`` makes that one the tail page and leaves its write index at 0,
kernel/trace/ring_buffer.c). So every sub-buffer is one kernel's alone. All trace clocks but the TSC
start anew at a boot, so there the sub-buffers' time stamps step back.

They do so in one boot, too, where the TSC is calibrated late: until then ``sched_clock()`` counts
jiffies, then it begins at 0 (``__set_cyc2ns_scale()``, arch/x86/kernel/tsc.c).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

__all__ = ["one_is_off", "restarts", "split_at"]

_SCHED_CLOCK = ("local", "global")  # trace clocks that are sched_clock() as it is
_TICKS = (1_000_000, 3_333_333)  # ns of a jiffy, or a part of it: CONFIG_HZ is 100, 250, 300, 1000


def restarts(stamps: Sequence[int], clock: str | None = None) -> tuple[list[int], list[int]]:
    """(places where time began anew, places where it may have), as indices into ``stamps``.

    ``stamps`` are those of one CPU's used sub-buffers in reading order. A step back that the next
    sub-buffer undoes is of the second kind: that one sub-buffer may be a stale one. A step
    that ends stamps of jiffies alone is neither, where the trace ``clock`` is known to count them.
    """
    sure: list[int] = []
    doubtful: list[int] = []
    level = 0  # the greatest stamp since the last sure restart
    late = clock in _SCHED_CLOCK
    ticks = late  # whether all stamps since then are of jiffies
    for i, stamp in enumerate(stamps):
        if stamp < level and not ticks:
            undone = i + 1 < len(stamps) and stamps[i + 1] >= level
            (doubtful if undone else sure).append(i)
            if undone:
                continue
            ticks = late
        ticks &= any(stamp % tick == 0 for tick in _TICKS)
        level = stamp
    return sure, doubtful


def one_is_off(stamps: Sequence[int]) -> bool:
    """Whether the stamps never step back once one of them, between two others, is left out."""
    step = next((i for i in range(1, len(stamps)) if stamps[i] < stamps[i - 1]), None)
    if step is None:
        return False
    without = ([*stamps[:i], *stamps[i + 1 :]] for i in (step - 1, step) if 0 < i < len(stamps) - 1)
    return any(all(a <= b for a, b in pairwise(rest)) for rest in without)


def split_at(pages: Sequence[int], places: Sequence[int]) -> list[tuple[int, ...]]:
    """The pages as one tuple more than there are places; a place begins a new one."""
    ends = [*places, len(pages)]
    starts = [0, *places]
    return [tuple(pages[a:b]) for a, b in zip(starts, ends, strict=True)]
