"""Events as lines: tracekit's own text, the kernel's ``trace`` file, and JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tracekit.ftrace.graphtext import GraphFormatter, irq_entry_code
from tracekit.ftrace.kerneltext import (
    BufferStarts,
    LineContext,
    clock_in_ns,
    header,
    latency_flags,
    line_contexts,
    lost_events,
    repeat_time,
)
from tracekit.ftrace.symbols import Symbols
from tracekit.timeline.boot import Boot
from tracekit.timeline.losses import account
from tracekit.timeline.query import Filter
from tracekit.timeline.recording import Recording

__all__ = ["json_lines", "kernel_lines", "text_lines"]

_TGID = re.compile(r"^(\d{1,9}) (\d{1,9})$", re.M)


def _seconds(ns: int) -> str:
    whole, part = divmod(abs(ns), 10**9)
    return f"{'-' if ns < 0 else '+'}{whole}.{part:09d}"


def text_lines(recording: Recording, wanted: Filter) -> Iterator[str]:
    """One line an event, without newline.

    Seconds from the jump, boot and CPU, task, flags, ``system:name`` and arguments.
    """
    for _, table in recording.batches(wanted):
        d = table.to_pydict()
        columns = ("ts_ns", "boot", "cpu", "pid", "comm", "event", "flags", "preempt", "args")
        for ts, boot, cpu, pid, comm, event, flags, preempt, args in zip(
            *(d[c] for c in columns), strict=True
        ):
            task = f"{comm or '<...>'}-{pid}"
            state = latency_flags(flags, preempt)
            yield f"{_seconds(ts):>15} {boot}:{cpu:03d} {task:<22} {state} {event} {args}"


def json_lines(recording: Recording, wanted: Filter) -> Iterator[str]:
    """One JSON object an event: the timeline's columns, and ``fields`` with typed arguments."""
    for at, table in recording.batches(wanted):
        fields = recording.fields(at)
        for row, typed in zip(table.to_pylist(), fields, strict=True):
            yield json.dumps({**row, "fields": typed}, default=_jsonable)


def _jsonable(value: Any) -> str:
    return bytes(value).hex() if isinstance(value, bytes) else str(value)


# -- the kernel's text ------------------------------------------------------------------------


def _missed(recording: Recording) -> Mapping[tuple[int, int], int]:
    """(buffer, payload offset) of the first record after a loss -> its CPU."""
    found = {}
    for number, buffer in enumerate(recording.buffers):
        for records in (r for r in buffer.records if r.offset):
            # what was overwritten before the first page is no loss to the kernel's `trace`
            offsets, at = np.frombuffer(records.offset, np.uint64), 0
            for page in records.pages():
                if page.missed and page.events and at:
                    found[number, int(offsets[at])] = records.cpu
                at += page.events
    return found


def _instance_file(boot: Boot, name: str) -> str:
    """A tracefs file of the instance that recorded most."""
    main = max(boot.buffers, key=len, default=None)
    instance = f"instances/{main.instance}/" if main and main.instance else ""
    return boot.text(f"tracefs/{instance}{name}")


def _tgids(boot: Boot) -> Mapping[int, int] | None:
    """Pid -> tgid where option ``record-tgid`` was on, so that the kernel prints that column."""
    if "record-tgid" not in _instance_file(boot, "trace_options").split():
        return None
    found = _TGID.findall(boot.text("tracefs/saved_tgids"))
    return {int(pid): int(tgid) for pid, tgid in found}


class _KernelText:
    """The lines of one boot, in the form of its ``trace`` file."""

    def __init__(self, recording: Recording, boot: Boot) -> None:
        comms = recording.comms[recording.boots.index(boot)]
        accounts, _ = account(boot, boot.buffers)
        model = recording.axis.clocks.get(boot.index)
        self._recording, self._boot = recording, boot
        self._lost = sum(a.lost or 0 for a in accounts)
        self._entries = sum(a.events for a in accounts)
        self._in_ns = clock_in_ns(model.trace_clock if model else "local")
        self._tgids = _tgids(boot)
        self._contexts: LineContext = line_contexts(comms, self._in_ns, self._tgids)
        self._missed = _missed(recording)
        self._starts = BufferStarts(bool(self._lost))
        self._tracer = _instance_file(boot, "current_tracer").strip() or "nop"
        self._graph: GraphFormatter | None = None
        if self._tracer == "function_graph":
            symbols = Symbols.from_kallsyms(boot.text("kallsyms"), boot.text("modules"))
            cpus = len({a.cpu for a in accounts})
            self._graph = GraphFormatter(boot.context, cpus, irq_entry_code(symbols))

    def header(self) -> str:
        written, tgids = self._entries + self._lost, self._tgids is not None
        return header(self._tracer, self._entries, written, self._boot.cpus, tgids)

    def lines(self, wanted: Filter) -> Iterator[str]:
        yield self.header()
        for at, table in self._recording.batches(wanted):
            yield from self._batch(at, table["args"].combine_chunks())
        if self._graph is not None:
            yield self._graph.finish()

    def _batch(self, at: Any, rendered: Any) -> Iterator[str]:
        rows = self._recording.rows.take(at)
        around = [self._boot.renderer(k.id) if k.boot == self._boot.index else None
                  for k in self._recording.kinds]  # fmt: skip
        columns = (rows.cpu, rows.pid, rows.flags, rows.preempt, rows.ts_raw, rows.kind,
                   rows.buffer, rows.offset)  # fmt: skip
        texts = rendered.dictionary.to_pylist()
        for i, (cpu, pid, flags, preempt, ts, kind, buffer, offset, code) in enumerate(
            zip(*(c.tolist() for c in columns), rendered.indices.to_pylist(), strict=True)
        ):
            remark = lost_events(cpu) if (buffer, offset) in self._missed else ""
            renderer = around[kind]
            assert renderer is not None
            args = texts[code]
            if self._recording.kinds[kind].name == "ftrace:func_repeats":
                args = repeat_time(args, ts, self._in_ns)
            text = f"{renderer.prefix}{args}{renderer.suffix}"
            context = self._contexts(cpu, pid, flags, preempt, ts)
            if self._graph is None:
                yield f"{remark}{self._starts.before(cpu)}{context}{text}\n"
                continue
            length = int(rows.length[i])
            payload = memoryview(self._recording.buffers[buffer].data)[offset : offset + length]
            fmt = self._boot.format(self._recording.kinds[kind].id)
            yield self._graph.add(cpu, pid, fmt, payload, context=context, text=text, remark=remark)


def kernel_lines(recording: Recording, wanted: Filter) -> Iterator[str]:
    """What each boot's ``trace`` file would print, header included, each with its newline."""
    from dataclasses import replace

    for boot in recording.boots:
        if wanted.boots and boot.index not in wanted.boots:
            continue
        only = replace(wanted, boots=frozenset({boot.index}))
        yield from _KernelText(recording, boot).lines(only)
