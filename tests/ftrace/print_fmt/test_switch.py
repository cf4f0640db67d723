"""``switch`` in a statement expression: cases, defaults, and what is not understood."""

from __future__ import annotations

import struct

import pytest

from tests.support.text_records import evaluate, make, show
from tracekit.errors import FormatError
from tracekit.ftrace.print_fmt.parse import parse_expression

# dwc3_log_trb of drivers/usb/dwc3/trace.h, as its format has it
PACKETS = """({char *s; int pcm = ((REC->size >> 24) & 3) + 1; switch (REC->type) { case 3: case 1:
switch (pcm) { case 1: s = "1x "; break; case 2: s = "2x "; break; case 3: default: s = "3x ";
break; } break; default: s = ""; } s; })""".replace("\n", " ")


@pytest.mark.parametrize(
    ("size", "type_", "expected"),
    [
        (0x00000400, 1, "1x 1024"),
        (0x01000400, 3, "2x 1024"),
        (0x02000400, 3, "3x 1024"),
        (0x03000400, 1, "3x 1024"),  # a fourth is as the third
        (0x01000400, 2, "1024"),
        (0x01000400, 0xFFFFFFFF, "1024"),
    ],
)
def test_packets_of_a_transfer(size, type_, expected):
    fmt = make(f'"%s%d", {PACKETS}, REC->size & 0xffffff', "u32 size@8:4", "u32 type@12:4")
    assert show(fmt, struct.pack("<II", size, type_)) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('case 1: s = "a"; break; case 5: s = "b"; break; default: s = "c"; break;', "b"),
        ('default: s = "c"; break; case 5: s = "b"; break;', "b"),
        ('case 4: default: s = "c"; break; case 6: s = "b";', "c"),
        ('case 4: case 5: s = "a"; break; default: s = "c";', "a"),
        ('case 5: s = REC->t ? "yes" : "no"; break; default: s = "c";', "yes"),
        ('case 5: s = "known"; break;', "known"),
        ('case 4: s = "known"; break;', "(?s)"),
    ],
)
def test_cases(body, expected):
    assert evaluate(f"({{ char *s; switch (REC->t + 4) {{ {body} }} s; }})", "%s") == expected


@pytest.mark.parametrize(
    ("value", "type_", "expected"),
    [
        ("REC->i", "int", "7"),
        ("REC->u", "int", "7"),  # a value of 32 bits without sign is as the label
        ("REC->ul", "int", "300"),
        ("REC->ul", "u8", "44"),
    ],
)
def test_numbers_and_what_they_are_compared_as(value, type_, expected):
    cases = "case -1: n = 7; break; default: n = 300;"
    assert evaluate(f"({{ {type_} n; switch ({value}) {{ {cases} }} n; }})") == expected


@pytest.mark.parametrize(
    "body",
    [
        "", 's = "a"; break;', 'case 1: s = "a"; case 2: s = "b"; break;', "case 1: break;",
        'case 1: s = "a"; break; case 2: t = "b"; break;', 'case 1 s = "a"; break;',
        'case 1: s = "a"; break', "case 1: return 1;",
    ],
)  # fmt: skip
def test_what_is_not_understood(body):
    with pytest.raises(FormatError):
        parse_expression(f"({{ char *s; switch (1) {{ {body} }} s; }})")


def test_too_deep():
    deep = 's = "a"; break;'
    for _ in range(200):
        deep = f"switch (1) {{ default: {deep} }} break;"
    with pytest.raises(FormatError):
        parse_expression(f"({{ char *s; switch (1) {{ default: {deep} }} s; }})")
