"""Lines of rows: what is put between them, and arguments as objects of JSON."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.text_records import make_format, record
from tracekit.export import lines as made_lines
from tracekit.export.json_lines import fields_code
from tracekit.export.lines import Lines, NumberTexts, print_lines
from tracekit.ftrace.columns import Payloads
from tracekit.ftrace.programs.assemble import assemble
from tracekit.ftrace.programs.run import TextColumn


def _lines(texts: list[bytes]) -> Lines:
    ends = np.cumsum([len(text) for text in texts])
    return Lines(b"".join(texts), ends.astype(np.int64))


def test_lines_that_come_later_and_remarks_before_them() -> None:
    lines = _lines([b"a\n", b"", b"c\n", b""])
    lines.put(np.array([1, 3]), _lines([b"two\nlines\n", b"d\n"]))
    for row, remark in ((0, b"# begins\n"), (1, b"# lost\n"), (3, b"# more\n")):
        lines.insert(row, remark)
    assert b"".join(lines.pieces()) == b"# begins\na\n# lost\ntwo\nlines\nc\n# more\nd\n"


@given(st.lists(st.tuples(st.integers(0, 5), st.binary(max_size=3)), max_size=6))
def test_any_texts_between(some: list[tuple[int, bytes]]) -> None:
    texts = [b"%d\n" % n for n in range(6)]
    lines = _lines(texts)
    before: list[list[bytes]] = [[] for _ in texts]
    for row, text in some:
        lines.insert(row, text)
        before[row].insert(0, text)
    assert b"".join(lines.pieces()) == b"".join(
        b"".join((*b, t)) for b, t in zip(before, texts, strict=True)
    )


def test_parts_of_every_kind() -> None:
    head = np.array([1, 0], np.int32), np.array([0, 1, 3]), b"abb"
    stamps = np.array([1_500, 2_000_000_499], np.uint64)
    numbers = np.array([-7, 7], np.int64)
    made = print_lines(2, (head, (0, stamps), b" ", ("i", numbers), b"\n"))
    assert b"".join(made.pieces()) == b"bb    0.000002 -7\na    2.000000 7\n"
    assert made.ends.tolist() == [18, 34]


@given(
    st.lists(
        st.lists(st.integers(0, 40) | st.integers(-(1 << 31), (1 << 31) - 1), max_size=30),
        max_size=8,
    )
)
def test_numbers_keep_their_texts_from_one_column_to_the_next(columns: list[list[int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made_lines, "_MOST_TEXTS", 20)
        texts = NumberTexts(lambda number: f"{number} ")
        for column in columns:
            (made,) = print_lines(len(column), (texts.part(np.array(column, np.int32)),)).pieces()
            assert bytes(made).decode() == "".join(f"{number} " for number in column)


def _objects(addresses: frozenset[str], payloads: list[bytes]) -> list[object]:
    fmt = make_format("mine", "event", [
        ("unsigned long ip", 8, 8, False), ("s64 pair[2]", 16, 16, True),
        ("unsigned long args[]", 32, 0, False),
    ])  # fmt: skip
    code = fields_code(fmt, addresses)
    assert code is not None
    program = assemble(code, 0)
    assert program is not None
    data = b"".join(payloads)
    lengths = np.array([len(p) for p in payloads], np.uint32)
    offsets = (np.cumsum(lengths, dtype=np.uint64) - lengths).astype(np.uint64)
    column = TextColumn(len(payloads))
    assert not len(
        column.print(np.arange(len(payloads)), Payloads(data, offsets, lengths), program)
    )
    return [json.loads(text) for text in column.each()]


def test_arrays_of_large_numbers_and_of_addresses() -> None:
    fmt = make_format("mine", "event", [("unsigned long ip", 8, 8, False)])
    start = record(fmt, ip=0xFFFFFFFF81000000) + struct.pack("<2q", -1, -(1 << 60))
    some = [start, start + struct.pack("<2Q", 1 << 53, (1 << 53) + 1)]
    pair, ip = [-1, "-0x1000000000000000"], "0xffffffff81000000"
    assert _objects(frozenset({"ip"}), some) == [
        {"ip": ip, "pair": pair, "args": []},
        {"ip": ip, "pair": pair, "args": [1 << 53, "0x20000000000001"]},
    ]
    assert _objects(frozenset({"ip", "args"}), some[1:]) == [
        {"ip": ip, "pair": pair, "args": ["0x20000000000000", "0x20000000000001"]},
    ]
