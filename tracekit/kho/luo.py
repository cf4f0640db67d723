"""The Live Update Orchestrator's entry in what KHO hands over.

``struct luo_ser`` in ``include/linux/kho/abi/luo.h``. What it points to lies in memory that a
session does not hold. Versions before it are device trees.
"""

from __future__ import annotations

from dataclasses import dataclass

from tracekit.binary import Cursor
from tracekit.errors import ParseError

__all__ = ["LUO", "LuoHeader", "parse_luo"]

LUO = "LUO"  # LUO_KHO_ENTRY_NAME
_COMPATIBLE = "luo-v5"
_COMPATIBLE_SIZE = 8


@dataclass(frozen=True, slots=True)
class LuoHeader:
    """The header that LUO hands over.

    ``updates`` counts the live updates; ``sessions`` and ``objects`` are physical addresses of the
    preserved sessions and of the objects that files share (FLBs), 0 where there are none.
    """

    compatible: str
    updates: int
    sessions: int
    objects: int


def parse_luo(data: bytes, source: str = LUO) -> LuoHeader:
    """Read the blob. Raises :class:`~tracekit.errors.ParseError` for an unknown version."""
    cursor = Cursor(data, source)
    compatible = cursor.cstr(_COMPATIBLE_SIZE, "the version")
    if compatible != _COMPATIBLE:
        raise ParseError(f"{source}: compatible is {compatible!r}; {_COMPATIBLE} is known")
    return LuoHeader(
        compatible,
        cursor.u64("the number of live updates"),
        cursor.u64("the address of the sessions"),
        cursor.u64("the address of the shared objects"),
    )
