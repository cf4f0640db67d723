"""What lies on a ring-buffer page: events, their lengths and time stamps, and the page itself.

From kernel/trace/ring_buffer.c and include/linux/ring_buffer_types.h of Linux 7.2.13; see
:mod:`ring_sim`, which puts it to use.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

__all__ = [
    "HEADER",
    "MISSED_EVENTS",
    "MISSED_STORED",
    "Event",
    "Page",
    "Point",
    "UserPage",
    "Write",
    "event_length",
    "fix_absolute",
    "timestamps",
]

HEADER = 16  # BUF_PAGE_HDR_SIZE on a 64-bit kernel (ring_buffer_types.h)
U64 = (1 << 64) - 1
DELTA_BITS = 27
DELTA_MASK = (1 << DELTA_BITS) - 1
ABS_MASK = (1 << 59) - 1  # ABS_TS_MASK
MAX_SMALL = 112  # RB_MAX_SMALL_DATA
PADDING, TIME_EXTEND, TIME_STAMP = 29, 30, 31  # enum ring_buffer_type
EXTEND = 8  # RB_LEN_TIME_EXTEND

# (1 << 31) is a negative int in C, so local_set() and local_add() sign-extend it to 64 bits.
MISSED_EVENTS = -(1 << 31) & U64
MISSED_STORED = 1 << 30

Point = Literal["stamp", "reserve", "commit"]


@dataclass(frozen=True)
class Write:
    """One event to write, with the interrupts that hit it.

    ``at`` says where an interrupting write strikes the one it interrupts (__rb_reserve_next):
    ``stamp`` between taking the time stamp and reserving (B and C there), ``reserve`` between
    reserving and saving the stamp (C and D), ``commit`` after reserving, before the commit.
    ``resume_ts`` is what the clock says when an event hit at ``stamp`` looks again.
    ``unfinished`` never commits: the CPU was stopped inside the event.
    """

    ts: int
    payload: bytes
    discard: bool = False
    interrupts: tuple[Write, ...] = ()
    at: Point = "commit"
    resume_ts: int | None = None
    unfinished: bool = False


@dataclass
class Event:
    """One event on a page. Offsets count from the page's data; ``start`` includes a time stamp.

    ``ts`` is the clock when it was written, ``read_ts`` (filled in by :meth:`RingBuffer.expected`)
    what a reader can make of the page; they differ only where the kernel itself loses time.
    ``data`` is the payload as it lies on the page, alignment bytes included.
    """

    ts: int
    payload: bytes
    start: int
    body: int
    end: int
    stamp: Literal["extend", "absolute"] | None
    stamp_value: int
    delta: int
    discarded: bool = False
    data: bytes = b""
    slot: int = -1
    read_ts: int = -1


@dataclass(frozen=True)
class UserPage:
    """A page as ``trace_pipe_raw`` hands it out, and what is on it.

    ``missed``: events lost before this page; -1 means some, their number unknown.
    ``stored``: the number stands after the data.
    """

    data: bytes
    events: tuple[Event, ...]
    missed: int
    stored: bool


def event_length(size: int, force_8byte: bool = False) -> int:
    """Bytes an event with a payload of ``size`` takes (rb_calculate_event_length)."""
    length = size or 1
    if length > MAX_SMALL or force_8byte:
        length += 4
    align = 8 if force_8byte else 4
    length = -(-(length + 4) // align) * align
    return 16 if length == 12 else length  # room to turn it into a time extend and padding


def fix_absolute(value: int, previous: int) -> int:
    """A 59-bit absolute stamp made whole (rb_fix_abs_ts)."""
    if previous >> 59:
        value |= previous & ~ABS_MASK
        if value < previous:
            value += 1 << 59
    return value


def timestamps(base: int, events: Iterable[Event]) -> list[int]:
    """What a reader makes of these events' times on a page stamped ``base``.

    A discarded event's delta counts (rb_read_data_buffer), except 1, which says "no delta"
    (rb_event_discard, rb_reset_tail). The kernel's own printing (rb_update_read_stamp) leaves
    the delta of discarded events out, and so prints what follows one too early.
    """
    now, out = base, []
    for event in events:
        if event.stamp == "absolute":
            now = fix_absolute(event.stamp_value, now)
        elif event.stamp == "extend":
            now += event.stamp_value
        if not (event.discarded and event.delta == 1):
            now += event.delta
        now &= U64
        out.append(now)
    return out


@dataclass
class Page:
    """struct buffer_page: what the kernel knows of a page outside the page itself."""

    memory: bytearray
    write: int = 0
    real_end: int = 0
    events: list[Event] = field(default_factory=list)

    @property
    def entries(self) -> int:
        return sum(not event.discarded for event in self.events)

    @property
    def time_stamp(self) -> int:
        return int.from_bytes(self.memory[:8], "little")

    @time_stamp.setter
    def time_stamp(self, value: int) -> None:
        self.memory[:8] = (value & U64).to_bytes(8, "little")

    @property
    def commit(self) -> int:
        return int.from_bytes(self.memory[8:16], "little")

    @commit.setter
    def commit(self, value: int) -> None:
        self.memory[8:16] = (value & U64).to_bytes(8, "little")

    @property
    def size(self) -> int:
        """rb_data_page_size()."""
        return self.commit & ~(3 << 30) & 0xFFFFFFFF

    def word(self, offset: int, *values: int) -> None:
        struct.pack_into(f"<{len(values)}I", self.memory, HEADER + offset, *values)
