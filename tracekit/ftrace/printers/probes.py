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
from tracekit.ftrace.kernel_printf.pointers import symbol_text
from tracekit.ftrace.printers.readers import IpNames, Payload, Render, integers, ip_names, text_at

__all__ = ["compile_probe"]

_SPEC = r'(?:%L?[ud]|0x%L?x|\'%c\'|%pS|\\"%s\\")'
_ARGUMENT = re.compile(rf" (\w+)=(?:\{{({_SPEC})(?:,{_SPEC})*\}}|({_SPEC}))")

_KERNEL_HALF = 1 << 63  # below it: a user-space address, of a uprobe

_Show = Callable[[Payload], str]


def compile_probe(fmt: EventFormat, ctx: Context) -> Render | None:
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
    shows: list[_Show] = [place]
    position = 0
    for argument in fmt.fields:
        if not argument.name.startswith("__probe_"):
            match = _ARGUMENT.match(text, position)
            if match is None or match[1] != argument.name:
                raise FormatError(f"{fmt.full_name}: no {argument.name!r} where one is expected")
            position = match.end()
            shows.append(_argument(argument, match[2] or match[3], offsets))

    def render(payload: Payload) -> str:
        return "".join([show(payload) for show in shows])

    return render


def _constant(text: str) -> _Show:
    """What an eprobe is attached to: ``print_eprobe_event()`` in ``trace_eprobe.c``."""
    return lambda payload: text


def _entry_place(fmt: EventFormat, ctx: Context) -> _Show:
    read, names = integers(fmt, "__probe_ip"), ip_names(ctx.symbols, offset=True)

    def show(payload: Payload) -> str:
        return f"({names[read(payload)[0]]})"

    return show


def _return_place(fmt: EventFormat, ctx: Context) -> _Show:
    read = integers(fmt, "__probe_ret_ip", "__probe_func")
    returns, functions = ip_names(ctx.symbols, offset=True), ip_names(ctx.symbols)

    def show(payload: Payload) -> str:
        back, function = read(payload)
        name = functions[function] if function >= _KERNEL_HALF else f"0x{function:x}"
        return f"({returns[back]} <- {name})"

    return show


def _argument(field: Field, spec: str, offsets: IpNames) -> _Show:
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

    return show


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
