"""Parses the tracing and KHO parameters of a kernel command line.

The rules are those of ``lib/cmdline.c`` (``next_arg()``, ``memparse()``), of
``enable_instances()`` in ``kernel/trace/trace.c`` and of ``reserve_mem()`` in ``mm/memblock.c``.
Parameters that the kernel ignores with a warning are listed in :attr:`CommandLine.ignored`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tracekit.errors import UsageError
from tracekit.frozen import dataclass

__all__ = [
    "CommandLine",
    "FileRegion",
    "MemoryFile",
    "RegionSpec",
    "ReserveMem",
    "TraceInstance",
    "memparse",
    "parse_cmdline",
    "parse_memory",
    "parse_region",
    "split_parameters",
]

_NUMBER = re.compile(r"(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)([KMGTPEkmgtpe]?)")
_SHIFTS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40, "P": 50, "E": 60}
_LIMIT = 1 << 64
_DIGITS = 20  # of the largest decimal number of 64 bits; Python reads no more than some thousand
_NAME = 15  # RESERVE_MEM_NAME_SIZE less the NUL
_RESERVES = re.compile(r"(-1)?\+2")
_TRUE = ("1", "y", "t", "on")
_FALSE = ("0", "n", "f", "of")


class RegionSpec(NamedTuple):
    """A physical range the user named: ``NAME@PA:SIZE``, in bytes."""

    name: str
    address: int
    size: int


class FileRegion(NamedTuple):
    """A region in a file or a device: ``NAME@file:PATH[:OFFSET[:SIZE]]``, in bytes.

    ``size`` None: as much as there is.
    """

    name: str
    path: str
    offset: int = 0
    size: int | None = None


class MemoryFile(NamedTuple):
    """A file with a machine's memory: ``FILE``, or ``FILE@ADDRESS`` where it is plain memory."""

    path: str
    address: int | None = None


@dataclass(frozen=True, slots=True)
class ReserveMem:
    """``reserve_mem=SIZE:ALIGN:NAME``, in bytes."""

    name: str
    size: int
    align: int


