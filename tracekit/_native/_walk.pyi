"""Hot loops over ring-buffer records. All arrays travel as ``bytes`` in native byte order."""

from typing import Any, TypeAlias

import numpy as np
from typing_extensions import Buffer

_Buffer: TypeAlias = Buffer | np.ndarray[Any, Any]

def walk(
    data: _Buffer,
    pages: _Buffer,
    page_header: tuple[int, int, int],
    record_header: tuple[int, int, int, int, int],
    /,
) -> tuple[bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes]:
    """Walk sub-buffers.

    ``pages`` is an array of u64 pairs (offset, size in bytes) in reading order; ``page_header``
    the offsets of time stamp, commit and data; ``record_header`` those of type, flags, preempt
    count and pid, and the size of the common fields. Returns per record: time stamps u64, payload
    offsets u64, payload lengths u32, types u16, flags u8, preempt counts u8, pids i32; and per
    page nine u64: events, status, where, missed, commit, first and last time stamp, discarded
    and unreadable records.
    """

def gather(
    data: _Buffer, offsets: _Buffer, lengths: _Buffer, at: int, size: int, /
) -> tuple[bytes, int]:
    """``size`` bytes at payload offset ``at`` of every record; zeros where it is too short."""

def gather_var(
    data: _Buffer,
    offsets: _Buffer,
    lengths: _Buffer,
    mode: int,
    at: int,
    size: int,
    cstring: bool,
    unit: int,
    /,
) -> tuple[bytes, bytes, int]:
    """Bytes of varying length: (n + 1 i64 offsets, values, records where they lie outside).

    Offsets count elements of ``unit`` bytes; what does not fill an element is left out.

    ``mode`` is 0 for ``__data_loc``, 1 for ``__rel_loc``, 2 for a flexible array at the record's
    end, 3 for ``size`` bytes at ``at``; with ``cstring`` the bytes end before the first NUL.
    """

def intern(
    data: _Buffer, offsets: _Buffer, lengths: _Buffer, skip: int, seed: int, /
) -> tuple[bytes, bytes]:
    """Codes (i32) such that payloads equal from byte ``skip`` on share one; first records (i64)."""

def symbols(text: _Buffer, /) -> tuple[bytes, bytes, bytes]:
    """The kernel's own symbols in ``/proc/kallsyms``, in the order of the text.

    Addresses u64, and offsets and lengths u32 of the names in ``text``.
    """

_Texts: TypeAlias = tuple[_Buffer, _Buffer, _Buffer]

def lines(mode: int, stamps: _Buffer, head: _Texts, tail: _Texts, /) -> bytes:
    """A line for every stamp (u64, or i64 in mode 2): head, time and tail, and a newline.

    Texts are (a code i32 for every row, i64 offsets, values). ``mode`` 0: head, the kernel's
    seconds and microseconds, tail; 1: head, the plain count, tail; 2: signed seconds, head, tail.
    """

def counter_sample(clock: int, tries: int, /) -> tuple[int, int, int]:
    """(counter, clock in ns, counter): the narrowest of ``tries`` brackets round a clock.

    The counter is the TSC, or ``cntvct_el0`` on arm64. Raises OSError for a clock there is not,
    NotImplementedError on other machines.
    """

def counter_write(fd: int, data: _Buffer, /) -> tuple[int, int]:
    """The counter right before and right after one ``write``; raises as ``counter_sample``."""
