"""Seeds for the C code that reads what the rest of tracekit prepares for it."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from tests.support.text_records import CTX, make
from tracekit.export.perfetto.programs import Kind, Programs
from tracekit.ftrace.format import parse_format
from tracekit.ftrace.printers.render import make_renderer

__all__ = ["native_seeds"]

_FORMAT = """name: {name}
ID: 7
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

{fields}
print fmt: "x"
"""


def _perfetto(name: str, *fields: tuple[str, int, int]) -> bytes:
    """The program of an event, and two records for it, as ``perfetto_events`` there reads it."""
    lines = (f"\tfield:{f};\toffset:{o};\tsize:{s};\tsigned:1;\n" for f, o, s in fields)
    parsed = parse_format(_FORMAT.format(name=name, fields="".join(lines)), "made", "seed")
    packed = Programs.of([Kind(0, 7, f"made:{name}", name, parsed)]).packed()
    assert len(packed[1]) < 8 * 32
    assert len(packed[2]) < 64
    records = struct.pack("<4H", 0, 48, 40, 56)
    payload = struct.pack("<HHiIIQ", 7, 0, 1, 8 << 16 | 32, 4 << 16 | 20, 1 << 63) + b"text\0more"
    text = bytes([0, 2, 4]) + b"abcd"
    head = bytes([1, len(packed[1]) // 32, len(packed[2]), 1, 2])
    return head + b"".join(packed) + records + payload.ljust(96, b"\1") + bytes(18) + text


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
    yield "native_perfetto", _perfetto("a", ("int n", 8, 4), ("__data_loc char[] t", 8, 4))
    yield "native_perfetto", _perfetto("b", ("__rel_loc s16[] n", 12, 4), ("u8 b[4]", 24, 4))
    yield "native_perfetto", _perfetto("irq_handler_exit", ("int irq", 8, 4), ("int ret", 12, 4))
    yield "native_counter", struct.pack("<iB", 1, 5)