@dataclass(frozen=True, slots=True)
class TraceInstance:
    """``trace_instance=NAME^FLAG@REGION,EVENT,…``.

    Memory is given by ``region`` (a ``reserve_mem`` name), or by ``address`` and ``size`` in
    bytes, or not at all (an ordinary buffer); ``backup`` names the instance that
    ``trace_instance=NAME=OTHER`` copies.
    """

    name: str
    flags: tuple[str, ...] = ()
    region: str | None = None
    address: int | None = None
    size: int | None = None
    events: tuple[str, ...] = ()
    backup: str | None = None


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A parsed command line.

    ``kho`` is None when the parameter is absent or not a boolean. ``carved`` are the (address,
    size) that ``memmap=SIZE$ADDRESS`` (or ``%ADDRESS-1+2``) takes out of System RAM, in bytes.
    """

    text: str
    instances: tuple[TraceInstance, ...] = ()
    reserve_mem: tuple[ReserveMem, ...] = ()
    trace_clock: str | None = None
    trace_event: tuple[str, ...] = ()
    kho: bool | None = None
    carved: tuple[tuple[int, int], ...] = ()
    ignored: tuple[str, ...] = ()

    def instance_of(self, region: str, address: int | None = None) -> TraceInstance | None:
        """The instance on the region of this name or at this physical address."""
        for instance in self.instances:
            if instance.region == region:
                return instance
            if address is not None and instance.address == address:
                return instance
        return None


def memparse(text: str) -> tuple[int, str] | None:
    """(number with its suffix K, M, G, T, P or E applied, the rest), as ``memparse()`` does.

    Decimal, hexadecimal with ``0x``, octal with a leading ``0``. None when there is no number, or
    it exceeds 64 bits.
    """
    match = _NUMBER.match(text)
    if match is None:
        return None
    digits = match[1]
    if digits[0] != "0" and len(digits) > _DIGITS:
        return None
    octal = len(digits) > 1 and digits[0] == "0" and digits[1] not in "xX"
    value = int(digits, 8 if octal else 0) << _SHIFTS[match[2].upper()]
    return (value, text[match.end() :]) if value < _LIMIT else None


def split_parameters(text: str) -> list[tuple[str, str | None]]:
    """(name, value or None) of every kernel parameter; what follows ``--`` is for init.

    Quotes protect spaces and are removed around a whole parameter or a whole value.
    """
    parameters: list[tuple[str, str | None]] = []
    for word in re.findall(r'(?:[^\s"]|"[^"]*"?)+', text):
        if word == "--":
            break
        if word.startswith('"'):
            word = word.removeprefix('"').removesuffix('"')
        name, equals, value = word.partition("=")
        if value.startswith('"'):
            value = value.removeprefix('"').removesuffix('"')
        parameters.append((name, value if equals else None))
    return parameters


def _range(text: str) -> tuple[int, int] | None:
    """``ADDRESS:SIZE``, or None."""
    start = memparse(text)
    if start is None or not start[1].startswith(":"):
        return None
    size = memparse(start[1][1:])
    if size is None or size[1] or not start[0] or not size[0] or start[0] + size[0] > _LIMIT:
        return None
    return start[0], size[0]


def _instance(value: str) -> TraceInstance | None:
    head, *events = value.split(",")
    head, _, backup = head.partition("=")
    # The kernel cuts at the first '@' and at the first '^', in whichever order they come.
    name, *marked = re.split(r"(?=[@^])", head)
    flags = tuple(part[1:] for part in marked if part[0] == "^")
    places = [part[1:] for part in marked if part[0] == "@"]
    if not name or len(places) > 1:
        return None
    listed = tuple(event for event in events if event)
    if not places:
        return TraceInstance(name, flags, events=listed, backup=backup or None)
    if places[0][:1].isdecimal():
        extent = _range(places[0])
        if extent is None:
            return None
        return TraceInstance(name, flags, None, *extent, listed, backup or None)
    if not places[0]:
        return None
    return TraceInstance(name, flags, places[0], events=listed, backup=backup or None)


def _boolean(value: str) -> bool | None:
    """``kstrtobool()``: the first letters decide."""
    lower = value.lower()
    return True if lower.startswith(_TRUE) else False if lower.startswith(_FALSE) else None


def _reserve_mem(value: str) -> ReserveMem | None:
    size = memparse(value)
    if size is None or not size[0] or not size[1].startswith(":"):
        return None
    align = memparse(size[1][1:]) or (0, size[1][1:])  # no digits: memparse() gives 0
    if not align[1].startswith(":"):
        return None
    name = align[1][1:]
    return ReserveMem(name, size[0], align[0]) if 0 < len(name) <= _NAME else None


def _carved(value: str) -> Iterator[tuple[int, int]]:
    """The carve-outs of a ``memmap=``: ``parse_memmap_one()`` in ``arch/x86/kernel/e820.c``.

    ``SIZE$ADDRESS``, and ``SIZE%ADDRESS-1+2``, which makes System RAM (1) reserved (2).
    """
    for part in value.split(","):
        size = memparse(part)
        mark = size[1][:1] if size is not None else ""
        start = memparse(size[1][1:]) if size is not None and mark in ("$", "%") else None
        if size is None or start is None or not size[0] or start[0] + size[0] > _LIMIT:
            continue
        if mark == "$" or _RESERVES.fullmatch(start[1]):
            yield start[0], size[0]


def parse_cmdline(text: str) -> CommandLine:
    """Parse a command line; never raises."""
    instances: dict[str, TraceInstance] = {}
    reserved: dict[str, ReserveMem] = {}
    events: list[str] = []
    ignored: list[str] = []
    carved: list[tuple[int, int]] = []
    clock: str | None = None
    kho: bool | None = None
    for name, value in split_parameters(text):
        value = value or ""
        understood = True
        if name == "trace_instance":
            instance = _instance(value)
            understood = instance is not None and instance.name not in instances
            if instance is not None and understood:
                instances[instance.name] = instance
        elif name == "reserve_mem":
            memory = _reserve_mem(value)
            understood = memory is not None and memory.name not in reserved
            if memory is not None and understood:
                reserved[memory.name] = memory
        elif name == "trace_clock":
            clock = value or clock
        elif name == "trace_event":
            events += [event for event in value.split(",") if event]
        elif name == "memmap":
            carved += _carved(value)
        elif name == "kho":
            switch = _boolean(value)
            understood = switch is not None
            kho = switch if understood else kho
        if not understood:
            ignored.append(f"{name}={value}")
    return CommandLine(
        text.strip(),
        tuple(instances.values()),
        tuple(reserved.values()),
        clock,
        tuple(events),
        kho,
        tuple(carved),
        tuple(ignored),
    )


def parse_region(
    text: str, exists: Callable[[str], bool] = os.path.exists
) -> RegionSpec | FileRegion:
    """Parse ``NAME@PA:SIZE``, the syntax ``trace_instance=`` has for physical ranges.

    Or ``NAME@file:PATH[:OFFSET[:SIZE]]``. A path may have colons in it: as many fields at the end
    as needed are OFFSET and SIZE, so that what is before them is a file that ``exists``; where none
    is, all that can be numbers are. Raises :class:`~tracekit.errors.UsageError`.
    """
    name, separator, place = text.partition("@file:")
    if name and separator:
        return _file_region(text, name, place, exists)
    name, separator, place = text.rpartition("@")
    extent = _range(place)
    if not name or not separator or extent is None:
        raise UsageError(
            f"{text!r}: not a region: write NAME@ADDRESS:SIZE, as in tkA@0x7d600000:4M, or "
            "NAME@file:PATH:OFFSET:SIZE, as in tkA@file:/dev/pmem0:0:4M"
        )
    return RegionSpec(name, *extent)


def _whole_number(text: str) -> int | None:
    parsed = memparse(text)
    return parsed[0] if parsed and not parsed[1] else None


def _file_region(text: str, name: str, place: str, exists: Callable[[str], bool]) -> FileRegion:
    fields = place.split(":")
    best: tuple[str, list[int]] = place, []
    for count in range(min(3, len(fields))):
        numbers = [_whole_number(field) for field in fields[len(fields) - count :]]
        known = [number for number in numbers if number is not None]
        if len(known) < count:
            break
        best = ":".join(fields[: len(fields) - count]), known
        if exists(best[0]):
            break
    path, numbers_behind = best
    if not path or "\0" in path or numbers_behind[1:] == [0]:
        raise UsageError(
            f"{text!r}: not a region of a file: write NAME@file:PATH, NAME@file:PATH:OFFSET or "
            "NAME@file:PATH:OFFSET:SIZE"
        )
    return FileRegion(name, path, *numbers_behind)


def parse_memory(text: str, exists: Callable[[str], bool] = os.path.exists) -> MemoryFile:
    """Parse ``FILE`` or ``FILE@ADDRESS``; a file that ``exists`` by the whole text is that.

    Raises :class:`~tracekit.errors.UsageError`.
    """
    path, separator, number = text.rpartition("@")
    address = _whole_number(number) if separator else None
    if not text or "\0" in text or (separator and not path):
        raise UsageError(f"{text!r}: not a file: write FILE, or FILE@ADDRESS for plain memory")
    if address is None or exists(text):
        return MemoryFile(text)
    return MemoryFile(path, address)
