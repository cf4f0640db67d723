"""Events as lines: tracekit's own text, and the kernel's ``trace`` file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.export.lines import (
    KERNEL_COUNT,
    KERNEL_SECONDS,
    SIGNED_SECONDS,
    coded_texts,
    combined,
    join_lines,
)
from tracekit.ftrace.columns import as_arrow, as_numpy
from tracekit.ftrace.printers.function_graph import GraphFormatter, irq_entry_code
from tracekit.ftrace.printers.render import Renderer
from tracekit.ftrace.printers.trace_file import (
    BufferStarts,
    LineContext,
    clock_in_ns,
    header,
    latency_flags,
    line_contexts,
    line_heads,
    lost_events,
    repeat_time,
)
from tracekit.ftrace.symbols import Symbols
from tracekit.recording import Recording
from tracekit.report.losses import account
from tracekit.timeline.boot import Boot
from tracekit.timeline.filter import Filter
from tracekit.timeline.merge import BootPart
from tracekit.timeline.rows import Rows
from tracekit.timeline.when.dates import utc

__all__ = ["kernel_blocks", "text_blocks"]

_KERNEL_ROWS = 1 << 17  # at a time: an event's records are printed together
_TGID = re.compile(r"^(\d{1,9}) (\d{1,9})$", re.M)


def _same(text: str) -> str:
    return text


def text_blocks(
    recording: Recording,
    wanted: Filter,
    clean: Callable[[str], str] = _same,
    *,
    wall: bool = False,
) -> Iterator[bytes]:
    """One line per event, many in a block.

    Seconds from the jump, boot and CPU, task, flags, ``system:name`` and arguments; with ``wall``
    the time of day (UTC) in front. Recorded texts go through ``clean``.
    """
    for rows, table in recording.batches(wanted):
        columns = recording.rows.take(rows)
        codes, firsts = combined(
            columns.boot, columns.cpu, columns.pid, columns.flags, columns.preempt, columns.kind
        )
        some = table.select(["boot", "cpu", "pid", "comm", "event", "flags", "preempt"])
        heads = [clean(_head(**row)) for row in some.take(as_arrow(firsts)).to_pylist()]
        args = table["args"].combine_chunks()
        tails = [clean(text) for text in args.dictionary.to_pylist()]
        if wall:
            coded = as_numpy(args.indices), tails
            yield _with_wall_time(recording, rows, (codes, heads), coded)
        else:
            tail = coded_texts(as_numpy(args.indices), tails)
            head = coded_texts(codes, heads)
            yield join_lines(SIGNED_SECONDS, recording.axis.ts_ns[rows], head, tail)


_UNKNOWN_TIME = "unknown".ljust(len("2026-11-28T20:38:25.123456789Z"))


def _with_wall_time(
    recording: Recording,
    rows: npt.NDArray[Any],
    head: tuple[npt.NDArray[Any], Sequence[str]],
    tail: tuple[npt.NDArray[Any], Sequence[str]],
) -> bytes:
    lines = []
    columns = (recording.axis.ts_ns[rows], recording.rows.boot[rows], head[0], tail[0])
    for ns, boot, one, other in zip(*(c.tolist() for c in columns), strict=True):
        clock = recording.walls.get(boot)
        time = _UNKNOWN_TIME if clock is None else utc(ns + clock.offset_ns) or _UNKNOWN_TIME
        seconds, part = divmod(abs(ns), 10**9)
        sign = "-" if ns < 0 else "+"
        lines.append(f"{time} {f'{sign}{seconds}':>5}.{part:09d}{head[1][one]}{tail[1][other]}\n")
    return "".join(lines).encode("utf-8", "backslashreplace")


def _head(**row: Any) -> str:
    """What stands between the time and the arguments."""
    task, state = (
        f"{row['comm'] or '<...>'}-{row['pid']}",
        latency_flags(row["flags"], row["preempt"]),
    )
    return f" {row['boot']}:{row['cpu']:03d} {task:<22} {state} {row['event']} "


# -- the kernel's text ------------------------------------------------------------------------


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
        self._heads = line_heads(comms, self._tgids)
        self._contexts: LineContext = line_contexts(comms, self._in_ns, self._tgids)
        self._missed = _missed(recording)
        self._starts = BufferStarts(bool(self._lost))
        self._tracer = _instance_file(part, "current_tracer").strip() or "nop"
        self._graph: GraphFormatter | None = None
        if self._tracer == "function_graph":
            symbols = Symbols.from_kallsyms(boot.text("kallsyms"), boot.text("modules"))
            cpus = len({a.cpu for a in accounts})
            self._graph = GraphFormatter(boot.context, cpus, irq_entry_code(symbols))

    def header(self) -> str:
        written, tgids = self._entries + self._lost, self._tgids is not None
        return header(self._tracer, self._entries, written, self._boot.cpus, tgids)

    def blocks(self, wanted: Filter, clean: Callable[[str], str]) -> Iterator[bytes]:
        yield self.header().encode()
        plain = self._graph is None and not self._lost and not self._missed
        repeats = [k.name == "ftrace:func_repeats" for k in self._recording.kinds]
        for rows in self._recording.row_batches(wanted, _KERNEL_ROWS):
            columns = self._recording.rows.take(rows)
            if plain and not np.array([*repeats, False])[columns.kind].any():
                text = self._joined(columns)
                yield text if clean is _same else clean(text.decode()).encode()
            else:
                made = "".join(self._one_by_one(columns, self._recording.render(columns)))
                yield clean(made).encode("utf-8", "backslashreplace")
        if self._graph is not None:
            yield clean(self._graph.finish()).encode("utf-8", "backslashreplace")

    def _renderers(self) -> list[Renderer | None]:
        """The renderer of each kind of event; None if it is of another boot."""
        kinds, mine = self._recording.kinds, self._boot.index
        return [self._boot.renderer(k.id) if k.boot == mine else None for k in kinds]

    def _joined(self, rows: Rows) -> bytes:
        """A block of events that need nothing but their own line."""
        codes, firsts = combined(rows.cpu, rows.pid, rows.flags, rows.preempt)
        some = rows.take(firsts)
        columns = (some.cpu, some.pid, some.flags, some.preempt)
        heads = [self._heads(*row) for row in zip(*(c.tolist() for c in columns), strict=True)]
        mode = KERNEL_SECONDS if self._in_ns else KERNEL_COUNT
        tails = self._recording.texts(rows, "line")
        return join_lines(mode, rows.ts_raw, coded_texts(codes, heads), tails.packed())

    def _one_by_one(self, rows: Rows, rendered: Any) -> Iterator[str]:
        """Events with remarks between them, or drawn as a call graph."""
        renderers = self._renderers()
        columns = (rows.cpu, rows.pid, rows.flags, rows.preempt, rows.ts_raw, rows.kind,
                   rows.buffer, rows.offset)  # fmt: skip
        texts = rendered.dictionary.to_pylist()
        for i, (cpu, pid, flags, preempt, ts, kind, buffer, offset, code) in enumerate(
            zip(*(c.tolist() for c in columns), rendered.indices.to_pylist(), strict=True)
        ):
            remark = lost_events(cpu) if (buffer, offset) in self._missed else ""
            renderer = renderers[kind]
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


def kernel_blocks(
    recording: Recording, wanted: Filter, clean: Callable[[str], str] = _same
) -> Iterator[bytes]:
    """What each boot's ``trace`` file would print, header included, many lines in a block."""
    recording, wanted = recording.as_traced, recording.resolved(wanted)
    for boot in recording.boots:
        if wanted.boots and boot.index not in wanted.boots:
            continue
        only = replace(wanted, boots=frozenset({boot.index}))
        yield from _KernelText(recording, boot).blocks(only, clean)
