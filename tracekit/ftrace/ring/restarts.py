"""Where a ring that two kernels recorded into passes from the one to the other.

A kernel that finds a valid buffer in a region goes on writing in it: its first record on a CPU
overwrites the sub-buffer that the kernel before was writing, from its begin (seen on 7.3.4;
``rb_meta_buffer_update()`` makes that one the tail page and leaves its write index at 0,
kernel/trace/ring_buffer.c). So every sub-buffer is one kernel's alone. All trace clocks but the TSC
start anew at a boot, so there the sub-buffers' time stamps step back.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

__all__ = ["one_is_off", "restarts", "split_at"]


def restarts(stamps: Sequence[int]) -> tuple[list[int], list[int]]:
    """(places where time began anew, places where it may have), as indices into ``stamps``.

    ``stamps`` are those of one CPU's used sub-buffers in reading order. A step back that the next
    sub-buffer undoes is of the second kind: that one sub-buffer may be a stale one.
    """
    sure: list[int] = []
    doubtful: list[int] = []
    level = 0  # the greatest stamp since the last sure restart
    for i, stamp in enumerate(stamps):
        if stamp < level:
            undone = i + 1 < len(stamps) and stamps[i + 1] >= level
            (doubtful if undone else sure).append(i)
            if undone:
                continue
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
