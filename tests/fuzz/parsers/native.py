"""``tracekit/_native`` on bytes that nobody checked first, against what plain Python makes of them.

Each function cuts its arguments out of the input; arrays are of exactly the size they need, so that
AddressSanitizer sees the first byte beyond them.
"""

from __future__ import annotations

import re
import struct
from array import array
from contextlib import suppress
from itertools import accumulate, pairwise
from operator import itemgetter

from tracekit._native import columns, counter, lines, perfetto, ring, symbols, texts

_SYMBOL = re.compile(rb"([0-9a-f]{16}) [^\x00-\x20] ([^\x00-\x20\x7f]+)")
_OWN_SYMBOL = re.compile(
    rb"([0-9a-f]{16}) [^\x00-\x20] ([^\x00-\x20\x7f]+)\t\[([^\x00-\x20\x7f\]]+)\]"
)
_MAPPING = re.compile(rb"\$|\.L|L0")
_TIMES = 32  # readings of a clock at most


def _numbers(data: bytes, codes: str) -> tuple[tuple[int, ...], bytes]:
    """(the numbers that the input begins with, zeros where it is too short; the rest)."""
    size = struct.calcsize("<" + codes)
    return struct.unpack("<" + codes, data[:size].ljust(size, b"\0")), data[size:]


