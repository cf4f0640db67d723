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

def kept(rows: _Buffer, wide: bool, marks: _Buffer, /) -> bytes:
    """Those of ``rows`` (u32, or i64 where ``wide``) that are marked; a byte of ``marks`` a row.

    Raises ValueError for a row that is none.
    """

def gaps(
    rows: _Buffer,
    wide: bool,
    ts: _Buffer,
    boots: _Buffer,
    timed: _Buffer,
    percent: int,
    other: int,
    /,
) -> tuple[int, int, int, int, int]:
    """The times between each event and the next: (how many, two quantiles, the longest, where).

    ``rows`` (u32, or i64 where ``wide``) ascend; ``ts`` (i64) and ``boots`` (u8) are of all events.
    Nothing is between events of two boots, or of a boot of which ``timed`` (256 bytes) has 0. A
    quantile is the smallest time that at least so many percent do not exceed; ``where`` is the
    place in ``rows`` of the event before the longest, the first of equal ones, -1 without any.
    Raises ValueError for a row that is none, and where the times do not ascend.
    """
