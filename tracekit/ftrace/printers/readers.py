"""Small compiled readers over record payloads, shared by the printers.

A payload is one record from ``common_type`` on. Readers take their offsets from the event's
format and raise :class:`struct.error` where a record is too short for it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, TypeAlias

from tracekit.errors import FormatError
from tracekit.ftrace.context import SymbolTable
from tracekit.ftrace.format import EventFormat, Field
from tracekit.ftrace.kernel_printf.pointers import c_text, symbol_text

__all__ = [
    "IpNames",
    "Payload",
    "Render",
    "function_names",
    "integers",
    "ip_names",
    "need",
    "text_at",
    "words_at",
]

Payload: TypeAlias = memoryview | bytes
Render: TypeAlias = Callable[[Payload], str]

_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_NAMES_LIMIT = 1 << 18
# arch_rethook_trampoline() or, before rethook, the kretprobe's own; is_kretprobe_trampoline()
_TRAMPOLINES = frozenset({"arch_rethook_trampoline", "__kretprobe_trampoline"})


def need(fmt: EventFormat, name: str) -> Field:
    """The field called ``name``; raises :class:`FormatError` where the format has none."""
    field = fmt.field(name)
    if field is None:
        raise FormatError(f"{fmt.full_name}: no field {name!r}")
    return field


def integers(fmt: EventFormat, *names: str) -> Callable[[Payload], tuple[Any, ...]]:
    """A reader of integer fields: payload -> their values in the order of ``names``.

    Raises :class:`FormatError` where a field is missing, not an integer, or inside another.
    """
    fields = [need(fmt, name) for name in names]
    order = sorted(range(len(fields)), key=lambda i: fields[i].offset)
    layout, end = "<", 0
    for i in order:
        field = fields[i]
        code = _CODES.get(field.size)
        if code is None or field.offset < end:
            raise FormatError(f"{fmt.full_name}: field {field.name!r} is no plain integer")
        layout += f"{field.offset - end}x{code.lower() if field.signed else code}"
        end = field.offset + field.size
    unpack = struct.Struct(layout).unpack_from
    if order == list(range(len(fields))):
        return unpack
    ranks = [order.index(i) for i in range(len(fields))]

    def reordered(payload: Payload) -> tuple[Any, ...]:
        values = unpack(payload)
        return tuple(values[i] for i in ranks)

    return reordered


def words_at(payload: Payload, offset: int) -> tuple[int, ...]:
    """The whole 64-bit words from ``offset`` to the record's end."""
    count = max(0, len(payload) - offset) // 8
    return struct.unpack_from(f"<{count}Q", payload, offset) if count else ()


def text_at(payload: Payload, offset: int, size: int | None = None) -> str:
    """The text at ``offset``, up to a NUL, ``size`` bytes or the record's end.

    Bytes that are not UTF-8 are escaped.
    """
    end = len(payload) if size is None else offset + size
    return c_text(bytes(payload[offset:end]))


class IpNames(dict[int, str]):
    """Address -> text, computed on first use."""

    def __init__(self, name: Callable[[int], str]) -> None:
        super().__init__()
        self._name = name

    def __missing__(self, ip: int) -> str:
        if len(self) >= _NAMES_LIMIT:
            self.clear()
        text = self[ip] = self._name(ip)
        return text


def ip_names(symbols: SymbolTable, offset: bool = False) -> IpNames:
    """What ``seq_print_ip_sym()`` (``kernel/trace/trace_output.c``) prints for an address.

    With ``offset``, as with the option ``sym-offset``, which probe events always use.
    """

    def name(ip: int) -> str:
        if not ip:
            return "0"
        symbol = symbols.lookup(ip)
        if symbol is not None and symbol.name in _TRAMPOLINES and not symbol.offset:
            return "[unknown/kretprobe'd]"
        if offset:
            return symbol_text(symbols, ip)
        return f"0x{ip:08x}" if symbol is None else symbol.name

    return IpNames(name)


def function_names(symbols: SymbolTable) -> IpNames:
    """What ``%ps`` prints for an address: ``name`` or ``name [module]``."""
    return IpNames(lambda ip: symbol_text(symbols, ip, "s"))
