"""Events as lines: the kernel's ``trace`` file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tracekit.export.lines import (
    KERNEL_COUNT,
    KERNEL_SECONDS,
    Lines,
    NumberTexts,
    Piece,
    Records,
    print_lines,
    print_rows,
)
from tracekit.ftrace.printers.render import Renderer
from tracekit.ftrace.printers.trace_file import (
    BufferStarts,
    LineContext,
    clock_in_ns,
    cpu_column,
    header,
    latency_flags,
    line_contexts,
    lost_events,
    mmiotrace_line,
    repeat_time,
    task_columns,
)
from tracekit.ftrace.programs.assemble import Program
from tracekit.recording import Recording
from tracekit.report.losses import account
from tracekit.timeline.boot import Boot
from tracekit.timeline.filter import Filter
from tracekit.timeline.merge import BootPart
from tracekit.timeline.rows import Rows, different

if TYPE_CHECKING:
    from tracekit.ftrace.printers.function_graph import GraphFormatter

__all__ = ["kernel_blocks"]

_Array = npt.NDArray[Any]
_KERNEL_ROWS = 1 << 16  # at a time
_TGID = re.compile(r"^(\d{1,9}) (\d{1,9})$", re.M)
_BUFFER_BITS = 48  # an offset in a buffer has fewer


def _same(text: str) -> str:
    return text


def _missed(recording: Recording) -> Mapping[tuple[int, int], int]:
    """(buffer, payload offset) of the first record after a loss -> its CPU."""
    after_loss = {}
    for number, buffer in enumerate(recording.buffers):
        for records in (r for r in buffer.records if r.offset):
            # the kernel's `trace` does not report what was overwritten before the first page
            offsets, first = np.frombuffer(records.offset, np.uint64), 0
            for page in records.pages():
                if page.missed and page.events and first:
                    after_loss[number, int(offsets[first])] = records.cpu
                first += page.events
    return after_loss


def _instance_file(part: BootPart, name: str) -> str:
    """A tracefs file of the instance that recorded most."""
    main = max(part.buffers, key=len, default=None)
    instance = f"instances/{main.instance}/" if main and main.instance else ""
    return part.boot.text(f"tracefs/{instance}{name}")


def _tgids(part: BootPart) -> Mapping[int, int] | None:
    """Pid -> tgid where option ``record-tgid`` was on, so that the kernel prints that column."""
    if "record-tgid" not in _instance_file(part, "trace_options").split():
        return None
    layers = reversed(part.boot.layers("tracefs/saved_tgids"))  # the newest wins
    pairs = [pair for layer in layers for pair in _TGID.findall(layer)]
    return {int(pid): int(tgid) for pid, tgid in pairs}


class _KernelText:
    """The lines of one boot, in the form of its ``trace`` file."""

    def __init__(self, recording: Recording, boot: Boot) -> None:
        comms = recording.comms[recording.boots.index(boot)]
        part = recording.part(boot.index)
        accounts, _ = account(part)
        model = recording.axis.clocks.get(boot.index)
        self._recording, self._boot = recording, boot
        self._lost = sum(a.lost or 0 for a in accounts)
        self._entries = sum(a.events for a in accounts)
        self._in_ns = clock_in_ns(model.trace_clock if model else "local")
        self._tgids = _tgids(part)
        self._tasks = NumberTexts(task_columns(comms, self._tgids))
        self._cpus = NumberTexts(cpu_column)
        self._states = NumberTexts(lambda state: f"{latency_flags(*divmod(state, 256))} ")
        self._contexts: LineContext = line_contexts(comms, self._in_ns, self._tgids)
        missed = _missed(recording)
        self._missed = {buffer << _BUFFER_BITS | at: cpu for (buffer, at), cpu in missed.items()}
        self._starts = BufferStarts(bool(self._lost))
        self._tracer = _instance_file(part, "current_tracer").strip() or "nop"
        self._graph: GraphFormatter | None = None
        if self._tracer == "function_graph":
            from tracekit.ftrace.printers.function_graph import GraphFormatter, irq_entry_code

            cpus, irqs = len({a.cpu for a in accounts}), irq_entry_code(boot.context.symbols)
            self._graph = GraphFormatter(boot.context, cpus, irqs)

    def header(self) -> str:
        written, tgids = self._entries + self._lost, self._tgids is not None
        return header(self._tracer, self._entries, written, self._boot.cpus, tgids)

    def blocks(self, wanted: Filter, clean: Callable[[str], str]) -> Iterator[Piece]:
        yield self.header().encode()
        for indices in self._recording.row_batches(wanted, _KERNEL_ROWS):
            rows = self._recording.rows.take(indices)
            if self._tracer == "mmiotrace":
                yield clean("".join(self._mapped(rows))).encode("utf-8", "backslashreplace")
            elif self._graph is None:
                pieces = self._lines(rows).pieces()
                if clean is _same:
                    yield from pieces
                else:
                    yield clean(b"".join(pieces).decode()).encode()
            else:
                drawn = "".join(self._drawn(rows, self._graph))
                yield clean(drawn).encode("utf-8", "backslashreplace")
        if self._graph is not None:
            yield clean(self._graph.finish()).encode("utf-8", "backslashreplace")

    def _renderers(self) -> list[Renderer | None]:
        """The renderer of each kind of event; None if it is of another boot."""
        kinds, mine = self._recording.kinds, self._boot.index
        return [self._boot.renderer(k.id) if k.boot == mine else None for k in kinds]

    def _programs(self) -> list[Program | None]:
        """The program of each kind; none for those that :meth:`_repeat` prints."""
        repeats = self._is_repeat().tolist()
        pairs = zip(self._renderers(), repeats, strict=False)
        return [None if r is None or repeat else r.program("line") for r, repeat in pairs]

    def _is_repeat(self) -> _Array:
        """Which kinds of event have a time in their arguments."""
        kinds = self._recording.kinds
        return np.array([*(k.name == "ftrace:func_repeats" for k in kinds), False])

    def _head(self, rows: Rows) -> list[tuple[_Array, _Array, bytes]]:
        """What stands before the time, as columns of texts."""
        states = rows.flags.astype(np.int32) << 8 | rows.preempt
        return [self._tasks.part(rows.pid), self._cpus.part(rows.cpu), self._states.part(states)]

    def _lines(self, rows: Rows) -> Lines:
        """Events and the remarks between them."""
        mode = KERNEL_SECONDS if self._in_ns else KERNEL_COUNT
        head, repeats = self._head(rows), self._is_repeat()[rows.kind]
        parts = (*head, (mode, rows.ts_raw), Records(self._programs()), b"\n")
        lines, left = print_rows(self._recording, rows, parts)
        others = left[~repeats[left]]
        if len(others):
            some = rows.take(others)
            tails = self._recording.texts(some, "line").packed()
            made = print_lines(len(some), (*self._head(some), (mode, some.ts_raw), tails, b"\n"))
            lines.put(others, made)
        for row in np.flatnonzero(repeats).tolist():
            lines.insert(row, self._repeat(rows.take(np.array([row]))))
        for row, remark in self._remarks(rows):
            lines.insert(row, remark)
        return lines

    def _repeat(self, row: Rows) -> bytes:
        """The line of a call that was made again and again; its record has the last one's age."""
        args = self._recording.render(row).to_pylist()[0]
        renderer = self._renderers()[int(row.kind[0])]
        assert renderer is not None
        ts = int(row.ts_raw[0])
        args = repeat_time(args, ts, self._in_ns)
        place = (int(row.cpu[0]), int(row.pid[0]), int(row.flags[0]), int(row.preempt[0]))
        text = f"{self._contexts(*place, ts)}{renderer.prefix}{args}{renderer.suffix}\n"
        return text.encode("utf-8", "backslashreplace")

    def _remarks(self, rows: Rows) -> Iterator[tuple[int, bytes]]:
        """(row, what is remarked before it): lost events, where a CPU's buffer starts."""
        remarks: dict[int, str] = {}
        if self._missed:
            keys = rows.buffer.astype(np.uint64) << np.uint64(_BUFFER_BITS) | rows.offset
            known = np.array(list(self._missed), np.uint64)
            for row in np.flatnonzero(np.isin(keys, known)).tolist():
                remarks[row] = lost_events(self._missed[int(keys[row])])
        cpus = self._starts.to_come(different(rows.cpu))
        done = 0
        for row, cpu in sorted((int(np.argmax(rows.cpu == cpu)), cpu) for cpu in cpus):
            self._starts.skip(row - done)
            remarks[row] = remarks.get(row, "") + self._starts.before(cpu)
            done = row + 1
        self._starts.skip(len(rows) - done)
        yield from ((row, remark.encode()) for row, remark in remarks.items() if remark)

    def _mapped(self, rows: Rows) -> Iterator[str]:
        """What the tracer of device memory prints; it leaves other events out."""
        rendered = self._recording.render(rows)
        texts, kinds = rendered.dictionary.to_pylist(), self._recording.kinds
        for kind, ts, code in zip(
            rows.kind.tolist(), rows.ts_raw.tolist(), rendered.indices.to_pylist(), strict=True
        ):
            yield mmiotrace_line(kinds[kind].name, texts[code], ts)

    def _drawn(self, rows: Rows, graph: GraphFormatter) -> Iterator[str]:
        """Events drawn as a call graph."""
        renderers, rendered = self._renderers(), self._recording.render(rows)
        columns = (rows.cpu, rows.pid, rows.flags, rows.preempt, rows.ts_raw, rows.kind,
                   rows.buffer, rows.offset)  # fmt: skip
        texts = rendered.dictionary.to_pylist()
        for i, (cpu, pid, flags, preempt, ts, kind, buffer, offset, code) in enumerate(
            zip(*(c.tolist() for c in columns), rendered.indices.to_pylist(), strict=True)
        ):
            missed = (buffer << _BUFFER_BITS | offset) in self._missed
            remark = lost_events(cpu) if missed else ""
            renderer = renderers[kind]
            assert renderer is not None
            args = texts[code]
            if self._recording.kinds[kind].name == "ftrace:func_repeats":
                args = repeat_time(args, ts, self._in_ns)
            text = f"{renderer.prefix}{args}{renderer.suffix}"
            context = self._contexts(cpu, pid, flags, preempt, ts)
            length = int(rows.length[i])
            payload = memoryview(self._recording.buffers[buffer].data)[offset : offset + length]
            fmt = self._boot.format(self._recording.kinds[kind].id)
            yield graph.add(cpu, pid, fmt, payload, context=context, text=text, remark=remark)


def kernel_blocks(
    recording: Recording, wanted: Filter, clean: Callable[[str], str] = _same
) -> Iterator[Piece]:
    """What each boot's ``trace`` file would print, header included, many lines in a block."""
    recording, wanted = recording.as_traced, recording.resolved(wanted)
    for boot in recording.boots:
        if wanted.boots and boot.index not in wanted.boots:
            continue
        only = replace(wanted, boots=frozenset({boot.index}))
        yield from _KernelText(recording, boot).blocks(only, clean)
