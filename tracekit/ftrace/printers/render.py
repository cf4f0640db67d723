"""Chooses an event's printer: its ``args``, and the text that the kernel prints around them."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tracekit.errors import FormatError
from tracekit.ftrace.context import Context
from tracekit.ftrace.format import EventFormat
from tracekit.ftrace.print_fmt.printer import compile_print_fmt, fallback
from tracekit.ftrace.printers.builtin import compile_builtin
from tracekit.ftrace.printers.event_fields import compile_fields, shows_fields
from tracekit.ftrace.printers.probes import compile_probe
from tracekit.ftrace.printers.readers import Payload, Render
from tracekit.ftrace.printers.synthetic import compile_synthetic
from tracekit.ftrace.printers.syscalls import compile_syscall

__all__ = ["Renderer", "make_renderer", "unknown_renderer"]

_SHOWN = 64  # bytes shown of a record without a format


@dataclass(frozen=True, slots=True)
class Renderer:
    """How one event's records become text.

    ``render`` turns a payload (from ``common_type`` to the record's end) into the ``args``
    column; it never raises. ``prefix + args + suffix`` is what the kernel's ``trace`` prints
    after ``TIMESTAMP: ``, without the newline at the end; a stack trace holds newlines inside.
    """

    prefix: str
    suffix: str
    render: Render


def make_renderer(fmt: EventFormat, ctx: Context, bare_syscalls: bool = False) -> Renderer:
    """The renderer of ``fmt``'s records, as the kernel that wrote them would print them.

    An event whose format cannot be compiled shows its fields instead. ``bare_syscalls``: see
    :func:`tracekit.ftrace.printers.syscalls.has_bare_syscalls`.
    """
    try:
        return _compile(fmt, ctx, bare_syscalls)
    except FormatError:
        return Renderer(f"{fmt.name}:", "", _guarded(fallback(fmt, ctx)))


def unknown_renderer(event_id: int) -> Renderer:
    """For an id without a format: ``Unknown type ID`` as the kernel prints, and the bytes."""

    def render(payload: Payload) -> str:
        more = "..." if len(payload) > _SHOWN else ""
        return bytes(payload[:_SHOWN]).hex() + more

    return Renderer(f"Unknown type {event_id} ", "", render)


def _compile(fmt: EventFormat, ctx: Context, bare_syscalls: bool) -> Renderer:
    if shows_fields(fmt, ctx):
        return Renderer(f"{fmt.name}: ", "", _guarded(compile_fields(fmt, ctx)))
    if fmt.system == "ftrace":
        builtin = compile_builtin(fmt, ctx)
        if builtin is not None:
            return Renderer("", "", _guarded(builtin))
    elif fmt.system == "syscalls":
        syscall = compile_syscall(fmt, bare_syscalls)
        if syscall is not None:
            return Renderer(syscall.prefix, syscall.suffix, _guarded(syscall.render))
    synthetic = compile_synthetic(fmt, ctx)
    if synthetic is not None:
        return Renderer(f"{fmt.name}: ", "", _guarded(synthetic))
    probe = compile_probe(fmt, ctx)
    if probe is not None:
        return Renderer(f"{fmt.name}: ", "", _guarded(probe))
    return Renderer(f"{fmt.name}: ", "", _guarded(compile_print_fmt(fmt, ctx)))


def _guarded(render: Render) -> Render:
    """``render``, but with a message for a record that is too short for its format."""

    def guarded(payload: Payload) -> str:
        try:
            return render(payload)
        except (struct.error, ValueError):
            return f"[record of {len(payload)} bytes does not fit its format]"

    return guarded
