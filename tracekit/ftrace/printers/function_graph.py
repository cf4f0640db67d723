"""The function_graph tracer's text: calls drawn as indented C.

:class:`GraphFormatter` writes what the kernel's ``trace`` file holds while ``function_graph`` is
the current tracer, under that tracer's default options (``funcgraph-cpu``, ``-overhead``,
``-duration``, ``-irqs``) and, where the boot had them, ``-retval``, ``-retval-hex`` and
``-retaddr``: ``print_graph_function_flags()`` and what it calls, in
``kernel/trace/trace_functions_graph.c``.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tracekit.errors import FormatError
from tracekit.ftrace.context import Context, SymbolTable
from tracekit.ftrace.format import EventFormat
from tracekit.ftrace.printers.arguments import function_arguments
from tracekit.ftrace.printers.readers import (
    IpNames,
    Payload,
    Render,
    function_names,
    integers,
    ip_names,
    need,
)
from tracekit.ftrace.printers.trace_file import comm_of

__all__ = ["Entry", "Exit", "GraphFormatter", "compile_graph", "graph_reader", "irq_entry_code"]

_INDENT = 2  # TRACE_GRAPH_INDENT
_REMEMBERED = 50  # FTRACE_RETFUNC_DEPTH: deeper calls are not checked against their exits
_U64 = (1 << 64) - 1
_MAX_ERRNO = 4095  # include/linux/err.h
_SHOWN_DEPTH = 512  # more than a shadow stack (SHADOW_STACK_SIZE, fgraph.c) has room for
_NO_TIME = "              |  "
_BREAK = " ------------------------------------------\n"
_COMM_SHOWN, _PROC_WIDTH = 7, 14  # print_graph_proc()
# mark[] in trace_output.c: limits in ns, and the marks of durations above them
_MARKS = (
    (1_000_000_000, "$"),
    (100_000_000, "@"),
    (10_000_000, "*"),
    (1_000_000, "#"),
    (100_000, "!"),
    (10_000, "+"),
)
# Printed as ordinary lines between the calls; every other event becomes a comment.
_PLAIN = frozenset({"ftrace:function", "ftrace:kernel_stack"})
_MESSAGES = frozenset({"ftrace:print", "ftrace:bprint", "ftrace:bputs"})


class Entry(NamedTuple):
    """A function was called: its address, its depth, ``()`` or its arguments, and from where."""

    func: int
    depth: int
    arguments: str
    caller: int | None = None


class Exit(NamedTuple):
    """A function returned; ``duration`` in ns, ``value`` where it was recorded."""

    func: int
    depth: int
    duration: int
    value: int | None = None


def graph_reader(fmt: EventFormat, ctx: Context) -> Callable[[Payload], Entry | Exit] | None:
    """The reader of a call or return event's records; None for any other event.

    Raises :class:`FormatError`; the reader raises :class:`struct.error` on a short record.
    """
    if fmt.system != "ftrace":
        return None
    if fmt.name in ("funcgraph_entry", "funcgraph_retaddr_entry", "fgraph_retaddr_entry"):
        return _entry_reader(fmt, ctx)
    return _exit_reader(fmt) if fmt.name == "funcgraph_exit" else None


def _entry_reader(fmt: EventFormat, ctx: Context) -> Callable[[Payload], Entry]:
    read = integers(fmt, "func", "depth", *(["retaddr"] if fmt.field("retaddr") else []))
    as_depth = _signed(fmt)
    args = fmt.field("args")
    plain, arguments = args.offset if args else 1 << 32, function_arguments(ctx)

    def entry(payload: Payload) -> Entry:
        func, depth, *caller = read(payload)
        shown = arguments(payload, plain, func) if len(payload) > plain else ""
        return Entry(func, as_depth(depth), shown or "()", *caller)

    return entry


def _exit_reader(fmt: EventFormat) -> Callable[[Payload], Exit]:
    value = ["retval"] if fmt.field("retval") else []
    read = integers(fmt, "func", "depth", "calltime", "rettime", *value)
    as_depth = _signed(fmt)

    def leave(payload: Payload) -> Exit:
        func, depth, called, returned, *value = read(payload)
        return Exit(func, as_depth(depth), returned - called & _U64, *value)

    return leave


def _signed(fmt: EventFormat) -> Callable[[int], int]:
    """Reads a depth as signed, though formats say unsigned; int or long depends on the kernel."""
    sign = 1 << 8 * need(fmt, "depth").size - 1
    return lambda depth: (depth & sign - 1) - (depth & sign)


def compile_graph(fmt: EventFormat, ctx: Context) -> Render | None:
    """The printer of single call records, as a table shows them; None for other events.

    ``foo() {`` and ``} /* foo */``, indented: a single exit has no entry to be matched with.
    """
    reader = graph_reader(fmt, ctx)
    if reader is None:
        return None
    read, names = reader, function_names(ctx.symbols)

    def render(payload: Payload) -> str:
        call = read(payload)
        name = names[call.func]
        text = f"{name}{call.arguments} {{" if isinstance(call, Entry) else f"}} /* {name} */"
        return _indented(call.depth) + text

    return render


def irq_entry_code(symbols: SymbolTable) -> range:
    """The addresses of interrupt entry functions, which the tracer marks with arrows."""
    start = symbols.code("__irqentry_text_start") or 0
    return range(start, symbols.code("__irqentry_text_end") or start)


def _indented(depth: int) -> str:
    return " " * (_INDENT * min(max(depth, 0), _SHOWN_DEPTH))


def _remark(*parts: str) -> str:
    return f" /*{''.join(parts)} */" if any(parts) else ""


def _duration(duration: int) -> str:
    """``print_graph_duration()``: mark, microseconds in seven digits at most, column end."""
    mark = next((sign for limit, sign in _MARKS if duration > limit), " ")
    micros, rest = divmod(duration, 1000)
    text = str(micros)
    if len(text) < 7:
        text += f".{f'{rest:03d}'[: min(4, 7 - len(text))]}"
    return f"{mark} {text} us {' ' * (8 - len(text))}|  "


@dataclass(slots=True)
class _Cpu:
    """``struct fgraph_cpu_data``, and the entry that waits for the event after it."""

    last_pid: int = -1
    depth: int = 0
    entered: dict[int, int] = field(default_factory=dict)
    waiting: _Waiting | None = None


@dataclass(slots=True)
class _Waiting:
    """An entry whose line depends on what comes next on its CPU: a leaf or a block."""

    pid: int
    entry: Entry
    before: str
    text: str | None = None


class GraphFormatter:
    """Turns events, merged over the CPUs in order of time, into the tracer's lines.

    A call directly followed, on its CPU, by its own return is a leaf and takes one line at the
    place of the call. So text is held back until every call before it is known to be a leaf or
    not: :meth:`add` returns the lines that became certain, :meth:`finish` the rest.

    ``cpus`` is the kernel's number of possible CPUs (``nr_cpu_ids``), which sets the width of the
    first column; for ``irq_code`` see :func:`irq_entry_code`.
    """

    def __init__(self, ctx: Context, cpus: int, irq_code: range = range(0)) -> None:
        self._comms: Mapping[int, str] = ctx.comms
        self._names: IpNames = function_names(ctx.symbols)
        self._callers = ip_names(ctx.symbols, offset=True)
        self._ctx, self._options = ctx, ctx.options
        self._width = len(str(max(cpus - 1, 0)))
        self._irq_code = irq_code
        self._cpus: dict[int, _Cpu] = {}
        self._readers: dict[int, Callable[[Payload], Entry | Exit] | None] = {}
        self._held: deque[_Waiting | str] = deque()

    def add(
        self,
        cpu: int,
        pid: int,
        fmt: EventFormat | None,
        payload: Payload,
        *,
        context: str,
        text: str,
        remark: str = "",
    ) -> str:
        """Take one event; returns the finished lines, each with its newline, or nothing.

        ``context`` and ``text`` make the event's ordinary line (see
        :func:`~tracekit.ftrace.printers.trace_file.context` and
        :class:`~tracekit.ftrace.printers.render.Renderer`), which calls do not use. ``fmt`` is
        None for an unknown event. ``remark`` (of lost events) goes before the event. Never raises:
        a call's record that is too short becomes a comment.
        """
        call = self._call(fmt, payload) if fmt else None
        state = self._cpus.setdefault(cpu, _Cpu())
        waiting, state.waiting = state.waiting, None
        if waiting is not None:
            if isinstance(call, Exit) and (pid, call.func) == (waiting.pid, waiting.entry.func):
                self._leaf(cpu, state, waiting, call)
                return self._released()
            self._block(cpu, state, waiting)
        if remark:
            self._held.append(remark)
        if isinstance(call, Entry):
            before = self._switch(cpu, pid, state) + self._irq_arrow(cpu, call.func, "==========>")
            state.waiting = _Waiting(pid, call, before)
            self._held.append(state.waiting)
        elif call is not None:
            self._held.append(self._exit(cpu, pid, state, call))
        elif fmt is None or fmt.full_name in _PLAIN:
            self._held.append(f"{context}{text}\n")
        else:
            message = text.partition(": ")[2] if fmt.full_name in _MESSAGES else text
            self._held.append(self._comment(cpu, pid, state, message))
        return self._released()

    def finish(self) -> str:
        """The lines still held back; a call with nothing after it is not a leaf."""
        for cpu, state in self._cpus.items():
            waiting, state.waiting = state.waiting, None
            if waiting is not None:
                self._block(cpu, state, waiting)
        return self._released()

    def _call(self, fmt: EventFormat, payload: Payload) -> Entry | Exit | None:
        """The call in a record; None where it holds none or cannot be read."""
        if fmt.id not in self._readers:
            try:
                self._readers[fmt.id] = graph_reader(fmt, self._ctx)
            except FormatError:
                self._readers[fmt.id] = None
        reader = self._readers[fmt.id]
        try:
            return reader(payload) if reader else None
        except struct.error:
            return None

    def _released(self) -> str:
        lines = []
        while self._held:
            first = self._held[0]
            text = first if isinstance(first, str) else first.text
            if text is None:
                break
            lines.append(text)
            self._held.popleft()
        return "".join(lines)

    def _leaf(self, cpu: int, state: _Cpu, waiting: _Waiting, call: Exit) -> None:
        """``print_graph_entry_leaf()``: the call and its return in one line."""
        entry = waiting.entry
        state.depth = entry.depth - 1
        if 0 <= entry.depth < _REMEMBERED:
            state.entered[entry.depth] = 0
        waiting.text = (
            f"{waiting.before}{self._cpu_column(cpu)}{_duration(call.duration)}"
            f"{_indented(entry.depth)}{self._names[entry.func]}{entry.arguments};"
            f"{_remark(self._caller(entry), self._value(call))}\n"
            f"{self._irq_arrow(cpu, call.func, '<==========')}"
        )

    def _block(self, cpu: int, state: _Cpu, waiting: _Waiting) -> None:
        """``print_graph_entry_nested()``: something else comes before the return."""
        entry = waiting.entry
        state.depth = entry.depth
        if 0 <= entry.depth < _REMEMBERED:
            state.entered[entry.depth] = entry.func
        waiting.text = (
            f"{waiting.before}{self._cpu_column(cpu)}{_NO_TIME}"
            f"{_indented(entry.depth)}{self._names[entry.func]}{entry.arguments} {{"
            f"{_remark(self._caller(entry))}\n"
        )

    def _exit(self, cpu: int, pid: int, state: _Cpu, call: Exit) -> str:
        """``print_graph_return()``: names the function only if its entry is not known, or with
        what it returned.
        """
        state.depth = call.depth - 1
        known = True
        if 0 <= call.depth < _REMEMBERED:
            known = state.entered.get(call.depth, 0) == call.func
            state.entered[call.depth] = 0
        value = self._value(call)
        end = "}" if known and not value else f"}} /* {self._names[call.func]}{value} */"
        return (
            f"{self._switch(cpu, pid, state)}{self._cpu_column(cpu)}{_duration(call.duration)}"
            f"{_indented(call.depth)}{end}\n{self._irq_arrow(cpu, call.func, '<==========')}"
        )

    def _caller(self, entry: Entry) -> str:
        """``print_graph_retaddr()``: the option ``funcgraph-retaddr``."""
        if entry.caller is None or "funcgraph-retaddr" not in self._options:
            return ""
        return f" <-{self._callers[entry.caller]}"

    def _value(self, call: Exit) -> str:
        """What ``print_graph_retval()`` prints of it: the option ``funcgraph-retval``."""
        if call.value is None or "funcgraph-retval" not in self._options:
            return ""
        short = call.value >> 32 == 0 and bool(call.value & 1 << 31)  # an int's error code
        code = call.value - (1 << 32 if short else 1 << 64)
        if code < -_MAX_ERRNO or "funcgraph-retval-hex" in self._options:
            return f" ret={call.value:#x}"
        return f" ret={code}"

    def _comment(self, cpu: int, pid: int, state: _Cpu, text: str) -> str:
        """``print_graph_comment()``: any other event, one step inside the function it is in."""
        indent = _indented(state.depth + 1) if state.depth > 0 else ""
        switch = self._switch(cpu, pid, state)
        return f"{switch}{self._cpu_column(cpu)}{_NO_TIME}{indent}/* {text} */\n"

    def _cpu_column(self, cpu: int) -> str:
        return f" {cpu:{self._width}d}) "

    def _irq_arrow(self, cpu: int, func: int, arrow: str) -> str:
        """``print_graph_irq()``: a line of its own around interrupt entry functions."""
        return f"{self._cpu_column(cpu)}  {arrow} |\n" if func in self._irq_code else ""

    def _switch(self, cpu: int, pid: int, state: _Cpu) -> str:
        """``verif_pid()``: a separator where a CPU switches to another task."""
        before, state.last_pid = state.last_pid, pid
        if before in (pid, -1):
            return ""
        change = f"{self._proc(before)} => {self._proc(pid)}"
        return f"{_BREAK}{self._cpu_column(cpu)}{change}\n{_BREAK}\n"

    def _proc(self, pid: int) -> str:
        """``print_graph_proc()``: ``comm-pid``, centred."""
        text = f"{comm_of(pid, self._comms)[:_COMM_SHOWN]}-{pid}"
        spaces = max(0, _PROC_WIDTH - len(text))
        left = spaces // 2
        return f"{' ' * left}{text}{' ' * (spaces - left)}"
