"""Probe events (kprobes, fprobes, uprobes, eprobes) as the kernel prints them.

Their ``print fmt`` shows raw addresses for tools that cannot look them up; the kernel's printers
(``print_kprobe_event()`` in ``kernel/trace/trace_kprobe.c`` and its kin) print symbols, and
``(fault)`` where a string could not be read. The arguments' types are only in the ``print fmt``,
which ``__set_print_fmt()`` in ``kernel/trace/trace_probe.c`` builds in one fixed way.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any

from tracekit.errors import FormatError
from tracekit.ftrace.context import Context
from tracekit.ftrace.format import EventFormat, Field
from tracekit.ftrace.kernel_printf.ctype import LONG, U32, U64, IntType
from tracekit.ftrace.kernel_printf.pointers import symbol_text
from tracekit.ftrace.kernel_printf.vsprintf import Conversion
from tracekit.ftrace.printers.readers import IpNames, Payload, integers, ip_names, text_at
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

__all__ = ["compile_probe"]

_SPEC = r'(?:%L?[ud]|0x%L?x|\'%c\'|%pS|\\"%s\\")'
_ARGUMENT = re.compile(rf" (\w+)=(?:\{{({_SPEC})(?:,{_SPEC})*\}}|({_SPEC}))")

_KERNEL_HALF = 1 << 63  # below it: a user-space address, of a uprobe

_Show = Callable[[Payload], str]
_Shown = tuple[_Show, Code | None]
_STRING = Conversion("s")


def compile_probe(fmt: EventFormat, ctx: Context) -> Printer | None:
    """The printer of a probe event; None where ``fmt`` is not a probe's.

    Raises :class:`FormatError`; the printer raises :class:`struct.error` on a record too short
    for its format.
    """
    fields = {f.name: f for f in fmt.fields}
    if fmt.print_fmt.startswith('"(%lx <- %lx)') and "__probe_ret_ip" in fields:
        place, text = _return_place(fmt, ctx), fmt.print_fmt[13:]
    elif fmt.print_fmt.startswith('"(%lx)') and "__probe_ip" in fields:
        place, text = _entry_place(fmt, ctx), fmt.print_fmt[6:]
    elif fmt.print_fmt.startswith('" ') and (key := f"{fmt.system}/{fmt.name}") in ctx.eprobes:
        place, text = _constant(f"({ctx.eprobes[key]})"), fmt.print_fmt[1:]
    else:
        return None
    offsets = IpNames(lambda ip: symbol_text(ctx.symbols, ip))
    shown: list[_Shown] = [place]
    position = 0
    for argument in fmt.fields:
        if not argument.name.startswith("__probe_"):
            match = _ARGUMENT.match(text, position)
            if match is None or match[1] != argument.name:
                raise FormatError(f"{fmt.full_name}: no {argument.name!r} where one is expected")
            position = match.end()
            shown.append(_argument(argument, match[2] or match[3], offsets))
    shows = [show for show, _ in shown]

    def render(payload: Payload) -> str:
        return "".join([show(payload) for show in shows])

    return Printer(render, joined(code for _, code in shown))


def _constant(text: str) -> _Shown:
    """What an eprobe is attached to: ``print_eprobe_event()`` in ``trace_eprobe.c``."""
    return lambda payload: text, literal(text)


def _word(fmt: EventFormat, name: str) -> Code | None:
    field = fmt.field(name)
    whole = field is not None and field.size == U64.size
    return node("load", field.offset, type_code(U64)) if field is not None and whole else None


def _looked_up(names: IpNames, address: Code | None) -> Code | None:
    return node("learned", Learned(names.__getitem__), address)


def _entry_place(fmt: EventFormat, ctx: Context) -> _Shown:
    read, names = integers(fmt, "__probe_ip"), ip_names(ctx.symbols, offset=True)

    def show(payload: Payload) -> str:
        return f"({names[read(payload)[0]]})"

    place = _looked_up(names, _word(fmt, "__probe_ip"))
    return show, joined([literal("("), place, literal(")")])


def _return_place(fmt: EventFormat, ctx: Context) -> _Shown:
    read = integers(fmt, "__probe_ret_ip", "__probe_func")
    returns, functions = ip_names(ctx.symbols, offset=True), ip_names(ctx.symbols)

    def show(payload: Payload) -> str:
        back, function = read(payload)
        name = functions[function] if function >= _KERNEL_HALF else f"0x{function:x}"
        return f"({returns[back]} <- {name})"

    back, called = _word(fmt, "__probe_ret_ip"), _word(fmt, "__probe_func")
    in_kernel = binary("LT", LONG, called, integer(0))
    plain = number(Conversion("x", "#", size=8), called, ())
    function = node("if", in_kernel, _looked_up(functions, called), plain)
    code = [literal("("), _looked_up(returns, back), literal(" <- "), function, literal(")")]
    return show, joined(code)


def _argument(field: Field, spec: str, offsets: IpNames) -> _Shown:
    """`` name=value``, or `` name={value,value}`` for an array."""
    size = 4 if field.loc else field.element
    count = field.length or 1
    if spec.startswith("\\"):
        code, value = "I", None
        count = max(1, field.size // 4)
    else:
        code, value = _number(spec, size, offsets)
    layout = struct.Struct(f"<{count}{code}")
    label, start = f" {field.name}=", field.offset
    is_array = field.length is not None and not field.loc

    def show(payload: Payload) -> str:
        words = layout.unpack_from(payload, start)
        texts = [_string(payload, w) if value is None else value(w) for w in words]
        return f"{label}{{{','.join(texts)}}}" if is_array else label + texts[0]

    step = layout.size // count
    codes: list[Code | None] = []
    for at in range(start, start + (layout.size if is_array else step), step):
        codes.append(literal("," if codes else label + "{" * is_array))
        codes.append(_string_code(at) if value is None else _number_code(spec, at, step, offsets))
    return show, joined([*codes, literal("}" * is_array)])


def _number_code(spec: str, offset: int, size: int, offsets: IpNames) -> Code | None:
    """What :func:`_number` prints."""
    type_ = IntType(size, spec.endswith("d"))
    value = node("load", offset, type_code(type_))
    if spec == "%pS":
        return _looked_up(offsets, value)
    if spec == "'%c'":
        character = joined([literal("'"), node("character", 0, 0, value), literal("'")])
        is_ascii = binary("LT", U64, value, integer(0x80))
        return node("if", is_ascii, character, ("never", "text"))
    kind = "d" if type_.signed else "x" if spec.startswith("0x") else "u"
    return number(Conversion(kind, "#" if kind == "x" else "", size=8), value, ())


def _string_code(offset: int) -> Code | None:
    """What :func:`_string` prints."""
    size = binary("SHR", U32, node("load", offset, type_code(U32)), integer(16))
    text = string(_STRING, node("clipped", offset, 0), ())
    return node("if", size, joined([literal('"'), text, literal('"')]), literal("(fault)"))


def _number(spec: str, size: int, offsets: IpNames) -> tuple[str, Callable[[Any], str]]:
    """The :mod:`struct` code and the text form of one number under one conversion."""
    code = {1: "B", 2: "H", 4: "I", 8: "Q"}.get(size)
    if code is None:
        raise FormatError(f"probe argument of {size} bytes")
    if spec.endswith("d"):
        return code.lower(), str
    if spec.startswith("0x"):
        return code, hex
    if spec == "'%c'":
        return code, lambda value: f"'{chr(value)}'"
    if spec == "%pS":
        return code, offsets.__getitem__
    return code, str


def _string(payload: Payload, loc: int) -> str:
    """A string in quotes; ``loc`` holds its offset and length, and length 0 means a fault."""
    size = loc >> 16
    return f'"{text_at(payload, loc & 0xFFFF, size)}"' if size else "(fault)"
