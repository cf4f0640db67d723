"""Records printed by programs (``programs``). Arrays travel as ``bytes`` in native byte order."""

from typing import Any, TypeAlias

import numpy as np
from typing_extensions import Buffer

_Buffer: TypeAlias = Buffer | np.ndarray[Any, Any]
_Table: TypeAlias = tuple[_Buffer, _Buffer, _Buffer]
_Payloads: TypeAlias = tuple[_Buffer, _Buffer, _Buffer]
_Program: TypeAlias = tuple[_Buffer, _Buffer, _Buffer, int, tuple[_Table, ...]]

def print_records(payloads: _Payloads, program: _Program, /) -> tuple[bytes, bytes, bytes, bytes]:
    """The text of every record: (n + 1 i64 offsets, texts, a status u8 each, misses).

    ``payloads`` are the data, offsets u64 and lengths u32; ``program`` its instructions, constants
    u64, texts, the bytes a record must have, and tables of (keys u64, begin and end i64, texts).
    Status 0: printed; 1: not by this program; 2: a table lacked a key. Misses are u64 pairs
    (table, key), not all of them if there are many. Raises ValueError for what is no program.
    """

_Numbers: TypeAlias = dict[str, int]

def numbers() -> tuple[_Numbers, _Numbers, _Numbers, _Numbers]:
    """The numbers of operations, of those on two integers and on one, and of pointers' kinds."""
