"""Fields of records as contiguous columns, and the times between events.

All arrays travel as ``bytes`` in native byte order.
"""

from typing import Any, TypeAlias

import numpy as np
from typing_extensions import Buffer

_Buffer: TypeAlias = Buffer | np.ndarray[Any, Any]

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

def gaps_counted(
    names: _Buffer,
    counts: _Buffer,
    is_first: bool,
    kinds: _Buffer,
    marks: _Buffer | None,
    ts: _Buffer,
    boots: _Buffer,
    start: int,
    table: _Buffer,
    timed: _Buffer,
    /,
) -> None:
    """Count the times between each of some events and the next of its name, in one of the passes.

    ``names``: 14 columns of int64 for each name, kept from call to call, ``counts`` (u64) 14,336 a
    name in the first pass, 8,192 in the others, in which that is done again that
    :func:`gaps_settled` left open. ``kinds`` (i32), ``ts`` (i64), ``boots`` (u8) and ``marks`` (0:
    left out; None: none is) are of the events from row ``start`` on, in the order of time;
    ``table`` (i32) has a kind's name. Nothing is between events of two boots, or of a boot of which
    ``timed`` (256 bytes) has 0. Raises ValueError for an event without a name, and where the times
    do not ascend.
    """

def gaps_settled(
    names: _Buffer, counts: _Buffer, is_first: bool, percent: int, other: int, /
) -> int:
    """End a pass: narrow down the quantiles; returns of how many names one is not known yet.

    A quantile is the smallest time that at least so many percent do not exceed.
    """
