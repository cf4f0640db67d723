from __future__ import annotations

import struct

import pytest

from tests.support.text_records import (
    ALPHA,
    BETA,
    CTX,
    TRAMPOLINE,
    UNKNOWN,
    make_format,
    record,
)
from tracekit.errors import FormatError
from tracekit.ftrace.printers.probes import compile_probe

IP = ("unsigned long __probe_ip", 8, 8, False)
RETURN = [
    ("unsigned long __probe_func", 8, 8, False),
    ("unsigned long __probe_ret_ip", 16, 8, False),
]


def probe(fields, text):
    arguments = "".join(f", REC->{f[0].split()[-1]}" for f in fields)
    return make_format("mine", "probe", [IP, *fields], f'"(%lx){text}", REC->__probe_ip{arguments}')


def printed(fmt, tail=b"", /, **values):
    render = compile_probe(fmt, CTX)
    assert render is not None
    return render(record(fmt, tail, **values))


def test_places():
    fmt = probe([], "")
    assert printed(fmt, __probe_ip=ALPHA) == "(alpha+0x0/0x100)"
    assert printed(fmt, __probe_ip=BETA + 4) == "(beta+0x4/0x100 [mod])"
    assert printed(fmt, __probe_ip=UNKNOWN) == "(0xffff888000001234)"
    assert printed(fmt, __probe_ip=0x401000) == "(0x401000)"
    assert printed(fmt, __probe_ip=0) == "(0)"


def test_returns():
    text = '"(%lx <- %lx)", REC->__probe_func, REC->__probe_ret_ip'
    fmt = make_format("mine", "probe", RETURN, text)
    assert printed(fmt, __probe_func=BETA, __probe_ret_ip=ALPHA + 16) == (
        "(alpha+0x10/0x100 <- beta)"
    )
    assert printed(fmt, __probe_func=0x401000, __probe_ret_ip=0x402000) == "(0x402000 <- 0x401000)"


@pytest.mark.parametrize(
    ("declaration", "size", "spec", "value", "text"),
    [
        ("u8 a", 1, "%u", 200, "200"),
        ("s8 a", 1, "%d", -3, "-3"),
        ("u16 a", 2, "0x%x", 0xABC, "0xabc"),
        ("s32 a", 4, "%d", -100, "-100"),
        ("u64 a", 8, "%Lu", (1 << 64) - 1, "18446744073709551615"),
        ("s64 a", 8, "%Ld", -1, "-1"),
        ("u64 a", 8, "0x%Lx", 0, "0x0"),
        ("u8 a", 1, "'%c'", 0x41, "'A'"),
        ("u64 a", 8, "%pS", BETA + 1, "beta+0x1/0x100 [mod]"),
        ("u64 a", 8, "%pS", TRAMPOLINE, "arch_rethook_trampoline+0x0/0x100"),
        ("u64 a", 8, "%pS", 0, "0x0"),
    ],
)
def test_numbers(declaration, size, spec, value, text):
    fmt = probe([(declaration, 16, size, spec.endswith("d"))], f" a={spec}")
    assert printed(fmt, __probe_ip=ALPHA, a=value) == f"(alpha+0x0/0x100) a={text}"


def test_arrays():
    fmt = probe([("s32 a[]", 16, 12, True), ("u8 b", 28, 1, False)], " a={%d,%d,%d} b=%u")
    packed = struct.pack("<3i", 1, -2, 3)
    assert printed(fmt, __probe_ip=ALPHA, a=packed, b=7) == "(alpha+0x0/0x100) a={1,-2,3} b=7"


def test_strings():
    fmt = probe([("__data_loc char[] s", 16, 4, True)], ' s=\\"%s\\"')
    assert printed(fmt, b"hi\0", __probe_ip=0x10, s=3 << 16 | 20) == '(0x10) s="hi"'
    assert printed(fmt, __probe_ip=0x10, s=20) == "(0x10) s=(fault)"
    assert printed(fmt, __probe_ip=0x10, s=0xFFFFFFFF) == '(0x10) s=""'


def test_what_is_no_probe():
    assert compile_probe(make_format("mine", "event", [], '"(%lx)", REC->ip'), CTX) is None
    for text in (" b=%u", " a=%f", ""):
        with pytest.raises(FormatError, match="no 'a' where one is expected"):
            compile_probe(probe([("u8 a", 16, 1, False)], text), CTX)
    with pytest.raises(FormatError, match="of 3 bytes"):
        compile_probe(probe([("struct three a", 16, 3, False)], " a=%u"), CTX)
