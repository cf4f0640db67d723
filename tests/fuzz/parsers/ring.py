"""Regions and sub-buffers, decoded to the end: columns, typed arguments, text."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from functools import cache

import numpy as np

from tests.support.ring.region_strategies import LAYOUTS, Script, Step
from tracekit.errors import ParseError
from tracekit.export.redaction.texts import Names, overwrite_event
from tracekit.ftrace.columns import Payloads, typed_columns
from tracekit.ftrace.context import Context
from tracekit.ftrace.format import EventFormat, HeaderPage, parse_format
from tracekit.ftrace.print_fmt.addresses import address_fields
from tracekit.ftrace.printers.render import make_renderer
from tracekit.ftrace.ring.layout import parse_layout
from tracekit.ftrace.ring.page import RecordHeader, Records, read_pages

_RENDERED = 40  # records an input renders
_COMMON = """name: made
ID: 1
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

"""
_FIELDS = """\tfield:__data_loc char[] name;\toffset:8;\tsize:4;\tsigned:0;
\tfield:char comm[16];\toffset:12;\tsize:16;\tsigned:0;
\tfield:unsigned long address;\toffset:32;\tsize:8;\tsigned:0;
\tfield:__data_loc u32[] many;\toffset:40;\tsize:4;\tsigned:0;

print fmt: "%s %s %pS %lx %s", __get_str(name), REC->comm, (void *)REC->address, REC->address, \
__print_array(__get_dynamic_array(many), 4, 4)
"""
_PATCH = struct.Struct("<BBBBI")  # page, offset in it, width, what to do, value


def decode_with(fmt: EventFormat, payloads: Payloads) -> None:
    """Everything there is to be made of some records with a format."""
    for column in typed_columns(payloads, fmt).values():
        column.validate(full=True)
        assert len(column) == len(payloads)
    renderer = make_renderer(fmt, Context())
    for row in range(min(len(payloads), _RENDERED)):
        assert isinstance(renderer.render(payloads.bytes_at(row)), str)


@cache
def _made_format() -> EventFormat:
    return parse_format(_COMMON + _FIELDS, "made", "made")


def _payloads(data: bytes, records: Records) -> Payloads:
    return Payloads(
        data, np.frombuffer(records.offset, np.uint64), np.frombuffer(records.length, np.uint32)
    )


def _check(data: bytes, records: Records, pages: int) -> None:
    payloads = _payloads(data, records)
    ends = payloads.offsets + payloads.lengths
    assert not len(ends) or int(ends.max()) <= len(data), "a record beyond the data"
    rows = list(records.pages())
    assert len(rows) == pages
    assert sum(page.events for page in rows) == len(records)
    assert records.missed >= 0
    assert records.unreadable <= pages + len(data) // 4
    decode_with(_made_format(), payloads)


def region(data: bytes) -> None:
    """A region as it is in memory."""
    try:
        layout = parse_layout(data, "fuzz")
    except ParseError:
        return
    for cpu in layout.cpus:
        assert len(set(cpu.pages)) == len(cpu.pages), "a page is read twice"
        records = read_pages(
            data, cpu.pages, cpu.subbuf_size, cpu.cpu, "fuzz", HeaderPage(), RecordHeader(),
            in_turn=True,
        )  # fmt: skip
        _check(data, records, len(cpu.pages))


@cache
def _lives() -> tuple[bytes, ...]:
    """A small intact region in every layout: wrapped, read from, with discarded events."""
    steps = tuple(
        Step(kind, cpu=cpu, gap=gap, size=size, count=2)  # type: ignore[arg-type]
        for kind, gap, size in (
            ("write", 0, 112), ("burst", 1000, 900), ("discard", 1 << 28, 27), ("nested", 7, 16),
            ("read", 0, 16), ("burst", 1 << 40, 1200), ("dropped", 1, 40), ("write", 5, 100),
        )
        for cpu in range(2)
    )  # fmt: skip
    lives = []
    for layout in LAYOUTS.values():
        for size in (4096, 8192):
            script = Script(2, 4, size, 123_456_789, steps, unfinished=True)
            lives.append(bytes(layout(script.play()).data))
    return tuple(lives)


def patched_region(data: bytes) -> bytes:
    """An intact region (the first byte says which) with the damages that the input lists."""
    lives = _lives()
    made = bytearray(lives[data[0] % len(lives)] if data else lives[0])
    for at in range(1, len(data) - _PATCH.size + 1, _PATCH.size):
        page, offset, width, what, value = _PATCH.unpack_from(data, at)
        place = page % (len(made) // 4096 + 1) * 4096 + 2 * offset
        width = 1 << width % 4
        if place + width > len(made):
            continue
        old = int.from_bytes(made[place : place + width], "little")
        top = (1 << 8 * width) - 1
        new = (value, old ^ value, old + value, -value, value << 32, old << (value & 31))[what % 6]
        made[place : place + width] = (new & top).to_bytes(width, "little")
    return bytes(made)


def patches(data: bytes) -> None:
    """A damaged region, from a description of the damage."""
    region(patched_region(data))


def pages(data: bytes) -> None:
    """Sub-buffers of 256 bytes, as user space reads them; the header's fields lie anywhere."""
    stamp, commit, size, start = (*data[:4], 0, 0, 0, 0)[:4]
    header = HeaderPage(stamp % 16, commit % 24, 4 + size % 2 * 4, 8 + start % 60, 4080)
    if header.data < max(12, header.timestamp + 8, header.commit + 8) or header.data > 64:
        header = HeaderPage()
    body = data[4:]
    places = range(0, len(body) - 255, 256)
    found = read_pages(body, places, 256, 0, "fuzz", header, RecordHeader())
    _check(body, found, len(places))


