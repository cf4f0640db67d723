"""What a program is made of: a tree of expressions over a record and of what is printed of them.

A node is a tuple, its name first (the functions of :mod:`.assemble` say what follows), or None for
what a program cannot do; a node with such a part is None itself. Integers are 64 bits wide: signed
types with their sign, unsigned ones with zeros before them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tracekit.frozen import dataclass
from tracekit.ftrace.kernel_printf.ctype import IntType
from tracekit.ftrace.kernel_printf.vsprintf import ARGUMENT, Conversion

__all__ = [
    "COMPACT",
    "LIST",
    "PADDED",
    "REVERSED",
    "SEPARATORS",
    "UPPER",
    "Code",
    "Printer",
    "binary",
    "converted",
    "integer",
    "joined",
    "literal",
    "node",
    "number",
    "padded",
    "string",
    "type_code",
]

Code = tuple[Any, ...]
_Stars = tuple[Code | None, ...]

_SIGNED, _BOOLEAN = 0x10, 0x20
_FLAGS = {"-": 4, "+": 8, " ": 16, "#": 32, "0": 64}
_BASES = {"u": 0, "d": 1, "x": 2, "X": 2 | 128, "o": 3}
_UNSIGNED_NAMES = frozenset({"DIV", "MOD", "SHR", "LT", "LE", "GT", "GE"})
#: Options of a pointer: see ``enum pointer``.
UPPER, REVERSED, LIST, PADDED, COMPACT = (1 << bit for bit in range(8, 13))
#: What ``%*ph`` puts between bytes, by its letter.
SEPARATORS = {"C": ":", "D": "-", "N": "\0"}


@dataclass(frozen=True, slots=True)
class Printer:
    """A function that prints records, and what a program that does the same is made of.

    ``need``: bytes that a record must have to be printed by the program.
    """

    render: Callable[[memoryview | bytes], str]
    code: Code | None = None
    need: int = 0

    def __call__(self, payload: memoryview | bytes) -> str:
        """The text of one record."""
        return self.render(payload)


def node(name: str, *parts: Any) -> Code | None:
    """A node, None if a part of it is."""
    return None if any(part is None for part in parts) else (name, *parts)


def type_code(type_: IntType) -> int:
    """A type as an instruction has it."""
    return type_.size | _SIGNED * type_.signed | _BOOLEAN * type_.boolean


def integer(value: int) -> Code:
    """A constant."""
    return ("const", value & (1 << 64) - 1)


def literal(text: str) -> Code:
    """Text as it is."""
    return ("text", text.encode("utf-8", "backslashreplace"))


def converted(code: Code | None, type_: IntType) -> Code | None:
    """An integer as ``type_``."""
    return node("convert", type_code(type_), code)


def binary(name: str, type_: IntType, left: Code | None, right: Code | None) -> Code | None:
    """An operation on two integers of ``type_``; its result has not been converted to that."""
    unsigned = name in _UNSIGNED_NAMES and not type_.signed
    return node("binary", f"U{name}" if unsigned else name, left, right)


def joined(parts: Iterable[Code | None]) -> Code | None:
    """What is printed one after the other."""
    return node("all", *parts)


def _sizes(conversion: Conversion, stars: _Stars) -> tuple[Any, ...] | None:
    """(flags, width, precision) of a node; a star's place is taken by its code."""
    rest = list(stars)
    sizes: list[Any] = []
    for size in (conversion.width, conversion.precision):
        if size == ARGUMENT:
            if not rest or rest[0] is None:
                return None
            sizes.append(rest.pop(0))
        else:
            sizes.append(-1 if size is None else size)
    flags = sum(_FLAGS[flag] for flag in set(conversion.flags))
    return (flags, *sizes)


def number(conversion: Conversion, value: Code | None, stars: _Stars) -> Code | None:
    """An integer under a conversion, already of its type."""
    sizes = _sizes(conversion, stars)
    if sizes is None:
        return None
    flags, width, precision = sizes
    if conversion.kind != "d":
        flags &= ~(_FLAGS["+"] | _FLAGS[" "])
    return node("number", _BASES[conversion.kind] | flags, width, precision, value)


def string(conversion: Conversion, span: Code | None, stars: _Stars) -> Code | None:
    """Characters of the record under ``%s``."""
    sizes = _sizes(conversion, stars)
    return None if sizes is None else node("string", *sizes, span)


def padded(conversion: Conversion, text: Code | None, stars: _Stars) -> Code | None:
    """What ``text`` prints, cut and padded."""
    if conversion.width is None and conversion.precision is None:
        return text
    sizes = _sizes(conversion, stars)
    return None if sizes is None else node("pad", *sizes, text)
