"""Fields of ``format`` files: what their declarations say."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.errors import FormatError
from tracekit.ftrace.format import EventFormat, Field, parse_format

_BRACKETS = re.compile(r"(.*?)\s*\[([^\]]*)\]\s*", re.S)  # quadratic, so not for what is untrusted


def _event(declaration: str, size: int) -> EventFormat:
    text = f"name: made\nID: 1\n\tfield:{declaration};\toffset:8;\tsize:{size};\tsigned:0;\n"
    return parse_format(text, "made", "made")


def _field(declaration: str, size: int) -> Field:
    return _event(declaration, size).fields[0]


@pytest.mark.parametrize(
    ("declaration", "size", "name", "type_", "length"),
    [
        ("char comm[16]", 16, "comm", "char", 16),
        ("char comm [16] ", 16, "comm", "char", 16),
        ("u64 args[ 2 ]", 16, "args", "u64", 2),
        ("char comm[TASK_COMM_LEN]", 16, "comm", "char", 16),
        ("unsigned long args[]", 0, "args", "unsigned long", 0),
        ("const char * fmt", 8, "fmt", "const char *", None),
        ("const char **argv", 8, "argv", "const char * *", None),
        ("int x", 4, "x", "int", None),
        ("nid_t nid[3]", 4, "nid", "nid_t", 3),  # one element's size
        ("char rcutorturename[8]", 1, "rcutorturename", "char", 8),
        ("u32 pair[2]", 4, "pair", "u32", 2),
    ],
)
def test_declarations(
    declaration: str, size: int, name: str, type_: str, length: int | None
) -> None:
    field = _field(declaration, size)
    assert (field.name, field.type, field.length) == (name, type_, length)


@given(st.text("ab[] \t1", max_size=12))
def test_brackets_are_those_that_end_the_declaration(text: str) -> None:
    declaration = f"u8 x{text}"
    brackets = _BRACKETS.fullmatch(declaration)
    try:
        field = _field(declaration, 6)
    except FormatError:
        return
    assert (field.length is not None) == (brackets is not None)


@pytest.mark.parametrize("piece", ["[", "]", " ", "[ ", "*", "a "])
def test_long_declarations_come_to_an_end(piece: str) -> None:
    """Quadratic, these would take minutes."""
    for declaration in (f"u8 x{piece * 400_000}", f"u8 {piece * 400_000}x"):
        try:
            assert _event(declaration, 1).fields
        except FormatError:
            continue


def test_an_event_that_prints_nothing_says_so() -> None:
    text = "name: made\nID: 1\n\tfield:int x;\toffset:8;\tsize:4;\tsigned:1;\n"
    assert parse_format(f"{text}\nprint fmt: \n\n", "made", "made").print_fmt == '""'
    assert parse_format(text, "made", "made").print_fmt == ""  # one that was cut off
