"""Texts: what the kernel prints, and what users write."""

from __future__ import annotations

import contextlib
import random
import struct

from tracekit.capture.cmdline.compose import next_cmdline, preserved_instance
from tracekit.capture.cmdline.session_param import named_session
from tracekit.capture.cmdline.wanted import installed, without
from tracekit.carriers.carve_out import halves
from tracekit.carriers.machine import mapped_instances
from tracekit.clocks.kernel_log import read_kernel_log
from tracekit.errors import FormatError, UsageError
from tracekit.ftrace.context import NoSymbols
from tracekit.ftrace.format import parse_header_page
from tracekit.ftrace.kernel_printf.vsprintf import parse_format_string
from tracekit.ftrace.printers.binprintf import binary_text
from tracekit.ftrace.symbols import Symbols
from tracekit.parameters import (
    FileRegion,
    parse_cmdline,
    parse_memory,
    parse_region,
    split_parameters,
)
from tracekit.probes.kernel import ProbedKernel
from tracekit.query.expr import comparisons, parse, parse_number
from tracekit.sysroot import format_kmsg
from tracekit.timeline.filter import parse_time
from tracekit.timeline.saved.counters import parse_stats
from tracekit.timeline.saved.names import parse_comms, parse_printk_formats
from tracekit.timeline.when.dates import parse_date, utc

_U64 = 1 << 64


def _halves(data: bytes) -> tuple[str, bytes]:
    """(the text up to the first NUL, the bytes after it)."""
    text, _, rest = data.partition(b"\0")
    return text.decode("utf-8", "backslashreplace"), rest


def header_page(data: bytes) -> None:
    """``events/header_page``. Raises :class:`~tracekit.errors.FormatError`."""
    header = parse_header_page(data.decode("utf-8", "backslashreplace"), "fuzz")
    assert header.timestamp + 8 <= header.data <= 64


def kallsyms(data: bytes) -> None:
    """``kallsyms``, and after a NUL ``modules``: what a lookup finds holds the address."""
    text, modules = _halves(data)
    table = Symbols.from_kallsyms(text, modules.decode("utf-8", "replace"))
    rng = random.Random(len(data))
    asked = [int(line[:16], 16) for line in text.split("\n") if _is_hex(line[:16])][:64]
    for address in (*asked, *(a + 1 for a in asked), 0, _U64 - 1, rng.getrandbits(64)):
        found = table.lookup(address)
        assert found is None or 0 <= found.offset < found.size
    for name in ("_text", "_stext", text[19:24]):
        assert (table.code(name) or 0) < _U64


def _is_hex(text: str) -> bool:
    return len(text) == 16 and all(c in "0123456789abcdef" for c in text)


def probed_kernel(data: bytes) -> None:
    """``kallsyms`` and ``available_filter_functions`` of a saved tree."""
    text, rest = _halves(data)
    available, blacklist = _halves(rest)
    kernel = ProbedKernel.parse(text, available, blacklist.decode("utf-8", "replace"))
    assert kernel.choose(["vfs_open", *list(kernel.traceable)[:2]]) is None or kernel.addresses


def kernel_log(data: bytes) -> None:
    """``dmesg``: no number that a kernel does not print."""
    text = data.decode("utf-8", "replace")
    log = read_kernel_log(text)
    assert log.detected_khz is None or 0 < log.detected_khz < 10**10
    assert log.rtc_stamp_ns is None or log.rtc_stamp_ns >= 0
    for address, size in mapped_instances(text).values():
        assert 0 <= address < _U64 and 0 <= size < _U64


def kmsg(data: bytes) -> None:
    """One record of ``/dev/kmsg``: one line."""
    assert "\n" not in format_kmsg(data.decode("utf-8", "backslashreplace"))


def names(data: bytes) -> None:
    """``saved_cmdlines``, and after a NUL ``printk_formats``; both also as ``stats``."""
    text, rest = _halves(data)
    for pid, comm in parse_comms(text).items():
        assert 0 <= pid < 10**9 and comm
    assert all(count >= 0 for count in parse_stats(text).values())
    for format_ in parse_printk_formats(rest.decode("utf-8", "backslashreplace")).values():
        try:
            parse_format_string(format_, "fuzz")
        except FormatError:
            continue


def binary_printf(data: bytes) -> None:
    """A format string up to the first NUL, then the arguments that ``vbin_printf()`` saved.

    Raises :class:`~tracekit.errors.FormatError`.
    """
    text, record = _halves(data)
    parts = parse_format_string(text, "fuzz")
    for payload in (record, record + bytes(64)):
        try:
            shown = binary_text(parts, payload, 0, NoSymbols())
        except struct.error:
            continue
        assert len(shown) <= 70_000 * (1 + len(parts)) + 4 * len(data)  # \xff for a byte


def cmdline(data: bytes) -> None:
    """A kernel's command line: read, and the next kernel's made of it.

    Raises :class:`~tracekit.errors.UsageError`.
    """
    text = data.decode("utf-8", "replace")
    command = parse_cmdline(text)
    for memory in command.reserve_mem:
        assert 0 < memory.size < _U64 and memory.name
    for instance in command.instances:
        assert instance.name
    assert len(split_parameters(text)) <= len(text)
    assert "reserve_mem=4M:4096:tkA" not in without(text).split()
    named_session(text)
    installed(text)
    mine = preserved_instance(command, "tk")
    carved = mine is not None and mine.address is not None
    kept = list(halves(command))
    following = next_cmdline(text, "/var/lib/s", instance="tk")
    again = parse_cmdline(following.cmdline)
    assert again.kho or carved
    assert {m.name for m in command.reserve_mem} <= {m.name for m in again.reserve_mem}
    ends = {start + size for start, size in again.carved}
    assert not carved or all(any(end >= start + size for end in ends) for start, size in kept)


def date(data: bytes) -> None:
    """What ``--from`` takes as a date; what is printed of it is read as the same."""
    ns = parse_date(data.decode("utf-8", "replace"))
    if ns is not None and ns >= 0:
        printed = utc(ns)  # None beyond the year 9999
        assert printed is None or parse_date(printed) == ns


def region_spec(data: bytes) -> None:
    """``NAME@PA:SIZE``, ``NAME@file:PATH``. Raises :class:`~tracekit.errors.UsageError`."""
    text = data.decode("utf-8", "replace")
    with contextlib.suppress(UsageError):
        memory = parse_memory(text, lambda path: len(path) == 3)
        assert memory.path and (memory.address is None or 0 <= memory.address < _U64)
    spec = parse_region(text, lambda path: len(path) == 3)
    assert spec.name
    if isinstance(spec, FileRegion):
        assert spec.path and 0 <= spec.offset < _U64 and spec.size != 0
    else:
        assert 0 < spec.address < _U64 and spec.address + spec.size <= _U64


def expression(data: bytes) -> None:
    """``--where``: what is printed of it means the same.

    Raises :class:`~tracekit.errors.UsageError`.
    """
    text = data.decode("utf-8", "replace")
    parse_number(text[:40])
    with contextlib.suppress(UsageError):
        parse_time(text[:40])
    expr = parse(text)
    shown = str(expr)
    if len(shown) <= 10_000:
        assert str(parse(shown)) == shown
        assert parse(shown) == expr
    assert sum(1 for _ in comparisons(expr)) <= len(text)
