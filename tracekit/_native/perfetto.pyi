"""Events as messages of Perfetto's trace format. Arrays travel in native byte order."""

from typing import Any, TypeAlias

import numpy as np
from typing_extensions import Buffer

_Buffer: TypeAlias = Buffer | np.ndarray[Any, Any]

def events(
    payloads: tuple[_Buffer, _Buffer, _Buffer],
    columns: tuple[_Buffer, _Buffer, _Buffer],
    programs: tuple[_Buffer, _Buffer, _Buffer],
    texts: tuple[tuple[_Buffer, _Buffer], ...],
    /,
) -> bytes:
    """The field ``event`` of a ``FtraceEventBundle`` for every record, one after the other.

    ``payloads``: data, offsets u64, lengths u32. ``columns``: stamps u64, pids i32, kinds i32,
    which are indices of ``programs``: (six i32 each: first operation, their number,
    start and size of the message's tag and of what it begins with in the heads; eight i32 for each
    operation, see perfetto.c; the heads). ``texts``: (ends i64, one more than there are records;
    values), at most 16.
    """
