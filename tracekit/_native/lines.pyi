"""Events as lines of text. All arrays travel as ``bytes`` in native byte order."""

from typing import Any, TypeAlias

import numpy as np
from typing_extensions import Buffer

_Buffer: TypeAlias = Buffer | np.ndarray[Any, Any]

_Texts: TypeAlias = tuple[_Buffer, _Buffer, _Buffer]

def lines(mode: int, stamps: _Buffer, head: _Texts, tail: _Texts, /) -> bytes:
    """A line for every stamp (u64, or i64 in mode 2): head, time and tail, and a newline.

    Texts are (a code i32 for every row, i64 offsets, values). ``mode`` 0: head, the kernel's
    seconds and microseconds, tail; 1: head, the plain count, tail; 2: signed seconds, head, tail.
    """

_Part: TypeAlias = _Texts | tuple[str, _Buffer]

def join(rows: int, parts: tuple[_Part, ...], /) -> bytes:
    """For every row its parts: texts, ``("i", numbers i64)``, ``("u", u64)``, ``("s", a text)``."""
