from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.text_records import ALPHA, BETA, Names
from tracekit.ftrace.kernel_printf.vsprintf import parse_format_string
from tracekit.ftrace.printers.binprintf import binary_text


def printed(text: str, data: bytes, before: bytes = b"") -> str:
    parts = parse_format_string(text, "test")
    return binary_text(parts, before + data, len(before), Names())


def test_every_kind_of_argument():
    data = struct.pack(
        "<iQ", -5, 1 << 40
    ) + b"text\0" + b"A" + b"\0\0" + struct.pack("<IQQ", 0xFFFF, ALPHA + 4, BETA)  # fmt: skip
    text = "%d %llu %s %c %hx %pS %ps 100%%\n"
    assert printed(text, data, bytes(24)) == (
        "-5 1099511627776 text A ffff alpha+0x4/0x100 beta [mod] 100%\n"
    )


def test_widths_and_precisions():
    data = struct.pack("<iIiiiI", 6, 42, -6, 42, 3, 7) + b"truncate\0"
    assert printed("[%*u] [%*d] [%.*u]", data) == "[    42] [42    ] [007]"
    assert printed("[%5.3s]", b"truncate\0") == "[  tru]"
    assert printed("[%3c] [%-3c]", b"AB") == "[  A] [B  ]"


def test_narrow_integers_are_cut():
    data = struct.pack("<3I", 0x12345678, 0x1FF, 0xFFFF8000)
    assert printed("%x %hhu %hd", data) == "12345678 255 -32768"


def test_a_dereferenced_pointer_is_text_already():
    assert printed("%pI4 %d", b"10.0.0.1\0\0\0\0" + struct.pack("<i", 9)) == "10.0.0.1 9"


@pytest.mark.parametrize("text", ["%d", "%lld", "%s", "%c", "%p", "%pI4", "%*d"])
def test_a_record_that_ends_too_early(text):
    with pytest.raises(struct.error):
        printed(text, b"")


@given(
    st.lists(st.sampled_from(["%d", "%llx", "%s", "%c", "%*d", "%.*s", "%pS", "-"])), st.binary()
)
def test_rubbish_is_text_or_too_short(texts, data):
    with contextlib.suppress(struct.error):
        printed(" ".join(texts), data)
