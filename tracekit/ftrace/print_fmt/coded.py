"""The code of conversions: what a program does where the closures of :mod:`.printer` print."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tracekit.ftrace.kernel_printf.ctype import IntType
from tracekit.ftrace.kernel_printf.vsprintf import ARGUMENT, Conversion
from tracekit.ftrace.print_fmt.values import Memory, Number, Text, Value, as_type
from tracekit.ftrace.programs.code import (
    COMPACT,
    LIST,
    PADDED,
    REVERSED,
    SEPARATORS,
    UPPER,
    Code,
    node,
    number,
    padded,
    string,
)
from tracekit.ftrace.programs.tables import Learned

__all__ = ["coded", "plain_number"]

_MOST_HEX = 64  # bytes: hex_string()

_Stars = tuple[Code | None, ...]


def plain_number(value: Number, conversion: Conversion) -> Code | None:
    """``value`` as it is, without the conversion's type: only the form is the conversion's."""
    kind = "d" if value.type.signed and conversion.kind == "d" else conversion.kind
    kind = "u" if kind == "d" and not value.type.signed else kind
    return number(replace(conversion, kind=kind, size=8), value.code, ())


def coded(
    conversion: Conversion, value: Value, stars: _Stars, known: Callable[[int], str] | None
) -> Code | None:
    """The code of one conversion; ``stars`` are the codes of its ``*``, in order.

    ``known`` gives the text of an address that the conversion shows as something else.
    """
    kind = conversion.kind
    if isinstance(value, Text):
        return padded(conversion, value.code, stars)
    if isinstance(value, Memory):
        if kind == "s":
            return string(conversion, value.code, stars)
        return _pointer(conversion, value.code, stars)
    if known is not None:
        return None if stars else node("learned", Learned(known), value.code)
    if kind == "c":
        character = as_type(value, IntType(1, False)).code
        if stars or conversion.precision is not None:
            return None
        minus = 4 * ("-" in conversion.flags)
        return node("character", minus, conversion.width or 0, character)
    if kind == "p":
        plain = replace(conversion, kind="x", size=8)
        if conversion.width is None:
            plain = replace(plain, width=16, flags=conversion.flags + "0")
        return number(plain, value.code, stars)
    return number(conversion, as_type(value, conversion.int_type).code, stars)


def _pointer(conversion: Conversion, span: Code | None, stars: _Stars) -> Code | None:
    """A ``%p`` extension that reads the record: those of ``READERS`` that programs have."""
    if conversion.precision == ARGUMENT:
        return None
    letter, letters = conversion.suffix[:1], conversion.suffix[1:]
    width = stars[0] if stars else conversion.width
    if letter == "h":
        if not stars:
            width = 1 if width is None else min(int(conversion.width or 0), _MOST_HEX)
        separator = SEPARATORS.get(letters[:1], " ")
        return node("pointer", "HEX_BYTES", width, ord(separator), span)
    if letter == "b":
        return node("pointer", "BITMAP", width or 0, LIST * (letters[:1] == "l"), span)
    if stars:
        return None
    options = _options(letter, letters)
    return None if options is None else padded(conversion, node("pointer", *options, span), ())


def _options(letter: str, letters: str) -> tuple[str, int, int] | None:
    """Kind, width and options of an address or UUID."""
    if letter in ("M", "m"):
        separator = 0 if letter == "m" else ord("-" if letters[:1] == "F" else ":")
        upper = letters[:1] == "U" or letters[:2] in ("FU", "RU")
        return "MAC", 0, separator | UPPER * upper | REVERSED * (letters[:1] == "R")
    if letter == "U":
        return (
            "UUID",
            0,
            UPPER * (letters[:1] in ("B", "L")) | REVERSED * (letters[:1] in ("l", "L")),
        )
    if letter in ("I", "i") and letters[:1] == "4":
        return "IP4", 0, PADDED * (letter == "i") | REVERSED * (letters[1:2] in ("h", "l"))
    if letter in ("I", "i") and letters[:1] == "6":
        compact = letter == "I" and letters[1:2] == "c"
        return "IP6", 0, PADDED * (letter == "i") | COMPACT * compact
    return None
