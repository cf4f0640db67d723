"""The kernel's printf: numbers against the C library's, pointer letters against known texts."""

from __future__ import annotations

import ctypes
import ipaddress
import socket
import struct
import uuid
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit.errors import FormatError
from tracekit.ftrace.context import NoSymbols, Symbolized
from tracekit.ftrace.kernel_printf.ctype import IntType, wrap
from tracekit.ftrace.kernel_printf.pointers import (
    READERS,
    TooShort,
    address_text,
    bitmap_text,
    symbol_text,
)
from tracekit.ftrace.kernel_printf.vsprintf import (
    Conversion,
    format_integer,
    int_template,
    pad,
    parse_format_string,
    resolved,
)

LIBC = ctypes.CDLL(None)
SIZES = {"hh": 1, "h": 2, "": 4, "l": 8, "ll": 8, "z": 8, "j": 8, "t": 8}
FLAGS = st.sets(st.sampled_from("-+ #0")).map(lambda s: "".join(sorted(s)))


def conversion(text: str) -> Conversion:
    (found,) = parse_format_string(text, "t")
    assert isinstance(found, Conversion)
    return found


def printed(text: str, value: int) -> str:
    c = conversion(text)
    return format_integer(wrap(value, c.int_type), c)


def libc(text: str, value: int) -> str:
    out = ctypes.create_string_buffer(400)
    LIBC.snprintf(out, 400, text.encode(), ctypes.c_longlong(value))
    return out.value.decode()


@settings(max_examples=300, deadline=None)
@given(
    FLAGS,
    st.none() | st.integers(1, 40),
    st.none() | st.integers(0, 40),
    st.sampled_from(sorted(SIZES)),
    st.sampled_from("duxXo"),
    st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-300, 300),
)
def test_integers_as_the_c_library_prints_them(flags, width, precision, length, kind, value):
    c99_only = (
        ("0" in flags and precision is not None)  # the kernel pads with zeros all the same
        or ("#" in flags and kind in "xX" and wrap(value, IntType(SIZES[length], False)) == 0)
        or (precision == 0 and wrap(value, IntType(SIZES[length], False)) == 0)
        or ("#" in flags and kind == "o" and precision is not None)
        or ("#" in flags and kind in "du")
    )
    if c99_only:
        return
    text = "%{}{}{}{}{}".format(
        flags, width or "", "" if precision is None else f".{precision}", length, kind
    )
    assert printed(text, value) == libc(text, value)


@settings(max_examples=300, deadline=None)
@given(
    FLAGS,
    st.none() | st.integers(1, 40),
    st.none() | st.integers(0, 40),
    st.sampled_from(sorted(SIZES)),
    st.sampled_from("diuxX"),
    st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-300, 300),
)
def test_the_fast_template_prints_the_same(flags, width, precision, length, kind, value):
    dot = "" if precision is None else f".{precision}"
    c = conversion(f"%{flags}{width or ''}{dot}{length}{kind}")
    template = int_template(c)
    if template is not None:
        value = wrap(value, c.int_type)
        assert template % value == format_integer(value, c)


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [  # number() in lib/vsprintf.c, where it differs from C99
        ("%#x", 0, "0x0"),
        ("%#o", 0, "0"),
        ("%#o", 8, "010"),
        ("%.0d", 0, "0"),
        ("%08.3d", 5, "00000005"),
        ("%-8.3dx", 5, "005     "),
        ("%#06x", 255, "0x00ff"),
        ("%#6X", 255, "  0XFF"),
        ("%+d", 5, "+5"),
        ("%+u", 5, "5"),
        ("%hhd", 255, "-1"),
        ("%hu", -1, "65535"),
        ("%d", 1 << 32 | 7, "7"),
        ("%Lx", -1, "f" * 16),
        ("%Hd", 200, "-56"),
    ],
)
def test_kernel_numbers(text, value, expected):
    found = parse_format_string(text, "t")[0]
    assert isinstance(found, Conversion)
    assert format_integer(wrap(value, found.int_type), found) == expected


def test_format_strings_split():
    parts = parse_format_string("a%%b %-*.*s|%pISpc:%08lx", "t")
    assert parts == [
        "a", "%", "b ",
        Conversion("s", "-", "*", "*"),
        "|", Conversion("p", suffix="ISpc", size=8),
        ":", Conversion("x", "0", 8, None, 8),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["%n", "%f", "%", "%5", "%lle", "%.-3d", "%ls%y"])
def test_unknown_conversions_are_refused(text):
    with pytest.raises(FormatError):
        parse_format_string(text, "t")


