"""Seeds for the C code that reads what the rest of tracekit prepares for it."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from tests.support.text_records import CTX, make
from tracekit.ftrace.printers.render import make_renderer

__all__ = ["native_seeds"]


def _program(print_fmt: str) -> bytes:
    """A program, and two records for it, as :func:`tests.fuzz.parsers.native.programs` reads it."""
    printer = make_renderer(make(print_fmt, "int i@8:4:s", "u8 a[8]@12:8", "long l@24:8"), CTX)
    program = printer.program("args")
    assert program is not None
    code, constants, blob, need, _ = program.native()
    records = struct.pack("<4H128s", 0, 40, 32, 64, bytes(range(1, 129)))
    table = struct.pack("<2Q4B64s", 1, 2, 0, 3, 3, 7, b"onewide")
    head = struct.pack("<HBBBB", need, len(blob), len(constants) // 8, 2, 2)
    return head + records + table + constants + blob + code


def native_seeds() -> Iterator[tuple[str, bytes]]:
    """(target, seed) of each parser in C that has no file format of its own."""
    yield "native_programs", _program('"%d %8x %s", REC->i, REC->l ? REC->l / 3 : 7, REC->a')
    flags = '__print_flags(REC->i, "|", {1, "a"}), __print_symbolic(REC->l, {1, "b"})'
    yield "native_programs", _program(f'"%-9s %s %*ph %pM", {flags}, REC->i, REC->a, REC->a')
    yield "native_programs", _program('"%c %pS %s", REC->i, REC->l, __print_array(REC->a, 2, 4)')
    records = struct.pack("<6H", 0, 16, 16, 24, 40, 16)
    payload = struct.pack("<HBBiHH4s", 1, 0, 0, 7, 8, 6, b"abc\0") * 4
    for mode in range(4):
        yield "native_columns", struct.pack("<BbHHbBB", 3, mode, 8, 4, 8, 1, 1) + records + payload
    for mode in range(3):
        stamps = struct.pack("<2Q", 1_234_567_890, (1 << 64) - 5)
        column = b"\2" + b"\0\1" + b"\0\2\3" + b"abc"
        yield "native_lines", struct.pack("<bB", mode, 2) + stamps + column * 2
    yield "native_counter", struct.pack("<iB", 1, 5)
