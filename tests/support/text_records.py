"""Formats written down by hand or taken from a capture, and records packed to fit them."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from tracekit.ftrace.columns import Payloads
from tracekit.ftrace.context import Context, Symbolized
from tracekit.ftrace.format import EventFormat, parse_format
from tracekit.ftrace.print_fmt.printer import compile_print_fmt
from tracekit.ftrace.printers.render import Form, Renderer
from tracekit.ftrace.programs.run import TextColumn

IDS = itertools.count(700)
COMMON = """\
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
	field:unsigned char common_flags;	offset:2;	size:1;	signed:0;
	field:unsigned char common_preempt_count;	offset:3;	size:1;	signed:0;
	field:int common_pid;	offset:4;	size:4;	signed:1;
"""


def make_format(
    system: str, name: str, fields: list[tuple[str, int, int, bool]], print_fmt: str = '""'
) -> EventFormat:
    """``fields`` are (declaration, offset, size, signed)."""
    lines = "".join(
        f"\tfield:{decl};\toffset:{offset};\tsize:{size};\tsigned:{int(signed)};\n"
        for decl, offset, size, signed in fields
    )
    text = f"name: {name}\nID: {next(IDS)}\nformat:\n{COMMON}\n{lines}\nprint fmt: {print_fmt}\n"
    return parse_format(text, system, name)


def captured(boot: Path, event: str) -> EventFormat:
    """The format of ``system/name`` in a capture."""
    path = boot / "sys/kernel/tracing/events" / event / "format"
    return parse_format(path.read_text(), event.partition("/")[0], event)


def formats_of(events: Path) -> dict[int, EventFormat]:
    """Every format below ``events``, by id."""
    found = [
        parse_format(p.read_text(), p.parent.parent.name, str(p)) for p in events.glob("*/*/format")
    ]
    return {f.id: f for f in found}


def record(fmt: EventFormat, tail: bytes = b"", /, **values: int | bytes) -> bytes:
    """A payload with ``values`` in its fields and ``tail`` after its last one."""
    size = max(f.offset + f.size for f in (*fmt.common, *fmt.fields))
    data = bytearray(size)
    for name, value in values.items():
        field = fmt.field(name)
        assert field is not None, name
        if isinstance(value, int):
            value = (value & (1 << 8 * field.size) - 1).to_bytes(field.size, "little")
        data[field.offset : field.offset + len(value)] = value
    return bytes(data) + tail


class Names:
    """A symbol table of three functions, 0x100 bytes each."""

    START = 0xFFFFFFFF81000000
    TABLE = (("alpha", ""), ("beta", "mod"), ("arch_rethook_trampoline", ""))

    def lookup(self, address: int) -> Symbolized | None:
        slot, offset = divmod(address - self.START, 0x100)
        if not 0 <= slot < len(self.TABLE):
            return None
        return Symbolized(self.TABLE[slot][0], offset, 0x100, self.TABLE[slot][1])

    def code(self, name: str) -> int | None:
        names = [of_table for of_table, _ in self.TABLE]
        return self.START + 0x100 * names.index(name) if name in names else None


ALPHA, BETA, TRAMPOLINE = (Names.START + 0x100 * i for i in range(3))
UNKNOWN = 0xFFFF888000001234
CTX = Context(Names(), {0x1000: "%s is %d\n", 0x2000: "fixed text\n"}, {7: "seven", 1: "init"})
HEADER = struct.pack("<HBBi", 7, 0x18, 1, 42)


def make(print_fmt: str, *fields: str, system: str = "test") -> EventFormat:
    """A format whose fields are given as ``declaration@offset:size[:signed]``."""
    lines = []
    for one in fields:
        declaration, _, place = one.partition("@")
        offset, size, *signed = place.split(":")
        lines.append(
            f"\tfield:{declaration};\toffset:{offset};\tsize:{size};\tsigned:{int(bool(signed))};\n"
        )
    text = f"name: event\nID: 7\nformat:\n{COMMON}\n{''.join(lines)}\nprint fmt: {print_fmt}\n"
    return parse_format(text, system, "test")


def show(fmt: EventFormat, data: bytes, ctx: Context | None = None) -> str:
    return compile_print_fmt(fmt, ctx or Context())(HEADER + data)


def evaluate(expression: str, conversion: str = "%lld", **constants: int) -> str:
    """Print one expression over a fixed record."""
    fmt = make(
        f'"{conversion}", {expression}',
        "int i@8:4:s", "unsigned int u@12:4", "long l@16:8:s", "unsigned long ul@24:8",
        "u8 b@32:1", "s8 sb@33:1:s", "u16 h@34:2", "char c@36:1", "bool t@37:1",
        "u32 arr[3]@40:12", "char comm[8]@52:8", "__data_loc u16[] dyn@60:4",
        "const char * s@64:8", "__data_loc char[] str@72:4", "struct pt two@80:16",
        "__rel_loc char[] rel@96:4", "u32 flex[]@100:0",
    )  # fmt: skip
    data = struct.pack("<iIqQBbHBB2x3I8sIQI4x16sI", -1, 0xFFFFFFFF, -2, (1 << 64) - 3, 200, -56,
                       65535, 255, 1, 10, 20, 30, b"swapper\0", 104 | 6 << 16, 0xFFFF0000,
                       110 | 3 << 16, bytes(range(16)), 13 | 4 << 16)  # fmt: skip
    tail = struct.pack("<I3H", 77, 1, 2, 3) + b"hi\0" + b"rel\0"
    ctx = Context(printk_formats={0xFFFF0000: "known"}, jiffies_hz=250)
    return compile_print_fmt(fmt, ctx, constants)(HEADER + data + tail)


@cache
def formats(boot: Path) -> dict[int, EventFormat]:
    found = {}
    for path in sorted((boot / "sys/kernel/tracing/events").glob("*/*/format")):
        fmt = parse_format(path.read_text(), path.parts[-3], str(path))
        found[fmt.id] = fmt
    return found


def printed(renderer: Renderer, records: Sequence[bytes], form: Form = "args") -> int:
    """How many records a program prints, each as the evaluator does."""
    program = renderer.program(form)
    if program is None:
        return 0
    data = b"".join(records)
    lengths = np.array([len(r) for r in records], np.uint32)
    offsets = (np.cumsum(lengths, dtype=np.uint64) - lengths).astype(np.uint64)
    column = TextColumn(len(records))
    left = column.print(np.arange(len(records)), Payloads(data, offsets, lengths), program)
    texts = list(column.each())
    done = sorted(set(range(len(records))) - set(left.tolist()))
    for i in done:
        expected = renderer.formed(renderer.render(records[i]), form)
        assert texts[i] == expected.encode("utf-8", "backslashreplace"), records[i].hex()
    return len(done)
