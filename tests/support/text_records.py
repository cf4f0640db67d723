"""Formats written down by hand or taken from a capture, and records packed to fit them."""

from __future__ import annotations

import itertools
from pathlib import Path

from tracekit.ftrace.context import Context, Symbolized
from tracekit.ftrace.format import EventFormat, parse_format

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


ALPHA, BETA, TRAMPOLINE = (Names.START + 0x100 * i for i in range(3))
UNKNOWN = 0xFFFF888000001234
CTX = Context(Names(), {0x1000: "%s is %d\n", 0x2000: "fixed text\n"}, {7: "seven", 1: "init"})
