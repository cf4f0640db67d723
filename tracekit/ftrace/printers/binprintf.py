"""Binary ``printf`` records: a format string and its arguments as ``vbin_printf()`` saved them.

The kernel prints ``trace_printk()`` events with the counterpart, ``bstr_printf()`` in
``lib/vsprintf.c``. Arguments follow one another: integers of up to four bytes as an int, longer
ones in eight bytes, both aligned to four; characters as one byte; strings in full with their NUL.
Pointers whose target is printed were already turned into text.
"""

from __future__ import annotations

import struct
from dataclasses import replace

from tracekit.ftrace.context import SymbolTable
from tracekit.ftrace.kernel_printf.ctype import wrap
from tracekit.ftrace.kernel_printf.pointers import address_text
from tracekit.ftrace.kernel_printf.vsprintf import Conversion, format_integer, pad, resolved
from tracekit.ftrace.printers.readers import Payload

__all__ = ["binary_text"]

_NAMED_ADDRESS = frozenset("SsxKe")  # letters that bstr_printf() resolves itself


class _Arguments:
    """Takes arguments off the buffer; raises :class:`struct.error` past its end."""

    def __init__(self, payload: Payload, offset: int) -> None:
        self._payload = payload
        self._position = offset
        self._start = offset

    def integer(self, size: int, signed: bool) -> int:
        code = {1: "B", 8: "Q"}.get(size, "I")
        if code != "B":
            self._position += -(self._position - self._start) % 4
        value: int = struct.unpack_from(
            "<" + (code.lower() if signed else code), self._payload, self._position
        )[0]
        self._position += struct.calcsize(code)
        return value

    def string(self) -> str:
        raw = bytes(self._payload[self._position :])
        end = raw.find(b"\0")
        if end < 0:
            raise struct.error("a string without its end")
        self._position += end + 1
        return raw[:end].decode("utf-8", "backslashreplace")


def binary_text(
    parts: list[str | Conversion], payload: Payload, offset: int, symbols: SymbolTable
) -> str:
    """The text of one record: ``parts`` of its format string, its arguments at ``offset``.

    Raises :class:`struct.error` where the record ends before its arguments do.
    """
    arguments = _Arguments(payload, offset)
    return "".join(
        part if isinstance(part, str) else _converted(part, arguments, symbols) for part in parts
    )


def _converted(conversion: Conversion, arguments: _Arguments, symbols: SymbolTable) -> str:
    if conversion.stars:
        stars = [arguments.integer(4, True) for _ in range(conversion.stars)]
        conversion = resolved(conversion, stars)
    if conversion.kind == "c":
        letter = chr(arguments.integer(1, False))
        return pad(letter, replace(conversion, precision=None))
    if conversion.kind == "s":
        return pad(arguments.string(), conversion)
    if conversion.kind == "p":
        if conversion.suffix and conversion.suffix[0] not in _NAMED_ADDRESS:
            return arguments.string()
        return address_text(symbols, conversion, arguments.integer(8, False))
    kind = conversion.int_type
    value = arguments.integer(8 if kind.size > 4 else 4, kind.signed)
    return format_integer(wrap(value, kind), conversion)