def _table(data: bytes, count: int, code: str) -> tuple[list[int], bytes]:
    """(up to ``count`` numbers, the rest)."""
    width = struct.calcsize(code)
    count = min(count, len(data) // width)
    return list(struct.unpack_from(f"<{count}{code}", data)), data[count * width :]


def walk(data: bytes) -> None:
    """Sub-buffers of any place, size and header: every record lies inside its own."""
    (*header, count), rest = _numbers(data, "8bB")
    places, rest = _table(rest, 2 * (count % 16), "H")
    places = places[: len(places) // 2 * 2]
    try:
        found = ring.walk(
            array("B", rest), array("Q", places), tuple(header[:3]), tuple(header[3:])
        )
    except ValueError:
        return
    widths = (8, 8, 4, 2, 1, 1, 4)
    number = len(found[0]) // 8
    assert [len(c) for c in found[:7]] == [width * number for width in widths]
    rows = memoryview(found[7]).cast("Q")
    assert len(rows) == 9 * (len(places) // 2)
    assert sum(rows[::9]) == number, "pages do not count their records"
    offsets, lengths = memoryview(found[1]).cast("Q"), memoryview(found[2]).cast("I")
    record = 0
    for page, start in enumerate(places[::2]):
        assert rows[9 * page + 1] < 6, "a status that has no meaning"
        end = start + places[2 * page + 1]
        for _ in range(rows[9 * page]):
            assert start + header[2] <= offsets[record]
            assert offsets[record] + lengths[record] <= end
            assert lengths[record] >= header[7]
            record += 1


def _fixed(records: list[bytes], at: int, size: int) -> tuple[bytes, int]:
    taken = [r[at : at + size] if at + size <= len(r) else None for r in records]
    return b"".join(t or bytes(size) for t in taken), taken.count(None)


def _located(record: bytes, mode: int, at: int, size: int) -> bytes | None:
    """A field of varying size, None where it does not lie inside the record."""
    start, count = at, size
    if mode < 2:
        if at + 4 > len(record):
            return None
        (place,) = struct.unpack_from("<I", record, at)
        start, count = (place & 0xFFFF) + (at + 4 if mode else 0), place >> 16
    elif mode == 2:
        count = max(0, len(record) - at)
    return record[start : start + count] if start + count <= len(record) else None


def _varying(records: list[bytes], field: tuple[int, ...]) -> tuple[bytes, bytes, int]:
    mode, at, size, cstring, unit = field
    found = [_located(r, mode, at, size) for r in records]
    bad, ends, values = found.count(None), [0], b""
    for value in found:
        value = (value or b"").partition(b"\0")[0] if cstring else value or b""
        values += value[: len(value) - len(value) % unit]
        ends.append(len(values) // unit)
    return struct.pack(f"<{len(ends)}q", *ends), values, bad


def fields(data: bytes) -> None:
    """gather(), gather_var() and intern() give what a plain loop gives."""
    (count, mode, at, size, skip, cstring, unit), rest = _numbers(data, "BbHHbBB")
    numbers, rest = _table(rest, 2 * (count % 32), "H")
    places = list(zip(numbers[::2], numbers[1::2], strict=False))
    offsets, lengths = array("Q", [p[0] for p in places]), array("I", [p[1] for p in places])
    raw = array("B", rest)
    given = (raw, offsets, lengths)
    inside = all(offset + length <= len(rest) for offset, length in places)
    records = [rest[offset : offset + length] for offset, length in places]
    try:
        assert columns.gather(*given, at, size) == _fixed(records, at, size)
    except ValueError:
        assert not inside or not size
    field = mode, at, size, cstring & 1, unit
    try:
        assert columns.gather_var(*given, *field) == _varying(records, field)
    except ValueError:
        assert not inside or not 0 <= mode < 4 or not 1 <= unit <= 8
    try:
        codes, firsts = columns.intern(*given, skip, count)
    except ValueError:
        assert not inside or skip < 0
        return
    known: dict[bytes, int] = {}
    expected = [known.setdefault(record[skip:], len(known)) for record in records]
    assert memoryview(codes).cast("i").tolist() == expected
    assert [expected[row] for row in memoryview(firsts).cast("q")] == list(range(len(known)))


def kallsyms(data: bytes) -> None:
    """The symbols are those that regular expressions find."""
    lines = data.split(b"\n")
    for own, pattern in enumerate((_SYMBOL, _OWN_SYMBOL)):
        addresses, *columns = symbols.symbols(array("B", data), bool(own))
        spans = [memoryview(column).cast("I") for column in columns]
        texts = [
            [data[o : o + n] for o, n in zip(*spans[at : at + 2], strict=True)]
            for at in range(0, len(spans), 2)
        ]
        found = list(zip(memoryview(addresses).cast("Q"), *texts, strict=True))
        matches = [m for m in map(pattern.fullmatch, lines) if m]
        expected = [(int(m[1], 16), *m.groups()[1:]) for m in matches]
        if own:
            expected = [e for e in expected if e[0] >> 63 and not _MAPPING.match(e[1])]
        assert found == sorted(expected, key=itemgetter(0))


def _texts(data: bytes, rows: int) -> tuple[tuple[array[int], array[int], bytes], bytes]:
    """A dictionary column that may be nonsense."""
    (texts,), rest = _numbers(data, "B")
    codes, rest = _table(rest, rows, "b")
    ends, rest = _table(rest, texts % 8 + 1, "B")
    column = array("i", codes), array("q", ends), rest[: max(ends, default=0)]
    return column, rest[len(column[2]) :]


def _expected(mode: int, ts: int, head: str, tail: str) -> str:
    if mode == 1:
        return f"{head}{ts:12d}{tail}\n"
    if mode == 0:
        us = ts // 1000 + (ts % 1000 >= 500)
        return f"{head}{us // 1_000_000:5d}.{us % 1_000_000:06d}{tail}\n"
    signed = ts - (1 << 64) if ts >> 63 else ts
    seconds = f"{'-' if signed < 0 else '+'}{abs(signed) // 10**9}"
    return f"{seconds:>5}.{abs(signed) % 10**9:09d}{head}{tail}\n"


def text_lines(data: bytes) -> None:
    """Lines of any columns; those that fit together give what Python's formatting gives."""
    (mode, count), rest = _numbers(data, "bB")
    stamps, rest = _table(rest, count % 16, "Q")
    head, rest = _texts(rest, len(stamps))
    tail, _ = _texts(rest, len(stamps))
    time, mode = (chr(ord("0") + mode % 4), array("Q", stamps)), mode % 4
    parts = (time, head, tail) if mode == 2 else (head, time, tail)
    try:
        text, ends, status, _ = lines.print(len(stamps), (*parts, ("s", b"\n")))
    except ValueError:
        return
    assert not any(status)
    assert memoryview(ends).cast("q").tolist()[-1:] == [len(text)] * bool(stamps)

    def at(column: tuple[array[int], array[int], bytes], row: int) -> str:
        codes, ends, values = column
        return values[ends[codes[row]] : ends[codes[row] + 1]].decode("latin-1")

    expected = (_expected(mode, ts, at(head, i), at(tail, i)) for i, ts in enumerate(stamps))
    assert text.decode("latin-1") == "".join(expected)


def clocks(data: bytes) -> None:
    """Any clock, any number of readings: a bracket or OSError."""
    (clock, tries), _ = _numbers(data, "iB")
    with suppress(OSError, NotImplementedError):
        before, _, after = counter.counter_sample(clock, tries % _TIMES + 1)
        assert before <= after
    with suppress(OSError, NotImplementedError):
        counter.counter_write(-1, array("B", data))


def _span(numbers: tuple[int, ...], size: int) -> tuple[array[int], array[int]]:
    """Offsets and lengths of records, inside ``size`` bytes or not."""
    offsets = array("Q", [n % (size + 8) for n in numbers[::2]])
    return offsets, array("I", [n % (size + 8) for n in numbers[1::2]])


def programs(data: bytes) -> None:
    """Any program over any records: refused, or texts of records whose status says so."""
    (need, texts_size, constants, entries, count), rest = _numbers(data, "HBBBB")
    numbers, rest = _table(rest, 2 * (count % 8), "H")
    records = array("B", rest[:128])
    keys, rest = _table(rest[len(records) :], entries % 16, "Q")
    places, rest = _table(rest, 2 * len(keys), "B")
    values, rest = rest[:64], rest[64:]
    table = (array("Q", keys), array("q", [*places, *[0] * (2 * len(keys) - len(places))]), values)
    pool, rest = _table(rest, constants % 8, "Q")
    blob, rest = rest[: texts_size % 64], rest[texts_size % 64 :]
    code = rest[: len(rest) // 8 * 8]
    offsets, lengths = _span(tuple(numbers[: len(numbers) // 2 * 2]), len(records))
    program = (array("B", code), array("Q", pool), array("B", blob), need, (table, table))
    try:
        ends, text, status, misses = texts.print_records((records, offsets, lengths), program)
    except ValueError:
        return
    edges = memoryview(ends).cast("q").tolist()
    assert len(edges) == len(offsets) + 1
    assert edges == sorted(edges)
    assert edges[-1] == len(text)
    assert len(status) == len(offsets)
    assert len(misses) % 16 == 0
    for begin, end, outcome in zip(edges, edges[1:], status, strict=False):
        assert outcome < 3
        assert end - begin <= (0 if outcome else 1 << 16)
    rows = len(offsets)
    columns = array("i", [0] * rows), array("H", [0] * rows), offsets, lengths
    part = ("p", (columns, (program, None), (records,)))
    whole, ended, outcomes, _ = lines.print(rows, (("s", b"<"), part, ("s", b">\n")))
    assert outcomes == status
    texts_of = [text[a:b] for a, b in pairwise(edges)]
    printed = [b"" if bad else b"<%s>\n" % one for one, bad in zip(texts_of, status, strict=True)]
    assert whole == b"".join(printed)
    assert memoryview(ended).cast("q").tolist() == list(accumulate(map(len, printed)))


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """(a number in seven bits a byte, where it ends)."""
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def perfetto_events(data: bytes) -> None:
    """Any programs over any records: refused, or as many whole messages as there are records."""
    (kinds, ops, heads, columns_of_text, count), rest = _numbers(data, "5B")
    packed = []
    for size in (24 * (kinds % 4), 32 * (ops % 8), heads % 64):
        packed.append(array("B", rest[:size]))
        rest = rest[size:]
    numbers, rest = _table(rest, 2 * (count % 8), "H")
    records = array("B", rest[:96])
    offsets, lengths = _span(tuple(numbers[: len(numbers) // 2 * 2]), len(records))
    stamps, rest = _table(rest[96:], len(offsets), "Q")
    stamps += [0] * (len(offsets) - len(stamps))
    which, rest = _table(rest, len(offsets), "b")
    which += [0] * (len(offsets) - len(which))
    texts_given = []
    for _ in range(columns_of_text % 3):
        ends, rest = _table(rest, len(offsets) + 1, "B")
        texts_given.append((array("q", ends), rest[: max(ends, default=0)]))
        rest = rest[len(texts_given[-1][1]) :]
    columns_given = array("Q", stamps), array("i", range(len(offsets))), array("i", which)
    try:
        out = perfetto.events(
            (records, offsets, lengths), columns_given, tuple(packed), tuple(texts_given)
        )
    except ValueError:
        return
    at = messages = 0
    while at < len(out):
        assert out[at] == 2 << 3 | 2
        size, at = _varint(out, at + 1)
        at += size
        messages += 1
    assert at == len(out)
    assert messages == len(offsets)