def test_stars():
    c = Conversion("s", "", "*", "*")
    assert resolved(c, [-6, 2]) == Conversion("s", "-", 6, 2)
    assert resolved(c, [4, -1]) == Conversion("s", "", 4, 0)
    assert resolved(c, [4, -(1 << 15) - 1]) == Conversion("s", "", 4, 0)
    assert resolved(c, [4, 1 << 15]) == Conversion("s", "", 4, (1 << 15) - 1)
    assert pad("abc", resolved(c, [-6, 2])) == "ab    "
    assert resolved(c, [1 << 31, 1 << 31]).width == resolved(c, [1 << 20, 0]).width


class OneSymbol:
    def lookup(self, address: int) -> Symbolized | None:
        if 0x1000_0000 <= address < 0x1000_0040:
            return Symbolized("fn", address - 0x1000_0000, 0x40, "mod")
        return None


@pytest.mark.parametrize(
    ("suffix", "address", "expected"),
    [
        ("S", 0x1000_0010, "fn+0x10/0x40 [mod]"),
        ("s", 0x1000_0010, "fn [mod]"),
        ("B", 0x1000_0040, "fn+0x40/0x40 [mod]"),
        ("F", 0x1000_0000, "fn+0x0/0x40 [mod]"),
        ("f", 0x1000_0000, "fn [mod]"),
        ("S", 0x1000_0040, "0x10000040"),
        ("s", 0, "0x0"),
        ("", 0x1234, "0000000000001234"),
        ("", 0, "0" * 16),
        ("x", 0x1234, "0000000000001234"),
        ("K", 0x1234, "0000000000001234"),
        ("e", (1 << 64) - 2, "-ENOENT"),
        ("e", (1 << 64) - 517, "-EPROBE_DEFER"),
        ("e", (1 << 64) - 133, "-EHWPOISON"),
        ("e", (1 << 64) - 41, "-41"),
        ("e", (1 << 64) - 4000, "-4000"),
        ("e", 0x1234, "0000000000001234"),
        ("d", 0xFFFF888000001000, "ffff888000001000"),
        ("I4", 0, "(null)"),
        ("I4", 8, "(efault)"),
        ("V", (1 << 64) - 1, "(efault)"),
    ],
)
def test_addresses(suffix, address, expected):
    assert address_text(OneSymbol(), Conversion("p", suffix=suffix, size=8), address) == expected


def test_addresses_with_a_width():
    c = Conversion("p", "-", 24, suffix="s", size=8)
    assert address_text(OneSymbol(), c, 0x1000_0000) == "fn [mod]".ljust(24)
    assert address_text(OneSymbol(), Conversion("p", "", 6, size=8), 0x12) == "    12"
    assert symbol_text(NoSymbols(), 16) == "0x10"


def read(suffix: str, data: bytes, width: int | None = None) -> str:
    return READERS[suffix[0]](data, Conversion("p", "", width, None, 8, suffix))


def sockaddr4(host: str, port: int) -> bytes:
    return struct.pack("<H", 2) + port.to_bytes(2, "big") + socket.inet_aton(host) + bytes(8)


def sockaddr6(host: str, port: int, flow: int = 0, scope: int = 0) -> bytes:
    return (
        struct.pack("<H", 10)
        + port.to_bytes(2, "big")
        + flow.to_bytes(4, "big")
        + ipaddress.IPv6Address(host).packed
        + struct.pack("<I", scope)
    )


MAC = bytes.fromhex("0001deadbeef")
UUID = bytes(range(16))


