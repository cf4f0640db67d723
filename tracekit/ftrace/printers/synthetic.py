"""Synthetic events: ``print_synth_event()`` in ``kernel/trace/trace_events_synth.c``.

Their ``print fmt`` has commas that the kernel does not print, and no names of gfp flags.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Iterator

from tracekit.errors import FormatError
from tracekit.ftrace.context import Context
from tracekit.ftrace.format import EventFormat, Field
from tracekit.ftrace.kernel_printf.ctype import IntType
from tracekit.ftrace.kernel_printf.pointers import symbol_text
from tracekit.ftrace.kernel_printf.vsprintf import Conversion
from tracekit.ftrace.print_fmt import nodes
from tracekit.ftrace.print_fmt.calls import flag_names
from tracekit.ftrace.print_fmt.split import parse_print_fmt
from tracekit.ftrace.printers.readers import Payload, text_at
from tracekit.ftrace.programs.code import (
    Code,
    Printer,
    joined,
    literal,
    node,
    number,
    string,
    type_code,
)
from tracekit.ftrace.programs.tables import Learned

__all__ = ["compile_synthetic"]

_Show = Callable[[Payload], str]
_Shown = tuple[_Show, Code | None]
_STRING = Conversion("s")
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
#: synth_field_fmt(): types that print signed or in hex; the others unsigned. A value of one or two
#: bytes reaches the conversion as an unsigned integer, so it never prints a sign.
_SIGNED = frozenset({"s64", "s32", "int", "long", "bool", "pid_t", "char", "s16", "s8"})


def compile_synthetic(fmt: EventFormat, ctx: Context) -> Printer | None:
    """The printer of a synthetic event; None where ``fmt`` is none.

    Raises :class:`~tracekit.errors.FormatError`.
    """
    if fmt.system != "synthetic":
        return None
    last = len(fmt.fields) - 1
    shown = [_field(f, ctx, "" if i == last else " ") for i, f in enumerate(fmt.fields)]
    shows = [show for show, _ in shown]

    def render(payload: Payload) -> str:
        return "".join([show(payload) for show in shows])

    return Printer(render, joined(code for _, code in shown))


def _field(f: Field, ctx: Context, space: str) -> _Shown:
    show = _show(f, ctx, space)
    if f.loc and f.type.split()[-1:] == ["long"]:
        return show, None
    if f.loc:
        value = string(_STRING, node("clipped", f.offset, 0), ())
    elif f.is_string:
        value = string(_STRING, node("fixed", f.offset, f.size), ())
    else:
        type_ = IntType(f.size, _is_signed(f))
        word = node("load", f.offset, type_code(type_))
        if f.type == "gfp_t":
            names, gfp = _gfp_names(ctx), Conversion("x", size=8)
            named = node("learned", Learned(lambda flags: f" ({names(flags)})"), word)
            return show, joined(
                [literal(f"{f.name}="), number(gfp, word, ()), literal(space), named]
            )
        value = number(Conversion("d" if type_.signed else "u", size=8), word, ())
    return show, joined([literal(f"{f.name}="), value, literal(space)])


def _is_signed(f: Field) -> bool:
    return f.type in _SIGNED and f.size >= 4


def _show(f: Field, ctx: Context, space: str) -> _Show:
    label = f"{f.name}="
    if f.loc and f.type.split()[-1:] == ["long"]:
        return _stack(f, ctx)
    if f.loc:
        return lambda payload: f"{label}{_dynamic(payload, f)}{space}"
    if f.is_string:
        return lambda payload: f"{label}{text_at(payload, f.offset, f.size)}{space}"
    code = _CODES.get(f.size)
    if code is None:
        raise FormatError(f"synthetic field {f.name!r} of {f.size} bytes")
    unpack = struct.Struct(f"<{code.lower() if _is_signed(f) else code}").unpack_from
    if f.type == "gfp_t":
        names = _gfp_names(ctx)
        return lambda payload: (
            f"{label}{unpack(payload, f.offset)[0]:x}{space} "
            f"({names(unpack(payload, f.offset)[0])})"
        )
    return lambda payload: f"{label}{unpack(payload, f.offset)[0]}{space}"


def _dynamic(payload: Payload, f: Field) -> str:
    (place,) = struct.unpack_from("<I", payload, f.offset)
    return text_at(payload, place & 0xFFFF, place >> 16)


def _stack(f: Field, ctx: Context) -> _Show:
    """The first word of a stack is the number of entries."""

    def show(payload: Payload) -> str:
        (place,) = struct.unpack_from("<I", payload, f.offset)
        data = bytes(payload[place & 0xFFFF : (place & 0xFFFF) + (place >> 16)])
        words = struct.unpack_from(f"<{len(data) // 8}Q", data)[1:]
        ips = words[: words.index(0)] if 0 in words else words
        lines = "".join(f"=> {symbol_text(ctx.symbols, ip)}\n" for ip in ips)
        return f"{f.name}=STACK:\n{lines}"

    return show


def _gfp_names(ctx: Context) -> Callable[[int], str]:
    """The names of gfp flags, which other events' print formats have."""
    if ctx.gfp_format is not None:
        _, args = parse_print_fmt(ctx.gfp_format.print_fmt, ctx.gfp_format.full_name)
        for call in (call for arg in args for call in _calls(arg)):
            if call.name == "__print_flags" and _names_gfp(call.args[0]):
                return flag_names(ctx.gfp_format, ctx, call.args[2:], "|")
    return lambda value: f"?{value:#x}"


def _names_gfp(node: nodes.Node) -> bool:
    while isinstance(node, nodes.Cast):
        node = node.operand
    return isinstance(node, nodes.Member) and node.name == "gfp_flags"


def _calls(node: object) -> Iterator[nodes.Call]:
    """The calls in a syntax tree; its depth is bounded by the parser."""
    if isinstance(node, nodes.Call):
        yield node
    if isinstance(node, tuple):
        for part in node:
            yield from _calls(part)
    elif dataclasses.is_dataclass(node):
        for field in dataclasses.fields(node):
            yield from _calls(getattr(node, field.name))
