"""Sub-buffers walked, record by record. All arrays travel as ``bytes`` in native byte order."""

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
