"""System call events, as ``kernel/trace/trace_syscalls.c`` prints them.

``print_syscall_enter()`` and ``print_syscall_exit()`` do not use the events' ``print fmt``; but
what they take from a call's metadata can be read from its format: the arguments are its fields, a
field ``__NAME_val`` holds what NAME pointed to in user space, and the ``print fmt`` tells whether
that is text or bytes.

Kernels before 6.19 print every value as bare hexadecimal and copy nothing from user space. One
event's format does not always tell the two apart (``sys_enter_close`` is the same in both), but
the formats of a whole boot do: see :func:`has_bare_syscalls`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from tracekit.ftrace.format import EventFormat, Field
from tracekit.ftrace.printers.readers import Payload, Render, integers, need, text_at

__all__ = ["SyscallPrinter", "arguments", "compile_syscall", "has_bare_syscalls"]

_U64 = (1 << 64) - 1
_O_ACCMODE = 3
_TMPFILE_BIT = 0o20000000  # __O_TMPFILE, include/uapi/asm-generic/fcntl.h
_FLAG = re.compile(r'\{ 0x([0-9a-f]{1,16}), "(O_\w+)" \}')


class SyscallPrinter(NamedTuple):
    """The text before and after the arguments of a system call event, and their printer."""

    prefix: str
    suffix: str
    render: Render


def has_bare_syscalls(formats: Iterable[EventFormat]) -> bool:
    """True if the boot with these formats prints system calls the way kernels before 6.19 do.

    ``openat`` exists everywhere, and since 6.19 its event holds the file name.
    """
    return any(f.name == "sys_enter_openat" and not f.field("__filename_val") for f in formats)


def compile_syscall(fmt: EventFormat, bare: bool = False) -> SyscallPrinter | None:
    """The printer of ``sys_enter_NAME`` or ``sys_exit_NAME``, None for any other event.

    ``bare``: as kernels before 6.19. Raises :class:`FormatError`; the printer raises
    :class:`struct.error` on a record too short for its format.
    """
    if fmt.name.startswith("sys_exit_"):
        return SyscallPrinter(f"sys{fmt.name[8:]} -> ", "", _exit(fmt))
    if not fmt.name.startswith("sys_enter_"):
        return None
    if bare or has_bare_syscalls([fmt]):
        render = _enter_bare(fmt)
    elif fmt.name == "sys_enter_openat" and "__print_flags(" in fmt.print_fmt:
        render = _enter_openat(fmt)
    else:
        render = _enter(fmt)
    return SyscallPrinter(f"sys{fmt.name[9:]}(", ")", render)


def _exit(fmt: EventFormat) -> Render:
    """``print_syscall_exit()``."""
    read = integers(fmt, "ret")

    def render(payload: Payload) -> str:
        return f"0x{read(payload)[0] & _U64:x}"

    return render


def arguments(fmt: EventFormat) -> list[Field]:
    """The fields that a call's arguments are in."""
    return [f for f in fmt.fields if f.name != "__syscall_nr" and not f.loc]


def _enter_bare(fmt: EventFormat) -> Render:
    """``print_syscall_enter()`` before 6.19."""
    names = [f.name for f in arguments(fmt)]
    read = integers(fmt, *names)

    def render(payload: Payload) -> str:
        values = zip(names, read(payload), strict=True)
        return ", ".join(f"{name}: {value & _U64:x}" for name, value in values)

    return render


def _enter(fmt: EventFormat) -> Render:
    """``print_syscall_enter()``."""
    fields = arguments(fmt)
    names = [f.name for f in fields]
    read = integers(fmt, *names)
    users = [
        (index, _user_data(fmt, f.name))
        for index, f in enumerate(fields)
        if fmt.field(f"__{f.name}_val") is not None
    ]
    labels = [f"{', ' if index else ''}{name}: " for index, name in enumerate(names)]

    def render(payload: Payload) -> str:
        values = read(payload)
        parts = [
            f"{label}{value}" if 0 <= value < 10 else f"{label}0x{value & _U64:x}"
            for label, value in zip(labels, values, strict=True)
        ]
        for index, show in users:
            # write, pwrite64 and mq_timedsend, the calls shown as bytes: the length comes next
            asked = values[index + 1] if index + 1 < len(values) else 0
            parts[index] += show(payload, asked)
        return "".join(parts)

    return render


def _user_data(fmt: EventFormat, name: str) -> Callable[[Payload, int], str]:
    """The printer of what argument ``name`` pointed to: (payload, bytes in user space) -> text."""
    read = integers(fmt, f"__{name}_val")
    as_bytes = f"__print_dynamic_array(__{name}_val" in fmt.print_fmt

    def text(payload: Payload, asked: int) -> str:
        loc = read(payload)[0]
        return f' "{text_at(payload, loc & 0xFFFF, loc >> 16 & 0xFFFF)}"'

    def dump(payload: Payload, asked: int) -> str:
        loc = read(payload)[0]
        start = loc & 0xFFFF
        data = bytes(payload[start : start + (loc >> 16 & 0xFFFF)])
        more = len(data) < (asked & 0x7FFFFFFF) - (asked & 0x80000000)  # read as an int
        shown = f" ({data.hex(':')}{', ...' if more else ''})"
        if not any(0x20 <= byte < 0x7F for byte in data):
            return shown
        letters = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in data)
        return f'{shown} "{letters}"{"..." if more else ""}'

    return dump if as_bytes else text


def _enter_openat(fmt: EventFormat) -> Render:
    """``sys_enter_openat_print()``; the flags' values are those of the event's ``print fmt``."""
    read = integers(fmt, "dfd", "filename", "flags", "mode")
    need(fmt, "__filename_val")
    filename = _user_data(fmt, "filename")
    flag_texts: dict[int, str] = {}
    known = [(int(mask, 16), name) for mask, name in _FLAG.findall(fmt.print_fmt)]
    by_name = {name: mask for mask, name in known}
    tmpfile = _TMPFILE_BIT | by_name.get("O_DIRECTORY", 0)
    known.insert(0, (tmpfile, "O_TMPFILE"))
    creating = tmpfile | by_name.get("O_CREAT", 0)

    def render(payload: Payload) -> str:
        dfd, name, flags, mode = read(payload)
        bits = (flags & 0x7FFFFFFF) - (flags & 0x80000000)  # read as an int
        shown = flag_texts.get(bits)
        if shown is None:
            shown = flag_texts[bits] = _open_flags(bits, known)
        text = f"dfd: {dfd & _U64}, filename: {name & _U64}{filename(payload, 0)}, flags: {shown}"
        return f"{text}, mode: 0{mode & 0xFFFFFFFF:03o}" if bits & creating else text

    return render


def _open_flags(bits: int, known: list[tuple[int, str]]) -> str:
    """``trace_print_flags_seq()`` over the open flags; leftover bits as hexadecimal."""
    if not bits:
        return "O_RDONLY"
    names = [] if bits & _O_ACCMODE else ["O_RDONLY"]
    left = bits & _U64
    for mask, name in known:
        if mask and left & mask == mask:
            names.append(name)
            left &= ~mask
    if left:
        names.append(f"0x{left:x}")
    return "|".join(names)
