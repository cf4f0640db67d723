"""The kernel's ``printf``: parses format strings, prints numbers as ``lib/vsprintf.c`` does.

It differs from C99: ``%n`` and floating point do not exist, ``0`` pads even when a precision is
given, ``%#x`` also prefixes zero, and ``%p`` takes letters that say what it points at
(:mod:`tracekit.ftrace.kernel_printf.pointers`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal

from tracekit.errors import FormatError
from tracekit.frozen import dataclass
from tracekit.ftrace.kernel_printf.ctype import IntType

__all__ = [
    "ARGUMENT",
    "MAX_WIDTH",
    "Conversion",
    "format_integer",
    "format_number",
    "format_pointer",
    "int_template",
    "pad",
    "parse_format_string",
    "resolved",
]

#: A width or precision of ``*``: taken from the argument list.
ARGUMENT: Final = "*"
#: Longest padding produced, characters: no record is longer.
MAX_WIDTH = 1 << 16

_PRECISIONS = 1 << 15  # struct printf_spec has 16 bits, one of them the sign

_Size = int | Literal["*"] | None

_CONVERSION = re.compile(
    r"%(?P<flags>[-+ #0]*)(?P<width>\d+|\*)?(?:\.(?P<precision>\d+|\*)?)?"
    r"(?P<length>hh|h|H|ll|l|L|z|t|j)?(?P<kind>[diuxXocsp%])",
    re.A,
)
_LENGTHS = {"hh": 1, "H": 1, "h": 2, "l": 8, "ll": 8, "L": 8, "z": 8, "t": 8, "j": 8}
_BASES = {"o": 8, "x": 16, "X": 16}
_ESCAPED = re.compile(r"\\x([89a-f][0-9a-f])")
_SUFFIX = re.compile(r"[0-9A-Za-z]*")


@dataclass(frozen=True, slots=True)
class Conversion:
    """One conversion of a format string.

    ``kind`` is one of ``d u x X o c s p``; ``size`` is the integer's size in bytes; ``suffix``
    holds the letters after ``%p``. ``width`` and ``precision`` are None where not given.
    """

    kind: str
    flags: str = ""
    width: _Size = None
    precision: _Size = None
    size: int = 4
    suffix: str = ""

    @property
    def int_type(self) -> IntType:
        """The type an integer argument is read as."""
        return IntType(self.size, self.kind == "d")

    @property
    def stars(self) -> int:
        """How many arguments the width and the precision take."""
        return (self.width == ARGUMENT) + (self.precision == ARGUMENT)


def _parse_size(text: str | None) -> _Size:
    if text is None or text == ARGUMENT:
        return ARGUMENT if text else None
    return min(int(text[:7]), MAX_WIDTH)


def parse_format_string(text: str, source: str) -> list[str | Conversion]:
    """Split a format string into literal text (``%%`` as one ``%``) and conversions.

    Raises :class:`~tracekit.errors.FormatError` for a conversion the kernel does not have.
    """
    out: list[str | Conversion] = []
    position = 0
    while position < len(text):
        percent = text.find("%", position)
        if percent != position:
            out.append(text[position:percent] if percent > 0 else text[position:])
            if percent < 0:
                break
        m = _CONVERSION.match(text, percent)
        if m is None:
            raise FormatError(
                f"{source}: print fmt: no such conversion: {text[percent : percent + 12]!r}"
            )
        position = m.end()
        kind = m["kind"].replace("i", "d")
        if kind == "%":
            out.append("%")
            continue
        suffix = ""
        if kind == "p":
            letters = _SUFFIX.match(text, position)
            suffix = letters[0] if letters else ""
            position += len(suffix)
        size = 8 if kind == "p" else _LENGTHS.get(m["length"] or "", 4)
        width, precision = _parse_size(m["width"]), _parse_size(m["precision"])
        out.append(Conversion(kind, m["flags"], width, precision, size, suffix))
    return out


def format_number(
    value: int, base: int, flags: str, width: int | None = None, precision: int | None = None
) -> str:
    """``number()``: ``value`` in base 8, 10 or 16.

    ``flags`` are those of the conversion; ``+`` and space only matter for signed ones.
    """
    sign = "-" if value < 0 else "+" if "+" in flags else " " if " " in flags else ""
    value = abs(value)
    digits = format(value, {8: "o", 10: "d", 16: "x"}[base])
    prefix = ""
    if "#" in flags and base != 10:
        prefix = "0x" if base == 16 else "0" if value else ""
    digits = digits.rjust(min(precision or 0, MAX_WIDTH), "0")
    room = min(width or 0, MAX_WIDTH) - len(sign) - len(prefix)
    if "-" in flags:
        return sign + prefix + digits + " " * (room - len(digits))
    if "0" in flags:
        return sign + prefix + digits.rjust(room, "0")
    return " " * (room - len(digits)) + sign + prefix + digits


def format_pointer(value: int, conversion: Conversion) -> str:
    """``pointer_string()``: an address, 16 digits unless the conversion gives a width."""
    width = conversion.width if isinstance(conversion.width, int) else None
    precision = conversion.precision if isinstance(conversion.precision, int) else None
    flags = conversion.flags
    if width is None:
        width, flags = 16, flags + "0"
    return format_number(value, 16, flags.replace("+", "").replace(" ", ""), width, precision)


def int_template(conversion: Conversion) -> str | None:
    """The Python ``%`` conversion that prints an integer the same way, or None if there is none.

    The argument must already be wrapped to :attr:`Conversion.int_type`.
    """
    kind, flags = conversion.kind, conversion.flags
    if conversion.stars or kind not in "duxX":
        return None
    if kind != "d":
        flags = flags.replace("+", "").replace(" ", "")
    if kind in "du":
        flags = flags.replace("#", "")
    width = "" if conversion.width is None else str(conversion.width)
    precision = "" if conversion.precision is None else f".{conversion.precision}"
    if precision and "0" in flags:  # whether Python follows C99 here depends on its version
        return None
    return f"%{''.join(dict.fromkeys(flags))}{width}{precision}{'d' if kind == 'u' else kind}"


def pad(text: str, conversion: Conversion) -> str:
    """``widen_string()``: ``text`` cut to the precision and padded to the width, in bytes."""
    if not text.isascii() or "\\x" in text:
        return _pad_bytes(text, conversion)
    if isinstance(conversion.precision, int):
        text = text[: conversion.precision]
    if isinstance(conversion.width, int):
        width = conversion.width
        return text.ljust(width) if "-" in conversion.flags else text.rjust(width)
    return text


def _pad_bytes(text: str, conversion: Conversion) -> str:
    """What is not UTF-8 is escaped in ``text``: ``\\xff`` is one byte."""
    raw = _ESCAPED.sub(lambda m: chr(0xDC00 + int(m[1], 16)), text)
    data = raw.encode("utf-8", "surrogateescape")
    if isinstance(conversion.precision, int):
        data = data[: conversion.precision]
    if isinstance(conversion.width, int):
        width = conversion.width
        data = data.ljust(width) if "-" in conversion.flags else data.rjust(width)
    return data.decode("utf-8", "backslashreplace")


def format_integer(value: int, conversion: Conversion) -> str:
    """An integer conversion with fixed width and precision.

    ``value`` must already be wrapped to :attr:`Conversion.int_type`.
    """
    width = conversion.width if isinstance(conversion.width, int) else None
    precision = conversion.precision if isinstance(conversion.precision, int) else None
    flags, kind = conversion.flags, conversion.kind
    if kind != "d":
        flags = flags.replace("+", "").replace(" ", "")
    text = format_number(value, _BASES.get(kind, 10), flags, width, precision)
    return text.upper() if kind == "X" else text


def resolved(conversion: Conversion, stars: Sequence[int]) -> Conversion:
    """``conversion`` with its ``*`` replaced by the argument values ``stars``, in order.

    A negative width pads on the right. A negative precision is 0, where C's is as none; one that
    does not fit the 16 bits that the kernel has for it is the largest (``set_precision()``).
    """
    values = list(stars)
    flags, width, precision = conversion.flags, conversion.width, conversion.precision
    if width == ARGUMENT:
        width = values.pop(0)
        if width < 0:
            width, flags = -width, flags + "-"
        width = min(width, MAX_WIDTH)
    if precision == ARGUMENT:
        precision = max(0, min(values.pop(0), _PRECISIONS - 1))
    return replace(conversion, flags=flags, width=width, precision=precision)
