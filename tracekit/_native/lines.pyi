"""Events as lines of text. All arrays travel as ``bytes`` in native byte order."""

from typing import Any, TypeAlias

import numpy as np
from typing_extensions import Buffer

_Buffer: TypeAlias = Buffer | np.ndarray[Any, Any]

_Texts: TypeAlias = tuple[_Buffer, _Buffer, _Buffer]

_Columns: TypeAlias = tuple[_Buffer, _Buffer, _Buffer, _Buffer]
_Part: TypeAlias = _Texts | tuple[str, _Buffer] | tuple[str, tuple[_Columns, Any, Any]]

def print(rows: int, parts: tuple[_Part, ...], /) -> tuple[bytearray, bytes, bytes, bytes]:
    """For every row its parts: (texts, where each row's ends i64, a status u8 each, misses).

    A part is texts (a code i32 for every row, i64 offsets, values), ``("i", numbers i64)``,
    ``("u", u64)``, ``("s", a text)``; a time: ``("0", u64)`` as the kernel's seconds and
    microseconds, ``("1", u64)`` the plain count, ``("2", i64)`` signed seconds; or ``("p",
    (columns, programs, buffers))``, each record as the program of its kind prints it: columns are
    kind i32, buffer u16, offset u64 and length u32, programs as of ``print_records()`` or None.

    A row of which one is not printed is left out: status 1 or 2. Misses are u64 pairs, as those of
    ``print_records()``, with the kind above the lower half of the first. Raises ValueError for
    columns of unlike lengths and for what is no program.
    """