@pytest.mark.parametrize(
    ("suffix", "data", "width", "expected"),
    [
        ("h", b"\x01\xab\xff", 3, "01 ab ff"),
        ("hC", b"\x01\xab\xff", 3, "01:ab:ff"),
        ("hD", b"\x01\xab\xff", 2, "01-ab"),
        ("hN", b"\x01\xab\xff", 3, "01abff"),
        ("h", b"\x01\xab", None, "01"),
        ("h", b"", 0, ""),
        ("h", bytes(80), 80, "00 " * 63 + "00"),
        ("b", b"\x0f\x00\x00\x80\x01", 40, "01,8000000f"),
        ("b", b"\xff", 4, "f"),
        ("b", bytes(8), 64, "00000000,00000000"),
        ("bl", b"\x0f\x00\x00\x80\x01", 40, "0-3,31-32"),
        ("bl", b"\x05", 8, "0,2"),
        ("bl", bytes(8), 64, ""),
        ("M", MAC, None, "00:01:de:ad:be:ef"),
        ("m", MAC, None, "0001deadbeef"),
        ("MF", MAC, None, "00-01-de-ad-be-ef"),
        ("MR", MAC, None, "ef:be:ad:de:01:00"),
        ("MU", MAC, None, "00:01:DE:AD:BE:EF"),
        ("mRU", MAC, None, "EFBEADDE0100"),
        ("I4", b"\x01\x02\x03\xff", None, "1.2.3.255"),
        ("I4", b"\x01\x02\x03\xff", 12, "   1.2.3.255"),
        ("I4h", b"\x01\x02\x03\xff", None, "255.3.2.1"),
        ("i4", b"\x01\x02\x03\xff", None, "001.002.003.255"),
        ("I6", bytes(15) + b"\1", None, "0000:0000:0000:0000:0000:0000:0000:0001"),
        ("i6", bytes(15) + b"\1", None, "0" * 31 + "1"),
        ("I6c", bytes(15) + b"\1", None, "::1"),
        ("I6c", bytes(16), None, "::"),
        ("I6c", bytes(10) + b"\xff\xff\x01\x02\x03\x04", None, "::ffff:1.2.3.4"),
        ("ISpc", sockaddr4("10.0.0.1", 80), None, "10.0.0.1:80"),
        ("IS", sockaddr4("10.0.0.1", 80), None, "10.0.0.1"),
        ("ISpc", sockaddr6("2001:db8::1", 443), None, "[2001:db8::1]:443"),
        ("ISc", sockaddr6("::1", 443), None, "::1"),
        ("ISpfsc", sockaddr6("fe80::1", 1, 0x12345, 7), None, "[fe80::1]:1/74565%7"),
        ("ISpc", bytes(28), None, "(einval)"),
        ("U", UUID, None, "00010203-0405-0607-0809-0a0b0c0d0e0f"),
        ("Ub", UUID, None, "00010203-0405-0607-0809-0a0b0c0d0e0f"),
        ("UB", UUID, None, "00010203-0405-0607-0809-0A0B0C0D0E0F"),
        ("Ul", UUID, None, str(uuid.UUID(bytes_le=UUID))),
        ("UL", UUID, None, str(uuid.UUID(bytes_le=UUID)).upper()),
        ("a", struct.pack("<Q", 0xFEDC), None, "0x000000000000fedc"),
        ("ad", struct.pack("<Q", 0xFEDC), None, "0x000000000000fedc"),
        ("NF", struct.pack("<Q", 3), None, "0x0000000000000003"),
        ("4cc", b"BG12", None, "BG12 little-endian (0x32314742)"),
        ("4cc", b"Y10 ", None, "Y10  little-endian (0x20303159)"),
        ("4cc", b"Y10\xa0", None, "Y10  big-endian (0xa0303159)"),
        ("tT", struct.pack("<q", 1546615943), None, "2019-01-04T15:32:23"),
        ("tTs", struct.pack("<q", 1546615943), None, "2019-01-04 15:32:23"),
        ("tTd", struct.pack("<q", 1546615943), None, "2019-01-04"),
        ("tTt", struct.pack("<q", 1546615943), None, "15:32:23"),
        ("tTr", struct.pack("<q", 1546615943), None, "0119-00-04T15:32:23"),
        ("tT", struct.pack("<q", 1 << 62), None, "109626219-06-19T07:45:04"),
        ("tR", struct.pack("<9i", 23, 32, 15, 4, 0, 119, 5, 3, 0), None, "2019-01-04T15:32:23"),
        ("tRr", struct.pack("<9i", 23, 32, 15, 4, 0, 119, 5, 3, 0), None, "0119-00-04T15:32:23"),
        ("tSp", struct.pack("<2q", 5, 42), None, "5.000000042"),
        ("E", b"\x01\x5e\x0a\x07\x9d\xbd", 6, "\\001^\\n\\a\\235\\xbd"),
        ("Eh", b"\x01^", 2, "\\x01\\x5e"),
        ("Gg", struct.pack("<I", 0xCC0), None, "(?0xcc0)"),
        ("Gp", bytes(8), None, "(?0x0)"),
        ("Gg", bytes(4), None, ""),
    ],
)
def test_memory(suffix, data, width, expected):
    assert read(suffix, data, width) == expected


@given(st.binary(min_size=16, max_size=16))
def test_compressed_ipv6_means_the_same_address(raw):
    text = read("I6c", raw)
    assert ipaddress.IPv6Address(text).packed == raw


@given(st.binary(max_size=40), st.integers(0, 320))
def test_bitmaps(data, bits):
    if bits > 8 * len(data):
        with pytest.raises(TooShort):
            bitmap_text(data, bits, True)
        return
    value = int.from_bytes(data, "little") & ((1 << bits) - 1)
    members = set()
    for run in filter(None, bitmap_text(data, bits, True).split(",")):
        low, _, high = run.partition("-")
        members |= set(range(int(low), int(high or low) + 1))
    assert members == {i for i in range(bits) if value >> i & 1}
    as_hex = bitmap_text(data, bits, False).replace(",", "")
    assert int(as_hex or "0", 16) == value


@settings(deadline=None)
@given(
    st.sampled_from(sorted(READERS)),
    st.text("0123RUFcCdDhHlLbBnNpPsStTrgv4678", max_size=5),
    st.binary(max_size=64),
    st.none() | st.integers(0, 1 << 16),
)
def test_memory_of_any_bytes_raises_only_too_short(letter, rest, data, width):
    with suppress(TooShort):
        read(letter + rest, data, width)