def format_file(data: bytes) -> None:
    """A ``format`` file, after a line with its system, and records to decode with it.

    Raises :class:`~tracekit.errors.FormatError`.
    """
    system, _, text = data.decode("utf-8", "backslashreplace").partition("\n")
    fmt = parse_format(text, system, "fuzz")
    rng = random.Random(len(data))
    size = min(4096, max((f.offset + f.size for f in fmt.fields), default=8))
    chunks = [rng.randbytes(n) for n in (8, 9, size // 2, max(8, size - 1), size, size + 40)]
    chunks += [bytes(size), b"\xff" * (size + 8)]
    _decode(fmt, chunks)
    assert address_fields(fmt) <= {f.name for f in fmt.fields}
    _overwrite(fmt, chunks)


def _overwrite(fmt: EventFormat, chunks: Sequence[bytes]) -> None:
    """Texts are overwritten inside their own record, whatever it says."""
    for chunk in chunks:
        data = np.frombuffer(b"edge" + chunk + b"edge", np.uint8).copy()
        where = np.array([4], np.uint64), np.array([len(chunk)], np.uint32)
        overwrite_event(data, Payloads(data.tobytes(), *where), fmt, Names())
        assert data.tobytes()[:4] == data.tobytes()[-4:] == b"edge"


def _decode(fmt: EventFormat, chunks: list[bytes]) -> None:
    starts = np.cumsum([0, *(len(chunk) for chunk in chunks)])[:-1]
    lengths = np.array([len(chunk) for chunk in chunks], np.uint32)
    decode_with(fmt, Payloads(b"".join(chunks), starts.astype(np.uint64), lengths))


def print_fmt(data: bytes) -> None:
    """A ``print fmt`` over known fields up to the first NUL, then a record."""
    text, _, record = data.partition(b"\0")
    before, _, _ = _FIELDS.partition("print fmt:")
    whole = f"{_COMMON}{before}print fmt: {text.decode('utf-8', 'backslashreplace')}\n"
    _decode(parse_format(whole, "made", "fuzz"), [record, record.ljust(64, b"\0"), bytes(64)])
