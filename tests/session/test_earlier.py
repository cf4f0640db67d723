"""What a boot knew earlier: every line and format once, the newest first."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.session import earlier
from tracekit.session.earlier import (
    EarlierFormat,
    add_formats,
    add_lines,
    event_id,
    read_formats,
    sections,
    write_formats,
)

LINES = st.lists(st.binary(min_size=1, max_size=4).filter(lambda b: b"\n" not in b), max_size=8)


def absent(line: bytes) -> bool:
    return False


def test_the_newest_section_comes_first() -> None:
    first, _ = add_lines(b"", [b"1 init", b"2 sh"], absent, "at 10 s")
    assert first == b"# gone at 10 s\n1 init\n2 sh\n"
    second, _ = add_lines(first, [b"3 cat", b"1 init"], absent, "at 20 s")
    assert second == b"# gone at 20 s\n3 cat\n1 init\n# gone at 10 s\n2 sh\n"
    again, _ = add_lines(second, [b"1 init"], lambda line: line == b"3 cat", "at 30 s")
    assert again == b"# gone at 30 s\n1 init\n# gone at 10 s\n2 sh\n"


def test_of_too_many_lines_the_oldest_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(earlier, "MAX_LINES", 3)
    first, left_out = add_lines(b"", [b"1", b"2"], absent, "a")
    assert left_out == 0
    second, left_out = add_lines(first, [b"3", b"4"], absent, "b")
    assert (second, left_out) == (b"# gone b\n3\n4\n# gone a\n1\n", 1)


@given(st.lists(LINES, max_size=5), st.binary(max_size=40))
def test_no_line_is_forgotten_and_none_is_there_twice(saves: list[list[bytes]], old: bytes) -> None:
    data, wanted = old, {line for _, lines in sections(old) for line in lines}
    for number, lines in enumerate(saves):
        gone = [line for line in lines if not line.startswith(b"#")]
        data, left_out = add_lines(data, gone, absent, str(number))
        assert left_out == 0
        wanted |= set(gone)
        found = [line for _, kept in sections(data) for line in kept]
        assert len(found) == len(set(found))
        assert set(found) == wanted


def test_formats_are_kept_once() -> None:
    a, b, c = (EarlierFormat("sys", name, f"ID: {n}\n") for n, name in enumerate("abc"))
    known = add_formats([a, b], [c, b])
    assert known == [c, b, a]
    assert read_formats(write_formats(known)) == known


def test_of_too_many_formats_the_oldest_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(earlier, "MAX_FORMATS", 2)
    many = [EarlierFormat("sys", str(n), "") for n in range(3)]
    assert add_formats(many[1:], many[:1]) == many[:2]


@pytest.mark.parametrize(
    "damaged",
    [b"", b"[]", b"{}", b'{"formats": 3}', b'{"formats": [3]}', b'{"formats": [{"system": "s"}]}',
     b'{"formats": [{"system": 1, "name": "n", "text": "t"}]}', b"[" * 100_000, b"\xff"],
)  # fmt: skip
def test_what_is_no_list_of_formats(damaged: bytes) -> None:
    with pytest.raises(ValueError):
        read_formats(damaged)


@given(st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(
    inner, max_size=3) | st.dictionaries(st.sampled_from(["formats", "system", "name", "text"]),
                                         inner, max_size=4), max_leaves=12))  # fmt: skip
def test_any_json_is_formats_or_an_error(document: object) -> None:
    with contextlib.suppress(ValueError):
        assert all(isinstance(f.text, str) for f in read_formats(json.dumps(document).encode()))


def test_the_id_in_a_format() -> None:
    assert event_id("name: x\nID: 301\nformat:\n") == 301
    assert event_id("name: x\nID: 999999\n") is None
    assert event_id("") is None
