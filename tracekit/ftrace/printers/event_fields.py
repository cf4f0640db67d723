"""Every field of an event by its type, as ``print_fields()`` in ``kernel/trace/trace_output.c``.

The kernel prints user events this way, and any event where the trace option ``fields`` is on.
What a field is, it takes from its type: ``filter_assign_type()`` in ``trace_events_filter.c``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from tracekit.ftrace.context import Context
from tracekit.ftrace.format import EventFormat, Field
from tracekit.ftrace.kernel_printf.ctype import LONG, IntType
from tracekit.ftrace.kernel_printf.pointers import symbol_text
from tracekit.ftrace.kernel_printf.vsprintf import Conversion
from tracekit.ftrace.printers.readers import Payload, text_at
from tracekit.ftrace.programs.code import (
    Code,
    Printer,
    binary,
    integer,
    joined,
    literal,
    node,
    number,
    string,
    type_code,
)
from tracekit.ftrace.programs.tables import Learned

__all__ = ["compile_fields", "shows_fields"]

_Show = Callable[[Payload], str]
_OVERFLOW = "<OVERFLOW>"
_STRING, _DECIMAL = Conversion("s"), Conversion("d", size=8)
_HEX = Conversion("x", "#", size=8)
_FUNCTIONS = frozenset({"ip", "parent_ip"})  # __field_fn() in kernel/trace/trace_entries.h
_CODES = {1: "B", 2: "H", 4: "i", 8: "q"}


def shows_fields(fmt: EventFormat, ctx: Context) -> bool:
    """Whether the kernel prints the records of ``fmt`` field by field."""
    return fmt.system.startswith("user_events") or "fields" in ctx.options


def compile_fields(fmt: EventFormat, ctx: Context) -> Printer:
    """The printer of ``name=value`` for every field but the common ones, spaces between."""
    shows = [(f.member or f.name, f.offset + f.size, _field(fmt, f, ctx)) for f in fmt.fields]

    def render(payload: Payload) -> str:
        size = len(payload)
        return " ".join(
            f"{name}={show(payload) if end <= size else _OVERFLOW}" for name, end, show in shows
        )

    codes: list[Code | None] = []
    for name, f in zip((name for name, _, _ in shows), fmt.fields, strict=True):
        codes.append(literal(f"{' ' if codes else ''}{name}="))
        codes.append(_code(fmt, f, ctx))
    return Printer(render, joined(codes), max((end for _, end, _ in shows), default=0))


def _code(fmt: EventFormat, f: Field, ctx: Context) -> Code | None:
    """What :func:`_field` shows of a record that is long enough."""
    if f.loc:
        span = node("dynamic", f.offset, f.offset + 4 if f.loc == "rel_loc" else 0)
        text = string(_STRING, span, ())
        return text if f.is_string else node("pointer", "ALL_BYTES", 0, ord(","), span)
    if f.is_string:
        return string(_STRING, node("fixed", f.offset, f.size), ())
    if f.length is not None or f.size not in _CODES:
        return literal("<INVALID-SIZE>")
    if f.type in ("char *", "const char *"):
        return None
    word = node("load", f.offset, type_code(IntType(f.size, False)))
    number_ = node("load", f.offset, type_code(IntType(f.size, f.size > 2)))
    plain = joined([literal(" ("), number(_DECIMAL, number_, ()), literal(")")])
    if f.size == 1:
        return node("learned", Learned(_byte), word)
    if f.size < 8:
        return joined([number(_HEX, word, ()), plain])
    in_kernel = binary("LT", LONG, number_, integer(0))
    symbol = node("learned", Learned(lambda ip: symbol_text(ctx.symbols, ip)), word)
    name = node("if", in_kernel, symbol, number(_HEX, word, ()))
    is_function = fmt.system == "ftrace" and f.name in _FUNCTIONS
    return name if is_function else joined([name, plain])


def _byte(value: int) -> str:
    """A byte as a number, and as the character that it may be."""
    printable = 32 <= value < 127 or value >= 160  # isprint(), lib/ctype.c
    raw = bytes((value,)).decode("utf-8", "backslashreplace")
    return f"'{raw}'({value})" if printable else f"({value})"


def _field(fmt: EventFormat, f: Field, ctx: Context) -> _Show:
    if f.loc:
        return _dynamic(f)
    if f.is_string:
        return lambda payload: text_at(payload, f.offset, f.size)
    if f.type in ("char *", "const char *"):
        return _pointer(f)
    if fmt.system == "ftrace" and f.name in _FUNCTIONS and f.size == 8:
        return lambda payload: symbol_text(ctx.symbols, _unsigned(payload, f))
    if f.length is not None or f.size not in _CODES:
        return lambda payload: "<INVALID-SIZE>"
    return _number(f, ctx)


def _unsigned(payload: Payload, f: Field) -> int:
    return int.from_bytes(payload[f.offset : f.offset + f.size], "little")


def _number(f: Field, ctx: Context) -> _Show:
    """By its size: a byte as a character, too; a word as the symbol that it may point into."""
    size, unpack = f.size, struct.Struct(f"<{_CODES[f.size]}").unpack_from

    def show(payload: Payload) -> str:
        (value,) = unpack(payload, f.offset)
        if size == 1:
            return _byte(value)
        if size == 8:
            return f"{symbol_text(ctx.symbols, value & (1 << 64) - 1)} ({value})"
        return f"{_unsigned(payload, f):#x} ({value})"

    return show


def _pointer(f: Field) -> _Show:
    """A pointer to a string in the kernel, which the record does not hold."""
    return lambda payload: f"(0x{_unsigned(payload, f):016x})"


def _dynamic(f: Field) -> _Show:
    base = f.offset + 4 if f.loc == "rel_loc" else 0
    is_string = f.is_string

    def show(payload: Payload) -> str:
        place = int.from_bytes(payload[f.offset : f.offset + 4], "little")
        start, size = base + (place & 0xFFFF), place >> 16
        if start + size > len(payload):
            return _OVERFLOW
        if is_string:
            return text_at(payload, start, size)
        return bytes(payload[start : start + size]).hex(",")

    return show
