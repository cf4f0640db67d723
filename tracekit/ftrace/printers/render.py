"""Chooses an event's printer: its ``args``, and the text that the kernel prints around them."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from typing import Literal

from tracekit.errors import FormatError
from tracekit.frozen import dataclass, field
from tracekit.ftrace.context import Context
from tracekit.ftrace.format import EventFormat
from tracekit.ftrace.print_fmt.printer import compile_print_fmt, fallback
from tracekit.ftrace.printers.builtin import compile_builtin
from tracekit.ftrace.printers.codes import builtin_code, syscall_code
from tracekit.ftrace.printers.event_fields import compile_fields, shows_fields
from tracekit.ftrace.printers.probes import compile_probe
from tracekit.ftrace.printers.readers import Payload, Render
from tracekit.ftrace.printers.synthetic import compile_synthetic
from tracekit.ftrace.printers.syscalls import compile_syscall
from tracekit.ftrace.programs.assemble import Program, assemble
from tracekit.ftrace.programs.code import Printer, joined, literal, node

__all__ = ["Form", "Renderer", "make_renderer", "unknown_renderer"]

#: ``args``: the arguments alone; ``line``: from the colon after the time on, as in the kernel's own
#: text; ``json``: inside a string of JSON; ``csv``: inside quotes, but for what a spreadsheet runs.
Form = Literal["args", "line", "json", "csv"]
_INSIDE = {"json": "escape", "csv": "cell"}
_SHOWN = 64  # bytes shown of a record without a format


@dataclass(frozen=True)
class Renderer:
    """How one event's records become text.

    ``render`` turns a payload (from ``common_type`` to the record's end) into the ``args``
    column; it never raises. ``prefix + args + suffix`` is what the kernel's ``trace`` prints
    after ``TIMESTAMP: ``, without the newline at the end; a stack trace holds newlines inside.
    ``printer`` is the same with what a program for it is made of.
    """

    prefix: str
    suffix: str
    printer: Printer
    programs: dict[Form, Program | None] = field(default_factory=dict)

    @property
    def render(self) -> Render:
        """The function of :attr:`printer`."""
        return self.printer.render

    def program(self, form: Form) -> Program | None:
        """The program that prints the arguments in a form, None where there is none."""
        if form not in self.programs:
            before, after = self._around(form)
            code = self.printer.code
            if form in _INSIDE:
                code = node(_INSIDE[form], code)
            code = joined([literal(before), code, literal(after)])
            made = None if code is None else assemble(code, self.printer.need)
            self.programs[form] = made
        return self.programs[form]

    def formed(self, args: str, form: Form) -> str:
        """What that program prints, from the arguments."""
        before, after = self._around(form)
        if form == "json":
            args = json.dumps(args)[1:-1]
        elif form == "csv":
            args = args.replace('"', '""')
        return f"{before}{args}{after}"

    def _around(self, form: Form) -> tuple[str, str]:
        return (f": {self.prefix}", self.suffix) if form == "line" else ("", "")


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

    return Renderer(f"Unknown type {event_id} ", "", Printer(render))


def _compile(fmt: EventFormat, ctx: Context, bare_syscalls: bool) -> Renderer:
    if shows_fields(fmt, ctx):
        return Renderer(f"{fmt.name}: ", "", _guarded(compile_fields(fmt, ctx)))
    if fmt.system == "ftrace":
        builtin = compile_builtin(fmt, ctx)
        if builtin is not None:
            code = builtin_code(fmt, ctx)
            return Renderer("", "", _guarded(Printer(builtin, code)))
    elif fmt.system == "syscalls":
        syscall = compile_syscall(fmt, bare_syscalls)
        if syscall is not None:
            code = syscall_code(fmt, bare_syscalls)
            render = _guarded(Printer(syscall.render, code))
            return Renderer(syscall.prefix, syscall.suffix, render)
    synthetic = compile_synthetic(fmt, ctx)
    if synthetic is not None:
        return Renderer(f"{fmt.name}: ", "", _guarded(synthetic))
    probe = compile_probe(fmt, ctx)
    if probe is not None:
        return Renderer(f"{fmt.name}: ", "", _guarded(probe))
    return Renderer(f"{fmt.name}: ", "", _guarded(compile_print_fmt(fmt, ctx)))


def _guarded(printer: Printer) -> Printer:
    """``printer``, but with a message for a record that is too short for its format."""
    render = printer.render

    def guarded(payload: Payload) -> str:
        try:
            return render(payload)
        except (struct.error, ValueError):
            return f"[record of {len(payload)} bytes does not fit its format]"

    return replace(printer, render=guarded)
